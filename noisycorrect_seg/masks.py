"""What a mask is: one class index a pixel, and the number of none where there is no label.

That number is the largest of the smallest type that holds the classes: 255 of up to 255 classes, whose masks are uint8,
and 65535 of more, whose masks are uint16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError

IGNORE_INDEX = 255  # of up to 255 classes
WIDE_IGNORE_INDEX = 65535  # of more
MOST_CLASSES = 65535  # a mask is kept as uint16 at most


def ignore_index(num_classes: int) -> int:
    """Return the number that a pixel without a label has in masks of so many classes.

    Examples
    --------
    >>> ignore_index(20), ignore_index(255), ignore_index(256)
    (255, 255, 65535)
    """
    return IGNORE_INDEX if num_classes <= IGNORE_INDEX else WIDE_IGNORE_INDEX


def check_ignored(ignored: int, num_classes: int) -> None:
    """Raise an InvalidInputError if 255, which marks ignored pixels by default, is a class: of more than 255.

    Another class may be left out by its number.
    """
    if ignored == IGNORE_INDEX < num_classes:
        raise InvalidInputError(
            f"an ignore_index that is none of {num_classes} classes",
            got=str(ignored),
            fix=f"pass ignore_index={WIDE_IGNORE_INDEX}: so masks of more than {IGNORE_INDEX} classes say it",
        )


def mask_dtype(num_classes: int) -> np.dtype[Any]:
    """Return the dtype of masks of so many classes: uint8, or uint16 for more than 255.

    Examples
    --------
    >>> mask_dtype(20), mask_dtype(300)
    (dtype('uint8'), dtype('uint16'))
    """
    return np.dtype(np.uint8 if num_classes <= IGNORE_INDEX else np.uint16)


def ignored_by(mask: np.ndarray) -> int:
    """Return the number that a pixel without a label has in a mask of uint8 or uint16.

    Examples
    --------
    >>> ignored_by(np.zeros((1, 1), np.uint16))
    65535
    """
    return int(np.iinfo(mask.dtype).max)


def checked_mask(mask: Any, num_classes: int, index: int) -> np.ndarray:
    """Return a mask as an array (H, W), uint8, or uint16 for more than 255 classes; or raise.

    Parameters
    ----------
    mask : array-like of int, shape (H, W)
        0..`num_classes` - 1, or 255 for a pixel to ignore (65535 of more than 255 classes).
    num_classes : int
        K, 2..65535.
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
            fix=_mask_fix(array),
        )
    nothing = ignore_index(num_classes)
    wrong = (array < 0) | ((array >= num_classes) & (array != nothing))
    if wrong.any():
        raise InvalidInputError(
            f"mask values 0..{num_classes - 1} or {nothing}",
            got=f"{array[wrong].max()} at index {index}",
            fix="correct the mask or num_classes",
        )
    return array.astype(mask_dtype(num_classes))


def _mask_fix(array: np.ndarray) -> str:
    """Return how to make a mask of what is none."""
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        return "pass mask[..., 0]" if array.shape[2] == 1 else "pass mask[0]"
    if array.ndim == 2 and array.dtype == bool:
        return "pass mask.astype(np.uint8): False becomes class 0, True class 1"
    if array.ndim == 2 and array.size and array.dtype.kind == "f":
        return "round whole numbers, mask.astype(int); of probabilities pass the most probable class"
    return "store class indices, not colours"
