"""Affine warps of images and masks, bit for bit those of OpenCV 4's ``warpAffine``, in numpy.

The published SCHP models were trained on its pixels. It works in fixed point: the inverse matrix is rounded to 1/1024
of a pixel, separately along a row and down the rows; bilinear positions are cut to 1/32. OpenCV 5 does neither.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.masks import IGNORE_INDEX

POSITION_BITS = 10  # of a source position's fraction
WEIGHT_BITS = 5  # of a bilinear weight's fraction
WEIGHT_MASK = (1 << WEIGHT_BITS) - 1
LARGEST = 2**30 - 2**20  # of a position; two of them add up within int32
# Pixels that are warped in one go: their arrays stay in the cache. Measured best among 2**12..2**17.
LINEAR_TILE = 1 << 15
NEAREST_TILE = 1 << 16
FLOAT_TILE = 1 << 17  # counting channels
KEPT_BYTES = 32 << 20  # what a thread holds on to after a warp, at most, of each kind
# Up to three uint8 channels are interpolated at once in one int64. A weighted sum of four bytes takes 18 bits; from
# these bits on, the fields do not touch, and two of three results end on a byte's border.
FIELDS = (0, 22, 46)


def warp_image(image: np.ndarray, matrix: np.ndarray, size: Size) -> np.ndarray:
    """Warp an image bilinearly; 0 outside it.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), uint8 or float32
        Channels in any number and order. Not changed; may have any strides, such as ``image[:, ::-1]``.
    matrix : array-like, shape (2, 3)
        From the image's pixels to the target's, (x, y); such as :func:`noisycorrect_seg.geometry.crops.crop_matrix`.
    size : (int, int)
        Height and width of the target.

    Returns
    -------
    ndarray, shape `size` or (*size, C), dtype of `image`
        Equal to that of OpenCV 4.5 to 4.13 (INTER_LINEAR, BORDER_CONSTANT 0). The channels of uint8 images may lie
        in planes, one after the other.

    Raises
    ------
    InvalidInputError
        If the image has another dtype or shape, or the matrix is not finite or has no inverse.

    Examples
    --------
    >>> image = np.array([[0, 100, 200]], np.uint8)
    >>> warp_image(image, [[1, 0, 0.5], [0, 1, 0]], (1, 4))
    array([[  0,  50, 150, 100]], dtype=uint8)
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.dtype not in (np.uint8, np.float32) or not image.size:
        raise InvalidInputError(
            "an image (H, W) or (H, W, C) of uint8 or float32",
            got=f"{image.dtype} of shape {image.shape}",
            fix="convert it with .astype",
        )
    channels = image if image.ndim == 3 else image[:, :, None]
    plan = _plan(matrix, channels.shape[:2], size, half=1 << (POSITION_BITS - WEIGHT_BITS - 1))
    warped = _linear_uint8(channels, plan) if image.dtype == np.uint8 else _linear_float32(channels, plan)
    return warped if image.ndim == 3 else np.ascontiguousarray(warped[:, :, 0])


