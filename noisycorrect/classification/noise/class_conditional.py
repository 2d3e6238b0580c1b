"""Noise by any transition matrix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.base import register
from noisycorrect.classification.noise.checks import ArrayLike, check_choice, check_transition
from noisycorrect.classification.noise.sampling import Sampling
from noisycorrect.classification.noise.transition import MatrixNoise
from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.spelling import MATRIX, written_as


@register
@final
@dataclass(frozen=True, eq=False)
class ClassConditional(MatrixNoise):
    """Labels are drawn from the rows of a given matrix. Spelled row by row: `classconditional:0.9,0.1/0.2,0.8`.

    Parameters
    ----------
    transition : array-like of float, shape (K, K)
        Row-stochastic: T[i, j] = p(noisy = j | right = i). cleanlab's `noise_matrix` is the transpose, and is
        recognised; a matrix whose rows and columns both sum to 1 cannot be told apart: take care there.
    sampling : {"exact", "bernoulli"}
        As in `Symmetric`.

    Raises
    ------
    InvalidInputError
        If the matrix is not square, finite, non-negative and row-stochastic, `sampling` is unknown, or (on `apply`) its
        size is not `num_classes`.

    Examples
    --------
    >>> model = ClassConditional([[0.5, 0.5], [0.0, 1.0]])
    >>> model.apply([0, 0, 1, 1], num_classes=2, seed=0).transition.tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """

    transition: ArrayLike = field(metadata=written_as(MATRIX))
    sampling: Sampling = "exact"

    name: ClassVar[str] = "classconditional"

    def __post_init__(self) -> None:
        object.__setattr__(self, "transition", check_transition(self.transition))
        check_choice(self.sampling, Sampling, "sampling")

    def expected_transition(self, num_classes: int) -> NDArray[np.float64]:
        """Return the matrix that labels are drawn from, float64 (K, K), row-stochastic."""
        matrix = as_array(self.transition, "a transition matrix")
        if len(matrix) != num_classes:
            raise InvalidInputError(
                f"a transition matrix of {num_classes} classes",
                got=f"shape {matrix.shape}",
                fix="let num_classes and the matrix describe the same classes",
            )
        return matrix.copy()
