"""Depthwise convolution whose gradient does not take twenty times its forward pass on a CPU."""

from __future__ import annotations

from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@final
class _Depthwise(torch.autograd.Function):
    """A depthwise convolution with gradients that are themselves depthwise convolutions.

    torch 2.13 computes those of 5x5 kernels, and of dilated ones, on a CPU without oneDNN. As convolutions they are as
    fast as the forward pass: the input's is one of the output's gradient with the mirrored kernel; the weight's is one
    of the input with the output's gradient as kernel, a group an image and channel, stride and dilation exchanged.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, stride: int, padding: int, dilation: int) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.geometry = stride, padding, dilation
        return F.conv2d(maps, weight, None, stride, padding, dilation, maps.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (maps, weight) = grads, ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        count, channels, height, width = maps.shape
        kernel = weight.shape[-1]
        to_maps = to_weight = None
        if ctx.needs_input_grad[0]:
            spread = grad
            if stride > 1:
                spread = grad.new_zeros(count, channels, *(stride * (size - 1) + 1 for size in grad.shape[2:]))
                spread[..., ::stride, ::stride] = grad
            reach = dilation * (kernel - 1)
            sizes = zip((width, height), reversed(spread.shape[2:]), strict=True)
            around = [pad for size, have in sizes for pad in (reach - padding, size - have + padding)]
            to_maps = F.conv2d(F.pad(spread, around), weight.flip(2, 3), None, 1, 0, dilation, channels)
        if ctx.needs_input_grad[1]:
            images = maps.reshape(1, count * channels, height, width)
            kernels = grad.reshape(count * channels, 1, *grad.shape[2:])
            found = F.conv2d(images, kernels, None, dilation, padding, stride, count * channels)
            to_weight = found[..., :kernel, :kernel].reshape(count, channels, kernel, kernel).sum(0)[:, None]
        return to_maps, to_weight, None, None, None


def depthwise_conv2d(maps: Tensor, weight: Tensor, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> Tensor:
    """Return maps (N, C, H, W) convolved, each channel with its own kernel of a weight (C, 1, k, k).

    The same as :func:`torch.nn.functional.conv2d`, gradients too, to float32 rounding.

    Examples
    --------
    >>> depthwise_conv2d(torch.ones(1, 2, 5, 4), torch.ones(2, 1, 3, 3), padding=2, dilation=2)[0, 0]
    tensor([[4., 4., 4., 4.],
            [4., 4., 4., 4.],
            [6., 6., 6., 6.],
            [4., 4., 4., 4.],
            [4., 4., 4., 4.]])
    """
    slow = maps.device.type == "cpu" and (weight.shape[-1] > 3 or dilation > 1)
    trained = torch.is_grad_enabled() and not torch.compiler.is_compiling() and not torch.is_autocast_enabled("cpu")
    if not slow or not trained:
        return F.conv2d(maps, weight, None, stride, padding, dilation, maps.shape[1])
    found: Tensor = _Depthwise.apply(maps, weight, stride, padding, dilation)  # type: ignore[no-untyped-call]
    return found


@final
class DepthwiseConv(nn.Conv2d):
    """A convolution of each channel with its own square kernel, without bias, that keeps a map's size but for a stride.

    Parameters
    ----------
    channels, kernel, stride, dilation : int
        As in :class:`torch.nn.Conv2d`; `kernel` is odd.

    Examples
    --------
    >>> DepthwiseConv(8, 5, dilation=2)(torch.zeros(2, 8, 6, 7)).shape
    torch.Size([2, 8, 6, 7])
    """

    def __init__(self, channels: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, stride, padding, dilation, channels, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C, ceil(H / stride), ceil(W / stride)) of maps (N, C, H, W)."""
        stride, padding, dilation = self.stride[0], self.padding[0], self.dilation[0]
        assert isinstance(padding, int)
        return depthwise_conv2d(maps, self.weight, stride=stride, padding=padding, dilation=dilation)
