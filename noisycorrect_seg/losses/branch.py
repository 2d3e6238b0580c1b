r"""The terms of one parsing output, and their gradient, from few passes over its full-size maps.

The terms share the softmax, and so do their gradients. With p the probabilities, :math:`G = \partial L / \partial p`
the slopes of Lovász-Softmax and consistency, and the cross-entropy :math:`\frac1M \sum_i \sum_k t_{ik} (-\log p_{ik})`
of weighted targets t, with :math:`T_i = \sum_k t_{ik}` and :math:`M = \sum_i T_i`,

.. math:: \frac{\partial L}{\partial z_{ik}}
          = p_{ik} \Big(G_{ik} - \sum_l G_{il}\, p_{il} + \frac{T_i}{M}\Big) - \frac{t_{ik}}{M} .
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from noisycorrect_seg.losses.consistency import LabelEdges, consistency_slopes
from noisycorrect_seg.losses.lovasz import lovasz_slopes
from noisycorrect_seg.losses.resizing import enlarge, gathered
from noisycorrect_seg.losses.targets import Targets


@dataclass(frozen=True)
class BranchTerms:
    """Which terms a parsing output has, and what they compare it with; shared between the outputs of a network.

    Attributes
    ----------
    targets : Targets
        Of the batch.
    lovasz_targets : Targets
        What Lovász-Softmax is compared with: the same, or their most probable classes.
    edges : LabelEdges
        Of the targets.
    cross_entropy, lovasz, consistency : float
        Weight of each term; 0 leaves it out.
    class_weights : Tensor, shape (K,), or None
        In the cross-entropy.
    bins : int or None
        Of the linear Lovász method.
    dtype : torch.dtype
        Of the logits: float32 or float64.
    """

    targets: Targets
    lovasz_targets: Targets
    edges: LabelEdges
    cross_entropy: float
    lovasz: float
    consistency: float
    class_weights: Tensor | None
    bins: int | None
    dtype: torch.dtype

    @cached_property
    def shares(self) -> Tensor:
        """Weighted targets t: soft ones (K, N H W); of hard labels what each pixel's class counts, (N H W)."""
        targets, weights = self.targets, self.class_weights
        if targets.soft is not None:
            return targets.planes if weights is None else targets.planes * weights.to(targets.planes)[:, None]
        valid = targets.valid.flatten()
        if weights is None:
            return valid.to(self.dtype)
        return weights.to(valid.device, self.dtype)[targets.classes].where(valid, 0)

    @cached_property
    def mass(self) -> Tensor:
        """T, what each pixel counts in the cross-entropy, (N H W)."""
        return self.shares if self.targets.soft is None else self.shares.sum(0)

    @cached_property
    def total(self) -> Tensor:
        """M, what all pixels count in the cross-entropy; 1 if it is 0."""
        total = self.targets.count if self.class_weights is None else self.mass.sum()
        return total.where(total > 0, 1).to(self.dtype)  # else a share of it is float32

    def loss_and_gradient(self, logits: Tensor, margins: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Return the weighted sum of the terms, and its gradient for the logits (N, K, h, w) and the edge margins."""
        images, classes, height, width = logits.shape
        planes = enlarge(logits.transpose(0, 1).contiguous(), self.targets.size).flatten(1)
        terms = [self._softmax(planes)]
        slopes = torch.zeros_like(planes)
        if self.lovasz:
            compared = self.lovasz_targets
            found = lovasz_slopes(
                planes, compared, slopes, classes=compared.present, bins=self.bins, weight=self.lovasz
            )
            terms.append(self.lovasz * found)
        gradients = []
        if margins is not None:
            found, gradient = consistency_slopes(planes, margins, self.edges, slopes, weight=self.consistency)
            terms.append(self.consistency * found)
            gradients.append(gradient)
        self._through_softmax(slopes, planes)
        small = gathered(slopes.view(classes, images, *self.targets.size), (height, width))
        return torch.stack(terms).sum(), [small.transpose(0, 1).contiguous(), *gradients]

    def _softmax(self, planes: Tensor) -> Tensor:
        """Turn scores (K, N H W) into probabilities in place, and return their cross-entropy, weighted."""
        targets, top = self.targets, planes.amax(0)
        total, found = torch.zeros_like(top), planes.new_zeros(())
        soft = self.shares if self.cross_entropy and targets.soft is not None else None
        if self.cross_entropy and soft is None:
            own = planes.gather(0, targets.classes[None])[0].sub_(top)
        for label, plane in enumerate(planes):  # one after the other: it stays in the cache
            plane.sub_(top)
            if soft is not None:
                found.sub_(torch.dot(soft[label].to(plane.dtype), plane))
            total.add_(plane.exp_())
        planes.div_(total)
        if not self.cross_entropy:
            return found
        # Neither part is below 0: nothing cancels.
        if soft is not None:
            found.add_(torch.dot(self.mass.to(planes.dtype), total.log_()))
        else:
            found = total.log_().sub_(own).mul_(self.mass).where(targets.valid.flatten(), 0).sum()
        return self.cross_entropy / self.total * found

    def _through_softmax(self, slopes: Tensor, probs: Tensor) -> None:
        """Turn slopes for the probabilities into those for the scores, in place, the cross-entropy's among them."""
        share = self.cross_entropy / self.total if self.cross_entropy else None
        shift = torch.zeros_like(slopes[0])
        for slope, plane in zip(slopes, probs, strict=True):
            shift.addcmul_(slope, plane, value=-1)
        if share is not None:
            shift.addcmul_(self.mass.to(shift.dtype), share)
        soft = self.shares if share is not None and self.targets.soft is not None else None
        for label, (slope, plane) in enumerate(zip(slopes, probs, strict=True)):
            slope.add_(shift).mul_(plane)
            if soft is not None and share is not None:
                slope.addcmul_(soft[label].to(slope.dtype), share, value=-1)
        if share is not None and soft is None:
            slopes.scatter_add_(0, self.targets.classes[None], (-share * self.mass)[None])
