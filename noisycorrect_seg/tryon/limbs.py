"""Hands and feet where a mask has arms and legs only: the end of a limb that is not at the body."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from noisycorrect_seg.tryon.garments import Mask, Region

_EIGHT = np.ones((3, 3), bool)
# Of the square root of the area of what is worn. A hand is 0.108 of a person's height, hand and forearm are 0.25
# (Drillis and Contini, "Body segment parameters", 1966); by our estimate that root is 0.26 to 0.38 of it on the upper
# body, more with long sleeves and coats. The values were chosen on other drawn people than the guide's figures are of.
HAND, WHOLE_HAND = 0.33, 0.45
HAND_WIDTHS, WHOLE_WIDTHS = 1.0, 2.0  # at least so many widths of the limb, where little is worn
CUT = 0.45  # of what is around the end of a limb at a garment's edge is garment
SMALL = 1 / 8  # share of the largest piece below which a piece of a limb is none


def limb_ends(
    mask: Mask,
    limbs: Sequence[int],
    body: Region,
    beyond: Region,
    *,
    centre: NDArray[np.float64],
    sided: bool,
    cut: bool = False,
) -> Region:
    """Return the hands of arms, or the feet of legs: bool (H, W), a part of the limbs' pixels.

    Of each limb the piece whose tip is farthest from the body's middle is looked at. Its two ends are the two pixels
    that are farthest apart, walking inside it. Where a garment ends and the limb begins, about half of what is around
    is the garment; around a hand it is less, or more if it lies on the body. So the hand is the end that is less like
    this, and farther from the middle. What lies within a hand's length of its tip, walking, is the hand; a piece that
    is short, as what a long sleeve leaves to be seen, is a hand as a whole. There is none where the limb's tip touches
    what is put over it, such as a glove.

    Parameters
    ----------
    mask : ndarray, shape (H, W), uint8
        Class indices.
    limbs : sequence of int
        The classes of the limbs.
    body : ndarray, shape (H, W), bool
        What a limb hangs on: garments.
    beyond : ndarray, shape (H, W), bool
        Gloves, or shoes.
    centre : ndarray, shape (2,)
        Row and column of the body's middle: neck for arms, for legs the head.
    sided : bool
        Whether each class is one limb; else all classes together are the limbs of both sides.
    cut : bool
        Whether a limb that the image's border cuts has no end, as legs that are seen to the knees; else it ends there.

    Examples
    --------
    >>> mask = np.zeros((10, 30), np.uint8)
    >>> mask[:, :10], mask[4:6, 10:28] = 5, 14  # a top and an arm
    >>> hands = limb_ends(mask, [14], mask == 5, mask == 3, centre=np.array([0.0, 5.0]), sided=True)
    >>> np.flatnonzero(hands.any(0)).tolist()
    [24, 25, 26, 27]
    """
    ends = np.zeros(mask.shape, bool)
    scale = float(np.sqrt(body.sum()))
    groups = [mask == number for number in limbs] if sided else [np.isin(mask, limbs)]
    for group in groups:
        pieces, count = ndimage.label(group, _EIGHT)
        if not count:
            continue
        areas = ndimage.sum_labels(group, pieces, np.arange(1, count + 1))
        middles = np.array(ndimage.center_of_mass(group, pieces, np.arange(1, count + 1)))
        large = np.flatnonzero(areas >= SMALL * areas.max())
        sides = [large] if sided else [large[middles[large, 1] < centre[1]], large[middles[large, 1] >= centre[1]]]
        for side in sides:
            if len(side):
                _mark(ends, [pieces == number + 1 for number in side], body, beyond, centre, scale, cut)
    return ends


def _mark(
    ends: Region,
    pieces: list[Region],
    body: Region,
    beyond: Region,
    centre: NDArray[np.float64],
    scale: float,
    cut: bool,
) -> None:
    """Mark the hand of one limb, which may be in pieces."""
    reaches = [np.hypot(*(np.argwhere(piece) - centre).T).max() for piece in pieces]
    piece = pieces[int(np.argmax(reaches))]
    rows, columns = np.nonzero(piece)
    top, left = max(rows.min() - 2, 0), max(columns.min() - 2, 0)
    window = (slice(top, rows.max() + 3), slice(left, columns.max() + 3))
    stop = beyond | _border(piece.shape) if cut else beyond
    ends[window] |= _end(piece[window], body[window], stop[window], centre - (top, left), scale)


def _border(shape: tuple[int, ...]) -> Region:
    border = np.ones(shape, bool)
    border[1:-1, 1:-1] = False
    return border


def _end(piece: Region, body: Region, stop: Region, centre: NDArray[np.float64], scale: float) -> Region:
    """Return the part of a connected piece that is a hand; empty if it has none."""
    places = np.argwhere(piece)
    walk = _Walks(piece)
    first = int(walk(0).argmax())
    from_first = walk(first)
    second = int(from_first.argmax())
    from_second = walk(second)
    length = from_first[second] + 1
    width = len(places) / length
    marks = []
    for distances in (from_first, from_second):
        near = _region(piece, places, distances < max(width, 1))
        around = ndimage.binary_dilation(near, _EIGHT, iterations=2) & ~piece
        marks.append((near, (around & body).sum() / max(around.sum(), 1), around))
    reach = np.hypot(*(places[[first, second]] - centre).T)
    away = reach / max(reach.sum(), 1e-9)
    tip = int(np.argmax([abs(attached - CUT) + share for (_, attached, _), share in zip(marks, away, strict=True)]))
    near, _, around = marks[tip]
    if ((around | near) & stop).any():
        return np.zeros_like(piece)
    if length <= WHOLE_WIDTHS * width or _diameter(places) <= WHOLE_HAND * scale:
        return piece
    reach_of_hand = max(HAND * scale, HAND_WIDTHS * width)
    return _region(piece, places, (from_first, from_second)[tip] < reach_of_hand)


def _diameter(places: NDArray[np.int64]) -> float:
    """Return the largest distance of two pixels, to a few percent: over sixteen directions."""
    angles = np.arange(16) * np.pi / 16
    return float(np.ptp(places @ np.stack([np.sin(angles), np.cos(angles)]), axis=0).max() + 1)


def _region(piece: Region, places: NDArray[np.int64], some: Region) -> Region:
    region = np.zeros_like(piece)
    region[tuple(places[some].T)] = True
    return region


class _Walks:
    """Distances between the pixels of a region, walking inside it to any of eight neighbours."""

    def __init__(self, region: Region) -> None:
        numbers = np.full(region.shape, -1)
        count = int(region.sum())
        numbers[region] = np.arange(count)
        height, width = region.shape
        rows, columns, steps = [], [], []
        for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
            left, right = max(-across, 0), width - max(across, 0)
            one = numbers[: height - down, left:right]
            other = numbers[down:, left + across : right + across]
            both = (one >= 0) & (other >= 0)
            rows.append(one[both])
            columns.append(other[both])
            steps.append(np.full(both.sum(), np.hypot(down, across)))
        entries = (np.concatenate(steps), (np.concatenate(rows), np.concatenate(columns)))
        self._graph = sparse.csr_array(sparse.coo_array(entries, shape=(count, count)))

    def __call__(self, start: int) -> NDArray[np.float64]:
        """Return the distance of each pixel from one of them, in the order of ``argwhere``."""
        return np.asarray(csgraph.dijkstra(self._graph, directed=False, indices=start))
