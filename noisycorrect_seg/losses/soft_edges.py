"""Edges of class probabilities: the edge map of the labels, made differentiable."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.support.door import door
from noisycorrect_seg.losses.edge import EDGE_WIDTH, PAIRS
from noisycorrect_seg.losses.targets import check_maps, widen


@door(own=True)
def soft_edges(probs: Tensor) -> Tensor:
    r"""Return how likely the class changes at each pixel: the edge targets, for probabilities.

    Two pixels n, n' whose classes were drawn independently from their probabilities differ with probability :math:`1 -
    \sum_k p_k(n)\, p_k(n')`. A pixel's seed is the largest of this over the four pairs that make it a seed of
    :func:`~noisycorrect_seg.losses.edge_targets`; the map is the largest seed of the 3 x 3 pixels around. For one-hot
    probabilities it is the edge target, exactly. It is differentiable almost everywhere: the gradient goes to the pair
    that decides.

    Parameters
    ----------
    probs : Tensor, shape (N, K, H, W)
        Class probabilities; half precision is computed in float32.

    Returns
    -------
    Tensor, shape (N, H, W)
        In [0, 1], float32 (float64 for float64 `probs`).

    Raises
    ------
    InvalidInputError
        If `probs` are not floating maps.

    Examples
    --------
    >>> probs = torch.tensor([[[[1.0, 1.0, 1.0, 0.5]], [[0.0, 0.0, 0.0, 0.5]]]])
    >>> soft_edges(probs)
    tensor([[[0.0000, 0.5000, 0.5000, 0.5000]]])
    """
    check_maps(probs, "probs")
    count = len(probs) * probs.shape[2] * probs.shape[3]
    return soft_edges_at(widen(probs), torch.arange(count, device=probs.device), None)


def soft_edges_at(probs: Tensor, pixels: Tensor, valid: Tensor | None) -> Tensor:
    """Return :func:`soft_edges` with seeds at some pixels only.

    Pairs with a pixel that is not valid never count. The map equals :func:`soft_edges` at pixels all of whose 3 x 3
    neighbours are in `pixels`, at a cost in proportion to their number: edges are a small part of an image.

    Parameters
    ----------
    probs : Tensor, shape (N, K, H, W)
        Class probabilities, float32 or float64.
    pixels : Tensor, shape (M,), int64
        Different positions in the flattened (N, H, W), in any order.
    valid : Tensor, bool (N, H, W), optional
        All by default.
    """
    size = len(probs), 1, probs.shape[2], probs.shape[3]
    seeds = cast(Tensor, _Seeds.apply(probs, pixels, valid))  # type: ignore[no-untyped-call]
    seed_map = seeds.new_zeros(size[0] * size[2] * size[3]).scatter(0, pixels, seeds).view(size)
    return F.max_pool2d(seed_map, EDGE_WIDTH, stride=1, padding=EDGE_WIDTH // 2).squeeze(1)


class _Seeds(torch.autograd.Function):
    """Seeds at some pixels. Autograd alone would send gradients through all four pairs of each, and keep their maps."""

    @staticmethod
    def forward(ctx: Any, probs: Tensor, pixels: Tensor, valid: Tensor | None) -> Tensor:
        columns = _columns(probs)
        here = _at(columns, pixels)
        best, partners = here.new_ones(len(pixels)), pixels
        for offset in PAIRS:
            partner, paired = _partners(pixels, offset, probs.shape, valid)
            agreement = (_at(columns, partner) * here).sum(0)
            closer = paired & (agreement < best)  # strictly: the first of equal pairs decides
            best = agreement.where(closer, best)
            partners = partner.where(closer, partners)
        ctx.save_for_backward(probs, pixels, partners)
        return 1 - best

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        probs, pixels, partners = ctx.saved_tensors
        deciding = ((grads[0] != 0) & (partners != pixels)).nonzero().squeeze(1)
        pixels, partners, weight = pixels[deciding], partners[deciding], -grads[0][deciding]
        columns = _columns(probs)
        gradient = torch.zeros_like(columns)
        for one, other in ((pixels, partners), (partners, pixels)):
            gradient.scatter_add_(1, one.expand(len(columns), -1), _at(columns, other).mul_(weight))
        shape = probs.shape[1], len(probs), *probs.shape[2:]
        return gradient.view(shape).transpose(0, 1), None, None


def _columns(probs: Tensor) -> Tensor:
    """Return probabilities (N, K, H, W) as (K, N H W)."""
    return probs.transpose(0, 1).flatten(1)


def _at(columns: Tensor, pixels: Tensor) -> Tensor:
    return columns.gather(1, pixels.expand(len(columns), -1))


def _partners(
    pixels: Tensor, offset: tuple[int, int], shape: torch.Size, valid: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the positions of the partners, and whether the pairs exist and count; the pixel itself where not."""
    (dy, dx), (height, width) = offset, shape[2:]
    x, y = pixels % width + dx, pixels // width % height + dy
    paired = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    partners = (pixels + dy * width + dx).where(paired, pixels)
    if valid is not None:
        flat = valid.flatten()
        paired = paired & flat[pixels] & flat[partners]
    return partners, paired
