"""Checks of given labels that several kinds share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.refine import UNLABELED
from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError

MOST_CLASSES = 2**24
NUMBER_THEM = "number the classes from 0: names, labels = np.unique(labels, return_inverse=True)"


def checked_labels(labels: Any, num_classes: int, *, name: str = "labels") -> np.ndarray:
    """Return class labels as an int64 array of its own memory, or raise.

    Parameters
    ----------
    labels : array-like, shape (N,) or (N, 1), or one-hot (N, K)
        Whole numbers in -1..`num_classes` - 1, of any dtype; -1 is unlabelled. A row of a one-hot table that is -1
        throughout is unlabelled.
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
    >>> checked_labels([[0.0], [1.0]], num_classes=10)
    array([0, 1])
    >>> checked_labels([0, 10], num_classes=10)
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected labels in 0..9 (or -1: unlabelled); got 10 at index 1; to
    fix: correct the label or pass num_classes=11
    """
    checked_num_classes(num_classes)
    _check_no_maps(labels, name)
    array = _whole(_one_a_sample(as_array(labels, name), num_classes, name), name)
    wrong = np.flatnonzero((array < UNLABELED) | (array >= num_classes))
    if len(wrong):
        raise InvalidInputError(
            f"{name} in 0..{num_classes - 1} (or {UNLABELED}: unlabelled)",
            got=f"{array[wrong[0]]} at index {wrong[0]}",
            fix=_out_of_range(array, num_classes),
        )
    return array.astype(np.int64)


def _out_of_range(array: np.ndarray, num_classes: int) -> str:
    worst, least = int(array.max()), int(array.min())
    if least == 1 and worst == num_classes:
        return "the labels seem to start at 1: subtract 1"
    if least == -100:
        return f"a sample without a label has {UNLABELED}, not PyTorch's -100: np.where(labels == -100, -1, labels)"
    if worst < num_classes:
        return "count classes from 0"
    fix = f"correct the label or pass num_classes={worst + 1}"
    if len(np.unique(array[array >= 0])) == num_classes:
        fix += f"; if class numbers have gaps, {NUMBER_THEM}"
    return fix


def _check_no_maps(labels: Any, name: str) -> None:
    """Raise if the first label is a map of whole numbers: a mask, and masks of several sizes make no array."""
    several = labels if isinstance(labels, Sequence) or getattr(labels, "ndim", 0) == 3 else ()
    first = next((label for label in several if label is not None), None)
    if isinstance(first, (np.ndarray, Tensor)) and first.ndim == 2 and as_array(first, name).dtype.kind in "iu":
        fix = 'of masks, a class a pixel, pass task="segmentation"'
        raise InvalidInputError(f"{name} of shape (N,), N >= 1", got=f"maps of shape {tuple(first.shape)}", fix=fix)


def _one_a_sample(array: np.ndarray, num_classes: int, name: str) -> np.ndarray:
    """Return labels as (N,): those of a column (N, 1) or a one-hot table (N, K), too."""
    if array.ndim == 1 and len(array):
        return array
    fix = "pass one class index a sample; labels of several annotators go to fit_votes"
    if array.ndim == 2 and len(array):
        if array.shape[1] == 1:
            return array[:, 0]
        if is_one_hot(array):
            if array.shape[1] == num_classes:
                return np.where((array == UNLABELED).all(1), UNLABELED, array.argmax(1))
            fix = f"of one-hot labels pass labels.argmax(1), and num_classes={array.shape[1]}"
        elif array.dtype.kind in "biuf" and array.shape[1] == num_classes and np.isin(array, (0, 1)).all():
            fix = 'if a sample may have several classes, pass task="multilabel"; if it has one, labels.argmax(1)'
            fix += "; votes of several annotators go to fit_votes"
        elif array.dtype.kind == "f" and array.shape[1] == num_classes:
            fix = "of probabilities pass the class of each sample, labels.argmax(1)"
    raise InvalidInputError(f"{name} of shape (N,), N >= 1", got=f"shape {array.shape}", fix=fix)


def is_one_hot(array: np.ndarray) -> bool:
    """Return whether every row of a table has one 1 among zeros, or is -1 throughout.

    Examples
    --------
    >>> is_one_hot(np.array([[0, 1], [-1, -1]])), is_one_hot(np.array([[1, 1]]))
    (True, False)
    """
    if array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in "biuf":
        return False
    known = array[~(array == UNLABELED).all(1)]
    return bool(np.isin(known, (0, 1)).all() and (known.sum(1) == 1).all())


def _whole(array: np.ndarray, name: str) -> np.ndarray:
    """Return labels (N,) of whole numbers as an integer array; bool and floats that are whole are some, too."""
    kind, got, fix = array.dtype.kind, str(array.dtype), "pass int64 class indices"
    if kind in "iu":
        return array
    if kind == "b":
        return array.astype(np.int64)
    if kind == "f" and not np.isfinite(array).all():
        got = f"{got} with NaN or infinity"
        fix = f"a sample without a label has {UNLABELED}: np.nan_to_num(labels, nan=-1), or labels.fillna(-1) of pandas"
    elif kind == "f":
        if (array == np.floor(array)).all():
            return array.astype(np.int64)
        place = int(np.flatnonzero(array != np.floor(array))[0])
        got = f"{got}, {array[place]:g} at index {place}"
        fix = "pass int64 class indices: it is classes that are learnt here, this is no regression"
    elif kind in "US" or (kind == "O" and any(isinstance(value, str) for value in array)):
        fix = NUMBER_THEM
    elif kind == "O":
        fix = f"pass int64 class indices, and {UNLABELED} for a sample without a label: labels.fillna(-1) of pandas"
    raise InvalidInputError(f"{name} to be whole numbers", got=got, fix=fix)


def one_class(given: Tensor) -> Tensor:
    """Return the class labels of a batch as int64 (B,), from a column (B, 1) or one-hot rows (B, K), too.

    Examples
    --------
    >>> one_class(torch.tensor([[0, 1], [1, 0]])), one_class(torch.tensor([[2], [0]]))
    (tensor([1, 0]), tensor([2, 0]))
    """
    if given.dim() == 2:
        given = given.long()
        given = given[:, 0] if given.shape[1] == 1 else torch.where((given < 0).all(1), UNLABELED, given.argmax(1))
    return given.long()


def checked_num_classes(num_classes: Any) -> int:
    """Return the number of classes as an int, or raise.

    Examples
    --------
    >>> checked_num_classes(np.int64(3))
    3
    """
    if isinstance(num_classes, (int, np.integer)) and num_classes > MOST_CLASSES:
        fix = "pass the number of classes; gaps in their numbers count, so number them from 0"
        raise InvalidInputError(f"num_classes <= {MOST_CLASSES:,}", got=repr(num_classes)[:40], fix=fix)
    if not isinstance(num_classes, (int, np.integer)) or isinstance(num_classes, bool) or num_classes < 2:
        raise InvalidInputError("num_classes >= 2", got=repr(num_classes), fix="pass the number of classes")
    return int(num_classes)
