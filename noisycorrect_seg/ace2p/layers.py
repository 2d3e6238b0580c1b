"""The layers that every part is made of, and how their channels are counted."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.support.checks import finite_number

SLOPE = 0.01  # of the leaky ReLU behind every normalisation outside the backbone
MULTIPLE = 8  # channel counts that convolution kernels like


def scaled(channels: int, width: float) -> int:
    """Return `width` times `channels`, rounded to a multiple of 8 (halves up), at least 8.

    Raises
    ------
    InvalidInputError
        If `width` is not finite or not above 0.

    Examples
    --------
    >>> [scaled(64, width) for width in (1.0, 0.25, 0.0625)]
    [64, 16, 8]
    """
    width = finite_number("width", width, above=1e-3, fix="1.0 is the full network, 0.25 one for small machines")
    return max(MULTIPLE, math.floor(channels * width / MULTIPLE + 0.5) * MULTIPLE)


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps (N, C, h, w) as (N, C, H, W), bilinear, corner pixels onto corner pixels.

    Examples
    --------
    >>> resize(torch.tensor([[[[0.0, 1.0]]]]), (1, 3))
    tensor([[[[0.0000, 0.5000, 1.0000]]]])
    """
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=True)


def activate(normalised: Tensor) -> Tensor:
    """Return the leaky ReLU of a normalisation's output, with the slope of A-CE2P, in its place.

    Nothing else reads that output: the normalisation's gradient needs its input, and the activation's only the result.
    """
    return F.leaky_relu(normalised, SLOPE, inplace=True)


@final
class OneValueBatchNorm2d(nn.BatchNorm2d):
    r"""Batch normalisation that can also train on a single value a channel.

    A pooled map of one pixel has one value a channel when the batch is one image. Its own statistics say nothing then
    (it would be normalised to 0), and torch refuses. Here such a value is tracked and normalised like at inference,
    with exponential statistics of the values seen so far (Finch, "Incremental calculation of weighted mean and
    variance", 2009, sec. 9), momentum :math:`\alpha`:

    .. math:: \mu \leftarrow \mu + \alpha d,\quad \sigma^2 \leftarrow (1 - \alpha)(\sigma^2 + \alpha d^2),
              \quad d = x - \mu.

    So training and inference agree, and no normalised value exceeds :math:`\sqrt{(1 - \alpha) / \alpha}`: 3 for
    momentum 0.1. Several values a channel are normalised as in :class:`torch.nn.BatchNorm2d`.
    ``convert_sync_batchnorm`` replaces it like any other; across ranks there is more than one value.

    Examples
    --------
    >>> norm = OneValueBatchNorm2d(2, momentum=0.5)
    >>> norm(torch.full((1, 2, 1, 1), 4.0)).shape
    torch.Size([1, 2, 1, 1])
    >>> norm.running_mean, norm.running_var
    (tensor([2., 2.]), tensor([4.5000, 4.5000]))
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the base class's name
        """Return `input`, (N, C, h, w), normalised."""
        if not self.training or input.numel() != self.num_features:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        self._track(input.detach().flatten().to(self.running_mean.dtype), self.running_mean, self.running_var)
        # Copies: the next batch may be tracked before this one's gradient is computed.
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        return F.batch_norm(input, mean, variance, self.weight, self.bias, eps=self.eps)

    @torch.no_grad()
    def _track(self, value: Tensor, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        rate = 1 / self.num_batches_tracked.to(mean.dtype) if self.momentum is None else self.momentum
        step = value - mean
        mean.add_(rate * step)
        variance.add_(rate * step.square()).mul_(1 - rate)


@final
class ConvNorm(nn.Module):
    """Convolution that keeps the map's size, normalisation, leaky ReLU.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel, dilation : int
        Of the convolution; `kernel` is odd.
    bias : bool
        Whether the convolution has a bias. The normalisation makes it idle; OCNet's layers have it all the same.
    pooled : bool
        Whether the maps may have one pixel: see :class:`OneValueBatchNorm2d`.

    Examples
    --------
    >>> ConvNorm(8, 16, kernel=3)(torch.zeros(2, 8, 5, 4)).shape
    torch.Size([2, 16, 5, 4])
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 1, dilation: int = 1, bias: bool = False, pooled: bool = False
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=bias)
        self.norm = OneValueBatchNorm2d(outputs) if pooled else nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, outputs, h, w) of `maps`, (N, inputs, h, w)."""
        return activate(self.norm(self.conv(maps)))


@final
class MergeConv(nn.Conv2d):
    """1x1 convolution of several maps, as if they had been resized to one size and concatenated.

    Resizing is linear and its weights sum to 1, so a 1x1 convolution may come before it: each map is convolved with
    its part of the kernel at its own resolution, and the results are resized and added. That saves the convolution of
    the bigger maps, and keeping their concatenation for the gradient.

    Parameters
    ----------
    inputs : sequence of int
        Channels of each map.
    outputs : int
        Channels of the result.

    Examples
    --------
    >>> conv = MergeConv((2, 3), 4)
    >>> conv([torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 2, 2)], torch.Size((3, 3))).shape
    torch.Size([1, 4, 3, 3])
    """

    def __init__(self, inputs: Sequence[int], outputs: int) -> None:
        super().__init__(sum(inputs), outputs, 1, bias=False)
        self.parts = tuple(inputs)

    def forward(self, maps: Sequence[Tensor], size: torch.Size) -> Tensor:  # type: ignore[override]
        """Return (N, outputs, H, W) of maps (N, inputs[i], h_i, w_i)."""
        kernels = torch.split(self.weight, list(self.parts), 1)
        merged = [F.conv2d(part, kernel) for part, kernel in zip(maps, kernels, strict=True)]
        resized = [part if part.shape[-2:] == size else resize(part, size) for part in merged]
        return functools.reduce(torch.add, resized)


@final
class MergeNorm(nn.Module):
    """:class:`MergeConv`, normalisation, leaky ReLU.

    Examples
    --------
    >>> MergeNorm((8, 8), 16)([torch.zeros(2, 8, 5, 4), torch.zeros(2, 8, 3, 2)], torch.Size((5, 4))).shape
    torch.Size([2, 16, 5, 4])
    """

    def __init__(self, inputs: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.conv = MergeConv(inputs, outputs)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Sequence[Tensor], size: torch.Size) -> Tensor:
        """Return (N, outputs, H, W) of maps (N, inputs[i], h_i, w_i)."""
        return activate(self.norm(self.conv(maps, size)))
