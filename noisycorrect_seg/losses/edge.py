"""The edge branch: where labels change, and the loss of telling those pixels from the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.losses.resizing import enlarged
from noisycorrect_seg.losses.targets import check_maps, widen
from noisycorrect_seg.masks import IGNORE_INDEX, check_ignored

EDGE_WIDTH = 3
PAIRS = ((-1, 0), (0, 1), (1, 1), (1, -1))
"""Where the partner of a pixel lies, (dy, dx), in the pairs that can make the pixel a seed of an edge.

The seed is the lower pixel of a vertical pair, the left one of a horizontal pair and the upper one of a diagonal pair,
as in the published code."""


@door(own=True)
def edge_targets(labels: Tensor, ignore_index: int = IGNORE_INDEX, *, width: int = EDGE_WIDTH) -> Tensor:
    """Return where labels change: the targets of the edge branch, as the published code makes them.

    A pixel is a seed if its label differs from that of its upper, right, lower left or lower right neighbour, and
    neither is ignored. Seeds grow to squares of `width` x `width`, cut off at the border. (The published code changes
    the size of the map at widths other than 3.)

    Parameters
    ----------
    labels : Tensor, shape (N, H, W) or (H, W)
        Hard labels, integer.
    ignore_index : int
        Label of a pixel that makes no edge. Beside an edge its target is 1 all the same, as published; write 255 there
        to leave it out of :func:`balanced_edge_loss`.
    width : int
        Odd, at least 1.

    Returns
    -------
    Tensor, uint8, shape of `labels`
        1 on an edge, else 0.

    Raises
    ------
    InvalidInputError
        If the labels are not integers of that shape, the width is even, or 255 is to be ignored and there are more
        classes.

    Examples
    --------
    >>> edge_targets(torch.tensor([[0, 0, 0, 0, 1, 1, 1]]))
    tensor([[0, 0, 1, 1, 1, 0, 0]], dtype=torch.uint8)
    >>> edge_targets(torch.tensor([[0, 0, 0, 255, 1, 1, 1]]))
    tensor([[0, 0, 0, 0, 0, 0, 0]], dtype=torch.uint8)
    """
    shape = tuple(labels.shape)
    if labels.dim() not in (2, 3) or labels.is_floating_point() or labels.is_complex() or labels.dtype is torch.bool:
        raise InvalidInputError(
            "integer labels of shape (N, H, W) or (H, W)",
            got=f"{labels.dtype} of shape {shape}",
            fix="pass class indices; of soft targets, targets.argmax(1)",
        )
    if not isinstance(width, int) or width < 1 or width % 2 == 0:
        raise InvalidInputError("an odd edge width", got=repr(width), fix="3 is the published one")
    wide = labels.long()  # uint8 would take -100 for 156
    most = int(wide.max()) if ignore_index == IGNORE_INDEX and wide.numel() else 0
    if most > IGNORE_INDEX:  # then 255 is a class, too
        check_ignored(ignore_index, most + 1)
    return edges_of(wide, wide != ignore_index, width).to(torch.uint8)


def edges_of(labels: Tensor, valid: Tensor, width: int = EDGE_WIDTH) -> Tensor:
    """Return :func:`edge_targets` as bool; `valid` (bool, shape of `labels`) says which pixels can make an edge."""
    seeds = torch.zeros_like(valid)
    for dy, dx in PAIRS:
        seed, partner = (..., inside(-dy), inside(-dx)), (..., inside(dy), inside(dx))
        seeds[seed] |= (labels[seed] != labels[partner]) & valid[seed] & valid[partner]
    return grown(seeds, width // 2)


def inside(step: int) -> slice:
    """Return the part of an axis that a shift by `step` comes to lie on."""
    return slice(max(0, step), min(0, step) or None)


def grown(mask: Tensor, radius: int) -> Tensor:
    """Return a mask (..., H, W) grown by `radius` pixels in all eight directions, bool."""
    rows = mask.clone()
    for step in range(1, radius + 1):
        rows[..., step:, :] |= mask[..., :-step, :]
        rows[..., :-step, :] |= mask[..., step:, :]
    both = rows.clone()
    for step in range(1, radius + 1):
        both[..., step:] |= rows[..., :-step]
        both[..., :-step] |= rows[..., step:]
    return both


@door(own=True)
def balanced_edge_loss(logits: Tensor, targets: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    r"""Return the cross-entropy of the edge branch, edges and other pixels counting alike.

    The published weights, :math:`w_0 = n_1 / n` for the :math:`n_0` other pixels and :math:`w_1 = n_0 / n` for the
    :math:`n_1` edge pixels of a batch, divide out of torch's weighted mean:

    .. math:: \frac{w_0 \sum_{t_i=0} \ell_i + w_1 \sum_{t_i=1} \ell_i}{w_0 n_0 + w_1 n_1}
              = \frac12 \Big(\frac1{n_0} \sum_{t_i=0} \ell_i + \frac1{n_1} \sum_{t_i=1} \ell_i\Big) .

    This is computed: the mean over the two kinds of the mean over their pixels. Where one kind does not occur the
    published code gives 0/0; here the mean of the other kind remains, the unweighted cross-entropy.

    Parameters
    ----------
    logits : Tensor, shape (N, 2, h, w)
        Class 1 is edge. Resized to the targets (bilinear, corners aligned); half precision is computed in float32.
    targets : Tensor, shape (N, H, W), integer
        0, 1 or `ignore_index`; see :func:`edge_targets`.
    ignore_index : int
        Target of a pixel to leave out.

    Returns
    -------
    Tensor, scalar
        At least 0, float32 (float64 for float64 `logits`); 0, with a gradient of zeros, if no pixel is valid.

    Raises
    ------
    InvalidInputError
        If shapes or targets are not as above.

    Examples
    --------
    >>> logits = torch.tensor([[[[0.0, 0.0, 0.0, 0.0]], [[-2.0, -2.0, -2.0, 1.0]]]])
    >>> balanced_edge_loss(logits, torch.tensor([[[0, 0, 0, 1]]]))  # (log(1 + e^-2) + log(1 + e^-1)) / 2
    tensor(0.2201)
    """
    check_maps(logits, "edge logits", channels=2)
    shape = tuple(targets.shape)
    if len(shape) != 3 or shape[0] != len(logits) or targets.is_floating_point() or targets.is_complex():
        raise InvalidInputError(
            f"integer edge targets of shape ({len(logits)}, H, W)",
            got=f"{targets.dtype} of shape {shape}",
            fix="pass edge_targets(labels)",
        )
    targets = targets.long()  # uint8 would take -100 for 156
    valid = targets != ignore_index
    if bool((valid & (targets != 0) & (targets != 1)).any()):
        raise InvalidInputError(
            f"edge targets 0, 1 or {ignore_index}", got="other values", fix="pass edge_targets(labels), not the labels"
        )
    margins = edge_margins(logits, shape[0], (shape[1], shape[2]))
    return balanced_edge_loss_of(margins, (targets == 1) & valid, valid)


def edge_margins(logits: Tensor, images: int, size: tuple[int, int]) -> Tensor:
    """Return the edge logit less the other one, (N, H, W), N = `images`, (H, W) = `size`, float32 at least.

    Its sigmoid is the probability of an edge. Resizing is linear, so one map is resized and not two.

    Raises
    ------
    InvalidInputError
        If the logits are not (N, 2, h, w).
    """
    check_maps(logits, "edge logits", channels=2, images=images)
    wide = widen(logits)
    return enlarged(wide[:, 1:] - wide[:, :1], size).squeeze(1)


def balanced_edge_loss_of(margins: Tensor, edges: Tensor, valid: Tensor) -> Tensor:
    """Return :func:`balanced_edge_loss` of margins (N, H, W); `edges` and `valid` are bool of that shape."""
    losses = -F.logsigmoid(margins.where(edges, -margins))
    means, kinds = [], []
    for kind in (valid & edges, valid & ~edges):
        count = kind.sum()
        means.append(losses.where(kind, 0).sum() / count.clamp(min=1))
        kinds.append(count > 0)
    return torch.stack(means).sum() / torch.stack(kinds).sum().clamp(min=1)
