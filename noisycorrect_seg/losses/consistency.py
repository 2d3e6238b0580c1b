"""The consistency of parsing and edges (SCHP, Eq. 3), with a gradient."""

from __future__ import annotations

from torch import Tensor

from noisycorrect.support.door import door
from noisycorrect_seg.geometry.maps import resized
from noisycorrect_seg.losses.edge import edge_margins, edges_of, grown
from noisycorrect_seg.losses.soft_edges import soft_edges_at
from noisycorrect_seg.losses.targets import Targets, check_maps, targets_like, widen
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
    probs = resized(widen(parsing_logits), targets.size).softmax(1)
    return consistency_of(probs, margins, label_edges(targets), targets)


def label_edges(targets: Targets) -> Tensor:
    """Return :math:`N^+`: the valid pixels on an edge of the labels, bool (N, H, W)."""
    return edges_of(targets.labels, targets.valid).logical_and_(targets.valid)


def consistency_of(probs: Tensor, margins: Tensor, edges: Tensor, targets: Targets) -> Tensor:
    """Return :func:`consistency_loss` of probabilities, edge margins (N, H, W) and :func:`label_edges`."""
    around = (grown(edges, 1) & targets.valid).flatten().nonzero().squeeze(1)
    gap = soft_edges_at(probs, around, targets.valid) - margins.sigmoid()
    return gap.abs().where(edges, 0).sum() / edges.sum().clamp(min=1)
