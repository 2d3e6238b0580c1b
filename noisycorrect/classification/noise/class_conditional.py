"""Noise by any transition matrix, and the check that tells a row-stochastic one from cleanlab's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.checks import ArrayLike, as_array
from noisycorrect.classification.noise.sampling import Sampling, check_sampling
from noisycorrect.classification.noise.transition import MatrixNoise
from noisycorrect.support.errors import InvalidInputError

# A row that was summed in floating point is off 1 by rounding only; 1e-6 also admits float32 matrices.
_ROW_SUM_TOLERANCE = 1e-6


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

    transition: ArrayLike
    sampling: Sampling = "exact"

    name: ClassVar[str] = "classconditional"

    def __post_init__(self) -> None:
        object.__setattr__(self, "transition", _check_transition(self.transition))
        check_sampling(self.sampling)

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


def _check_transition(transition: Any) -> NDArray[np.float64]:
    given = as_array(transition, "a square transition matrix")
    if given.ndim != 2 or given.shape[0] != given.shape[1] or len(given) < 2 or given.dtype.kind not in "iuf":
        raise InvalidInputError(
            "a numeric transition matrix of shape (K, K), K >= 2",
            got=f"shape {given.shape}, dtype {given.dtype}",
            fix="write one row for each right class and one column for each noisy class",
        )
    matrix = given.astype(np.float64, copy=True)
    bad = np.argwhere(~((matrix >= 0.0) & (matrix <= 1.0 + _ROW_SUM_TOLERANCE)))
    if len(bad):
        row, column = map(int, bad[0])
        raise InvalidInputError(
            "a transition matrix of probabilities in [0, 1]",
            got=f"{matrix[row, column]} at row {row}, column {column}",
            fix="divide counts by their row sums",
        )
    sums = matrix.sum(axis=1)
    if np.abs(sums - 1.0).max() > _ROW_SUM_TOLERANCE:
        worst = int(np.abs(sums - 1.0).argmax())
        columns_sum_to_one = bool((np.abs(matrix.sum(axis=0) - 1.0) <= _ROW_SUM_TOLERANCE).all())
        hint = "this is a column-stochastic matrix as cleanlab writes it: transpose it (pass matrix.T)"
        raise InvalidInputError(
            "a row-stochastic transition matrix T[right, noisy]",
            got=f"a sum of {sums[worst]:.6g} in row {worst}",
            fix=hint if columns_sum_to_one else "divide each row by its sum",
        )
    matrix.setflags(write=False)
    return matrix
