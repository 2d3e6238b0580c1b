"""Given class labels beside the evidence, counted: which classes are judged, and how many labels are contradicted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from noisycorrect.labels.findings import NoiseCounts
from noisycorrect.review.confident_learning import check_sums
from noisycorrect.review.likelihood import MOST_VALUES, evenly, fit_transition
from noisycorrect.review.pairs import DENSE_CLASSES, pair_counts

SURE_SHARE = 0.2
STARVED_SHARE = 0.2  # a class that is predicted so much less often than it is labelled is not judged
LEAST_LABELS = 2  # one label alone of a class that nothing else speaks for is likely a wrong one
VALUES_AT_ONCE = 2**20  # of probabilities, 8 MB of float64


@dataclass(frozen=True, eq=False)
class Beside:
    """Given class labels and what the evidence says of each; memory is linear in samples, whatever the classes.

    Attributes
    ----------
    given, suggested : ndarray of int64, shape (n,)
        Given label and the evidence's most probable class, 0..K-1.
    own, certainty : ndarray of float64, shape (n,)
        The evidence's probability of each.
    classes : int
        K.
    """

    given: np.ndarray
    suggested: np.ndarray
    own: np.ndarray
    certainty: np.ndarray
    classes: int

    @classmethod
    def of(cls, labels: np.ndarray, probs: Any) -> Beside:
        """Compare labels int64 (n,), n >= 1, with probabilities (n, K), some rows at a time.

        Raises
        ------
        InvalidInputError
            If a row is no probabilities that sum to 1 (tolerance 1e-3).

        Examples
        --------
        >>> Beside.of(np.array([0, 1]), np.array([[0.75, 0.25], [0.5, 0.5]])).suggested.tolist()
        [0, 0]
        """
        step = max(1, VALUES_AT_ONCE // probs.shape[1])
        blocks = ((labels[row : row + step], probs[row : row + step]) for row in range(0, len(labels), step))
        return cls.joined(blocks, probs.shape[1])

    @classmethod
    def joined(cls, blocks: Iterable[tuple[np.ndarray, Any]], classes: int) -> Beside:
        """Compare blocks of labels (n,) and probabilities (n, K)."""
        columns: list[tuple[np.ndarray, ...]] = []
        for labels, block in blocks:
            probs = np.asarray(block, np.float64)
            check_sums(probs)
            rows = np.arange(len(labels))
            best = probs.argmax(1)
            columns.append((labels, best, probs[rows, labels], probs[rows, best]))
        given, suggested, own, certainty = map(np.concatenate, zip(*columns, strict=True))
        return cls(given, suggested, own, certainty, classes)

    def __getitem__(self, rows: np.ndarray) -> Beside:
        """Return some of the samples."""
        return Beside(self.given[rows], self.suggested[rows], self.own[rows], self.certainty[rows], self.classes)

    def __len__(self) -> int:
        return len(self.given)

    @property
    def contradicted(self) -> np.ndarray:
        """Which labels are not the evidence's most probable class, bool (n,)."""
        return np.asarray(self.given != self.suggested)

    def joint(self) -> Any:
        """Return counts [given, most probable class], (K, K): int64, or of many classes a csr_array."""
        return pair_counts(self.given, self.suggested, self.classes, dense=DENSE_CLASSES)


def counted(found: Beside, likelihood: float | None = None, earlier: Beside | None = None) -> NoiseCounts:
    """Return how labels and evidence differ, each label being a sample of its own.

    Parameters
    ----------
    found : Beside
        Labels and evidence about them, at least one.
    likelihood : float, optional
        The share of wrong labels of greatest likelihood; see :func:`likely_rate`.
    earlier : Beside, optional
        The same labels beside the evidence of the generation before, to whose rate the interval is to reach.

    Examples
    --------
    >>> counted(Beside.of(np.array([0, 1, 1]), np.eye(2)[[0, 1, 0]])).joint.tolist()
    [[1, 0], [1, 1]]
    """
    joint = found.joint()
    judged = ~set_aside(joint)[found.given]
    return NoiseCounts(
        joint=joint,
        own=np.bincount(found.given, weights=found.own, minlength=found.classes),
        certainty=float(found.certainty.mean()),
        units=np.asarray(joint.sum(0)),
        surest=surest_contradicted(found[judged]),
        likelihood=likelihood,
        rates=() if earlier is None else (float(earlier.contradicted[judged].mean()),),
    )


