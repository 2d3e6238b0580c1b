"""Processes that are forked from one that has imported everything: a trial costs no start of an interpreter."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from noisycorrect.support.errors import NoisyCorrectError

# What a run imports when it needs it; torch's optimizers, for one, import dynamo when they are first made.
_PRELOADED = ("h5py", "numpy.testing", "scipy.stats", "sklearn.neighbors", "torch._dynamo", "torch.distributed",
              "noisycorrect", "noisycorrect_seg.task")  # fmt: skip
_IF_THERE = ("PIL.Image", "safetensors.torch", "pandas")
LONGEST = 60.0  # seconds of one child; one that takes longer hangs


@dataclass
class Outcome:
    """What became of a child.

    Attributes
    ----------
    state : str
        ``"done"``; ``"refused"``, by an error of ours; ``"raised"`` another error; ``"died"`` by a signal; ``"hung"``.
    value : Any
        What it returned, as JSON has it.
    error : str
        Type and message of what it raised, or the signal.
    seconds : float
        Processor time that it took.
    megabytes : float
        By how much its memory grew.
    where : str
        The traceback.
    """

    state: str
    value: Any = None
    error: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0
    where: str = field(default="", repr=False)

    @property
    def clear(self) -> bool:
        """Whether an error says what was expected, was found and is to be done, without advising what is unsafe."""
        says = all(part in self.error for part in ("; got ", "; to fix: "))
        return self.state == "refused" and says and "weights_only=False" not in self.error


def warm() -> None:
    """Import here what children would each import for themselves; nothing is computed, so that no thread is started."""
    for name in _PRELOADED:
        importlib.import_module(name)
    for name in _IF_THERE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


class Child:
    """A forked process that runs a function and tells what came of it.

    Parameters
    ----------
    work : callable
        What it does; returns plain JSON values.
    before : callable, optional
        Called in it first, and meant to limit it.
    """

    def __init__(self, work: Callable[[], Any], before: Callable[[], object] | None = None) -> None:
        sys.stdout.flush(), sys.stderr.flush()
        self._reading, writing = os.pipe()
        self.began = time.monotonic()
        self.number = os.fork()
        if self.number:
            os.close(writing)
            return
        os.close(self._reading)
        report = {"state": "died"}
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            torch.set_num_threads(1)  # a thread that this process was forked without would be waited for for ever
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1), os.dup2(silent, 2)
            report = _report_of(work, before)
        except BaseException:
            report = {"state": "raised", "error": "outside of its work", "where": traceback.format_exc()[-1500:]}
        finally:
            with_limits_off = json.dumps(report).encode()
            os.write(writing, with_limits_off[: 2**16])
            os._exit(0)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.number, number)

    def running(self, seconds: float) -> bool:
        """Wait so long for its end; return whether it still runs."""
        return not select.select([self._reading], [], [], max(0.0, seconds))[0]

    def outcome(self, longest: float = LONGEST) -> Outcome:
        """Wait for its end, and return what came of it."""
        hung = self.running(longest - (time.monotonic() - self.began))
        if hung:
            self.kill()
        content = b""
        while part := os.read(self._reading, 2**16):
            content += part
        os.close(self._reading)
        _, status = os.waitpid(self.number, 0)
        if hung:
            return Outcome("hung", error=f"longer than {longest:.0f} s")
        if not content:
            return Outcome("died", error=signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "exit")
        return Outcome(**json.loads(content))


def _report_of(work: Callable[[], Any], before: Callable[[], object] | None) -> dict[str, Any]:
    began, peak = time.process_time(), _peak()
    report: dict[str, Any]
    try:
        if before is not None:
            before()
        report = {"state": "done", "value": work()}
    except NoisyCorrectError as error:
        report = {"state": "refused", "error": f"{type(error).__name__}: {error}"[:2000]}
    except BaseException as error:
        where = traceback.format_exc()[-1500:]
        report = {"state": "raised", "error": f"{type(error).__name__}: {error}"[:1000], "where": where}
    return {**report, "seconds": time.process_time() - began, "megabytes": _peak() - peak}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(work: Callable[[], Any], before: Callable[[], object] | None = None, longest: float = LONGEST) -> Outcome:
    """Run a function in a child of its own."""
    return Child(work, before).outcome(longest)


def meeting_of(folder: Path, number: int) -> Path:
    """Return where the ranks of the attempt `number` in a folder meet."""
    return folder.with_name(f"{folder.name}.meeting-{number}")
