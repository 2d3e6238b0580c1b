"""Checks of what callers hand in: labels, rates, seeds, inputs; each returns the value in the one form used inside."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError, unknown_name

LabelsLike: TypeAlias = Sequence[int] | NDArray[Any] | torch.Tensor
ArrayLike: TypeAlias = Sequence[Any] | NDArray[Any] | torch.Tensor
Seed: TypeAlias = int | np.random.SeedSequence

# A row that was summed in floating point is off 1 by rounding only; 1e-6 also admits float32 matrices.
_ROW_SUM_TOLERANCE = 1e-6

MOST_CLASSES = 2**16

# A big data set is looked through in parts, so that no mask of its whole size is made.
_CHUNK_VALUES = 2**22


def check_num_classes(num_classes: object) -> int:
    """Return `num_classes` as an int of at least 2."""
    if isinstance(num_classes, bool) or not isinstance(num_classes, numbers.Integral) or int(num_classes) < 2:
        raise InvalidInputError(
            "num_classes to be an integer of at least 2",
            got=repr(num_classes),
            fix="a label can only be wrong where there are two classes",
        )
    if int(num_classes) > MOST_CLASSES:
        fix = "number the classes from 0; a transition matrix has num_classes times num_classes entries"
        raise InvalidInputError(f"num_classes <= {MOST_CLASSES:,}", got=repr(num_classes)[:40], fix=fix)
    return int(num_classes)


def check_labels(labels: object, num_classes: int, what: str = "labels") -> NDArray[np.int64]:
    """Return a fresh int64 copy of class labels, shape (N,), each in 0..num_classes-1, N >= 1."""
    array = as_array(labels, f"{what} of shape (N,)")
    if array.ndim != 1:
        raise InvalidInputError(
            f"{what} of shape (N,)",
            got=f"shape {array.shape}",
            fix="class labels are one integer a sample; masks have noise models of their own in noisycorrect_seg",
        )
    if array.size == 0:
        raise InvalidInputError(f"{what} of at least one sample", got="none", fix="check how the data set was read")
    if array.dtype.kind not in "iu":
        raise InvalidInputError(
            f"integer {what}",
            got=f"dtype {array.dtype}",
            fix="convert with labels.astype('int64') once every value is known to be a class index",
        )
    outside = np.flatnonzero((array < 0) | (array >= num_classes))
    if outside.size:
        first = int(outside[0])
        raise InvalidInputError(
            f"{what} in 0..{num_classes - 1}",
            got=f"{int(array[first])} at index {first} ({outside.size} outside in all)",
            fix="raise num_classes, or leave out samples that carry an ignore label",
        )
    return array.astype(np.int64, copy=True)


def check_rate(rate: object) -> float:
    """Return a noise rate as a float in [0, 1]."""
    return check_share(rate, "a noise rate")


def check_share(value: object, what: str) -> float:
    """Return a number as a float in [0, 1]; NaN is refused."""
    number = _check_number(value, what)
    if not 0.0 <= number <= 1.0:
        raise InvalidInputError(f"{what} in [0, 1]", got=repr(value), fix="rates are shares: 40 % is 0.4")
    return number


def check_scale(value: object, what: str) -> float:
    """Return a number as a finite float of at least 0."""
    number = _check_number(value, what)
    if not (math.isfinite(number) and number >= 0.0):
        raise InvalidInputError(f"{what}, finite and at least 0", got=repr(value), fix="0 switches it off")
    return number


def _check_number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InvalidInputError(f"{what} as a number", got=repr(value), fix="pass a float such as 0.4")
    return float(value)


def check_flag(value: object, what: str) -> bool:
    """Return a bool; a truthy string such as "false" is refused."""
    if not isinstance(value, bool | np.bool_):
        raise InvalidInputError(f"{what} to be True or False", got=repr(value), fix="pass a bool")
    return bool(value)


def check_choice(value: object, choices: Any, what: str) -> None:
    """Refuse a value that is not among those of a Literal."""
    if value not in get_args(choices):
        raise unknown_name(what, value, get_args(choices))


def check_transition(transition: Any) -> NDArray[np.float64]:
    """Return a row-stochastic matrix as a read-only copy, float64 (K, K); cleanlab's transpose is recognised."""
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


def check_seed(seed: object) -> np.random.SeedSequence:
    """Return a SeedSequence of its own: drawing from it leaves a caller's SeedSequence as it was."""
    if isinstance(seed, np.random.SeedSequence):
        return np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key, pool_size=seed.pool_size)
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or int(seed) < 0:
        raise InvalidInputError(
            "seed to be an integer of at least 0 or a numpy SeedSequence",
            got=repr(seed),
            fix="noise is reproducible only from a seed: pass seed=0",
        )
    return np.random.SeedSequence(int(seed))


def child_seed(seed: np.random.SeedSequence, *key: int) -> np.random.SeedSequence:
    """Return the stream `key` below `seed`; unlike `SeedSequence.spawn` it counts nothing, so order does not matter."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *key), pool_size=seed.pool_size)


def origin(model: object, seed: np.random.SeedSequence) -> dict[str, Any]:
    """Return what noise was made of: the model's spelling, and what the seed can be built from again."""
    made_of: dict[str, Any] = {"model": str(model), "seed": seed.entropy}
    if seed.spawn_key:
        made_of["spawn_key"] = seed.spawn_key
    return made_of


def check_inputs(inputs: object, num_samples: int, model: str) -> NDArray[Any]:
    """Return inputs, shape (N, ...), as a numpy array that may share the caller's memory."""
    if inputs is None:
        raise InvalidInputError(
            f"inputs, because {model!r} noise depends on them",
            got="none",
            fix="call apply(labels, ..., inputs=x) with x of shape (N, ...)",
        )
    array = as_array(inputs, "inputs of shape (N, ...)")
    if array.ndim < 1 or len(array) != num_samples:
        raise InvalidInputError(
            f"one input for each of the {num_samples} labels",
            got=f"inputs of shape {array.shape}",
            fix="pass inputs and labels of the same samples, in the same order",
        )
    return array


def flat_features(inputs: NDArray[Any]) -> NDArray[Any]:
    """Return inputs, shape (N, ...), as a view or copy of shape (N, F) of numbers, all finite."""
    if inputs.dtype.kind not in "iufb":
        raise InvalidInputError("numeric inputs", got=f"dtype {inputs.dtype}", fix="encode them as numbers first")
    flat = inputs.reshape(len(inputs), -1)
    if flat.shape[1] == 0:
        raise InvalidInputError(
            "inputs of at least one feature", got=f"shape {inputs.shape}", fix="pass the samples themselves"
        )
    rows = max(1, _CHUNK_VALUES // flat.shape[1])
    for start in range(0, len(flat) if flat.dtype.kind == "f" else 0, rows):
        bad = np.flatnonzero(~np.isfinite(flat[start : start + rows]).all(axis=1))
        if bad.size:
            raise InvalidInputError(
                "finite inputs",
                got=f"NaN or infinity at index {start + int(bad[0])}",
                fix="clean or impute the inputs first",
            )
    return flat
