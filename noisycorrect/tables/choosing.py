"""Which columns a model learns from: those that somebody named, or what columns look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from noisycorrect.support.arrays import is_missing
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.tables.columns import COMMA, WITH_COMMA, Column, as_number, judge_column, no_numbers, told_gaps
from noisycorrect.tables.features import Block, CategoryBlock, Features, NumberBlock, TextBlock


@dataclass(frozen=True)
class Choice:
    """What is learnt from.

    Attributes
    ----------
    features : Features or None
        Of tables.
    picture_column : str or None
        Of pictures.
    notes : tuple of str
        What was chosen, and what was left out.
    """

    features: Features | None
    picture_column: str | None
    notes: tuple[str, ...] = ()


def names_in(words: str | None) -> list[str]:
    """Return the names in a list with commas.

    Examples
    --------
    >>> names_in("age, colour"), names_in(None)
    (['age', 'colour'], [])
    """
    return [word.strip() for word in words.split(",") if word.strip()] if words else []


def choose(
    cells: Mapping[str, Sequence[str]], text: Sequence[str], features: Sequence[str], images: str | None
) -> Choice:
    """Choose columns, and how they are read.

    Parameters
    ----------
    cells : mapping of str to sequence of str
        Columns.
    text, features : sequence of str
        Columns that somebody named; both may be there.
    images : str or None
        Column of the paths of pictures, which nothing else may be beside.

    Raises
    ------
    InvalidInputError
        If nothing can be learnt from.

    Examples
    --------
    >>> cells = {"age": ["31", "25", "40"] * 9, "note": [f"a note of words {n}" for n in range(27)]}
    >>> choose(cells, [], [], None).notes
    ('learning from text: note; numbers: age (--text or --features says otherwise)',)
    """
    if images is not None:
        if text or features:
            fix = "leave --text and --features out"
            raise InvalidInputError("--images alone", got="other columns beside it", fix=fix)
        return Choice(None, images)
    if text or features:
        kinds, notes = {name: _row_kind(name, cells[name]) for name in features}, []
        for name, (_, note) in kinds.items():
            notes += [f"{name!r}: {note}"] if note else []
        return Choice(_features(text, {name: kind for name, (kind, _) in kinds.items()}), None, tuple(notes))
    columns = {name: judge_column(column) for name, column in cells.items()}
    found = _chosen(columns)
    wrong = {name: no_numbers(cells[name]) for name, column in columns.items() if column.kind == "number"}
    gaps = [f"{name!r}: {told_gaps(len(some), some[0])}" for name, some in wrong.items() if some]
    return replace(found, notes=(*found.notes, *gaps)) if found.features is not None else found


def _row_kind(name: str, cells: Sequence[str]) -> tuple[str, str | None]:
    """Return what a named column is read as, and what to tell."""
    found = judge_column(cells)
    if found.why == WITH_COMMA:
        got = next(cell for cell in cells if COMMA.fullmatch(cell.strip()))
        fix = "write a decimal point and no thousands separator (pandas reads such a file with decimal=',')"
        raise InvalidInputError(f"numbers in {name}", got=repr(got), fix=fix)
    if found.kind != "text" and _numbers(cells):
        wrong = no_numbers(cells)
        return "number", told_gaps(len(wrong), wrong[0]) if wrong else None
    if found.kind == "text":
        return "text", None
    mixed = sum(not np.isnan(as_number(cell)) for cell in cells)
    note = f"{mixed:,} of {len(cells):,} cells are numbers, the others are not: read as categories" if mixed else None
    return "category", note


def _numbers(cells: Sequence[str]) -> bool:
    said = [cell for cell in cells if not is_missing(cell, words=True)]
    return bool(said) and 2 * sum(not np.isnan(as_number(cell)) for cell in said) > len(said)


def _chosen(columns: Mapping[str, Column]) -> Choice:
    pictures = [name for name, column in columns.items() if column.kind == "image"]
    if pictures:
        return Choice(None, pictures[0], (f"learning from the pictures in {pictures[0]!r}",))
    text = [name for name, column in columns.items() if column.kind == "text"]
    rows = {name: column.kind for name, column in columns.items() if column.kind in ("number", "category")}
    if not text and not rows:
        seen = "; ".join(f"{name}: {column.why}" for name, column in columns.items())
        fix = "name columns with --text, --features or --images"
        raise InvalidInputError("a column to learn from", got=seen or "no other column", fix=fix)
    found = _features(text, rows)
    notes = [f"learning from {found.described()} (--text or --features says otherwise)"]
    left = [f"{name} ({column.why})" for name, column in columns.items() if column.kind == "other"]
    notes += [f"not learning from {', '.join(left)}"] if left else []
    return Choice(found, None, tuple(notes))


def _features(text: Sequence[str], rows: Mapping[str, str]) -> Features:
    blocks: list[Block] = []
    words = [*text, *(name for name, kind in rows.items() if kind == "text")]
    numbers = [name for name, kind in rows.items() if kind == "number"]
    categories = [name for name, kind in rows.items() if kind == "category"]
    blocks += [TextBlock(words)] if words else []
    blocks += [NumberBlock(numbers)] if numbers else []
    blocks += [CategoryBlock(categories)] if categories else []
    return Features(blocks)
