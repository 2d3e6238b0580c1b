"""Noise that depends on the sample: instance-dependent label noise by random projections of the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.base import NoiseModel, NoisyLabels, register, relabelled
from noisycorrect.classification.noise.checks import (
    ArrayLike,
    LabelsLike,
    Seed,
    check_choice,
    check_flag,
    check_inputs,
    check_labels,
    check_num_classes,
    check_rate,
    check_scale,
    check_seed,
    child_seed,
    flat_features,
)
from noisycorrect.classification.noise.projection import (
    DRAWS,
    RATES,
    Normalise,
    Projection,
    moments,
    truncated_normal,
)
from noisycorrect.classification.noise.sampling import draw_rows
from noisycorrect.support.errors import InvalidInputError


@register
@final
@dataclass(frozen=True)
class InstanceDependent(NoiseModel):
    """Part-dependent noise (PDN) of Xia et al. (NeurIPS 2020, Algorithm 2). Spelled `instance:0.4`.

    A sample x_i of class y_i changes with probability q_i ~ N(rate, std^2) truncated to [0, 1]; where to, is drawn from
    q_i * softmax(x_i . W[y_i]) with the entry y_i masked out, W in R^(K x F x K) standard normal.

    `shared_weights=True` is the variant that the authors of CIFAR-N published: one F x K matrix for all classes, on raw
    inputs. The two are not interchangeable: results on one say nothing about the other. With many features the logits
    are large and the softmax is nearly one-hot, in both.

    Each label is an independent draw: exact counts would tie the samples to each other, which the definition does not.
    `rate` is the centre of the truncated normal; close to 0 and 1 its mean lies further inside (0.08 for rate 0 and std
    0.1). A rate of exactly 0 is taken to mean no noise. Memory: a few float64 chunks of 32 MiB and one F x K matrix at
    a time.

    Parameters
    ----------
    rate : float
        In [0, 1].
    std : float
        Spread of the q_i, at least 0; 0.1 in the paper.
    shared_weights : bool
        Whether all classes share one F x K matrix.
    normalise : {"global", "feature", "none"}, optional
        What is done to the flattened inputs before the projection: one mean and standard deviation for all of them
        (nearest to the channel statistics of the paper; default), one a feature (for tables), or nothing (default, and
        the only choice, with `shared_weights`; right for inputs that are normalised already).

    Raises
    ------
    InvalidInputError
        If an argument is not as above, or (on `apply`) inputs are missing, of another length, not numeric or not
        finite.

    Notes
    -----
    `details` of the result: `weights_shape`, `normalise`, `mean`, `scale`, `flip_rates` (the q_i, float64 (N,)),
    `seed`. `instance_weights(seed, ...)` draws the same W again.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> noisy = InstanceDependent(0.4).apply([0, 1, 2, 3] * 25, num_classes=4, seed=0, inputs=x)
    >>> noisy.details["weights_shape"], 0.2 < noisy.rate < 0.6
    ((4, 3, 4), True)
    """

    rate: float
    std: float = 0.1
    shared_weights: bool = False
    normalise: Normalise | None = None

    name: ClassVar[str] = "instance"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        object.__setattr__(self, "std", check_scale(self.std, "std of the flip rates"))
        object.__setattr__(self, "shared_weights", check_flag(self.shared_weights, "shared_weights"))
        if self.normalise is not None:
            check_choice(self.normalise, Normalise, "normalisation")
        if self.shared_weights and self.normalise not in (None, "none"):
            raise InvalidInputError(
                "raw inputs with shared_weights, as CIFAR-N's variant is defined",
                got=f"normalise={self.normalise!r}",
                fix="leave normalise out, or normalise the inputs yourself before apply",
            )

    def transition_probs(
        self, labels: LabelsLike, *, num_classes: int, seed: Seed, inputs: ArrayLike
    ) -> NDArray[np.float64]:
        """Return the distribution that `apply` draws each noisy label from, float64 (N, K); arguments as in `apply`."""
        num_classes = check_num_classes(num_classes)
        given = check_labels(labels, num_classes)
        projection = self._projection(given, num_classes, check_seed(seed), inputs)
        probs = np.empty((len(given), num_classes))
        for members, chunk in projection.chunks(given):
            probs[members] = chunk
        return probs

    def _corrupt(
        self, given: NDArray[np.int64], num_classes: int, seed: np.random.SeedSequence, inputs: ArrayLike | None
    ) -> NoisyLabels:
        projection = self._projection(given, num_classes, seed, inputs)
        uniform = np.random.default_rng(child_seed(seed, DRAWS)).random(len(given))
        noisy = np.empty_like(given)
        for members, probs in projection.chunks(given):
            noisy[members] = draw_rows(probs, uniform[members])
        return relabelled(given, noisy, num_classes, projection.details())

    def _projection(
        self, given: NDArray[np.int64], num_classes: int, seed: np.random.SeedSequence, inputs: ArrayLike | None
    ) -> Projection:
        features = flat_features(check_inputs(inputs, len(given), self.name))
        normalise: Normalise = self.normalise or ("none" if self.shared_weights else "global")
        mean, scale = moments(features, normalise)
        rng = np.random.default_rng(child_seed(seed, RATES))
        flip_rates = truncated_normal(self.rate, self.std if self.rate else 0.0, len(given), rng)
        return Projection(features, num_classes, seed, self.shared_weights, normalise, mean, scale, flip_rates)
