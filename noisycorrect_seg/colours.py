"""Colours of classes: Pascal VOC's colour map, and others where it shows left and right alike."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.masks import IGNORE_INDEX, WIDE_IGNORE_INDEX

# None is a multiple of 32, as all of VOC's are: no colour of ours is VOC's for another class.
_LEVELS = (20, 67, 114, 161, 208, 255)
# Hue angles in CIELAB, in degrees, and least chroma of what is called warm and cool here: yellow against blue is what
# people see who do not tell red from green.
_WARM, _COOL, _CHROMA = (25, 105), (215, 315), 35
_LIGHTNESS = (35, 92)  # neither black nor white
_DARKEST = 22  # lightness of a class's colour where there are many
_FARTHEST = 1000  # colours that are chosen one by one


def voc_palette(count: int = 256) -> NDArray[np.uint8]:
    """Return the Pascal VOC colour map, uint8 (count, 3): an index's bits dealt out to red, green and blue in turn.

    From the VOC development kit's ``VOClabelcolormap``: the three lowest bits of a number become the highest of the
    three colours, and so on. LIP's masks and most others have it.

    Examples
    --------
    >>> voc_palette(4).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    colours = np.zeros((count, 3), np.uint8)
    index = np.arange(count)
    for level in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> (3 * level + channel)) & 1).astype(np.uint8) << (7 - level)
    return colours


def lab(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return colours, uint8 (..., 3) sRGB, in CIELAB (CIE 1976, white D65): distances are about as people see them.

    Examples
    --------
    >>> lab(np.array([[255, 255, 255], [255, 0, 0]], np.uint8)).round(0).tolist()
    [[100.0, 0.0, 0.0], [53.0, 80.0, 67.0]]
    """
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
    xyz = linear @ to_xyz.T / to_xyz.sum(1)
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


@functools.cache
def _spread() -> NDArray[np.uint8]:
    """Return 65,536 different colours, uint8 (65536, 3), black first: of many classes VOC's are alike to the eye.

    Each of the first thousand is the one of a grid that is farthest in CIELAB from all before it, so that the first K
    are about as far apart as K colours can be; the others follow in a random order.
    """
    levels = np.linspace(0, 255, 16).round().astype(np.uint8)
    grid = _bright(levels)
    places = lab(grid).astype(np.float32)
    nearest = np.linalg.norm(places, axis=1)  # to black
    first = np.zeros((1 + _FARTHEST, 3), np.uint8)
    for number in range(1, len(first)):
        chosen = int(nearest.argmax())
        first[number] = grid[chosen]
        nearest = np.minimum(nearest, np.linalg.norm(places - places[chosen], axis=1))
    rest = _bright(np.linspace(0, 255, 45).round().astype(np.uint8))
    code, used = (colours.astype(np.int64) @ (1 << 16, 1 << 8, 1) for colours in (rest, first))
    rest = rest[~np.isin(code, used)]
    order = np.random.default_rng(0).permutation(len(rest))
    spread: NDArray[np.uint8] = np.concatenate([first, rest[order]])[: WIDE_IGNORE_INDEX + 1]
    spread.flags.writeable = False
    return spread


def _bright(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colours of some levels that are not nearly black, uint8 (n, 3)."""
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    bright: NDArray[np.uint8] = grid[lab(grid)[:, 0] >= _DARKEST]
    return bright


@functools.lru_cache(64)
def _colours(count: int, sides: tuple[tuple[int, int], ...], background: bool) -> NDArray[np.uint8]:
    colours = voc_palette() if count <= IGNORE_INDEX else _spread().copy()
    new = [number for pair in sides for number in pair] + [0] * (not background)
    taken = [lab(colours[number]) for number in range(min(count, 256)) if number not in new] + [lab(colours[0])]
    warm, cool, any_hue = _candidates()

    def choose(among: NDArray[np.uint8], number: int) -> None:
        """Give a class the colour that is farthest from all that are in use."""
        colours[number] = among[_distances(lab(among), np.stack(taken)).min(1).argmax()]
        taken.append(lab(colours[number]))

    for left, right in sides:
        choose(warm, left)
        choose(cool, right)
    if not background:
        choose(any_hue, 0)
    colours.flags.writeable = False
    return colours


def _distances(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return distances (n, m) of colours in CIELAB, at most twice what is left for who cannot tell green from red."""
    apart = one[:, None] - other
    return np.asarray(np.minimum(np.linalg.norm(apart, axis=2), 2 * np.linalg.norm(apart[..., [0, 2]], axis=2)))


@functools.cache
def _candidates() -> tuple[NDArray[np.uint8], ...]:
    """Return warm, cool, and all colours to choose from, uint8 (n, 3)."""
    levels = np.array(_LEVELS, np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    lightness, a, b = lab(grid).T
    fit = (np.hypot(a, b) >= _CHROMA) & (lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1])
    hue = np.degrees(np.arctan2(b, a)) % 360
    warm, cool = (fit & (hue >= low) & (hue <= high) for low, high in (_WARM, _COOL))
    return grid[warm], grid[cool], grid[fit]


def class_colours(count: int, sides: Iterable[tuple[int, int]] = (), *, background: bool = True) -> NDArray[np.uint8]:
    """Return colours of all values of a mask, uint8 (256, 3), or (65536, 3) of more than 255 classes.

    They are VOC's, but where sides must differ. Of more than 255 classes, whose PNGs hold no palette, they are as far
    apart as can be: VOC's differ by no more than an eye can see.

    Parameters
    ----------
    count : int
        K classes; of up to 255, what lies behind them is VOC's, so that 255 keeps its colour.
    sides : iterable of (int, int)
        The left and the right one of each pair: the left becomes warm, the right cool, each as far as can be from the
        colours of all other classes.
    background : bool
        Whether class 0 is one, and black.

    Examples
    --------
    >>> bool((class_colours(3) == voc_palette()).all()), class_colours(3, [(1, 2)])[:3].tolist()
    (True, [[0, 0, 0], [255, 208, 20], [67, 20, 255]])
    """
    return _colours(count, tuple((int(left), int(right)) for left, right in sides), background).copy()
