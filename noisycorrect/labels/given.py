"""Checks of given labels that several kinds share."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from noisycorrect.labels.refine import UNLABELED
from noisycorrect.support.errors import InvalidInputError


def checked_labels(labels: Any, num_classes: int, *, name: str = "labels") -> np.ndarray:
    """Return class labels as an int64 array, or raise.

    Parameters
    ----------
    labels : array-like, shape (N,)
        Whole numbers in -1..`num_classes` - 1; -1 is unlabelled.
    num_classes : int
        K, at least 2.
    name : str
        What the message calls them.

    Raises
    ------
    InvalidInputError
        If they are not so.

    Examples
    --------
    >>> checked_labels([0, 10], num_classes=10)
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected labels in 0..9 (or -1: unlabelled); got 10 at index 1; to
    fix: correct the label or pass num_classes=11
    """
    checked_num_classes(num_classes)
    array = as_array(labels, name)
    if array.ndim != 1 or not len(array):
        raise InvalidInputError(
            f"{name} of shape (N,), N >= 1",
            got=f"shape {array.shape}",
            fix="pass one class index a sample; labels of several annotators go to fit_votes",
        )
    if not np.issubdtype(array.dtype, np.integer):
        detail = "" if array.dtype.kind != "f" or np.isfinite(array).all() else " with NaN or infinity"
        raise InvalidInputError(
            f"{name} to be whole numbers", got=f"{array.dtype}{detail}", fix="pass int64 class indices"
        )
    wrong = np.flatnonzero((array < UNLABELED) | (array >= num_classes))
    if len(wrong):
        worst = int(array.max())
        fix = f"correct the label or pass num_classes={worst + 1}" if worst >= num_classes else "count classes from 0"
        if array.min() == 1 and worst == num_classes:
            fix = "the labels seem to start at 1: subtract 1"
        raise InvalidInputError(
            f"{name} in 0..{num_classes - 1} (or {UNLABELED}: unlabelled)",
            got=f"{array[wrong[0]]} at index {wrong[0]}",
            fix=fix,
        )
    return array.astype(np.int64)


def checked_num_classes(num_classes: Any) -> int:
    """Return the number of classes as an int, or raise.

    Examples
    --------
    >>> checked_num_classes(np.int64(3))
    3
    """
    if not isinstance(num_classes, (int, np.integer)) or num_classes < 2:
        raise InvalidInputError("num_classes >= 2", got=repr(num_classes), fix="pass the number of classes")
    return int(num_classes)


def as_array(values: Any, name: str) -> np.ndarray:
    """Return a tensor, array or sequence as an array; a read-only array makes no warning.

    Raises
    ------
    InvalidInputError
        If a sequence's items have different shapes.
    """
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{name} as an array of numbers", got=str(error), fix="pass one array") from error