def likely_rate(labels: np.ndarray, evidence: Callable[[np.ndarray], Any], classes: int) -> float | None:
    """Return the share of wrong labels of greatest likelihood, of samples that are evenly spaced if they are many.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
        Given labels, 0..K-1.
    evidence : callable
        Probabilities (m, K) at positions (m,).
    classes : int
        K; beyond 100 it takes long, and the answer is None.

    Examples
    --------
    >>> round(likely_rate(np.array([0, 0, 0, 1, 1]), lambda rows: np.eye(2)[[0, 0, 0, 0, 1]][rows], 2), 3)
    0.2
    """
    if classes > DENSE_CLASSES:
        return None
    rows = evenly(len(labels), MOST_VALUES // classes)
    _, joint = fit_transition(labels[rows], np.asarray(evidence(rows), np.float64))
    return float(1 - joint.trace() / joint.sum())


def set_aside(joint: Any) -> np.ndarray:
    """Return of which classes the labels cannot be judged, bool (K,): the evidence hardly knows these classes.

    A class is set aside if several labels name it and it is the most probable class of at most a fifth as many samples,
    of none at all in particular. Nothing is if no label would be left.

    Parameters
    ----------
    joint : array, shape (K, K)
        Counts of [given, most probable class].

    Examples
    --------
    >>> set_aside(np.array([[90, 0], [10, 0]])).tolist()
    [False, True]
    """
    labelled, predicted = np.asarray(joint.sum(1)), np.asarray(joint.sum(0))
    aside = (labelled >= LEAST_LABELS) & (predicted <= STARVED_SHARE * labelled)
    return np.asarray(aside & bool(labelled[~aside].sum()))


def surest_contradicted(found: Beside) -> tuple[int, int]:
    """Return how many labels are contradicted of the fifth of which the evidence is surest, and how many these are.

    Of samples of which it is equally sure all count, so that their order does not matter.

    Examples
    --------
    >>> evidence = np.array([[0.6, 0.4], [0.9, 0.1], [0.9, 0.1], [0.7, 0.3], [0.5, 0.5]])
    >>> surest_contradicted(Beside.of(np.array([1, 0, 1, 1, 0]), evidence))
    (1, 2)
    """
    place = len(found) - math.ceil(SURE_SHARE * len(found))
    surest = found.certainty >= np.partition(found.certainty, place)[place]
    return int(found.contradicted[surest].sum()), int(surest.sum())


def surest_by_class(found: Beside) -> float:
    r"""Return the share of contradicted labels among the surest fifth of each most probable class, weighted by classes.

    :math:`\sum_k \frac{n_k}{n} c_k` with :math:`n_k` samples of most probable class k, and :math:`c_k` the contradicted
    share of those :math:`\lceil n_k / 5 \rceil` of them that the evidence is surest of: these are of class k almost
    certainly, so a label that contradicts is wrong. Labels that are wrong at a rate of their class's own are counted
    right even if the evidence is less sure of that class than of others.

    Examples
    --------
    >>> surest_by_class(Beside.of(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])))
    0.0
    """
    sizes = np.bincount(found.suggested, minlength=found.classes)
    order = np.lexsort((-found.certainty, found.suggested))
    last = np.cumsum(sizes) - sizes + np.ceil(SURE_SHARE * sizes).astype(np.int64) - 1  # of the fifth of each class
    least = found.certainty[order[last.clip(min=0)]]  # of a class without samples nobody asks
    taken = np.flatnonzero(found.certainty >= least[found.suggested])
    some = np.bincount(found.suggested[taken], minlength=found.classes)
    wrong = np.bincount(found.suggested[taken], weights=found.contradicted[taken], minlength=found.classes)
    return float((sizes * wrong / np.maximum(some, 1)).sum() / len(found))
