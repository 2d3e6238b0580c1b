"""A source of six drawn images of three classes: `from squares import SHAPES, Squares`."""

import numpy as np

from noisycorrect_seg.classes import Classes

SHAPES = Classes("shapes", ("background", "left", "right"), ((1, 2),))
SIZE = (16, 12)


class Squares:
    """Two squares of other colours on black."""

    classes = SHAPES

    def __len__(self):
        return 6

    def mask(self, index):
        mask = np.zeros(SIZE, np.uint8)
        mask[3 : 9 + index % 3, 1:5] = 2
        mask[3 : 9 + index % 3, 7:11] = 1
        return mask

    def image(self, index):
        mask = self.mask(index)
        return np.stack([40 + 200 * (mask == 1), 40 + 200 * (mask == 2), 20 * mask], axis=2).astype(np.uint8)

    def name(self, index):
        return f"squares-{index}"
