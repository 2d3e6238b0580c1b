"""Right outlines with the wrong name: confused classes, and left and right exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.checks import check_flag, check_rate, check_transition
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.masks import IGNORE_INDEX
from noisycorrect_seg.noise.base import Mask, MaskNoise, register
from noisycorrect_seg.noise.parts import find_parts

CONFUSED: tuple[tuple[str, str], ...] = (
    ("Upper-clothes", "Coat"),
    ("Coat", "Upper-clothes"),
    ("Dress", "Skirt"),
    ("Dress", "Upper-clothes"),
    ("Skirt", "Dress"),
    ("Skirt", "Pants"),
    ("Pants", "Skirt"),
    ("Pants", "Jumpsuits"),
    ("Jumpsuits", "Dress"),
    ("Jumpsuits", "Pants"),
    ("Scarf", "Upper-clothes"),
    ("Hat", "Hair"),
    ("Sunglasses", "Face"),
    ("Socks", "Pants"),
    ("upper_clothes", "outerwear"),
    ("outerwear", "upper_clothes"),
    ("dress", "skirt"),
    ("dress", "upper_clothes"),
    ("skirt", "dress"),
    ("pants", "legwear"),
    ("legwear", "pants"),
    ("shorts", "skirt"),
    ("scarf", "upper_clothes"),
    ("headwear", "hair"),
    ("coat", "top"),
    ("top", "coat"),
    ("hat", "hair"),
    ("dress", "trousers"),
    ("trousers", "dress"),
)
"""Which classes are mistaken for which, by LIP's, ATR's, CCP's and `SyntheticPeople`'s names;
from the first to the second."""

ONE_WAY: tuple[tuple[str, str], ...] = (
    ("Coat", "Upper-clothes"),
    ("Jumpsuits", "Pants"),
    ("Dress", "Skirt"),
    ("Scarf", "Upper-clothes"),
    ("Hat", "Hair"),
    ("Sunglasses", "Face"),
    ("Socks", "Pants"),
    ("outerwear", "upper_clothes"),
    ("dress", "skirt"),
    ("shorts", "pants"),
    ("scarf", "upper_clothes"),
    ("headwear", "hair"),
    ("legwear", "pants"),
    ("coat", "top"),
    ("hat", "hair"),
)
"""The names that annotators fall back on, by LIP's, ATR's, CCP's and `SyntheticPeople`'s names: never the other way."""


@door(own=True)
def confused_pairs(classes: Classes, *, one_way: bool = False) -> tuple[tuple[int, int], ...]:
    """Return the pairs of `CONFUSED`, or of `ONE_WAY`, that a class list has, as class indices.

    Examples
    --------
    >>> from noisycorrect_seg.classes import LIP
    >>> confused_pairs(LIP)[:3]
    ((5, 7), (7, 5), (6, 12))
    >>> confused_pairs(LIP, one_way=True)[:2]
    ((7, 5), (10, 9))
    """
    index = {name: number for number, name in enumerate(classes.names)}
    known = ONE_WAY if one_way else CONFUSED
    return tuple((index[a], index[b]) for a, b in known if a in index and b in index)


@register
@final
@dataclass(frozen=True)
class Confusion(MaskNoise):
    """Parts are given the name of a class they are mistaken for. Spelled `confusion:0.2`, `confusion:0.4:one_way`.

    Mistakes that go both ways blur two classes; those that go one way only make one of them fade, from labels and
    predictions alike, so that they do more harm (arXiv:2406.10891).

    Parameters
    ----------
    rate : float
        Probability that a part of a class with a partner changes, in [0, 1].
    pairs : tuple of (int, int), optional
        From class, to class; a class with several partners takes one of them, all equally likely. Background is no
        part, and gets no other name. Default: `CONFUSED`, or `ONE_WAY`.
    whole : bool
        Whether all parts of a class in a mask change together, as when an annotator mistakes the garment.
    one_way : bool
        Whether the default pairs are those of `ONE_WAY`; without meaning, and refused, where pairs are named.

    Raises
    ------
    InvalidInputError
        If the rate is not in [0, 1], a pair is not of two different classes or begins with background, pairs are named
        beside `one_way`, or (on `apply`) a pair names a class that does not exist, or the classes have none of the
        default's names.

    Examples
    --------
    >>> Confusion(1.0, pairs=((5, 7),)).apply_one(np.array([[5, 0, 7]]), classes="lip", seed=0).tolist()
    [[7, 0, 7]]
    """

    rate: float
    pairs: tuple[tuple[int, int], ...] | None = None
    whole: bool = False
    one_way: bool = False

    name: ClassVar[str] = "confusion"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        for flag in ("whole", "one_way"):
            object.__setattr__(self, flag, check_flag(getattr(self, flag), flag))
        if self.pairs is not None and self.one_way:
            raise InvalidInputError("pairs or one_way", got="both", fix="name the pairs of one direction alone")
        if self.pairs is not None:
            object.__setattr__(self, "pairs", _checked_pairs(self.pairs))

    def transition(self, classes: Classes) -> NDArray[np.float64]:
        """Return the probability that a part of a class (row) gets each name (column), float64 (K, K)."""
        pairs = confused_pairs(classes, one_way=self.one_way) if self.pairs is None else self.pairs
        if not pairs:
            raise InvalidInputError(
                "pairs of classes that are confused",
                got=f"none known for {classes.name!r}",
                fix="pass pairs=((1, 2),)",
            )
        top = max(max(pair) for pair in pairs)
        if top >= len(classes):
            raise InvalidInputError(
                f"pairs of classes in 0..{len(classes) - 1}", got=f"class {top}", fix="pass pairs of these classes"
            )
        matrix = np.zeros((len(classes), len(classes)))
        source, target = np.array(pairs).T
        matrix[source, target] = 1.0
        matrix *= self.rate / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        np.fill_diagonal(matrix, 1 - matrix.sum(axis=1))
        return matrix

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        return rename(mask, self.transition(classes), rng, whole=self.whole)


@register
@final
@dataclass(frozen=True)
class MatrixConfusion(MaskNoise):
    """Parts are named by a row-stochastic matrix. Spelled `matrix:0.9,0.1/0.2,0.8`.

    Parameters
    ----------
    transition : sequence of sequence of float, shape (K, K)
        Row = right class, column = name that a part gets; rows sum to 1. Background is no part: its row is not used.
    whole : bool
        As in `Confusion`.

    Raises
    ------
    InvalidInputError
        If the matrix is not so, or (on `apply`) is of another number of classes.

    Examples
    --------
    >>> swap = ((1, 0, 0), (0, 0, 1), (0, 1, 0))
    >>> MatrixConfusion(swap).apply_one(np.array([[0, 1, 2]]), classes=["none", "a", "b"], seed=0).tolist()
    [[0, 2, 1]]
    """

    transition: tuple[tuple[float, ...], ...]
    whole: bool = False

    name: ClassVar[str] = "matrix"

    def __post_init__(self) -> None:
        rows = check_transition(self.transition).tolist()
        object.__setattr__(self, "transition", tuple(tuple(row) for row in rows))
        object.__setattr__(self, "whole", check_flag(self.whole, "whole"))

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        if len(self.transition) != len(classes):
            raise InvalidInputError(
                f"a matrix of {len(classes)} classes", got=f"{len(self.transition)} rows", fix="pass one row a class"
            )
        return rename(mask, np.array(self.transition), rng, whole=self.whole)


def rename(mask: Mask, transition: NDArray[np.float64], rng: np.random.Generator, *, whole: bool = False) -> Mask:
    """Return a mask whose parts have names drawn from the rows of a matrix.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        Classes.
    transition : ndarray of float64, shape (K, K)
        Row-stochastic.
    rng : numpy.random.Generator
        Draws one number a part, or a class.
    whole : bool
        Whether all parts of a class get one name.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        A copy.
    """
    bounds = transition.cumsum(axis=1)
    bounds /= bounds[:, -1:]
    last = len(transition) - 1
    if whole:
        drawn = (rng.random(len(transition))[:, None] >= bounds).sum(axis=1).clip(max=last)
        table = np.arange(256, dtype=np.uint8)
        table[1 : len(transition)] = drawn[1:]
        return table[mask]
    parts = find_parts(mask)
    names = (rng.random(len(parts) + 1)[:, None] >= bounds[parts.classes]).sum(axis=1).clip(max=last)
    return np.where(parts.numbers > 0, names[parts.numbers], mask).astype(np.uint8)


@register
@final
@dataclass(frozen=True)
class LeftRightSwap(MaskNoise):
    """Left and right change places, as on people seen from behind. Spelled `swap:0.1`.

    Parameters
    ----------
    rate : float
        Probability for each flip pair of a mask, in [0, 1].
    together : bool
        Whether one draw decides for all pairs of a mask.

    Raises
    ------
    InvalidInputError
        If the rate is not in [0, 1], or (on `apply`) the classes have no flip pairs.

    Examples
    --------
    >>> legs = np.array([[16, 17, 5]], np.uint8)
    >>> LeftRightSwap(1.0).apply_one(legs, classes="lip", seed=0).tolist()
    [[17, 16, 5]]
    """

    rate: float
    together: bool = False

    name: ClassVar[str] = "swap"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        object.__setattr__(self, "together", check_flag(self.together, "together"))

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        if not classes.flip_pairs:
            raise InvalidInputError(
                "classes with left and right, which can be exchanged",
                got=f"no flip pairs in {classes.name!r}",
                fix="leave 'swap' out; realistic(classes=) does so by itself",
            )
        pairs = np.array(classes.flip_pairs, np.int64)
        swapped = rng.random(1 if self.together else len(pairs)) < self.rate
        pairs = pairs[np.broadcast_to(swapped, len(pairs))]
        table = np.arange(256, dtype=np.uint8)
        table[pairs] = pairs[:, ::-1]
        return table[mask]


def _checked_pairs(pairs: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    try:
        checked = tuple((int(source), int(target)) for source, target in pairs)
    except (TypeError, ValueError):
        checked = ()
    if not checked or any(a == b or not (0 < a < IGNORE_INDEX and 0 <= b < IGNORE_INDEX) for a, b in checked):
        raise InvalidInputError(
            "pairs (from class, to class) of two different classes, the first no background",
            got=repr(pairs),
            fix="pass pairs=((5, 7), (7, 5))",
        )
    return checked
