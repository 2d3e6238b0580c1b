"""Borders that are off: each part too large or too small, or worn by a random walk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtr

from noisycorrect.classification.noise.checks import check_choice, check_flag, check_scale, check_share
from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.masks import IGNORE_INDEX
from noisycorrect_seg.noise.base import Mask, MaskNoise, register
from noisycorrect_seg.noise.parts import find_parts, grown

Side = Literal["both", "out", "in"]


@register
@final
@dataclass(frozen=True)
class Boundary(MaskNoise):
    """Each part is dilated or eroded by a radius of its own. Spelled `boundary:3`, `boundary:3:side=in:together`.

    A part's radius is uniform in [-radius, radius], or, with a side, in that half of it. Errors to both sides hardly
    move a trained network's borders, those to one side do (arXiv:1806.04618, 2107.02189). Between two parts the border
    moves by the difference of their radii; background has radius 0, so that a part against background moves by its
    radius. The order of parts does not matter: a pixel goes to the part with the largest signed distance (inside
    positive) plus twice its radius. The published dilation/erosion noise draws one radius a mask of two classes
    (SpatialCorrection, ICLR 2023, its `DE` setting); this is its form for many.

    Parameters
    ----------
    radius : float
        Largest shift in pixels, at least 0.
    side : {"both", "out", "in"}
        Where borders may move: dilation is "out", erosion "in".
    together : bool
        Whether all parts of a mask get one radius, as from a hand that always draws too wide: then only borders against
        background move.

    Raises
    ------
    InvalidInputError
        If the radius is not finite and at least 0, or the side is unknown.

    Examples
    --------
    >>> mask = np.zeros((7, 7), np.uint8)
    >>> mask[2:5, 2:5] = 1
    >>> sorted({int(Boundary(1).apply_one(mask, classes="lip", seed=seed).sum()) for seed in range(20)})
    [1, 9, 21, 25]
    >>> sorted({int(Boundary(1, side="in").apply_one(mask, classes="lip", seed=seed).sum()) for seed in range(20)})
    [1, 9]
    """

    radius: float = 2.0
    side: Side = "both"
    together: bool = False

    name: ClassVar[str] = "boundary"

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", check_scale(self.radius, "a radius in pixels"))
        object.__setattr__(self, "together", check_flag(self.together, "together"))
        check_choice(self.side, Side, "side of borders")

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        count = len(find_parts(mask))
        low, high = -self.radius * (self.side != "out"), self.radius * (self.side != "in")
        radii = np.broadcast_to(rng.uniform(low, high, 1 if self.together else count), count)
        return move_borders(mask, radii)


@door(own=True)
def move_borders(mask: Mask, radii: NDArray[np.float64]) -> Mask:
    """Return a mask whose parts are dilated (positive) or eroded (negative) by radii, as `Boundary` says.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        Classes.
    radii : ndarray of float64, shape (P,)
        A radius in pixels for each part, in the order of `find_parts`.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        A copy.

    Examples
    --------
    >>> move_borders(np.array([[0, 0, 1, 2, 2, 0]], np.uint8), np.array([1.0, -1.0])).tolist()
    [[0, 1, 1, 1, 1, 0]]
    """
    parts = find_parts(mask)
    assert len(radii) == len(parts)
    if not len(parts):
        return mask.copy()
    background = mask == 0
    best = _signed_distance(background) if background.any() else np.full(mask.shape, -np.inf)
    winner = np.zeros(mask.shape, np.int32)
    # Farther out than this, no part wins over the part that is there, whatever the two radii.
    margin = math.ceil(4 * float(np.abs(radii).max())) + 2
    for number, (box, radius) in enumerate(zip(parts.boxes, radii, strict=True), start=1):
        window = grown(box, margin, mask.shape)
        score = _signed_distance(parts.numbers[window] == number) + 2 * radius
        better = score > best[window]
        best[window] = np.where(better, score, best[window])
        winner[window] = np.where(better, number, winner[window])
    moved = parts.classes[winner].astype(np.uint8)
    moved[mask == IGNORE_INDEX] = IGNORE_INDEX
    return moved


def _signed_distance(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance of pixel centres to a region's border, positive inside, float64 (H, W)."""
    if inside.all():
        return np.full(inside.shape, np.inf)
    within = ndimage.distance_transform_edt(inside)
    without = ndimage.distance_transform_edt(~inside)
    return np.asarray(np.where(inside, within - 0.5, 0.5 - without))


