"""Cells of tables that spreadsheets open, and texts of files on a terminal."""

from __future__ import annotations

import math
import re

# C0 and C1 but for tab and line end, DEL, and what turns the direction of writing or hides letters.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


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
