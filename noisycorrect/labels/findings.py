"""What a kind of labels finds when it holds given labels against the evidence: arrays, ranked and read in `review`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class LabelReview:
    """What the evidence says of labelled samples, in the order of the data set.

    Attributes
    ----------
    index : ndarray of int64, shape (n,)
        Positions of the labelled samples.
    given, suggested : ndarray of int64, shape (n,)
        The given label, and the most probable class of the evidence. Of a label of many parts: those of the part, or
        of the contradicted parts, that its kind puts first; -1 for none.
    quality : ndarray of float32, shape (n,)
        Label quality in [0, 1].
    share : ndarray of float64, shape (n,)
        Share of the labelled parts of a label that the evidence gives another class; 0 where the evidence agrees.
    contradicted : ndarray of bool, shape (n,)
        Whether the evidence has another most probable class, in some part of a label.
    """

    index: np.ndarray
    given: np.ndarray
    suggested: np.ndarray
    quality: np.ndarray
    share: np.ndarray
    contradicted: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[LabelReview]) -> LabelReview:
        """Return several reviews as one.

        Examples
        --------
        >>> len(LabelReview.joined([]).index)
        0
        """
        none = np.empty(0, np.int64)
        empty = cls(none, none, none, np.empty(0, np.float32), np.empty(0), np.empty(0, bool))
        columns = [[getattr(part, field.name) for part in (empty, *parts)] for field in fields(cls)]
        return cls(*map(np.concatenate, columns))


@dataclass(frozen=True, eq=False)
class NoiseCounts:
    """How given labels and evidence differ over a whole set: what an estimate of the noise is made of.

    Attributes
    ----------
    joint : ndarray or scipy.sparse.csr_array, shape (K, K)
        Counts of [given, most probable class]; K is 2 where each part of a label is there or not.
    own : ndarray of float64, shape (K,)
        Sum of the evidence's probability of the given label, by given label.
    certainty : float
        Mean probability of the evidence's most probable class.
    units : ndarray of int64, shape (K,)
        How many independent samples have each most probable class.
    surest : tuple of int, or None
        Of the labels about which the evidence is surest, how many it contradicts, and how many they are; None where the
        parts of one sample are alike.
    errors : tuple of float and ndarray of shape (K, K), or None
        Standard errors of the share of contradicted labels and of the share of each given label among those of a most
        probable class, [most probable, given]; None where each label is a sample of its own, and they are binomial.
    likelihood : float or None
        Share of wrong labels of greatest likelihood.
    rates : tuple of float
        Rates at kept generations that the interval has to reach to.
    names : tuple of str
        What messages call the K classes; empty for "class 0" and so on.
    """

    joint: Any
    own: np.ndarray
    certainty: float
    units: np.ndarray
    surest: tuple[int, int] | None = None
    errors: tuple[float, np.ndarray] | None = None
    likelihood: float | None = None
    rates: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
