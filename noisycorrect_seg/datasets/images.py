"""Read images and masks from files with Pillow; whatever is wrong with one is an error that names it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.masks import IGNORE_INDEX

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # lossless, and no writer renumbers a palette as GIF's do
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 5..8 exchange height and width
# What Pillow raises for files that are cut off or of no known kind.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextlib.contextmanager
def opened(path: Path | str) -> Iterator[Image.Image]:
    """Open an image file inside the block; any failure to read it there is an :class:`InvalidInputError`."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError as error:
        raise InvalidInputError("an image file", got=f"no file {path}", fix="restore it") from error
    except InvalidInputError:
        raise
    except UNREADABLE as error:
        raise InvalidInputError(
            "an image file that can be read", got=f"{path}: {error}", fix="the file is damaged: replace or remove it"
        ) from error


def read_image(path: Path | str, *, upright: bool = False) -> np.ndarray:
    """Return an image file's pixels, RGB uint8 (H, W, 3).

    Parameters
    ----------
    path : Path or str
        Of any kind that Pillow reads: grey, palette and CMYK become RGB, transparency is dropped.
    upright : bool
        Apply the EXIF orientation; else the pixels are returned as they are stored.

    Raises
    ------
    InvalidInputError
        If the file is missing, damaged or cut off, or has more than 8 bits a channel.
    """
    with opened(path) as image:
        if image.mode[:1] in ("I", "F"):
            raise InvalidInputError(
                "an image of 8 bits a channel", got=f"{path} of mode {image.mode}", fix="convert it to 8 bits"
            )
        return rgb_pixels(image, upright=upright)


def rgb_pixels(image: Image.Image, *, upright: bool) -> np.ndarray:
    """Return an open image's pixels as :func:`read_image` does, RGB uint8 (H, W, 3)."""
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1)) if upright else None
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns about the direct way
    pixels = image.convert("RGB")
    return np.array(pixels if turn is None else pixels.transpose(turn))


def read_mask(path: Path | str) -> np.ndarray:
    """Return the values stored in a mask file, uint8 (H, W): indices, never colours.

    Palette and grey files are read alike: of a palette file the indices count and the colours do not. So are one-bit
    and 16-bit grey files, and grey ones stored as RGB.

    Raises
    ------
    InvalidInputError
        If the file is missing, damaged or cut off, is a JPEG, holds colours, or a value above 255.
    """
    with opened(path) as image:
        if image.format == "JPEG":
            raise InvalidInputError(
                "a mask in a lossless format", got=f"the JPEG {path}", fix="JPEG changes class numbers: export PNG"
            )
        values = np.array(image)
    if values.ndim == 3:
        colours = values[:, :, :3] if values.shape[2] > 2 else values[:, :, :1]
        if (colours != colours[:, :, :1]).any():
            raise InvalidInputError(
                "a mask of class numbers (palette or grey)",
                got=f"colours in {path}",
                fix="export class numbers, or map each colour to its number first",
            )
        values = colours[:, :, 0]
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > IGNORE_INDEX:
        raise InvalidInputError(
            f"mask values 0..{IGNORE_INDEX}",
            got=f"{values.dtype} up to {values.max()} in {path}",
            fix="store class numbers; 255 is ignored",
        )
    return np.ascontiguousarray(values, np.uint8)


def image_shape(path: Path | str) -> tuple[Size, int]:
    """Return height and width of an image as it is stored, and its EXIF orientation (1: upright); reads no pixels."""
    with opened(path) as image:
        orientation = int(image.getexif().get(ORIENTATION, 1))
        return (image.height, image.width), orientation if orientation in TURNS else 1


def check_classes(mask: np.ndarray, num_classes: int, path: Path | str) -> np.ndarray:
    """Return the mask, or raise an error that names the file and a value that is no class and not 255.

    Examples
    --------
    >>> check_classes(np.array([[0, 7]], np.uint8), 7, "7.png")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected mask values 0..6 or 255; got 7 in 7.png; to fix: correct the
    mask or the list of classes
    """
    # 255 becomes 0, so that one maximum tells.
    if num_classes < IGNORE_INDEX and int((mask + np.uint8(1)).max()) > num_classes:
        wrong = mask[(mask >= num_classes) & (mask != IGNORE_INDEX)].max()
        raise InvalidInputError(
            f"mask values 0..{num_classes - 1} or {IGNORE_INDEX}",
            got=f"{wrong} in {path}",
            fix="correct the mask or the list of classes",
        )
    return mask
