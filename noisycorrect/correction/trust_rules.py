"""Rules of trust of correction in training."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from noisycorrect.labels.trust import (
    QualityMixture,
    agreement_trust,
    class_agreement,
    class_relative_trust,
    estimated_transition,
    posterior_trust,
    relative_trust,
)

TRUST_RULES = ("agreement", "relative", "class-relative", "mixture", "posterior", "none")


class TrustFacts(NamedTuple):
    """What the rules of trust need of the whole set; a rule uses one of them at most.

    Attributes
    ----------
    mixture : QualityMixture
        Of ``"mixture"``.
    transition : Tensor, shape (K, K)
        Of ``"posterior"``.
    agreement : Tensor, shape (K,)
        Of ``"class-relative"``.
    """

    mixture: QualityMixture
    transition: Tensor
    agreement: Tensor

    @classmethod
    def neutral(cls, classes: int, device: torch.device | str) -> TrustFacts:
        """Return what is so before anything is known."""
        return cls(QualityMixture(), torch.eye(classes, device=device), torch.zeros(classes, device=device))


def trust_facts(rule: str, given: Tensor, evidence: Tensor) -> TrustFacts:
    """Fit what a rule of :data:`TRUST_RULES` needs to all given labels, int64 (N,), and the evidence (N, K)."""
    facts = TrustFacts.neutral(evidence.shape[1], evidence.device)
    if rule == "mixture":
        known = given >= 0
        return facts._replace(mixture=QualityMixture.fit(agreement_trust(given, evidence)[known]))
    if rule == "posterior":
        return facts._replace(transition=estimated_transition(given, evidence))
    if rule == "class-relative":
        return facts._replace(agreement=class_agreement(given, evidence))
    return facts


def trust_by_rule(rule: str, given: Tensor, evidence: Tensor, facts: TrustFacts) -> Tensor:
    """Return the trust in each label by a rule of :data:`TRUST_RULES`.

    Parameters
    ----------
    rule : str
        Its name.
    given : Tensor, shape (n,), int64
        0..K-1, or -1 for an unlabelled sample.
    evidence : Tensor, shape (n, K)
        In [0, 1].
    facts : TrustFacts
        Of the whole set: :func:`trust_facts` for the same rule.

    Returns
    -------
    Tensor, shape (n,), float32
        In [0, 1]; 0 for an unlabelled sample.

    Examples
    --------
    >>> given, evidence = torch.tensor([0, 1, -1]), torch.tensor([[0.6, 0.4]] * 3)
    >>> trust_by_rule("relative", given, evidence, trust_facts("relative", given, evidence))
    tensor([1.0000, 0.6667, 0.0000])
    """
    if rule == "mixture":
        trust = facts.mixture.trust(agreement_trust(given, evidence))
    elif rule == "posterior":
        trust = posterior_trust(given, evidence, facts.transition)
    elif rule == "class-relative":
        trust = class_relative_trust(given, evidence, facts.agreement)
    elif rule == "relative":
        trust = relative_trust(given, evidence)
    elif rule == "none":
        trust = torch.zeros_like(evidence[:, 0])
    else:
        trust = agreement_trust(given, evidence)
    return trust.float() * (given >= 0)
