"""The transition matrix of greatest likelihood, given a classifier's probabilities and the noisy labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_VALUES = 2_000_000  # N x K that a fit looks at; more of them change its third digit
MOST_RESAMPLED = 50_000  # the same for one resample
RESAMPLES = 50  # a standard deviation, from which the interval is made, needs no more
_ITERATIONS, _TOLERANCE = 500, 1e-6
_START = 0.7  # of the diagonal


def fit_transition(labels: np.ndarray, probs: Any, start: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the transition matrix of greatest likelihood, and the expected counts behind it.

    Maximises :math:`\sum_i \log \sum_k e_{ik} T_{k g_i}`, which is concave, by expectation maximisation (Dempster,
    Laird & Rubin 1977; for one annotator whose errors depend on the true class: Dawid & Skene 1979, Eq. 2.3 and 2.5,
    with the classifier's probabilities in place of the class prior):

    .. math::

        r_{ik} = \frac{e_{ik} T_{k g_i}}{\sum_j e_{ij} T_{j g_i}}, \qquad
        T_{kg} = \frac{\sum_i r_{ik} 1[g_i = g]}{\sum_i r_{ik}}

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        Given labels g, 0..K-1.
    probs : ndarray or Rows, shape (N, K)
        Probabilities e of the true class given the input alone; read as float64. Of more than 2,000,000 values, rows
        that are evenly spaced are fitted.
    start : ndarray of float64, shape (K, K), optional
        Where to start; no entry that is 0 can change. Default: 0.7 on the diagonal.

    Returns
    -------
    transition : ndarray, shape (K, K), float64
        T, ``[true, given]``, rows summing to 1; a class without probability keeps its label.
    joint : ndarray, shape (K, K), float64
        :math:`\sum_i r_{ik} 1[g_i = g]`, ``[given, true]``, summing to N.

    Examples
    --------
    >>> transition, _ = fit_transition(np.array([0, 0, 0, 1, 1]), np.eye(2)[[0, 0, 0, 0, 1]])
    >>> transition.round(3)
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    count, classes = probs.shape
    some = evenly(count, MOST_VALUES // classes)
    labels, probs = labels[some], np.asarray(probs[some], np.float64)
    order = np.argsort(labels, kind="stable")
    labels, probs = labels[order], probs[order]
    present, starts = np.unique(labels, return_index=True)
    if start is None:
        start = np.full((classes, classes), (1 - _START) / (classes - 1))
        np.fill_diagonal(start, _START)
    transition, joint = start, np.zeros((classes, classes))
    for _ in range(_ITERATIONS):
        shares = probs * transition.T[labels]
        shares /= np.maximum(shares.sum(1, keepdims=True), np.finfo(float).tiny)
        joint[present] = np.add.reduceat(shares, starts)
        totals = joint.sum(0)[:, None]
        updated = np.where(totals > 0, joint.T / np.where(totals > 0, totals, 1), np.eye(classes))
        moved = float(np.abs((updated - transition) * totals).sum()) / len(labels)
        transition = updated
        if moved < _TOLERANCE:
            break
    return transition, joint * (count / joint.sum())


@dataclass(frozen=True)
class PairTransition:
    """A transition matrix of many classes that knows the pairs of true and given class which samples speak of.

    Attributes
    ----------
    pairs : ndarray of int64, shape (P,)
        ``true * K + given``, rising.
    values : ndarray of float64, shape (P,)
        Chance of the given class.
    least : ndarray of float64, shape (K,)
        That of a pair that is not there, by true class.
    """

    pairs: np.ndarray
    values: np.ndarray
    least: np.ndarray

    def of(self, true: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Return the chance of given classes (n,) for each of m true classes (n, m); K stands for none, with 0."""
        classes = len(self.least)
        wanted = true.astype(np.int64) * classes + given[:, None]
        place = np.minimum(np.searchsorted(self.pairs, wanted), len(self.pairs) - 1)
        least = np.append(self.least, 0.0)[true]
        return np.asarray(np.where(self.pairs[place] == wanted, self.values[place], least) * (true < classes))


