"""The part of a table that cleaning needs in memory: names of rows, labels, votes, and the columns to learn from."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from noisycorrect.data.votes import Votes
from noisycorrect.export.table import COLUMNS as EXPORTED
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.tables.source import OUR_COLUMNS, Source, find_column

NO_LABEL = frozenset({"", "na", "n/a", "nan", "null", "<na>"})  # "none" may well be a class
MOST_CLASSES = 1000
FEWEST_LABELS = 10
_WHOLE = re.compile(r"(-?[0-9]+)(?:\.0*)?")
_OURS = rf"(?:noisycorrect_)?(?:{'|'.join({*OUR_COLUMNS, *EXPORTED} - {'label'})})(?:_[0-9]+)?|noisycorrect_label"
_REMEMBERED = 10_000  # values of a column that are kept once however often they occur


@dataclass(frozen=True)
class Request:
    """What somebody wants to be read.

    Attributes
    ----------
    label : str or None
        Column of the given labels; not needed beside `annotators`.
    annotators : str or None
        Pattern of the columns of several annotators, such as ``"annotator_*"``, or names with commas.
    id : str or None
        Column of the rows' names. Default: ``id``, in any case of letters, if there is one and no name comes twice.
    columns : tuple of (str, str)
        Further columns, each with the option that named it. If there are none: all but those that
        :func:`our_columns` finds.
    """

    label: str | None
    annotators: str | None = None
    id: str | None = None
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(eq=False)
class Loaded:
    """What was read.

    Attributes
    ----------
    count : int
        N, rows.
    ids : list of str
        Name of each row, each once; the number of the row, from 1 on, where there is no column of names.
    id_column : str or None
        Where they come from.
    classes : tuple of str
        K names, sorted.
    given : ndarray, shape (N,), int64
        Given labels; of several annotators the majority, unless there is a label, too; -1 for none.
    votes : Votes or None
        Of several annotators.
    cells : dict of str to list of str
        The further columns.
    label : str
        What the given labels are called: a column, or a pattern.
    notes : list of str
        What should be told.
    """

    count: int
    ids: list[str]
    id_column: str | None
    classes: tuple[str, ...]
    given: np.ndarray
    votes: Votes | None
    cells: dict[str, list[str]]
    label: str
    notes: list[str] = field(default_factory=list)


def load(source: Source, request: Request, progress: Callable[[int], None] | None = None) -> Loaded:
    """Read what a request asks for, in one pass over the rows.

    Parameters
    ----------
    source : Source
        The table.
    request : Request
        What is wanted.
    progress : callable, optional
        Is told after some thousand rows how many have been read.

    Raises
    ------
    InvalidInputError
        If a column is missing, there are too few labels or classes, or a column of names has one twice.
    """
    if request.label is None and request.annotators is None:
        fix = f"say --label COLUMN; the columns are {_listed(source.columns)}"
        raise InvalidInputError("--label, or --annotators", got="neither", fix=fix)
    label = None if request.label is None else source.columns[find_column(request.label, source.columns, "--label")]
    people = _annotator_columns(source.columns, request.annotators)
    named = _id_column(source.columns, request.id)
    for name, option in request.columns:
        find_column(name, source.columns, option)
    ours = our_columns(source.columns)
    special = {label, named, *people}
    if label in ours and not request.columns:
        fix = "name them, without the column that held the labels before: it would tell them"
        raise InvalidInputError("--text, --features or --images for a table cleaned before", got="none", fix=fix)
    wanted = [name for name, _ in request.columns] or [
        name for name in source.columns if name not in special and name not in ours
    ]
    needed = list(dict.fromkeys([*([label] if label else []), *people, *([named] if named else []), *wanted]))
    read = _read(source, needed, progress)
    count = len(read[needed[0]])
    if not count:
        raise InvalidInputError(f"rows in {source.path}", got="a header alone", fix="check the export")
    notes = list(source.notes)
    left = [] if request.columns else [name for name in ours if name not in special]
    if left:
        notes.append(f"not learning from {', '.join(left)} (which noisycorrect wrote; --features says otherwise)")
    ids, id_column = _ids(read, named, count, request.id is not None, notes)
    classes, given, votes = _labels(read, label, people, notes)
    cells = {name: read[name] for name in wanted}
    called = label if label is not None and not people else request.annotators or str(label)
    return Loaded(count, ids, id_column, classes, given, votes, cells, called, notes)


def our_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns that look as if this package wrote them, beside ones of the same name, too: they tell labels.

    A ``probability`` is ours only beside a ``predicted_label``.

    Examples
    --------
    >>> our_columns(["text", "given_label", "given_label_2", "label", "noisycorrect_label", "probability"])
    ['given_label', 'given_label_2', 'noisycorrect_label']
    """
    predicted = any(name.startswith("predicted_label") for name in columns)
    ours = re.compile(rf"{_OURS}|probability(?:_[0-9]+)?" if predicted else _OURS)
    return [name for name in columns if ours.fullmatch(name)]


