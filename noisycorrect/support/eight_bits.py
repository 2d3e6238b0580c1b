"""Pictures of more than 8 bits, made visible: what a screen shows of them as they are is black or white all over."""

from __future__ import annotations

from typing import Any

import numpy as np

DARKEST, BRIGHTEST = 2, 98  # percentiles that become black and white


def stretched(pixels: np.ndarray) -> np.ndarray:
    """Return values of any dtype as uint8 of the same shape, the 2nd percentile black, the 98th white; uint8 as it is.

    Values that are not finite are black.

    Examples
    --------
    >>> stretched(np.array([[1000, 1500, 2000]], np.uint16)).tolist()
    [[0, 128, 255]]
    """
    if pixels.dtype == np.uint8:
        return pixels
    values = pixels.astype(np.float64)
    known = np.isfinite(values)
    low, high = (float(each) for each in np.percentile(values[known] if known.any() else [0.0], (DARKEST, BRIGHTEST)))
    shown = np.where(known, (values - low) / max(high - low, 1e-12) * 255, 0)
    found: np.ndarray = np.floor(shown.clip(0, 255) + 0.5).astype(np.uint8)
    return found


def is_deep(image: Any) -> bool:
    """Return whether an image of Pillow's has one channel of more than 8 bits."""
    return str(image.mode)[:1] in ("I", "F")


def as_shown(image: Any) -> Any:
    """Return an image of Pillow's as a screen can show it: :func:`stretched` if it :func:`is_deep`, else as it is.

    Examples
    --------
    >>> from PIL import Image
    >>> as_shown(Image.fromarray(np.array([[1000, 2000]], np.uint16))).getextrema()
    (0, 255)
    """
    if not is_deep(image):
        return image
    from PIL import Image

    return Image.fromarray(stretched(np.asarray(image)))
