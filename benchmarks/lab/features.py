"""Fixed features of small images: histograms of oriented gradients, and coarse colour."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.support.errors import InvalidInputError

ORIENTATIONS, CELL, BLOCK = 9, 8, 2
_CLIPPED_AT, _TINY = 0.2, 1e-6
_IMAGES_AT_ONCE = 500


def hog_features(images: Tensor) -> Tensor:
    r"""Return histograms of oriented gradients (Dalal & Triggs 2005, sec. 6) and the mean colour of each cell.

    The gradient of a pixel is :math:`(I(x+1) - I(x-1), I(y+1) - I(y-1))`, of the channel where it is largest. It votes
    with its magnitude for the two nearest of 9 unsigned orientations, linearly. Cells have 8x8 pixels; blocks of 2x2
    cells, one a cell apart, are normalised by L2-Hys: :math:`v / \sqrt{|v|^2 + \epsilon^2}`, clipped at 0.2, and again.
    Votes are not shared between cells, and blocks have no Gaussian window.

    Parameters
    ----------
    images : Tensor, float, shape (N, C, H, W)
        Values in [0, 1]; H and W multiples of 8, at least 16.

    Returns
    -------
    Tensor, float32, shape (N, 36 * (H / 8 - 1) * (W / 8 - 1) + C * H / 8 * W / 8)
        Of 32x32 images in colour: 324 + 48.

    Raises
    ------
    InvalidInputError
        If the images have another shape.

    Examples
    --------
    >>> hog_features(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 372])
    """
    sizes = images.shape[2:]
    if images.dim() != 4 or any(size % CELL or size < BLOCK * CELL for size in sizes):
        raise InvalidInputError(
            f"images (N, C, H, W), H and W multiples of {CELL}, at least {BLOCK * CELL}",
            got=f"shape {tuple(images.shape)}",
        )
    starts = range(0, len(images), _IMAGES_AT_ONCE)
    return torch.cat([_features(images[start : start + _IMAGES_AT_ONCE].float()) for start in starts])


def _features(images: Tensor) -> Tensor:
    colours = F.avg_pool2d(images, CELL)
    histograms = F.avg_pool2d(orientation_votes(images), CELL)
    return torch.cat([normalised_blocks(histograms).flatten(1), colours.flatten(1)], dim=1)


def orientation_votes(images: Tensor) -> Tensor:
    """Return each pixel's votes for the orientations, (N, 9, H, W), of images (N, C, H, W); see :func:`hog_features`.

    Examples
    --------
    >>> votes = orientation_votes(torch.arange(4.0).expand(1, 1, 4, 4))
    >>> votes[0, :, 1, 1].nonzero().flatten().tolist()  # a vertical edge, halfway between the last bin and the first
    [0, 8]
    """
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    right = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    strongest = (right**2 + down**2).argmax(1, keepdim=True)
    right, down = (gradient.gather(1, strongest) for gradient in (right, down))
    magnitude = torch.sqrt(right**2 + down**2)
    # Bin k is centred at (k + 1/2) / 9 of half a turn.
    place = torch.remainder(torch.atan2(down, right), math.pi) * (ORIENTATIONS / math.pi) - 0.5
    lower = place.floor()
    upper_share = place - lower
    votes = images.new_zeros(len(images), ORIENTATIONS, *images.shape[2:])
    votes.scatter_add_(1, lower.long() % ORIENTATIONS, magnitude * (1 - upper_share))
    return votes.scatter_add_(1, (lower.long() + 1) % ORIENTATIONS, magnitude * upper_share)


def normalised_blocks(histograms: Tensor) -> Tensor:
    """Return the blocks of 2x2 cells, L2-Hys normalised, (N, 36, L), of histograms (N, 9, rows, columns).

    Examples
    --------
    >>> normalised_blocks(torch.ones(1, 9, 4, 4)).shape
    torch.Size([1, 36, 9])
    """
    blocks = F.unfold(histograms, BLOCK)
    return _unit(_unit(blocks).clamp(max=_CLIPPED_AT))


def _unit(blocks: Tensor) -> Tensor:
    return blocks / torch.sqrt((blocks**2).sum(1, keepdim=True) + _TINY**2)