def warp_mask(mask: np.ndarray, matrix: np.ndarray, size: Size, *, border: int = IGNORE_INDEX) -> np.ndarray:
    """Warp a mask of class indices to the nearest pixel.

    Parameters
    ----------
    mask : ndarray of integers, shape (H, W)
        Not changed.
    matrix, size
        As for :func:`warp_image`.
    border : int
        What stands outside the mask.

    Returns
    -------
    ndarray, shape `size`, dtype of `mask`
        Equal to that of OpenCV 4.5 to 4.13 (INTER_NEAREST, BORDER_CONSTANT).

    Raises
    ------
    InvalidInputError
        If the mask is not two-dimensional or not of integers, the border does not fit its dtype, or the matrix is not
        finite or has no inverse.

    Examples
    --------
    >>> warp_mask(np.array([[1, 2, 3]], np.uint8), [[-1, 0, 2], [0, 1, 0]], (1, 4))
    array([[  3,   2,   1, 255]], dtype=uint8)
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype.kind not in "iu" or not mask.size:
        raise InvalidInputError(
            "a mask (H, W) of integers", got=f"{mask.dtype} of shape {mask.shape}", fix="pass class indices"
        )
    if not np.iinfo(mask.dtype).min <= border <= np.iinfo(mask.dtype).max:
        raise InvalidInputError(f"a border that fits {mask.dtype}", got=repr(border), fix="border=255 is ignored")
    plan = _plan(matrix, mask.shape, size, half=1 << (POSITION_BITS - 1))
    padded, stride = _padded(mask[:, :, None], border)
    flat = padded.reshape(-1)
    warped = np.full(size, border, mask.dtype)
    tiles, scratch = plan.tiles(NEAREST_TILE, wide=1)
    for rows, columns in tiles:
        x, y, index = scratch.of(rows, columns)
        plan.positions(rows, columns, x, y)
        x >>= POSITION_BITS
        y >>= POSITION_BITS
        plan.places(x, y, stride, index)
        warped[rows, columns] = flat.take(index, mode="clip")
    return warped


class _Workspace(threading.local):
    """Memory that a thread uses again in its next warp: fresh memory can cost as much as the warp (page faults)."""

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def array(self, use: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array with any content, valid until the thread asks for another one of the same use."""
        needed = math.prod(shape) * np.dtype(dtype).itemsize
        memory = self._kept.get(use)
        if memory is None or len(memory) < needed:
            memory = np.empty(needed, np.uint8)
            if needed <= KEPT_BYTES:
                self._kept[use] = memory
        array: np.ndarray = memory[:needed].view(dtype).reshape(shape)
        return array


WORKSPACE = _Workspace()


class _Scratch:
    """Arrays for the pixels of a tile."""

    def __init__(self, pixels: int, wide: int) -> None:
        self._narrow = WORKSPACE.array("narrow", (2, pixels), np.int32)
        self._wide = WORKSPACE.array("wide", (wide, pixels), np.int64)

    def of(self, rows: slice, columns: slice) -> list[np.ndarray]:
        """Return two int32 arrays and the int64 ones, each of a tile's shape."""
        shape = rows.stop - rows.start, columns.stop - columns.start
        pixels = shape[0] * shape[1]
        return [array[:pixels].reshape(shape) for array in (*self._narrow, *self._wide)]


