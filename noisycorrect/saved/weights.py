"""Weights as files: safetensors where it is installed, else torch's own."""

from __future__ import annotations

import importlib.util
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from noisycorrect.support.checkpoint import load_checkpoint, save_checkpoint
from noisycorrect.support.errors import CheckpointError, InvalidInputError, unknown_name
from noisycorrect.support.files import check_ordinary, replace_atomically

SAFETENSORS, TORCH = "model.safetensors", "model.pt"
FORMATS = ("auto", "safetensors", "torch")


def write_weights(folder: Path, state: Mapping[str, Any], more: Mapping[str, Any], *, weights: str = "auto") -> str:
    """Write a module's state, and return the file's name.

    A safetensors file holds tensors that share their memory once; names of classes, versions of modules and such stand
    as JSON in its header.

    Parameters
    ----------
    folder : Path
        Existing.
    state : mapping of str
        ``module.state_dict()``.
    more : mapping of str to plain JSON values
        What the file is to say beside the weights.
    weights : {"auto", "safetensors", "torch"}
        ``"auto"``: safetensors where the package is installed and can hold the state, which then is made of dense
        tensors alone; else torch's.

    Raises
    ------
    InvalidInputError
        If the format is unknown, or is safetensors, which is missing or cannot hold the state.
    CheckpointError
        If the file cannot be written.
    """
    if weights not in FORMATS:
        raise unknown_name("format of weights", weights, FORMATS)
    obstacle = _obstacle(state)
    if weights == "safetensors" and obstacle is not None:
        raise InvalidInputError("what safetensors needs", got=obstacle[0], fix=obstacle[1])
    if weights == "torch" or obstacle is not None:
        save_checkpoint(folder / TORCH, {"model": state, **more})
        return TORCH
    save_safetensors(folder / SAFETENSORS, state, more)
    return SAFETENSORS


def read_weights(path: Path) -> tuple[OrderedDict[str, Any], dict[str, Any]]:
    """Return the state in a file that :func:`write_weights` wrote, on the CPU, and what else it says.

    Raises
    ------
    InvalidInputError
        If it is a safetensors file and the package is missing.
    CheckpointError
        If it is missing or damaged.
    """
    if path.suffix != ".safetensors":
        content = load_checkpoint(path)
        if not isinstance(content.get("model"), dict):
            raise CheckpointError(f"weights at {path}", got="none", fix="restore it from a copy")
        return content.pop("model"), content
    return _load_safetensors(path)


def _obstacle(state: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why a state cannot be written as safetensors, and what can be done about it."""
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_quantized:
            return f"{name!r}, which is no dense tensor", 'pass weights="torch"'
    if importlib.util.find_spec("safetensors") is None:
        return "no package safetensors", 'pip install safetensors, or pass weights="torch"'
    return None


def save_safetensors(path: Path, state: Mapping[str, Tensor], more: Mapping[str, Any]) -> None:
    """Write one safetensors file; see :func:`write_weights`.

    Raises
    ------
    InvalidInputError
        If the package is missing.
    CheckpointError
        If the file cannot be written.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        fix = "pip install safetensors, or give the file another suffix"
        raise InvalidInputError(f"the package safetensors, to write {path}", got="none", fix=fix) from error

    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[Any, str] = {}
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else name
        if place in first:
            aliases[name] = first[place]
        else:
            first[place] = name
            tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    header = {"modules": getattr(state, "_metadata", {}), "aliases": aliases, **more}
    # "format" is what other libraries look for.
    metadata = {"format": "pt", "noisycorrect": json.dumps(header, default=str)}
    try:
        with replace_atomically(path) as temporary:
            save_file(tensors, temporary, metadata)
    except OSError as error:
        raise CheckpointError(f"to write {path}", got=str(error), fix="free space") from error


def read_header(path: Path) -> dict[str, Any]:
    """Return what a safetensors file says beside its tensors, as :func:`write_weights` was told; of others, nothing.

    Raises
    ------
    InvalidInputError
        If the package safetensors is missing.
    CheckpointError
        If the file is missing or damaged.
    """
    return _load_safetensors(path, tensors=False)[1]


def _load_safetensors(path: Path, *, tensors: bool = True) -> tuple[OrderedDict[str, Any], dict[str, Any]]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        fix = "pip install safetensors"
        raise InvalidInputError(f"the package safetensors, to read {path}", got="none", fix=fix) from error
    try:
        check_ordinary(path)
        with safe_open(path, framework="pt") as file:
            more = json.loads((file.metadata() or {}).get("noisycorrect", "{}"))
            names = file.keys() if tensors else ()
            state: OrderedDict[str, Any] = OrderedDict((name, file.get_tensor(name)) for name in names)
        for name, other in more.pop("aliases", {}).items():
            if tensors:
                state[name] = state[other]
    except FileNotFoundError as error:
        raise CheckpointError(f"weights at {path}", got="no such file", fix="check the path") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        fix = "restore it from a copy"
        raise CheckpointError(f"whole weights at {path}", got=str(error), fix=fix) from error
    state._metadata = more.pop("modules", {})  # type: ignore[attr-defined]  # where torch keeps modules' versions
    return state, more
