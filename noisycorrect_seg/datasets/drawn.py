"""What all drawn data sets share: pictures by seed, split and position, noise on their masks, and a cache."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets.source import HasNoItems
from noisycorrect_seg.geometry.maps import checked_size
from noisycorrect_seg.noise import MaskNoise, parse, realistic

Image = NDArray[np.uint8]
Mask = NDArray[np.uint8]

_NOISE = 1  # a stream of its own: noise moves no picture


class Drawn(NamedTuple):
    """A sample: picture, right mask, given mask, and whose each pixel is, where several people are drawn."""

    image: Image
    clean: Mask
    given: Mask
    instances: NDArray[np.int32] | None = None


class DrawnSource(HasNoItems):
    """The base of the drawn sources: a `ParsingSource` that says how its samples are drawn in :meth:`_drawn_sample`.

    Parameters
    ----------
    count, seed, size, noise, split, cache
        See :class:`noisycorrect_seg.SyntheticPeople`.
    classes : Classes
        The classes of the masks.
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int,
        size: tuple[int, int],
        noise: MaskNoise | str | None,
        split: str,
        classes: Classes,
        cache: bool,
    ) -> None:
        self._count = whole_number("count", count, least=1)
        self.seed = whole_number("seed", seed, least=0)
        self.size = checked_size(size, least=32)
        if not isinstance(split, str):
            raise InvalidInputError("the name of a split", got=repr(split), fix="pass split='train'")
        self.split = split
        self.classes = classes
        if isinstance(noise, str):
            noise = realistic(self.size[0], classes) if noise == "realistic" else parse(noise)
        if noise is not None and not isinstance(noise, MaskNoise):
            raise InvalidInputError("a mask noise model, its spelling or None", got=repr(noise), fix="see parse")
        self.noise = noise
        self.cache = bool(cache)
        self._drawn: dict[int, Drawn] = {}

    def __len__(self) -> int:
        return self._count

    def image(self, index: int) -> Image:
        """Return a picture, uint8 RGB (H, W, 3); the caller's own copy."""
        return self._sample(index).image.copy()

    def mask(self, index: int) -> Mask:
        """Return the given mask, uint8 (H, W): noisy if there is noise, else clean; the caller's own copy."""
        return self._sample(index).given.copy()

    def clean_mask(self, index: int) -> Mask:
        """Return the right mask, uint8 (H, W); the caller's own copy."""
        return self._sample(index).clean.copy()

    def changed(self, index: int) -> NDArray[np.bool_]:
        """Return which pixels of the given mask are wrong, bool (H, W)."""
        sample = self._sample(index)
        return np.asarray(sample.given != sample.clean)

    def name(self, index: int) -> str:
        """Return the sample's name, as in "train_000001"."""
        return f"{self.split}_{self._position(index):06d}"

    def _position(self, index: int) -> int:
        if not -self._count <= index < self._count:
            raise IndexError(f"sample {index} of {self._count}")
        return int(index) % self._count

    def _sample(self, index: int) -> Drawn:
        index = self._position(index)
        if index in self._drawn:
            return self._drawn[index]
        sample = self._drawn_sample(np.random.default_rng(derived_seed(self.seed, self.split, index)), index)
        if self.cache:
            self._drawn[index] = sample
        return sample

    def _drawn_sample(self, rng: np.random.Generator, index: int) -> Drawn:
        raise NotImplementedError

    def _noisy(self, image: Image, mask: Mask, index: int, *where: int) -> Mask:
        """Return the noise model's version of a mask; `where` tells apart the masks of one picture."""
        if self.noise is None:
            return mask
        stream = derived_seed(self.seed, self.split, _NOISE, *(where or (0,)))
        return self.noise.apply_one(mask, classes=self.classes, seed=stream, index=index, image=image)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_drawn": {}}
