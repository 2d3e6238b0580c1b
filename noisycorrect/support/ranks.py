"""Ranks that work on one thing: they say who differs before they begin, and none waits for one that has failed.

What they tell each other goes through the process group's store, not through collectives: those hang, or die with a
message of the transport, where ranks do not come together.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch.distributed as dist
from torch.distributed import distributed_c10d

from noisycorrect.support import distributed
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError, warn_caller

GRACE = 5.0  # seconds in which a rank that another one has failed may come to an end by itself
POLL = 0.5  # seconds between two looks at the store
PATIENCE = 3.0  # seconds in which a broken connection waits for a word from the rank that broke it
SILENCE = 30.0  # seconds after which a rank that others wait for is named in a warning
SAME = "start every rank with the same arguments, and data in the same order (sorted, where a folder is listed)"
_TRANSPORT = ("gloo", "NCCL", "nccl", "closed by peer", "reset by peer", "Broken pipe", "Socket")
_meetings = itertools.count()


class _Failure(NamedTuple):
    rank: int
    message: str
    transport: bool  # whether it only says that a connection broke: another rank was first

    def __str__(self) -> str:
        return f"rank {self.rank} failed with {self.message}"


class Meeting:
    """The ranks in one block of :func:`together`; alone, everything in it is a no-op."""

    def __init__(self, store: Any = None) -> None:
        self.rank, self.ranks = distributed.rank(), distributed.world_size()
        self._store = store
        self._seen = 0  # failures read so far
        self._failures: list[_Failure] = []
        self._lock = threading.Lock()
        self._left = threading.Event()

    def agree(self, facts: Mapping[str, Any], *, fix: str = SAME) -> None:
        """Wait until every rank has said what it begins with, and compare.

        Parameters
        ----------
        facts : mapping of str to plain values
            What must be the same on all ranks, by name; what is large as a digest.
        fix : str
            What the message says can be done.

        Raises
        ------
        InvalidInputError
            On every rank, if something differs: names it, and who has what.
        NoisyCorrectError
            If a rank has failed meanwhile; names it, and its message.
        """
        if self._store is None:
            return
        own = {name: json.dumps(value, sort_keys=True, default=str) for name, value in facts.items()}
        self._store.set(f"facts/{self.rank}", json.dumps(own))
        found = [json.loads(self._awaited(rank)) for rank in range(self.ranks)]
        names = list(dict.fromkeys(name for facts in found for name in facts))
        differing = [name for name in names if len({facts.get(name) for facts in found}) > 1]
        if differing:
            got = _who([facts.get(differing[0], "nothing") for facts in found])
            if len(differing) > 1:
                got += f"; they differ in {', '.join(differing[1:])}, too"
            raise InvalidInputError(f"the same {differing[0]} on all ranks", got=got, fix=fix)

    def _awaited(self, rank: int) -> str:
        began, pause, named = time.monotonic(), 0.002, False
        while not self._store.check([f"facts/{rank}"]):
            self.raise_failure()
            if not named and time.monotonic() - began > SILENCE:
                named = True
                warn_caller(f"rank {self.rank} waits for rank {rank}, which has not come to fit yet")
            time.sleep(pause)
            pause = min(2 * pause, 0.25)
        return str(self._store.get(f"facts/{rank}").decode())

    def raise_failure(self) -> None:
        """Raise a NoisyCorrectError if another rank has failed."""
        if self._store is None:
            return
        first = self._first(self._read())
        if first is not None:
            raise NoisyCorrectError(str(first))

    def fail(self, error: BaseException) -> NoisyCorrectError | None:
        """Tell the others of an error; return who is to blame for one that only says that a connection broke."""
        transport = isinstance(error, dist.DistError) or (
            type(error) is RuntimeError and any(word in str(error) for word in _TRANSPORT)
        )
        try:
            self._tell(_Failure(self.rank, f"{type(error).__name__}: {error}", transport))
            return self._blamed() if transport else None
        except (RuntimeError, ValueError) as lost:  # whoever hosted the store is gone
            if not transport:
                return None
            return NoisyCorrectError(f"the process that hosts the group's store has ended, usually rank 0's ({lost})")

    def _tell(self, failure: _Failure) -> None:
        number = self._store.add("failures", 1)
        self._store.set(f"failures/{number}", json.dumps(failure))

    def _blamed(self) -> NoisyCorrectError | None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            first = self._first(self._read())
            if first is not None and not first.transport:
                return NoisyCorrectError(str(first))
            time.sleep(0.05)
        silent = sorted(set(range(self.ranks)) - {failure.rank for failure in self._read()})
        if not silent:
            return None
        plural = "s" if len(silent) > 1 else ""
        who = ", ".join(map(str, silent))
        return NoisyCorrectError(f"rank{plural} {who} ended without a word: killed, or out of memory; see its log")

    def _read(self) -> list[_Failure]:
        with self._lock:
            while self._store.check([f"failures/{self._seen + 1}"]):
                self._seen += 1
                self._failures.append(_Failure(*json.loads(self._store.get(f"failures/{self._seen}").decode())))
            return list(self._failures)

    def _first(self, failures: list[_Failure]) -> _Failure | None:
        """Return the first failure of another rank, rather one that says what happened."""
        others = [failure for failure in failures if failure.rank != self.rank]
        return next((failure for failure in others if not failure.transport), others[0] if others else None)

    def watch(self, thread: int) -> None:
        """End this process if another rank has failed and a thread stands still: it waits for what will never come."""
        last, since, aborted = None, time.monotonic(), False
        while not self._left.wait(POLL):
            try:
                first = self._first(self._read())
            except (RuntimeError, ValueError):
                return  # the store is gone, and with it who could be asked; connections break by themselves
            place = _place(thread)
            if first is None or place != last:
                last, since = place, time.monotonic()
            elif time.monotonic() - since > GRACE and not self._left.is_set():
                if dist.get_backend() == "nccl" and not aborted:
                    distributed_c10d._abort_process_group()  # the thread's next collective raises
                    aborted, since = True, time.monotonic()
                    continue
                sys.stderr.write(f"noisycorrect: {first}; rank {self.rank} waited for it, and ends\n")
                sys.stderr.flush()
                os._exit(1)

    def leave(self) -> None:
        """End the watch."""
        self._left.set()


def _place(thread: int) -> tuple[int, int] | None:
    """Return where a thread is: the same again and again if it stands still."""
    frame = sys._current_frames().get(thread)
    return None if frame is None else (id(frame), frame.f_lasti)


def _who(values: list[str]) -> str:
    """Return which ranks have which value.

    Examples
    --------
    >>> _who(["0", "1", "0"])
    '0 on ranks 0, 2; 1 on rank 1'
    """
    ranks: dict[str, list[int]] = {}
    for rank, value in enumerate(values):
        ranks.setdefault(value, []).append(rank)
    listed = []
    for value, those in ranks.items():
        shown = value if len(value) <= 80 else f"{value[:77]}..."
        names = ", ".join(map(str, those[:8])) + (f" and {len(those) - 8} more" if len(those) > 8 else "")
        listed.append(f"{shown} on rank{'s' if len(those) > 1 else ''} {names}")
    return "; ".join(listed)


@contextlib.contextmanager
def together() -> Iterator[Meeting]:
    """Run a block on all ranks; an error on one ends all of them within seconds, with its message.

    A rank that fails says so in the store. Another one that is in a collective then gets an error of the transport, as
    soon as the failed process has ended; what is raised instead is a NoisyCorrectError that names the failed rank and
    its message. A rank that still stands still after some seconds, because the failed process lives on, is ended (exit
    code 1, the message on stderr): no exception can reach it.

    Raises
    ------
    NoisyCorrectError
        If another rank failed.

    Examples
    --------
    >>> with together() as ranks:
    ...     ranks.agree({"seed": 0})
    """
    if distributed.world_size() == 1:
        yield Meeting()
        return
    store = distributed_c10d.PrefixStore(f"noisycorrect/{next(_meetings)}", _own_connection())
    meeting = Meeting(store)
    watch = threading.Thread(
        target=meeting.watch, args=(threading.get_ident(),), daemon=True, name="noisycorrect-ranks"
    )
    watch.start()
    try:
        yield meeting
    except BaseException as error:
        meeting.leave()
        blamed = meeting.fail(error)
        if blamed is not None:
            raise blamed from error
        raise
    finally:
        meeting.leave()
        watch.join(timeout=2 * POLL)


def _own_connection() -> Any:
    """Return the group's store, over a connection that no wait of the group itself blocks, where there can be one."""
    store = distributed_c10d._get_default_store()
    try:
        return store.clone()  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):  # not every kind of store can, and none of an older torch
        return store
