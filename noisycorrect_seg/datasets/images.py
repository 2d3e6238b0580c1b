"""Read images and masks from files with Pillow; whatever is wrong with one is an error that names it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noisycorrect.support.eight_bits import is_deep, stretched
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError, warn_caller
from noisycorrect.support.untrusted import check_regular, picture_formats, unmapped
from noisycorrect_seg.datasets.palettes import Colour, check_palette, used_colours
from noisycorrect_seg.datasets.rasters import (
    ARRAY_SUFFIX,
    EXCHANGED,
    ORIENTATION,
    SIDES,
    array_pixels,
    array_shape,
    odd_pixels,
    raster_shape,
)
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.masks import IGNORE_INDEX, WIDE_IGNORE_INDEX, ignore_index

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".jfif", ".jpe", ".gif", ".ppm", ".pgm", ".pnm", ".tga", ".jp2"),
)
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # lossless, and no writer renumbers a palette as GIF's do
LOSSLESS = ("PNG", "BMP", "DIB", "TIFF", "PPM", "TGA")  # what a mask's file may be, whatever it is called
LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp", "jpeg2000")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_warned_of: set[Path] = set()  # folders with transparent images


@contextlib.contextmanager
def opened(path: Path | str) -> Iterator[Image.Image]:
    """Open an image file inside the block; any failure to read it there is an :class:`InvalidInputError`.

    Pipes and devices are refused, and so is what Pillow would hand to another program (PostScript).
    """
    try:
        check_regular(path, "an image file")
        with Image.open(path, formats=picture_formats()) as image:
            yield unmapped(image)
    except NoisyCorrectError:
        raise
    except Image.DecompressionBombError as error:
        raise InvalidInputError(
            f"an image of at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels",
            got=f"{path}: {error}",
            fix="scale it down or cut it into pieces; if you trust it, raise PIL.Image.MAX_IMAGE_PIXELS",
        ) from error
    # Pillow's readers raise nearly anything on damaged files; which one does not matter here.
    except Exception as error:
        fix = _fix(error, path)
        raise InvalidInputError("an image file that can be read", got=f"{path}: {error}", fix=fix) from error


def _fix(error: Exception, path: Path | str) -> str:
    if "MAX_TEXT" in str(error):
        return "its pixels are sound, but a comment in it is too long: save it anew without comments"
    if _is_raster(path):
        return (
            "it is a sound TIFF, of bits, channels or a compression that no plain picture has: save it as RGB of 8"
            ' bits, or read all of it: channels="stored" of Folder, and a Normalisation'
        )
    if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
        return "it is damaged, or of a kind that is not read: convert it to PNG or JPEG"
    return "the file is damaged, or no image: replace or remove it"


def _is_raster(path: Path | str) -> bool:
    """Return whether a file is a sound TIFF that is no plain picture."""
    try:
        return raster_shape(path) is not None
    except InvalidInputError:
        return False


def read_image(path: Path | str, *, upright: bool = False) -> np.ndarray:
    """Return an image file's pixels, RGB uint8 (H, W, 3).

    Parameters
    ----------
    path : Path or str
        Of any kind that Pillow reads: grey, palette and CMYK become RGB, transparency is dropped; there is a warning at
        the first image of a folder that has some.
    upright : bool
        Apply the EXIF orientation; else the pixels are returned as they are stored. TIFFs are upright either way.

    Raises
    ------
    InvalidInputError
        If the file is missing, damaged or cut off, or has more than 8 bits a channel.
    """
    return read_channels(path, "rgb", upright=upright)


def _warn_if_transparent(image: Image.Image, path: Path | str) -> None:
    """Warn of what is dropped of an open image, once a folder."""
    folder = Path(path).parent
    if folder in _warned_of or not image.has_transparency_data:
        return
    if np.asarray(image.convert("RGBA").getchannel("A")).min() < 255:
        _warned_of.add(folder)
        warn_caller(
            f"{path} has transparent pixels, maybe as others of its folder: transparency is dropped, and the colours"
            " below it count. To fix: put such images on a background, as you see them; or train on all four channels,"
            ' by channels="stored" of Folder and a Normalisation'
        )


def read_channels(path: Path | str, channels: str, *, upright: bool = False) -> np.ndarray:
    """Return an image file's pixels, (H, W, C), in the channels that are asked for.

    Parameters
    ----------
    path : Path or str
        The file; with ``"stored"`` also ``.npy``, and TIFF of any number of channels or pages.
    channels : {"rgb", "grey", "stored"}
        ``"rgb"`` is :func:`read_image`; ``"grey"`` is one channel of uint8; ``"stored"`` is what the file holds, of its
        own dtype.
    upright : bool
        See :func:`read_image`.

    Raises
    ------
    InvalidInputError
        If the file cannot be read so.
    """
    odd = odd_pixels(path) if channels == "stored" else None  # of a kind that Pillow cannot read, or would cut
    if odd is not None:
        return odd[:, :, None] if odd.ndim == 2 else odd
    with opened(path) as image:
        pixels = picture_channels(image, channels, path, upright=upright)
        if channels != "stored":
            _warn_if_transparent(image, path)
        return pixels


def picture_channels(image: Image.Image, channels: str, name: Path | str, *, upright: bool) -> np.ndarray:
    """Return the pixels of an image of Pillow's, (H, W, C), as :func:`read_channels` does; messages call it `name`."""
    if channels == "stored":
        return _stored(image, name, upright=upright)
    if channels == "rgb":
        if is_deep(image):  # converted, all above 255 would be white
            raise InvalidInputError(
                "an image of 8 bits a channel",
                got=f"{name} of mode {image.mode}",
                fix='convert it to 8 bits, or read all bits: channels="stored" of Folder, and a Normalisation',
            )
        return rgb_pixels(image, upright=upright)
    turn = TURNS.get(orientation_of(image)) if upright else None
    grey = image.convert("RGB").convert("L") if image.mode[:1] not in ("I", "F", "L") else image
    if grey.mode not in ("L", "LA"):
        raise InvalidInputError(
            "a grey image of 8 bits", got=f"{name} of mode {image.mode}", fix='pass channels="stored" to Folder'
        )
    pixels = grey.convert("L")
    return np.array(pixels if turn is None else pixels.transpose(turn))[:, :, None]


