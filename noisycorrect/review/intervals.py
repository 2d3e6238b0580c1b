"""Sampling error of shares: exact where samples are independent, from the spread over samples where parts are alike."""

from __future__ import annotations

from typing import Any

import numpy as np


def binomial_ends(counts: Any, totals: Any, level: float) -> np.ndarray:
    r"""Return the ends of the exact binomial interval of a share (Clopper & Pearson 1934).

    With x of n, and :math:`\alpha` one minus the level, they are the quantiles :math:`B(\alpha/2; x, n - x + 1)` and
    :math:`B(1 - \alpha/2; x + 1, n - x)` of beta distributions; 0 and 1 at the edges.

    Parameters
    ----------
    counts : array-like of numbers, shape (...)
        x, in [0, n]; need not be whole.
    totals : array-like of numbers, shape (...)
        n; of none nothing is known, 0 to 1.
    level : float
        In (0, 1).

    Returns
    -------
    ndarray, shape (2, ...), float64
        Low and high ends.

    Examples
    --------
    >>> binomial_ends([0, 5], [10, 10], 0.95).round(3)
    array([[0.   , 0.187],
           [0.308, 0.813]])
    """
    from scipy.special import betaincinv

    found, of = np.broadcast_arrays(np.asarray(counts, np.float64), np.asarray(totals, np.float64))
    tail = (1 - level) / 2
    missing = of - found
    low = np.where(found > 0, betaincinv(np.maximum(found, 1e-9), missing + 1, tail), 0.0)
    high = np.where(missing > 0, betaincinv(found + 1, np.maximum(missing, 1e-9), 1 - tail), 1.0)
    return np.stack([low, high])


def normal_ends(shares: Any, errors: Any, units: Any, level: float) -> np.ndarray:
    """Return low and high ends, (2, ...), of shares with standard errors; exact where 0 or 1 of so many `units`.

    All being alike there is no spread to measure; see :func:`binomial_ends`.

    Examples
    --------
    >>> normal_ends([0.5, 0.0], [0.1, 0.0], [20, 20], 0.95).round(3)
    array([[0.304, 0.   ],
           [0.696, 0.168]])
    """
    from scipy.stats import norm

    shares, units = np.asarray(shares, np.float64), np.asarray(units)
    reach = float(norm.ppf((1 + level) / 2)) * np.asarray(errors)
    ends = np.stack([shares - reach, shares + reach]).clip(0, 1)
    exact = binomial_ends(shares * units, np.broadcast_to(units, shares.shape), level)
    return np.where((shares <= 0) | (shares >= 1) | (units < 1), exact, ends)


class SpreadOverSamples:
    r"""Standard errors of shares of parts, if whole samples are drawn: parts of one sample are alike.

    For a ratio :math:`R = \sum_i a_i / \sum_i b_i` of sums over n samples the error is
    :math:`\sqrt{\frac{n}{n-1} \sum_i (a_i - R b_i)^2} / \sum_i b_i` (Cochran 1977, "Sampling Techniques", sec. 2.11,
    for sampling with replacement). Sums of squares and products are enough for it: memory does not grow with samples.

    Parameters
    ----------
    classes : int
        K.

    Examples
    --------
    >>> spread = SpreadOverSamples(2)
    >>> spread.add(np.array([[[2, 2], [0, 0]], [[4, 0], [0, 0]]]))
    >>> spread.joint.tolist(), round(spread.errors()[0], 3)
    ([[6.0, 2.0], [0.0, 0.0]], 0.25)
    """

    def __init__(self, classes: int) -> None:
        self.samples = 0
        self.joint = np.zeros((classes, classes))  # [given, most probable]
        self.holders = np.zeros(classes, np.int64)  # samples with each most probable class
        self._squares, self._products = np.zeros((classes, classes)), np.zeros((classes, classes))
        self._totals = np.zeros(classes)
        self._rate = np.zeros(3)  # sums of a^2, a b, b^2, a being what is contradicted and b all

    def add(self, counts: np.ndarray) -> None:
        """Add samples, counts (n, K, K) of [given, most probable] each; those without parts are left out."""
        every = counts.sum((1, 2), dtype=np.float64)
        counts, every = counts[every > 0].astype(np.float64), every[every > 0]
        columns = counts.sum(1)
        wrong = every - counts.trace(axis1=1, axis2=2)
        self.samples += len(counts)
        self.joint += counts.sum(0)
        self.holders += (columns > 0).sum(0)
        self._squares += np.einsum("ngk,ngk->gk", counts, counts)
        self._products += np.einsum("ngk,nk->gk", counts, columns)
        self._totals += (columns**2).sum(0)
        self._rate += [(wrong**2).sum(), (wrong * every).sum(), (every**2).sum()]

    def errors(self) -> tuple[float, np.ndarray]:
        """Return the standard errors of the contradicted share, and of each share [most probable, given], (K, K)."""
        columns = self.joint.sum(0)
        shares = np.divide(self.joint, columns, out=np.zeros_like(self.joint), where=columns > 0)
        squares = self._squares - 2 * shares * self._products + shares**2 * self._totals
        entries = _error(squares, self.holders, columns).T
        total = self.joint.sum()
        rate = 1 - self.joint.trace() / total
        squared = self._rate @ [1, -2 * rate, rate**2]
        return float(_error(squared, np.asarray(self.samples), total)), entries


def _error(squares: Any, samples: np.ndarray, totals: Any) -> np.ndarray:
    free = samples / np.maximum(samples - 1, 1)
    return np.asarray(np.sqrt(np.maximum(squares, 0) * free) / np.maximum(totals, 1e-300))
