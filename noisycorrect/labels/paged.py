"""Rows of float32 in two files that take turns: one holds the last epoch, the other is written in this one."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.support.errors import CheckpointError, InvalidInputError

NAMES = ("evidence-a.f32", "evidence-b.f32")
BYTES_AT_ONCE = 2**26


class PagedRows:
    """N rows of K float32 numbers, mapped from a file; a row that was never written is 1/K.

    Parameters
    ----------
    folder : Path
        Where the two files are made; they are taken over if they are there and of this size.
    count, width : int
        N, K.

    Raises
    ------
    InvalidInputError
        If there is no room for them.

    Examples
    --------
    >>> import tempfile
    >>> rows = PagedRows(Path(tempfile.mkdtemp()), 2, 2)
    >>> rows.write(np.array([1]), np.array([[0.0, 1.0]], np.float32))
    >>> rows.turn()
    >>> rows.read(np.array([0, 1])).tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """

    def __init__(self, folder: Path, count: int, width: int) -> None:
        self.folder = folder
        self.shape = (count, width)
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [_mapped(folder / name, self.shape) for name in NAMES]
        self._front = 0  # which file holds the last epoch
        self._ever, self._now = np.zeros(count, bool), np.zeros(count, bool)  # rows in front, and in the other one

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return rows at positions (n,), float32 (n, K)."""
        found = np.full((len(rows), self.shape[1]), np.float32(1 / self.shape[1]), np.float32)
        now, before = self._now[rows], self._ever[rows] & ~self._now[rows]
        found[now] = self._files[1 - self._front][rows[now]]
        found[before] = self._files[self._front][rows[before]]
        return found

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Write rows (n, K) at positions (n,)."""
        self._files[1 - self._front][rows] = values
        self._now[rows] = True

    def turn(self) -> None:
        """End an epoch: what it did not write is copied, and the files change places."""
        left = np.flatnonzero(self._ever & ~self._now)
        step = max(1, BYTES_AT_ONCE // (4 * self.shape[1]))
        for start in range(0, len(left), step):
            some = left[start : start + step]
            self._files[1 - self._front][some] = self._files[self._front][some]
        self._ever |= self._now
        self._now[:] = False
        self._front = 1 - self._front

    def state(self) -> dict[str, Any]:
        """Return which file is valid, which of its rows were written, and its checksum; it is on the disk by then."""
        if self._now.any():
            self.turn()
        file = self._files[self._front]
        if file.size:
            file.flush()  # type: ignore[attr-defined]
        ever = np.packbits(self._ever).tobytes()
        return {"file": NAMES[self._front], "crc32": _checksum(file), "written": ever.hex()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` returned.

        Raises
        ------
        CheckpointError
            If the file has another content than at that time.
        """
        self._front = NAMES.index(state["file"])
        path = self.folder / NAMES[self._front]
        if _checksum(self._files[self._front]) != state["crc32"]:
            raise CheckpointError(
                f"the evidence of the checkpoint in {path}",
                got="a file of another content",
                fix="restore the whole run folder from a copy, or train anew in another one",
            )
        bits = np.frombuffer(bytes.fromhex(state["written"]), np.uint8)
        self._ever = np.unpackbits(bits, count=self.shape[0]).astype(bool)
        self._now = np.zeros(self.shape[0], bool)


def _mapped(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return a file as an array; its place on the disk is taken now, for a full disk would end in a signal later."""
    size = 4 * shape[0] * shape[1]
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if os.fstat(descriptor).st_size != size:
            os.ftruncate(descriptor, 0)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            else:
                os.ftruncate(descriptor, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        raise InvalidInputError(
            f"room for {size / 2**30:.3g} GB of evidence in {path.parent}",
            got=str(error),
            fix='free space, or pass storage="top-64" to the correction' if full else "choose another run_dir",
        ) from error
    finally:
        os.close(descriptor)
    return np.memmap(path, np.float32, "r+", shape=shape)


def _checksum(array: np.ndarray) -> int:
    """Return the CRC-32 of an array's bytes."""
    value, step = 0, max(1, BYTES_AT_ONCE // max(1, 4 * array.shape[1]))
    for start in range(0, len(array), step):
        value = zlib.crc32(np.ascontiguousarray(array[start : start + step]).data, value)
    return value
