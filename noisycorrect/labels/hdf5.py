"""Writing an HDF5 file onto a disk that may be full, and opening one that may be damaged, or made to do harm."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noisycorrect.support.checksums import arrays_digest
from noisycorrect.support.errors import StoreError
from noisycorrect.support.files import check_ordinary
from noisycorrect.support.signals import uninterrupted
from noisycorrect.support.untrusted import check_hdf5

if TYPE_CHECKING:
    import h5py

# What h5py raises for files that are damaged or no HDF5: its own errors become nearly any of Python's.
DAMAGED = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, OverflowError, MemoryError)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file read-only: an ordinary one, that points at nothing outside and holds what it declares.

    Raises
    ------
    one of DAMAGED
        If it is none.
    """
    import h5py

    check_ordinary(path)
    with h5py.File(path, "r", locking=False) as file:
        check_hdf5(file)
        yield file


def contents_digest(file: h5py.File, *, without: tuple[str, ...] = ()) -> str:
    """Return a digest of a file's attributes and data sets; of some, and of compressed ones, shape and dtype alone."""
    arrays, outlines = {}, {}
    with uninterrupted():  # HDF5 calls Python back for each name
        for name in file:
            dataset = file[name]
            if name in without or dataset.chunks is not None:
                outlines[name] = [dataset.dtype.str, list(dataset.shape), list(dataset.chunks or ())]
            else:
                arrays[name] = dataset[()]
        attributes = {name: np.asarray(value).tolist() for name, value in file.attrs.items()}
    return arrays_digest(arrays, {"attributes": attributes, "outlines": outlines})


class NewFile:
    """A new HDF5 file whose write errors are StoreErrors, raised by :meth:`check` and :meth:`close`.

    HDF5 cannot close a file that it cannot flush: it keeps the file open, tries again when the process ends, and ends
    in a segmentation fault. So HDF5 writes through :class:`_Disk`, which never fails it, and the error is kept for us.
    Nor may a KeyboardInterrupt leave :class:`_Disk`: whoever changes :attr:`hdf5` does so within :func:`uninterrupted
    <noisycorrect.support.signals.uninterrupted>`.

    Parameters
    ----------
    path : Path
        File to make; one that is there is replaced.

    Raises
    ------
    StoreError
        If it cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> import h5py
    >>> path = Path(tempfile.mkdtemp()) / "new.h5"
    >>> file = NewFile(path)
    >>> _ = file.hdf5.create_dataset("rows", data=[1, 2])
    >>> file.close()
    >>> h5py.File(path)["rows"][:].tolist()
    [1, 2]
    """

    def __init__(self, path: Path) -> None:
        import h5py

        self.path = path
        try:
            self._disk = _Disk(path)
        except OSError as error:
            raise _write_error(path, error) from error
        try:
            with uninterrupted():
                self.hdf5 = h5py.File(self._disk, "w")
        except BaseException:
            self._disk.discarding = True
            if hasattr(self, "hdf5"):
                self.hdf5.close()
            self._disk.close()
            raise

    def check(self) -> None:
        """Raise a StoreError if something could not be written."""
        if self._disk.error is not None:
            raise _write_error(self.path, self._disk.error) from self._disk.error

    def close(self) -> None:
        """Write what is left and close the file; raise a StoreError if not all of it could be written."""
        with uninterrupted():
            self.hdf5.close()
        self._disk.close()
        self.check()

    def discard(self) -> None:
        """Close the file without writing what is left; do nothing if it is closed."""
        self._disk.discarding = True
        with uninterrupted():
            self.hdf5.close()
        self._disk.close()

    def __enter__(self) -> NewFile:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            self.close()
        else:
            self.discard()


class _Disk:
    """A file as h5py's file-object driver wants it; keeps the first error, and drops what is written after it.

    Position and size are those that HDF5 believes in, whatever has reached the disk.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)  # whoever still writes the old file keeps it, and does not write into ours
        self._file = io.FileIO(path, "x+")
        self._position = self._size = 0
        self.error: OSError | None = None
        self.discarding = False

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        raise NotImplementedError("h5py tells a file from a path by this method, and calls readinto")

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self._position)
        done = 0
        while done < len(view) and (count := self._file.readinto(view[done:])):
            done += count
        view[done:] = bytes(len(view) - done)  # dropped, or a hole
        self._position += len(view)
        return len(view)

    def write(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        self._attempt(lambda: self._write_all(view))
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def _write_all(self, view: memoryview) -> None:
        self._file.seek(self._position)
        while view:
            view = view[self._file.write(view) :]

    def truncate(self, size: int) -> int:
        self._attempt(lambda: self._file.truncate(size))
        self._size = size
        return size

    def flush(self) -> None:
        pass  # FileIO has no buffer

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:  # a network file system may notice only now
            self.error = self.error or error

    def _attempt(self, action: Callable[[], Any]) -> None:
        if self.error is None and not self.discarding:
            try:
                action()
            except OSError as error:
                self.error = error


def _write_error(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"to write {path.name} in {path.parent}",
        got=str(error),
        fix="free space on the disk, or make the folder writable, and resume; finished labels are untouched",
    )
