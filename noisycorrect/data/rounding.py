"""Columns whose differences are lost in float32, in which networks compute: moments in seconds, long numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from noisycorrect.support.errors import warn_of_training

_ROWS_SEEN = 1000
# Steps of float32 in the range of a column: of more no values worth a word fall together, of fewer than the least they
# differ by the rounding errors of float64 alone.
_MOST_STEPS, _LEAST_STEPS = 32, 2.0**-20


def few_rows(values: Any) -> Any:
    """Return at most 1,000 evenly spaced rows of an array, tensor, table or list; not copied where that is possible.

    Examples
    --------
    >>> len(few_rows(np.zeros((1001, 2))))
    501
    """
    return getattr(values, "iloc", values)[:: max(1, -(-len(values) // _ROWS_SEEN))]


def warn_of_rounding(rows: np.ndarray, name: str, columns: Sequence[Any] | None = None) -> None:
    """Issue a TrainingWarning that names the first column, if there is one, whose different values are one in float32.

    Parameters
    ----------
    rows : ndarray, shape (n, F)
        Some of the inputs, before they become float32; what has no columns of 8 bytes a number is passed over.
    name : str
        What the message calls them.
    columns : sequence, optional
        Names of the columns.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_of_rounding(np.array([[1.7e9], [1.7e9 + 1], [1.7e9 + 2]]), "inputs")
    >>> str(caught[0].message).partition("; to fix")[0]
    'expected numbers that float32 tells apart; got column 0 of inputs with 3 different values in 3 rows, 1 in float32'
    """
    if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "iuf" or rows.dtype.itemsize < 8:
        return
    least, most = (extreme.reduce(rows).astype(np.float64) for extreme in (np.fmin, np.fmax))
    with np.errstate(invalid="ignore", over="ignore"):
        steps = (most - least) / np.spacing(np.maximum(-least, most).astype(np.float32))
        suspicious = np.flatnonzero((steps > _LEAST_STEPS) & (steps < _MOST_STEPS))
    for column in suspicious.tolist():
        exact = np.unique(rows[:, column])
        left = np.unique(exact.astype(np.float32))
        if len(left) < len(exact):
            called = column if columns is None else repr(columns[column])
            warn_of_training(
                "numbers that float32 tells apart",
                f"column {called} of {name} with {len(exact)} different values in {len(rows)} rows, {len(left)} in"
                " float32",
                "subtract a constant from it, such as its smallest value here, and the same one from new inputs",
            )
            return
