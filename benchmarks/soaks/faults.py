"""Runs that are killed, starved and crowded, and resumed until they have ended."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.soaks.children import LONGEST, Child, Outcome, meeting_of, run
from benchmarks.soaks.work import WORKS, Work, digest_of, group
from noisycorrect.saved.check import check_folder

MOST_ATTEMPTS = 6  # faults that one run suffers, at most; then it is left alone
# Of 20: how often each fault is chosen. Kills come most often: they have the most moments to strike at.
CHANCES = {"kill -9": 9, "SIGTERM": 2, "interrupt": 2, "full disk": 2, "descriptors": 1, "memory": 1, "two at once": 2,
           "clock": 1}  # fmt: skip


@dataclass
class Tally:
    """What came of faults of one kind.

    Attributes
    ----------
    trials, struck : int
        How often it was tried, and how often the run did not end as if nothing had been.
    refused, raised, died : int
        Ends of the disturbed process: by an error of ours, by another one, by the signal or a crash.
    lost : int
        Runs that could not go on afterwards, or of which something was damaged.
    silent : int
        Runs that went on to another result.
    unclear : int
        Errors that do not say what to do.
    notes : list of str
        What was wrong, the first of each kind.
    """

    trials: int = 0
    struck: int = 0
    refused: int = 0
    raised: int = 0
    died: int = 0
    lost: int = 0
    silent: int = 0
    unclear: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep a note, if there are not many."""
        if len(self.notes) < 8:
            self.notes.append(text)


