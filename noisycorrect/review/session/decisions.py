"""What people decided: ``decisions.jsonl``, a journal that only grows, a line a decision, on disk before it counts."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import threading
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noisycorrect.support.errors import InvalidInputError, StoreError, unknown_name
from noisycorrect.support.untrusted import parsed_json

JOURNAL = "decisions.jsonl"
ACTIONS = ("accept", "keep", "class", "skip", "undo")


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What somebody decided about an item: a line of the journal.

    Parameters
    ----------
    id : str
        The item's.
    action : {"accept", "keep", "class", "skip", "undo"}
        Accept the suggested label; keep the given one; another class; look at it some other time; take back the last
        decision about this item that has not been taken back.
    label : str or None
        The label that follows: always written, so that a later run of other suggestions changes no decision. None for
        "skip" and "undo", for masks, and where a sample is kept without a label.
    at : str
        Date and time as ISO 8601, UTC.
    tab : str
        Which page of the review it came from.
    regions : mapping, optional
        Of masks: what was decided region by region; its kind reads it.

    Raises
    ------
    InvalidInputError
        If the action is unknown, or "class" comes without a label.

    Examples
    --------
    >>> Decision(id="7", action="class", label="dog").decides
    True
    """

    id: str
    action: str
    label: str | None = None
    at: str = field(default_factory=_now)
    tab: str = ""
    regions: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise unknown_name("action", self.action, ACTIONS)
        if self.action == "class" and not isinstance(self.label, str):
            raise InvalidInputError("the label of another class", got=repr(self.label), fix="pass label=")

    @property
    def decides(self) -> bool:
        """Whether a label follows from it."""
        return self.action in ("accept", "keep", "class")


class Reviewed:
    """The state that a journal's lines lead to, item by item.

    Attributes
    ----------
    count : int
        Lines read so far.

    Examples
    --------
    >>> state = Reviewed([Decision(id="7", action="keep", label="cat"), Decision(id="7", action="undo")])
    >>> state.decision("7"), state.revision("7")
    (None, 2)
    """

    def __init__(self, decisions: Iterable[Decision] = ()) -> None:
        self.count = 0
        self._stacks: dict[str, list[Decision]] = {}
        self._revisions: dict[str, int] = {}
        for decision in decisions:
            self.apply(decision)

    def apply(self, decision: Decision) -> None:
        """Take the next line of the journal."""
        self.count += 1
        self._revisions[decision.id] = self.count
        stack = self._stacks.setdefault(decision.id, [])
        if decision.action != "undo":
            stack.append(decision)
        elif stack:
            stack.pop()

    def decision(self, id: str) -> Decision | None:  # noqa: A002 - the field's name
        """Return the decision in force about an item, or None."""
        stack = self._stacks.get(id)
        return stack[-1] if stack else None

    def revision(self, id: str) -> int:  # noqa: A002 - the field's name
        """Return the number of the last line about an item, 0 if there is none: who decides must have seen it."""
        return self._revisions.get(id, 0)

    def changed_since(self, count: int) -> list[str]:
        """Return the ids of the items that lines after the first `count` are about."""
        return [name for name, revision in self._revisions.items() if revision > count]

    def in_force(self) -> dict[str, Decision]:
        """Return the decision in force by id, of every item that has one."""
        return {name: stack[-1] for name, stack in self._stacks.items() if stack}


class Journal:
    """The decisions of a run folder, to read and to add to; one process at a time should add.

    Threads that share it hold ``lock`` while they read its state or add to it.

    Parameters
    ----------
    run_dir : path-like
        The run folder.

    Raises
    ------
    StoreError
        If there is a journal that cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> journal = Journal(tempfile.mkdtemp())
    >>> journal.append(Decision(id="7", action="keep", label="cat"))
    >>> journal.state.decision("7").label
    'cat'
    """

    def __init__(self, run_dir: str | os.PathLike[str]) -> None:
        self.path = Path(run_dir) / JOURNAL
        self.state = Reviewed(read_decisions(run_dir))
        self.lock = threading.RLock()

    def append(self, decision: Decision) -> None:
        """Write a decision, and return when it is on disk.

        A line that a killed process left half-written ends before it. If the disk is full or the folder read-only,
        nothing of it stays.

        Raises
        ------
        InvalidInputError
            If it cannot be written.
        """
        line = json.dumps(_plain(decision), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            new = not self.path.exists()
            with self.path.open("ab") as file:
                end = file.seek(0, os.SEEK_END)
                torn = end > 0 and not _ends_with_newline(self.path)
                try:
                    file.write((b"\n" if torn else b"") + line)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    with contextlib.suppress(OSError):
                        file.truncate(end)
                    raise
            if new:
                _fsync_folder(self.path.parent)
        except OSError as error:
            fix = "free space, or make the folder writable; what was decided before is safe"
            raise InvalidInputError(f"to write {self.path}", got=str(error), fix=fix) from error
        self.state.apply(decision)


def read_decisions(run_dir: str | os.PathLike[str]) -> list[Decision]:
    """Return the decisions of a run folder in their order; none if nobody has decided.

    A line that a killed process did not finish was never confirmed to anybody, and is passed over; so is any other that
    is damaged, with a warning.

    Raises
    ------
    StoreError
        If the journal cannot be read.
    """
    path = Path(run_dir) / JOURNAL
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"to read {path}", got=str(error), fix="check the folder's permissions") from error
    decisions, damaged = [], []
    *lines, unfinished = content.split(b"\n")
    for number, line in enumerate([*lines, *([unfinished] if unfinished else [])], 1):
        try:
            decisions.append(_decision(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            if number <= len(lines) and line:
                damaged.append(number)
    if damaged:
        warnings.warn(
            f"expected decisions in {path}; got line{'s' if len(damaged) > 1 else ''} {', '.join(map(str, damaged))}"
            " that cannot be read; to fix: decide about the items again that are open",
            stacklevel=2,
        )
    return decisions


def _decision(line: bytes) -> Decision:
    values = parsed_json(line)
    optional = {name: values[name] for name in ("label", "at", "tab", "regions") if name in values}
    return Decision(id=values["id"], action=values["action"], **optional)


def _plain(decision: Decision) -> dict[str, Any]:
    values = {name: getattr(decision, name) for name in ("id", "action", "label", "at", "tab")}
    return values | ({} if decision.regions is None else {"regions": dict(decision.regions)})


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _fsync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some systems cannot open or fsync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
