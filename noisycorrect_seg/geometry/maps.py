"""Maps of scores, (N, K, h, w): their sizes, resizing them, and which class wins."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError


def checked_size(size: Any, least: int = 2) -> tuple[int, int]:
    """Return a size (height, width) as whole numbers.

    Raises
    ------
    InvalidInputError
        If it is no pair of whole numbers of at least `least`.

    Examples
    --------
    >>> checked_size([473, 512])
    (473, 512)
    """
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise InvalidInputError("size=(height, width)", got=repr(size), fix="pass (473, 473), for example")
    return whole_number("height", size[0], least=least), whole_number("width", size[1], least=least)


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (N, K, h, w) at another size (height, width), bilinear, corners aligned.

    Examples
    --------
    >>> resized(torch.tensor([[[[0.0, 1.0]]]]), (1, 3))
    tensor([[[[0.0000, 0.5000, 1.0000]]]])
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


def winners(scores: Tensor) -> Tensor:
    """Return the class with the largest score at each pixel, int64 (N, h, w); the first of equal ones.

    Examples
    --------
    >>> winners(torch.tensor([[[[0.0, 2.0]], [[1.0, 2.0]]]])).tolist()
    [[[1, 0]]]
    """
    if scores.device.type != "cpu" or not 2 <= scores.shape[1] <= 256:
        return scores.max(1).indices
    # On the CPU torch's own does not vectorise over the pixels: this takes a third of the time.
    first, *others = scores.unbind(1)
    best, winner = first.contiguous(), torch.zeros(first.shape, dtype=torch.uint8)
    for place, plane in enumerate(others, 1):
        winner = overwritten(winner, plane > best, place)
        best = torch.maximum(best, plane)
    return winner.long()


def overwritten(numbers: Tensor, where: Tensor, number: int) -> Tensor:
    """Return numbers, uint8, with a number that is larger than all of them written where `where`, bool, says.

    As a maximum: torch's `masked_fill` does not vectorise on the CPU, and takes ten times as long.

    Examples
    --------
    >>> overwritten(torch.tensor([0, 1, 1], dtype=torch.uint8), torch.tensor([True, False, True]), 2).tolist()
    [2, 1, 2]
    """
    return torch.maximum(numbers, where.view(torch.uint8) * number)
