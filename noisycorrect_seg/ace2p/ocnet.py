"""OCNet: each pixel is joined with the mean of the pixels that resemble it (Yuan et al., arXiv:1809.00916)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect_seg.ace2p.layers import ConvNorm, resize


@final
class SelfAttention(nn.Module):
    r"""Attention over a map's pixels: :math:`W\,\mathrm{softmax}(QQ^T / \sqrt{k})\,V` (OCNet).

    Query and key share one layer. `W` starts at zero, so that the module adds nothing before it has learnt something.

    Parameters
    ----------
    inputs, outputs, keys, values : int
        Channels of the map, of the result, of query and key, of the value.
    scale : int
        Attention is computed on the map max-pooled by this factor, and resized.

    Examples
    --------
    >>> SelfAttention(16, 8, keys=8, values=8)(torch.ones(2, 16, 5, 4)).unique()
    tensor([0.], grad_fn=<Unique2Backward0>)
    """

    def __init__(self, inputs: int, outputs: int, *, keys: int, values: int, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.key = ConvNorm(inputs, keys, bias=True, pooled=scale > 1)
        self.value = nn.Conv2d(inputs, values, 1)
        self.out = nn.Conv2d(values, outputs, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, outputs, h, w) of maps (N, inputs, h, w)."""
        size = maps.shape[-2:]
        if self.scale > 1:  # a last row or column of less than `scale` pixels counts too: no map is too small
            maps = F.max_pool2d(maps, self.scale, ceil_mode=True)
        key = self.key(maps).flatten(2).transpose(1, 2).contiguous()
        value = self.value(maps).flatten(2).transpose(1, 2).contiguous()
        # One head of this size: torch's fused kernels keep no (h w) x (h w) matrix where they apply.
        mixed = F.scaled_dot_product_attention(key[:, None], key[:, None], value[:, None])[:, 0]
        height, width = maps.shape[-2:]
        mixed = self.out(mixed.transpose(1, 2).reshape(maps.shape[0], -1, height, width))
        return resize(mixed, size) if self.scale > 1 else mixed


@final
class ObjectContext(nn.Module):
    """Base-OC: a 3x3 convolution, self-attention, and both joined (OCNet).

    Parameters
    ----------
    inputs, outputs : int
        Channels of the map and of the result.
    dropout : float
        Chance that a channel of the result is dropped in training.

    Examples
    --------
    >>> ObjectContext(32, 16)(torch.zeros(2, 32, 5, 4)).shape
    torch.Size([2, 16, 5, 4])
    """

    def __init__(self, inputs: int, outputs: int = 512, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.out_channels = outputs
        self.reduce = ConvNorm(inputs, outputs, kernel=3, bias=True)
        self.attention = SelfAttention(outputs, outputs, keys=outputs // 2, values=outputs // 2)
        self.merge = ConvNorm(2 * outputs, outputs, bias=True)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, outputs, h, w) of maps (N, inputs, h, w)."""
        reduced = self.reduce(maps)
        merged: Tensor = self.dropout(self.merge(torch.cat([self.attention(reduced), reduced], 1)))
        return merged


@final
class ASPObjectContext(nn.Module):
    """ASP-OC: an atrous pyramid whose image mean is replaced by self-attention at half resolution (OCNet).

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
    >>> ASPObjectContext(32, 16, 8)(torch.zeros(2, 32, 5, 4)).shape
    torch.Size([2, 16, 5, 4])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int = 512,
        middle: int = 256,
        rates: Sequence[int] = (12, 24, 36),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.out_channels = outputs
        self.context = nn.Sequential(
            ConvNorm(inputs, middle, kernel=3, bias=True),
            SelfAttention(middle, middle, keys=middle // 2, values=middle, scale=2),
            ConvNorm(middle, middle, bias=True),
        )
        self.point = ConvNorm(inputs, middle)
        self.dilated = nn.ModuleList(ConvNorm(inputs, middle, kernel=3, dilation=rate) for rate in rates)
        self.merge = ConvNorm(middle * (2 + len(self.dilated)), outputs)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, outputs, h, w) of maps (N, inputs, h, w)."""
        branches = [self.context(maps), self.point(maps), *(branch(maps) for branch in self.dilated)]
        merged: Tensor = self.dropout(self.merge(torch.cat(branches, 1)))
        return merged
