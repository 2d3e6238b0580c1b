"""Drawn scenes of several people, with exact masks of classes and of people."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.datasets.drawn import Drawn, DrawnSource, Mask
from noisycorrect_seg.datasets.synthetic import drawn_classes, regrouped
from noisycorrect_seg.instances.boxes import boxes_of
from noisycorrect_seg.noise import MaskNoise
from noisycorrect_seg.people.group import render_group

MOST_PEOPLE = 50


@final
class SyntheticScenes(DrawnSource):
    """Scenes of several people who cover each other, drawn by a program: an `InstanceSource`.

    What :class:`SyntheticPeople` is to LIP, this is to CIHP and MHP: every pixel has its class, and the person whose
    it is. The nearest stand lowest and are the largest; neighbours stand 0.15 to 0.4 body heights apart, closer where
    the picture has no room for them. A sample depends on the seed, the split, its index, the size and the number of
    people only.

    Parameters
    ----------
    count : int
        Number of scenes, at least 1.
    people : tuple of int
        (fewest, most) people in a scene, all numbers equally likely, 1 to 50.
    seed, size, noise, split, classes, cache
        As for :class:`SyntheticPeople`. Noise is put on each person's own mask, as if each had been annotated alone:
        what it adds or moves stays within that person's visible pixels and the background around them. Whose a pixel
        is stays right.

    Raises
    ------
    InvalidInputError
        If an argument is not as above.

    Examples
    --------
    >>> scenes = SyntheticScenes(2, people=(3, 3), size=(64, 96))
    >>> np.unique(scenes.instances(0)).tolist(), scenes.boxes(0).shape
    ([0, 1, 2, 3], (3, 4))
    >>> bool(((scenes.instances(0) > 0) == (scenes.mask(0) > 0)).all())
    True
    """

    def __init__(
        self,
        count: int,
        *,
        people: tuple[int, int] = (1, 6),
        seed: int = 0,
        size: tuple[int, int] = (128, 192),
        noise: MaskNoise | str | None = None,
        split: str = "train",
        classes: str = "lip",
        cache: bool = True,
    ) -> None:
        super().__init__(
            count, seed=seed, size=size, noise=noise, split=split, classes=drawn_classes(classes), cache=cache
        )
        self.people = _checked_people(people)

    def instances(self, index: int) -> NDArray[np.int32]:
        """Return whose each pixel is, int32 (H, W): 0 nobody's, 1 the farthest person; the caller's own copy."""
        found = self._sample(index).instances
        assert found is not None
        return found.copy()

    def boxes(self, index: int) -> NDArray[np.float64]:
        """Return the box around each person's visible pixels, float64 (n, 4): left, top, right, bottom edge."""
        return boxes_of(self.instances(index))[1]

    def _drawn_sample(self, rng: np.random.Generator, index: int) -> Drawn:
        fewest, most = self.people
        scene = render_group(rng, *self.size, int(rng.integers(fewest, most + 1)))
        clean = regrouped(scene.labels, self.classes)
        given = clean
        if self.noise is not None:
            given = self._noisy_people(scene.picture, clean, scene.instances, index)
        return Drawn(scene.picture, clean, given, scene.instances)

    def _noisy_people(self, image: Mask, clean: Mask, instances: NDArray[np.int32], index: int) -> Mask:
        """Return a mask in which each person's own was made noisy alone, the nearest last: over the others'."""
        given = np.zeros_like(clean)
        for number in range(1, int(instances.max()) + 1):
            own = instances == number
            noisy = self._noisy(image, np.where(own, clean, np.uint8(0)), index, number)
            beside = own | (instances == 0)
            given[beside & (noisy > 0)] = noisy[beside & (noisy > 0)]
        return given


def _checked_people(people: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(people, (tuple, list)) or len(people) != 2:
        raise InvalidInputError("people=(fewest, most)", got=repr(people), fix="pass (1, 6), say")
    fewest, most = (
        whole_number(name, number, least=1) for name, number in zip(("fewest", "most"), people, strict=True)
    )
    if not fewest <= most <= MOST_PEOPLE:
        raise InvalidInputError(
            f"1 <= fewest <= most <= {MOST_PEOPLE} people", got=repr(people), fix="pass (1, 6), say"
        )
    return fewest, most
