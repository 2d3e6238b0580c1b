"""Where the outlines of a label map lie, and how well two maps agree near them (Cheng et al., CVPR 2021)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from noisycorrect.support.errors import InvalidInputError

PAPER_WIDTH = 0.02  # of the image's diagonal; what Cheng et al. use for Boundary IoU
OUTSIDE = -2  # beyond the image's edge; no class, and not ignored


class BoundaryCounts(NamedTuple):
    """Pixels of each class near an outline, int64 (K,) each; sums over images add up.

    Attributes
    ----------
    both : Tensor
        Near the outline of the class in both maps.
    labels, pred : Tensor
        Near the outline of the class in that map.
    """

    both: Tensor
    labels: Tensor
    pred: Tensor


def boundary_distance(width: float, height: int, breadth: int) -> int:
    """Return the distance d, in pixels, up to which a pixel counts as near an outline.

    Parameters
    ----------
    width : int or float
        A whole number >= 1 is d itself; a fraction in (0, 1) is a share of the image's diagonal, rounded, at least 1
        pixel. :data:`PAPER_WIDTH` is the paper's.
    height, breadth : int
        Of the image, in pixels.

    Raises
    ------
    InvalidInputError
        If `width` is neither.

    Examples
    --------
    >>> boundary_distance(3, 473, 473), boundary_distance(0.02, 473, 473), boundary_distance(0.02, 10, 10)
    (3, 13, 1)
    """
    number = math.nan if isinstance(width, (bool, str)) else float(width)
    if 0 < number < 1:
        return max(1, round(number * math.hypot(height, breadth)))
    if not number.is_integer() or number < 1:
        raise InvalidInputError(
            "boundary_width as a whole number of pixels >= 1, or a share of the diagonal in (0, 1)",
            got=repr(width),
            fix=f"{PAPER_WIDTH} is the paper's",
        )
    return int(number)


def near_boundary(labels: Tensor, distance: int, ignore_index: int = 255) -> Tensor:
    r"""Return which pixels lie within a distance of the outline of their own class.

    A pixel does if a pixel of another class, or the world beyond the image, is at most `distance` pixels away along x
    and along y. That is the set :math:`G_d \cap G` of each class mask G at once: a mask minus its erosion by a square
    of side 2d + 1, with the image's edge as an outline, as in the authors' code. Ignored pixels make no outline.

    Parameters
    ----------
    labels : Tensor of int, shape (N, H, W)
        Class indices; `ignore_index` is ignored.
    distance : int
        d, at least 1.
    ignore_index : int
        Marks pixels that do not count.

    Returns
    -------
    Tensor of bool, shape (N, H, W)
        False at ignored pixels.

    Examples
    --------
    >>> labels = torch.zeros(1, 5, 7, dtype=torch.int64)
    >>> labels[0, :, 5:] = 1
    >>> near_boundary(labels, 1)[0, 2].int().tolist()  # the image's edge, and both sides of the step between 4 and 5
    [1, 0, 0, 0, 1, 1, 1]
    """
    ignored = labels.long() == ignore_index  # uint8 would take -1 for 255
    wide = labels.to(torch.int16)
    none = torch.iinfo(torch.int16)
    # OUTSIDE is less than any class, so that a window that leaves the image has another least value than its class.
    distance = min(distance, max(labels.shape[-2:]))  # from there on every window leaves the image
    least = -_window_max(torch.where(ignored, none.min, -wide), distance, outside=-OUTSIDE)
    most = _window_max(torch.where(ignored, none.min, wide), distance, outside=OUTSIDE)
    return (least != most) & ~ignored


def _window_max(values: Tensor, distance: int, *, outside: int) -> Tensor:
    """Return the largest value within `distance` along both axes, shape of `values`; `outside` lies beyond the edge."""
    for dim in (-1, -2):
        values = _line_max(values, distance, dim, outside)
    return values


def _line_max(values: Tensor, distance: int, dim: int, outside: int) -> Tensor:
    """Return the largest of 2 `distance` + 1 neighbours along one axis, in about log2(distance) passes."""
    length = values.shape[dim]
    edge = torch.full_like(values.narrow(dim, 0, 1), outside).expand(
        *(distance if axis == values.dim() + dim else size for axis, size in enumerate(values.shape))
    )
    runs, span = torch.cat([edge, values, edge], dim), 1  # runs[i] is the largest of values i .. i + span - 1
    window = 2 * distance + 1
    while 2 * span <= window:
        usable = runs.shape[dim] - span
        runs = torch.maximum(runs.narrow(dim, 0, usable), runs.narrow(dim, span, usable))
        span *= 2
    # Two runs that overlap cover the window.
    return torch.maximum(runs.narrow(dim, 0, length), runs.narrow(dim, window - span, length))


def boundary_counts(
    pred: Tensor, labels: Tensor, num_classes: int, ignore_index: int = 255, *, width: float = PAPER_WIDTH
) -> BoundaryCounts:
    """Count the pixels near the outlines of each class in two label maps.

    Parameters
    ----------
    pred, labels : Tensor of int, shape (N, H, W)
        Classes 0..K-1. Where `labels` is `ignore_index`, neither map counts or makes an outline.
    num_classes : int
        K.
    ignore_index : int
        Marks pixels of `labels` that do not count.
    width : int or float
        See :func:`boundary_distance`.

    Returns
    -------
    BoundaryCounts

    Examples
    --------
    >>> pred, labels = torch.zeros(1, 4, 4, dtype=torch.int64), torch.zeros(1, 4, 4, dtype=torch.int64)
    >>> labels[0, 0] = 1
    >>> boundary_counts(pred, labels, 2, width=1)
    BoundaryCounts(both=tensor([8, 0]), labels=tensor([10,  4]), pred=tensor([12,  0]))
    """
    distance = boundary_distance(width, *labels.shape[-2:])
    labels = labels.long()
    pred = torch.where(labels == ignore_index, ignore_index, pred.long())
    near_labels = near_boundary(labels, distance, ignore_index)
    near_pred = near_boundary(pred, distance, ignore_index)
    both = near_labels & near_pred & (pred == labels)

    def count(values: Tensor, chosen: Tensor) -> Tensor:
        return torch.bincount(values[chosen], minlength=num_classes)

    return BoundaryCounts(count(labels, both), count(labels, near_labels), count(pred, near_pred))


def boundary_iou(counts: BoundaryCounts) -> Tensor:
    r"""Return the Boundary IoU of each class, float64 (K,), in [0, 1]; NaN for a class near no outline in either map.

    .. math:: \frac{|(G_d \cap G) \cap (P_d \cap P)|}{|(G_d \cap G) \cup (P_d \cap P)|}

    (Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021, Eq. 2; there for
    one pair of masks, here over the summed pixels of all images, as mean IoU is.)

    Examples
    --------
    >>> boundary_iou(BoundaryCounts(torch.tensor([2, 0]), torch.tensor([3, 0]), torch.tensor([3, 0])))
    tensor([0.5000,    nan], dtype=torch.float64)
    """
    both, labels, pred = (part.double() for part in counts)
    return both / (labels + pred - both)
