"""What annotators leave out: some parts, or whole classes, and what stands there instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from noisycorrect.classification.noise.checks import check_choice, check_rate, check_share
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.masks import IGNORE_INDEX
from noisycorrect_seg.noise.base import Mask, MaskNoise, register
from noisycorrect_seg.noise.parts import Parts, fill_from_around, find_parts

Fill = Literal["behind", "background", "around"]


@register
@final
@dataclass(frozen=True)
class DroppedPart(MaskNoise):
    """Parts are left out. Spelled `drop:0.1`, `drop:0.2:fill=around`.

    Parameters
    ----------
    rate : float
        Probability for each part, in [0, 1].
    fill : {"behind", "background", "around"}
        What a dropped part becomes. "behind" is what annotators leave: background, as nobody drew there, but a part
        that lies within another, as glasses in a face, goes to that one. "background" leaves background always,
        "around" the class of the nearest pixel that is not dropped.
    at_most : float
        Parts above this share of the mask's foreground stay, in [0, 1]: what people overlook is small.

    Raises
    ------
    InvalidInputError
        If the rate or `at_most` is not in [0, 1], or `fill` is unknown.

    Examples
    --------
    >>> glasses = np.array([[0, 13, 13, 13], [14, 13, 4, 13], [0, 13, 13, 13]], np.uint8)
    >>> DroppedPart(1.0, at_most=0.2).apply_one(glasses, classes="lip", seed=0).tolist()
    [[0, 13, 13, 13], [0, 13, 13, 13], [0, 13, 13, 13]]
    """

    rate: float
    fill: Fill = "behind"
    at_most: float = 1.0

    name: ClassVar[str] = "drop"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        object.__setattr__(self, "at_most", check_share(self.at_most, "at_most"))
        check_choice(self.fill, Fill, "fill of dropped parts")

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        parts = find_parts(mask)
        dropped = rng.random(len(parts) + 1) < self.rate
        dropped[0] = False
        dropped &= parts.areas <= self.at_most * parts.areas[1:].sum()
        return without(mask, parts, dropped, self.fill)


@register
@final
@dataclass(frozen=True)
class OmittedClass(MaskNoise):
    """Whole classes are left out of a mask. Spelled `omit:0.4`, `omit:0.4:only=3,18,19`.

    The systematic form of `DroppedPart`: all parts of a class are left out together, and always of the same few
    classes, as where a guideline is read in two ways. A network learns such gaps as it learns labels: in noise of this
    kind there is something to win (arXiv:2406.10891).

    Parameters
    ----------
    rate : float
        Probability for each class of a mask, in [0, 1].
    only : tuple of int, optional
        The classes that are left out at all; background cannot be. Default: every other class.
    fill : {"behind", "background", "around"}
        As in `DroppedPart`.

    Raises
    ------
    InvalidInputError
        If the rate is not in [0, 1], `fill` is unknown, or `only` names no class, background, or (on `apply`) one that
        does not exist.

    Examples
    --------
    >>> OmittedClass(1.0, only=(18, 19)).apply_one(np.array([[9, 18, 9, 19]]), classes="lip", seed=0).tolist()
    [[9, 0, 9, 0]]
    """

    rate: float
    only: tuple[int, ...] | None = None
    fill: Fill = "behind"

    name: ClassVar[str] = "omit"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        check_choice(self.fill, Fill, "fill of omitted classes")
        if self.only is not None:
            object.__setattr__(self, "only", checked_classes(self.only))

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        named = list(range(1, len(classes)) if self.only is None else self.only)
        if max(named) >= len(classes):
            raise InvalidInputError(
                f"classes in 1..{len(classes) - 1}", got=f"class {max(named)}", fix="name classes of these masks"
            )
        parts = find_parts(mask)
        omitted = np.zeros(256, bool)
        omitted[named] = rng.random(len(named)) < self.rate
        return without(mask, parts, omitted[parts.classes], self.fill)


def without(mask: Mask, parts: Parts, dropped: NDArray[np.bool_], fill: Fill) -> Mask:
    """Return a mask without some of its parts, (P + 1,) of them; entry 0, what is no part, is not looked at.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        Classes.
    parts : Parts
        Its parts.
    dropped : ndarray of bool, shape (P + 1,)
        Which of them go.
    fill : {"behind", "background", "around"}
        As in `DroppedPart`.

    Examples
    --------
    >>> mask = np.array([[0, 3, 5, 5, 5], [0, 5, 5, 4, 5], [0, 5, 5, 5, 5]], np.uint8)
    >>> without(mask, find_parts(mask), np.array([False, True, True, False]), "behind").tolist()
    [[0, 0, 5, 5, 5], [0, 5, 5, 5, 5], [0, 5, 5, 5, 5]]
    """
    dropped = dropped.copy()
    dropped[0] = False
    hole = dropped[parts.numbers]
    if fill == "around":
        return fill_from_around(mask, hole)
    noisy = np.where(hole, np.uint8(0), mask)
    if fill == "background":
        return noisy
    pieces, _ = ndimage.label(hole, structure=np.ones((3, 3), np.int8))
    for piece, box in enumerate(ndimage.find_objects(pieces), start=1):
        neighbour = _encloses(mask, pieces, piece, box)
        if neighbour:
            noisy[box][pieces[box] == piece] = neighbour
    return noisy


def _encloses(mask: Mask, pieces: NDArray[np.int32], piece: int, box: tuple[slice, slice]) -> int:
    """Return the only class around a piece, or 0 if background or several are, or the piece is cut at the border."""
    top, low, left, right = box[0].start, box[0].stop, box[1].start, box[1].stop
    if top == 0 or left == 0 or low == mask.shape[0] or right == mask.shape[1]:
        return 0
    window = slice(top - 1, low + 1), slice(left - 1, right + 1)
    inside = pieces[window] == piece
    ring = ndimage.binary_dilation(inside, structure=np.ones((3, 3), bool)) & ~inside
    around = np.unique(mask[window][ring])
    around = around[around != IGNORE_INDEX]
    return int(around[0]) if len(around) == 1 else 0


def checked_classes(only: Sequence[int]) -> tuple[int, ...]:
    """Return class numbers of foreground, each once, in order."""
    try:
        numbers = tuple(sorted({int(number) for number in only}))
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or numbers[0] < 1 or numbers[-1] >= IGNORE_INDEX:
        raise InvalidInputError("class numbers from 1 on", got=repr(only), fix="pass only=(3, 18)")
    return numbers
