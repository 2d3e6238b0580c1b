"""Checkpoints: one file with everything that a run needs to go on, replaced atomically, and a digest of it.

The digest of all bytes before it stands at the end, where torch, whose own files say nothing of damaged tensors, does
not look.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.support.checksums import file_digest
from noisycorrect.support.errors import CheckpointError
from noisycorrect.support.files import check_ordinary, replace_atomically

Model = TypeVar("Model", bound=nn.Module)

FORMAT = "noisycorrect-checkpoint"
VERSION = 2  # 2: ends in its digest
_MARK = b"\nnoisycorrect-digest:"
_TRAILER = len(_MARK) + 64 + 1
# What torch raises for files that are damaged or made to do harm.
_UNREADABLE = (
    OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError,
    MemoryError, AssertionError,
)  # fmt: skip


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
            digest = file_digest(temporary)
            with temporary.open("ab") as file:
                file.write(_MARK + digest.encode() + b"\n")
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
        check_ordinary(path)
        _check_declared(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"a {what} at {path}", got="no such file", fix="check the path") from None
    except pickle.UnpicklingError:  # whose own message says how to run the code
        raise CheckpointError(
            f"a {what} of tensors and plain values at {path}",
            got="a damaged file, or a pickle that could run code when loaded",
            fix=fix_unsafe,
        ) from None
    except _UNREADABLE as error:
        got = str(error).partition("\n")[0] or type(error).__name__
        if "weights_only" in got:
            got = "a damaged file, or one that torch does not load without running its code"
        raise CheckpointError(f"a whole {what} at {path}", got=got, fix=fix_damaged) from None


def _check_declared(path: Path) -> None:
    """Raise a ValueError if an archive of torch's declares more than it holds: memory would be taken for it."""
    if not zipfile.is_zipfile(path):
        return  # the format before torch 1.6, or no file of torch's at all
    with zipfile.ZipFile(path) as archive:
        declared = sum(entry.file_size for entry in archive.infolist())
    if declared > path.stat().st_size:
        raise ValueError(f"{declared:,} bytes declared in a file of {path.stat().st_size:,}")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, refusing anything but tensors and plain values.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, of another or a newer format, or a pickle that would run code.
    """
    damaged = "restore it from a copy; `noisycorrect check` says what else is whole"
    try:
        stated = stated_digest(path)
        if stated is not None and file_digest(path, size=path.stat().st_size - _TRAILER) != stated:
            got = "bytes that the digest at its end does not fit"
            raise CheckpointError(f"a whole checkpoint at {path}", got=got, fix=damaged)
    except FileNotFoundError:
        stated = None
    except OSError as error:
        raise CheckpointError(f"a whole checkpoint at {path}", got=str(error), fix=damaged) from None
    content = read_tensors(
        path,
        "checkpoint",
        fix_unsafe="use a file written by noisycorrect, or a copy of it",
        fix_damaged=damaged,
    )
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise CheckpointError(f"a {FORMAT} file at {path}", got="another file", fix="check the path")
    version = content.pop("version", None)
    if type(version) is not int or version < 1:
        raise CheckpointError(f"a format version at {path}", got=repr(version)[:40], fix=damaged)
    if version > VERSION:
        raise CheckpointError(
            f"format version {VERSION} or older at {path}", got="a newer one", fix="upgrade noisycorrect"
        )
    if version >= 2 and stated is None:
        raise CheckpointError(f"a whole checkpoint at {path}", got="one without its end", fix=damaged)
    return content


def stated_digest(path: Path) -> str | None:
    """Return the digest that a checkpoint says it has; None of files that end without one."""
    check_ordinary(path)
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) < _TRAILER:
            return None
        file.seek(-_TRAILER, os.SEEK_END)
        end = file.read()
    return end[len(_MARK) : -1].decode("ascii", "replace") if end.startswith(_MARK) else None


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
    check_model_state(model, state)
    before = {key: value.detach().clone() for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    try:
        model.load_state_dict(state)
    except Exception as error:
        model.load_state_dict({**state, **before}, strict=False)  # as it was
        fix = "build the model that the checkpoint was made with"
        raise CheckpointError("weights that the model takes", got=str(error).partition("\n")[0], fix=fix) from error


def check_model_state(model: nn.Module, state: Any) -> None:
    """Raise a CheckpointError if a key of weights is missing, unexpected or of another shape than in the model.

    The model may be without numbers (of the device "meta"): so no memory is taken for what a file only declares.
    """
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise CheckpointError("weights by name", got=type(state).__name__, fix="restore the file from a copy")
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    found = {key: tuple(value.shape) for key, value in state.items() if isinstance(value, Tensor)}
    for key in {**expected, **found}:
        if expected.get(key) != found.get(key):
            raise CheckpointError(
                f"{key!r} of shape {expected[key]}" if key in expected else f"no {key!r}",
                got=str(found.get(key, "no such key")),
                fix="build the model that the checkpoint was made with",
            )


def check_stored(state: Mapping[str, Any]) -> None:
    """Raise a CheckpointError if a tensor has more numbers than are stored of it: memory would be taken for them.

    Examples
    --------
    >>> check_stored({"weight": torch.zeros(1).expand(10**6, 10**6)})
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.CheckpointError: expected all numbers of 'weight'; got 1 of 1,000,000,000,000; to fix:
    restore the file from a copy
    """
    for key, value in state.items():
        if isinstance(value, Tensor) and value.layout == torch.strided:
            stored = value.untyped_storage().nbytes() // value.element_size()
            if stored < value.numel():
                got = f"{stored:,} of {value.numel():,}"
                raise CheckpointError(f"all numbers of {key!r}", got=got, fix="restore the file from a copy")


def filled_model(make: Callable[..., Model], config: Any, state: Any) -> Model:
    """Return ``make(**config)`` with weights, on the CPU, in evaluation mode.

    No random numbers are spent, and what a file declares takes memory only if it holds it. Every buffer of the model
    has to be among its weights.

    Raises
    ------
    CheckpointError
        If the configuration is no mapping, or the weights are of another model or not all there.
    """
    if not isinstance(config, Mapping):
        fix = "restore the file from a copy"
        raise CheckpointError("a network's configuration by name", got=type(config).__name__, fix=fix)
    with torch.device("meta"):
        model = make(**config)
    check_model_state(model, state)
    check_stored(state)
    model = model.to_empty(device="cpu")
    load_model_state(model, state)
    return model.eval()


def check_settings(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Raise a CheckpointError that names the first setting in which a saved run differs from this one."""
    for name in {**current, **saved}:
        if saved.get(name) != current.get(name):
            raise CheckpointError(
                f"{name}={saved.get(name)!r}, as in the run that is to be resumed",
                got=repr(current.get(name)),
                fix="use the same settings, or a new run_dir for another run",
            )
