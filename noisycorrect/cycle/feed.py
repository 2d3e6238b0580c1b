"""Feed batches of any common form to a network, up to a number of samples, each pass no further than needed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from noisycorrect.support import distributed
from noisycorrect.support.calling import KeywordInputs
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError

INPUT_KEYS = ("input", "image", "x")

T = TypeVar("T")


# Not an error, and a BaseException so that no `except Exception` inside a model stops it.
class Reached(BaseException):
    """Raised by a hook that has seen enough: the rest of the forward pass is not needed."""


class Feed:
    """The caller's batches, cut to this rank's share of ``max_samples``, and how the network is run on one.

    Parameters
    ----------
    network : nn.Module
        The inner module.
    batches : iterable
        As the caller gave them.
    max_samples : int or None
        Of all ranks together.
    forward : callable
        Runs the network on a batch.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: Iterable[Any],
        max_samples: int | None,
        forward: Callable[[nn.Module, Any], Any],
    ) -> None:
        self._network = network
        self._batches = batches
        self._limit = None if max_samples is None else len(distributed.shard(max_samples))
        self._forward = forward

    def __iter__(self) -> Iterator[Any]:
        if self._limit is None:
            yield from self._batches
            return
        left = self._limit
        # Asking for a batch that is not used would cost a loader the work of one.
        batches = iter(self._batches) if left else iter(())
        while left:
            batch = next(batches, None)
            if batch is None:
                return
            size = batch_size(batch)
            yield batch if size <= left else cut_batch(batch, left)
            left -= min(size, left)

    def run(self, batch: Any) -> None:
        """Run the network until its end, or until a hook has seen enough."""
        try:
            with contextlib.suppress(Reached):
                self._forward(self._network, batch)
        except (NoisyCorrectError, torch.OutOfMemoryError):
            raise
        except (RuntimeError, TypeError, ValueError, IndexError) as error:  # of the caller's network
            raise InvalidInputError(
                "batches that the network takes",
                got=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
                fix="pass batches of its inputs, or forward=lambda model, batch: ...",
            ) from error


def forward_input(network: nn.Module, batch: Any) -> Any:
    """Return the network's output for the input of a batch, moved to the device and the dtype of the network."""
    device = next(itertools.chain(network.parameters(), network.buffers())).device
    return network(in_dtype_of(network, input_of(batch).to(device, non_blocking=True)))


def in_dtype_of(network: nn.Module, inputs: T) -> T:
    """Return inputs with floating tensors in the dtype of a network's parameters, or, if it has none, of its buffers.

    NumPy's arrays are float64 where nobody asked for it.

    Examples
    --------
    >>> in_dtype_of(nn.Linear(1, 1), torch.ones(1, dtype=torch.float64)).dtype
    torch.float32
    """
    own = itertools.chain(network.parameters(), network.buffers())
    wanted = next((tensor.dtype for tensor in own if tensor.is_floating_point()), None)
    if wanted is None:
        return inputs
    return map_tensors(inputs, lambda tensor: tensor.to(wanted) if tensor.is_floating_point() else tensor)


def input_of(batch: Any) -> torch.Tensor:
    """Return the input (N, ...) of a batch.

    Raises
    ------
    InvalidInputError
        No input is found in it.

    Examples
    --------
    >>> input_of((torch.ones(1), "label"))
    tensor([1.])
    """
    found = batch
    if isinstance(batch, Mapping):
        found = next((batch[key] for key in INPUT_KEYS if key in batch), None)
    elif not isinstance(batch, torch.Tensor) and hasattr(batch, "input"):
        found = batch.input
    elif isinstance(batch, tuple | list) and batch:
        found = batch[0]
    if isinstance(found, torch.Tensor):
        return found
    got = f"a mapping with the keys {list(batch)}" if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
    expected = "a batch that is a tensor, begins with one, or has it under 'input', 'image' or 'x'"
    raise InvalidInputError(expected, got=got, fix="pass forward=lambda model, batch: ...")


def map_tensors(value: T, function: Callable[[torch.Tensor], torch.Tensor]) -> T:
    """Return `value` with every tensor in it, through mappings, lists, tuples and dataclasses, replaced.

    Examples
    --------
    >>> map_tensors({"x": torch.ones(1), "n": 3}, torch.neg)
    {'x': tensor([-1.]), 'n': 3}
    """
    result: Any = value
    if isinstance(value, torch.Tensor):
        result = function(value)
    elif isinstance(value, Mapping):
        result = {key: map_tensors(item, function) for key, item in value.items()}
        result = KeywordInputs(result) if isinstance(value, KeywordInputs) else result
    elif isinstance(value, tuple | list):
        items = [map_tensors(item, function) for item in value]
        result = type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        result = dataclasses.replace(value, **{name: map_tensors(getattr(value, name), function) for name in names})
    return result  # type: ignore[no-any-return]


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return the tensors in a value, as :func:`map_tensors` finds them.

    Examples
    --------
    >>> tensors_in({"x": torch.ones(1), "n": 3})
    [tensor([1.])]
    """
    found: list[torch.Tensor] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        found.append(tensor)
        return tensor

    map_tensors(value, note)
    return found


def batch_size(batch: Any) -> int:
    """Return the number of samples in a batch: the first dimension of its first tensor.

    Raises
    ------
    InvalidInputError
        No tensor is found in it.

    Examples
    --------
    >>> batch_size({"image": torch.zeros(3, 2), "index": torch.zeros(3)})
    3
    """
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim():
            sizes.append(tensor.shape[0])
        return tensor

    map_tensors(batch, note)
    if not sizes:
        expected = "with max_samples, a batch that is a tensor or a tuple, list, mapping or dataclass of tensors"
        fix = "pass such batches, or max_samples=None"
        raise InvalidInputError(expected, got=f"a {type(batch).__name__}", fix=fix)
    return sizes[0]


def cut_batch(batch: Any, keep: int) -> Any:
    """Return the first ``keep`` samples of a batch, as a new batch of the same form.

    Tensors whose first dimension is not that of the batch stay whole.

    Examples
    --------
    >>> cut_batch([torch.arange(3), torch.zeros(())], 2)
    [tensor([0, 1]), tensor(0.)]
    """
    size = batch_size(batch)
    return map_tensors(batch, lambda tensor: tensor[:keep] if tensor.dim() and tensor.shape[0] == size else tensor)
