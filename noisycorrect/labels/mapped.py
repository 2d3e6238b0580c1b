"""Reading an uncompressed HDF5 data set through the page cache, with no handle for a fork or a pickle to break."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np


class MappedArray:
    """A contiguous, uncompressed HDF5 data set, mapped read-only into memory.

    All processes share the pages; nothing is open between reads, so it can be pickled and used after a fork. The file
    must not change while it is mapped: label stores write a generation once.

    Parameters
    ----------
    path : path-like
        HDF5 file.
    name : str
        Data set in it.

    Examples
    --------
    >>> import tempfile
    >>> import h5py
    >>> path = Path(tempfile.mkdtemp()) / "rows.h5"
    >>> with h5py.File(path, "w") as file:
    ...     _ = file.create_dataset("rows", data=np.arange(6).reshape(3, 2))
    >>> MappedArray(path, "rows")[[2, 0]].tolist()
    [[4, 5], [0, 1]]
    """

    def __init__(self, path: str | os.PathLike[str], name: str) -> None:
        self.path = Path(path)
        self.name = name
        self._array: np.ndarray | None = None

    def __getitem__(self, index: Any) -> np.ndarray:
        if self._array is None:
            self._array = self._map()
        return np.asarray(self._array[index])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}  # a pickled map would carry all of the file's bytes

    def _map(self) -> np.ndarray:
        import h5py

        with h5py.File(self.path, "r", locking=False) as file:
            dataset = file[self.name]
            offset = dataset.id.get_offset()
            assert offset is not None or not dataset.size, "only contiguous data sets can be mapped"
            if not dataset.size:
                return np.zeros(dataset.shape, dataset.dtype)
            return np.memmap(self.path, dtype=dataset.dtype, mode="r", offset=offset, shape=dataset.shape)
