"""Modules: what PyTorch wraps around them, copies of them, and their state."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping
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


def with_own_modes(model: nn.Module) -> list[nn.Module]:
    """Return the modules that do something of their own on ``train()`` or ``eval()``: merge weights, stay as they are.

    Examples
    --------
    >>> with_own_modes(nn.Sequential(nn.Dropout()))
    []
    """
    return [
        module
        for module in model.modules()
        if type(module).train is not nn.Module.train
        or type(module).eval is not nn.Module.eval
        or not {"train", "eval"}.isdisjoint(vars(module))
    ]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and each module back into its own at the end, its weights as they were.

    Modules with an ``eval()`` of their own are asked, so that one which folds an update into its weights does; what
    the way there and back would change of these by rounding is undone.

    Examples
    --------
    >>> model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with evaluating(model):
    ...     print(model.training, model[0].training)
    False False
    >>> model.training, model[0].training, model[1].training
    (True, True, False)
    """
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]  # frozen scripts
    own = with_own_modes(model)
    kept = _parameters_of(own)
    try:
        own = own if _evaluated(model, own) else []
        yield
    finally:
        if own:
            for module, mode in modes:  # parents come first
                if module.training is not mode:
                    module.train(mode)
            _put_back(kept)
        for module, mode in modes:
            module.training = mode


def _evaluated(model: nn.Module, own: list[nn.Module]) -> bool:
    """Put a model into evaluation mode; return whether modules of it did something of their own."""
    if own:
        try:
            model.eval()
        except NotImplementedError:  # of an exported program, which has the one mode that it was exported in
            own = []
    if not own:  # the flag alone, as that is all there is
        for module in model.modules():
            if hasattr(module, "training"):
                module.training = False
    return bool(own)


def _parameters_of(modules: list[nn.Module]) -> list[tuple[nn.Module, str, nn.Parameter, Tensor]]:
    found = {
        id(parameter): (module, name, parameter)
        for each in modules
        for module in each.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None
    }
    return [(module, name, parameter, parameter.detach().clone()) for module, name, parameter in found.values()]


def _put_back(kept: list[tuple[nn.Module, str, nn.Parameter, Tensor]]) -> None:
    with torch.no_grad():
        for module, name, parameter, value in kept:
            module._parameters[name] = parameter  # an optimizer holds this one
            parameter.data.copy_(value)


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
        copy_ = copy.deepcopy(model, memo)
    except Exception as error:  # whatever a __deepcopy__ or __reduce__ raises
        lines = str(error).splitlines() or [type(error).__name__]
        raise InvalidInputError(
            "a model that can be copied: a run trains a copy",
            got=f"{_culprit(model)}: {lines[0]}",
            fix="leave out of the model what cannot be copied (locks, files, loggers), or define __deepcopy__",
        ) from error
    own = {id(parameter) for parameter in model.parameters()}
    shared = next((name for name, value in copy_.named_parameters() if id(value) in own), None)
    if shared is not None:
        raise InvalidInputError(
            "a model that can be copied: a run trains a copy",
            got=f"one whose copy has the parameter {shared!r} of the original",
            fix="let __deepcopy__ copy what it holds, or leave it out",
        )
    return copy_


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
            except Exception:
                return f"{path}.{name}" if path else name
    return type(model).__name__


def fit_buffers(model: nn.Module, state: Mapping[str, Any], buffers: Iterable[str]) -> None:
    """Make room in a model for buffers of a state that have come, or have grown, since the model was made.

    Parameters
    ----------
    model : nn.Module
        Changed in place, for ``load_state_dict`` to follow; wrappers of PyTorch are looked through.
    state : mapping
        What ``state_dict()`` returned.
    buffers : iterable of str
        Which of its names are buffers.

    Examples
    --------
    >>> model = nn.BatchNorm1d(1, affine=False)
    >>> fit_buffers(model, {"seen": torch.ones(3)}, ["seen"])
    >>> model.seen.shape
    torch.Size([3])
    """
    inner = unwrap(model)
    modules = dict(inner.named_modules())
    first = next((value for value in (*inner.parameters(), *inner.buffers())), torch.empty(0))
    for name in buffers:
        owner, _, own = name.rpartition(".")
        value, module = state.get(name), modules.get(owner)
        if module is None or not isinstance(value, Tensor):
            continue
        present = module._buffers.get(own)
        if present is None and (own in module._buffers or not hasattr(module, own)):
            module._buffers.pop(own, None)
            module.register_buffer(own, torch.empty_like(value, device=first.device))
        elif present is not None and present.shape != value.shape:
            module._buffers[own] = torch.empty_like(value, device=present.device)


def persistent_buffers(model: nn.Module) -> list[str]:
    """Return the names of the buffers in a model's state.

    Examples
    --------
    >>> persistent_buffers(nn.BatchNorm1d(1))
    ['running_mean', 'running_var', 'num_batches_tracked']
    """
    inner = unwrap(model)
    own = {name for name, _ in inner.named_buffers(remove_duplicate=False)}
    return [name for name in inner.state_dict() if name in own]
