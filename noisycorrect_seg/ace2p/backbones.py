"""Backbones by name, and making a backbone of a module that you have.

What is registered is a function ``make(*, width=1.0)`` that returns a module with two properties: called with images
(N, 3, H, W), normalised and blue first, it returns four maps, biggest first (best of strides 4, 8, 16 and 16); and its
``channels`` are their four channel counts. `width` is a factor on the channel counts of the published network. A
backbone of your own adds itself in the file that defines it::

    BACKBONES.register("tiny", Tiny)

One whose first layers may be frozen has a method ``levels()`` too: four lists of modules, of what makes each map of the
one before.

A saved network names its backbone: whoever loads it imports that file before, or the backbone is announced as an entry
point of the group ``noisycorrect.backbones``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.register import Register

BACKBONES: Register[Callable[..., nn.Module]] = Register("backbone", group="noisycorrect.backbones")
"""Every backbone, by its name: functions of `width`, a factor on its channel counts."""

LAYERS = ("layer1", "layer2", "layer3", "layer4")


def make_backbone(backbone: str | nn.Module, *, width: float = 1.0) -> nn.Module:
    """Return a backbone: a module that turns images (N, 3, H, W) into four maps, and says their ``channels``.

    The maps are best of strides 4, 8, 16 and 16; the parts behind resize to the first one, so others work too.

    Parameters
    ----------
    backbone : str or nn.Module
        A name in :data:`BACKBONES`: ``"resnet18"``, ``"resnet50"``, ``"resnet101"`` (deep stem), the same with
        ``"-7x7"`` (torchvision's stem), ``"mobilenetv2"``, ``"efficientnet-lite0"``, the same with ``"-stride32"`` or
        ``"-timm"``; or a module with four whole numbers in ``channels``.
    width : float
        Factor on the channel counts of a named backbone.

    Raises
    ------
    InvalidInputError
        If the name is unknown, or a module has no such ``channels``.

    Examples
    --------
    >>> make_backbone("resnet50", width=0.125).channels
    (32, 64, 128, 256)
    """
    if isinstance(backbone, str):
        return BACKBONES[backbone](width=width)
    if not isinstance(backbone, nn.Module):
        raise InvalidInputError(
            "a backbone's name or an nn.Module", got=type(backbone).__name__, fix=f"pass one of {sorted(BACKBONES)}"
        )
    map_channels(backbone)
    return backbone


def map_channels(backbone: nn.Module) -> tuple[int, int, int, int]:
    """Return the channels of a backbone's four maps.

    Raises
    ------
    InvalidInputError
        If it has no ``channels`` of four whole numbers.
    """
    channels: Any = getattr(backbone, "channels", None)
    if not isinstance(channels, Sequence) or isinstance(channels, str) or len(channels) != 4:
        raise InvalidInputError(
            "a backbone with the channels of its four maps in `channels`",
            got=f"{type(backbone).__name__} with channels={channels!r}",
            fix="set the attribute, or wrap the module in FeatureMaps",
        )
    first, second, third, fourth = (whole_number(f"channels[{i}]", channels[i], least=1) for i in range(4))
    return first, second, third, fourth


@final
class FeatureMaps(nn.Module):
    """A backbone made of any module that returns four maps.

    Parameters
    ----------
    module : nn.Module
        Returns four maps in a sequence or a dict, biggest first. It is used, not copied.
    channels : sequence of int, optional
        Channels of the maps. Default: seen by running the module on one black image of 64 x 64, without changing it.
    rgb : bool
        Whether the module expects red first. The networks here see blue first, normalised with the same constants, so
        the channels are reversed for it.

    Raises
    ------
    InvalidInputError
        If the module does not return four maps (N, C, h, w).

    Examples
    --------
    >>> class Pyramid(nn.Module):
    ...     def forward(self, images):
    ...         return {f"stride {s}": F.avg_pool2d(images, s) for s in (4, 8, 16, 32)}
    >>> FeatureMaps(Pyramid()).channels
    (3, 3, 3, 3)
    """

    def __init__(self, module: nn.Module, channels: Sequence[int] | None = None, *, rgb: bool = False) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise InvalidInputError("an nn.Module", got=type(module).__name__, fix="pass the backbone itself")
        self.module = module
        self.rgb = rgb
        self.channels = tuple(_seen_channels(self)) if channels is None else tuple(channels)
        map_channels(self)

    def levels(self) -> Any:
        """Return the layers of each of the four maps; None if the module has no method ``levels()`` that says it."""
        levels: Any = getattr(self.module, "levels", None)
        return levels() if callable(levels) else None

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return four maps (N, channels[i], h_i, w_i) of images (N, 3, H, W), blue first."""
        return checked_maps(self.module(images.flip(1) if self.rgb else images))


def checked_maps(maps: Any) -> tuple[Tensor, ...]:
    """Return a backbone's output as a tuple of four maps.

    Raises
    ------
    InvalidInputError
        If it is none.
    """
    found = tuple(maps.values()) if isinstance(maps, Mapping) else maps
    if (
        not isinstance(found, (tuple, list))
        or len(found) != 4
        or not all(isinstance(part, Tensor) and part.dim() == 4 for part in found)
    ):
        shapes = [tuple(getattr(part, "shape", ())) for part in found] if isinstance(found, (tuple, list)) else ""
        raise InvalidInputError(
            "a backbone that returns four maps (N, C, h, w)",
            got=f"{type(maps).__name__} {shapes}".strip(),
            fix="return the outputs of four layers, biggest first",
        )
    return tuple(found)


@torch.no_grad()
def _seen_channels(backbone: FeatureMaps) -> list[int]:
    modes = [(module, module.training) for module in backbone.modules()]
    like = next(backbone.parameters(), torch.zeros(()))
    try:
        for module, _ in modes:
            module.training = False
        return [maps.shape[1] for maps in backbone(torch.zeros(1, 3, 64, 64, dtype=like.dtype, device=like.device))]
    finally:
        for module, mode in modes:
            module.training = mode


@final
class _ResNetStages(nn.Module):
    """The stem and the four layers of a torchvision-like ResNet, under their own names."""

    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        self.conv1, self.bn1 = resnet.get_submodule("conv1"), resnet.get_submodule("bn1")
        for name in LAYERS:
            setattr(self, name, resnet.get_submodule(name))

    def levels(self) -> list[list[nn.Module]]:
        first, *others = ([self.get_submodule(name)] for name in LAYERS)
        return [[self.conv1, self.bn1, *first], *others]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps, found = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1), []
        for name in LAYERS:
            maps = self.get_submodule(name)(maps)
            found.append(maps)
        return tuple(found)


