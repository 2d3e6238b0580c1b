"""Drawn people: pictures with exact masks, and noisy masks with the pixels that are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from noisycorrect.support.errors import unknown_name
from noisycorrect_seg.classes import LIP, PEOPLE, Classes
from noisycorrect_seg.datasets.ccp import group_table
from noisycorrect_seg.datasets.drawn import Drawn, DrawnSource, Mask
from noisycorrect_seg.noise import MaskNoise
from noisycorrect_seg.people.scene import render

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

_LISTS = {"lip": LIP, "people": PEOPLE}


@final
class SyntheticPeople(DrawnSource):
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
        super().__init__(
            count, seed=seed, size=size, noise=noise, split=split, classes=drawn_classes(classes), cache=cache
        )

    def _drawn_sample(self, rng: np.random.Generator, index: int) -> Drawn:
        image, clean = render(rng, *self.size)
        clean = regrouped(clean, self.classes)
        return Drawn(image, clean, self._noisy(image, clean, index))


def drawn_classes(name: str) -> Classes:
    """Return the class list of that name, ``"lip"`` or ``"people"``, in which people can be drawn."""
    if name not in _LISTS:
        raise unknown_name("class list of drawn people", name, _LISTS)
    return _LISTS[name]


def regrouped(mask: Mask, classes: Classes) -> Mask:
    """Return a drawn mask, which is in LIP's classes, in a list of :func:`drawn_classes`."""
    return mask if classes == LIP else group_table(LIP.names, GROUPS)[mask]
