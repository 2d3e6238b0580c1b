"""A U-Net as a backbone: for small pictures, and for training from scratch."""

from __future__ import annotations

import itertools
from typing import final

import torch
from torch import Tensor, nn

from noisycorrect_seg.ace2p.backbones import BACKBONES
from noisycorrect_seg.ace2p.layers import resize, scaled

PLANES = (256, 512, 1024, 1024)  # channels at strides 2, 4, 8 and 16
DETAIL = 128  # at stride 1


@final
class UNet(nn.Module):
    """A U-Net (Ronneberger et al., MICCAI 2015) whose first map has the images' own resolution.

    Four levels of two convolutions lead down, one convolution each leads up, where the map of the same resolution joins
    in. The last one, at stride 2, makes the four pixels of each place (sub-pixel convolution: Shi et al., CVPR 2016),
    and the image itself joins them. So borders are drawn to a pixel at little cost, and learnt in few steps, which
    backbones that are made for pretraining do not manage.

    Parameters
    ----------
    width : float
        Factor on every channel count; see :func:`~noisycorrect_seg.ace2p.layers.scaled`.

    Examples
    --------
    >>> backbone = UNet(width=0.0625)
    >>> backbone.channels
    (11, 32, 64, 64)
    >>> [tuple(maps.shape[2:]) for maps in backbone.eval()(torch.zeros(1, 3, 65, 49))]
    [(65, 49), (17, 13), (9, 7), (5, 4)]
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        planes, detail = [scaled(channels, width) for channels in PLANES], scaled(DETAIL, width)
        self.channels = (detail + 3, *planes[1:])
        self.stem = _conv_norm(3, planes[0], stride=2)
        self.down = nn.ModuleList(
            [
                _conv_norm(planes[0], planes[0]),
                *(nn.Sequential(_conv_norm(a, b, stride=2), _conv_norm(b, b)) for a, b in itertools.pairwise(planes)),
            ]
        )
        self.up = nn.ModuleList(_conv_norm(a + b, a) for a, b in itertools.pairwise(planes))
        self.detail = nn.Sequential(_conv_norm(planes[0], 4 * detail), nn.PixelShuffle(2))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return four maps (N, channels[i], h_i, w_i) of images (N, 3, H, W)."""
        maps, passed = self.stem(images), []
        for level in self.down:
            maps = level(maps)
            passed.append(maps)
        third = self._joined(2, passed[2], passed[3])
        second = self._joined(1, passed[1], third)
        finest = self.detail(self._joined(0, passed[0], second))[..., : images.shape[-2], : images.shape[-1]]
        return torch.cat([finest, images], dim=1), second, third, passed[3]

    def _joined(self, level: int, beside: Tensor, below: Tensor) -> Tensor:
        joined: Tensor = self.up[level](torch.cat([beside, resize(below, beside.shape[-2:])], dim=1))
        return joined


def _conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


BACKBONES.register("unet", UNet)
