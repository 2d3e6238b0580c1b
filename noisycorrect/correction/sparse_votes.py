"""Neighbours' votes where classes are many: of each sample the classes that a neighbour has, and its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from noisycorrect.correction.neighbors import CLASS_POWER
from noisycorrect.labels.storage import TopEvidence
from noisycorrect.review.likelihood import evenly, fit_sparse_transition

ROWS_AT_ONCE = 2**17
MOST_VALUES = 2**21  # N x m that a transition is fitted to
TOLERANCE = 1e-4  # of pairs that a few samples speak of more is not known


@dataclass(frozen=True)
class SparseVotes:
    r"""Class probabilities that are one by one for m classes of a sample, and :math:`s_i b_k` for every other one.

    Attributes
    ----------
    classes : Tensor, shape (N, m), int32
        Rising, those of the neighbours and the given one; K in a place that holds none.
    values : Tensor, shape (N, m), float32
        Their probabilities; 0 where there is none.
    scale : Tensor, shape (N,), float32
        s.
    base : Tensor, shape (K,), float32
        b.
    """

    classes: Tensor
    values: Tensor
    scale: Tensor
    base: Tensor

    @property
    def num_classes(self) -> int:
        """Number of classes, K."""
        return len(self.base)

    def dense(self) -> Tensor:
        """Return all probabilities, float32 (N, K)."""
        probs = torch.cat([self.scale.unsqueeze(1) * self.base, self.scale.new_zeros(len(self.scale), 1)], 1)
        return probs.scatter_(1, self.classes.long(), self.values)[:, :-1]

    def highest(self) -> Tensor:
        """Return the most probable class of each sample, int64 (N,)."""
        value, place = self.values.max(1)
        most, other = self.base.max(0)
        found = self.classes.gather(1, place.unsqueeze(1)).squeeze(1).long()
        return torch.where(self.scale * most > value, other, found)


def sparse_votes(given: Tensor, neighbors: Tensor, num_classes: int, rounds: int) -> SparseVotes:
    """Return what :func:`~noisycorrect.correction.neighbors.neighbor_votes` does, in memory that is linear in N and K.

    Parameters
    ----------
    given, neighbors, num_classes, rounds
        As there.

    Examples
    --------
    >>> found = sparse_votes(torch.tensor([0, 0, 0, 1]), torch.tensor([[1, 2], [0, 2], [0, 1], [0, 1]]), 3, rounds=1)
    >>> found.classes[3].tolist(), found.dense()[3]
    ([0, 3, 1], tensor([0.9167, 0.0833, 0.0000]))
    """
    labeled = given >= 0
    prior = torch.bincount(given[labeled], minlength=num_classes).float() / max(1, int(labeled.sum()))
    share = torch.cat([prior, prior.new_zeros(1)])
    count, kept = len(given), neighbors.shape[1] + 1
    classes = torch.empty(count, kept, dtype=torch.int32, device=given.device)
    values = torch.empty(count, kept, dtype=torch.float32, device=given.device)
    scale = torch.ones(count, dtype=torch.float32, device=given.device)
    weight = torch.ones_like(scale)
    for _ in range(rounds):
        earned = torch.ones_like(weight)
        for start in range(0, count, ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            own = torch.where(labeled[rows], given[rows], num_classes)
            heard = weight[neighbors[rows]]
            ranked, order = torch.cat([given[neighbors[rows]], own.unsqueeze(1)], 1).sort(1)
            first = torch.ones_like(ranked, dtype=torch.bool)
            first[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
            leader = torch.where(first, torch.arange(kept, device=given.device), 0).cummax(1).values
            each = torch.cat([heard, heard.new_zeros(len(heard), 1)], 1).gather(1, order)
            found = torch.where(first, ranked, num_classes)
            scale[rows] = 1 / (1 + heard.sum(1))
            sums = torch.zeros_like(each).scatter_add_(1, leader, each)
            chance = (sums + share[found]) * scale[rows].unsqueeze(1) * (found < num_classes)
            classes[rows], values[rows] = found.int(), chance
            mine = (chance * (found == own.unsqueeze(1))).sum(1)
            top = torch.maximum(chance.amax(1), scale[rows] * prior.max())
            earned[rows] = torch.where(labeled[rows], (mine / top.clamp(min=1e-12)).clamp(max=1), 1.0)
        weight = earned
    return SparseVotes(classes, values, scale, prior)


def class_relative(votes: SparseVotes, given: Tensor) -> SparseVotes:
    """Return what :func:`~noisycorrect.correction.neighbors.class_relative_votes` makes of votes.

    Examples
    --------
    >>> given = torch.tensor([0, 0, 0, 1])
    >>> votes = SparseVotes(torch.tensor([[0, 1]]), torch.tensor([[0.6, 0.4]]), torch.tensor([0.0]), torch.zeros(2))
    >>> class_relative(votes, given).dense()
    tensor([[0.3969, 0.6031]])
    """
    counts = torch.bincount(given[given >= 0], minlength=votes.num_classes)
    factor = torch.where(counts > 0, counts.clamp(min=1).float() ** -CLASS_POWER, 0.0)
    base = votes.base * factor
    places = votes.classes.long()
    values = votes.values * torch.cat([factor, factor.new_zeros(1)])[places]
    held = torch.cat([base, base.new_zeros(1)])[places].sum(1)  # of what the others share
    total = values.sum(1) + votes.scale * (base.sum() - held).clamp(min=0)
    total = total.clamp(min=torch.finfo(torch.float32).tiny)
    return SparseVotes(votes.classes, values / total.unsqueeze(1), votes.scale / total, base)


def sparse_posterior(given: Tensor, votes: SparseVotes) -> TopEvidence:
    r"""Return what :func:`~noisycorrect.correction.neighbors.posterior` does, of the classes of each row alone.

    A sample's true class is taken to be among those of its neighbours and its given one: what votes say of others, a
    share of the classes at large, is left out. So the transition matrix has at most N x m entries.

    Parameters
    ----------
    given : Tensor, shape (N,), int64
        -1 for an unlabelled sample, of which the votes alone tell.
    votes : SparseVotes
        Of N samples.

    Examples
    --------
    >>> given = torch.tensor([0] * 50 + [1] * 50)
    >>> votes = SparseVotes(
    ...     torch.tensor([[0, 1]] * 100), torch.tensor([[0.9, 0.1]] * 50 + [[0.1, 0.9]] * 50), torch.zeros(100),
    ...     torch.zeros(2))
    >>> bool((sparse_posterior(given, votes)[:].argmax(1) == given).all())
    True
    """
    mass = votes.values.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    probs = votes.values / mass
    labeled = (given >= 0).nonzero().flatten()
    if len(labeled):
        classes = votes.classes.cpu().numpy()
        rows = labeled.cpu().numpy()
        some = rows[evenly(len(rows), max(1, MOST_VALUES // classes.shape[1]))]
        labels = given.cpu().numpy()
        chosen = probs.cpu().numpy()[some].astype(np.float64)
        fitted = fit_sparse_transition(labels[some], classes[some], chosen, votes.num_classes, tolerance=TOLERANCE)
        seen = np.isin(np.arange(votes.num_classes), labels[some])  # a rarer class is not doubted
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            own = classes[part] == labels[part, None]
            chance = np.where(seen[labels[part], None], fitted.of(classes[part], labels[part]), own)
            likelihood = torch.from_numpy(chance.astype(np.float32)).to(probs.device)
            joint = probs[labeled[start : start + ROWS_AT_ONCE]] * likelihood
            total = joint.sum(1, keepdim=True)
            known = joint / total.clamp(min=torch.finfo(torch.float32).tiny)
            place = labeled[start : start + ROWS_AT_ONCE]
            probs[place] = torch.where(total > 0, known, probs[place])
    return TopEvidence(votes.classes, probs, torch.zeros_like(votes.scale), votes.num_classes)


def own_share(given: Tensor, held: TopEvidence) -> Tensor:
    """Return the probability of each given label, float32 (N,), whose class is among those that are held; 0 of none."""
    return (held.values * (held.classes == given.unsqueeze(1))).sum(1)


def with_given(given: Tensor, held: TopEvidence, weight: Tensor) -> TopEvidence:
    """Return `weight` (N,) times what is held and the rest for the given class, which is among those that are held."""
    mine = held.classes == given.unsqueeze(1)
    values = held.values * weight.unsqueeze(1) + mine * (1 - weight).unsqueeze(1)
    return TopEvidence(held.classes, values, held.rest, held.shape[1])


def given_alone(given: Tensor, num_classes: int) -> TopEvidence:
    """Return the given labels as evidence: all mass on them, none known of a sample without one.

    Examples
    --------
    >>> given_alone(torch.tensor([1, -1]), 2)[:]
    tensor([[0.0000, 1.0000],
            [0.5000, 0.5000]])
    """
    labeled = given >= 0
    classes = torch.where(labeled, given, num_classes).int().unsqueeze(1)
    return TopEvidence(classes, labeled.float().unsqueeze(1), (~labeled).float(), num_classes)
