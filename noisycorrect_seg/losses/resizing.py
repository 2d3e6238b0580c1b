"""Resizing maps to the size of the labels, and its gradient: as products with two small matrices on the CPU.

Bilinear interpolation is linear along each axis, with two weights a row. There torch's own backward pass takes three
times as long as its forward pass, and twenty times of one channel; a product with the transposed matrices does not.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from noisycorrect_seg.geometry.frame import Size


def enlarged(maps: Tensor, size: Size) -> Tensor:
    """Return maps (N, K, h, w) at another size (height, width), bilinear, corners aligned.

    The result is always a new tensor. Its gradient can be taken once, not twice.

    Examples
    --------
    >>> enlarged(torch.tensor([[[[0.0, 1.0]]]]), (1, 3))
    tensor([[[[0.0000, 0.5000, 1.0000]]]])
    """
    return cast(Tensor, _Enlarged.apply(maps, size))  # type: ignore[no-untyped-call]


class _Enlarged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: Size) -> Tensor:
        ctx.size = maps.shape[-2:]
        return enlarge(maps, size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return gathered(grads[0], ctx.size), None


def enlarge(maps: Tensor, size: Size) -> Tensor:
    """Return :func:`enlarged` maps (N, K, h, w), without a gradient."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps.clone(memory_format=torch.contiguous_format)
    if not _by_products(maps):
        return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=True)
    rows, columns = _weights(maps.shape[-2], size[0], maps.dtype), _weights(maps.shape[-1], size[1], maps.dtype)
    with torch.autocast("cpu", enabled=False):
        return torch.matmul(rows, maps @ columns.t())


def gathered(slopes: Tensor, size: Size) -> Tensor:
    """Return the gradient of maps (N, K, h, w) of a size, from that of the enlarged ones, (N, K, H, W): the transpose.

    Examples
    --------
    >>> gathered(torch.tensor([[[[1.0, 1.0, 0.0]]]]), (1, 2))
    tensor([[[[1.5000, 0.5000]]]])
    """
    if tuple(slopes.shape[-2:]) == tuple(size):
        return slopes
    if not _by_products(slopes):
        with torch.enable_grad():
            maps = slopes.new_zeros(*slopes.shape[:2], *size, requires_grad=True)
            return torch.autograd.grad(enlarge(maps, (slopes.shape[-2], slopes.shape[-1])), maps, slopes)[0]
    rows, columns = _weights(size[0], slopes.shape[-2], slopes.dtype), _weights(size[1], slopes.shape[-1], slopes.dtype)
    with torch.autocast("cpu", enabled=False):
        return torch.matmul(rows.t(), slopes @ columns)


def _by_products(maps: Tensor) -> bool:
    """Return whether products of these maps are on the CPU and exact: torch can be told to round them to bfloat16."""
    exact = maps.dtype is torch.float64 or torch.get_float32_matmul_precision() == "highest"
    return maps.device.type == "cpu" and maps.dtype in (torch.float32, torch.float64) and exact


@functools.lru_cache(maxsize=64)
def _weights(cells: int, side: int, dtype: torch.dtype) -> Tensor:
    """Return what each of `cells` positions counts at each of `side` ones, (side, cells); positions as torch rounds."""
    kind = np.dtype(np.float32 if dtype is torch.float32 else np.float64)
    places = np.arange(side)
    at = np.asarray(cells - 1, kind) / np.asarray(max(side - 1, 1), kind) * places.astype(kind)
    low = np.minimum(at.astype(np.int64), cells - 1)
    share = at - low.astype(kind)
    weights = np.zeros((side, cells), kind)
    weights[places, low] = 1 - share
    weights[places, np.minimum(low + 1, cells - 1)] += share
    return torch.from_numpy(weights)
