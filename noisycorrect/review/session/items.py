"""The items of a cleaning run: ``cleaning.json`` says what the run was, ``items.jsonl`` has a line a sample."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from noisycorrect.support.errors import InvalidInputError, StoreError, unknown_name
from noisycorrect.support.files import replace_atomically, write_json
from noisycorrect.support.untrusted import parsed_json

HEADER, ITEMS = "cleaning.json", "items.jsonl"
VERSION = 1
KINDS_OF_ITEMS = ("text", "image", "row", "mask")
CONTENTS = ("text", "image", "row")  # what an item shows; one of them


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What a cleaning run was made of, and what came of it: the content of ``cleaning.json``.

    Parameters
    ----------
    kind : {"text", "image", "row", "mask"}
        What an item shows. Of masks the labels themselves lie in the run's label store, item by item.
    classes : sequence of str
        The names, in the order of the store's class indices.
    source : str
        Where the data came from: a file or folder.
    label : str
        The column of the given labels, or what else they are called.
    created : str
        Date and time as ISO 8601. Default: now, UTC.
    command : sequence of str
        The words that made the run, for the report.
    figures : mapping
        What is known of the run as plain JSON values, every one optional. The report knows ``noise`` (see
        :func:`~noisycorrect.review.report.figures.noise_figures`), ``annotators`` (records of
        :meth:`Consensus.annotators <noisycorrect.Consensus.annotators>`), ``val_accuracy_before`` and
        ``val_accuracy_after`` (in [0, 1], against the given labels of ``val_labels`` held-out samples), ``seconds``,
        ``recipe``, ``seed``, ``version``, ``device``. NaN becomes null.
    version : int
        Of the format.

    Raises
    ------
    InvalidInputError
        If the kind is unknown, or the names are fewer than two or not different.

    Examples
    --------
    >>> Cleaning(kind="text", classes=("cat", "dog"), source="pets.csv", label="label", created="2026-01-01").kind
    'text'
    """

    kind: str
    classes: Sequence[str]
    source: str
    label: str
    created: str = field(default_factory=_now)
    command: Sequence[str] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.kind not in KINDS_OF_ITEMS:
            raise unknown_name("kind of items", self.kind, KINDS_OF_ITEMS)
        names = (self.classes,) if isinstance(self.classes, str) else tuple(self.classes)
        if len(names) < 2 or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
            raise InvalidInputError("two or more different class names", got=repr(names), fix="pass the names as str")
        object.__setattr__(self, "classes", names)
        object.__setattr__(self, "command", tuple(map(str, self.command)))


@dataclass(frozen=True, kw_only=True)
class Item:
    """A sample as the review shows it: a line of ``items.jsonl``.

    Parameters
    ----------
    id : str
        Its name in the source, different from all others.
    given, suggested : str or None
        Given label, None for a sample without one; and the label that the evidence suggests, None where nothing was
        predicted. Of masks: the pair of classes in which given and evidence differ most.
    quality : float
        Label quality in [0, 1]; low is suspicious.
    is_issue : bool
        Whether the evidence contradicts the given label.
    probs : mapping of str to float
        Probability of the most probable classes, about five.
    text, image, row : str, str, mapping of str to a plain value
        What there is to see. An image is a path, absolute or relative to the run folder. At most one of them.
    votes : mapping of str to str, optional
        Label by annotator.
    share : float, optional
        Of masks: share of the pixels that the evidence gives another class.

    Raises
    ------
    InvalidInputError
        If the quality is not in [0, 1], the id is no string, or there is more than one thing to see.

    Examples
    --------
    >>> item = Item(id="7", given="cat", suggested="dog", quality=0.1, is_issue=True, text="woof")
    >>> item.corrected
    'dog'
    """

    id: str
    given: str | None
    suggested: str | None
    quality: float
    is_issue: bool
    probs: Mapping[str, float] = field(default_factory=dict)
    text: str | None = None
    image: str | None = None
    row: Mapping[str, Any] | None = None
    votes: Mapping[str, str] | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InvalidInputError("the id of an item to be a string", got=repr(self.id), fix="pass str(id)")
        if not 0 <= self.quality <= 1:
            raise InvalidInputError(f"quality in [0, 1] of item {self.id!r}", got=repr(self.quality), fix="correct it")
        shown = [name for name in CONTENTS if getattr(self, name) is not None]
        if len(shown) > 1:
            raise InvalidInputError(f"one thing to see of item {self.id!r}", got=", ".join(shown), fix="pass one")

    @property
    def corrected(self) -> str | None:
        """The label before anybody has looked: the suggested one where the given one is contradicted or missing."""
        if self.suggested is None:
            return self.given
        return self.suggested if self.is_issue or self.given is None else self.given