def resnet_maps(resnet: nn.Module, *, dilate: bool = True, rgb: bool = True) -> FeatureMaps:
    """Return a backbone made of a ResNet as torchvision builds them, trained or not.

    Parameters
    ----------
    resnet : nn.Module
        With ``conv1``, ``bn1`` and ``layer1`` to ``layer4``; it is copied. Its classifier is left out.
    dilate : bool
        Dilate the last layer instead of striding it: maps of strides 4, 8, 16 and 16 instead of 4, 8, 16 and 32.
    rgb : bool
        Whether it expects red first, as torchvision's weights do; the networks here see blue first.

    Raises
    ------
    InvalidInputError
        If a layer is missing.

    Examples
    --------
    >>> class Tiny(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.conv1, self.bn1, self.layer1 = nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.Identity()
    ...         self.layer2, self.layer3 = nn.Conv2d(8, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 2, 1)
    ...         self.layer4 = nn.Conv2d(16, 24, 3, 2, 1)
    >>> resnet_maps(Tiny()).channels
    (8, 16, 16, 24)
    """
    parts = ("conv1", "bn1", *LAYERS)
    missing = [name for name in parts if not isinstance(getattr(resnet, name, None), nn.Module)]
    if missing:
        raise InvalidInputError(
            f"a ResNet with {', '.join(parts)}",
            got=f"{type(resnet).__name__} without {', '.join(missing)}",
            fix="wrap another kind of network in FeatureMaps",
        )
    stages = copy.deepcopy(_ResNetStages(resnet))
    if dilate:
        for layer in stages.get_submodule("layer4").modules():
            if isinstance(layer, nn.Conv2d):
                _dilate(layer)
    return FeatureMaps(stages, rgb=rgb)


def _dilate(conv: nn.Conv2d) -> None:
    """Take the stride out of a convolution, and widen its 3x3 kernel, so that the map keeps its size."""
    conv.stride = (1, 1)
    if conv.kernel_size == (3, 3):
        conv.dilation = conv.padding = (2, 2)