def _stored(image: Image.Image, name: Path | str, *, upright: bool) -> np.ndarray:
    """Return all bits of all channels of an image of Pillow's, (H, W, C)."""
    turn = TURNS.get(orientation_of(image)) if upright else None
    parts: Any = getattr(image, "tile", ())  # of a file that is not decoded yet
    if image.mode == "RGB" and parts and "16" in str(parts[0][3]):
        raise InvalidInputError(
            "a colour PNG of 8 bits a channel, or a grey one",
            got=f"16 bits in {name}",
            fix="save it as TIFF (read by the package tifffile) or as .npy",
        )
    if image.mode in ("P", "1"):
        image = image.convert("RGB" if image.mode == "P" else "L")
    pixels = np.array(image if turn is None else image.transpose(turn))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def rgb_pixels(image: Image.Image, *, upright: bool) -> np.ndarray:
    """Return an open image's pixels as :func:`read_image` does, RGB uint8 (H, W, 3)."""
    turn = TURNS.get(orientation_of(image)) if upright else None
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns about the direct way
    pixels = image.convert("RGB")
    return np.array(pixels if turn is None else pixels.transpose(turn))


def as_picture(image: np.ndarray) -> np.ndarray:
    """Return an image of any channels as a picture to look at, RGB uint8 (H, W, 3).

    Of 1 or 2 channels the first, grey; of more the first three. Others than uint8 are stretched, all channels alike, so
    that the 2nd and the 98th percentile become black and white.

    Examples
    --------
    >>> as_picture(np.array([[[0.0], [1.0], [2.0]]]))[0, :, 0].tolist()
    [0, 128, 255]
    """
    shown = image if image.ndim == 3 else image[:, :, None]
    shown = shown[:, :, :3] if shown.shape[2] >= 3 else np.repeat(shown[:, :, :1], 3, axis=2)
    return stretched(shown)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an open image's pixels, 1..8; 1 (upright) if it says none, or nothing that is one.

    Of TIFF it is 1: Pillow turns what it decodes of it.
    """
    return 1 if image.format == "TIFF" else _said(image)


def _said(image: Image.Image) -> int:
    """Return the EXIF orientation in an open image's tags, 1..8; some cameras and programs store it as a byte."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
        found = found[0] if isinstance(found, (tuple, list, bytes)) and len(found) == 1 else found
        orientation = int(found)
    except Exception:  # damaged metadata of a sound picture
        return 1
    return orientation if orientation in TURNS else 1


def read_mask(path: Path | str, *, indices: bool = False, wide: bool = False) -> np.ndarray:
    """Return the values stored in a mask file, (H, W): indices, never colours.

    Palette and grey files are read alike: of a palette file the indices count and the colours do not. So are one-bit
    and 16-bit grey files, and grey ones stored as RGB.

    Parameters
    ----------
    path : Path or str
        The file.
    indices : bool
        The indices of a palette file are the classes, whatever its colours say.
    wide : bool
        Values may go up to 65535; what is returned is uint16 if one is above 255.

    Raises
    ------
    InvalidInputError
        If the file is missing, damaged or cut off, is compressed with loss, holds colours, a value above 255
        (65535), or a palette whose colours say other class numbers than its indices.
    """
    if str(path).lower().endswith(ARRAY_SUFFIX):
        return _as_mask(array_pixels(path), path, wide=wide)
    with opened(path) as image:
        _check_lossless(image, path)
        values = np.array(image)
        if image.mode == "P" and not indices:
            check_palette(values, image.getpalette("RGB") or [], str(path))
    return _as_mask(values, path, wide=wide)


