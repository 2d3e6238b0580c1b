"""Processes that start at once, and several in a gloo group: `from spawn import run_processes, run_script`."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

# torch's optimizers import dynamo when they are first made.
_PRELOADED = ["numpy", "scipy.stats", "sklearn", "torch._dynamo", "pytest", "noisycorrect", "noisycorrect_seg"]


def fork_server() -> multiprocessing.context.ForkServerContext:
    """Return a context whose server has imported what takes seconds and run nothing: a process starts at once.

    One server is for all tests of an interpreter. A process has the environment variables of its first use.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def run_script(
    code: str, *words: str, paths: Sequence[Path] = (), timeout: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run a program as `python -c` does, in a process of :func:`fork_server`: it need not import torch again.

    Not for what shall be seen of an interpreter's beginning or end: the modules of the server are imported, and there
    is no tearing down.

    Parameters
    ----------
    code : str
        The program.
    *words : str
        Its arguments.
    paths : sequence of Path
        Folders that it finds modules and packages in before all others.
    timeout : float
        Seconds after which it is ended.

    Returns
    -------
    subprocess.CompletedProcess
        Exit status, negative if a signal ended it, and what it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        process = fork_server().Process(target=_script, args=(code, words, list(map(str, paths)), folder))
        process.start()
        process.join(timeout)
        process.kill()  # nothing is left of it to end, unless it took too long
        process.join()
        said = [(Path(folder) / name).read_text() for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(words, process.exitcode or 0, *said)


def _script(code: str, words: tuple[str, ...], paths: list[str], folder: str) -> None:
    torch.set_num_threads(1)
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        stream.flush()
        with (Path(folder) / name).open("w") as file:
            os.dup2(file.fileno(), stream.fileno())
    sys.argv = ["-c", *words]
    sys.path[:0] = paths
    exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})


def run_processes(
    function: Callable[..., Any], processes: int, folder: Path, *args: Any, timeout: float = 120.0
) -> list[Any]:
    """Return what `function(*args)` returned on each rank, inside an initialised gloo group.

    Parameters
    ----------
    function : callable
        Defined at the top of a module, so that it pickles by name.
    processes : int
        World size. Each process has one thread.
    folder : Path
        For the meeting point and the results: pytest's `tmp_path`.
    *args : Any
        Passed to every rank; must pickle.
    timeout : float
        Seconds for everything, start included; then the processes are ended and TimeoutError is raised.

    Raises
    ------
    RuntimeError
        A process raised or died: the message holds the tracebacks of all ranks, that of the first failure first.
    """
    base = folder / f"spawn-{uuid.uuid4().hex}"
    base.mkdir(parents=True)
    fork_server()
    context = mp.start_processes(
        _child, args=(function, processes, base, args, timeout), nprocs=processes, join=False, start_method="forkserver"
    )
    deadline = time.monotonic() + timeout
    try:
        while not context.join(timeout=max(0.0, min(1.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{function.__name__} in {processes} processes took longer than {timeout} s")
    except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
        # The rank that ends first is often one whose partner failed: "connection closed by peer".
        reports = sorted(base.glob("error-*"), key=lambda path: path.stat().st_mtime_ns)
        text = "\n".join(f"{path.name}: {path.read_text()}" for path in reports)
        raise RuntimeError(text or str(error)) from error
    finally:
        for process in context.processes:
            if process.is_alive():
                process.kill()
            process.join()
    return [pickle.loads((base / f"result-{rank}").read_bytes()) for rank in range(processes)]


def _child(rank: int, function: Callable[..., Any], size: int, base: Path, args: tuple[Any, ...], limit: float) -> None:
    torch.set_num_threads(1)
    # A DataLoader's workers start as in any program: those of this server's would share its folder for sockets, which
    # the first of them to end removes.
    multiprocessing.set_start_method(None, force=True)
    if sys.platform == "linux":
        # A container's host name need not resolve.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    meeting = (base / "meeting").resolve().as_uri()
    span = dt.timedelta(seconds=limit)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size, timeout=span)
    try:
        result = function(*args)
        (base / f"result-{rank}").write_bytes(pickle.dumps(result))
        # Nobody leaves while another rank may still need its connection.
        dist.barrier()
    except BaseException:
        (base / f"error-{rank}").write_text(traceback.format_exc())
        raise
    finally:
        dist.destroy_process_group()
    # One run in about fifty ended with SIGABRT ("terminate called without an active exception"), probably a gloo thread
    # that outlived the group while the interpreter was torn down (pytorch/pytorch#179291). The result is written, so
    # leave without the tearing down.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
