"""What a set of the arena is, however it came about, and how it is divided into training and test rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.lab.datasets import Labels, stratified_subset
from noisycorrect.support.errors import InvalidInputError

Values = NDArray[np.float32]
TRAIN_SHARE = 0.7
LEAST_ROWS = 50


@dataclass(frozen=True, eq=False)
class Source:
    """A set as its source has it: right labels, nothing scaled, nothing divided.

    Attributes
    ----------
    inputs : ndarray of float32, shape (N, F) or (N, 3, H, W)
        Vectors, or images with values in [0, 1].
    labels : ndarray of int64, shape (N,)
        The right classes, 0..K-1.
    class_names : tuple of str
        One name a class.
    human_labels : mapping of str to ndarray of int64, shape (N,)
        Labels that people gave; empty where nobody did. Of test rows they are not looked at.
    test_rows : ndarray of int64 or None
        Rows that are for testing, where the set is published divided; None divides it by the seed.
    features : ndarray of float32, shape (N, F), or None
        What stands for the inputs in methods that need vectors; None is the inputs.
    """

    inputs: Values
    labels: Labels
    class_names: tuple[str, ...]
    human_labels: Mapping[str, Labels] = field(default_factory=dict)
    test_rows: Labels | None = None
    features: Values | None = None

    @property
    def images(self) -> bool:
        """Whether the inputs are images."""
        return self.inputs.ndim == 4

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)


def split(source: Source, *, most_train: int, most_test: int, seed: int) -> tuple[Labels, Labels]:
    """Return increasing indices of the training and of the test rows, both in the proportions of the classes.

    Parameters
    ----------
    source : Source
        The set.
    most_train, most_test : int
        At most so many rows; of a small set 70 % are for training and the others for testing.
    seed : int
        Of the draw.

    Examples
    --------
    >>> labels = np.arange(100) % 2
    >>> train, test = split(Source(np.zeros((100, 3), np.float32), labels, ("a", "b")), most_train=1500,
    ...                     most_test=20, seed=0)
    >>> len(train), len(test), len(np.intersect1d(train, test))
    (70, 20, 0)
    """
    everything = np.arange(len(source.labels))
    if source.test_rows is None:
        size = min(most_train, round(TRAIN_SHARE * len(everything)))
        train = stratified_subset(source.labels, size, seed=seed)
        rest = np.setdiff1d(everything, train)
    else:
        pool, rest = np.setdiff1d(everything, source.test_rows), source.test_rows
        train = pool[stratified_subset(source.labels[pool], min(most_train, len(pool)), seed=seed)]
    test = rest[stratified_subset(source.labels[rest], min(most_test, len(rest)), seed=seed)]
    return train, test


def checked(source: Source, name: str) -> Source:
    """Return the set if it can be learnt from.

    Raises
    ------
    InvalidInputError
        If values are not finite, there are too few rows, or a class has fewer than four.
    """
    counts = np.bincount(source.labels, minlength=source.num_classes)
    if not np.isfinite(source.inputs).all():
        raise InvalidInputError(f"finite values in {name}", got="NaN or infinity", fix="fill in what is missing")
    if len(source.labels) < LEAST_ROWS or source.num_classes < 2:
        got = f"{len(source.labels)} rows, {source.num_classes} classes"
        raise InvalidInputError(f"at least {LEAST_ROWS} rows and 2 classes in {name}", got=got)
    if counts.min() < 4:
        rare = source.class_names[int(counts.argmin())]
        fix = "leave out rare classes, or join them"
        raise InvalidInputError(f"at least 4 rows of each class in {name}", got=f"{counts.min()} of {rare!r}", fix=fix)
    return source