def fit_sparse_transition(
    labels: np.ndarray, classes: np.ndarray, probs: np.ndarray, num_classes: int, *, tolerance: float = _TOLERANCE
) -> PairTransition:
    r"""Return the fit of :func:`fit_transition` where each sample may be of a few classes alone.

    Time and memory are linear in N x m, whatever K is.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        Given labels, 0..K-1.
    classes : ndarray of integers, shape (N, m)
        Which true classes a sample may have, different ones; K in a place that holds none.
    probs : ndarray of float64, shape (N, m)
        Their probabilities; 0 where there is none.
    num_classes : int
        K.
    tolerance : float
        Share of the samples by which a last step may move the counts.

    Returns
    -------
    PairTransition
        A pair that no sample speaks of counts as half a sample of its true class would.

    Examples
    --------
    >>> true = np.array([[0], [0], [0], [0], [1]])
    >>> found = fit_sparse_transition(np.array([0, 0, 0, 1, 1]), true, np.ones((5, 1)), 2)
    >>> found.of(np.array([[0, 1], [0, 1]]), np.array([0, 1])).round(3)
    array([[0.75, 0.5 ],
           [0.25, 1.  ]])
    """
    held = probs > 0
    row, column = np.nonzero(held)
    true, values = classes[row, column].astype(np.int64), probs[row, column]
    pairs, place = np.unique(true * num_classes + labels[row], return_inverse=True)
    own = pairs // num_classes
    begins = np.flatnonzero(np.diff(row, prepend=-1))
    each = np.searchsorted(begins, np.arange(len(row)), side="right") - 1  # rows without any are left out
    transition = np.where(own == pairs % num_classes, _START, (1 - _START) / (num_classes - 1))
    totals: np.ndarray = np.zeros(num_classes)
    for _ in range(_ITERATIONS):
        shares = values * transition[place]
        shares /= np.maximum(np.add.reduceat(shares, begins), np.finfo(float).tiny)[each]
        joint = np.bincount(place, shares, len(pairs))
        totals = np.bincount(own, joint, num_classes)
        updated = joint / np.maximum(totals[own], np.finfo(float).tiny)
        moved = float((np.abs(updated - transition) * totals[own]).sum()) / len(labels)
        transition = updated
        if moved < tolerance:
            break
    return PairTransition(pairs, transition, 0.5 / np.maximum(totals, 1.0))


def transition_errors(labels: np.ndarray, probs: Any, transition: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the standard error of each entry of the transition: a bootstrap, stratified by given label.

    Of many samples each resample has fewer, and its deviation is scaled by the root of the ratio (m out of n bootstrap,
    Bickel, Goetze & van Zwet 1997).

    Parameters
    ----------
    labels, probs
        As for :func:`fit_transition`.
    transition : ndarray, shape (K, K)
        The fit to all samples.
    rng : Generator
        Draws the samples.

    Returns
    -------
    ndarray, shape (K, K), float64
        ``[true, given]``.
    """
    count, classes = probs.shape
    drawn = min(count, max(MOST_RESAMPLED // classes, 10 * classes))
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=classes)
    begins = np.cumsum(sizes) - sizes
    near = 0.99 * transition + 0.01 / classes  # a zero could not change
    matrices = []
    for _ in range(RESAMPLES):
        strata = labels if drawn == count else labels[rng.permutation(count)[:drawn]]
        picks = order[begins[strata] + (rng.random(drawn) * sizes[strata]).astype(np.int64)]
        matrices.append(fit_transition(labels[picks], probs[picks], near)[0])
    return np.asarray(np.sqrt(drawn / count) * np.std(matrices, axis=0, ddof=1))


def evenly(count: int, most: int) -> np.ndarray:
    """Return at most so many positions of `count`, evenly spaced.

    Examples
    --------
    >>> evenly(5, 3).tolist()
    [0, 2, 4]
    """
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(np.int64)
