"""Outlines of objects that lie too far out or in all around: drawn wide or narrow by habit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect_seg.geometry.maps import winners
from noisycorrect_seg.geometry.objects import Objects, objects_of


def shifted_borders(given: Tensor, evidence: Tensor, *, least: int, shift: float) -> Tensor:
    """Return the places along the outlines of given objects that lie too far out or in all around, bool (n, h, w).

    A given object and the evidence's own object of its class that it meets most of are compared: their difference in
    size over the places of the outline is how far the outline lies outside or inside on average. A person's uneven hand
    averages out, a border drawn wide or narrow does not (after Zhu et al. 2023, arXiv:2308.02498, the border's mean
    signed distance). Of objects that differ by at least `shift`, and share more than a third of what they cover
    together, the places where the two differ are returned.

    Parameters
    ----------
    given, evidence, least
        As for :func:`~noisycorrect_seg.geometry.objects.missing_objects`.
    shift : float
        In places of the evidence, > 0.

    Examples
    --------
    >>> given = torch.zeros(1, 7, 7, dtype=torch.int64)
    >>> given[0, 1:6, 1:6] = 1
    >>> evidence = torch.zeros(1, 2, 7, 7)
    >>> evidence[0, 1, 2:5, 2:5] = 1.0
    >>> evidence[:, 0] = 1 - evidence[:, 1]
    >>> int(shifted_borders(given, evidence, least=4, shift=0.5).sum())
    16
    """
    classes = evidence.shape[1]
    seen = winners(evidence)
    found, own = objects_of(given, evidence), objects_of(seen, evidence)
    same = (given == seen) & (found.ids >= 0)
    pairs = found.ids[same] * len(own.classes) + own.ids[same]
    met, shared = torch.unique(pairs, return_counts=True)
    first, second = met // len(own.classes), met % len(own.classes)
    # Of several partners the one that shares most: written last.
    order = shared.argsort()
    partner = torch.full((len(found.classes),), -1).index_put_((first[order],), second[order])
    overlap = torch.zeros(len(found.classes), dtype=torch.int64).index_put_((first[order],), shared[order])
    size = torch.where(partner >= 0, own.sizes[partner.clamp(min=0)], 0)
    outline = _outline(given, found, classes)
    mean_shift = (found.sizes - size).float() / outline.clamp(min=1)
    united = found.sizes + size - overlap
    shifted = (found.classes > 0) & (partner >= 0) & (found.sizes >= least) & (overlap * 3 > united)
    shifted &= mean_shift.abs() >= shift
    outside = found.places(shifted) & (given != seen)
    takers = torch.zeros(len(own.classes) + 1, dtype=torch.bool)
    takers[partner[shifted]] = True
    inside = takers[own.ids] & (given != seen) & (given < classes)
    return outside | inside


def _outline(given: Tensor, found: Objects, classes: int) -> Tensor:
    """Return how many places of each object lie beside another class or the edge, int64 (m,)."""
    shown = torch.stack([given == number for number in range(classes)], 1).float()
    inner = -F.max_pool2d(F.pad(-shown, (1, 1, 1, 1)), 3, stride=1) > 0
    on_edge = (found.ids >= 0) & ~inner.any(1)
    return torch.bincount(found.ids[on_edge], minlength=len(found.classes))
