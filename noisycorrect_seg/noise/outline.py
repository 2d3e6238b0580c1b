"""Outlines of parts as polygons: tracing, simplifying, filling; vectorised over pixels and parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.noise.parts import Parts

Points = NDArray[np.float64]

# Directions of the edges around a pixel, clockwise with y down: right, down, left, up.
_START = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
_STEP = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
_BEYOND = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])  # the neighbour (x, y) on the other side of each edge


def outlines(parts: Parts) -> list[Points]:
    """Return the outer outline of each part: the corners where it turns, in pixel corners (x, y), clockwise.

    Pixel (x, y) covers [x, x + 1] x [y, y + 1]. Pixels that touch at a corner belong together.

    Returns
    -------
    list of ndarray of float64, shape (n, 2)
        One a part, in the order of `parts`.

    Examples
    --------
    >>> from noisycorrect_seg.noise.parts import find_parts
    >>> outlines(find_parts(np.array([[0, 0, 0], [0, 1, 1]], np.uint8)))[0].tolist()
    [[1.0, 1.0], [3.0, 1.0], [3.0, 2.0], [1.0, 2.0]]
    """
    if not len(parts):
        return []
    part, start, direction = _edges(parts.numbers)
    following = _next(part, start, direction, parts.numbers.shape)
    rank, first = _ranks(following)
    order = np.lexsort((rank, first))
    corners = (direction != direction[np.argsort(following)])[order]  # an edge that turns off from the one before it
    points, loop, owner = start[order][corners].astype(np.float64), first[order][corners], part[order][corners]
    pieces = np.split(points, np.flatnonzero(np.diff(loop)) + 1)
    owners = owner[np.concatenate([[0], np.flatnonzero(np.diff(loop)) + 1])]
    outer: list[Points] = [np.zeros((0, 2))] * len(parts)
    for number, piece in zip(owners.tolist(), pieces, strict=True):
        if _area(piece) > 0:  # holes run the other way round
            outer[number - 1] = piece
    return outer


def _edges(numbers: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return part, start corner (x, y) and direction of all pixel edges between a part and anything else."""
    framed = np.pad(numbers, 1)
    height, width = numbers.shape
    found = []
    for direction, (dx, dy) in enumerate(_BEYOND.tolist()):
        beyond = framed[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        rows, columns = np.nonzero((numbers > 0) & (numbers != beyond))
        corner = np.stack([columns, rows], axis=1) + _START[direction]
        found.append((numbers[rows, columns].astype(np.int64), corner, np.full(len(rows), direction)))
    part, start, turned = (np.concatenate(column) for column in zip(*found, strict=True))
    return part, start, turned


def _next(
    part: NDArray[np.int64], start: NDArray[np.int64], direction: NDArray[np.int64], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Return for each edge the one that goes on from its end: to the left if it can, which joins diagonal pixels."""
    columns = shape[1] + 1
    corners = columns * (shape[0] + 1)

    def key(corner: NDArray[np.int64], towards: NDArray[np.int64]) -> NDArray[np.int64]:
        return ((part * corners) + corner[:, 1] * columns + corner[:, 0]) * 4 + towards

    keys = key(start, direction)
    order = np.argsort(keys)
    ordered = keys[order]
    end = start + _STEP[direction]
    following = np.full(len(part), -1)
    for turn in (1, 0, 3):  # right, straight on, left: the last that exists stays
        wanted = key(end, (direction + turn) % 4)
        place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        following = np.where(ordered[place] == wanted, order[place], following)
    assert (following >= 0).all()
    return following


def _ranks(following: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each edge's place in its loop, and the loop's first edge, by pointer doubling."""
    count = len(following)
    rounds = max(int(count - 1).bit_length(), 1)
    first, jump = np.arange(count), following
    for _ in range(rounds):
        first = np.minimum(first, first[jump])
        jump = jump[jump]
    # Steps to the last edge of the loop, the one before the first.
    last = following == first
    steps = np.where(last, 0, 1)
    jump = np.where(last, np.arange(count), following)
    for _ in range(rounds):
        steps = steps + steps[jump]
        jump = jump[jump]
    return steps[first] - steps, first


def _area(points: Points) -> float:
    """Return the signed area of a polygon; positive is clockwise with y down."""
    x, y = points.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def simplified(polygons: Sequence[Points], vertices: int) -> list[Points]:
    """Return closed polygons, each reduced to a number of its points.

    Points are added where a polygon so far is farthest off (Douglas and Peucker, 1973, with a budget instead of a
    tolerance), from two far ends on; in all polygons at once.

    Parameters
    ----------
    polygons : sequence of ndarray of float64, each of shape (n, 2), n >= 1
        The polygons.
    vertices : int
        At most so many points of each are left, at least 3.

    Returns
    -------
    list of ndarray of float64, each of shape (min(n, vertices), 2)
        Points of the polygons, in their order.

    Examples
    --------
    >>> square = np.array([[0, 0], [4, 0], [8, 0], [8, 8], [0, 8]], float)
    >>> simplified([square], 4)[0].tolist()
    [[0.0, 0.0], [8.0, 0.0], [8.0, 8.0], [0.0, 8.0]]
    """
    if not polygons:
        return []
    counts = np.array([len(points) for points in polygons])
    owner = np.repeat(np.arange(len(counts)), counts)
    begin = np.concatenate([[0], counts.cumsum()[:-1]])
    points = np.concatenate(polygons)
    centre = np.add.reduceat(points, begin, axis=0) / counts[:, None]
    first = _farthest(((points - centre[owner]) ** 2).sum(axis=1), owner, begin) - begin
    # Each ring begins at its first point.
    turned = begin[owner] + (np.arange(len(points)) - begin[owner] + first[owner]) % counts[owner]
    ring = points[turned]
    kept = np.zeros(len(ring), bool)
    kept[begin] = True
    low, high = (
        begin[owner],
        begin[owner],
    )  # ends of the segment that stands for a point; the last one ends at the first
    for _ in range(vertices - 1):
        off = np.where(kept, -1.0, _distances(ring, ring[low], ring[high]))
        new = _farthest(off, owner, begin)
        divided = low == low[new][owner]
        place = np.arange(len(ring))
        high = np.where(divided & (place < new[owner]), new[owner], high)
        low = np.where(divided & (place > new[owner]), new[owner], low)
        kept[new] = True
    chosen = np.zeros(len(ring), bool)
    chosen[turned[kept]] = True
    return [piece[keep] for piece, keep in zip(polygons, np.split(chosen, begin[1:]), strict=True)]


def _farthest(values: NDArray[np.float64], owner: NDArray[np.int64], begin: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each polygon's largest value is, the first of equals."""
    top = np.flatnonzero(values == np.maximum.reduceat(values, begin)[owner])[::-1]
    place = np.zeros(len(begin), np.int64)
    place[owner[top]] = top
    return place


def _distances(points: Points, start: Points, end: Points) -> NDArray[np.float64]:
    """Return how far points are from segments, each from its own, float64 (n,)."""
    along = end - start
    length = np.maximum((along**2).sum(axis=1), 1e-12)
    share = np.clip(((points - start) * along).sum(axis=1) / length, 0, 1)
    return np.asarray(np.hypot(*(points - start - share[:, None] * along).T))


def filled(points: Points, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixel centres lie inside a polygon (even-odd), bool (H, W).

    Parameters
    ----------
    points : ndarray of float64, shape (n, 2)
        In pixel corners, as from `outlines`: the outline of a part without holes gives the part back.
    shape : tuple of int
        (H, W).

    Examples
    --------
    >>> filled(np.array([[1, 0], [3, 0], [3, 1], [1, 1]], float), (1, 4)).tolist()
    [[False, True, True, False]]
    """
    height, width = shape
    x0, y0 = points.T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    rows = np.arange(height) + 0.5
    crosses = (y0[:, None] <= rows) != (y1[:, None] <= rows)
    edge, row = np.nonzero(crosses)
    x = x0[edge] + (rows[row] - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    # The first pixel whose centre lies at or right of the crossing; there the parity turns.
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    turns = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.asarray(turns[:, :width].cumsum(axis=1) % 2 == 1)
