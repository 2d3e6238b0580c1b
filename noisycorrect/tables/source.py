"""What somebody has: a table in a file, or a folder of class folders, read row by row and never changed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from noisycorrect.support.errors import InvalidInputError, unknown_name

Row = list[str]
FOLDER_COLUMNS = ("path", "label")
OUR_COLUMNS = ("given_label", "corrected_label", "label_quality", "is_label_issue")  # of a cleaned table
IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_SURROGATE = re.compile("[\\ud800-\\udfff]")


class Source(Protocol):
    """A table that can be read again and again, in the same order.

    Attributes
    ----------
    path : Path
        Where it lies.
    columns : tuple of str
        Names, each once.
    kind : str
        ``"csv"``, ``"parquet"``, ``"jsonl"`` or ``"folder"``.
    notes : list of str
        What was found out about the file and should be told: its encoding, if that had to be guessed.
    """

    path: Path
    columns: tuple[str, ...]
    kind: str
    notes: list[str]

    def rows(self) -> Iterator[Row]:
        """Yield the cells of each row as text, in the order of the columns; a gap is an empty text."""
        ...

    def signature(self) -> list[Any]:
        """Return what changes when the file does."""
        ...


def plain_text(value: Any) -> str:
    """Return a value of a Parquet or JSON file as a cell: nothing as an empty text, lists and dicts as JSON.

    Half a surrogate pair, as programs leave it that cut texts off, becomes U+FFFD: no file could be written with it.

    Examples
    --------
    >>> [plain_text(value) for value in (None, True, 3, 2.5, "a", ["b"], float("nan"))]
    ['', 'true', '3', '2.5', 'a', '["b"]', '']
    """
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def file_signature(path: Path) -> list[Any]:
    """Return a file's size and the time of its last change."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def find_column(name: str, columns: Sequence[str], option: str) -> int:
    """Return the place of a column.

    Raises
    ------
    InvalidInputError
        If there is none of that name: the message names the nearest one.

    Examples
    --------
    >>> find_column("lable", ["id", "text", "label"], "--label")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected a known column for --label; got 'lable'; to fix: did you
    mean 'label'? Known: 'id', 'label', 'text'
    """
    if name not in columns:
        raise unknown_name(f"column for {option}", name, columns)
    return columns.index(name)


def checked_columns(columns: Iterable[str], path: Path) -> tuple[str, ...]:
    """Return names of columns, each once.

    Raises
    ------
    InvalidInputError
        If there is none, or two are alike.
    """
    found = tuple(columns)
    if not any(name.strip() for name in found):
        raise InvalidInputError(f"a first row with column names in {path}", got="none", fix="add a header row")
    twice = sorted(name for name, count in Counter(found).items() if count > 1)
    if twice:
        raise InvalidInputError(
            f"each column name once in {path}", got=f"{twice[0]!r} twice", fix="rename one of the columns in the header"
        )
    return found