@register
@final
@dataclass(frozen=True)
class MarkovBoundary(MaskNoise):
    """Borders worn by a Markov process (Yao et al., SpatialCorrection, ICLR 2023, Definition 1). Spelled `markov:40`.

    In each of `steps` steps a class expands with probability `theta1` and else shrinks; each pixel at its border,
    outside it or inside it, then changes hands with probability `theta2`. At the end each pixel takes another class of
    the mask with probability `theta3`. With two classes and a `hand` of 0 this is the published process
    (`markov:100:hand=0:smooth=false`), which makes borders as rough as sand; a hand that draws moves pixels that lie
    together at one time, and leaves smooth bays and bulges. With more classes each draws for itself in every step: a
    border pixel goes to a 4-neighbour's class if that one expands and its own does not, or if its own shrinks and the
    neighbour's does not; background does neither.

    Parameters
    ----------
    steps : int
        T, at least 0; the paper uses 80 to 200, on larger masks.
    theta1 : float
        Preference for expanding, in [0, 1]; 0.5 is without bias. The paper: 0.8 or 0.2.
    theta2 : float
        Share of the border that moves in a step, in [0, 1], in expectation. The paper: 0.02 or 0.05.
    theta3 : float
        Share of pixels flipped at the end, in [0, 1]. The paper: 0 or 0.2.
    hand : float
        How far pixels move together, in pixels: width of the Gaussian that the draws of a step are smoothed with. 0:
        each by itself, as published.
    smooth : bool
        Whether a 5 x 5 vote with Gaussian weights of 2 pixels ends it, as in the published code, though not in the
        paper. It removes most of what `theta3` adds.

    Raises
    ------
    InvalidInputError
        If a parameter is out of its range.

    Examples
    --------
    >>> mask = np.array([[0, 0, 0, 1, 1]], np.uint8)
    >>> MarkovBoundary(2, theta1=1.0, theta2=1.0, hand=0, smooth=False).apply_one(mask, classes="lip", seed=0).tolist()
    [[0, 1, 1, 1, 1]]
    """

    steps: int = 30
    theta1: float = 0.5
    theta2: float = 0.05
    theta3: float = 0.0
    hand: float = 2.0
    smooth: bool = True

    name: ClassVar[str] = "markov"

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", whole_number("steps", self.steps, least=0))
        for name in ("theta1", "theta2", "theta3"):
            object.__setattr__(self, name, check_share(getattr(self, name), name))
        object.__setattr__(self, "hand", check_scale(self.hand, "a hand in pixels"))
        object.__setattr__(self, "smooth", check_flag(self.smooth, "smooth"))

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        ignored = mask == IGNORE_INDEX
        framed = np.pad(mask, 1, constant_values=IGNORE_INDEX)
        # Strength by class: expanding 1, shrinking -1; background and 255 stay at 0 and at the very bottom.
        strength = np.zeros(256, np.int8)
        expands = rng.random((self.steps, len(classes))) < self.theta1
        for step in range(self.steps):
            strength[1 : len(classes)] = np.where(expands[step, 1:], 1, -1)
            strength[IGNORE_INDEX] = -2
            _walk(framed, strength, _together(rng, mask.shape, self.hand) < self.theta2)
            framed[1:-1, 1:-1][ignored] = IGNORE_INDEX
        noisy = framed[1:-1, 1:-1].copy()
        if self.theta3:
            noisy = _flip(noisy, rng, self.theta3)
        return _vote(noisy, len(classes)) if self.smooth else noisy


def _together(rng: np.random.Generator, shape: tuple[int, ...], width: float) -> NDArray[np.float64]:
    """Return draws from [0, 1), one a pixel, float64 (H, W), each uniform, of pixels within `width` nearly equal."""
    if not width:
        return rng.random(shape)
    # Periodic, so that every pixel's draw is a sum of equally many, equally weighted normal ones.
    field = ndimage.gaussian_filter(rng.standard_normal(shape), width, mode="wrap")
    impulse = np.zeros(shape)
    impulse[0, 0] = 1.0
    deviation = np.sqrt((ndimage.gaussian_filter(impulse, width, mode="wrap") ** 2).sum())
    return np.asarray(ndtr(field / deviation))


def _walk(framed: Mask, strength: NDArray[np.int8], free: NDArray[np.bool_]) -> None:
    """Let the stronger side of each border win the free pixels, in place; the outermost ring is a frame of 255."""
    inner = framed[1:-1, 1:-1]
    sides = np.stack([framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]])
    powers = strength[sides]
    strongest = powers.argmax(axis=0)
    power = np.take_along_axis(powers, strongest[None], 0)[0]
    winner = np.take_along_axis(sides, strongest[None], 0)[0]
    moves = (power > strength[inner]) & free
    inner[moves] = winner[moves]


def _flip(mask: Mask, rng: np.random.Generator, share: float) -> Mask:
    present = np.unique(mask[mask != IGNORE_INDEX])
    if len(present) < 2:
        return mask
    position = np.searchsorted(present, np.where(mask == IGNORE_INDEX, present[0], mask))
    other = (position + rng.integers(1, len(present), mask.shape)) % len(present)
    flips = (rng.random(mask.shape) < share) & (mask != IGNORE_INDEX)
    return np.where(flips, present[other], mask).astype(np.uint8)


def _vote(mask: Mask, num_classes: int) -> Mask:
    present = np.unique(mask[mask != IGNORE_INDEX])
    if not len(present):
        return mask
    votes = (mask[None] == present[:, None, None]).astype(np.float32)
    votes = ndimage.gaussian_filter(votes, (0, 2, 2), truncate=1.0, mode="nearest")
    return np.where(mask == IGNORE_INDEX, mask, present[votes.argmax(axis=0)]).astype(np.uint8)
