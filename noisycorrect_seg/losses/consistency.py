"""The consistency of parsing and edges (SCHP, Eq. 3), with a gradient."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from noisycorrect.support.door import door
from noisycorrect_seg.losses.edge import edge_margins, edges_of
from noisycorrect_seg.losses.resizing import enlarged
from noisycorrect_seg.losses.soft_edges import EdgeMap, Pairs
from noisycorrect_seg.losses.targets import Targets, by_class, check_maps, from_classes, targets_like, widen
from noisycorrect_seg.masks import IGNORE_INDEX


@door(own=True)
def consistency_loss(
    parsing_logits: Tensor, edge_logits: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    r"""Return how far edges of the parsing are from predicted edges, on the edges of the labels (SCHP, Eq. 3).

    .. math:: \frac{1}{|N^+|} \sum_{n \in N^+} \big| \tilde y_e^n - y_e^n \big| ,

    with :math:`N^+` the valid edge pixels of the labels, :math:`\tilde y_e` the edge map of the parsing and :math:`y_e`
    the probability of the edge branch. The published code takes the argmax of both maps and compares them where both
    are 1: it is 0 always, NaN where they share no pixel, and has no gradient. Here :math:`\tilde y_e` is
    :func:`~noisycorrect_seg.losses.soft_edges` of the parsing probabilities, so that either branch learns from the
    other. Pairs with an ignored pixel make no edge, as in the labels: a parsing that equals the labels and an edge
    branch that is sure of their edges cost 0.

    Parameters
    ----------
    parsing_logits : Tensor, shape (N, K, h, w)
        Scores of the classes. Logits are resized to the labels (bilinear, corners aligned); half precision is computed
        in float32.
    edge_logits : Tensor, shape (N, 2, h, w)
        Scores of the edge branch, class 1 = edge.
    labels : Tensor
        Hard labels, integer (N, H, W); or soft targets, floating (N, K, H, W), whose most probable classes are used.
    ignore_index : int
        Hard label of a pixel to leave out.

    Returns
    -------
    Tensor, scalar
        In [0, 1], float32 (float64 for float64 logits); 0, with gradients of zeros, if the labels have no edge.

    Raises
    ------
    InvalidInputError
        If shapes or labels are not as above.

    Examples
    --------
    >>> import torch
    >>> labels = torch.tensor([[[0, 0, 1, 1]]])
    >>> parsing = 50 * torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]]])
    >>> undecided = torch.zeros(1, 2, 1, 4)
    >>> consistency_loss(parsing, undecided, labels)  # three edge pixels, of which the edge branch is half sure
    tensor(0.5000)
    """
    check_maps(parsing_logits, "parsing logits")
    targets = targets_like(labels, parsing_logits, ignore_index, any_size=True)
    margins = edge_margins(edge_logits, len(parsing_logits), targets.size)
    probs = enlarged(widen(parsing_logits), targets.size).softmax(1)
    return consistency_of(probs, margins, LabelEdges(targets))


class LabelEdges:
    """The edges of a batch's labels, in the forms that the losses need.

    Attributes
    ----------
    map : Tensor, bool (N, H, W)
        :math:`N^+`: the valid pixels on an edge of the labels.
    count : Tensor, int64 ()
        How many they are.
    """

    def __init__(self, targets: Targets) -> None:
        self.map = edges_of(targets.labels, targets.valid).logical_and_(targets.valid)
        self.count = self.map.sum()
        self._valid = targets.valid

    @cached_property
    def pixels(self) -> Tensor:
        """Their positions in the flattened (N, H, W), int64."""
        return self.map.flatten().nonzero().squeeze(1)

    @cached_property
    def pairs(self) -> Pairs:
        """The pairs of pixels that can make an edge."""
        images, height, width = self._valid.shape
        return Pairs(torch.Size([images, 1, height, width]), self._valid)


def consistency_of(probs: Tensor, margins: Tensor, edges: LabelEdges) -> Tensor:
    """Return :func:`consistency_loss` of probabilities and edge margins (N, H, W)."""
    return cast(Tensor, _Consistency.apply(probs, margins, edges))  # type: ignore[no-untyped-call]


class _Consistency(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, probs: Tensor, margins: Tensor, edges: LabelEdges) -> Tensor:
        planes = by_class(probs)
        slopes = torch.zeros_like(planes)
        loss, of_margins = consistency_slopes(planes, margins, edges, slopes)
        ctx.save_for_backward(from_classes(slopes, probs.shape), of_margins)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        of_probs, of_margins = ctx.saved_tensors
        return grads[0] * of_probs, grads[0] * of_margins, None


def consistency_slopes(
    planes: Tensor, margins: Tensor, edges: LabelEdges, slopes: Tensor, *, weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return the loss of probabilities class by class, (K, N H W), and `weight` times its gradient for the margins.

    `weight` times the gradient for the probabilities is added to `slopes`.
    """
    found = EdgeMap(planes, edges.pairs)
    sure = margins.flatten()[edges.pixels].sigmoid()
    gap = found.values.flatten()[edges.pixels] - sure
    share = gap.sign().mul_(weight).div_(edges.count.clamp(min=1))
    found.add_slopes(slopes, edges.pixels, share)
    of_margins = torch.zeros_like(margins)
    of_margins.view(-1)[edges.pixels] = -share * sure * (1 - sure)
    return gap.abs().sum() / edges.count.clamp(min=1), of_margins
