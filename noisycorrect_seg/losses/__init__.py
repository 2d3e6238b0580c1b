"""Losses of human parsing, for hard labels and soft targets (SCHP, sec. 3.2)."""

from noisycorrect_seg.losses.consistency import consistency_loss
from noisycorrect_seg.losses.cross_entropy import cross_entropy
from noisycorrect_seg.losses.edge import balanced_edge_loss, edge_targets
from noisycorrect_seg.losses.lovasz import lovasz_softmax
from noisycorrect_seg.losses.parsing import ParsingLoss
from noisycorrect_seg.losses.soft_edges import soft_edges

__all__ = [
    "ParsingLoss",
    "balanced_edge_loss",
    "consistency_loss",
    "cross_entropy",
    "edge_targets",
    "lovasz_softmax",
    "soft_edges",
]
