"""Signals at bad moments: kept back while foreign code must not be left, and noticed before the process goes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_INTERRUPTS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
_depth = 0


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no signal's handler run inside the block; those that came run when it ends, in the order in which they came.

    For calls of a library that calls Python back and cannot be left by an exception (HDF5 with a file object: a
    KeyboardInterrupt in its callbacks becomes a SystemError, and a crash when the process ends). Handlers run in the
    main thread alone, so in others nothing is done; nor for signals without a handler in Python.

    Examples
    --------
    >>> before = signal.signal(signal.SIGINT, lambda number, frame: print("handled"))
    >>> with uninterrupted():
    ...     signal.raise_signal(signal.SIGINT)
    ...     print("goes on")
    goes on
    handled
    >>> _ = signal.signal(signal.SIGINT, before)
    """
    global _depth
    if _depth or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    handlers: dict[int, Any] = {}

    def keep(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))

    try:
        for number in _INTERRUPTS:
            handler = signal.getsignal(number)
            if callable(handler) and not isinstance(handler, signal.Handlers):
                handlers[number] = handler
                signal.signal(number, keep)
        _depth = 1
        yield
    finally:
        _depth = 0
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, frame in came:
            handlers[number](number, frame)


def before_termination(action: Callable[[], object]) -> None:
    """Call `action` if SIGTERM comes, and end as without it; nothing is done where somebody handles SIGTERM already.

    Processes that are forked later end at once.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        action()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, terminate)
    _ours.add(terminate)


_ours: set[Callable[[int, FrameType | None], None]] = set()


def _forget() -> None:
    if signal.getsignal(signal.SIGTERM) in _ours:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