def _as_mask(values: np.ndarray, path: Path | str, *, wide: bool) -> np.ndarray:
    if not values.size:
        raise InvalidInputError("a mask with pixels", got=f"none in {path}", fix="export it again")
    if values.ndim == 3:
        colours = values[:, :, :3] if values.shape[2] > 2 else values[:, :, :1]
        if (colours != colours[:, :, :1]).any():
            raise InvalidInputError(
                "a mask of class numbers (palette or grey)",
                got=f"colours in {path}",
                fix="export class numbers, or pass the table of colours: colours= of Folder",
            )
        values = colours[:, :, 0]
    most = WIDE_IGNORE_INDEX if wide else IGNORE_INDEX
    if values.dtype.kind not in "uib" or values.min() < 0 or values.max() > most:
        raise InvalidInputError(
            f"mask values 0..{most}",
            got=f"{values.dtype} up to {values.max()} in {path}",
            fix=f"store class numbers; {most} is ignored",
        )
    return np.ascontiguousarray(values, np.uint8 if values.max() <= IGNORE_INDEX else np.uint16)


def read_colours(path: Path | str) -> np.ndarray:
    """Return the colours of a mask file, RGB uint8 (H, W, 3), of a palette file those that it shows.

    Raises
    ------
    InvalidInputError
        If the file is missing, damaged, holds no colours of 8 bits, or is compressed with loss.
    """
    with opened(path) as image:
        _check_lossless(image, path)
        return rgb_pixels(image, upright=False)


def _check_lossless(image: Image.Image, path: Path | str) -> None:
    lossy = str(image.info.get("compression", "")).lower() in LOSSY_TIFF
    if image.format not in LOSSLESS or lossy:
        raise InvalidInputError(
            "a mask in a lossless format",
            got=f"the {image.format}{' compressed with loss' if lossy else ''} {path}",
            fix=f"{image.format} may change class numbers: export PNG",
        )


def palette_of(path: Path | str) -> dict[int, Colour]:
    """Return the colours in use of a palette file, (R, G, B) by index; none of a file of another kind."""
    with opened(path) as image:
        return used_colours(np.array(image), image.getpalette("RGB") or []) if image.mode == "P" else {}


def image_shape(path: Path | str, *, stored: bool = False) -> tuple[Size, int]:
    """Return height and width of an image as Pillow decodes it, and its :func:`orientation_of`; reads no pixels.

    `stored`: the file may be TIFF of any kind.
    """
    if str(path).lower().endswith(ARRAY_SUFFIX):
        height, width, *_ = array_shape(path)
        return (height, width), 1
    try:
        with opened(path) as image:
            if image.format != "TIFF":
                return (image.height, image.width), orientation_of(image)
            tags: Any = getattr(image, "tag_v2", {})  # the size itself is the stored one in Pillow before 11
            height, width = (int(tags[side]) for side in SIDES)
            return (width, height) if _said(image) in EXCHANGED else (height, width), 1
    except InvalidInputError:
        shape = raster_shape(path) if stored else None  # of a kind that Pillow does not know
        if shape is None:
            raise
        return shape, 1


def check_classes(mask: np.ndarray, num_classes: int, path: Path | str, *, largest: int = 0) -> np.ndarray:
    """Return the mask, or raise an error that names the file and a value that is no class and not 255.

    `largest` is the largest stored value that a class was named for: what is between comes of soft edges.

    Examples
    --------
    >>> check_classes(np.array([[0, 7]], np.uint8), 7, "7.png")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected mask values 0..6 or 255; got 7 in 7.png; to fix: correct the
    mask or the list of classes
    """
    nothing = ignore_index(num_classes)
    # Of uint8 an ignored pixel becomes 0, so that one maximum tells.
    if mask.dtype == np.uint8 and nothing == IGNORE_INDEX and int((mask + np.uint8(1)).max()) <= num_classes:
        return mask
    odd = mask[(mask >= num_classes) & (mask != nothing)]
    if odd.size:
        wrong = odd.max()
        raise InvalidInputError(
            f"mask values 0..{num_classes - 1} or {nothing}",
            got=f"{wrong} in {path}",
            fix="threshold the mask if its edges are soft, of 0 and 255 by np.where(mask > 127, 255, 0); else name the"
            " value in values="
            if wrong < largest
            else "correct the mask or the list of classes",
        )
    return mask
