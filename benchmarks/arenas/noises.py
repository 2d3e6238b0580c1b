"""The arena's noises: the models of the package, simulated annotators, a long tail; the same for every preparation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.arenas.files import majority
from benchmarks.lab.datasets import Labels
from noisycorrect import noise
from noisycorrect.support.errors import InvalidInputError, unknown_name

#: What every set meets; `human:KEY` besides where people have labelled it.
NOISES = ("none", "symmetric:0.4", "pairflip:0.3", "asymmetric:0.4", "instance:0.4", "annotators", "imbalance")
ACCURACIES = (0.85, 0.7, 0.55)  # of the simulated annotators
CONFUSED = 0.6  # share of an annotator's errors that go to the class it takes this one for
TAIL, TAIL_NOISE, LEAST_IN_CLASS = 10.0, 0.2, 8
_VOTES, _TIES, _TAIL = 1, 2, 3


class Noisy(NamedTuple):
    """What is trained on: increasing indices of the rows that are left, (n,), and their given labels, (n,)."""

    rows: Labels
    given: Labels


def check_noise(spelling: str) -> None:
    """Raise an InvalidInputError if no noise is spelled so."""
    if spelling not in ("annotators", "imbalance") and not spelling.startswith("human:"):
        noise.parse(spelling)


def make_noise(
    spelling: str,
    labels: Labels,
    features: NDArray[np.float32],
    human_labels: Mapping[str, Labels],
    *,
    num_classes: int,
    seed: int,
) -> Noisy:
    """Give training rows wrong labels.

    Parameters
    ----------
    spelling : str
        One of :data:`NOISES`, "human:KEY", or any spelling of :func:`noisycorrect.noise.parse`. "asymmetric:RATE" sends
        every second class to the class with the nearest mean; "annotators": :func:`votes_of_annotators`, of which the
        majority is given; "imbalance": :func:`long_tail`, then symmetric noise of 20 %.
    labels : ndarray of int64, shape (N,)
        The right labels.
    features : ndarray of float32, shape (N, F)
        Standardised, whatever the network will see: the noise is the same for every preparation.
    human_labels : mapping of str to ndarray of int64, shape (N,)
        What people gave.
    num_classes, seed : int
        K; the only source of randomness.

    Raises
    ------
    InvalidInputError
        If the spelling is unknown.

    Examples
    --------
    >>> labels = np.arange(60) % 3
    >>> noisy = make_noise("pairflip:0.3", labels, np.zeros((60, 2), np.float32), {}, num_classes=3, seed=0)
    >>> float((noisy.given != labels).mean())
    0.3
    """
    name, _, key = spelling.partition(":")
    everything = np.arange(len(labels))
    if name == "human":
        if key not in human_labels:
            raise unknown_name("set of human labels", key, human_labels)
        return Noisy(everything, human_labels[key])
    if name == "annotators":
        votes = votes_of_annotators(labels, num_classes, seed=seed)
        return Noisy(everything, majority(votes, num_classes, seed=_stream(seed, _TIES)))
    if name == "imbalance":
        rows = long_tail(labels, seed=seed)
        return Noisy(rows, noise.Symmetric(TAIL_NOISE).apply(labels[rows], num_classes=num_classes, seed=seed).labels)
    model = noise.parse(spelling)
    if isinstance(model, noise.OpenSet):
        raise InvalidInputError("noise of labels", got=spelling, fix="open-set noise needs a pool of foreign inputs")
    if isinstance(model, noise.Asymmetric):
        model = noise.Asymmetric(model.rate, nearest_classes(features, labels, num_classes))
    return Noisy(everything, model.apply(labels, num_classes=num_classes, seed=seed, inputs=features).labels)


def nearest_classes(features: NDArray[np.float32], labels: Labels, num_classes: int) -> dict[int, int]:
    """Return for every second class the class whose mean is nearest.

    Examples
    --------
    >>> nearest_classes(np.array([[0.0], [5.0], [1.0]], np.float32), np.array([0, 1, 2]), 3)
    {0: 2, 2: 0}
    """
    means = np.stack([features[labels == c].mean(0) for c in range(num_classes)])
    distances = np.linalg.norm(means[:, None] - means[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return {c: int(distances[c].argmin()) for c in range(0, num_classes, 2)}


def votes_of_annotators(labels: Labels, num_classes: int, *, seed: int) -> Labels:
    """Return the votes (N, 3) of three annotators who are right in 85, 70 and 55 % of the rows.

    Each takes every class for one certain other class in 60 % of its errors, an own one each, and for any other class
    in the rest.

    Examples
    --------
    >>> labels = np.arange(3000) % 4
    >>> votes = votes_of_annotators(labels, 4, seed=0)
    >>> (votes == labels[:, None]).mean(0).round(2).tolist()
    [0.84, 0.7, 0.56]
    """
    generator = np.random.default_rng(_stream(seed, _VOTES))
    votes = []
    for accuracy in ACCURACIES:
        shift = 1 + generator.integers(0, num_classes - 1, num_classes)  # what it takes each class for
        taken_for = (labels + shift[labels]) % num_classes
        anything = (labels + generator.integers(1, num_classes, len(labels))) % num_classes
        error = np.where(generator.random(len(labels)) < CONFUSED, taken_for, anything)
        votes.append(np.where(generator.random(len(labels)) < accuracy, labels, error))
    return np.stack(votes, axis=1)


def long_tail(labels: Labels, *, seed: int) -> Labels:
    """Return increasing indices of rows whose classes shrink geometrically, the last to a tenth of the first.

    The order of the classes is drawn; a class keeps at least 8 rows, or what it has. The k-th class keeps
    :math:`n 10^{-k/(K-1)}` of them (Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples",
    sec. 5.1, imbalance factor 10), n being the size of the smallest class or what leaves the first class whole.

    Examples
    --------
    >>> kept = long_tail(np.arange(400) % 4, seed=0)
    >>> sorted(np.bincount(np.arange(400)[kept] % 4).tolist())
    [10, 22, 46, 100]
    """
    generator = np.random.default_rng(_stream(seed, _TAIL))
    classes, counts = np.unique(labels, return_counts=True)
    sizes = counts.max() * TAIL ** (-np.arange(len(classes)) / max(1, len(classes) - 1))
    kept = []
    for c, size in zip(generator.permutation(classes), sizes, strict=True):
        rows = generator.permutation(np.flatnonzero(labels == c))
        kept.append(rows[: max(LEAST_IN_CLASS, round(size))])
    return np.sort(np.concatenate(kept))


def _stream(seed: int, what: int) -> int:
    return int(np.random.SeedSequence([seed, what]).generate_state(1)[0])
