"""Images of more than Pillow reads: NumPy arrays in files, and TIFF of any number of channels, bits and pages."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError
from noisycorrect.support.untrusted import UNREADABLE, check_regular

ARRAY_SUFFIX = ".npy"
TIFF_SUFFIXES = (".tif", ".tiff")
MOST_CHANNELS = 1024  # more are rather rows or columns
BITS, SAMPLES = 258, 277  # tags of TIFF: bits of each channel, and how many channels there are
SIDES = 257, 256  # tags of TIFF: height and width as they are stored
ORIENTATION = 274  # a tag of TIFF and of EXIF; 1 is upright
EXCHANGED = range(5, 9)  # orientations that exchange height and width


def array_shape(path: Path | str) -> tuple[int, ...]:
    """Return the shape of a ``.npy`` file, (H, W) or (H, W, C); reads its header alone."""
    return tuple(_mapped(path).shape)


def array_pixels(path: Path | str) -> np.ndarray:
    """Return the array of a ``.npy`` file, (H, W) or (H, W, C), in memory.

    Raises
    ------
    InvalidInputError
        If the file is missing, damaged or cut off, holds Python objects, or an array of another shape.
    """
    return np.array(_mapped(path))


def _mapped(path: Path | str) -> Any:
    check_regular(path, "an array file")
    try:
        # Mapped: a header that promises more than the file holds is an error, and takes no memory.
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise InvalidInputError(
            "an array of numbers (.npy)", got=f"{path}: {error}", fix="save it again: np.save(path, pixels)"
        ) from error
    shape = getattr(found, "shape", ())
    if len(shape) not in (2, 3) or 0 in shape or found.dtype.kind not in "uifb" or shape[2:] > (MOST_CHANNELS,):
        raise InvalidInputError(
            "an array of pixels (H, W) or (H, W, C)",
            got=f"{getattr(found, 'dtype', type(found).__name__)} of shape {shape} in {path}",
            fix="put channels last: pixels.transpose(1, 2, 0) of (C, H, W)",
        )
    return found


def raster_pixels(path: Path | str) -> np.ndarray | None:
    """Return a TIFF's pixels, (H, W) or (H, W, C), if Pillow cannot read all of them; else None.

    That is: more than 8 bits in several channels, more than 4 channels, or several pages of one size, which count as
    channels. They are turned upright as the orientation tag says, as Pillow turns other TIFFs.

    Raises
    ------
    InvalidInputError
        If the package ``tifffile`` is missing, the file is damaged, or its pages have no common size.
    """
    found = _series(path, lambda series: series.asarray())
    if found is None:
        return None
    pixels, axes, orientation = found
    order = [place for place, axis in enumerate(axes) if axis not in "YX"]
    moved = np.moveaxis(pixels, order, range(pixels.ndim - len(order), pixels.ndim))
    return np.ascontiguousarray(_upright(moved.reshape(*moved.shape[:2], -1), orientation))


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels (H, W, C) turned as an orientation tag says."""
    turned = pixels.swapaxes(0, 1) if orientation in EXCHANGED else pixels
    turned = turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
    return turned[::-1] if orientation in (3, 4, 7, 8) else turned


def raster_shape(path: Path | str) -> tuple[int, int] | None:
    """Return height and width of what :func:`raster_pixels` returns of a TIFF, else None; reads no pixels."""
    found = _series(path, lambda series: series.shape)
    if found is None:
        return None
    shape, axes, orientation = found
    height, width = shape[axes.index("Y")], shape[axes.index("X")]
    return (width, height) if orientation in EXCHANGED else (height, width)


def odd_pixels(path: Path | str) -> np.ndarray | None:
    """Return the pixels, (H, W) or (H, W, C), of a file that is no plain picture: an array, or TIFF of many channels.

    None of one that Pillow reads whole.

    Raises
    ------
    InvalidInputError
        As :func:`array_pixels` and :func:`raster_pixels`.
    """
    return array_pixels(path) if str(path).lower().endswith(ARRAY_SUFFIX) else raster_pixels(path)


def _series(path: Path | str, read: Callable[[Any], Any]) -> tuple[Any, str, int] | None:
    """Return what `read` returns of a TIFF's first series, its axes and orientation; None if Pillow reads it all."""
    if not str(path).lower().endswith(TIFF_SUFFIXES) or _pillow_reads_all(path):
        return None
    check_regular(path, "an image file")
    try:
        import tifffile
    except ImportError as error:
        raise InvalidInputError(
            "the package tifffile, for TIFF of this kind", got=f"none, and {path}", fix="pip install tifffile"
        ) from error
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            _check_size(series.shape, series.axes, path)
            return read(series), series.axes, int(series.keyframe.tags.valueof(ORIENTATION, default=1))
    except NoisyCorrectError:
        raise
    except Exception as error:  # tifffile's readers raise nearly anything on damaged files
        raise InvalidInputError(
            "a TIFF that can be read",
            got=f"{path}: {error}",
            fix="if it is compressed, pip install imagecodecs; else it is damaged: replace or remove it",
        ) from error


def _pillow_reads_all(path: Path | str) -> bool:
    try:
        with Image.open(path, formats=["TIFF"]) as image:
            tags: Any = getattr(image, "tag_v2", {})
            bits, samples = tags.get(BITS, (8,)), int(tags.get(SAMPLES, 1))
            pages = getattr(image, "n_frames", 1)
            return pages == 1 and samples <= 4 and (samples == 1 or max(bits) <= 8)
    except Image.DecompressionBombError:
        return True  # whoever opens it says so
    except Exception:
        return False


def _check_size(shape: tuple[int, ...], axes: str, path: Path | str) -> None:
    """Raise an InvalidInputError unless a TIFF's axes are rows, columns and channels of a sane number."""
    sides = dict(zip(axes, shape, strict=True))
    others = [side for axis, side in sides.items() if axis not in "YX"]
    if not {"Y", "X"} <= sides.keys() or math.prod(others) > MOST_CHANNELS:
        got = f"axes {axes} of {shape} in {path}"
        raise InvalidInputError("a TIFF of rows, columns and channels", got=got, fix="save one image a file")
    most = 2 * (Image.MAX_IMAGE_PIXELS or 2**62)
    if sides["Y"] * sides["X"] > most:
        raise InvalidInputError(
            f"an image of at most {most:,} pixels",
            got=f"{sides['Y']:,} x {sides['X']:,} in {path}",
            fix="scale it down or cut it into pieces; if you trust it, raise PIL.Image.MAX_IMAGE_PIXELS",
        )
