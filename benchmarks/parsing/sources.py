"""Sources for studies on few cores: images made smaller, classes put together, and noise put on masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets import ParsingSource, SourceView
from noisycorrect_seg.datasets.ccp import group_table
from noisycorrect_seg.datasets.synthetic import GROUPS as PEOPLE_GROUPS
from noisycorrect_seg.noise import MaskNoise

# From a few hundred images a small network learns no scarf and no left shoe: with all classes the mean IoU would be
# that of six classes and of fourteen zeros.
GROUPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "people": PEOPLE_GROUPS,
    "ccp": {
        "background": ("background",),
        "head": ("hair", "headwear", "eyewear"),
        "upper body": ("upper_clothes", "outerwear", "dress", "scarf", "belt"),
        "lower body": ("skirt", "pants", "shorts", "legwear"),
        "skin": ("skin",),
        "shoes": ("shoes",),
        "bag": ("bag", "accessories"),
    },
}


class Shrunk(SourceView):
    """A source whose images are made smaller when they are read: averaged images, masks by nearest pixel.

    Parameters
    ----------
    source : ParsingSource
        Kept as ``.source``.
    size : (int, int)
        Height and width of a network's input.
    factor : float
        An image becomes at most so many times larger than it is in that input; no image grows.
    """

    def __init__(self, source: ParsingSource, size: tuple[int, int], factor: float) -> None:
        super().__init__(source)
        self.size = size
        self.factor = factor

    def image(self, index: int) -> np.ndarray:
        """Return an image, RGB uint8 (H, W, 3)."""
        return self._resized(self.source.image(index), Image.Resampling.BOX)

    def mask(self, index: int) -> np.ndarray | None:
        """Return its given mask, uint8 (H, W), or None."""
        mask = self.source.mask(index)
        return None if mask is None else self._resized(mask, Image.Resampling.NEAREST)

    def instances(self, index: int) -> np.ndarray:
        """Return whose each pixel is, int32 (H, W), if the source knows."""
        return self._resized(super().instances(index), Image.Resampling.NEAREST)

    def _resized(self, array: np.ndarray, how: Image.Resampling) -> np.ndarray:
        height, width = array.shape[:2]
        scale = min(1.0, self.factor * min(self.size[0] / height, self.size[1] / width))
        size = max(2, round(width * scale)), max(2, round(height * scale))
        return np.array(Image.fromarray(array).resize(size, how))


class Grouped(SourceView):
    """A source whose classes are put together; groups have no left and right.

    Parameters
    ----------
    source : ParsingSource
        Kept as ``.source``.
    groups : mapping of str to sequence of str
        Names of the classes of each group, background first.
    """

    def __init__(self, source: ParsingSource, groups: Mapping[str, Sequence[str]]) -> None:
        super().__init__(source)
        self.classes = Classes("grouped", tuple(groups), ())
        self._table = group_table(source.classes.names, groups)

    def mask(self, index: int) -> np.ndarray | None:
        """Return its mask of groups, uint8 (H, W), or None."""
        mask = self.source.mask(index)
        return None if mask is None else self._table[mask]


class Injected(SourceView):
    """A source with noise on its masks, drawn once; images are kept in memory, too.

    Parameters
    ----------
    source : ParsingSource
        With a right mask for each image.
    noise : MaskNoise
        What is done to the masks.
    seed : int
        Draws the noise.

    Attributes
    ----------
    clean, given : list of ndarray of uint8, each of shape (H, W)
        The right masks and the noisy ones.
    """

    def __init__(self, source: ParsingSource, noise: MaskNoise, seed: int) -> None:
        super().__init__(source)
        self.images = [source.image(index) for index in range(len(source))]
        self.clean: list[np.ndarray] = []
        for index in range(len(source)):
            mask = source.mask(index)
            if mask is None:
                raise InvalidInputError("a mask for each image", got=f"none for {source.name(index)}")
            self.clean.append(mask)
        self.given = noise.apply(self.clean, classes=source.classes, seed=seed, images=self.images).masks

    def image(self, index: int) -> np.ndarray:
        """Return an image, RGB uint8 (H, W, 3)."""
        return self.images[index]

    def mask(self, index: int) -> np.ndarray:
        """Return its noisy mask, uint8 (H, W)."""
        return self.given[index]
