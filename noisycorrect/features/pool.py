"""Several held-out opinions as one: a product of powers, the powers earned on the given labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEAST_PROB = 1e-6  # a class that an opinion has never seen is not for ever out of the question
MOST_WEIGHT = 5.0  # labels that are all right would sharpen without end
MOST_VALUES = 2_000_000  # N x K that weights are fitted to; they are two numbers


def log_linear_pool(opinions: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    r"""Return :math:`p_{ik} \propto \prod_m p_{imk}^{w_m}`, the logarithmic opinion pool (Genest & Zidek 1986).

    Parameters
    ----------
    opinions : sequence of ndarray, each of shape (N, K)
        Class probabilities; below 1e-6 they count as that.
    weights : ndarray, shape (M,)
        One a opinion, >= 0; they need not sum to 1: a sum above 1 sharpens.

    Returns
    -------
    ndarray, shape (N, K), float32
        Rows sum to 1.

    Examples
    --------
    >>> log_linear_pool([np.array([[0.8, 0.2]]), np.array([[0.5, 0.5]])], np.array([0.5, 1.0])).round(3)
    array([[0.667, 0.333]], dtype=float32)
    """
    from scipy.special import softmax  # here, as elsewhere: SciPy takes a while to import

    pooled = np.zeros(opinions[0].shape, np.float64)
    for weight, opinion in zip(weights, opinions, strict=True):
        pooled += weight * np.log(np.maximum(opinion, LEAST_PROB))
    return np.asarray(softmax(pooled, axis=1), np.float32)


def fit_pool(opinions: Sequence[np.ndarray], given: np.ndarray) -> np.ndarray:
    r"""Return the weights under which the pool makes the given labels most likely.

    Minimises :math:`-\frac1N \sum_i \log p_{i g_i}` over 0 <= w <= 5, which is convex: stacking (Wolpert 1992) of
    calibrated opinions. An opinion that says nothing of held-out labels gets no weight, and one that is too sure of
    itself gets less.

    Parameters
    ----------
    opinions : sequence of ndarray, each of shape (N, K)
        Held-out class probabilities. Of more than 2,000,000 values, rows that are evenly spaced are fitted.
    given : ndarray of int64, shape (N,)
        Labels, 0..K-1.

    Returns
    -------
    ndarray, shape (M,), float64

    Examples
    --------
    >>> right = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    >>> fit_pool([right, np.full((4, 2), 0.5)], np.array([0, 1, 1, 0])).round(2)
    array([1.43, 0.5 ])
    """
    from scipy.optimize import minimize
    from scipy.special import softmax

    most = max(1, MOST_VALUES // opinions[0].shape[1])
    some = np.arange(len(given)) if len(given) <= most else np.linspace(0, len(given) - 1, most).astype(np.int64)
    logs = np.stack([np.log(np.maximum(opinion[some].astype(np.float64), LEAST_PROB)) for opinion in opinions])
    own = np.take_along_axis(logs, given[some][None, :, None], 2)[:, :, 0]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        pooled = np.tensordot(weights, logs, 1)
        highest = pooled.max(1)
        totals = highest + np.log(np.exp(pooled - highest[:, None]).sum(1))
        expected = np.einsum("nk,mnk->m", softmax(pooled, axis=1), logs) / len(some)
        return float((totals - weights @ own).mean()), expected - own.mean(1)

    start = np.full(len(opinions), 1 / len(opinions))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, MOST_WEIGHT)] * len(opinions))
    return np.asarray(found.x, np.float64)
