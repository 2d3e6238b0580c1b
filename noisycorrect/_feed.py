"""Feed batches of any common form to a network, up to a number of samples, each pass no further than needed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from noisycorrect import distributed
from noisycorrect.errors import InvalidInputError

__all__ = ["Feed", "Reached", "batch_size", "cut_batch", "forward_input", "input_of"]

_INPUT_KEYS = ("input", "image", "x")


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
        with contextlib.suppress(Reached):
            self._forward(self._network, batch)


def forward_input(network: nn.Module, batch: Any) -> Any:
    """Return the network's output for the input of a batch, moved to the device of the network."""
    device = next(itertools.chain(network.parameters(), network.buffers())).device
    return network(input_of(batch).to(device, non_blocking=True))


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
        found = next((batch[key] for key in _INPUT_KEYS if key in batch), None)
    elif not isinstance(batch, torch.Tensor) and hasattr(batch, "input"):
        found = batch.input
    elif isinstance(batch, tuple | list) and batch:
        found = batch[0]
    if isinstance(found, torch.Tensor):
        return found
    got = f"a mapping with the keys {list(batch)}" if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
    expected = "a batch that is a tensor, begins with one, or has it under 'input', 'image' or 'x'"
    raise InvalidInputError(expected, got=got, mend="pass forward=lambda model, batch: ...")


def _map_tensors(change: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    """Return a batch of the same form, with each of its tensors (N, ...) changed."""
    if isinstance(value, torch.Tensor):
        return change(value) if value.dim() else value
    if isinstance(value, Mapping):
        return {key: _map_tensors(change, item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [_map_tensors(change, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(value, **{name: _map_tensors(change, getattr(value, name)) for name in names})
    return value


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
        sizes.append(tensor.shape[0])
        return tensor

    _map_tensors(note, batch)
    if not sizes:
        expected = "with max_samples, a batch that is a tensor or a tuple, list, mapping or dataclass of tensors"
        mend = "pass such batches, or max_samples=None"
        raise InvalidInputError(expected, got=f"a {type(batch).__name__}", mend=mend)
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
    return _map_tensors(lambda tensor: tensor[:keep] if tensor.shape[0] == size else tensor, batch)
