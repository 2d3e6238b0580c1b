"""Drawn people: pictures with exact masks, and noisy masks with the pixels that are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg.classes import LIP, PEOPLE
from noisycorrect_seg.datasets.ccp import group_table
from noisycorrect_seg.geometry.maps import checked_size
from noisycorrect_seg.noise import MaskNoise, parse, realistic
from noisycorrect_seg.people.scene import render

Image = NDArray[np.uint8]
Mask = NDArray[np.uint8]

_NOISE = 1  # a stream of its own: noise moves no picture
GROUPS: Mapping[str, tuple[str, ...]] = {
    "background": ("Background",),
    "hat": ("Hat",),
    "hair": ("Hair",),
    "face": ("Face", "Sunglasses"),
    "top": ("Upper-clothes", "Scarf"),
    "coat": ("Coat",),
    "trousers": ("Pants", "Jumpsuits"),
    "dress": ("Dress", "Skirt"),
    "arms": ("Left-arm", "Right-arm", "Glove"),
    "legs": ("Left-leg", "Right-leg", "Socks"),
    "shoes": ("Left-shoe", "Right-shoe"),
}
"""LIP's classes, put together to eleven without left and right, which a small network learns from a few hundred."""

CLASS_LISTS = {"lip": LIP, "people": PEOPLE}


@final
class SyntheticPeople:
    """People drawn by a program, one a picture, with exact masks: a `ParsingSource`.

    A stand-in for LIP where there is none, made so that a small network learns it in a minute: people in bright clothes
    before pale rooms, from the front and from behind, some cut off at the border. Left and right are the person's own.
    What is rare in LIP (gloves, sunglasses, scarves, jumpsuits) is rare here.

    A sample depends on the seed, the split, its index and the size only, not on `count` or on the order of reading. At
    another size of the same aspect ratio the scene is the same.

    Parameters
    ----------
    count : int
        Number of samples, at least 1.
    seed : int
        At least 0; another seed is another set of people.
    size : tuple of int
        (height, width) in pixels, each at least 32.
    noise : MaskNoise, str or None
        What is done to the masks: a model, its spelling, or "realistic", which is made for the size; None for clean
        masks.
    split : str
        Name of the split; each has people of its own.
    classes : {"lip", "people"}
        LIP's 20 classes, or the eleven of `GROUPS`, which have no left and right.
    cache : bool
        Whether samples are kept once they are drawn: about 5 bytes a pixel. A pickled set leaves them behind.

    Attributes
    ----------
    classes : Classes
        The classes.
    noise : MaskNoise or None
        The noise model.

    Raises
    ------
    InvalidInputError
        If an argument is not as above.

    Examples
    --------
    >>> people = SyntheticPeople(2, size=(64, 48), noise="boundary:1")
    >>> people.image(0).shape, people.mask(0).shape, people.name(1)
    ((64, 48, 3), (64, 48), 'train_000001')
    >>> bool((people.changed(0) == (people.mask(0) != people.clean_mask(0))).all())
    True
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        size: tuple[int, int] = (128, 96),
        noise: MaskNoise | str | None = None,
        split: str = "train",
        classes: str = "lip",
        cache: bool = True,
    ) -> None:
        self._count = whole_number("count", count, least=1)
        self.seed = whole_number("seed", seed, least=0)
        self.size = checked_size(size, least=32)
        if not isinstance(split, str):
            raise InvalidInputError("the name of a split", got=repr(split), fix="pass split='train'")
        self.split = split
        if classes not in CLASS_LISTS:
            raise unknown_name("class list of drawn people", classes, CLASS_LISTS)
        self.classes = CLASS_LISTS[classes]
        if isinstance(noise, str):
            noise = realistic(self.size[0]) if noise == "realistic" else parse(noise)
        if noise is not None and not isinstance(noise, MaskNoise):
            raise InvalidInputError("a mask noise model, its spelling or None", got=repr(noise), fix="see parse")
        self.noise = noise
        self.cache = bool(cache)
        self._drawn: dict[int, tuple[Image, Mask, Mask]] = {}

    def __len__(self) -> int:
        return self._count

    def image(self, index: int) -> Image:
        """Return a picture, uint8 RGB (H, W, 3); the caller's own copy."""
        return self._sample(index)[0].copy()

    def mask(self, index: int) -> Mask:
        """Return the given mask, uint8 (H, W): noisy if there is noise, else clean; the caller's own copy."""
        return self._sample(index)[2].copy()

    def clean_mask(self, index: int) -> Mask:
        """Return the right mask, uint8 (H, W); the caller's own copy."""
        return self._sample(index)[1].copy()

    def changed(self, index: int) -> NDArray[np.bool_]:
        """Return which pixels of the given mask are wrong, bool (H, W)."""
        _, clean, given = self._sample(index)
        return np.asarray(given != clean)

    def name(self, index: int) -> str:
        """Return the sample's name, as in "train_000001"."""
        return f"{self.split}_{self._position(index):06d}"

    def _position(self, index: int) -> int:
        if not -self._count <= index < self._count:
            raise IndexError(f"sample {index} of {self._count}")
        return int(index) % self._count

    def _sample(self, index: int) -> tuple[Image, Mask, Mask]:
        index = self._position(index)
        if index in self._drawn:
            return self._drawn[index]
        rng = np.random.default_rng(derived_seed(self.seed, self.split, index))
        image, clean = render(rng, *self.size)
        if self.classes != LIP:
            clean = group_table(LIP.names, GROUPS)[clean]
        given = clean
        if self.noise is not None:
            stream = derived_seed(self.seed, self.split, _NOISE, 0)
            given = self.noise.apply_one(clean, classes=self.classes, seed=stream, index=index, image=image)
        sample = (image, clean, given)
        if self.cache:
            self._drawn[index] = sample
        return sample

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_drawn": {}}
