"""The register of bad inputs: files and arguments that somebody made wrong, by mistake or on purpose.

Each is one function that makes the bad thing in an empty folder and hands it to the package; the package has to refuse
it in one clear sentence, within a second of processor time and without taking memory for what it only declares. A file
that holds some registers them with :func:`bad_input` and is named in :data:`ROOMS`.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.soaks.children import Outcome, run

ROOMS = [
    "benchmarks.soaks.hostile_stores",
    "benchmarks.soaks.hostile_checkpoints",
    "benchmarks.soaks.hostile_networks",
    "benchmarks.soaks.hostile_files",
]
"""Modules that register bad inputs when they are imported."""
MOST_SECONDS, MOST_MEGABYTES, HANGS = 1.0, 512.0, 20.0

Attempt = Callable[[Path], Any]


@dataclass(frozen=True)
class BadInput:
    """A bad input.

    Attributes
    ----------
    name : str
        What it is, unique in its room.
    room : str
        What tables count it under.
    attempt : callable
        ``attempt(folder)`` makes it in an empty folder and hands it to the package.
    may_work : bool
        Whether the package may also make something of it.
    """

    name: str
    room: str
    attempt: Attempt
    may_work: bool = False


BAD_INPUTS: dict[str, BadInput] = {}


def bad_input(room: str, name: str, *, may_work: bool = False) -> Callable[[Attempt], Attempt]:
    """Register a bad input; a decorator, or called with a function that was made.

    Examples
    --------
    >>> @bad_input("examples", "a label store that is a text")
    ... def attempt(folder):
    ...     from noisycorrect import SoftLabelStore
    ...     (folder / "manifest.json").write_text("no store")
    ...     SoftLabelStore.open(folder)
    >>> problem(BAD_INPUTS.pop("examples: a label store that is a text")) is None
    True
    """

    def register(attempt: Attempt) -> Attempt:
        key = f"{room}: {name}"
        if key in BAD_INPUTS:
            raise ValueError(f"{key!r} stands twice among the bad inputs")
        BAD_INPUTS[key] = BadInput(name, room, attempt, may_work)
        return attempt

    return register


def all_bad_inputs() -> list[BadInput]:
    """Return every bad input of every room."""
    for name in ROOMS:
        importlib.import_module(name)
    return list(BAD_INPUTS.values())


def problem(bad: BadInput, folder: Path | None = None) -> str | None:
    """Try a bad input in a process of its own; return what is wrong with the answer, None if it is refused clearly."""
    import tempfile

    place = Path(tempfile.mkdtemp()) if folder is None else folder
    place.mkdir(parents=True, exist_ok=True)
    try:
        return verdict(bad, run(lambda: bad.attempt(place), longest=HANGS))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def verdict(bad: BadInput, outcome: Outcome) -> str | None:
    """Return what is wrong with the answer to a bad input; None if nothing is."""
    if outcome.state == "done":
        return None if bad.may_work else "taken without a word"
    if not outcome.clear:
        return f"{outcome.state}: {outcome.error or 'nothing'} {outcome.where[-600:]}".strip()
    if outcome.error.count("\n"):
        return f"more than a sentence: {outcome.error}"
    if outcome.seconds > MOST_SECONDS:
        return f"refused after {outcome.seconds:.1f} s of processor time"
    if outcome.megabytes > MOST_MEGABYTES:
        return f"refused after taking {outcome.megabytes:.0f} MB"
    return None