def _annotator_columns(columns: Sequence[str], pattern: str | None) -> list[str]:
    if pattern is None:
        return []
    found: list[str] = []
    for part in (part.strip() for part in pattern.split(",")):
        matching = [name for name in columns if fnmatch.fnmatchcase(name, part)]
        if not matching:
            raise unknown_name("column for --annotators", part, columns)
        found += matching
    return list(dict.fromkeys(found))


def _id_column(columns: Sequence[str], name: str | None) -> str | None:
    if name is not None:
        return columns[find_column(name, columns, "--id")]
    return next((column for column in columns if column.casefold() == "id"), None)


def _read(source: Source, names: Sequence[str], progress: Callable[[int], None] | None) -> dict[str, list[str]]:
    """Return some columns; of a value that occurs often there is one object."""
    places = [source.columns.index(name) for name in names]
    columns: list[list[str]] = [[] for _ in names]
    known: list[dict[str, str]] = [{} for _ in names]
    for number, row in enumerate(source.rows(), 1):
        for column, place, values in zip(columns, places, known, strict=True):
            cell = row[place]
            same = values.get(cell)
            if same is None:
                same = cell
                if len(values) < _REMEMBERED:
                    values[cell] = cell
            column.append(same)
        if progress is not None and number % 10_000 == 0:
            progress(number)
    return dict(zip(names, columns, strict=True))


def _ids(
    read: dict[str, list[str]], column: str | None, count: int, asked: bool, notes: list[str]
) -> tuple[list[str], str | None]:
    numbers = [str(number) for number in range(1, count + 1)]
    if column is None:
        return numbers, None
    ids = [cell.strip() for cell in read[column]]
    often = Counter(ids)
    empty, (name, times) = often.get("", 0), often.most_common(1)[0]
    if not empty and times == 1:
        return ids, column
    got = f"{empty:,} empty ones" if empty else f"{name!r} {times:,} times"
    if asked:
        raise InvalidInputError(
            f"a different name in each row of {column!r}", got=got, fix="leave --id out, and rows go by their number"
        )
    notes.append(f"{column!r} does not name rows ({got}): they go by their number, from 1 on")
    return numbers, None


def _labels(
    read: dict[str, list[str]], label: str | None, people: Sequence[str], notes: list[str]
) -> tuple[tuple[str, ...], np.ndarray, Votes | None]:
    columns = [*([label] if label is not None and label not in people else []), *people]
    tables = whole_labels({name: label_cells(read[name], name, notes) for name in columns})
    names = _class_names(tables, "labels" if people else repr(label), notes)
    place = {name: number for number, name in enumerate(names)} | {"": UNLABELED}
    codes = {name: np.fromiter((place[cell] for cell in cells), np.int64, len(cells)) for name, cells in tables.items()}
    if not people:
        assert label is not None
        given = codes[label]
        _check_enough(given, names)
        single = [repr(names[code]) for code in np.flatnonzero(np.bincount(given[given >= 0]) == 1).tolist()]
        if single:
            notes.append(f"one row alone is labelled {' or '.join(single[:5])}: nothing can speak for or against it")
        return names, given, None
    votes = _votes(codes, names, notes)
    given = votes.majority()
    if label is not None and label not in people:
        given = np.where(codes[label] != UNLABELED, codes[label], given)
    _check_enough(given, names)
    return names, given, votes


def label_cells(cells: Sequence[str], column: str, notes: list[str]) -> list[str]:
    """Return labels without blanks around them; an empty text for none.

    What should be told is added to `notes`.

    Examples
    --------
    >>> notes = []
    >>> label_cells([" 1.0", "2", "NA"], "class", notes), notes
    (['1.0', '2', ''], ["'NA' in 'class' is read as no label"])
    """
    plain = {cell: "" if cell.strip().casefold() in NO_LABEL else cell.strip() for cell in set(cells)}
    words = sorted({cell.strip() for cell, name in plain.items() if not name and cell.strip()})
    if words:
        notes.append(f"{', '.join(map(repr, words))} in {column!r} is read as no label")
    return [plain[cell] for cell in cells]


