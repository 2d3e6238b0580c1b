"""ResNets with a stride of 16, as A-CE2P uses them."""

from __future__ import annotations

import functools
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.support.errors import unknown_name
from noisycorrect_seg.ace2p.backbones import BACKBONES
from noisycorrect_seg.ace2p.layers import scaled

PLANES = (64, 128, 256, 512)
STRIDES = (1, 2, 2, 1)
DILATIONS = (1, 1, 1, 2)
STEMS = ("deep", "7x7")


def _conv3x3(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


@final
class DeepStem(nn.Module):
    """Three 3x3 convolutions, the first of stride 2, and a max pool: (N, 3, H, W) -> (N, outputs, H/4, W/4)."""

    def __init__(self, width: float) -> None:
        super().__init__()
        middle, self.outputs = scaled(64, width), scaled(128, width)
        self.conv1 = _conv3x3(3, middle, stride=2)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = _conv3x3(middle, middle)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = _conv3x3(middle, self.outputs)
        self.bn3 = nn.BatchNorm2d(self.outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps that the first layer sees."""
        maps = F.relu(self.bn1(self.conv1(images)))
        maps = F.relu(self.bn2(self.conv2(maps)))
        maps = F.relu(self.bn3(self.conv3(maps)))
        return F.max_pool2d(maps, 3, stride=2, padding=1)


@final
class WideStem(nn.Module):
    """One 7x7 convolution of stride 2 and a max pool: the stem of He et al. 2016, and of torchvision's weights."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.outputs = scaled(64, width)
        self.conv1 = nn.Conv2d(3, self.outputs, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(self.outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps that the first layer sees."""
        return F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


@final
class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016)."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, planes, stride, dilation)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3x3(planes, planes, 1, dilation)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(inputs, planes, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, planes, h/stride, w/stride)."""
        residual = F.relu(self.bn1(self.conv1(maps)))
        residual = self.bn2(self.conv2(residual))
        return F.relu(residual + (maps if self.downsample is None else self.downsample(maps)))


@final
class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the 3x3 one carries stride and dilation."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = planes * self.expansion
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3x3(planes, planes, stride, dilation)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, 4 * planes, h/stride, w/stride)."""
        residual = F.relu(self.bn1(self.conv1(maps)))
        residual = F.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return F.relu(residual + (maps if self.downsample is None else self.downsample(maps)))


Block = type[BasicBlock] | type[Bottleneck]
DEPTHS: dict[int, tuple[Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


@final
class ResNet(nn.Module):
    """ResNet whose last layer is dilated instead of strided: maps of strides 4, 8, 16 and 16.

    Parameters
    ----------
    depth : {18, 50, 101}
        Layers, as they are usually counted.
    width : float
        Factor on every channel count; see :func:`~noisycorrect_seg.ace2p.layers.scaled`.
    stem : {"deep", "7x7"}
        Three 3x3 convolutions, as in A-CE2P and in the ImageNet weights that it starts from; or one 7x7 convolution,
        as in torchvision's weights.

    Raises
    ------
    InvalidInputError
        If `depth` or `stem` is unknown.

    Examples
    --------
    >>> import torch
    >>> backbone = ResNet(18, width=0.25)
    >>> backbone.channels
    (16, 32, 64, 128)
    >>> [tuple(maps.shape[2:]) for maps in backbone.eval()(torch.zeros(1, 3, 65, 49))]
    [(17, 13), (9, 7), (5, 4), (5, 4)]
    """

    def __init__(self, depth: int = 101, *, width: float = 1.0, stem: str = "deep") -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise unknown_name("ResNet depth", depth, map(str, DEPTHS))
        if stem not in STEMS:
            raise unknown_name("stem", stem, STEMS)
        block, counts = DEPTHS[depth]
        planes = [scaled(channels, width) for channels in PLANES]
        self.channels = tuple(block.expansion * channels for channels in planes)
        self.stem = DeepStem(width) if stem == "deep" else WideStem(width)
        inputs = (self.stem.outputs, *self.channels)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(
                block(inputs[i], planes[i], STRIDES[i], DILATIONS[i]),
                *(block(self.channels[i], planes[i], 1, DILATIONS[i]) for _ in range(counts[i] - 1)),
            )
            for i in range(4)
        )

    def levels(self) -> list[list[nn.Module]]:
        """Return the layers of each of the four maps."""
        return [[self.stem, self.layer1], [self.layer2], [self.layer3], [self.layer4]]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return four maps (N, channels[i], h_i, w_i) of images (N, 3, H, W)."""
        first = self.layer1(self.stem(images))
        second = self.layer2(first)
        third = self.layer3(second)
        return first, second, third, self.layer4(third)


for _depth in (18, 50, 101):
    BACKBONES.register(f"resnet{_depth}", functools.partial(ResNet, _depth))
    BACKBONES.register(f"resnet{_depth}-7x7", functools.partial(ResNet, _depth, stem="7x7"))
