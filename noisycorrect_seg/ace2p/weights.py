"""Reading weight files of others: tensors only, whatever wraps them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from noisycorrect.saved import weights as saved
from noisycorrect.support.checkpoint import FORMAT, load_checkpoint, read_tensors, save_checkpoint
from noisycorrect.support.errors import CheckpointError
from noisycorrect.support.files import check_ordinary

PARALLEL = "module."  # what DataParallel puts before every key
TRANSFORMERS = "model."  # what copies for Transformers put there, whose normalisation also counts batches
COUNTER = "num_batches_tracked"
KIND = "ace2p"


def read_weights(source: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a weight file by name, on the CPU.

    Parameters
    ----------
    source : path-like or mapping
        A file of torch, read with ``weights_only``, or of safetensors; or its content: the state itself, or
        ``{"state_dict": state, ...}``.
        ``module.`` is taken off if every key begins with it; so is ``model.``, and then counters of batches are left
        out.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or holds anything but tensors by name.
    InvalidInputError
        If it is a safetensors file and the package is missing.

    Examples
    --------
    >>> import torch
    >>> read_weights({"epoch": 3, "state_dict": {"module.weight": torch.zeros(1)}})
    {'weight': tensor([0.])}
    """
    content = source if isinstance(source, Mapping) else _read(Path(source))
    state = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError("tensors by name", got=type(state).__name__, fix="pass a state dict, or a file of one")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                "tensors by name", got=f"{type(value).__name__} as {key!r}", fix="pass the part that holds the weights"
            )
    if all(key.startswith(PARALLEL) for key in state):
        return {key.removeprefix(PARALLEL): value for key, value in state.items()}
    if all(key.startswith(TRANSFORMERS) for key in state):
        return {key.removeprefix(TRANSFORMERS): value for key, value in state.items() if not key.endswith(COUNTER)}
    return dict(state)


def is_ours(path: Path) -> bool:
    """Return whether a file looks like one of ours; also of one that cannot be read, about which our reader says more.

    Raises
    ------
    InvalidInputError, CheckpointError
        If it is a safetensors file that cannot be read.
    """
    if path.suffix == ".safetensors":
        return saved.read_header(path).get("kind") == KIND
    try:
        check_ordinary(path)
        content = torch.load(path, map_location="meta", weights_only=True)  # names, without the numbers
    except Exception:  # damaged bytes make the unpickler raise whatever they meet
        return True
    return isinstance(content, dict) and content.get("format") == FORMAT


def read_own(path: Path) -> dict[str, Any]:
    """Return what a file of ``ACE2P.save`` holds: ``kind``, ``config``, ``state``, ``details``.

    Raises
    ------
    InvalidInputError, CheckpointError
        If it cannot be read.
    """
    if path.suffix != ".safetensors":
        return load_checkpoint(path)
    state, more = saved.read_weights(path)
    return {**more, "state": state}


def write_own(path: Path, config: Mapping[str, Any], state: Mapping[str, Tensor], details: Mapping[str, Any]) -> None:
    """Write such a file, which is either the old one or the new one: of safetensors if its name ends so, else torch's.

    Raises
    ------
    InvalidInputError
        If the package safetensors is missing.
    CheckpointError
        If the file cannot be written.
    """
    more = {"kind": KIND, "config": config, "details": details}
    if path.suffix == ".safetensors":
        saved.save_safetensors(path, state, more)
    else:
        save_checkpoint(path, {**more, "state": state})


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return saved.read_weights(path)[0]
    fix = "use the released file; save the state_dict() of a model, not the model"
    return read_tensors(path, "weight file", fix_unsafe=fix, fix_damaged="download it again")


def first_difference(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return the first key that only one side has, or that differs in shape: in `expected`'s order, then `found`'s."""
    return next((key for key in {**expected, **found} if expected.get(key) != found.get(key)), None)
