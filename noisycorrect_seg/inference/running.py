"""A caller's model, borrowed: on a device, in evaluation mode, without gradients; given back as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import nn

from noisycorrect.training.engine import resolve_device, resolve_precision

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextlib.contextmanager
def on_device(model: nn.Module, device: str | torch.device = "auto") -> Iterator[torch.device]:
    """Lend a model to a device, and bring it back.

    Parameters
    ----------
    model : nn.Module
        Its parameters and buffers are moved, if they lie elsewhere. One that is spread over devices stays as it is.
    device : str or torch.device
        ``"auto"``: where the model is, if that is no CPU; else this rank's GPU, Apple's, or the CPU.

    Yields
    ------
    torch.device
        Where inputs belong.

    Examples
    --------
    >>> with on_device(nn.Linear(1, 1), "cpu") as device:
    ...     print(device)
    cpu
    """
    devices = [tensor.device for tensor in (*model.parameters(), *model.buffers())]
    home = next((each for each in devices if each.type != "cpu"), next(iter(devices), None))
    target = home if device == "auto" and home is not None and home.type != "cpu" else resolve_device(device)
    if home is None or home == target or len(set(devices)) > 1:
        yield target if home is None else devices[0]
        return
    try:
        model.to(target)
        yield target
    finally:
        model.to(home)


@contextlib.contextmanager
def forward_context(device: torch.device, precision: str) -> Iterator[None]:
    """Run without gradients, in a precision: ``"float32"``, ``"bfloat16"``, ``"float16"``, or ``"auto"``.

    Examples
    --------
    >>> with forward_context(torch.device("cpu"), "float32"):
    ...     torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
    (False, False)
    """
    dtype = resolve_precision(precision, device)
    autocast = contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
    with torch.no_grad(), autocast:
        yield


def ahead(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield ``work(item)`` for each item, the next one being worked on in another thread meanwhile.

    One thread: `work` need not be safe to run twice at a time.

    Examples
    --------
    >>> list(ahead(abs, [1, -2, 3]))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        future = pool.submit(work, items[0]) if items else None
        for following in range(1, len(items) + 1):
            assert future is not None
            result = future.result()
            future = pool.submit(work, items[following]) if following < len(items) else None
            yield result
