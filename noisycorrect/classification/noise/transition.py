"""Noise with a formula for each class: symmetric, pair-flip, asymmetric; and the control without noise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.base import NoiseModel, NoisyLabels, register, relabelled
from noisycorrect.classification.noise.checks import ArrayLike, check_choice, check_flag, check_rate
from noisycorrect.classification.noise.sampling import Sampling, draw_labels
from noisycorrect.support.errors import InvalidInputError

CIFAR10_ASYMMETRIC: Mapping[int, int] = MappingProxyType({9: 1, 2: 0, 4: 7, 3: 5, 5: 3})
"""truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog (Patrini et al., CVPR 2017)."""


@register
@final
@dataclass(frozen=True)
class NoNoise(NoiseModel):
    """The control: every label stays as it is. Spelled `none`.

    Examples
    --------
    >>> NoNoise().apply([0, 1], num_classes=2, seed=0).labels.tolist()
    [0, 1]
    """

    name: ClassVar[str] = "none"

    def _corrupt(
        self, given: NDArray[np.int64], num_classes: int, seed: np.random.SeedSequence, inputs: ArrayLike | None
    ) -> NoisyLabels:
        return relabelled(given, given.copy(), num_classes)


class MatrixNoise(NoiseModel):
    """Noise that a row-stochastic matrix describes; subclasses give the matrix."""

    sampling: Sampling

    @abstractmethod
    def expected_transition(self, num_classes: int) -> NDArray[np.float64]:
        """Return the matrix that labels are drawn from, float64 (K, K), row-stochastic."""

    def _corrupt(
        self, given: NDArray[np.int64], num_classes: int, seed: np.random.SeedSequence, inputs: ArrayLike | None
    ) -> NoisyLabels:
        matrix = self.expected_transition(num_classes)
        noisy = draw_labels(given, matrix, self.sampling, np.random.default_rng(seed))
        return relabelled(given, noisy, len(matrix), {"expected_transition": matrix})


@register
@final
@dataclass(frozen=True)
class Symmetric(MatrixNoise):
    """Every wrong class is equally likely. Spelled `symmetric:0.4`, `symmetric:0.4:inclusive`.

    Exclusive (default): T[i, i] = 1 - rate, T[i, j] = rate / (K - 1) (van Rooyen et al., NeurIPS 2015). Inclusive: with
    probability `rate` the label is redrawn from all K classes, the right one among them (used by DivideMix, Li et al.,
    ICLR 2020, and SOP, Liu et al., ICML 2022): its true rate is rate * (1 - 1/K), so that "50 %" of 10 classes is 45 %.

    Parameters
    ----------
    rate : float
        In [0, 1].
    inclusive : bool
        Whether a redrawn label may be the right one.
    sampling : {"exact", "bernoulli"}
        "exact" (default): of the n_c samples of a class, the true rate times n_c change, rounded, halves to even;
        targets by largest remainder, equal remainders at random. "bernoulli": each label is an independent draw.

    Raises
    ------
    InvalidInputError
        If the rate is not in [0, 1] or `sampling` is unknown.

    Examples
    --------
    >>> noisy = Symmetric(0.4).apply([0, 1, 2, 3, 4] * 10, num_classes=5, seed=0)
    >>> noisy.rate, noisy.transition[0].tolist()
    (0.4, [0.6, 0.1, 0.1, 0.1, 0.1])
    """

    rate: float
    inclusive: bool = False
    sampling: Sampling = "exact"

    name: ClassVar[str] = "symmetric"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        object.__setattr__(self, "inclusive", check_flag(self.inclusive, "inclusive"))
        check_choice(self.sampling, Sampling, "sampling")

    def expected_transition(self, num_classes: int) -> NDArray[np.float64]:
        """Return the matrix that labels are drawn from, float64 (K, K), row-stochastic."""
        off = self.rate / (num_classes if self.inclusive else num_classes - 1)
        matrix = np.full((num_classes, num_classes), off)
        np.fill_diagonal(matrix, 1.0 - off * (num_classes - 1))
        return matrix.clip(min=0.0)  # rounding may leave -1e-17 on the diagonal at rate 1


@register
@final
@dataclass(frozen=True)
class PairFlip(MatrixNoise):
    """Class i becomes i + 1 mod K with probability `rate` (Han et al., NeurIPS 2018). Spelled `pairflip:0.2`.

    Parameters
    ----------
    rate : float
        In [0, 1]; from 0.5 on the wrong class outvotes the right one.
    sampling : {"exact", "bernoulli"}
        As in `Symmetric`.

    Raises
    ------
    InvalidInputError
        If the rate is not in [0, 1] or `sampling` is unknown.

    Examples
    --------
    >>> PairFlip(1.0).apply([0, 1, 2], num_classes=3, seed=0).labels.tolist()
    [1, 2, 0]
    """

    rate: float
    sampling: Sampling = "exact"

    name: ClassVar[str] = "pairflip"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        check_choice(self.sampling, Sampling, "sampling")

    def expected_transition(self, num_classes: int) -> NDArray[np.float64]:
        """Return the matrix that labels are drawn from, float64 (K, K), row-stochastic."""
        return _mapping_matrix(
            {label: (label + 1) % num_classes for label in range(num_classes)}, self.rate, num_classes
        )


@register
@final
@dataclass(frozen=True)
class Asymmetric(MatrixNoise):
    """Classes turn into the one they are mistaken for (Patrini et al., CVPR 2017). Spelled `asymmetric:0.4`.

    The trap: `rate` is the rate of the mapped classes. CIFAR-10's mapping names 5 of 10 classes, so the set-wide rate
    is half of it: `asymmetric:0.4` changes 20 % of the labels.

    Parameters
    ----------
    rate : float
        Share of each mapped class that changes, in [0, 1].
    mapping : mapping of int to int
        Right class -> wrong class; classes that it does not name stay right. Default: `CIFAR10_ASYMMETRIC`.
    sampling : {"exact", "bernoulli"}
        As in `Symmetric`.

    Raises
    ------
    InvalidInputError
        If the rate is not in [0, 1], `sampling` is unknown, the mapping is empty, is not from class to class or maps a
        class to itself, or (on `apply`) names a class that the labels cannot have.

    Examples
    --------
    >>> noisy = Asymmetric(0.4).apply(list(range(10)) * 10, num_classes=10, seed=0)
    >>> noisy.rate, float(noisy.transition[9, 1])
    (0.2, 0.4)
    """

    rate: float
    mapping: Mapping[int, int] = field(default_factory=lambda: dict(CIFAR10_ASYMMETRIC), hash=False)
    sampling: Sampling = "exact"

    name: ClassVar[str] = "asymmetric"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        object.__setattr__(self, "mapping", _check_mapping(self.mapping))
        check_choice(self.sampling, Sampling, "sampling")

    def expected_transition(self, num_classes: int) -> NDArray[np.float64]:
        """Return the matrix that labels are drawn from, float64 (K, K), row-stochastic."""
        top = max(max(pair) for pair in self.mapping.items())
        if top >= num_classes:
            raise InvalidInputError(
                f"a mapping between classes 0..{num_classes - 1}",
                got=f"class {top}",
                fix="pass mapping={from: to, ...} for this data set; the default is CIFAR-10's",
            )
        return _mapping_matrix(self.mapping, self.rate, num_classes)


def _mapping_matrix(mapping: Mapping[int, int], rate: float, num_classes: int) -> NDArray[np.float64]:
    matrix = np.eye(num_classes)
    for source, target in mapping.items():
        matrix[source, source] = 1.0 - rate
        matrix[source, target] = rate
    return matrix


def _check_mapping(mapping: object) -> dict[int, int]:
    if not isinstance(mapping, Mapping) or not mapping:
        raise InvalidInputError("a mapping of class to class", got=repr(mapping), fix="pass for example {9: 1, 2: 0}")
    for source, target in mapping.items():
        integers = all(isinstance(label, int | np.integer) and label >= 0 for label in (source, target))
        if not integers or source == target:
            raise InvalidInputError(
                "a mapping of each class to another one, as integers of at least 0",
                got=f"{source!r} -> {target!r}",
                fix="leave out classes that stay right",
            )
    return {int(source): int(target) for source, target in mapping.items()}
