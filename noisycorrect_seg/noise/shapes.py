"""Outlines drawn carelessly: coarse polygons, a part put down in the wrong place, borders of superpixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.checks import check_rate, check_scale
from noisycorrect.support.checks import whole_number
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.masks import IGNORE_INDEX
from noisycorrect_seg.noise.base import Mask, MaskNoise, register
from noisycorrect_seg.noise.outline import filled, outlines, simplified
from noisycorrect_seg.noise.parts import fill_from_around, find_parts
from noisycorrect_seg.noise.superpixels import superpixels


@register
@final
@dataclass(frozen=True)
class CoarsePolygon(MaskNoise):
    """Each part's outline is a polygon of a few points. Spelled `polygon:8`.

    The points are those of the outline that matter most (`simplified`). Large parts are filled first, small ones on
    top, holes are filled, and what no polygon covers is background, as when one draws with a polygon tool.

    Parameters
    ----------
    vertices : int
        Points a part, at least 3.
    jitter : float
        Standard deviation of the points' places in pixels, at least 0.

    Raises
    ------
    InvalidInputError
        If the parameters are out of their ranges.

    Examples
    --------
    >>> mask = np.full((4, 4), 5, np.uint8)
    >>> mask[3, 3] = 0
    >>> [int((CoarsePolygon(count).apply_one(mask, classes="lip", seed=0) > 0).sum()) for count in (3, 4, 6)]
    [8, 14, 15]
    """

    vertices: int = 8
    jitter: float = 0.0

    name: ClassVar[str] = "polygon"

    def __post_init__(self) -> None:
        object.__setattr__(self, "vertices", whole_number("vertices", self.vertices, least=3))
        object.__setattr__(self, "jitter", check_scale(self.jitter, "a jitter in pixels"))

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        parts = find_parts(mask)
        polygons = simplified(outlines(parts), self.vertices)
        noisy = np.where(mask == IGNORE_INDEX, mask, np.uint8(0))
        moves = [rng.standard_normal(points.shape) * self.jitter for points in polygons]
        for part in np.argsort(-parts.areas[1:], kind="stable").tolist():
            points = polygons[part] + moves[part]
            left, top = np.maximum(np.floor(points.min(axis=0)).astype(int), 0).tolist()
            right, low = (np.ceil(points.max(axis=0)).astype(int) + 1).tolist()
            window = noisy[top : max(low, 0), left : max(right, 0)]
            window[filled(points - (left, top), (window.shape[0], window.shape[1]))] = parts.classes[part + 1]
        return noisy


@register
@final
@dataclass(frozen=True)
class PartAffine(MaskNoise):
    """One part of a mask is moved, turned and scaled about its centre. Spelled `affine:0.5`.

    It leaves the class of its surroundings behind, and covers what it comes to lie on.

    Parameters
    ----------
    rate : float
        Probability for each mask, in [0, 1].
    shift : float
        Standard deviation of the shift in x and y, in square roots of the part's area.
    angle : float
        Standard deviation of the turn, in degrees.
    scale : float
        Standard deviation of the scale's logarithm.

    Raises
    ------
    InvalidInputError
        If the rate is not in [0, 1], or another parameter is not finite and at least 0.

    Examples
    --------
    >>> mask = np.zeros((9, 9), np.uint8)
    >>> mask[3:6, 3:6] = 5
    >>> PartAffine(1.0, shift=0, angle=0, scale=0).apply_one(mask, classes="lip", seed=0).tolist() == mask.tolist()
    True
    """

    rate: float
    shift: float = 0.15
    angle: float = 10.0
    scale: float = 0.1

    name: ClassVar[str] = "affine"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        for option in ("shift", "angle", "scale"):
            object.__setattr__(self, option, check_scale(getattr(self, option), option))

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        happens, which = rng.random(2)
        shift = rng.standard_normal(2) * self.shift
        turn, growth = rng.standard_normal(2) * (np.radians(self.angle), self.scale)
        parts = find_parts(mask)
        if happens >= self.rate or not len(parts):
            return mask
        part = 1 + int(which * len(parts))
        return moved_part(
            mask, parts.numbers == part, shift=shift * np.sqrt(parts.areas[part]), turn=turn, scale=np.exp(growth)
        )


def moved_part(
    mask: Mask, part: NDArray[np.bool_], *, shift: NDArray[np.float64], turn: float = 0.0, scale: float = 1.0
) -> Mask:
    """Return a mask in which a part lies elsewhere; a pixel belongs to it if its source's nearest pixel does.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        Classes.
    part : ndarray of bool, shape (H, W)
        Pixels of one class, at least one.
    shift : ndarray of float64, shape (2,)
        (x, y) in pixels.
    turn : float
        Radians, clockwise with y down, about the part's centre.
    scale : float
        Factor, positive.

    Examples
    --------
    >>> mask = np.array([[0, 5, 5, 0, 0]], np.uint8)
    >>> moved_part(mask, mask == 5, shift=np.array([2.0, 0.0])).tolist()
    [[0, 0, 0, 5, 5]]
    """
    ys, xs = np.nonzero(part)
    centre = np.array([xs.mean(), ys.mean()])
    label = mask[ys[0], xs[0]]
    noisy = fill_from_around(mask, part)
    grid_y, grid_x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    dx, dy = grid_x - centre[0] - shift[0], grid_y - centre[1] - shift[1]
    c, s = np.cos(turn) / scale, np.sin(turn) / scale
    # Halves round down, so that equal pixels stay equal in number.
    column = np.ceil(centre[0] + c * dx + s * dy - 0.5).astype(np.int64)
    row = np.ceil(centre[1] - s * dx + c * dy - 0.5).astype(np.int64)
    inside = (column >= 0) & (column < mask.shape[1]) & (row >= 0) & (row < mask.shape[0])
    lands = np.zeros(mask.shape, bool)
    lands[inside] = part[row[inside], column[inside]]
    noisy[lands] = label
    return noisy


@register
@final
@dataclass(frozen=True)
class Superpixel(MaskNoise):
    """Borders follow superpixels: each takes its most frequent class. Spelled `superpixel:8`.

    With images the superpixels follow the pictures' colours (SLIC), as in annotation tools that fill regions; without,
    they are cells of a jittered grid.

    Parameters
    ----------
    size : int
        Side of a superpixel in pixels, at least 2.

    Raises
    ------
    InvalidInputError
        If the size is less than 2.

    Examples
    --------
    >>> mask = np.zeros((8, 8), np.uint8)
    >>> mask[:, 3:] = 1
    >>> noisy = Superpixel(4).apply_one(mask, classes="lip", seed=0)
    >>> bool((noisy[:, :1] == 0).all()), bool((noisy[:, 7:] == 1).all())
    (True, True)
    """

    size: int = 8

    name: ClassVar[str] = "superpixel"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole_number("size", self.size, least=2))

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        cells = superpixels(mask.shape, self.size, rng, image)
        return most_frequent(mask, cells, len(classes))


def most_frequent(mask: Mask, cells: NDArray[np.int64], num_classes: int) -> Mask:
    """Return a mask in which each cell has its most frequent class; pixels with 255 have no vote, ties go to the lower.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        Classes.
    cells : ndarray of int64, shape (H, W)
        Cell of each pixel, from 0.
    num_classes : int
        K.

    Examples
    --------
    >>> most_frequent(np.array([[1, 1, 0, 255]], np.uint8), np.array([[0, 0, 0, 1]]), 2).tolist()
    [[1, 1, 1, 255]]
    """
    valid = mask != IGNORE_INDEX
    votes = np.bincount(cells[valid] * num_classes + mask[valid], minlength=(int(cells.max()) + 1) * num_classes)
    winner = votes.reshape(-1, num_classes).argmax(axis=1)
    return np.where(valid, winner[cells], mask).astype(np.uint8)
