"""The formula of instance-dependent noise, and how it runs over a data set a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.checks import Seed, check_seed, child_seed
from noisycorrect.classification.noise.sampling import members_by_class
from noisycorrect.support.door import door

Normalise: TypeAlias = Literal["global", "feature", "none"]

# Values of a chunk in float64: 32 MiB, so that a big data set is never copied whole.
CHUNK_VALUES = 2**22

# Streams below the caller's seed; W has one further stream a class.
RATES, _WEIGHTS, DRAWS = 0, 1, 2


class Projection(NamedTuple):
    """All that the distributions of one data set depend on."""

    features: NDArray[Any]
    num_classes: int
    seed: np.random.SeedSequence
    shared: bool
    normalise: Normalise
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    flip_rates: NDArray[np.float64]

    def chunks(self, given: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield indices of samples of one class, shape (B,), and their distributions, shape (B, K)."""
        num_features = self.features.shape[1]
        rows = max(1, CHUNK_VALUES // max(num_features, self.num_classes))
        for label, members in enumerate(members_by_class(given, self.num_classes)):
            if not len(members):
                continue
            weights = _class_weights(self.seed, None if self.shared else label, num_features, self.num_classes)
            for start in range(0, len(members), rows):
                some = members[start : start + rows]
                x = (self.features[some] - self.mean) / self.scale
                yield some, instance_transition_probs(x, given[some], weights, self.flip_rates[some])

    def details(self) -> dict[str, Any]:
        """Return the record of what the noise was made of, without W itself: a seed and a shape draw it again."""
        shape = (self.features.shape[1], self.num_classes)
        return {
            "weights_shape": shape if self.shared else (self.num_classes, *shape),
            "normalise": self.normalise,
            "mean": self.mean,
            "scale": self.scale,
            "flip_rates": self.flip_rates,
        }


@door(own=True)
def instance_transition_probs(
    inputs: NDArray[Any], labels: NDArray[np.int64], weights: NDArray[np.float64], flip_rates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each sample's distribution of noisy labels (Xia et al., NeurIPS 2020, Algorithm 2).

    Parameters
    ----------
    inputs : ndarray, shape (N, F)
        Features, already normalised.
    labels : ndarray of int64, shape (N,)
        Right labels, in 0..K-1.
    weights : ndarray of float64, shape (K, F, K) or (F, K)
        One projection for each right class, or one for all.
    flip_rates : ndarray of float64, shape (N,)
        The q_i, in [0, 1].

    Returns
    -------
    ndarray of float64, shape (N, K)
        q_i * softmax(x_i . W[y_i]) over the wrong classes, 1 - q_i for the right one; rows sum to 1.

    Examples
    --------
    >>> weights = np.zeros((2, 3))  # equal logits: the wrong classes are equally likely
    >>> instance_transition_probs(np.ones((1, 2)), np.array([1]), weights, np.array([0.4])).tolist()
    [[0.2, 0.6, 0.2]]
    """
    from scipy.special import softmax

    x = np.asarray(inputs, dtype=np.float64)
    logits = np.empty((len(x), weights.shape[-1]))
    if weights.ndim == 2:
        np.matmul(x, weights, out=logits)
    else:
        for label in np.unique(labels):
            members = labels == label
            logits[members] = x[members] @ weights[label]
    rows = np.arange(len(x))
    logits[rows, labels] = -np.inf
    probs: NDArray[np.float64] = flip_rates[:, None] * softmax(logits, axis=1)
    probs[rows, labels] = 1.0 - flip_rates
    return probs


@door(own=True)
def instance_weights(seed: Seed, num_classes: int, num_features: int, *, shared: bool = False) -> NDArray[np.float64]:
    """Return the W that `InstanceDependent.apply` uses for a seed, float64 (K, F, K), or (F, K) if shared.

    Examples
    --------
    >>> instance_weights(0, num_classes=3, num_features=5).shape
    (3, 5, 3)
    """
    sequence = check_seed(seed)
    if shared:
        return _class_weights(sequence, None, num_features, num_classes)
    return np.stack([_class_weights(sequence, label, num_features, num_classes) for label in range(num_classes)])


def truncated_normal(centre: float, std: float, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return draws of N(centre, std^2) truncated to [0, 1], by inversion of the distribution function.

    Parameters
    ----------
    centre : float
        In [0, 1], so that the inversion never works in a far tail.
    std : float
        At least 0; 0 returns `centre` itself.
    size : int
        Number of draws.
    rng : numpy.random.Generator
        The randomness.

    Returns
    -------
    ndarray of float64, shape (size,)
        In [0, 1].

    Examples
    --------
    >>> truncated_normal(0.3, 0.0, 2, np.random.default_rng(0)).tolist()
    [0.3, 0.3]
    """
    if std == 0.0:
        return np.full(size, centre)
    from scipy.special import ndtr, ndtri

    low, high = ndtr(-centre / std), ndtr((1.0 - centre) / std)
    draws: NDArray[np.float64] = np.clip(centre + std * ndtri(low + rng.random(size) * (high - low)), 0.0, 1.0)
    return draws


def _class_weights(
    seed: np.random.SeedSequence, label: int | None, num_features: int, num_classes: int
) -> NDArray[np.float64]:
    """Return W[label], or the shared W for None; a stream a class means that W is never in memory as a whole."""
    key = (_WEIGHTS,) if label is None else (_WEIGHTS, label)
    return np.random.default_rng(child_seed(seed, *key)).standard_normal((num_features, num_classes))


def moments(features: NDArray[Any], normalise: Normalise) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation, each of shape (1,) or (F,); what does not vary is only centred."""
    if normalise == "none":
        return np.zeros(1), np.ones(1)
    rows = max(1, CHUNK_VALUES // features.shape[1])
    axis = 0 if normalise == "feature" else None
    # Two passes over chunks: numpy's own std would make a float64 copy of the whole data set.
    chunks = range(0, len(features), rows)
    shares = [len(features[start : start + rows]) / len(features) for start in chunks]
    mean = sum(
        share * features[start : start + rows].mean(axis=axis, dtype=np.float64)
        for share, start in zip(shares, chunks, strict=True)
    )
    variance = sum(
        share * np.square(features[start : start + rows] - mean).mean(axis=axis)
        for share, start in zip(shares, chunks, strict=True)
    )
    std = np.sqrt(np.atleast_1d(variance))
    return np.atleast_1d(mean), np.where(std > 0, std, 1.0)
