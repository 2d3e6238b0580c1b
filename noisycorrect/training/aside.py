"""Large tensors of a checkpoint in files of their own: one that has not changed since the last is not written again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.support.errors import CheckpointError
from noisycorrect.support.files import replace_atomically

LEAST_BYTES = 2**24  # of a tensor that gets files of its own
BLOCK_BYTES = 2**26
SUFFIX = ".rows"
_MARK = "put aside"


def put_aside(value: Any, folder: Path) -> Any:
    """Return a state in which records stand for large tensors, whose rows are in files by then.

    A file is named by the digest of its content, some rows of a tensor: what is there already is not written again, and
    a file that is damaged is known when it is read.

    Parameters
    ----------
    value : Any
        Tensors and plain values, in dicts and lists.
    folder : Path
        Where the files go; made if there is something to put there.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> state = put_aside({"evidence": torch.zeros(5_000_000), "rate": 0.5}, folder)
    >>> state["rate"], len(list(folder.iterdir()))
    (0.5, 1)
    >>> torch.equal(brought_back(state, folder)["evidence"], torch.zeros(5_000_000))
    True
    """
    if isinstance(value, Mapping):
        return {name: put_aside(each, folder) for name, each in value.items()}
    if not isinstance(value, Tensor) or value.numel() * value.element_size() < LEAST_BYTES:
        return value
    array = value.detach().cpu().contiguous().numpy()
    step = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    names = []
    for start in range(0, len(array), step):
        block = array[start : start + step]
        names.append(f"{hashlib.blake2b(block.data, digest_size=16).hexdigest()}{SUFFIX}")
        path = folder / names[-1]
        if path.exists():
            continue
        try:
            folder.mkdir(exist_ok=True)
            with replace_atomically(path) as part:
                block.tofile(part)
        except OSError as error:
            fix = "free space and resume; the last checkpoint is untouched"
            raise CheckpointError(f"to write {path}", got=str(error), fix=fix) from error
    return {_MARK: names, "shape": list(array.shape), "dtype": str(array.dtype)}


def brought_back(value: Any, folder: Path) -> Any:
    """Return a state with the tensors that :func:`put_aside` wrote.

    Raises
    ------
    CheckpointError
        If a file is missing, or has another content than its name says.
    """
    if not isinstance(value, Mapping):
        return value
    if _MARK not in value:
        return {name: brought_back(each, folder) for name, each in value.items()}
    array = np.empty(value["shape"], np.dtype(value["dtype"]))
    step = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for number, name in enumerate(value[_MARK]):
        part = array[number * step : (number + 1) * step]
        _read(folder / name, part)
    return torch.from_numpy(array)


def _read(path: Path, part: np.ndarray) -> None:
    fix = "restore the whole run folder from a copy, or train anew in another one"
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise CheckpointError(f"the checkpoint's evidence at {path}", got=str(error), fix=fix) from error
    if f"{hashlib.blake2b(content.data, digest_size=16).hexdigest()}{SUFFIX}" != path.name:
        raise CheckpointError(f"the checkpoint's evidence at {path}", got="a damaged file", fix=fix)
    part[...] = content.view(part.dtype).reshape(part.shape)


def named(value: Any) -> set[str]:
    """Return the names of the files that belong to a state."""
    if not isinstance(value, Mapping):
        return set()
    return {*value.get(_MARK, ()), *(name for each in value.values() for name in named(each))}


def tidy(kept: set[str], folder: Path) -> None:
    """Delete all such files but those that are `kept`, and what a process that was killed left half-written."""
    if folder.is_dir():
        for path in (*folder.glob(f"*{SUFFIX}"), *folder.glob(f".*{SUFFIX}.*.part")):
            if path.name not in kept:
                path.unlink(missing_ok=True)
