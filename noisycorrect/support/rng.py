"""Randomness that depends on where a run is, not on how it came there: a resumed run draws the same numbers."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def derived_seed(*entropy: int) -> int:
    """Return a 63-bit seed that mixes whole numbers >= 0 (a run's seed, an epoch, a purpose).

    Examples
    --------
    >>> derived_seed(0, 1) == derived_seed(0, 1), derived_seed(0, 1) == derived_seed(1, 0)
    (True, False)
    """
    # SeedSequence pads with zeros: without the length (7, 3) and (7, 3, 0) would be one seed.
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
    >>> with seeded(0):
    ...     with untouched():
    ...         drawn = torch.rand(1)
    ...     bool(drawn == torch.rand(1))
    True
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - callers' code uses them
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


@contextlib.contextmanager
def seeded(*entropy: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch, numpy and random inside the block; give the caller's generators back unchanged.

    Parameters
    ----------
    *entropy : int
        Whole numbers >= 0, mixed by :func:`derived_seed`.
    device : torch.device, optional
        A CUDA device whose generator is seeded and restored, too.

    Examples
    --------
    >>> with seeded(0, 7):
    ...     first = torch.rand(1)
    >>> with seeded(0, 7):
    ...     again = torch.rand(1)
    >>> bool(first == again)
    True
    """
    seed = derived_seed(*entropy)
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - augmentations use them
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        # torch.manual_seed would seed every GPU, which the fork does not put back.
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device is not None and device.type == "mps":
            torch.mps.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
