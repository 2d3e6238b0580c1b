"""Context encoding by name: what the deepest map says of the whole image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.ace2p.layers import ConvNorm, resize, scaled
from noisycorrect_seg.ace2p.ocnet import ASPObjectContext, ObjectContext

OUTPUTS = 512


@final
class PyramidPooling(nn.Module):
    """PSP (Zhao et al., CVPR 2017, Fig. 3): the map's means over grids of several sizes, resized and joined to it.

    The level of one cell has one value a channel and image; with a batch of one image it is normalised with running
    statistics: see :class:`~noisycorrect_seg.ace2p.layers.OneValueBatchNorm2d`.

    Parameters
    ----------
    inputs : int
        Channels of the map.
    outputs : int
        Channels of every level, and of the result.
    sizes : sequence of int
        Cells a side of each grid.

    Examples
    --------
    >>> PyramidPooling(32, 16)(torch.zeros(2, 32, 5, 4)).shape
    torch.Size([2, 16, 5, 4])
    """

    def __init__(self, inputs: int, outputs: int = OUTPUTS, sizes: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.out_channels = outputs
        self.levels = nn.ModuleList(ConvNorm(inputs, outputs, pooled=size == 1) for size in self.sizes)
        self.merge = ConvNorm(inputs + outputs * len(self.sizes), outputs, kernel=3)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, outputs, h, w) of maps (N, inputs, h, w)."""
        levels = [
            resize(level(F.adaptive_avg_pool2d(maps, size)), maps.shape[-2:])
            for level, size in zip(self.levels, self.sizes, strict=True)
        ]
        merged: Tensor = self.merge(torch.cat([*levels, maps], 1))
        return merged


@final
class AtrousPyramid(nn.Module):
    """ASPP (Chen et al., "Rethinking Atrous Convolution", 2017, Fig. 5): the image's mean, 1x1, and dilated kernels.

    In training on a batch of one image the mean does nothing: it is one value a channel all over the map, which the
    last normalisation subtracts again. Train on two images or more.

    Parameters
    ----------
    inputs, outputs, middle : int
        Channels of the map, of the result, of each branch.
    rates : sequence of int
        Dilations of the 3x3 branches.
    dropout : float
        Chance that a channel of the result is dropped in training.

    Examples
    --------
    >>> AtrousPyramid(32, 16, 8)(torch.zeros(2, 32, 5, 4)).shape
    torch.Size([2, 16, 5, 4])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int = OUTPUTS,
        middle: int = 256,
        rates: Sequence[int] = (12, 24, 36),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.out_channels = outputs
        self.image = ConvNorm(inputs, middle, pooled=True)
        self.point = ConvNorm(inputs, middle)
        self.dilated = nn.ModuleList(ConvNorm(inputs, middle, kernel=3, dilation=rate) for rate in rates)
        self.merge = ConvNorm(middle * (2 + len(self.dilated)), outputs)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, outputs, h, w) of maps (N, inputs, h, w)."""
        image = resize(self.image(F.adaptive_avg_pool2d(maps, 1)), maps.shape[-2:])
        branches = [image, self.point(maps), *(branch(maps) for branch in self.dilated)]
        merged: Tensor = self.dropout(self.merge(torch.cat(branches, 1)))
        return merged


@final
class NoContext(nn.Module):
    """A 3x3 convolution to the channels that the decoder expects: the baseline of a comparison of contexts.

    Examples
    --------
    >>> NoContext(32, 16)(torch.zeros(2, 32, 5, 4)).shape
    torch.Size([2, 16, 5, 4])
    """

    def __init__(self, inputs: int, outputs: int = OUTPUTS) -> None:
        super().__init__()
        self.out_channels = outputs
        self.reduce = ConvNorm(inputs, outputs, kernel=3)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, outputs, h, w) of maps (N, inputs, h, w)."""
        reduced: Tensor = self.reduce(maps)
        return reduced


def _psp(inputs: int, width: float, dropout: float) -> nn.Module:
    return PyramidPooling(inputs, scaled(OUTPUTS, width))


def _aspp(inputs: int, width: float, dropout: float) -> nn.Module:
    return AtrousPyramid(inputs, scaled(OUTPUTS, width), scaled(256, width), dropout=dropout)


def _ocnet(inputs: int, width: float, dropout: float) -> nn.Module:
    return ObjectContext(inputs, scaled(OUTPUTS, width), dropout=dropout)


def _asp_oc(inputs: int, width: float, dropout: float) -> nn.Module:
    return ASPObjectContext(inputs, scaled(OUTPUTS, width), scaled(256, width), dropout=dropout)


def _none(inputs: int, width: float, dropout: float) -> nn.Module:
    return NoContext(inputs, scaled(OUTPUTS, width))


CONTEXTS: dict[str, Callable[[int, float, float], nn.Module]] = {
    "psp": _psp,
    "aspp": _aspp,
    "ocnet": _ocnet,
    "asp-oc": _asp_oc,
    "none": _none,
}


def make_context(
    context: str | nn.Module | None, inputs: int, *, width: float = 1.0, dropout: float = 0.1
) -> nn.Module:
    """Return a context module: maps (N, inputs, h, w) -> (N, out_channels, h, w).

    Parameters
    ----------
    context : str, nn.Module or None
        ``"psp"``, ``"aspp"``, ``"ocnet"`` (Base-OC), ``"asp-oc"``, ``"none"``, or a module with ``out_channels``.
    inputs : int
        Channels of the backbone's last map.
    width, dropout : float
        Factor on the channel counts, and chance of dropping a channel, in a named context.

    Raises
    ------
    InvalidInputError
        If the name is unknown or the module has no ``out_channels``.

    Examples
    --------
    >>> make_context("aspp", 32, width=0.25).out_channels
    128
    """
    if isinstance(context, nn.Module):
        out_channels(context, "context")
        return context
    name = "none" if context is None else context
    if not isinstance(name, str) or name not in CONTEXTS:
        raise unknown_name("context", name, CONTEXTS)
    return CONTEXTS[name](inputs, width, dropout)


def out_channels(part: nn.Module, kind: str) -> int:
    """Return the channels of what a part puts out.

    Raises
    ------
    InvalidInputError
        If it has no whole number in ``out_channels``.
    """
    channels: Any = getattr(part, "out_channels", None)
    if channels is None:
        raise InvalidInputError(
            f"a {kind} with its output's channels in `out_channels`",
            got=f"{type(part).__name__} without",
            fix="set the attribute",
        )
    return whole_number(f"out_channels of the {kind}", channels, least=1)
