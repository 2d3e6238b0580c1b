"""A network that reads classes off colours, for tests of inference: `from colour_coding import ...`."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from noisycorrect_seg.classes import Classes
from noisycorrect_seg.inputs import MEAN_BGR, STD_BGR
from noisycorrect_seg.outputs import ParsingOutput

# Corners of the colour cube: a mixture that is more than half one of them is nearest to it.
COLOURS = np.array([[(k >> bit & 1) * 255 for bit in (2, 1, 0)] for k in range(8)], np.uint8)  # RGB
EIGHT = Classes("eight", tuple("abcdefgh"))


def coloured(mask):
    """Return a mask of classes 0..7 as an RGB image."""
    return COLOURS[mask]


def random_mask(shape, seed=0, classes=8):
    return np.random.default_rng(seed).integers(classes, size=shape).astype(np.uint8)


class ReadsColours(nn.Module):
    """Logits: minus the squared distance to each class's colour, at the input's resolution over a stride."""

    def __init__(self, classes=8, output=True, stride=1):
        super().__init__()
        self.register_buffer("colours", torch.from_numpy(COLOURS[:classes]).float() / 255)
        self.output, self.stride = output, stride
        self.seen = []

    def forward(self, crops):
        self.seen.append(tuple(crops.shape))
        std, mean = (torch.tensor(values)[:, None, None] for values in (STD_BGR, MEAN_BGR))
        rgb = (crops * std + mean).flip(1)[:, :, :: self.stride, :: self.stride]
        logits = -(rgb[:, None] - self.colours[None, :, :, None, None]).square().sum(2)
        return ParsingOutput(torch.zeros_like(logits), logits) if self.output else logits
