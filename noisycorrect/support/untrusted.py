"""Files from outside: what they declare is checked before memory is taken for it, and nothing but plain files is read.

A file may say that it holds a billion rows, unpack to a thousand times its size, or be a pipe that never ends. Each
function here looks at headers alone.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.support.errors import InvalidInputError

# What Pillow may read. Others it hands to programs (PostScript), or they are no pictures.
_PILLOW_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM", "TGA", "JPEG2000", "AVIF")
# What readers of NumPy's, zip and JSON files raise of damaged ones.
UNREADABLE = (OSError, ValueError, TypeError, LookupError, AttributeError, EOFError, MemoryError, NotImplementedError,
              zipfile.BadZipFile, zlib.error)  # fmt: skip
SMALL = 2**30  # bytes that a file may unpack to, whatever its size
GROWTH = 4  # what is larger may unpack to so many times its size: labels and probabilities that we write do not
LARGEST_CHUNK = 2**28  # bytes; HDF5 unpacks one at a time


def check_regular(path: str | os.PathLike[str], what: str) -> None:
    """Raise unless a path is that of a plain file: opening a pipe waits for ever, and a device has no end.

    Parameters
    ----------
    path : path-like
        The file; links are followed.
    what : str
        What messages call it.

    Raises
    ------
    InvalidInputError
        If it is none, or there is nothing.

    Examples
    --------
    >>> check_regular("/dev/null", "an image file")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected an image file; got a device at /dev/null; to fix: pass a
    plain file
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - of strings, and thousands of them
    except FileNotFoundError as error:
        raise InvalidInputError(what, got=f"no file {os.fspath(path)}", fix="restore it, or check the path") from error
    except (OSError, ValueError) as error:  # no permission, a loop of links, a NUL in the name
        raise InvalidInputError(what, got=f"{os.fspath(path)!r}: {error}", fix="check the path") from error
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    raise InvalidInputError(what, got=f"{kind} at {os.fspath(path)}", fix="pass a plain file")


@functools.cache
def picture_formats() -> tuple[str, ...]:
    """Return the formats that Pillow may read, of those that it is built with: for ``Image.open(formats=)``.

    Examples
    --------
    >>> "PNG" in picture_formats(), "EPS" in picture_formats()
    (True, False)
    """
    from PIL import Image

    Image.init()
    return tuple(name for name in _PILLOW_FORMATS if name in Image.OPEN)


@contextlib.contextmanager
def opened_picture(source: Any) -> Iterator[Any]:
    """Open a picture with Pillow inside the block: a plain file, or bytes, of a format that Pillow reads by itself.

    Parameters
    ----------
    source : path-like or file object
        The picture. Nothing is decoded before the block does so.

    Raises
    ------
    InvalidInputError
        If it is a pipe or a device, or declares more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``; what Pillow raises of
        damaged ones is passed on.
    """
    from PIL import Image

    if isinstance(source, (str, os.PathLike)):
        check_regular(source, "a picture")
    with Image.open(source, formats=picture_formats()) as image:
        most = Image.MAX_IMAGE_PIXELS or math.inf
        if image.width * image.height > most:
            got, fix = f"{image.width:,} x {image.height:,}", "scale it down"
            raise InvalidInputError(f"a picture of at most {most:,} pixels", got=got, fix=fix)
        yield unmapped(image)


def unmapped(image: Any) -> Any:
    """Return an image that Pillow has just opened; if it is a TIFF, it will be read and not mapped into memory.

    Pillow 11 and later map one that is stored on its side with height and width exchanged.

    Examples
    --------
    >>> from PIL import Image
    >>> picture = Image.new("L", (2, 2))
    >>> unmapped(picture) is picture
    True
    """
    if image.format == "TIFF":
        image.filename = ""  # Pillow maps files by name
    return image


