"""How a large scene is cut into tiles that overlap, and what a pixel counts in each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.geometry.maps import checked_size


class Tile(NamedTuple):
    """A tile of a scene.

    Attributes
    ----------
    rows, columns : slice
        What it shows of the scene.
    """

    rows: slice
    columns: slice

    @property
    def shape(self) -> Size:
        """Height and width of what it shows."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def checked_tiling(size: Size, overlap: int | None = None) -> tuple[Size, int]:
    """Return size and overlap of tiles as whole numbers; an overlap that is None is a quarter of the shorter side.

    Raises
    ------
    InvalidInputError
        If the size is no pair of whole numbers >= 2, or the overlap is negative or more than half of a side.

    Examples
    --------
    >>> checked_tiling((64, 96), 8), checked_tiling((64, 96))
    (((64, 96), 8), ((64, 96), 16))
    """
    size = checked_size(size)
    overlap = min(size) // 4 if overlap is None else whole_number("overlap", overlap, least=0)
    if 2 * overlap > min(size):
        fix = "a quarter of a tile is common"
        raise InvalidInputError(f"an overlap of at most {min(size) // 2}, half a tile", got=str(overlap), fix=fix)
    return size, overlap


def starts_along(side: int, tile: int, overlap: int) -> list[int]:
    """Return where tiles begin along an axis: as few as overlap by `overlap` at least, evenly spaced.

    Examples
    --------
    >>> starts_along(100, 64, 16), starts_along(64, 64, 16), starts_along(50, 64, 16)
    ([0, 36], [0], [0])
    """
    if side <= tile:
        return [0]
    count = -(-(side - overlap) // (tile - overlap))
    return [round(place) for place in np.linspace(0, side - tile, count).tolist()]


def tiles_of(shape: Size, size: Size, overlap: int) -> list[Tile]:
    """Return the tiles of a scene, row by row; of a scene smaller than a tile the one that shows all of it.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the scene.
    size : (int, int)
        Height and width of a tile.
    overlap : int
        What neighbours share at least, in pixels.

    Examples
    --------
    >>> [(tile.rows.start, tile.columns.start) for tile in tiles_of((64, 100), (64, 64), 16)]
    [(0, 0), (0, 36)]
    """
    down, across = (starts_along(side, tile, overlap) for side, tile in zip(shape, size, strict=True))
    return [
        Tile(slice(top, min(top + size[0], shape[0])), slice(left, min(left + size[1], shape[1])))
        for top in down
        for left in across
    ]


def weights_along(part: slice, side: int, overlap: int) -> np.ndarray:
    """Return what pixels of a tile count along an axis, float32.

    From an edge inside the scene, a quarter of the overlap counts nothing: there a network has seen least around a
    pixel. Then the weight rises along half of the overlap to 1. At the scene's own edges it is 1.

    Parameters
    ----------
    part : slice
        What the tile shows along the axis.
    side : int
        Length of the scene.
    overlap : int
        What tiles share at least.

    Examples
    --------
    >>> weights_along(slice(0, 8), 16, 4).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.25, 0.0]
    """
    at = np.arange(part.start, part.stop) + 0.5
    weights = np.ones(len(at))
    for inner, distance in ((part.start > 0, at - part.start), (part.stop < side, part.stop - at)):
        if inner and overlap:
            weights = np.minimum(weights, (distance - overlap / 4) / (overlap / 2))
    return np.clip(weights, 0, 1).astype(np.float32)


def tile_weights(tile: Tile, shape: Size, overlap: int) -> np.ndarray:
    """Return what the pixels of a tile count beside those of its neighbours, float32 (h, w), in [0, 1]."""
    down, across = weights_along(tile.rows, shape[0], overlap), weights_along(tile.columns, shape[1], overlap)
    weights: np.ndarray = down[:, None] * across
    return weights
