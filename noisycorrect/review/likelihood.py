"""The transition matrix of greatest likelihood, given a classifier's probabilities and the noisy labels."""

from __future__ import annotations

import numpy as np

MOST_VALUES = 2_000_000  # N x K that a fit looks at; more of them change its third digit
MOST_RESAMPLED = 50_000  # the same for one resample
RESAMPLES = 50  # a standard deviation, from which the interval is made, needs no more
_ITERATIONS, _TOLERANCE = 500, 1e-6
_START = 0.7  # of the diagonal


def fit_transition(
    labels: np.ndarray, probs: np.ndarray, start: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
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
    probs : ndarray of float64, shape (N, K)
        Probabilities e of the true class given the input alone. Of more than 2,000,000 values, rows that are evenly
        spaced are fitted.
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
    labels, probs = labels[some], probs[some]
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


def transition_errors(
    labels: np.ndarray, probs: np.ndarray, transition: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
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
