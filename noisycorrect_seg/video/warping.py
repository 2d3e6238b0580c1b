"""Looking maps up along a flow, and telling where a flow may be believed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Sundaram, Brox and Keutzer, "Dense point trajectories by GPU-accelerated large displacement optical flow", ECCV 2010:
# the squared length of what remains after going there and back, as a share of both ways' and as pixels.
SHARE, PIXELS = 0.01, 0.5
# Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018: exp(-50 |difference|^2), of values in 0..1.
CONTRAST = 50.0


def grid_of(flow: Tensor) -> Tensor:
    """Return where the pixels of a flow (N, 2, H, W) lead, (N, H, W, 2), in -1..1 from corner to corner.

    Examples
    --------
    >>> grid_of(torch.zeros(1, 2, 1, 3))[0, 0, :, 0].tolist()
    [-1.0, 0.0, 1.0]
    """
    height, width = flow.shape[-2:]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device) + flow[:, 0]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None] + flow[:, 1]
    return torch.stack([x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1], -1)


def looked_up(maps: Tensor, grid: Tensor, mode: str = "bilinear") -> Tensor:
    """Return maps (N, C, H, W) at the places of a grid; beyond the border is what is at the border."""
    return F.grid_sample(maps, grid, mode=mode, padding_mode="border", align_corners=True)


def warped(maps: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """Return maps (C, H, W) of the second frame as seen from the first, by the flow (2, H, W) from first to second.

    Examples
    --------
    >>> ahead = torch.tensor([1.0, 0.0])[:, None, None].expand(2, 1, 4)  # everything moves right by a pixel
    >>> warped(torch.tensor([[[9.0, 1.0, 2.0, 3.0]]]), ahead).tolist()
    [[[1.0, 2.0, 3.0, 3.0]]]
    """
    return looked_up(maps[None], grid_of(flow[None]), mode)[0]


def composed(first: Tensor, then: Tensor) -> Tensor:
    """Return the flow over two steps, (2, H, W): each pixel goes along the first, and from where it arrives, the other.

    Examples
    --------
    >>> right = torch.tensor([1.0, 0.0])[:, None, None].expand(2, 3, 4)
    >>> composed(right, right)[:, 0, 0].tolist()
    [2.0, 0.0]
    """
    return first + warped(then, first)


def consistent(forward: Tensor, backward: Tensor) -> Tensor:
    r"""Return the pixels of the first frame that the second shows, too, bool (H, W).

    A pixel that goes along the flow to the second frame and back along that frame's own flow comes home, unless
    something covers it there: :math:`|f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5`, with b looked up where f leads. Pixels
    that leave the frame are not shown.

    Parameters
    ----------
    forward, backward : Tensor, shape (2, H, W)
        Flows from the first frame to the second, and from the second to the first.

    Examples
    --------
    >>> right = torch.tensor([1.0, 0.0])[:, None, None].expand(2, 1, 4)
    >>> consistent(right, -right).tolist(), consistent(right, right).tolist()
    ([[True, True, True, False]], [[False, False, False, False]])
    """
    grid = grid_of(forward[None])
    back = looked_up(backward[None], grid)[0]
    left = ((forward + back) ** 2).sum(0)
    lengths = (forward**2).sum(0) + (back**2).sum(0)
    inside = (grid[0].abs() <= 1 + 1e-6).all(-1)
    return (left < SHARE * lengths + PIXELS) & inside


def likeness(image: Tensor, other: Tensor) -> Tensor:
    """Return how alike two images look at each pixel, float (H, W): exp(-50 d^2), of the colours' distance d.

    Parameters
    ----------
    image, other : Tensor, shape (3, H, W)
        Values in 0..1.

    Examples
    --------
    >>> likeness(torch.zeros(3, 1, 2), torch.tensor([0.0, 1.0]).expand(3, 1, 2)).round(decimals=3).tolist()
    [[1.0, 0.0]]
    """
    return torch.exp(-CONTRAST * ((image - other) ** 2).sum(0))
