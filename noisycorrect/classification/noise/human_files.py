"""Files with human labels, read without trusting them."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noisycorrect.support.errors import InvalidInputError, unknown_name

KEYS: Mapping[str, str] = MappingProxyType(
    {
        "aggregate": "aggre_label",
        "random1": "random_label1",
        "random2": "random_label2",
        "random3": "random_label3",
        "worst": "worse_label",
        "noisy": "noisy_label",
    }
)
"""Friendly names of the label sets of CIFAR-10N and (the last one) CIFAR-100N -> the keys in the published files."""

_CLEAN_KEY = "clean_label"

# How torch names what it refused to call or build. Its whole message recommends weights_only=False; ours must not.
_REFUSED = re.compile(
    r"(?:Unsupported global: GLOBAL|unsupported GLOBAL|unrecognized function|add_safe_globals`,? but got) "
    r"(\S+(?: '[^']+'>)?)"
)


def canonical_key(key: str) -> str:
    """Return the friendly name of a label set given by its friendly name or by the published file's key.

    Examples
    --------
    >>> canonical_key("worse_label")
    'worst'
    """
    published = {value: name for name, value in KEYS.items()}
    if key in KEYS:
        return key
    if key in published:
        return published[key]
    raise unknown_name("set of human labels", key, [*KEYS, *published])


def read_human(path: str | os.PathLike[str], key: str | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return human labels and, where the source has them, the right labels that it believes in.

    Parameters
    ----------
    path : path-like
        A `.npy` file; a `.pt` file such as CIFAR-10N's; or a folder of `labels_human_<key>.npy`, with
        `labels_clean_train.npy` or `labels_clean.npy` beside them if there is one.
    key : str or None
        Friendly name of the label set; None for a `.npy` file, which holds one.

    Returns
    -------
    tuple of ndarray and ndarray or None
        Unchecked arrays, as they were in the file.

    Raises
    ------
    InvalidInputError
        If there is no such file, it is damaged, not trusted or of another kind, or the key does not select one set of
        it.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "labels_human_worst.npy", [1, 0])
    >>> read_human(folder, "worst")
    (array([1, 0]), None)
    """
    source = Path(path)
    if source.is_dir():
        return _read_folder(source, key)
    if not source.is_file():
        raise InvalidInputError(
            "a file or folder of human labels", got=f"{source}, which is not there", fix="check the path"
        )
    if source.suffix == ".npy":
        if key is not None:
            raise no_choice(f"{source.name}, which holds one set", key)
        return _read_npy(source), None
    if source.suffix in (".pt", ".pth"):
        return _read_pt(source, key)
    raise InvalidInputError(
        "a .npy file, a .pt file or a folder", got=str(source), fix="save the labels with numpy.save"
    )


def no_choice(got: str, key: str) -> InvalidInputError:
    """Return the error for a key that has nothing to choose from."""
    return InvalidInputError(
        f"a folder or .pt file, of which {key!r} chooses one set of labels", got=got, fix="leave the key out"
    )


def _need_key(source: Path, sets: list[str]) -> InvalidInputError:
    return InvalidInputError(
        f"a key that chooses one set of {source.name}",
        got="none",
        fix=f"pass key=, one of {', '.join(sets) or 'none'}",
    )


def _read_folder(folder: Path, key: str | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    sets = sorted(path.stem.removeprefix("labels_human_") for path in folder.glob("labels_human_*.npy"))
    if key is None:
        raise _need_key(folder, sets)
    if key not in sets:
        raise unknown_name(f"set of human labels in {folder}", key, sets)
    clean = next((path for stem in ("clean_train", "clean") if (path := folder / f"labels_{stem}.npy").is_file()), None)
    return _read_npy(folder / f"labels_human_{key}.npy"), None if clean is None else _read_npy(clean)


def _read_npy(path: Path) -> NDArray[Any]:
    content = path.read_bytes()
    try:
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # damaged bytes make the header's parser raise whatever they meet
        if "Object arrays" in str(error):
            raise _untrusted(path, "object arrays") from error
        raise _damaged(path, error) from error
    return array


def read_published(path: Path) -> tuple[dict[str, NDArray[Any]], NDArray[Any] | None]:
    """Return all label sets of a published ``.pt`` file by their friendly names, and its right labels if it has them.

    Raises
    ------
    InvalidInputError
        If the file is damaged, not trusted or holds no dictionary.
    """
    stored = io.BytesIO(path.read_bytes())
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            content = torch.load(stored, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make the unpickler raise whatever they meet
        refused = _REFUSED.search(str(error))
        if refused:
            raise _untrusted(path, refused[1]) from error
        raise _damaged(path, error) from error
    if not isinstance(content, dict):
        raise InvalidInputError(
            f"a dictionary of label sets in {path}",
            got=type(content).__name__,
            fix="save {'worse_label': labels, ...}",
        )
    clean = content.get(_CLEAN_KEY)
    sets = {name: np.asarray(content[published]) for name, published in KEYS.items() if published in content}
    return sets, None if clean is None else np.asarray(clean)


def _read_pt(path: Path, key: str | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    sets, clean = read_published(path)
    if key is None:
        raise _need_key(path, list(sets))
    if key not in sets:
        raise unknown_name(f"set of human labels in {path}", key, sets)
    return sets[key], clean


def _numpy_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return what a pickled array of integers is made of, and nothing else: no object arrays, no other functions."""
    # The function's public home moved with numpy 2; files name it as the numpy that wrote them did.
    rebuild = np.zeros(1).__reduce__()[0]
    assert callable(rebuild)
    integers = [type(np.dtype(code)) for code in "bBhHiIlLqQ"]
    names = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
    return [np.ndarray, np.dtype, *integers, *((rebuild, name) for name in names)]


def _untrusted(path: Path, refused: str) -> InvalidInputError:
    return InvalidInputError(
        f"a file of plain integer arrays in {path}",
        got=f"a pickle that could run code when opened ({refused})",
        fix="get the file from its publisher, or have its owner save the labels with numpy.save",
    )


def _damaged(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"a whole {path.suffix} file in {path}",
        got=f"a damaged one ({type(error).__name__})",
        fix="copy or download it again",
    )
