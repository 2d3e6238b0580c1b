"""A transition matrix of many classes: the pairs that samples speak of, and one number a class for all others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

DENSE_CLASSES = 2048  # up to so many a (K, K) array takes 32 MB at most
KEPT_CLASSES = 16  # of each sample; the mass of the others counts evenly for all classes
PAIRS_AT_ONCE = 2**24  # that wait to be added up


@dataclass(frozen=True)
class SparseTransition:
    r"""How classes are labelled, :math:`T_{kj} = (S_{kj} + b_j + s) / c_k`, in memory that is linear in N and K.

    S counts the 16 most probable classes of each sample and its given one, b what is left, evenly for all K classes, s
    is the smoothing, and c makes rows sum to 1. With as many kept classes as there are it is
    :func:`~noisycorrect.labels.rules.estimated_transition`.

    Attributes
    ----------
    starts : Tensor, shape (K + 1,), int64
        Where the pairs of each given label begin.
    classes : Tensor, shape (P,), int64
        True class of each pair, rising within a given label.
    counts : Tensor, shape (P,), float32
        S.
    even : Tensor, shape (K,), float32
        :math:`b_j + s`, by given label.
    totals : Tensor, shape (K,), float32
        c, by true class.

    Examples
    --------
    >>> evidence = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> found = SparseTransition.counted(torch.tensor([0, 1, 1]), [(slice(None), evidence)], 2)
    >>> found.likelihoods(torch.tensor([0, 1]), torch.full((2, 2), 0.5))
    (tensor([0.2500, 0.3333]), tensor([0.4167, 0.5833]))
    """

    starts: Tensor
    classes: Tensor
    counts: Tensor
    even: Tensor
    totals: Tensor

    @classmethod
    def counted(
        cls,
        given: Tensor,
        evidence: Iterable[tuple[slice, Tensor]],
        num_classes: int,
        *,
        smoothing: float = 1.0,
        kept: int = KEPT_CLASSES,
    ) -> SparseTransition:
        """Count evidence, blocks of rows, by given label.

        Parameters
        ----------
        given : Tensor, shape (N,), int64
            0..K-1; -1 does not count.
        evidence : iterable of (slice, Tensor)
            Rows, and their probabilities (n, K).
        num_classes : int
            K.
        smoothing : float
            s, > 0.
        kept : int
            Classes of each sample that are counted one by one.
        """
        device, kept = given.device, min(kept, num_classes)
        even = torch.zeros(num_classes, dtype=torch.float32, device=device)
        cells = torch.zeros(0, dtype=torch.int64, device=device)
        counts = torch.zeros(0, dtype=torch.float32, device=device)
        waiting: list[tuple[Tensor, Tensor]] = []
        for rows, block in evidence:
            known = given[rows] >= 0
            label, probs = given[rows][known], block[known]
            ranked = probs.scatter(1, label.unsqueeze(1), 2.0)  # the given class is always among them
            places = ranked.topk(kept, dim=1, sorted=False).indices
            values = probs.gather(1, places)
            even.index_add_(0, label, (probs.sum(1) - values.sum(1)).clamp(min=0) / num_classes)
            waiting.append(((label.unsqueeze(1) * num_classes + places).flatten(), values.flatten()))
            if sum(len(each) for each, _ in waiting) > PAIRS_AT_ONCE:
                cells, counts = _added(cells, counts, waiting)
                waiting = []
        cells, counts = _added(cells, counts, waiting)
        even = even + smoothing
        classes = cells % num_classes
        totals = torch.zeros_like(even).index_add_(0, classes, counts) + even.sum()
        sizes = torch.bincount(cells // num_classes, minlength=num_classes)
        starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        return cls(starts, classes, counts, even, totals)

    def likelihoods(self, labels: Tensor, evidence: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`e_y T_{yy}` and :math:`\sum_k e_k T_{ky}` of labels (n,), >= 0, and evidence (n, K)."""
        scaled = evidence / self.totals
        mass = self.even[labels] * scaled.sum(1)
        begins, sizes = self.starts[labels], self.starts[labels + 1] - self.starts[labels]
        row = torch.repeat_interleave(torch.arange(len(labels), device=labels.device), sizes)
        pair = torch.arange(len(row), device=labels.device) - (sizes.cumsum(0) - sizes - begins)[row]
        each = scaled[row, self.classes[pair]] * self.counts[pair]
        mass = mass.index_add(0, row, each)
        place = labels.unsqueeze(1)
        mine = self.classes[pair] == labels[row]
        own = (self.even[labels] * scaled.gather(1, place).squeeze(1)).index_add(0, row[mine], each[mine])
        return own, mass


def _added(cells: Tensor, counts: Tensor, more: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the sorted cells of all, and the sum of what each counts."""
    if not more:
        return cells, counts
    every, place = torch.unique(torch.cat([cells, *(each for each, _ in more)]), return_inverse=True)
    values = torch.cat([counts, *(each for _, each in more)])
    return every, values.new_zeros(len(every)).index_add_(0, place, values)
