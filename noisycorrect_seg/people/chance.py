"""Draws that are cheaper than `Generator.choice`: a picture makes several hundred of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def one_of(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Return one of the options, all equally likely."""
    return options[int(rng.random() * len(options))]


def weighted(rng: np.random.Generator, options: Mapping[T, float]) -> T:
    """Return one of the keys, as likely as its weight."""
    threshold = rng.random() * sum(options.values())
    for option, weight in options.items():
        threshold -= weight
        if threshold < 0:
            return option
    return option


def happens(rng: np.random.Generator, share: float) -> bool:
    """Return True with probability `share`."""
    return bool(rng.random() < share)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a uniform draw from [low, high)."""
    return low + (high - low) * float(rng.random())


def near(rng: np.random.Generator, mean: float, std: float, low: float, high: float) -> float:
    """Return a normal draw, clipped to [low, high]."""
    return min(max(mean + std * float(rng.standard_normal()), low), high)
