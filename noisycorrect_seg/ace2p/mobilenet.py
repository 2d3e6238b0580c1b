"""MobileNetV2 with a stride of 16."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import final

from torch import Tensor, nn

from noisycorrect.features.depthwise import DepthwiseConv
from noisycorrect_seg.ace2p.backbones import BACKBONES
from noisycorrect_seg.ace2p.layers import scaled

# Table 2 of Sandler et al., CVPR 2018: expansion, channels, blocks, stride of the first block; its last stride is a
# dilation here. The 1280-channel layer behind it belongs to the classifier.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 1), (6, 320, 1, 1))
DILATED_FROM = 5
# The last block at strides 4, 8 and 16, and the last of all.
RETURNED = (3, 6, 13, 17)


def _conv_norm(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


def _depthwise_norm(channels: int, stride: int, dilation: int) -> nn.Sequential:
    conv = DepthwiseConv(channels, 3, stride=stride, dilation=dilation)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU6(inplace=True))


@final
class InvertedResidual(nn.Module):
    """Expand (1x1), filter each channel (3x3), project (1x1); added to the input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, dilation: int) -> None:
        super().__init__()
        self.added = stride == 1 and inputs == outputs
        hidden = inputs * expansion
        expand = [] if expansion == 1 else [_conv_norm(inputs, hidden, 1)]
        self.conv = nn.Sequential(
            *expand,
            _depthwise_norm(hidden, stride, dilation),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, outputs, h/stride, w/stride)."""
        residual: Tensor = self.conv(maps)
        return maps + residual if self.added else residual


def _blocks(inputs: int, width: float) -> Iterator[InvertedResidual]:
    for number, (expansion, channels, count, stride) in enumerate(STAGES):
        outputs = scaled(channels, width)
        for i in range(count):
            # The layer whose stride is gone sees what it saw; the layers behind it would see a map twice as dense.
            dilation = 2 if (number, i) > (DILATED_FROM, 0) else 1
            yield InvertedResidual(inputs, outputs, stride if i == 0 else 1, expansion, dilation)
            inputs = outputs


@final
class MobileNetV2(nn.Module):
    """MobileNetV2 (Sandler et al., CVPR 2018), dilated instead of strided at the end, without the classifier.

    Its names are torchvision's, whose weights it takes.

    Parameters
    ----------
    width : float
        Factor on every channel count; see :func:`~noisycorrect_seg.ace2p.layers.scaled`.

    Examples
    --------
    >>> import torch
    >>> backbone = MobileNetV2()
    >>> backbone.channels
    (24, 32, 96, 320)
    >>> [tuple(maps.shape[2:]) for maps in backbone.eval()(torch.zeros(1, 3, 65, 49))]
    [(17, 13), (9, 7), (5, 4), (5, 4)]
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        first = scaled(32, width)
        self.features = nn.Sequential(_conv_norm(3, first, 3, stride=2), *_blocks(first, width))
        self.channels = tuple(scaled(STAGES[stage][1], width) for stage in (1, 2, 4, 6))

    def levels(self) -> list[list[nn.Module]]:
        """Return the layers of each of the four maps."""
        starts = (0, *(last + 1 for last in RETURNED))
        return [list(self.features)[start:end] for start, end in itertools.pairwise(starts)]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return four maps (N, channels[i], h_i, w_i) of images (N, 3, H, W)."""
        maps, found = images, []
        for number, layer in enumerate(self.features):
            maps = layer(maps)
            if number in RETURNED:
                found.append(maps)
        return tuple(found)


BACKBONES.register("mobilenetv2", MobileNetV2)
