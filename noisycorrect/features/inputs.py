"""Features and labels as evidence needs them: checked, numbered, scaled, divided into folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from noisycorrect.labels.given import checked_num_classes
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.review.issues import numbered_labels, whole_or_names
from noisycorrect.support.arrays import as_array, is_missing, is_sparse
from noisycorrect.support.errors import InvalidInputError

Features: TypeAlias = Any  # float32 (N, F): ndarray, or scipy's CSR array
_ROWS_AT_ONCE = 2**16  # of what is checked


def prepared_features(features: Any) -> Features:
    """Return features as float32, comparable in scale; the caller's are not changed.

    Dense columns get mean 0 and deviation 1 (a constant column 0), so that a feature in grams does not drown one in
    tonnes. Sparse rows get length 1 and keep their zeros: tf-idf and counts, where a document's length means nothing.

    Parameters
    ----------
    features : array-like or scipy.sparse matrix, shape (N, F)
        Numbers; more axes than two are flattened.

    Returns
    -------
    ndarray or scipy.sparse.csr_array, shape (N, F), float32

    Raises
    ------
    InvalidInputError
        If they are no table of finite numbers, or all rows are equal.

    Examples
    --------
    >>> prepared_features([[1.0, 5.0], [3.0, 5.0]])
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    """
    if is_sparse(features) and not isinstance(features, Tensor):
        from scipy import sparse

        return _sparse(sparse.csr_array(features))
    values = as_array(features, "features")
    if values.ndim < 2 or not values.size or values.dtype.kind not in "fiub":
        raise InvalidInputError(
            "features (N, F) of numbers, N and F >= 1",
            got=f"{values.dtype} of shape {values.shape}",
            fix="pass one row of numbers a sample: embeddings, encoded columns, or scipy.sparse tf-idf",
        )
    values = values.reshape(len(values), -1)
    for start in range(0, len(values), _ROWS_AT_ONCE):
        wrong = np.argwhere(~np.isfinite(values[start : start + _ROWS_AT_ONCE]))
        if len(wrong):
            row, column = wrong[0] + (start, 0)
            raise _not_finite(values[row, column], f"row {row}, column {column}")
    mean, deviation = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
    # A constant column of large numbers has a deviation of rounding errors.
    varies = deviation > 1e-9 * np.abs(mean)
    if not varies.any():
        raise InvalidInputError(
            "features that vary", got="equal rows alone", fix="pass features that tell samples apart"
        )
    scaled = values - mean.astype(np.float32) if values.dtype == np.float32 else values - mean
    scaled *= np.where(varies, 1 / np.where(varies, deviation, 1), 0).astype(scaled.dtype)
    return scaled.astype(np.float32, copy=False)


def _sparse(values: Any) -> Any:
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiub":
        raise InvalidInputError(
            "sparse features (N, F) of numbers", got=f"{values.dtype} of shape {values.shape}", fix="one row a sample"
        )
    wrong = np.flatnonzero(~np.isfinite(values.data))
    if len(wrong):
        row = int(np.searchsorted(values.indptr, wrong[0], side="right")) - 1
        raise _not_finite(values.data[wrong[0]], f"row {row}, column {values.indices[wrong[0]]}")
    if not values.count_nonzero():
        raise InvalidInputError("features that vary", got="zeros alone", fix="pass features that tell samples apart")
    values = values.astype(np.float32)  # a copy
    lengths = np.sqrt(np.asarray(values.multiply(values).sum(1)).ravel())
    values.data *= np.repeat(1 / np.where(lengths > 0, lengths, 1), np.diff(values.indptr)).astype(np.float32)
    return values


def _not_finite(value: Any, where: str) -> InvalidInputError:
    return InvalidInputError(
        "finite features",
        got=f"{value} at {where}",
        fix="fill in or leave out missing values, for example their median",
    )


def prepared_labels(labels: Any, count: int, class_names: Sequence[Any] | None) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Return labels as int64 (N,), -1 for none, and the K class names.

    Parameters
    ----------
    labels : array-like, shape (N,)
        Whole numbers from 0 on, -1 for none; or names; None or NaN for none.
    count : int
        N.
    class_names : sequence, optional
        Name of each class. Default: 0 to the largest label; of names the given ones, sorted.

    Raises
    ------
    InvalidInputError
        If there are not N labels, one is no class, or fewer than two classes have one.

    Examples
    --------
    >>> prepared_labels(["dog", None, "cat"], 3, None)
    (array([ 1, -1,  0]), ('cat', 'dog'))
    """
    array = as_array(labels, "labels")
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1 or len(array) != count:
        raise InvalidInputError(
            f"one label for each of the {count} rows of features",
            got=f"shape {array.shape}",
            fix="pass labels and features of the same samples, in the same order",
        )
    if class_names is None:
        array = whole_or_names(array)
    if class_names is None and array.dtype.kind in "OUS":
        class_names = _sorted_names({name for name in array.tolist() if not is_missing(name)})
    elif class_names is None:
        whole = array.dtype.kind in "biu" or (array.dtype.kind == "f" and np.isfinite(array).all())
        class_names = range(checked_num_classes(max(2, int(array.max(initial=0)) + 1) if whole else 2))
    names = tuple(class_names)
    if len(names) < 2:
        raise _one_class(len(names))
    given = numbered_labels(array, len(names), names)
    present = np.unique(given[given != UNLABELED])
    if len(present) < 2:
        raise _one_class(len(present))
    return given, names


def _sorted_names(names: set[Any]) -> list[Any]:
    try:
        return sorted(names)
    except TypeError as error:
        fix = "pass names of one type: labels.astype(str), or class_names=[...] in their order"
        raise InvalidInputError("labels of one type", got=str(error), fix=fix) from error


def _one_class(number: int) -> InvalidInputError:
    got = "one class alone" if number else "no label at all"
    return InvalidInputError("labels of at least two classes", got=got, fix="pass labels that tell samples apart")


def stratified_folds(given: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each sample: a class's members are dealt in random order, one fold after the other.

    Dealing goes on where the class before ended, so that rare classes do not all meet in the first fold; a class of
    two members or more is never wholly in one fold. What has no label is in fold `folds`: nobody learns from it.

    Parameters
    ----------
    given : ndarray of int64, shape (N,)
        -1 for none.
    folds : int
        At least 2.
    rng : numpy.random.Generator
        Shuffles.

    Returns
    -------
    ndarray, shape (N,), int64

    Examples
    --------
    >>> stratified_folds(np.array([0, 0, 1, -1, 1, 1]), 2, np.random.default_rng(0)).tolist()
    [0, 1, 0, 2, 0, 1]
    """
    fold = np.full(len(given), folds)
    labeled = rng.permutation(np.flatnonzero(given != UNLABELED))
    order = labeled[np.argsort(given[labeled], kind="stable")]
    fold[order] = np.arange(len(order)) % folds
    return fold
