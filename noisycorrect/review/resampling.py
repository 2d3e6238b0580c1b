"""Sampling error of counts: stratified resamples, and exact ends where they cannot vary."""

from __future__ import annotations

from typing import Any

import numpy as np

RESAMPLES = 400


def stratified(joint: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return joints (B, K, K) of samples drawn anew within each given class, of which `joint` counts predictions."""
    # To draw n_g samples of given class g with replacement is to draw their predictions from a multinomial.
    totals = joint.sum(1)
    shares = np.divide(joint, totals[:, None], out=np.full(joint.shape, 1 / len(joint)), where=totals[:, None] > 0)
    return rng.multinomial(totals, shares, size=(RESAMPLES, len(joint)))


def tails(level: float) -> tuple[float, float]:
    """Return the two quantiles that an interval of this level lies between."""
    return (1 - level) / 2, (1 + level) / 2


def exact_ends(ends: Any, shares: Any, counts: Any, level: float) -> np.ndarray:
    """Return the low and high ends, (2, ...), exact where the share is 0 or 1 of a count and resamples cannot vary."""
    far = (1 - tails(level)[1]) ** (1 / np.maximum(counts, 1))  # of n samples all are alike
    shares, empty = np.asarray(shares), np.asarray(counts) < 1
    low = np.where(shares >= 1, np.minimum(ends[0], far), ends[0])
    high = np.where(shares <= 0, np.maximum(ends[1], 1 - far), ends[1])
    return np.stack([np.where(empty, 0.0, low), np.where(empty, 1.0, high)])
