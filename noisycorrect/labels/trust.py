"""Trust: how much a given label weighs beside the evidence. :meth:`Trust.of` alone applies the rules."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.rules import RULES, Rule
from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError


def checked_trust(weights: Any, length: int) -> Tensor:
    """Return the weights of some samples' labels as float32 (N,).

    Raises
    ------
    InvalidInputError
        If they are not N numbers in [0, 1].

    Examples
    --------
    >>> checked_trust([1, 0.5], 2)
    tensor([1.0000, 0.5000])
    """
    array = as_array(weights, "trust")
    numbers = array.shape == (length,) and array.dtype.kind in "biuf"
    if not numbers or not ((array >= 0) & (array <= 1)).all():
        values = f"from {array.min():.3g} to {array.max():.3g}" if numbers else f"of {array.dtype}"
        fix = "pass, or let the rule return, one weight a sample"
        raise InvalidInputError(f"trust of shape ({length},) in [0, 1]", got=f"shape {array.shape}, {values}", fix=fix)
    return torch.from_numpy(array.astype(np.float32))


@dataclass(frozen=True)
class Trust:
    """How much the given labels of some samples weigh beside their evidence.

    Attributes
    ----------
    weight : Tensor, shape (N,), float32
        Weight of each sample's label, in [0, 1]; 0 for a sample without one.
    floor : Tensor, shape (K,), float32, or None
        Least weight of a given label of each class, in [0, 1]; None is 0 for all.
    rule : Rule or None
        Judges each label (each pixel of a mask) by its own evidence; what it says is multiplied by the weight.
    parts : Tensor, shape (N, h, w), float32, or None
        Trust in each part of a label, in [0, 1], which is multiplied by the weight as well; kept at the resolution of
        the evidence, and brought to that of the labels by their kind before :meth:`of` is asked.
    class_scale : Tensor, shape (K,), float32, or None
        What the evidence is multiplied by, class by class, before labels are composed, > 0; it is normalised again. A
        class that is often left out of labels is predicted less surely than it is there.
    coupled : bool
        Whether labels that are finer than their evidence keep their detail where the two agree at the resolution of the
        evidence; see :func:`noisycorrect_seg.geometry.coupling.coupled`.

    Examples
    --------
    >>> trust = Trust(torch.tensor([0.5]), floor=torch.tensor([0.1, 0.8]))
    >>> trust.of(torch.tensor([[0, 1, 255]]))
    tensor([[0.5000, 0.8000, 0.5000]])
    """

    weight: Tensor
    floor: Tensor | None = None
    rule: Rule | None = None
    parts: Tensor | None = None
    class_scale: Tensor | None = None
    coupled: bool = False

    @classmethod
    def fitted(cls, name: str, given: Tensor, evidence: Any) -> Trust:
        """Return the trust of a whole set by a rule, which is fitted to it.

        Parameters
        ----------
        name : str
            A rule of :data:`RULES` that judges labels.
        given, evidence : Tensor, shapes (N,), int64, and (N, K)
            See :mod:`noisycorrect.labels.rules`; the weight of an unlabelled sample is 0. Evidence may be held in
            another form (:class:`~noisycorrect.labels.storage.HeldEvidence`), of which some rows are read at a time.

        Raises
        ------
        InvalidInputError
            If there is no such rule.

        Examples
        --------
        >>> given, evidence = torch.tensor([0, 1, -1]), torch.tensor([[0.6, 0.4]] * 3)
        >>> Trust.fitted("relative", given, evidence).of(given, evidence)
        tensor([1.0000, 0.6667, 0.0000])
        """
        fit = RULES[name].fit if name in RULES else None
        return cls((given >= 0).float(), rule=Rule(name, None if fit is None else fit(given, evidence)))

    @property
    def whole(self) -> bool:
        """Whether refined labels are the given ones, whatever the evidence says: all weigh 1, and no rule judges them.

        Examples
        --------
        >>> Trust(torch.ones(2)).whole, Trust(torch.ones(2), parts=torch.tensor([[1.0], [0.5]])).whole
        (True, False)
        """
        return not len(self.doubted())

    def doubted(self) -> Tensor:
        """Return which samples, (n,) int64, have labels that weigh less than 1, or may, as a rule judges them."""
        if self.rule is not None:
            return torch.arange(len(self.weight), device=self.weight.device)
        doubted = self.weight != 1
        if self.parts is not None:
            doubted |= (self.parts != 1).flatten(1).any(1)
        return doubted.nonzero().flatten()

    def some(self, rows: Tensor) -> Trust:
        """Return the trust in some of the samples, (n,) int64."""
        parts = None if self.parts is None else self.parts[rows]
        return dataclasses.replace(self, weight=self.weight[rows], parts=parts)

    def scaled(self, evidence: Tensor) -> Tensor:
        """Return evidence (n, K, ...) as labels are composed of it: multiplied by the class scale, and normalised.

        Examples
        --------
        >>> trust = Trust(torch.ones(1), class_scale=torch.tensor([1.0, 3.0]))
        >>> trust.scaled(torch.tensor([[0.75, 0.25]]))
        tensor([[0.5000, 0.5000]])
        """
        if self.class_scale is None:
            return evidence
        shape = (1, -1, *[1] * (evidence.dim() - 2))
        scaled = evidence * self.class_scale.to(evidence).reshape(shape)
        return scaled / scaled.sum(1, keepdim=True).clamp(min=1e-12)

    def about(self, given: Tensor) -> Trust:
        """Return the same floor and rule for other samples (n,): each weighs 1, or 0 if its label is negative."""
        return dataclasses.replace(self, weight=(given >= 0).float())

    def of(self, labels: Tensor, evidence: Tensor | None = None) -> Tensor:
        """Return the trust in each label: the weight times what the rule says, and no less than the floor.

        Parameters
        ----------
        labels, evidence : Tensor
            See :mod:`noisycorrect.labels.rules`; evidence is needed with a rule, and a label outside 0..K-1 has no
            floor. What is returned is float32, of shape (N,) if there is no floor, no rule and nothing of parts.

        Examples
        --------
        >>> trust = Trust(torch.tensor([0.5]), rule=Rule("agreement"))
        >>> trust.of(torch.tensor([1]), torch.tensor([[0.25, 0.75]]))
        tensor([0.3750])
        """
        if self.floor is None and self.rule is None and self.parts is None:
            return self.weight
        labels = labels.long()
        weight = self.weight.reshape(-1, *[1] * (labels.dim() - 1))
        if self.rule is not None:
            assert evidence is not None, "a rule judges labels by their evidence"
            weight = weight * self.rule(labels, evidence)
        if self.parts is not None:
            assert self.parts.shape == labels.shape, "a kind brings the parts to the resolution of its labels"
            weight = weight * self.parts
        if self.floor is None:
            return weight.expand(labels.shape)
        known = (labels >= 0) & (labels < len(self.floor))
        return torch.maximum(weight, torch.where(known, self.floor[labels * known], 0.0))
