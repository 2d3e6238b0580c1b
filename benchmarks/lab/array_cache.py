"""Arrays that are computed once and read from a file ever after."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from noisycorrect.support.errors import warn_caller
from noisycorrect.support.files import replace_atomically


def cache_folder(folder: str | os.PathLike[str] | None) -> Path:
    """Return the folder, or else the environment's `NOISYCORRECT_CACHE`, or else `~/.cache/noisycorrect`."""
    return Path(folder or os.environ.get("NOISYCORRECT_CACHE") or Path.home() / ".cache" / "noisycorrect")


def cached_array(
    stored: Path, dtype: npt.DTypeLike, shape: tuple[int, ...], compute: Callable[[], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """Return the array in the file `stored`, read as it is needed, or else compute and store it.

    Parameters
    ----------
    stored : Path
        The file; its name must change with whatever the array is computed from.
    dtype, shape
        Of the array; a file with another one is replaced.
    compute : callable
        Returns the array. If it cannot be stored, a warning is logged.
    """
    try:
        array = np.load(stored, mmap_mode="r", allow_pickle=False)
        if array.dtype == dtype and array.shape == shape:
            return array  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or spoilt: computing it again mends both
    array = compute()
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
        with replace_atomically(stored) as temporary, temporary.open("wb") as file:
            np.save(file, array)
    except OSError as error:
        warn_caller(f"{stored.name} is not kept in {stored.parent}: {error}")
    return array