def parsed_json(text: str | bytes) -> Any:
    """Return what JSON says; what is no JSON is a ValueError, and so is what is nested so deep that Python gives up.

    Examples
    --------
    >>> parsed_json('{"a": [1]}')
    {'a': [1]}
    >>> parsed_json("[" * 100_000)
    Traceback (most recent call last):
    ...
    ValueError: JSON that is nested too deep
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deep") from error


def check_unpacked(path: str | os.PathLike[str], what: str) -> None:
    """Raise if a zip file (``.npz``, a checkpoint of torch) says that it unpacks to far more than its size.

    A file of another kind passes: whoever reads it says so.

    Raises
    ------
    InvalidInputError
        If it would need more than 1 GiB and 4 times its own size.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "arrays.npz"
    >>> np.savez(file, rows=np.zeros(9))
    >>> check_unpacked(file, "arrays")
    """
    check_regular(path, what)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile):
        return
    size = Path(path).stat().st_size
    if unpacked > max(SMALL, GROWTH * size):
        raise InvalidInputError(
            f"{what} that fits its size",
            got=f"{size:,} bytes at {os.fspath(path)} that unpack to {unpacked:,}",
            fix="restore it from a copy: nothing that this package writes does so",
        )


def check_array(path: str | os.PathLike[str], what: str) -> None:
    """Raise if a ``.npy`` file declares more than it holds, or Python objects, which could run code.

    Raises
    ------
    InvalidInputError
        If it is none, or not as long as it says.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "rows.npy"
    >>> np.save(file, np.zeros(9))
    >>> check_array(file, "an array")
    """
    check_regular(path, what)
    damaged = "restore it from a copy"
    try:
        with Path(path).open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            begin = file.tell()
    # A header is a Python literal, and damaged ones make its parser raise nearly anything.
    except Exception as error:
        raise InvalidInputError(what, got=f"{os.fspath(path)}: {error}", fix=damaged) from error
    declared, held = math.prod(shape) * dtype.itemsize, Path(path).stat().st_size - begin
    if dtype.hasobject or declared > held or any(side < 0 for side in shape):
        got = f"{dtype} of shape {shape} declared in {os.fspath(path)}, which holds {held:,} bytes"
        raise InvalidInputError(f"{what} of plain numbers that is as long as it says", got=got, fix=damaged)


def check_hdf5(file: Any) -> None:
    """Raise if an open HDF5 file points at other files, or declares more than it holds.

    Parameters
    ----------
    file : h5py.File
        Open; nothing but its structure is read.

    Raises
    ------
    InvalidInputError
        If there is a soft or external link, a virtual data set, one whose numbers lie in another file, one that
        declares more rows than are there, or chunks of more than 256 MiB.

    Examples
    --------
    >>> import tempfile
    >>> import h5py
    >>> path = Path(tempfile.mkdtemp()) / "labels.h5"
    >>> with h5py.File(path, "w") as file:
    ...     _ = file.create_dataset("rows", data=[1, 2])
    ...     file["secret"] = h5py.ExternalLink("/etc/other.h5", "/rows")
    >>> with h5py.File(path) as file:
    ...     check_hdf5(file)
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected an HDF5 file that holds all its data itself; got 'secret',
    an external link, in ...labels.h5; to fix: restore it from a copy: nothing that this package writes is so
    """
    import h5py

    size = Path(file.filename).stat().st_size
    for group, name in _links(file):
        link = group.get(name, getlink=True)
        found = (
            None
            if isinstance(link, h5py.HardLink)
            else f"an {'external' if hasattr(link, 'filename') else 'inner'} link"
        )
        if found is None and isinstance(own := group[name], h5py.Dataset):
            found = _wrong_data(own, size)
        if found is not None:
            raise InvalidInputError(
                "an HDF5 file that holds all its data itself",
                got=f"{name!r}, {found}, in {file.filename}",
                fix="restore it from a copy: nothing that this package writes is so",
            )


def _links(file: Any) -> Any:
    """Yield (group, name) of every link, groups that are reached twice once."""
    import h5py

    waiting, seen = [file], set()
    while waiting:
        group = waiting.pop()
        for name in group:
            yield group, name
            if isinstance(group.get(name, getlink=True), h5py.HardLink) and isinstance(group[name], h5py.Group):
                inner = group[name]
                place = h5py.h5o.get_info(inner.id).addr
                if place not in seen:
                    seen.add(place)
                    waiting.append(inner)


def _wrong_data(data: Any, size: int) -> str | None:
    """Return what is wrong with a data set of a file of so many bytes, or None."""
    if data.is_virtual:
        return "a virtual data set"
    if data.external:
        return "whose numbers lie in another file"
    if data.chunks is None:
        return f"of {data.nbytes:,} bytes, more than the file has" if data.nbytes > size else None
    chunk = math.prod(data.chunks) * data.dtype.itemsize
    if chunk > LARGEST_CHUNK:
        return f"of chunks of {chunk:,} bytes"
    wanted = math.prod(-(-side // own) for side, own in zip(data.shape, data.chunks, strict=True))
    there = data.id.get_num_chunks()
    return f"of {wanted:,} chunks, of which {there:,} are there" if there < wanted else None
