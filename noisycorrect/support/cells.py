"""Cells of tables that spreadsheets open, and texts of files on a terminal."""

from __future__ import annotations

import math
import re
from typing import IO

# C0 and C1 but for tab and line end, DEL, and what turns the direction of writing or hides letters.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class CsvLines:
    r"""What ``csv.writer`` writes to in place of a file: rows end with "\n", and cells with any line end are quoted.

    Parameters
    ----------
    file : text file
        Opened with ``newline=""``.

    Examples
    --------
    >>> import csv, io
    >>> file = io.StringIO()
    >>> csv.writer(CsvLines(file)).writerows([["id", "text"], ["1", "one\rtwo"]])
    >>> file.getvalue()
    'id,text\n1,"one\rtwo"\n'
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        r"""Write a row that ends with "\r\n"."""
        # A writer whose rows end with "\n" leaves "\r" bare in some versions of Python: to a reader that is a row more.
        return self._file.write(row.removesuffix("\r\n") + "\n")


def visible(text: str) -> str:
    r"""Return a text whose control characters can be seen and do nothing: a terminal obeys them, from a file or not.

    Line ends and tabs stay; so does what only looks odd.

    Examples
    --------
    >>> print(visible("red \x1b[31m, and \u202ereversed"))
    red \x1b[31m, and \u202ereversed
    """
    return _CONTROLS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def safe_cell(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: with an apostrophe before what could be one.

    Numbers stay as they are.

    Examples
    --------
    >>> [safe_cell(text) for text in ("=1+1", "-5", "-a", "a=b")]
    ["'=1+1", '-5', "'-a", 'a=b']
    """
    if not text.startswith(_FORMULA):
        return text
    try:
        number = math.isfinite(float(text)) and text.strip() == text
    except ValueError:
        number = False
    return text if number else f"'{text}"
