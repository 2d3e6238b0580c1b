"""Small helpers over ``torch.distributed``: each is a no-op, or the one-process answer, while it is not initialised.

All functions but :func:`rank`, :func:`world_size`, :func:`is_main`, :func:`on_backend` and :func:`shard` are
collective: every rank calls them, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch
import torch.distributed as dist

from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError

__all__ = [
    "all_gather_objects",
    "all_reduce_sum",
    "barrier",
    "gather_results",
    "is_main",
    "on_backend",
    "rank",
    "shard",
    "world_size",
]

T = TypeVar("T")


def _initialised() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return this process's rank, 0 outside a process group.

    Examples
    --------
    >>> rank()
    0
    """
    return dist.get_rank() if _initialised() else 0


def world_size() -> int:
    """Return the number of processes, 1 outside a process group.

    Examples
    --------
    >>> world_size()
    1
    """
    return dist.get_world_size() if _initialised() else 1


def is_main() -> bool:
    """Return whether this is rank 0: the process that writes files and prints.

    Examples
    --------
    >>> is_main()
    True
    """
    return rank() == 0


def barrier() -> None:
    """Wait until every rank is here.

    Examples
    --------
    >>> barrier()
    """
    if not _initialised():
        return
    if dist.get_backend() == "nccl":
        # Without its device nccl guesses one from the rank, and warns.
        dist.barrier(device_ids=[torch.cuda.current_device()])
    else:
        dist.barrier()


def on_backend(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without gradient where the group's backend exchanges it, bool as uint8; not collective."""
    tensor = tensor.detach().to(_collective_device(tensor)).contiguous()
    return tensor.to(torch.uint8) if tensor.dtype is torch.bool else tensor


def _collective_device(tensor: torch.Tensor) -> torch.device:
    """Return the device on which the group's backend can reduce ``tensor``."""
    backend = dist.get_backend()
    if backend == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    if backend == "gloo" or tensor.device.type not in ("cpu", "cuda"):
        return torch.device("cpu")
    return tensor.device


def all_reduce_sum(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of ``tensor`` over all ranks.

    Parameters
    ----------
    tensor : torch.Tensor
        Any shape, the same on every rank; any dtype that the backend adds, float64 included. Left as it is.

    Returns
    -------
    torch.Tensor
        A new tensor without gradient; shape, dtype and device of ``tensor``.

    Examples
    --------
    >>> all_reduce_sum(torch.tensor([1.0, 2.0], dtype=torch.float64))
    tensor([1., 2.], dtype=torch.float64)
    """
    if not _initialised():
        return tensor.detach().clone()
    total = tensor.detach().to(_collective_device(tensor), copy=True).contiguous()
    dist.all_reduce(total, op=dist.ReduceOp.SUM)
    return total.to(tensor.device)


def all_gather_objects(obj: T) -> list[T]:
    """Return every rank's ``obj``, in the order of the ranks, on every rank.

    Parameters
    ----------
    obj : T
        Anything that pickles. Move tensors to the CPU first: a CUDA tensor would arrive on the sender's device.

    Returns
    -------
    list of T
        One item a rank.

    Examples
    --------
    >>> all_gather_objects("part-0")
    ['part-0']
    """
    if not _initialised():
        return [obj]
    gathered: list[T | None] = [None] * world_size()
    dist.all_gather_object(gathered, obj)
    return cast("list[T]", gathered)


def gather_results(work: Callable[[], T]) -> list[T]:
    """Run ``work`` on every rank and return all results; an error on one rank ends all of them.

    Without this, a rank that fails before a collective leaves the others waiting until the backend's time limit.

    Parameters
    ----------
    work : callable
        Takes nothing and returns something that pickles; it calls no collective of its own.

    Returns
    -------
    list of T
        One result a rank, in the order of the ranks.

    Raises
    ------
    Exception
        Whatever ``work`` raised, on the rank where it did.
    NoisyCorrectError
        On the other ranks: names the rank that failed, and its message.

    Examples
    --------
    >>> gather_results(lambda: 6 * 7)
    [42]
    """
    if not _initialised():
        return [work()]
    result: T | None = None
    failure: Exception | None = None
    try:
        result = work()
    except Exception as error:
        failure = error
    message = None if failure is None else f"{type(failure).__name__}: {failure}"
    replies = all_gather_objects((message, result))
    if failure is not None:
        raise failure
    for other, (problem, _) in enumerate(replies):
        if problem is not None:
            raise NoisyCorrectError(f"rank {other} failed with {problem}")
    return [cast("T", value) for _, value in replies]


def _check_rank(name: str, value: int, size: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < size:
        raise InvalidInputError(f"{name} in 0..{size - 1}", got=repr(value), fix="pass one of the group's ranks")


# `shard` names its parameters after these two functions, and so hides them.
_rank, _world_size = rank, world_size


def shard(length: int, rank: int | None = None, world_size: int | None = None) -> range:
    """Return the indices of 0..length-1 that a rank works on.

    The shards are contiguous, in the order of the ranks, without padding: their union is everything, no index occurs
    twice, and their sizes differ by at most 1 (so they may be empty).

    Parameters
    ----------
    length : int
        Number of items, 0 or more.
    rank, world_size : int, optional
        This process's place in the group unless given.

    Raises
    ------
    InvalidInputError
        A negative ``length``, a ``world_size`` below 1, or a ``rank`` outside it.

    Examples
    --------
    >>> [list(shard(7, rank, 3)) for rank in range(3)]
    [[0, 1], [2, 3], [4, 5, 6]]
    """
    size = _world_size() if world_size is None else world_size
    place = _rank() if rank is None else rank
    if isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise InvalidInputError("a length of 0 or more", got=repr(length), fix="pass len(dataset)")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InvalidInputError("a world_size of 1 or more", got=repr(size), fix="pass the number of processes")
    _check_rank("rank", place, size)
    return range(length * place // size, length * (place + 1) // size)
