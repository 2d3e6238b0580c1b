"""Randomness that depends on where a run is, not on how it came there: a resumed run draws the same numbers."""

from __future__ import annotations

import contextlib
import random
import zlib
from collections.abc import Iterator

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
    derived = derived_seed(seed, purpose, *where)
    devices = [device] if device is not None and device.type == "cuda" else []
    with _kept(), torch.random.fork_rng(devices=devices):
        # torch.manual_seed would seed every GPU, which the fork does not put back.
        torch.default_generator.manual_seed(derived)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(derived)
        elif device is not None and device.type == "mps":
            torch.mps.manual_seed(derived)
        np.random.seed(derived % 2**32)  # noqa: NPY002
        random.seed(derived)
        yield
