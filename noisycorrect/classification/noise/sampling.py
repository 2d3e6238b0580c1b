"""How many samples change and which: exact counts, or each sample by its own throw."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Sampling: TypeAlias = Literal["exact", "bernoulli"]


def members_by_class(labels: NDArray[np.int64], num_classes: int) -> list[NDArray[np.int64]]:
    """Return for each class the indices of its samples, ascending.

    Examples
    --------
    >>> [members.tolist() for members in members_by_class(np.array([1, 0, 1]), 3)]
    [[1], [0, 2], []]
    """
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=num_classes))
    return np.split(order, ends[:-1])


def exact_count(share: float, size: int) -> int:
    """Return `share` of `size` as a whole number, halves to even.

    The product is first rounded to 9 decimals, so that 0.35 of 10 is the half it is on paper and not
    3.4999999999999996.

    Examples
    --------
    >>> exact_count(0.4, 50), exact_count(0.25, 10), exact_count(0.35, 10)
    (20, 2, 4)
    """
    return min(size, round(round(share * size, 9)))


def largest_remainder(shares: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return whole numbers that sum to `count` and each lie within one of `shares * count` (Hamilton's method).

    Parameters
    ----------
    shares : ndarray of float64, shape (K,)
        Not negative, sum 1.
    count : int
        What to divide, at least 0.
    rng : numpy.random.Generator
        Decides between equal remainders.

    Returns
    -------
    ndarray of int64, shape (K,)
        Sum `count`; 0 where the share is 0.

    Examples
    --------
    >>> largest_remainder(np.array([0.5, 0.3, 0.2]), 7, np.random.default_rng(0)).tolist()
    [4, 2, 1]
    """
    quota = shares * count
    # Quotas that are whole numbers on paper may lie a rounding error off them, and equal remainders may differ by one.
    whole = np.floor(quota + 1e-9).astype(np.int64)
    remainder = np.round(quota - whole, 9)
    order = np.lexsort((rng.random(len(shares)), -remainder))
    whole[order[: count - int(whole.sum())]] += 1
    return whole


def pick(
    labels: NDArray[np.int64], rate: float, num_classes: int, sampling: Sampling, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which samples to change, shape (N,): round(rate * n_c) of each class, or each with probability `rate`."""
    if sampling == "bernoulli":
        return rng.random(len(labels)) < rate
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for members in members_by_class(labels, num_classes):
        chosen[rng.choice(members, exact_count(rate, len(members)), replace=False)] = True
    return chosen


def draw_labels(
    labels: NDArray[np.int64], transition: NDArray[np.float64], sampling: Sampling, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return labels drawn from the rows of a transition matrix.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        Right labels, in 0..K-1.
    transition : ndarray of float64, shape (K, K)
        Row-stochastic.
    sampling : {"exact", "bernoulli"}
        "exact": of the n_c samples of class c, round((1 - T[c, c]) * n_c) change; their targets are divided by the
        largest remainder, equal remainders at random; who gets which is random. "bernoulli": each label is one draw
        from its row.
    rng : numpy.random.Generator
        The randomness.

    Returns
    -------
    ndarray of int64, shape (N,)
        Noisy labels.

    Examples
    --------
    >>> swap = np.array([[0.5, 0.5], [0.0, 1.0]])
    >>> int(draw_labels(np.zeros(10, dtype=np.int64), swap, "exact", np.random.default_rng(0)).sum())
    5
    """
    noisy = labels.copy()
    for label, members in enumerate(members_by_class(labels, len(transition))):
        if sampling == "bernoulli":
            noisy[members] = draw_rows(transition[label : label + 1], rng.random(len(members)))
            continue
        away = transition[label].copy()
        away[label] = 0.0
        count = exact_count(float(away.sum()), len(members))
        if count:
            targets = largest_remainder(away / away.sum(), count, rng)
            noisy[rng.choice(members, count, replace=False)] = np.repeat(np.arange(len(away)), targets)
    return noisy


def draw_rows(probs: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return one class for each uniform number by inversion; a class of probability 0 is never drawn.

    Parameters
    ----------
    probs : ndarray of float64, shape (N, K) or (1, K)
        Probabilities of each draw; a single row serves all.
    uniform : ndarray of float64, shape (N,)
        In [0, 1).

    Returns
    -------
    ndarray of int64, shape (N,)

    Examples
    --------
    >>> draw_rows(np.array([[0.2, 0.0, 0.8]]), np.array([0.1, 0.2, 0.9])).tolist()
    [0, 2, 2]
    """
    upper = np.cumsum(probs, axis=1)
    upper /= upper[:, -1:]  # ends at exactly 1, which no uniform number reaches
    if len(upper) == 1:
        return np.searchsorted(upper[0], uniform, side="right").astype(np.int64)
    first: NDArray[np.int64] = np.argmax(upper > uniform[:, None], axis=1).astype(np.int64)
    return first
