"""Drawn people who move: frames with exact masks, people and motion."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg.datasets.synthetic import drawn_classes, regrouped
from noisycorrect_seg.geometry.maps import checked_size
from noisycorrect_seg.people.film import Film, Frame

MOST_PEOPLE = 6


@final
class MovingPeople:
    """A film of people drawn by a program, with exact masks: a `ParsingSource`, a frame a sample.

    The people are those of :class:`SyntheticPeople`; they swing arms and legs, walk about, and cross where they are
    several, while the camera moves a little. Everything is smooth in time but the camera's grain. A frame depends on
    the arguments and its index only.

    Parameters
    ----------
    frames : int
        How many, at least 1.
    seed : int
        At least 0; another seed is another film.
    size : tuple of int
        (height, width) in pixels, each at least 32.
    people : int
        1 to 6. One stays about the middle; several walk through the picture, every other one to the other side.
    classes : {"lip", "people"}
        As for `SyntheticPeople`.
    split : str
        Name of the split; each has films of its own.
    cache : bool
        Whether frames are kept once they are drawn: about 8 bytes a pixel. A pickled film leaves them behind.

    Attributes
    ----------
    classes : Classes
        The classes.

    Raises
    ------
    InvalidInputError
        If an argument is not as above.

    Examples
    --------
    >>> film = MovingPeople(3, size=(64, 48))
    >>> film.image(0).shape, film.mask(0).shape, film.name(2), np.unique(film.people(2)).tolist()
    ((64, 48, 3), (64, 48), 'train_000002', [0, 1])
    >>> film.flow(0, 1).shape
    (64, 48, 2)
    """

    def __init__(
        self,
        frames: int,
        *,
        seed: int = 0,
        size: tuple[int, int] = (128, 96),
        people: int = 1,
        classes: str = "lip",
        split: str = "train",
        cache: bool = True,
    ) -> None:
        self.frames = whole_number("frames", frames, least=1)
        self.seed = whole_number("seed", seed, least=0)
        self.size = checked_size(size, least=32)
        if whole_number("people", people, least=1) > MOST_PEOPLE:
            raise InvalidInputError(f"1..{MOST_PEOPLE} people", got=repr(people), fix="draw fewer")
        if not isinstance(split, str):
            raise InvalidInputError("the name of a split", got=repr(split), fix="pass split='train'")
        self.split, self.classes = split, drawn_classes(classes)
        self._film = Film(derived_seed(self.seed, f"film of {split}"), self.frames, *self.size, people)
        self.cache = bool(cache)
        self._drawn: dict[int, Frame] = {}

    def __len__(self) -> int:
        return self.frames

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return a frame, uint8 RGB (H, W, 3); the caller's own copy."""
        return self._frame(index).image.copy()

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Return its right mask, uint8 (H, W); the caller's own copy."""
        return regrouped(self._frame(index).labels.copy(), self.classes)

    def people(self, index: int) -> NDArray[np.uint8]:
        """Return who is where, uint8 (H, W): 1 is the hindmost person, 0 nobody; the caller's own copy."""
        return self._frame(index).people.copy()

    def flow(self, index: int, other: int) -> NDArray[np.float32]:
        """Return where each pixel's matter is in another frame, as displacements, float32 (H, W, 2), x first."""
        here = self._frame(index)
        return here.flow_to(self._frame(other))

    def name(self, index: int) -> str:
        """Return the frame's name, as in "train_000001"."""
        return f"{self.split}_{self._position(index):06d}"

    def _position(self, index: int) -> int:
        if not -self.frames <= index < self.frames:
            raise IndexError(f"frame {index} of {self.frames}")
        return int(index) % self.frames

    def _frame(self, index: int) -> Frame:
        index = self._position(index)
        if index not in self._drawn:
            if not self.cache:
                self._drawn.clear()  # but the last, whose image, mask and people are asked for in turn
            self._drawn[index] = self._film.frame(index)
        return self._drawn[index]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_drawn": {}}