def whole_labels(tables: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the labels of columns with 1.0 as 1, if all columns hold whole numbers alone or 1 is a label, too.

    Examples
    --------
    >>> whole_labels({"ann": ["1.0", "2.0", ""], "bo": ["1", "2", "3"]})
    {'ann': ['1', '2', ''], 'bo': ['1', '2', '3']}
    >>> whole_labels({"ann": ["1.5", "2.0"], "bo": ["2.0", "3.0"]})
    {'ann': ['1.5', '2.0'], 'bo': ['2.0', '3.0']}
    """
    whole = {name: _whole(name) for name in set().union(*tables.values()) - {""}}
    spelled = Counter(whole.values())  # in how many ways
    alone = None not in spelled
    plain = {name: number for name, number in whole.items() if number is not None and (alone or spelled[number] > 1)}
    return {column: [plain.get(cell, cell) for cell in cells] for column, cells in tables.items()}


def as_classes(labels: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Return labels as classes are spelled: what is no class becomes the class that is the same whole number, if any.

    Examples
    --------
    >>> as_classes(["1.5", "2", "3.0", ""], ("1.5", "2.0", "3"))
    ['1.5', '2.0', '3', '']
    """
    same = {_whole(name) or name: name for name in classes} | {name: name for name in classes}
    return [same.get(name) or same.get(_whole(name) or name, name) for name in labels]


def _whole(name: str) -> str | None:
    """Return a whole number as such: gaps make 1.0 of 1 in the tables of other programs. Codes such as 007 stay."""
    found = _WHOLE.fullmatch(name)
    return None if found is None else found[1]


def _class_names(tables: dict[str, list[str]], what: str, notes: list[str]) -> tuple[str, ...]:
    counts = Counter(cell for cells in tables.values() for cell in cells if cell)
    total = sum(counts.values())
    if not total:
        fix = "check the column, and how missing labels are spelled"
        raise InvalidInputError(f"labels in {what}", got="none in any row", fix=fix)
    if len(counts) < 2:
        fix = "pass labels that tell rows apart"
        raise InvalidInputError(
            f"labels of two classes at least in {what}", got=f"{next(iter(counts))!r} alone", fix=fix
        )
    for name, cells in tables.items():
        own = Counter(cell for cell in cells if cell)
        once = sum(count == 1 for count in own.values())
        if len(own) > MOST_CLASSES or (len(own) > 20 and 2 * once > own.total()):
            got = f"{len(own):,} different values, such as {', '.join(map(repr, list(own)[:3]))}"
            fix = "name columns of classes with --label or --annotators; measured values and texts are no classes"
            raise InvalidInputError(f"class labels in {name!r}", got=got, fix=fix)
    alike: dict[str, list[str]] = {}
    for name in counts:
        alike.setdefault(name.casefold(), []).append(name)
    notes += [
        f"{' and '.join(map(repr, sorted(several)))} are taken for different classes; make them one if they are not"
        for several in alike.values()
        if len(several) > 1
    ]
    return tuple(sorted(counts))


def _votes(codes: dict[str, np.ndarray], names: tuple[str, ...], notes: list[str]) -> Votes:
    table = np.stack(list(codes.values()), 1)
    item, annotator = np.nonzero(table != UNLABELED)
    votes = Votes(item, annotator, table[item, annotator], num_items=len(table), classes=names, annotators=list(codes))
    idle = [name for name, count in zip(codes, votes.votes_of_annotators.tolist(), strict=True) if not count]
    if idle:
        notes.append(f"{', '.join(map(repr, idle))} labelled nothing")
    return votes


def _check_enough(given: np.ndarray, names: Sequence[str]) -> None:
    known = given[given != UNLABELED]
    if len(known) < FEWEST_LABELS or np.bincount(known).max() == len(known):
        got = f"{len(known)}" if len(known) < FEWEST_LABELS else f"{names[int(known[0])]!r} alone by the majority"
        fix = "clean a table with more labelled rows; so few are read faster than any evidence is made"
        raise InvalidInputError(f"{FEWEST_LABELS} labels of two classes at least", got=got, fix=fix)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:12]))
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
