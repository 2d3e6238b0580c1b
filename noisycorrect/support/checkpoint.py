"""Checkpoints: one file with everything that a run needs to go on, replaced atomically."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.support.errors import CheckpointError
from noisycorrect.support.files import replace_atomically

FORMAT = "noisycorrect-checkpoint"
VERSION = 1


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint; the old one stays until the new one is whole.

    Parameters
    ----------
    path : Path
        File in an existing folder.
    content : mapping
        Tensors, numbers, strings, and dicts and lists of them: what ``torch.load(weights_only=True)`` reads.

    Raises
    ------
    CheckpointError
        If it cannot be written (a full disk, say); the old file is untouched.
    """
    try:
        with replace_atomically(path) as temporary:
            torch.save(_plain({"format": FORMAT, "version": VERSION, **content}), temporary)
    except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as a RuntimeError
        raise CheckpointError(
            f"to write {path}", got=str(error), fix="free space and resume; the last checkpoint is untouched"
        ) from error


def _plain(value: Any) -> Any:
    """Return `value` with numpy's scalars as Python's: torch reads nothing else back without running pickles."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping) and not isinstance(value, OrderedDict):  # those are modules' state, with versions
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def read_tensors(path: Path, what: str, *, fix_unsafe: str, fix_damaged: str) -> Any:
    """Return what a file of torch holds, on the CPU, refusing anything but tensors and plain values.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What messages call it.
    fix_unsafe, fix_damaged : str
        What they say can be done about a pickle that would run code, and about a file that cannot be read.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or a pickle that would run code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"a {what} at {path}", got="no such file", fix="check the path") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"a {what} of tensors and plain values at {path}",
            got="a damaged file, or a pickle that could run code when loaded",
            fix=fix_unsafe,
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(f"a whole {what} at {path}", got=str(error), fix=fix_damaged) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, refusing anything but tensors and plain values.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, of another or a newer format, or a pickle that would run code.
    """
    content = read_tensors(
        path,
        "checkpoint",
        fix_unsafe="use a file written by noisycorrect, or a copy of it",
        fix_damaged="restore it from a copy",
    )
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise CheckpointError(f"a {FORMAT} file at {path}", got="another file", fix="check the path")
    if content.pop("version") > VERSION:
        raise CheckpointError(
            f"format version {VERSION} or older at {path}", got="a newer one", fix="upgrade noisycorrect"
        )
    return content


def load_model_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights into a model of the same architecture.

    Raises
    ------
    CheckpointError
        If a key is missing, unexpected or of another shape; the message names the first in the model's order.

    Examples
    --------
    >>> load_model_state(nn.Linear(2, 3), nn.Linear(2, 4).state_dict())
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.CheckpointError: expected 'weight' of shape (3, 2); got (4, 2); to fix: build the model
    that the checkpoint was made with
    """
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    found = {key: tuple(value.shape) for key, value in state.items() if isinstance(value, Tensor)}
    for key in {**expected, **found}:
        if expected.get(key) != found.get(key):
            raise CheckpointError(
                f"{key!r} of shape {expected[key]}" if key in expected else f"no {key!r}",
                got=str(found.get(key, "no such key")),
                fix="build the model that the checkpoint was made with",
            )
    model.load_state_dict(state)


def check_settings(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Raise a CheckpointError that names the first setting in which a saved run differs from this one."""
    for name in {**current, **saved}:
        if saved.get(name) != current.get(name):
            raise CheckpointError(
                f"{name}={saved.get(name)!r}, as in the run that is to be resumed",
                got=repr(current.get(name)),
                fix="use the same settings, or a new run_dir for another run",
            )