class Faults:
    """All trials with faults, and what came of them.

    Parameters
    ----------
    folder : Path
        For the runs.
    seed : int
        Of the choices; what they hit depends on the machine's speed.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng = folder, random.Random(seed)
        self.tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
        self.references: dict[str, tuple[str, float]] = {}
        self.ends: Counter[str] = Counter()
        self._runs = 0

    def reference(self, work: Work) -> tuple[str, float]:
        """Return the digest of an undisturbed run, and how long it takes."""
        if work.name not in self.references:
            began = time.monotonic()
            found = together(work, self.folder / f"reference-{work.name.replace(' ', '-')}", "auto")
            assert found[0].state == "done", found[0]
            self.references[work.name] = (found[0].value, time.monotonic() - began)
        return self.references[work.name]

    def trial(self, work: Work) -> None:
        """Disturb one run until it has ended, or has been left alone, and compare."""
        reference, seconds = self.reference(work)
        self._runs += 1
        folder = self.folder / f"run-{self._runs}"
        suffered: list[str] = []
        for attempt in range(MOST_ATTEMPTS):
            fault = self.rng.choices(list(CHANCES), list(CHANCES.values()))[0]
            if work.ranks > 1 and fault not in ("kill -9", "SIGTERM"):
                fault = "kill -9"
            tally = self.tallies[fault, work.name]
            tally.trials += 1
            suffered.append(fault)
            outcomes = FAULTS[fault](self, work, folder, seconds, attempt)
            self._judge(tally, fault, outcomes, work)
            self._look(tally, folder)
            if any(outcome.state == "done" for outcome in outcomes):
                break
        last = together(work, folder, "auto", attempt=MOST_ATTEMPTS)
        tally = self.tallies[suffered[-1], work.name]
        wrong = next((outcome for outcome in last if outcome.state != "done"), None)
        if wrong is not None:
            tally.lost += 1
            tally.note(f"after {suffered}: {wrong.state} {wrong.error} {wrong.where[-300:]}")
        elif last[0].value != reference:
            tally.silent += 1
            tally.note(f"after {suffered}: another result")
        self.ends["ended as undisturbed" if wrong is None and last[0].value == reference else "not so"] += 1
        shutil.rmtree(folder, ignore_errors=True)
        for meeting in self.folder.glob(f"{folder.name}.meeting-*"):
            meeting.unlink(missing_ok=True)

    def _judge(self, tally: Tally, fault: str, outcomes: list[Outcome], work: Work) -> None:
        """Count how the disturbed processes ended."""
        tally.struck += any(outcome.state != "done" for outcome in outcomes)
        for outcome in outcomes:
            if outcome.state == "refused":
                tally.refused += 1
                if not outcome.clear and not outcome.error.startswith("NoisyCorrectError: rank"):
                    tally.unclear += 1
                    tally.note(f"{fault}: {outcome.error}")
            elif outcome.state == "raised":
                tally.raised += 1
                if not _expected(fault, outcome, work):
                    tally.unclear += 1
                    tally.note(f"{fault}: {outcome.error} {outcome.where[-400:]}")
            elif outcome.state == "died":
                tally.died += 1
                if outcome.error in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL") and fault != "memory":
                    tally.unclear += 1
                    tally.note(f"{fault}: {outcome.error}")
            elif outcome.state == "hung":
                tally.lost += 1
                tally.note(f"{fault}: hung")

    def _look(self, tally: Tally, folder: Path) -> None:
        """Look at every file of the run while it lies there; what is there must be whole."""
        if not (folder / "labels" / "manifest.json").exists():
            return
        found = run(lambda: [f.file + ": " + f.detail for f in check_folder(folder).findings if f.state == "damaged"])
        # A run that dies between its checkpoint and its history has a history of one record fewer.
        damaged = [text for text in found.value or () if not text.startswith("history.json: not that")]
        if found.state != "done" or damaged:
            tally.lost += 1
            tally.note(f"damaged: {damaged or found.error}")


def together(
    work: Work, folder: Path, resume: Any, *, attempt: int = 0, before: Callable[[], object] | None = None
) -> list[Outcome]:
    """Run all ranks of a work to their end, and return what came of them."""
    children = [_child(work, folder, resume, rank, attempt, before) for rank in range(work.ranks)]
    return [child.outcome(2 * LONGEST) for child in children]


def _child(
    work: Work, folder: Path, resume: Any, rank: int, attempt: int, before: Callable[[], object] | None = None
) -> Child:
    meeting = meeting_of(folder, attempt)

    def fit() -> str:
        with group(rank, work.ranks, meeting):
            return digest_of(work.fit(folder, resume))

    return Child(fit, before)


def _expected(fault: str, outcome: Outcome, work: Work) -> bool:
    """Return whether an error that is none of ours is what the fault had to lead to."""
    if work.ranks > 1 and "gloo" in outcome.error:
        return True  # the other rank is gone, and can say nothing more
    if fault == "interrupt":
        return outcome.error.startswith("KeyboardInterrupt")
    if fault == "memory":
        # The last is what oneDNN says where it gets none.
        return any(word in outcome.error for word in ("emory", "alloc", "thread", "could not create a primitive"))
    # Other libraries say for themselves that they cannot open a file.
    return fault == "descriptors" and "Too many open files" in outcome.error


# ---------------------------------------------------------------- the faults


def _signalled(number: int) -> Callable[..., list[Outcome]]:
    def strike(faults: Faults, work: Work, folder: Path, seconds: float, attempt: int) -> list[Outcome]:
        children = [_child(work, folder, "auto", rank, attempt) for rank in range(work.ranks)]
        victim = faults.rng.choice(children)
        deadline = faults.rng.uniform(0, seconds)
        if victim.running(deadline):
            victim.kill(number)
            if work.ranks > 1:  # what stays of the others is ended by whoever started them, as torchrun does
                victim.running(5)
                for other in children:
                    other.kill()
        return [child.outcome() for child in children]

    return strike


def _full_disk(faults: Faults, work: Work, folder: Path, seconds: float, attempt: int) -> list[Outcome]:
    """Limit the size of files: a real error of a real write, at any byte of any file."""
    limit = int(10 ** faults.rng.uniform(0, 4.8))

    def before() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return together(work, folder, "auto", attempt=attempt, before=before)


def _descriptors(faults: Faults, work: Work, folder: Path, seconds: float, attempt: int) -> list[Outcome]:
    more = faults.rng.randrange(8)

    def before() -> None:
        used = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 - names alone
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1 + more, used + 1 + more))

    return together(work, folder, "auto", attempt=attempt, before=before)


def _memory(faults: Faults, work: Work, folder: Path, seconds: float, attempt: int) -> list[Outcome]:
    more = int(faults.rng.uniform(0, 150) * 2**20)

    def before() -> None:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    return together(work, folder, "auto", attempt=attempt, before=before)


def _two_at_once(faults: Faults, work: Work, folder: Path, seconds: float, attempt: int) -> list[Outcome]:
    first = _child(work, folder, "auto", 0, attempt)
    first.running(faults.rng.uniform(0, seconds / 2))
    second = _child(work, folder, "auto", 0, attempt)
    outcomes = [first.outcome(), second.outcome()]
    assert sum(outcome.state == "done" for outcome in outcomes) >= 1, outcomes
    return outcomes


def _clock(faults: Faults, work: Work, folder: Path, seconds: float, attempt: int) -> list[Outcome]:
    """Let the clocks jump while it runs, and the times of the files before it goes on; then kill it."""
    jumps = random.Random(faults.rng.random())
    for path in folder.rglob("*") if folder.exists() else ():
        with contextlib.suppress(OSError):
            os.utime(path, (jumps.uniform(0, 4e9), jumps.uniform(0, 4e9)))

    def before() -> None:
        for name in ("time", "monotonic", "perf_counter"):
            real = getattr(time, name)
            setattr(time, name, lambda real=real: real() + jumps.uniform(-1e8, 1e8))

    child = _child(work, folder, "auto", 0, attempt, before)
    if child.running(faults.rng.uniform(0, 2 * seconds)):
        child.kill()
    return [child.outcome()]


FAULTS: dict[str, Callable[..., list[Outcome]]] = {
    "kill -9": _signalled(signal.SIGKILL),
    "SIGTERM": _signalled(signal.SIGTERM),
    "interrupt": _signalled(signal.SIGINT),
    "full disk": _full_disk,
    "descriptors": _descriptors,
    "memory": _memory,
    "two at once": _two_at_once,
    "clock": _clock,
}


def works_in_turn() -> Iterator[Work]:
    """Yield the works again and again; two ranks take longer, and come every fourth time."""
    while True:
        yield from WORKS.values()


if sys.platform == "win32":  # pragma: no cover - the soak forks
    raise ImportError("the soak runs where processes can be forked")