@dataclass(frozen=True)
class _Plan:
    """Where the pixels of a target lie in its source, in 1/1024 px: ``x_row[y] + x_column[x]``, and so for y."""

    shape: Size  # of the source
    x_column: np.ndarray  # int32 (W,)
    y_column: np.ndarray
    x_row: np.ndarray  # int32 (H,), with what rounds added
    y_row: np.ndarray

    def tiles(self, pixels: int, wide: int) -> tuple[list[tuple[slice, slice]], _Scratch]:
        """Return tiles of about `pixels` that cover every target pixel with a tap in the source, and their scratch."""
        height, width = len(self.x_row), len(self.x_column)
        starts = np.arange(0, height, max(1, pixels // width))
        ends = np.append(starts[1:], height)
        inside = _reaches(self.x_row, self.x_column, starts, ends, self.shape[1])
        inside &= _reaches(self.y_row, self.y_column, starts, ends, self.shape[0])
        tiles = [
            (slice(starts[number], ends[number]), slice(columns.argmax(), width - columns[::-1].argmax()))
            for number, columns in enumerate(inside)
            if columns.any()
        ]
        most = max(((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in tiles), default=0)
        return tiles, _Scratch(most, wide)

    def positions(self, rows: slice, columns: slice, x: np.ndarray, y: np.ndarray) -> None:
        """Write where a tile's pixels lie in the source into `x` and `y`, int32 (rows, columns)."""
        np.add(self.x_row[rows, None], self.x_column[columns], out=x)
        np.add(self.y_row[rows, None], self.y_column[columns], out=y)

    def places(self, x: np.ndarray, y: np.ndarray, stride: int, out: np.ndarray) -> None:
        """Write the places of whole positions in a padded source into `out`, int64; `x` and `y` are used up."""
        # Two pixels of padding on every side: of a position that is clipped, both taps are padding.
        np.clip(x, -2, self.shape[1], out=x)
        np.clip(y, -2, self.shape[0], out=y)
        y *= stride
        y += x
        y += 2 * stride + 2
        out[...] = y


def _plan(matrix: np.ndarray, shape: Size, size: Size, *, half: int) -> _Plan:
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != (2, 3) or not np.isfinite(matrix).all() or len(size) != 2 or min(size) < 1:
        raise InvalidInputError(
            "a finite affine matrix (2, 3) and a size (height, width) of at least 1 x 1",
            got=f"{matrix.tolist()} and {size}",
            fix="see noisycorrect_seg.geometry.crops.crop_matrix",
        )
    # The inverse in OpenCV's order of operations: its last bits decide ties.
    (a, b, shift_x), (c, d, shift_y) = matrix.tolist()
    determinant = a * d - b * c
    if not determinant:
        raise InvalidInputError("a matrix with an inverse", got=str(matrix.tolist()), fix="its scale must not be 0")
    factor = 1 / determinant
    xx, xy, yx, yy = d * factor, b * -factor, c * -factor, a * factor
    x0, y0 = -xx * shift_x - xy * shift_y, -yx * shift_x - yy * shift_y
    columns, rows = np.arange(size[1]), np.arange(size[0])
    return _Plan(
        (shape[0], shape[1]),
        _fixed(xx * columns),
        _fixed(yx * columns),
        _fixed(xy * rows + x0) + np.int32(half),
        _fixed(yy * rows + y0) + np.int32(half),
    )


def _fixed(positions: np.ndarray) -> np.ndarray:
    """Return positions in 1/1024 px, int32, ties to even."""
    fixed = np.clip(np.rint(positions * (1 << POSITION_BITS)), -LARGEST, LARGEST)
    return np.asarray(fixed, np.int32)


def _reaches(row: np.ndarray, column: np.ndarray, starts: np.ndarray, ends: np.ndarray, extent: int) -> np.ndarray:
    """Return which columns of which blocks of rows may have a tap in 0..extent - 1, bool (blocks, W)."""
    # Along the rows a position only grows or only falls.
    low, high = np.minimum(row[starts], row[ends - 1]), np.maximum(row[starts], row[ends - 1])
    unit = 1 << POSITION_BITS
    return np.asarray((column + high[:, None] >= -unit) & (column + low[:, None] < extent * unit))


def _padded(channels: np.ndarray, border: int) -> tuple[np.ndarray, int]:
    """Return a source (H, W, C) with two pixels of border on every side, (pixels, C), and the length of a row."""
    height, width, count = channels.shape
    # A row's padding on the right is the next one's on the left.
    stride = width + 2
    padded = WORKSPACE.array("source", ((height + 4) * stride + 2, count), channels.dtype)
    padded.fill(border)
    padded[: (height + 4) * stride].reshape(height + 4, stride, count)[2:-2, 2:] = channels
    return padded, stride


def _linear_uint8(image: np.ndarray, plan: _Plan) -> np.ndarray:
    planes = np.zeros((image.shape[2], len(plan.x_row), len(plan.x_column)), np.uint8)
    for first in range(0, len(planes), len(FIELDS)):
        _linear_packed(image[:, :, first : first + len(FIELDS)], plan, planes[first : first + len(FIELDS)])
    return planes.transpose(1, 2, 0)


def _linear_packed(image: np.ndarray, plan: _Plan, planes: np.ndarray) -> None:
    """Interpolate up to three uint8 channels (H, W, C) into `planes`, (C, H, W)."""
    packed, stride = _packed(image)
    rounding = np.int64(sum(1 << (field + 2 * WEIGHT_BITS - 1) for field in FIELDS[: len(planes)]))
    tiles, scratch = plan.tiles(LINEAR_TILE, wide=6)
    for rows, columns in tiles:
        x, y, right, below, index, upper, lower, other = scratch.of(rows, columns)
        plan.positions(rows, columns, x, y)
        x >>= POSITION_BITS - WEIGHT_BITS
        y >>= POSITION_BITS - WEIGHT_BITS
        right[...] = x & WEIGHT_MASK
        below[...] = y & WEIGHT_MASK
        x >>= WEIGHT_BITS
        y >>= WEIGHT_BITS
        plan.places(x, y, stride, index)
        packed.take(index, mode="clip", out=upper)
        packed[1:].take(index, mode="clip", out=other)
        _toward(upper, other, right)
        packed[stride:].take(index, mode="clip", out=lower)
        packed[stride + 1 :].take(index, mode="clip", out=other)
        _toward(lower, other, right)
        _toward(upper, lower, below)
        upper += rounding
        for plane, field in zip(planes, FIELDS, strict=False):
            np.right_shift(upper, field + 2 * WEIGHT_BITS, out=other)
            plane[rows, columns] = other


def _toward(one: np.ndarray, other: np.ndarray, weight: np.ndarray) -> None:
    """Set `one` to ``32 one + weight (other - one)`` in all fields at once; `other` is used up.

    Sums of whole numbers: what a field borrows from the next while the difference is negative, it gives back.
    """
    other -= one
    other *= weight
    one <<= WEIGHT_BITS
    one += other


def _packed(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Return up to three uint8 channels in one int64 a pixel, padded as by :func:`_padded`, and the length of a row."""
    height, width, count = image.shape
    stride = width + 2
    packed = WORKSPACE.array("source", ((height + 4) * stride + 2,), "<i8")
    packed.fill(0)
    words = packed[: (height + 4) * stride].reshape(height + 4, stride)[2:-2, 2:]
    octets = packed.view(np.uint8)[: (height + 4) * stride * 8].reshape(height + 4, stride, 8)[2:-2, 2:]
    # Bytes 3 and 6 are bits 24 and 48; two further down they are where FIELDS has them. Writing bytes is the fastest.
    for channel, octet in zip(range(1, count), (3, 6), strict=False):
        octets[:, :, octet] = image[:, :, channel]
    if count > 1:
        words >>= 2
    octets[:, :, 0] = image[:, :, 0]
    return packed, stride


def _linear_float32(image: np.ndarray, plan: _Plan) -> np.ndarray:
    padded, stride = _padded(image, 0)
    count = image.shape[2]
    warped = np.zeros((len(plan.x_row), len(plan.x_column), count), np.float32)
    fractions = np.arange(1 << WEIGHT_BITS, dtype=np.float32) / np.float32(1 << WEIGHT_BITS)
    tiles, scratch = plan.tiles(FLOAT_TILE // count, wide=1)
    for rows, columns in tiles:
        x, y, index = scratch.of(rows, columns)
        plan.positions(rows, columns, x, y)
        x >>= POSITION_BITS - WEIGHT_BITS
        y >>= POSITION_BITS - WEIGHT_BITS
        right, below = fractions[x & WEIGHT_MASK], fractions[y & WEIGHT_MASK]
        x >>= WEIGHT_BITS
        y >>= WEIGHT_BITS
        plan.places(x, y, stride, index)
        # From left to right, as OpenCV sums: float32 addition has an order.
        total = padded.take(index, axis=0, mode="clip") * ((1 - below) * (1 - right))[:, :, None]
        total += padded[1:].take(index, axis=0, mode="clip") * ((1 - below) * right)[:, :, None]
        total += padded[stride:].take(index, axis=0, mode="clip") * (below * (1 - right))[:, :, None]
        total += padded[stride + 1 :].take(index, axis=0, mode="clip") * (below * right)[:, :, None]
        warped[rows, columns] = total
    return warped
