"""What every noise model is: the interface, its result, and the matrix that describes what happened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from noisycorrect.classification.noise.checks import (
    ArrayLike,
    LabelsLike,
    Seed,
    check_labels,
    check_num_classes,
    check_seed,
    origin,
)
from noisycorrect.support.door import door
from noisycorrect.support.spelling import NOTATIONS, Notation, SpelledRegister, spell


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """What a noise model returns; every array is fresh and belongs to the caller.

    Attributes
    ----------
    labels : ndarray of int64, shape (N,)
        The noisy labels, in 0..K-1.
    changed : ndarray of bool, shape (N,)
        Which samples are wrong now: another label or, for open-set noise, another input.
    transition : ndarray of float64, shape (K, K)
        The realised shares: row = right class, column = noisy class, rows sum to 1. The row of a class without samples
        is an identity row.
    inputs : ndarray or Tensor, shape (N, ...), or None
        The swapped inputs of open-set noise, else None.
    details : dict
        What the noise was made of; always `model` (its spelling) and `seed`.

    Examples
    --------
    >>> from noisycorrect.classification.noise import PairFlip
    >>> noisy = PairFlip(0.5).apply([0, 0, 1, 1], num_classes=2, seed=0)
    >>> noisy.rate, noisy.transition.tolist()
    (0.5, [[0.5, 0.5], [0.5, 0.5]])
    """

    labels: NDArray[np.int64]
    changed: NDArray[np.bool_]
    transition: NDArray[np.float64]
    inputs: NDArray[Any] | torch.Tensor | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Realised share of changed samples, in [0, 1]."""
        return float(self.changed.mean())


class NoiseModel(ABC):
    """Makes wrong labels out of right ones, reproducibly, and says which ones it changed.

    A model is an immutable value: `apply` may be called on any labels, in any order. `str(model)` is its spelling,
    which `parse` reads back; files and arrays that a model needs are no part of the spelling. The types of its fields
    say how they are spelled, see `noisycorrect.support.spelling`.

    Models are final: they set `name` and define `_corrupt`, or a matrix (MatrixNoise), and are decorated with
    `register`.
    """

    name: ClassVar[str]
    notations: ClassVar[Mapping[Any, Notation]] = NOTATIONS

    @door
    def apply(
        self, labels: LabelsLike, *, num_classes: int, seed: Seed, inputs: ArrayLike | None = None
    ) -> NoisyLabels:
        """Return noisy labels for right ones.

        Parameters
        ----------
        labels : sequence of int, integer ndarray or integer Tensor, shape (N,)
            The right labels, in 0..K-1. Never changed.
        num_classes : int
            K, at least 2.
        seed : int or numpy.random.SeedSequence
            The only source of randomness: equal seeds give equal noise. Global random states are neither read nor
            moved.
        inputs : ndarray, Tensor or sequence, shape (N, ...), optional
            The samples, for models whose noise depends on them. Never changed.

        Returns
        -------
        NoisyLabels
            Labels, changed samples and the realised transition matrix.

        Raises
        ------
        InvalidInputError
            If labels, `num_classes`, seed or inputs are not as above.
        """
        num_classes = check_num_classes(num_classes)
        given = check_labels(labels, num_classes)
        sequence = check_seed(seed)
        result = self._corrupt(given, num_classes, sequence, inputs)
        return replace(result, details=origin(self, sequence) | result.details)

    @abstractmethod
    def _corrupt(
        self, given: NDArray[np.int64], num_classes: int, seed: np.random.SeedSequence, inputs: ArrayLike | None
    ) -> NoisyLabels:
        """Return the noisy labels of checked ones; `given` is a copy of the caller's, and must stay unchanged."""

    def __str__(self) -> str:
        return spell(self)


MODELS: SpelledRegister[NoiseModel] = SpelledRegister(
    "noise model", group="noisycorrect.noise_models", example="symmetric:0.4"
)
"""Every noise model for class labels, by its name."""

register = MODELS.add
"""Class decorator that adds a noise model to `MODELS`; it stands above ``@dataclass``."""


def relabelled(
    given: NDArray[np.int64], noisy: NDArray[np.int64], num_classes: int, details: dict[str, Any] | None = None
) -> NoisyLabels:
    """Return the result of a model that changes labels only."""
    transition = realised_transition(given, noisy, num_classes)
    return NoisyLabels(labels=noisy, changed=noisy != given, transition=transition, details=details or {})


@door(own=True)
def realised_transition(given: NDArray[np.int64], noisy: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Return how often each right class became each noisy class, as shares of the right class.

    Parameters
    ----------
    given, noisy : ndarray of int64, shape (N,)
        Right and noisy labels of the same samples, in 0..K-1.
    num_classes : int
        K.

    Returns
    -------
    ndarray of float64, shape (K, K)
        Rows sum to 1; the row of a class without samples is an identity row.

    Examples
    --------
    >>> realised_transition(np.array([0, 0, 1]), np.array([0, 1, 1]), 3).tolist()
    [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    cells = np.bincount(given * num_classes + noisy, minlength=num_classes * num_classes)
    counts = cells.reshape(num_classes, num_classes).astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    return np.where(totals > 0, counts / np.maximum(totals, 1), np.eye(num_classes))
