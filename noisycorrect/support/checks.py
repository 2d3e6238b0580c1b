"""Checks of plain arguments; numpy's numbers count as numbers."""

from __future__ import annotations

import math
import operator
import os
from pathlib import Path
from typing import Any

from noisycorrect.support.errors import InvalidInputError

LARGEST = 2**63


def whole_number(name: str, value: Any, least: int) -> int:
    """Return `value` as an int of at least `least`.

    Raises
    ------
    InvalidInputError
        If it is no whole number (a bool is none), or too small.

    Examples
    --------
    >>> whole_number("epochs", 0, least=1)
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected epochs to be a whole number >= 1; got 0; to fix: pass
    epochs=1 or more
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is not None and number >= LARGEST:
        fix = f"pass a number that a machine can count to, < {LARGEST:.0e}"
        raise InvalidInputError(f"{name} to be a whole number of at most 63 bits", got=repr(value)[:40], fix=fix)
    if number is None or number < least:
        raise InvalidInputError(
            f"{name} to be a whole number >= {least}", got=repr(value), fix=f"pass {name}={least} or more"
        )
    return number


def finite_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    more_than: float = -math.inf,
    at_most: float = math.inf,
    fix: str,
) -> float:
    """Return `value` as a float with `above` <= value < `below` and `more_than` < value <= `at_most`.

    Raises
    ------
    InvalidInputError
        If it is no number, not finite, or out of range.

    Examples
    --------
    >>> finite_number("momentum", 0.5, above=0, below=1, fix="0.9 is common")
    0.5
    >>> finite_number("share", 0, more_than=0, at_most=1, fix="0.5 is common")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected 0 < share <= 1; got 0; to fix: 0.5 is common
    """
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and above <= number < below and more_than < number <= at_most):
        least = f"{above:g} <= {name}" if more_than == -math.inf else f"{more_than:g} < {name}"
        most = f" < {below:g}" if below < math.inf else f" <= {at_most:g}" if at_most < math.inf else ""
        limit = least + most
        raise InvalidInputError(limit, got=repr(value), fix=fix)
    return number


def checked_path(path: Any, name: str) -> Path:
    """Return a path-like argument as a Path.

    Raises
    ------
    InvalidInputError
        If it is none, is empty, or holds a NUL, which no file system takes.

    Examples
    --------
    >>> checked_path(5, "run_dir")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected run_dir to be a path; got 5; to fix: pass a str or
    pathlib.Path, such as "runs/first"
    """
    try:
        text = None if isinstance(path, bytes) else os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        fix = 'pass a str or pathlib.Path, such as "runs/first"'
        raise InvalidInputError(f"{name} to be a path", got=repr(path), fix=fix)
    return Path(text)


def set_field(value: Any, name: str, checked: Any) -> None:
    """Set a field of a frozen dataclass in its ``__post_init__``: numpy's numbers become plain ones there."""
    object.__setattr__(value, name, checked)
