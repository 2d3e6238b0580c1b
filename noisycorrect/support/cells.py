"""Cells of tables that spreadsheets open."""

from __future__ import annotations

import math

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


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
