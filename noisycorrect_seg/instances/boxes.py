"""Boxes around people: left, top, right and bottom edge in pixels, so that a box from 0 to W covers the picture."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.frame import Size

Boxes = NDArray[np.float64]


class Window(NamedTuple):
    """A part of a picture in whole pixels; bottom and right lie outside of it."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> Size:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index a picture or a mask."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def boxes_of(instances: np.ndarray) -> tuple[NDArray[np.int64], Boxes]:
    """Return the people in an instance map, and the box around each.

    Parameters
    ----------
    instances : ndarray of int, shape (H, W)
        Whose each pixel is; 0 and less is nobody's.

    Returns
    -------
    numbers : ndarray, shape (n,), int64
        The numbers that occur, sorted.
    boxes : ndarray, shape (n, 4), float64
        Left, top, right and bottom edge.

    Examples
    --------
    >>> boxes_of(np.array([[0, 0, 2], [0, 7, 2]]))
    (array([2, 7]), array([[2., 0., 3., 2.],
           [1., 1., 2., 2.]]))
    """
    found = ndimage.find_objects(np.asarray(instances).clip(0))
    numbers = [number for number, slices in enumerate(found, 1) if slices is not None]
    boxes = [
        (columns.start, rows.start, columns.stop, rows.stop) for rows, columns in (found[each - 1] for each in numbers)
    ]
    return np.array(numbers, np.int64), np.array(boxes, np.float64).reshape(-1, 4)


def box_overlaps(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Return the intersection over union of each box of one set with each of another, (n, m), in [0, 1].

    Examples
    --------
    >>> box_overlaps(np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 1, 2, 3], [5, 5, 6, 6]])).round(3).tolist()
    [[0.333, 0.0]]
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-12))


def window_around(box: Boxes, shape: Size, margin: float) -> Window:
    """Return the part of a picture around a box that a network is shown, cut at the picture's edges.

    Parameters
    ----------
    box : ndarray, shape (4,)
        Overlaps the picture.
    shape : (int, int)
        Height and width of the picture.
    margin : float
        What is added on each side, as a share of the box's longer side.

    Examples
    --------
    >>> window_around(np.array([10.0, 0, 20, 40]), (50, 50), 0.1)
    Window(top=0, left=6, bottom=44, right=24)
    """
    left, top, right, bottom = box
    more = margin * max(right - left, bottom - top)
    height, width = shape
    top, left = (int(max(np.floor(edge - more), 0)) for edge in (top, left))
    return Window(top, left, int(min(np.ceil(bottom + more), height)), int(min(np.ceil(right + more), width)))


def checked_margin(margin: Any) -> float:
    """Return a margin, or raise an InvalidInputError."""
    return finite_number("margin", margin, above=0, below=10, fix="0.1 adds a tenth of the box's longer side")


def checked_boxes(boxes: Any, scores: Any = None) -> tuple[Boxes, NDArray[np.float64]]:
    """Return boxes (n, 4) and scores (n,) as float64; a fifth column is the scores.

    A single box is not looked at: :func:`what_is_wrong` does.

    Raises
    ------
    InvalidInputError
        If they are no numbers of these shapes, or all lie in 0..1: shares of the picture, not pixels.

    Examples
    --------
    >>> checked_boxes([[0, 0, 10, 20, 0.5]])
    (array([[ 0.,  0., 10., 20.]]), array([0.5]))
    """
    table = _numbers(boxes)
    if table is not None and table.size == 0 and table.ndim <= 2:
        table = np.zeros((0, 4))
    if table is None or table.ndim != 2 or table.shape[1] not in (4, 5):
        raise InvalidInputError(
            "boxes of shape (n, 4): left, top, right, bottom; or (n, 5) with a score behind",
            got=type(boxes).__name__ if table is None else f"shape {table.shape}",
            fix="pass [[left, top, right, bottom]] for one person",
        )
    own = table[:, 4] if table.shape[1] == 5 else np.ones(len(table))
    found = own if scores is None else _numbers(scores)
    if found is None or found.shape != (len(table),):
        raise InvalidInputError(
            f"a score for each of {len(table)} boxes",
            got=type(scores).__name__ if found is None else f"shape {found.shape}",
            fix="pass one number in [0, 1] a box",
        )
    _check_pixels(table[:, :4])
    return table[:, :4], found


def _check_pixels(boxes: Boxes) -> None:
    """Raise if boxes are shares of the picture's width and height: all in 0..1, and not all empty."""
    filled = (boxes[:, 2:] > boxes[:, :2]).all(1)
    if filled.any() and ((boxes >= 0) & (boxes <= 1)).all():
        shown = ", ".join(f"{edge:g}" for edge in boxes[filled][0])
        raise InvalidInputError(
            "boxes in the picture's pixels",
            got=f"shares, all in 0..1, such as ({shown})",
            fix="multiply left and right by the picture's width, top and bottom by its height",
        )


def what_is_wrong(box: Boxes, score: float, shape: Size) -> str | None:
    """Return what is wrong with a box and how to fix it, or None.

    Examples
    --------
    >>> print(what_is_wrong(np.array([0.0, 0, 5, 5]), 1.0, (10, 10)))
    None
    >>> what_is_wrong(np.array([5.0, 0, 5, 5]), 1.0, (10, 10))
    'is empty (5, 0, 5, 5): boxes are left, top, right, bottom; of x, y, width, height pass x + width, y + height'
    """
    height, width = shape
    left, top, right, bottom = box.tolist()
    text = "(" + ", ".join(f"{edge:g}" for edge in (left, top, right, bottom)) + ")"
    if not np.isfinite(box).all():
        return f"is not finite {text}: look at the detector's output"
    if not 0 <= score <= 1:
        return f"has the score {score:g}: scores lie in [0, 1]; of logits pass the sigmoid"
    if right <= left or bottom <= top:
        fix = "boxes are left, top, right, bottom; of x, y, width, height pass x + width, y + height"
        return f"is empty {text}: {fix}"
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        fix = "boxes are in its pixels; scale them if the detector saw another size"
        return f"lies outside {text} of a picture of {width} x {height} (width x height): {fix}"
    return None


def _numbers(values: Any) -> NDArray[np.float64] | None:
    """Return values as float64, None if they are no numbers."""
    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu()
        array = np.asarray(values)
        return array.astype(np.float64) if array.dtype.kind in "iufb" else None
    except (TypeError, ValueError):
        return None
