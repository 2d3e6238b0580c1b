"""That inputs are finite, or the model knows what to do where they are not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.cycle.feed import map_tensors
from noisycorrect.data.batches import Batch
from noisycorrect.data.datasets import ArrayDataset, MapStyleDataset
from noisycorrect.data.forms import SparseRows, count_of, rows_of
from noisycorrect.support.errors import InvalidInputError

_BLOCK = 8192  # rows of an array at once


def check_finite(name: str, batch: Batch, probs: Tensor) -> None:
    """Raise an InvalidInputError if a model's predictions (B, K, ...) are NaN where inputs are NaN or infinite.

    `name` is what the data set is called.

    Examples
    --------
    >>> from noisycorrect.labels import Trust
    >>> inputs = torch.tensor([[1.0], [float("nan")]])
    >>> batch = Batch(torch.tensor([3, 7]), inputs, torch.zeros(2), Trust(torch.ones(2)))
    >>> check_finite("validation", batch, inputs)
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected finite validation inputs; got nan in sample 7; to fix: fill
    in what is missing, or leave the sample out
    """
    wrong = (~torch.isfinite(probs).flatten(1).all(1)).nonzero().flatten().tolist()
    for row in wrong:
        value = _not_finite(map_tensors(batch.input, lambda tensor: tensor[row : row + 1]))  # noqa: B023
        if value is not None:
            raise InvalidInputError(
                f"finite {name} inputs",
                got=f"{value} in sample {int(batch.index[row])}",
                fix="fill in what is missing, or leave the sample out",
            )


def rows_not_finite(data: MapStyleDataset) -> Iterator[int]:
    """Yield positions of samples whose inputs are not all finite, of data sets that lie in memory."""
    if not isinstance(data, ArrayDataset):
        return
    inputs = data.inputs
    if isinstance(inputs, SparseRows):
        matrix = inputs.matrix
        places = np.flatnonzero(~np.isfinite(matrix.data))
        yield from np.unique(np.searchsorted(matrix.indptr, places, side="right") - 1).tolist()
        return
    for start in range(0, count_of(inputs), _BLOCK):
        block = rows_of(inputs, slice(start, start + _BLOCK))
        if _not_finite(block) is not None:
            for row in range(start, min(start + _BLOCK, len(data))):
                if _not_finite(rows_of(inputs, slice(row, row + 1))) is not None:
                    yield row


def _not_finite(inputs: Any) -> float | None:
    """Return the first value that is NaN or infinite, or None."""
    found: list[float] = []

    def look(tensor: Any) -> Any:
        value = torch.as_tensor(tensor)
        if not found and value.is_floating_point() and value.numel() and not torch.isfinite(value.sum()):
            wrong = value[~torch.isfinite(value)]  # a sum of large values may overflow
            found.extend(wrong[:1].tolist())
        return tensor

    map_tensors(inputs, look)
    return found[0] if found else None
