"""Noise in patches of the feature space: whole neighbourhoods of a class bear the label of the class beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.base import NoiseModel, NoisyLabels, register, relabelled
from noisycorrect.classification.noise.checks import ArrayLike, check_inputs, check_rate, child_seed, flat_features
from noisycorrect.classification.noise.projection import CHUNK_VALUES, moments
from noisycorrect.classification.noise.sampling import exact_count, members_by_class
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError

_CENTRES = 0


@register
@final
@dataclass(frozen=True)
class Clusters(NoiseModel):
    """Cluster-based noise (CBN) of Lim, Larson and Leach (2024, arXiv:2412.00244). Spelled `clusters:0.3`.

    In each class a few samples are drawn as centres, and the samples of the class around them change to the class whose
    mean is nearest to them. So errors lie close together, where a network learns them like a rule, as those of people
    do; errors of `instance` noise are spread over the class.

    The paper takes all within one radius around a centre, on a t-SNE map of CLIP embeddings. Here the distance is
    Euclidean in the features themselves, each standardised, and of a class of n samples the round(rate * n), halves to
    even, nearest to any centre change: a radius a class, for which the rate is exact. Pass embeddings of a pretrained
    network as inputs where there are any: distances between pixels say little.

    Parameters
    ----------
    rate : float
        Share of each class's samples that change, in [0, 1].
    centres : int
        Centres a class, at least 1; a class never has more of them than samples that change. The paper's 23 to 57 are
        for 5,000 samples a class.

    Raises
    ------
    InvalidInputError
        If an argument is not as above, or (on `apply`) inputs are missing, of another length, not numeric or not
        finite, or all labels are of one class.

    Notes
    -----
    `details` of the result: `centres` (int64, positions of the drawn samples), `nearest` (int64 (N,), the other class
    whose mean is nearest to each sample). The seed draws the centres. Memory: float64 chunks of 32 MiB.

    Examples
    --------
    >>> x = np.array([[0.0], [0.1], [2.0], [2.1], [5.0], [5.1], [9.0], [9.1]])
    >>> noisy = Clusters(0.5, centres=1).apply([0, 0, 0, 0, 1, 1, 1, 1], num_classes=2, seed=0, inputs=x)
    >>> noisy.labels.tolist(), noisy.details["centres"].tolist()
    ([1, 1, 0, 0, 1, 1, 0, 0], [0, 6])
    """

    rate: float
    centres: int = 5

    name: ClassVar[str] = "clusters"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        object.__setattr__(self, "centres", whole_number("centres", self.centres, least=1))

    def _corrupt(
        self, given: NDArray[np.int64], num_classes: int, seed: np.random.SeedSequence, inputs: ArrayLike | None
    ) -> NoisyLabels:
        features = flat_features(check_inputs(inputs, len(given), self.name))
        classes = members_by_class(given, num_classes)
        if sum(len(members) > 0 for members in classes) < 2:
            raise InvalidInputError(
                "labels of two classes at least, because 'clusters' noise needs a class beside a sample's own",
                got="labels of one class",
                fix="use another noise model",
            )
        space = moments(features, "feature")
        nearest = nearest_other_class(features, given, num_classes, space)
        noisy, drawn = given.copy(), []
        for label, members in enumerate(classes):
            count = exact_count(self.rate, len(members))
            rng = np.random.default_rng(child_seed(seed, _CENTRES, label))
            centres = rng.choice(members, min(self.centres, count), replace=False)
            drawn.append(centres)
            if count:
                distance = _squared_distances(features[members], features[centres], space).min(axis=1)
                chosen = members[np.argsort(distance, kind="stable")[:count]]
                noisy[chosen] = nearest[chosen]
        return relabelled(given, noisy, num_classes, {"centres": np.concatenate(drawn), "nearest": nearest})


Space = tuple[NDArray[np.float64], NDArray[np.float64]]


def nearest_other_class(
    features: NDArray[Any], labels: NDArray[np.int64], num_classes: int, space: Space
) -> NDArray[np.int64]:
    """Return the class, other than its own, whose mean is nearest to each sample.

    Parameters
    ----------
    features : ndarray, shape (N, F)
        Finite numbers.
    labels : ndarray of int64, shape (N,)
        In 0..K-1, of at least two classes.
    num_classes : int
        K.
    space : (ndarray, ndarray), each of shape (F,)
        Mean and scale by which features are standardised.

    Returns
    -------
    ndarray of int64, shape (N,)
        A class without samples has no mean and is never the nearest.

    Examples
    --------
    >>> x = np.array([[0.0], [4.0], [9.0]])
    >>> nearest_other_class(x, np.array([0, 1, 2]), 3, (np.zeros(1), np.ones(1))).tolist()
    [1, 0, 1]
    """
    classes = members_by_class(labels, num_classes)
    there = np.flatnonzero([len(members) > 0 for members in classes])
    means = np.stack([features[classes[label]].mean(axis=0, dtype=np.float64) for label in there])
    distance = _squared_distances(features, means, space)
    distance[np.arange(len(labels)), np.searchsorted(there, labels)] = np.inf
    nearest: NDArray[np.int64] = there[distance.argmin(axis=1)].astype(np.int64)
    return nearest


def _squared_distances(features: NDArray[Any], points: NDArray[Any], space: Space) -> NDArray[np.float64]:
    """Return squared Euclidean distances between standardised rows, float64 (N, P), a chunk of rows at a time."""
    mean, scale = space
    points = (points - mean) / scale
    norms = np.square(points).sum(axis=1)
    rows = max(1, CHUNK_VALUES // max(features.shape[1], len(points)))
    parts = []
    for start in range(0, len(features), rows):
        own = (features[start : start + rows] - mean) / scale
        parts.append(np.square(own).sum(axis=1, keepdims=True) - 2 * own @ points.T + norms)
    return np.concatenate(parts)
