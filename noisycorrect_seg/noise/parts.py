"""Parts of a mask: connected pieces of one class, and what surrounds them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from noisycorrect_seg.masks import IGNORE_INDEX
from noisycorrect_seg.noise.base import Mask

Box = tuple[slice, slice]


class Parts(NamedTuple):
    """The connected foreground parts of a mask, numbered from 1.

    Attributes
    ----------
    numbers : ndarray of int32, shape (H, W)
        Part of each pixel; 0 for background and for pixels with 255.
    classes : ndarray of int64, shape (P + 1,)
        Class of each part; entry 0 is 0.
    areas : ndarray of int64, shape (P + 1,)
        Pixels of each part; entry 0 counts the rest.
    boxes : list of tuple of slice
        Bounding box of part p at p - 1.
    """

    numbers: NDArray[np.int32]
    classes: NDArray[np.int64]
    areas: NDArray[np.int64]
    boxes: list[Box]

    def __len__(self) -> int:
        return len(self.boxes)


def find_parts(mask: Mask) -> Parts:
    """Return the 8-connected pieces of each class but background, ordered by class, then from top to bottom.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        0 is background, 255 is no label.

    Examples
    --------
    >>> parts = find_parts(np.array([[3, 0, 2], [0, 3, 2], [255, 0, 0]], np.uint8))
    >>> parts.numbers.tolist(), parts.classes.tolist(), parts.areas.tolist()
    ([[2, 0, 1], [0, 2, 1], [0, 0, 0]], [0, 2, 3], [5, 2, 2])
    """
    numbers = np.zeros(mask.shape, np.int32)
    classes = [0]
    for label in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[1:IGNORE_INDEX]) + 1:
        pieces, count = ndimage.label(mask == label, structure=np.ones((3, 3), np.int8))
        numbers += np.where(pieces > 0, pieces + (len(classes) - 1), 0).astype(np.int32)
        classes += [int(label)] * count
    areas = np.bincount(numbers.ravel(), minlength=len(classes))
    return Parts(numbers, np.array(classes), areas, list(ndimage.find_objects(numbers)))


def grown(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    """Return a box with a margin around it, cut at the mask's borders."""
    rows, columns = box
    return (
        slice(max(rows.start - margin, 0), min(rows.stop + margin, shape[0])),
        slice(max(columns.start - margin, 0), min(columns.stop + margin, shape[1])),
    )


def fill_from_around(mask: Mask, hole: NDArray[np.bool_]) -> Mask:
    """Return a mask in which each pixel of a hole takes the class of the nearest pixel outside it.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        Classes; pixels with 255 are no source.
    hole : ndarray of bool, shape (H, W)
        Where classes are missing.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        A copy; background where there is nothing outside the hole.

    Examples
    --------
    >>> fill_from_around(np.array([[1, 9, 9, 2]], np.uint8), np.array([[False, True, True, False]])).tolist()
    [[1, 1, 2, 2]]
    """
    missing = hole | (mask == IGNORE_INDEX)
    filled = mask.copy()
    if missing.all():
        filled[hole] = 0
    elif hole.any():
        rows, columns = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
        filled[hole] = mask[rows[hole], columns[hole]]
    return filled
