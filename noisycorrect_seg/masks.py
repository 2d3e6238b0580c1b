"""What a mask is: one class index a pixel, 255 where there is no label."""

from __future__ import annotations

from typing import Any

import numpy as np

from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError

IGNORE_INDEX = 255
MOST_CLASSES = 255  # a mask is kept as uint8, and 255 is ignored


def checked_mask(mask: Any, num_classes: int, index: int) -> np.ndarray:
    """Return a mask as a uint8 array (H, W), or raise.

    Parameters
    ----------
    mask : array-like of int, shape (H, W)
        0..`num_classes` - 1, or 255 for a pixel to ignore.
    num_classes : int
        K, 2..255.
    index : int
        Position of the sample, which the message names.

    Raises
    ------
    InvalidInputError
        If the mask is not two-dimensional or holds another value.

    Examples
    --------
    >>> checked_mask([[0, 255]], num_classes=2, index=0).dtype
    dtype('uint8')
    """
    array = as_array(mask, f"a mask at index {index}")
    if array.ndim != 2 or not array.size or not np.issubdtype(array.dtype, np.integer):
        raise InvalidInputError(
            "masks of whole numbers, shape (H, W)",
            got=f"{array.dtype} of shape {array.shape} at index {index}",
            fix="store class indices, not colours",
        )
    wrong = (array < 0) | ((array >= num_classes) & (array != IGNORE_INDEX))
    if wrong.any():
        raise InvalidInputError(
            f"mask values 0..{num_classes - 1} or {IGNORE_INDEX}",
            got=f"{array[wrong].max()} at index {index}",
            fix="correct the mask or num_classes",
        )
    return array.astype(np.uint8)
