"""Small regions that a picture falls into: cells of a jittered grid, or SLIC's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_ROUNDS = 4
_COMPACTNESS = 1.0  # weight of a superpixel's width against a contrast of 40 grey levels
_CONTRAST = 40.0


def superpixels(
    shape: tuple[int, ...], size: int, rng: np.random.Generator, image: NDArray[np.uint8] | None = None
) -> NDArray[np.int64]:
    """Return the superpixel of each pixel.

    Centres start on a grid, each displaced at random within its cell. Every pixel goes to the nearest of the 3 x 3
    centres around its own grid cell: nearest in place without an image (Voronoi cells), in place and colour with one,
    where the centres move to the mean of their pixels a few times (SLIC: Achanta et al., TPAMI 2012, in RGB). What is
    cut off from its superpixel, and superpixels under a quarter of a cell, go to the nearest other one, as in the
    published method's last step.

    Parameters
    ----------
    shape : tuple of int
        (H, W).
    size : int
        Side of a grid cell in pixels.
    rng : numpy.random.Generator
        Displaces the centres.
    image : ndarray of uint8, shape (H, W, 3), optional
        The picture.

    Returns
    -------
    ndarray of int64, shape (H, W)
        Numbers from 0.

    Examples
    --------
    >>> cells = superpixels((8, 12), 4, np.random.default_rng(0))
    >>> cells.shape, int(cells.max()) < 6
    ((8, 12), True)
    """
    height, width = shape
    rows, columns = max(1, round(height / size)), max(1, round(width / size))
    y, x = (grid.ravel().astype(np.float64) for grid in np.mgrid[:height, :width])
    features = np.stack([y / size, x / size], axis=1) * _COMPACTNESS
    if image is not None:
        features = np.concatenate([features, image.reshape(-1, 3) / _CONTRAST], axis=1)
    home_row = np.minimum((y * rows / height).astype(np.int64), rows - 1)
    home_column = np.minimum((x * columns / width).astype(np.int64), columns - 1)
    candidates = _neighbourhood(home_row, home_column, rows, columns)
    places = (np.mgrid[:rows, :columns].reshape(2, -1).T + 0.5 + rng.uniform(-0.4, 0.4, (rows * columns, 2))) * (
        height / rows,
        width / columns,
    )
    pixel = np.minimum(places.astype(np.int64), (height - 1, width - 1))
    centres = features[pixel[:, 0] * width + pixel[:, 1]].copy()
    centres[:, :2] = (places - 0.5) / size * _COMPACTNESS
    cells = _nearest(features, centres, candidates)
    for _ in range(0 if image is None else _ROUNDS):
        counts = np.maximum(np.bincount(cells, minlength=len(centres)), 1)
        centres = (
            np.stack([np.bincount(cells, column, len(centres)) for column in features.T], axis=1) / counts[:, None]
        )
        cells = _nearest(features, centres, candidates)
    return _in_one_piece(cells.reshape(height, width), size)


def _neighbourhood(row: NDArray[np.int64], column: NDArray[np.int64], rows: int, columns: int) -> NDArray[np.int64]:
    """Return the centres that each pixel may go to, int64 (9, pixels); at the border some are named twice."""
    near = [
        np.clip(row + down, 0, rows - 1) * columns + np.clip(column + right, 0, columns - 1)
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    ]
    return np.stack(near)


def _nearest(
    features: NDArray[np.float64], centres: NDArray[np.float64], candidates: NDArray[np.int64]
) -> NDArray[np.int64]:
    distances = np.stack([((features - centres[candidate]) ** 2).sum(axis=1) for candidate in candidates])
    return np.asarray(candidates[distances.argmin(axis=0), np.arange(len(features))])


def _in_one_piece(cells: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return superpixels made of the largest 4-connected piece of each, grown into what is left of the others."""
    kept = np.zeros(cells.shape, bool)
    for number, box in enumerate(ndimage.find_objects(cells + 1)):
        if box is not None:
            pieces, _ = ndimage.label(cells[box] == number)
            areas = np.bincount(pieces.ravel())[1:]
            if 4 * areas.max() >= size * size:
                kept[box] |= pieces == areas.argmax() + 1
    if not kept.any():
        return cells
    rows, columns = ndimage.distance_transform_edt(~kept, return_distances=False, return_indices=True)
    return np.asarray(cells[rows, columns])
