"""Pictures of a review: photos as they lie under their masks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from noisycorrect.support.eight_bits import as_shown
from noisycorrect.support.untrusted import opened_picture
from noisycorrect_seg.datasets.images import as_picture, orientation_of
from noisycorrect_seg.datasets.rasters import odd_pixels
from noisycorrect_seg.datasets.source import same_aspect
from noisycorrect_seg.geometry.frame import Size, letterbox
from noisycorrect_seg.geometry.warp import warp_image

LARGEST = 1600  # pixels a side of a picture in the review, as other pictures have them there


def own_picture(path: Path, size: Size, drawn: Size | None) -> bytes | None:
    """Return a picture as JPEG if a browser would not show it as it lies under its mask; else None.

    Parameters
    ----------
    path : Path
        An array or a TIFF of many channels, or a photo that a browser would turn as its EXIF orientation says; or any
        without a given mask.
    size : (int, int)
        Height and width of the mask that it lies under.
    drawn : (int, int) or None
        The same of its given mask, if it has one.

    Raises
    ------
    InvalidInputError
        If an array cannot be read.
    """
    odd = odd_pixels(path)
    if odd is not None:
        return jpeg(_framed(_few(odd), size, drawn), LARGEST)
    try:
        with opened_picture(path) as image:
            if drawn is None or _lies(image, drawn):
                return jpeg(_framed(_placed(image, drawn), size, drawn), LARGEST)
            return None
    except Exception:  # Pillow's decoders raise nearly anything at broken files, of which others give account
        return None


def photo_at(path: Path | None, size: Size, drawn: Size | None) -> np.ndarray:
    """Return a picture at a size, uint8 (H, W, 3); grey if there is none that can be read.

    `drawn` is the size of its given mask, if it has one: a photo is turned as its EXIF orientation says, unless the
    mask was drawn on it as it is stored. Without one, it lies in `size` as in the frame of the network's predictions.
    """
    height, width = size
    if path is not None:
        try:
            odd = odd_pixels(path)
            if odd is not None:
                pixels = _few(odd)
            else:
                with opened_picture(path) as image:
                    pixels = _placed(image, drawn)
            return np.asarray(Image.fromarray(_framed(pixels, size, drawn)).resize((width, height)))
        except Exception:  # Pillow's decoders raise nearly anything at broken files; the masks can be seen all the same
            pass
    return np.full((height, width, 3), 128, np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Return pixels as a PNG file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", compress_level=1)
    return content.getvalue()


def jpeg(pixels: np.ndarray, side: int) -> bytes:
    """Return pixels as a JPEG file of at most `side` pixels a side."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    return content.getvalue()


def _lies(image: Any, drawn: Size | None) -> bool:
    """Return whether a mask of a size was drawn on an open photo as it is stored, on its side."""
    stored = image.height, image.width
    if drawn is None or orientation_of(image) < 5:  # of others the size does not tell
        return False
    return same_aspect(drawn, stored) and not same_aspect(drawn, stored[::-1])


def _placed(image: Any, drawn: Size | None) -> np.ndarray:
    """Return an open photo's pixels as the mask was drawn on it, RGB uint8 (H, W, 3)."""
    upright = image if _lies(image, drawn) else ImageOps.exif_transpose(image)
    return np.asarray(as_shown(upright).convert("RGB"))


def _framed(pixels: np.ndarray, size: Size, drawn: Size | None) -> np.ndarray:
    """Return a picture as it is if it has a given mask, else in a frame of a size, or so many times as large.

    What a network says of an image without a mask lies in the frame that the whole image was brought into.
    """
    if drawn is not None:
        return pixels
    times = max(1, min(LARGEST, max(pixels.shape[:2])) // max(size))
    matrix = times * letterbox((pixels.shape[0], pixels.shape[1]), size)
    matrix[:, 2] += (times - 1) / 2  # pixels are counted at their centres
    return warp_image(pixels, matrix, (times * size[0], times * size[1]))


def _few(pixels: np.ndarray) -> np.ndarray:
    """Return pixels of any channels as a picture, RGB uint8: every n-th of many, which is looked at and no more."""
    step = max(1, max(pixels.shape[:2]) // (2 * LARGEST))
    return as_picture(pixels[::step, ::step])