_NAMES = tuple(each.name for each in fields(Item))


def has_items(run_dir: str | os.PathLike[str]) -> bool:
    """Return whether a folder is a cleaning run's."""
    return (Path(run_dir) / HEADER).is_file() and (Path(run_dir) / ITEMS).is_file()


def write_items(run_dir: str | os.PathLike[str], header: Cleaning, items: Iterable[Item]) -> int:
    """Write ``items.jsonl`` and ``cleaning.json`` into a run folder, which is made if need be, and return the count.

    Each file is replaced as a whole, the header last. Items come in the order of the run's label store.

    Raises
    ------
    InvalidInputError
        If an id comes twice, a label is none of the classes, or the folder cannot be written; nothing changes.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> header = Cleaning(kind="text", classes=["cat", "dog"], source="pets.csv", label="label")
    >>> item = Item(id="7", given="cat", suggested="dog", quality=0.1, is_issue=True, probs={"dog": 0.9}, text="woof")
    >>> write_items(folder, header, [item])
    1
    >>> read_items(folder)[1][0].text
    'woof'
    """
    folder, seen, known = Path(run_dir), set[str](), {*header.classes, None}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replace_atomically(folder / ITEMS) as temporary, temporary.open("w", encoding="utf-8") as file:
            for item in items:
                if item.id in seen:
                    fix = "number the rows, or choose another column of ids"
                    raise InvalidInputError("a different id for every item", got=f"{item.id!r} twice", fix=fix)
                if not {item.given, item.suggested} <= known:
                    got = f"{item.given!r} and {item.suggested!r} of item {item.id!r}"
                    raise InvalidInputError(f"labels out of {tuple(header.classes)}", got=got, fix="name all classes")
                seen.add(item.id)
                file.write(_line(item))
        write_json(folder / HEADER, _finite(asdict(header)))
    except OSError as error:
        fix = "free space, or choose another run folder"
        raise InvalidInputError(f"to write into {folder}", got=str(error), fix=fix) from error
    return len(seen)


def read_items(run_dir: str | os.PathLike[str]) -> tuple[Cleaning, list[Item]]:
    """Return what :func:`write_items` wrote.

    Raises
    ------
    StoreError
        If a file is missing or damaged, or of a later version of the package.
    """
    folder = Path(run_dir)
    return read_header(folder), _read_lines(folder / ITEMS)


def read_header(folder: Path) -> Cleaning:
    """Return the content of ``cleaning.json``; see :func:`read_items` for the errors."""
    path = folder / HEADER
    if not path.is_file():
        fix = (
            "pass the folder that `noisycorrect clean` wrote; of a SelfCorrector's run write_items makes one, of masks"
            " write_mask_items"
        )
        raise StoreError(f"a cleaning run in {folder}", got=f"no {HEADER}", fix=fix)
    try:
        values = parsed_json(path.read_text(encoding="utf-8"))
        version = values["version"]
        if isinstance(version, int) and version > VERSION:
            fix = "update the package"
            raise StoreError(f"a run of version {VERSION} or before in {folder}", got=str(version), fix=fix)
        known = {each.name for each in fields(Cleaning)}
        return Cleaning(**{name: value for name, value in values.items() if name in known})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"a cleaning run's {path}", got=str(error), fix="restore it from a copy") from error


def _read_lines(path: Path) -> list[Item]:
    items, number = [], 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                number += 1
                values = parsed_json(line)
                items.append(Item(**{name: values[name] for name in _NAMES if name in values}))
    except (OSError, ValueError, TypeError) as error:
        got = f"line {number}: {error}" if number else str(error)
        raise StoreError(f"items in {path}", got=got, fix="restore it from a copy, or clean again") from error
    return items


def _line(item: Item) -> str:
    """Return an item as a line of JSON, without the fields that it does not have."""
    values = {name: getattr(item, name) for name in _NAMES}
    shown = {name: value for name, value in values.items() if value is not None or name in ("given", "suggested")}
    try:
        return json.dumps(shown, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError):  # NumPy's scalars, NaN, dates
        return json.dumps(_finite(shown), ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """Return plain JSON values, with null for what JSON has no number for; NumPy's scalars become Python's."""
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
