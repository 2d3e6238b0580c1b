"""A small U-Net (Ronneberger et al. 2015) for studies on a few cores: it learns from scratch where A-CE2P cannot."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from noisycorrect.support.checks import whole_number
from noisycorrect_seg.geometry.maps import resized

LEVELS = (1, 2, 4, 4)  # width of each level, in those of the first; each has half the resolution of the one before


class UNet(nn.Module):
    """Logits at half the input's resolution, from four levels of two convolutions each, with BatchNorm.

    Parameters
    ----------
    num_classes : int
        K, at least 2.
    width : int
        Channels of the first level.

    Examples
    --------
    >>> UNet(7, width=4)(torch.zeros(2, 3, 64, 48)).shape
    torch.Size([2, 7, 32, 24])
    """

    def __init__(self, num_classes: int, width: int = 16) -> None:
        super().__init__()
        whole_number("num_classes", num_classes, least=2)
        widths = [whole_number("width", width, least=1) * level for level in LEVELS]
        self.stem = _convolution(3, widths[0], stride=2)
        self.down = nn.ModuleList(
            [_level(widths[0], widths[0]), *(_level(a, b, 2) for a, b in itertools.pairwise(widths))]
        )
        self.up = nn.ModuleList(_level(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (N, K, H/2, W/2), of images (N, 3, H, W)."""
        maps = self.stem(images)
        passed = []
        for level in self.down:
            maps = level(maps)
            passed.append(maps)
        for level, beside in zip(self.up, passed[-2::-1], strict=True):
            maps = level(torch.cat([resized(maps, (beside.shape[2], beside.shape[3])), beside], dim=1))
        logits: Tensor = self.head(maps)
        return logits


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _level(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_convolution(inputs, outputs, stride), _convolution(outputs, outputs))
