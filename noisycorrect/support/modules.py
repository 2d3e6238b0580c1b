"""Modules: what PyTorch wraps around them, and the modes that they are in."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.support import distributed
from noisycorrect.support.errors import InvalidInputError


def unwrap(model: nn.Module) -> nn.Module:
    """Return the module inside DistributedDataParallel, DataParallel and torch.compile wrappers."""
    while True:
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def wrapped(model: nn.Module, device: torch.device) -> nn.Module:
    """Return a model on a device as all ranks train it together; itself if there is one rank."""
    if distributed.world_size() == 1:
        return model
    return nn.parallel.DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and each back into its own at the end.

    Examples
    --------
    >>> model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with evaluating(model):
    ...     print(model.training, model[0].training)
    False False
    >>> model.training, model[0].training, model[1].training
    (True, True, False)
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        # `eval()` may be overridden (frozen layers, merged adapters); the flag alone can be put back exactly.
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy of a model, also of one that keeps results of its last call, which PyTorch does not copy.

    Such results (features kept for a picture, weights that a hook makes anew at each call) are copied without the graph
    that they came from.

    Raises
    ------
    InvalidInputError
        If layers have no shape yet, the model is a compiled script, or holds something that cannot be copied.

    Examples
    --------
    >>> model = nn.Linear(2, 2)
    >>> model.seen = model(torch.ones(1, 2))
    >>> torch.equal(copied(model).seen, model.seen)
    True
    """
    scripts = [module for module in model.modules() if isinstance(module, torch.jit.ScriptModule)]
    if any(parameter.requires_grad for script in scripts for parameter in script.parameters()):
        got, fix = type(scripts[0]).__name__, "pass the network that the script was made of"
        raise InvalidInputError("a model of Python modules", got=got, fix=fix)
    lazy = [name for name, value in (*model.named_parameters(), *model.named_buffers()) if _is_lazy(value)]
    if lazy:
        got, fix = f"a lazy layer that has not been called: {lazy[0]!r}", "call the model once: model(inputs[:2])"
        raise InvalidInputError("a model whose parameters have shapes", got=got, fix=fix)
    memo: dict[int, Any] = {id(tensor): tensor.detach().clone() for tensor in _results_in(model)}
    try:
        return copy.deepcopy(model, memo)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise InvalidInputError(
            "a model that can be copied: a run trains a copy",
            got=f"{_culprit(model)}: {str(error).splitlines()[0]}",
            fix="leave out of the model what cannot be copied (locks, files, loggers), or define __deepcopy__",
        ) from error


def keeps_results(model: nn.Module) -> bool:
    """Return whether a model keeps tensors of its last call, with the graph that they came from.

    Examples
    --------
    >>> keeps_results(nn.Linear(2, 2))
    False
    """
    return any(True for _ in _results_in(model))


def _results_in(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        for value in vars(module).values():
            yield from _results(value)


def _is_lazy(value: Any) -> bool:
    return isinstance(value, (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer))


def _results(value: Any) -> Iterator[Tensor]:
    """Yield the tensors with a history in an attribute of a module, also those in its lists, tuples and dicts."""
    if isinstance(value, Tensor):
        if not value.is_leaf:
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _results(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _results(each)


def _culprit(model: nn.Module) -> str:
    """Return the name of the attribute that cannot be copied."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name in ("_modules", "_parameters", "_buffers"):
                continue
            try:
                copy.deepcopy(value)
            except (TypeError, RuntimeError, AttributeError):
                return f"{path}.{name}" if path else name
    return type(model).__name__
