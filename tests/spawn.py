"""Run a function in several gloo processes on this machine: `from spawn import run_processes`."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import pickle
import sys
import time
import traceback
import uuid
from collections.abc import Callable
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
