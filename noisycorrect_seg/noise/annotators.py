"""Several annotators, each with habits of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.checks import Seed, check_seed, check_share, child_seed
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.noise.base import ClassesLike, Mask, MaskNoise, register
from noisycorrect_seg.noise.boundary import Boundary, Side
from noisycorrect_seg.noise.compose import Compose, NoNoise
from noisycorrect_seg.noise.omission import OmittedClass
from noisycorrect_seg.noise.semantic import Confusion, confused_pairs
from noisycorrect_seg.noise.shapes import CoarsePolygon

_SIDES: tuple[Side, ...] = ("in", "out")
_KEPT = 0.9  # how often a habit is kept to
_REFERENCE = 64  # pixels of height for which radii are drawn; of others they grow with it


@register
@final
@dataclass(frozen=True)
class Annotators(MaskNoise):
    """Each mask is drawn by one of a few annotators, who have habits. Spelled `annotators:5`.

    An annotator always draws borders too far out or too far in, by up to three pixels at a height of 64; may draw
    coarse polygons; never names some classes, but falls back on another name (`ONE_WAY`); and never draws some. Who
    draws which mask is random, what they are like is not: it belongs to the model, whatever the seed. So errors are
    systematic within an annotator's masks, and differ between them, as where medical masks come from several hands
    (Zhang et al., NeurIPS 2020).

    Parameters
    ----------
    count : int
        Annotators, at least 1; all draw equally many masks in expectation.
    strength : float
        Share of the habits that a bad annotator has, in [0, 1]: the chance of each class to be left out is 0.2 of it,
        of each pair to be confused 0.6 of it; radii and polygons go with it, too. 0 is no noise.
    style : int
        Draws the habits, at least 0: another number, other people.

    Raises
    ------
    InvalidInputError
        If a parameter is out of its range.

    Examples
    --------
    >>> crowd = Annotators(3)
    >>> [crowd.annotator(seed=0, index=index) for index in range(6)]
    [2, 1, 1, 2, 0, 0]
    >>> str(crowd.habits(2, "people", height=64))
    'confusion:0.9:pairs=5-4:whole+polygon:12:jitter=0.15+boundary:1.092:side=out:together'
    """

    count: int = 5
    strength: float = 0.5
    style: int = 0

    name: ClassVar[str] = "annotators"

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", whole_number("count", self.count, least=1))
        object.__setattr__(self, "strength", check_share(self.strength, "a strength"))
        object.__setattr__(self, "style", whole_number("style", self.style, least=0))

    def habits(self, number: int, classes: ClassesLike, height: int) -> MaskNoise:
        """Return what an annotator does to masks of a height in pixels, as a noise model.

        Parameters
        ----------
        number : int
            Of the annotator, 0..count-1.
        classes : Classes, str or sequence of str
            The classes.
        height : int
            Of the masks, in pixels.

        Raises
        ------
        InvalidInputError
            If there is no such annotator or class list.
        """
        classes, number = classes_named(classes), whole_number("number", number, least=0)
        if number >= self.count:
            raise InvalidInputError(f"an annotator in 0..{self.count - 1}", got=str(number), fix="count them from 0")
        rng = np.random.default_rng((self.style, number))
        pixel = height / _REFERENCE * self.strength
        models: list[MaskNoise] = []
        pairs = confused_pairs(classes, one_way=True)
        draws = rng.random(len(pairs))
        fallen = tuple(pair for pair, draw in zip(pairs, draws, strict=True) if draw < self.strength * 0.6)
        if fallen:
            models.append(Confusion(_KEPT, pairs=fallen, whole=True))
        left_out = 1 + np.flatnonzero(rng.random(len(classes) - 1) < self.strength * 0.2)
        if len(left_out):
            models.append(OmittedClass(_KEPT, only=tuple(left_out.tolist())))
        side, radius = _SIDES[int(rng.integers(2))], rng.uniform(0.5, 3)
        coarse, vertices = rng.random(), rng.integers(7, 15)
        if coarse < self.strength:
            models.append(CoarsePolygon(int(vertices), jitter=round(0.3 * pixel, 3)))
        if pixel:
            models.append(Boundary(round(float(radius) * pixel, 3), side=side, together=True))
        return Compose(models) if models else NoNoise()

    def annotator(self, *, seed: Seed, index: int) -> int:
        """Return who draws the mask at an index, 0..count-1, where the model stands alone, with this seed.

        Raises
        ------
        InvalidInputError
            If the seed or the index is none.
        """
        index = whole_number("index", index, least=0)
        return self._who(np.random.default_rng(child_seed(check_seed(seed), index)))

    def _who(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.count))

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        return self.habits(self._who(rng), classes, mask.shape[0])._corrupt(mask, classes, rng, image)
