"""Predictions for new inputs, in whatever form they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

from noisycorrect.cycle.feed import batch_size as size_of
from noisycorrect.cycle.feed import map_tensors
from noisycorrect.data.batches import Batch
from noisycorrect.data.forms import as_inputs, count_of, rows_of
from noisycorrect.data.items import input_of
from noisycorrect.data.standardize import standardize_of
from noisycorrect.labels import Trust
from noisycorrect.support.arrays import is_array
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.modules import evaluating
from noisycorrect.task import Task


def predicted_probs(
    model: nn.Module, task: Task, inputs: Any, *, batch_size: int = 256, num_workers: int = 0
) -> np.ndarray:
    """Return a model's class probabilities of new inputs, float32 (N, K, ...).

    The model runs where it is, in evaluation mode, and comes back in the mode that it was in.

    Parameters
    ----------
    model : nn.Module
        Called with a batch of inputs.
    task : Task
        Says what its output means.
    inputs : array-like, shape (N, ...), Dataset or DataLoader
        A numpy array, tensor, data frame, sparse matrix or list of vectors, or arrays by name, taken as in training
        (:func:`~noisycorrect.data.forms.as_inputs`); a map-style data set of inputs, of tuples that begin with one, or
        of dicts (labels are passed over); or a loader of such batches, in order.
    batch_size : int
        Samples in a batch, >= 1; a loader has its own.
    num_workers : int
        Processes that read a data set's items; 0 reads in this one.

    Raises
    ------
    InvalidInputError
        If the inputs are of no such form, none, or not what the model takes; or a prediction is not finite.
    """
    first = next((each for each in (*model.parameters(), *model.buffers())), torch.empty(0, dtype=torch.float32))
    batches = _batches(
        inputs, whole_number("batch_size", batch_size, least=1), whole_number("num_workers", num_workers, least=0)
    )
    found: list[np.ndarray] = []
    done = 0
    with torch.no_grad(), evaluating(model):
        for batch in batches:
            batch = map_tensors(batch, lambda tensor: tensor.to(first.device))
            count = size_of(batch)
            probs = _probs(model, task, batch, count)
            if not np.isfinite(probs).all():
                row = done + int(np.argmin(np.isfinite(probs).reshape(len(probs), -1).all(1)))
                fix = "fill in what is missing in the inputs"
                raise InvalidInputError("finite predictions", got=f"NaN or infinity for input {row}", fix=fix)
            found.append(probs)
            done += count
    if not found:
        raise InvalidInputError("at least one input", got="none", fix="check what is passed")
    if len({probs.shape[1:] for probs in found}) > 1:
        raise InvalidInputError(
            "inputs of one length, so that predictions make one array",
            got=f"lengths {sorted({probs.shape[-1] for probs in found})}",
            fix="predict those of each length in a call of their own",
        )
    return np.concatenate(found)


def _probs(model: nn.Module, task: Task, inputs: Any, count: int) -> np.ndarray:
    standardize = standardize_of(model)
    if standardize is not None and isinstance(inputs, Tensor) and inputs.shape[-1] != len(standardize.mean):
        raise InvalidInputError(
            f"inputs of {len(standardize.mean)} features, as in training",
            got=f"shape {tuple(inputs.shape)}",
            fix="prepare them as the training inputs",
        )
    batch = Batch(torch.arange(count), inputs, torch.full((count,), -1), Trust(torch.zeros(count, dtype=torch.float32)))
    try:
        return task.probs(task.forward(model, batch)).cpu().numpy()
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        shape = (
            f"{inputs.dtype} of shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
        )
        raise InvalidInputError(
            "inputs as the model was trained on",
            got=f"{shape} ({str(error).splitlines()[0]})",
            fix="prepare them as the training inputs, and pass them as a batch",
        ) from error


def _batches(inputs: Any, batch_size: int, num_workers: int) -> Iterable[Any]:
    """Return the inputs in batches of tensors, in order."""
    if isinstance(inputs, DataLoader):
        return map(input_of, _in_order(inputs))
    if isinstance(inputs, Mapping) and inputs and all(isinstance(key, str) for key in inputs):
        return _rows(input_of(inputs), batch_size)
    if is_array(inputs) or hasattr(inputs, "__array__"):
        return _rows(inputs, batch_size)
    if isinstance(inputs, Dataset) or (hasattr(inputs, "__getitem__") and not isinstance(inputs, (str, bytes, dict))):
        if not hasattr(inputs, "__len__"):
            _refuse(inputs)
        if isinstance(inputs, Sequence) and len(inputs) and not isinstance(inputs[0], (Tensor, tuple, dict)):
            return _rows(inputs, batch_size)
        return DataLoader(_Inputs(inputs), batch_size, num_workers=num_workers, generator=torch.Generator())
    _refuse(inputs)
    return ()


def _refuse(inputs: Any) -> None:
    raise InvalidInputError(
        "inputs: an array (N, ...), a data set with a length, or a DataLoader",
        got=type(inputs).__name__,
        fix="pass the inputs without their labels, prepared as those of the training set",
    )


def _rows(inputs: Any, batch_size: int) -> Iterator[Any]:
    """Yield the rows of arrays as training takes them; a sparse matrix becomes dense a batch at a time."""
    held = as_inputs(inputs)
    if isinstance(held, Tensor) and not held.dim():
        raise InvalidInputError(
            "inputs of numbers, shape (N, ...)",
            got=f"{held.dtype} of shape ()",
            fix="turn them into numbers as those of the training set",
        )
    count = count_of(held)
    for start in range(0, count, batch_size):
        # Positions, not a slice: these are copies, and a model that writes into its batch changes no inputs.
        yield rows_of(held, torch.arange(start, min(start + batch_size, count)))


def _in_order(loader: DataLoader[Any]) -> DataLoader[Any]:
    sampler = loader.sampler
    if isinstance(loader.batch_sampler, BatchSampler):
        sampler = loader.batch_sampler.sampler
    if isinstance(sampler, RandomSampler) or (loader.drop_last and isinstance(sampler, SequentialSampler)):
        got = "one that shuffles" if isinstance(sampler, RandomSampler) else "one that leaves out the last batch"
        raise InvalidInputError("a loader of all samples in order", got=got, fix="pass the data set itself")
    return loader


class _Inputs(Dataset[Any]):
    """The inputs of a data set whose items may carry labels."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return input_of(self.data[index])
