"""Tables that lie in files: arrays of numbers in an archive, rows of texts."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from noisycorrect.support.errors import InvalidInputError


def read_arrays(path: Path, *names: str) -> list[npt.NDArray[Any]]:
    """Return arrays of an `.npz` table, `X` (N, F) and `y` (N,) of integers first, then those of `names`.

    Raises
    ------
    InvalidInputError
        If the file is missing or damaged, lacks one of them, or X and y do not fit together.
    """
    wanted = ("X", "y", *names)
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = [archive[name] for name in wanted]
    except (OSError, ValueError, KeyError) as error:
        listed = f"{', '.join(wanted[:-1])} and {wanted[-1]}"
        raise InvalidInputError(f"{listed} in {path}", got=str(error), fix="store them with numpy.savez") from error
    inputs, labels = found[:2]
    if inputs.ndim != 2 or labels.shape != inputs.shape[:1] or labels.dtype.kind not in "iu":
        got = f"X {inputs.shape}, y {labels.dtype} {labels.shape}"
        raise InvalidInputError(f"X of shape (N, F) and y of N integers in {path}", got=got)
    return found


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a head line, by the names in it.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, or has no rows.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InvalidInputError(f"the file {path}", got=str(error.strerror), fix="complete the folder") from error
    if not rows:
        raise InvalidInputError(f"rows in {path}", got="none")
    return rows


def files_digest(*paths: Path) -> str:
    """Return a digest of what some files hold, so that cells of other files of these names are not taken for theirs.

    Raises
    ------
    InvalidInputError
        If a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise InvalidInputError(f"the file {path}", got=str(error.strerror), fix="complete the folder") from error
    return digest.hexdigest()[:12]
