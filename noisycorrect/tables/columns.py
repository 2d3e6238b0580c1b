"""What the columns of a table are: numbers, categories, texts, pictures, names of rows."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from noisycorrect.support.arrays import is_missing
from noisycorrect.tables.source import IMAGE_SUFFIXES

MOSTLY = 0.9  # share of a column's values that must be of a type for the column to be
TEXT_WORDS = 3.0  # mean words a cell from which on it is a text
MOST_CATEGORIES = 50
_SAMPLE = 2000
# 3,605 is 3605 to some people and 3.605 to others, so nobody's reading is guessed.
COMMA = re.compile(r"[+-]?\d+(?:[.' \u00a0]\d{3})*,\d+|[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
WITH_COMMA = "numbers with a comma: write them with a decimal point and no thousands separator"


@dataclass(frozen=True)
class Column:
    """What a column was taken for.

    Attributes
    ----------
    kind : str
        ``"number"``, ``"category"``, ``"text"``, ``"image"`` or ``"other"``: names of rows, constants, nothing at all.
    why : str
        In words, for those who wonder why it was left out.
    """

    kind: str
    why: str = ""


def as_number(cell: str) -> float:
    """Return the number that a cell says, NaN if none: a decimal comma and an infinity are none.

    Examples
    --------
    >>> [as_number(cell) for cell in ("2.5", " -1e3 ", "", "three", "inf")]
    [2.5, -1000.0, nan, nan, nan]
    """
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def judge_column(cells: Sequence[str]) -> Column:
    """Say what a column is, by at most 2,000 evenly spaced cells; the number of categories by all.

    Parameters
    ----------
    cells : sequence of str
        Of all rows.

    Examples
    --------
    >>> judge_column(["1.5", "2", "", "4"] * 5).kind, judge_column(["red", "blue"] * 9).kind
    ('number', 'category')
    >>> judge_column([f"the parcel {number} never came" for number in range(9)]).kind
    'text'
    >>> judge_column([f"A{number}" for number in range(99)])
    Column(kind='other', why='99 different values')
    """
    step = max(1, len(cells) // _SAMPLE)
    said = [cell for cell in cells[::step] if not is_missing(cell, words=True)]
    if not said:
        return Column("other", "empty")
    if np.mean([PurePath(cell.strip()).suffix.lower() in IMAGE_SUFFIXES for cell in said]) >= MOSTLY:
        return Column("image")
    distinct = len({cell for cell in cells if not is_missing(cell, words=True)})
    if distinct < 2:
        return Column("other", "one value throughout")
    numbers = [as_number(cell) for cell in said]
    if np.mean(np.isfinite(numbers)) >= MOSTLY:
        known = [number for number in numbers if not math.isnan(number)]
        counted = distinct == len(cells) and all(number == int(number) for number in known)
        return Column("other", "a whole number a row, each once") if counted and len(cells) > 20 else Column("number")
    if with_commas(said):
        return Column("other", WITH_COMMA)
    if np.mean([len(cell.split()) for cell in said]) >= TEXT_WORDS:
        return Column("text")
    if distinct <= min(MOST_CATEGORIES, max(2, len(cells) // 2)):
        return Column("category")
    return Column("other", f"{distinct:,} different values")


def with_commas(cells: Sequence[str]) -> bool:
    """Return whether most of a column's cells are numbers with a decimal comma or with separated thousands.

    Examples
    --------
    >>> with_commas(["3,605", "-1,964", "12"]), with_commas(["1.234,5"]), with_commas(["a, b", "3"])
    (True, True, False)
    """
    said = [cell.strip() for cell in cells if not is_missing(cell, words=True)]
    commas = sum(COMMA.fullmatch(cell) is not None for cell in said)
    numbers = sum(not math.isnan(as_number(cell)) for cell in said)
    return commas > 0 and commas + numbers >= MOSTLY * len(said)


def no_numbers(cells: Sequence[str]) -> list[str]:
    """Return the cells of a column of numbers that say something and are none: they count as gaps.

    Examples
    --------
    >>> no_numbers(["1", "", "n/a", "about 4"])
    ['about 4']
    """
    return [cell for cell in cells if not is_missing(cell, words=True) and math.isnan(as_number(cell))]


def told_gaps(count: int, example: str) -> str:
    """Return in words how many cells are no numbers.

    Examples
    --------
    >>> told_gaps(2, "?")
    "2 cells such as '?' are no numbers, and count as gaps"
    """
    return f"{count:,} cells such as {example!r} are no numbers, and count as gaps"


def numbers_of(cells: Sequence[str]) -> np.ndarray:
    """Return a column's numbers, float64 (N,), NaN where there is none.

    Examples
    --------
    >>> numbers_of(["1", "n/a"])
    array([ 1., nan])
    """
    return np.fromiter(map(as_number, cells), np.float64, len(cells))
