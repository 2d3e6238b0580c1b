"""Randomness that depends on where a run is, not on how it came there: a resumed run draws the same numbers."""

from __future__ import annotations

import contextlib
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch


def derived_seed(seed: int, purpose: str, *where: int) -> int:
    """Return the 63-bit seed of one stream of random numbers.

    A stream has a name, so that what it is for cannot be mistaken for where it is drawn: the choice of held-out labels
    is never the order of an epoch. Each name stands in one place of the code.

    Parameters
    ----------
    seed : int
        Of a run, a data set, an experiment; >= 0.
    purpose : str
        What the numbers are for.
    *where : int
        Whole numbers >= 0 that tell apart the streams of one purpose (an epoch, a rank).

    Examples
    --------
    >>> derived_seed(0, "order of samples", 3) == derived_seed(0, "order of samples", 3)
    True
    >>> derived_seed(0, "order of samples", 3) == derived_seed(0, "held-out labels", 3)
    False
    """
    # crc32, not hash(): the same in every process. SeedSequence pads with zeros: without the length (7, 3) and
    # (7, 3, 0) would be one seed.
    entropy = (seed, zlib.crc32(purpose.encode()), *where)
    return int(np.random.SeedSequence((len(entropy), *entropy)).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextlib.contextmanager
def untouched(device: torch.device | None = None) -> Iterator[None]:
    """Give the generators of torch, numpy and random back as they were before the block.

    Parameters
    ----------
    device : torch.device, optional
        A CUDA device whose generator is restored, too.

    Examples
    --------
    >>> with seeded(0, "an example"):
    ...     with untouched():
    ...         drawn = torch.rand(1)
    ...     bool(drawn == torch.rand(1))
    True
    """
    devices = [device] if device is not None and device.type == "cuda" else []
    with _kept(), torch.random.fork_rng(devices=devices):
        yield


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Give the generators of numpy and random back as they were."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - callers' code uses them
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


@contextlib.contextmanager
def seeded(seed: int, purpose: str, *where: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch, numpy and random inside the block; give the caller's generators back unchanged.

    Parameters
    ----------
    seed, purpose, *where
        As for :func:`derived_seed`.
    device : torch.device, optional
        A CUDA device whose generator is seeded and restored, too.

    Examples
    --------
    >>> with seeded(0, "dropout", 7):
    ...     first = torch.rand(1)
    >>> with seeded(0, "dropout", 7):
    ...     again = torch.rand(1)
    >>> bool(first == again)
    True
    """
    with untouched(device):
        _reseed(derived_seed(seed, purpose, *where), device)
        yield


def _reseed(derived: int, device: torch.device | None = None) -> None:
    # torch.manual_seed would seed every GPU, which `untouched` does not put back.
    torch.default_generator.manual_seed(derived)
    if device is not None and device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(derived)
    elif device is not None and device.type == "mps":
        torch.mps.manual_seed(derived)
    np.random.seed(derived % 2**32)  # noqa: NPY002 - augmentations use it
    random.seed(derived)


T = TypeVar("T")


class SeededReads:
    """Reads samples so that what is random in a sample depends on the sample, whatever is read with it.

    The generators of torch, numpy and random are seeded for each sample, from (seed, purpose, where, sample). That
    costs more than reading a plain array, so samples are read together until a reading draws a random number: these are
    then read again, one by one, as are all that follow. What is read is the same either way.

    Parameters
    ----------
    seed, purpose : int, str
        As for :func:`derived_seed`.

    Examples
    --------
    >>> read = lambda indices: [round(random.random(), 3) for _ in indices]
    >>> SeededReads(0, "an example")(read, [4, 7])[1] == SeededReads(0, "an example")(read, [7])[0]
    True
    """

    def __init__(self, seed: int, purpose: str) -> None:
        self._name = seed, purpose
        self._one_by_one = False

    def __call__(self, read: Callable[[list[int]], list[T]], indices: list[int], *where: int) -> list[T]:
        """Return ``read(indices)``, each sample as it is when it is read alone."""
        with untouched():
            derived = derived_seed(*self._name, *where, indices[0])
            if not self._one_by_one:
                _reseed(derived)
                untouched_draws = _draws()
                _reseed(derived)
                items = read(indices)
                if _draws() == untouched_draws:
                    return items
                self._one_by_one = True
            items = []
            for index in indices:
                _reseed(derived_seed(*self._name, *where, index))
                items.extend(read([index]))
            return items


def _draws() -> tuple[float, ...]:
    """Return a number from each generator: the same from one that nobody has used since it was seeded."""
    drawn = torch.rand(2, dtype=torch.float64).tolist()
    return *drawn, float(np.random.random_sample()), random.random()  # noqa: NPY002


class Stream:
    """A stream of random numbers that is left and taken up again: what is drawn in between is drawn from others.

    Parameters
    ----------
    seed, purpose, *where
        As for :func:`derived_seed`.
    device : torch.device, optional
        A CUDA device whose generator belongs to it, too.

    Examples
    --------
    >>> stream, parts = Stream(0, "an example"), []
    >>> for _ in range(2):
    ...     with stream:
    ...         parts.append(random.random())
    ...     other = random.random()
    >>> with seeded(0, "an example"):
    ...     parts == [random.random(), random.random()]
    True
    """

    def __init__(self, seed: int, purpose: str, *where: int, device: torch.device | None = None) -> None:
        self._derived = derived_seed(seed, purpose, *where)
        self._device = device
        self._state: tuple[Any, ...] | None = None
        self._outside: contextlib.ExitStack | None = None

    def __enter__(self) -> Stream:
        self._outside = contextlib.ExitStack()
        self._outside.enter_context(untouched(self._device))
        if self._state is None:
            _reseed(self._derived, self._device)
        else:
            own, on_device, of_numpy, of_python = self._state
            torch.set_rng_state(own)
            if on_device is not None:
                torch.cuda.set_rng_state(on_device, self._device or "cuda")
            np.random.set_state(of_numpy)  # noqa: NPY002
            random.setstate(of_python)
        return self

    def __exit__(self, *error: object) -> None:
        cuda = self._device is not None and self._device.type == "cuda"
        on_device = torch.cuda.get_rng_state(self._device) if cuda and self._device is not None else None
        self._state = torch.get_rng_state(), on_device, np.random.get_state(), random.getstate()  # noqa: NPY002
        assert self._outside is not None
        self._outside.close()
