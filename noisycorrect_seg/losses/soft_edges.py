"""Edges of class probabilities: the edge map of the labels, made differentiable."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from noisycorrect.support.door import door
from noisycorrect_seg.geometry.maps import overwritten
from noisycorrect_seg.losses.edge import PAIRS, inside
from noisycorrect_seg.losses.targets import by_class, check_maps, from_classes, widen


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
    wide = widen(probs)
    return cast(Tensor, _SoftEdges.apply(wide, Pairs(wide.shape, device=wide.device)))  # type: ignore[no-untyped-call]


class _SoftEdges(torch.autograd.Function):
    """Autograd alone would send gradients through all four pairs of each pixel, and keep their maps."""

    @staticmethod
    def forward(ctx: Any, probs: Tensor, pairs: Pairs) -> Tensor:
        found = EdgeMap(by_class(probs), pairs)
        ctx.found, ctx.shape = found, probs.shape
        return found.values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        found: EdgeMap = ctx.found
        slopes = torch.zeros_like(found.planes)
        found.add_slopes(slopes, torch.arange(grads[0].numel(), device=slopes.device), grads[0].flatten())
        return from_classes(slopes, ctx.shape), None


class Pairs:
    """The pairs of pixels of a batch that can make an edge, each with its distance in the flattened (N, H, W).

    Parameters
    ----------
    shape : torch.Size
        (N, K, H, W).
    valid : Tensor, bool (N, H, W), optional
        Pairs with a pixel that is not valid never count. Default: all are.

    Examples
    --------
    >>> Pairs(torch.Size([1, 3, 1, 3])).missing[1].tolist()  # is there no pixel to the right?
    [0.0, 0.0, 1.0]
    """

    def __init__(self, shape: torch.Size, valid: Tensor | None = None, device: torch.device | None = None) -> None:
        self.size = shape[0], shape[2], shape[3]
        known = torch.ones(self.size, dtype=torch.bool, device=device) if valid is None else valid
        self.distances = [dy * shape[3] + dx for dy, dx in PAIRS]
        self.missing = []  # as numbers: 1 added to an agreement leaves none that counts
        for dy, dx in PAIRS:
            missing = torch.ones_like(known, dtype=torch.float32)
            here, there = (..., inside(-dy), inside(-dx)), (..., inside(dy), inside(dx))
            missing[here] -= (known[here] & known[there]).float()
            self.missing.append(missing.flatten())


class EdgeMap:
    """:func:`soft_edges` of probabilities class by class, (K, N H W), and what their gradient needs.

    Attributes
    ----------
    values : Tensor, shape (N, H, W)
        The edge map.
    """

    def __init__(self, planes: Tensor, pairs: Pairs) -> None:
        self.planes = planes
        self._distances = torch.tensor([0, *pairs.distances], device=planes.device)
        agreement = planes.new_ones(planes.shape[1])
        self._decides = torch.zeros(planes.shape[1], dtype=torch.uint8, device=planes.device)  # which pair, from 1
        for number, (distance, missing) in enumerate(zip(pairs.distances, pairs.missing, strict=True), 1):
            here, there = inside(-distance), inside(distance)
            own = (planes[0, here] * planes[0, there]).contiguous()
            for plane in planes[1:]:  # one after the other: they stay in the cache
                own.addcmul_(plane[here], plane[there])
            own += missing[here]
            # Strictly less: the first of equal pairs decides.
            self._decides[here] = overwritten(self._decides[here], own < agreement[here], number)
            agreement[here] = torch.minimum(agreement[here], own)
        seeds = F.pad((1 - agreement).view(pairs.size), (1, 1, 1, 1), value=-1.0)
        rows, column = _first_largest([seeds[..., start : start + pairs.size[2]] for start in range(3)])
        self.values, row = _first_largest([rows[:, start : start + pairs.size[1]] for start in range(3)])
        columns = torch.stack([column[:, start : start + pairs.size[1]] for start in range(3)])
        column = columns.gather(0, row[None].long())[0]
        self._seed = ((row.int() - 1) * pairs.size[2] + (column.int() - 1)).flatten()  # where the largest one lies

    def add_slopes(self, slopes: Tensor, pixels: Tensor, weight: Tensor) -> None:
        """Add to `slopes`, (K, N H W), the gradient of the map at some pixels, (M,), times `weight`, (M,)."""
        weight = weight.to(slopes.dtype)
        seeds = weight.new_zeros(slopes.shape[1]).scatter_add_(0, pixels + self._seed[pixels], weight)
        deciding = ((seeds != 0) & (self._decides != 0)).nonzero().squeeze(1)
        partners, weight = deciding + self._distances[self._decides[deciding].long()], -seeds[deciding]
        for one, other in ((deciding, partners), (partners, deciding)):
            ends = self.planes.gather(1, other.expand(len(slopes), -1)).mul_(weight)
            slopes.scatter_add_(1, one.expand(len(slopes), -1), ends)


def _first_largest(values: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the largest of three tensors, element by element, and the number of the first that has it, uint8."""
    largest, number = values[0], torch.zeros(values[0].shape, dtype=torch.uint8, device=values[0].device)
    for place, value in enumerate(values[1:], 1):
        number = overwritten(number, value > largest, place)
        largest = torch.maximum(largest, value)
    return largest, number
