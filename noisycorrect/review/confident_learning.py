"""Confident learning: which given labels are wrong, from out-of-sample probabilities.

Northcutt, Jiang, Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70
(arXiv:1911.00068). What all functions but one take, and the InvalidInputError that they raise:

given : array-like of int, shape (N,)
    Given labels, 0..K-1; one out of range or missing, or another number of them, is an error.
probs : array-like, shape (N, K)
    Class probabilities, in [0, 1] and summing to 1, from models that were not trained on the samples in question:
    :func:`noisycorrect.classification.methods.prune_retrain.prune_retrain` makes them by cross-validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from noisycorrect.labels.given import checked_labels
from noisycorrect.review.pairs import pair_counts
from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError, unknown_name

MATRIX_CLASSES = 2048  # up to so many a (K, K) array takes 32 MB at most; of more classes it is sparse
VALUES_AT_ONCE = 2**20  # of probabilities, 8 MB of float64
_ROUNDING = 1e-9  # share of a threshold that may be lacking: a mean of equal probabilities can come out above them
METHODS = ("prune-by-noise-rate", "prune-by-class", "both", "confident-joint")


def class_thresholds(given: Any, probs: Any) -> np.ndarray:
    r"""Return the mean probability of each class over the samples labelled so (Northcutt et al. 2021, Eq. 2).

    :math:`t_j = \frac{1}{|X_{\tilde y = j}|} \sum_{x \in X_{\tilde y = j}} \hat p(\tilde y = j; x)`

    Returns
    -------
    ndarray, shape (K,), float64
        In [0, 1]; infinite for a class without a label, which no probability reaches.

    Examples
    --------
    >>> class_thresholds([0, 0, 1], [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    array([0.7, 0.8])
    """
    labels, values = _checked(given, probs)
    return _thresholds(labels, values)


def confident_joint(given: Any, probs: Any) -> Any:
    """Count the samples that are labelled i and confidently of class j (Northcutt et al. 2021, Eq. 1).

    A sample is confidently of class j if its probability of j is at least the threshold of j
    (:func:`class_thresholds`), but for rounding: a billionth of it may be lacking. Of several such classes the most
    probable counts. A sample may be of none.

    Returns
    -------
    ndarray, shape (K, K), int64
        ``[given, true]``. Of more than 2,048 classes a ``scipy.sparse.csr_array``.

    Examples
    --------
    >>> confident_joint([0, 0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
    array([[2, 1],
           [0, 1]])
    """
    labels, values = _checked(given, probs)
    confident = _confident_class(labels, values)
    counted = confident >= 0
    return pair_counts(labels[counted], confident[counted], values.shape[1], dense=MATRIX_CLASSES)


def calibrated_joint(given: Any, probs: Any) -> Any:
    r"""Return the estimated joint distribution of given and true labels (Northcutt et al. 2021, Eq. 3).

    :math:`\hat Q_{ij} \propto \frac{C_{ij}}{\sum_j C_{ij}} |X_{\tilde y = i}|` with :func:`confident_joint` C: each row
    sums to the share of the labels i. A row of C without a count is taken as right labels.

    Returns
    -------
    ndarray, shape (K, K), float64
        ``[given, true]``, summing to 1; one minus the trace is the estimated share of wrong labels. Of more than 2,048
        classes a ``scipy.sparse.csr_array``.

    Examples
    --------
    >>> calibrated_joint([0, 0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
    array([[0.5 , 0.25],
           [0.  , 0.25]])
    """
    labels, values = _checked(given, probs)
    rows, columns, shares = _calibrated(labels, _confident_class(labels, values), values.shape[1])
    shape = (values.shape[1], values.shape[1])
    if shape[0] > MATRIX_CLASSES:
        from scipy.sparse import csr_array

        return csr_array((shares, (rows, columns)), shape=shape)
    joint = np.zeros(shape)
    joint[rows, columns] = shares
    return joint


def estimated_noise_matrix(joint: Any) -> Any:
    r"""Return the transition matrix :math:`p(\tilde y \mid y^*)` that belongs to a joint distribution.

    Parameters
    ----------
    joint : array-like or scipy.sparse array, shape (K, K)
        ``[given, true]``, >= 0: :func:`calibrated_joint`. Of a sparse one what is returned is a ``csr_array``.

    Returns
    -------
    ndarray, shape (K, K), float64
        ``[true, given]``, rows summing to 1, as :mod:`noisycorrect.classification.noise` writes transitions; a class
        that no sample is estimated to have keeps its label.

    Raises
    ------
    InvalidInputError
        If `joint` is not square, or holds NaN or a negative number.

    Examples
    --------
    >>> estimated_noise_matrix([[0.4, 0.1], [0.0, 0.5]]).round(3)
    array([[1.   , 0.   ],
           [0.167, 0.833]])
    """
    if hasattr(joint, "tocsr"):
        return _sparse_noise_matrix(joint)
    values = np.asarray(joint, np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not (values >= 0).all():
        raise InvalidInputError(
            "a joint (K, K) of numbers >= 0", got=f"shape {values.shape}", fix="pass calibrated_joint(given, probs)"
        )
    totals = values.sum(0)[:, None]
    return np.asarray(np.where(totals > 0, values.T / np.where(totals > 0, totals, 1), np.eye(len(values))))


def _sparse_noise_matrix(joint: Any) -> Any:
    from scipy.sparse import csr_array, diags_array

    totals = np.asarray(joint.sum(0), np.float64).ravel()
    scale = diags_array(1 / np.where(totals > 0, totals, 1))
    return csr_array(scale @ joint.T + diags_array((totals <= 0).astype(np.float64)))


def find_errors(given: Any, probs: Any, method: str = "prune-by-noise-rate") -> np.ndarray:
    r"""Return which given labels are likely wrong (Northcutt et al. 2021, sec. 3.2).

    ``"prune-by-noise-rate"``
        For each :math:`i \ne j`, the :math:`n \hat Q_{ij}` samples labelled i with the largest margin
        :math:`\hat p_j - \hat p_i`, n being N and :math:`\hat Q` the :func:`calibrated_joint`.
    ``"prune-by-class"``
        For each i, the :math:`n \sum_{j \ne i} \hat Q_{ij}` samples labelled i with the smallest :math:`\hat p_i`.
    ``"both"``
        What the two agree on.
    ``"confident-joint"``
        The samples counted off the diagonal of :func:`confident_joint`.

    Numbers of samples are rounded to the nearest whole one; of equal margins the earlier sample is taken.

    Parameters
    ----------
    given, probs : array-like
        See the module.
    method : str
        See above.

    Returns
    -------
    ndarray, shape (N,), bool

    Raises
    ------
    InvalidInputError
        If the method is unknown; see also the module.

    Examples
    --------
    >>> find_errors([0, 0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
    array([False, False,  True, False])
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    labels, values = _checked(given, probs)
    confident = _confident_class(labels, values)
    if method == "confident-joint":
        return np.asarray((confident >= 0) & (confident != labels))
    rows, columns, shares = _calibrated(labels, confident, values.shape[1])
    off = rows != columns
    rows, columns, numbers = rows[off], columns[off], shares[off] * len(labels)
    wrong = np.ones(len(labels), bool)
    if method != "prune-by-class":
        wrong &= _largest_margins(labels, values, rows, columns, np.rint(numbers).astype(np.int64))
    if method != "prune-by-noise-rate":
        each = np.rint(np.bincount(rows, numbers, values.shape[1])).astype(np.int64)
        wrong &= _least_in_class(labels, _own(labels, values), each)
    return wrong


def paired(given: Any, probs: Any, what: str, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (N,), int64, and as many rows of probabilities (N, K); `what` is what messages call these.

    Their `dtype` None is that of `probs`, which are then not copied.

    Raises
    ------
    InvalidInputError
        If shapes or labels do not fit.
    """
    values = as_array(probs, what)
    values = values if dtype is None else values.astype(dtype, copy=False)
    if values.ndim != 2 or values.shape[1] < 2:
        raise InvalidInputError(f"{what} (N, K), K >= 2", got=f"shape {values.shape}", fix="one row a sample")
    labels = checked_labels(given, values.shape[1])
    if len(labels) != len(values):
        raise InvalidInputError(
            f"as many labels as the {len(values)} rows of {what}", got=str(len(labels)), fix="pass the same samples"
        )
    return labels, values


def check_sums(values: np.ndarray) -> None:
    """Raise an InvalidInputError unless rows (N, K) are probabilities that sum to 1 (tolerance 1e-3)."""
    sums = values.sum(1)
    if not (values >= 0).all() or not (np.abs(sums - 1) <= 1e-3).all():
        raise InvalidInputError(
            "probabilities in [0, 1] that sum to 1",
            got="NaN" if np.isnan(sums).any() else f"values from {values.min():.3g}, sums to {sums.max():.3g}",
            fix="apply softmax to logits first",
        )


def _checked(given: Any, probs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (N,), int64, and probabilities (N, K) of any dtype; every sample has a label."""
    labels, values = paired(given, probs, "probabilities", dtype=None)
    if (labels < 0).any():
        raise InvalidInputError("a label for every sample", got="-1", fix="leave out the unlabelled samples")
    for _, block in _blocks(values):
        check_sums(block)
    return labels, values


def _blocks(values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows and their probabilities, float64 (n, K), some at a time."""
    step = max(1, VALUES_AT_ONCE // values.shape[1])
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        yield rows, np.asarray(values[rows], np.float64)


def _own(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the probability of each given label, float64 (N,)."""
    return np.asarray(values[np.arange(len(labels)), labels], np.float64)


def _thresholds(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    classes = values.shape[1]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=_own(labels, values), minlength=classes)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.inf))


def _confident_class(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the class that each sample confidently has, int64 (N,), -1 for none."""
    least, found = _thresholds(labels, values) * (1 - _ROUNDING), np.empty(len(labels), np.int64)
    for rows, probs in _blocks(values):
        reached = probs >= least
        found[rows] = np.where(reached.any(1), np.where(reached, probs, -1.0).argmax(1), -1)
    return found


def _calibrated(labels: np.ndarray, confident: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cells of the calibrated joint that are not 0, sorted: given class, true class, share."""
    counted = confident >= 0
    cells, counts = np.unique(labels[counted] * classes + confident[counted], return_counts=True)
    totals = np.bincount(cells // classes, counts, classes)
    alone = np.flatnonzero(totals == 0)
    cells = np.concatenate([cells, alone * classes + alone])
    shares = np.concatenate([counts / totals[cells[: len(counts)] // classes], np.ones(len(alone))])
    order = np.argsort(cells)
    given, true = cells[order] // classes, cells[order] % classes
    share = shares[order] * np.bincount(labels, minlength=classes)[given] / len(labels)
    return given, true, share


def _members(labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples by class, each class in order, and where each class begins, (K + 1,)."""
    starts = np.concatenate([[0], np.bincount(labels, minlength=classes).cumsum()])
    return np.argsort(labels, kind="stable"), starts


def _largest_margins(
    labels: np.ndarray, values: np.ndarray, given: np.ndarray, true: np.ndarray, numbers: np.ndarray
) -> np.ndarray:
    """Return the samples of each given class with the so many largest margins to a true class, bool (N,)."""
    order, starts = _members(labels, values.shape[1])
    own, found = _own(labels, values), np.zeros(len(labels), bool)
    for mine, other, number in zip(*(each[numbers > 0].tolist() for each in (given, true, numbers)), strict=True):
        members = order[starts[mine] : starts[mine + 1]]
        margins = np.asarray(values[members, other], np.float64) - own[members]
        found[members[np.argsort(-margins, kind="stable")[:number]]] = True
    return found


def _least_in_class(labels: np.ndarray, own: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the so many samples of each class of least probability, bool (N,)."""
    order = np.lexsort((own, labels))  # stable
    starts = _members(labels, len(numbers))[1]
    rank = np.arange(len(labels)) - starts[labels[order]]
    found = np.zeros(len(labels), bool)
    found[order[rank < numbers[labels[order]]]] = True
    return found
