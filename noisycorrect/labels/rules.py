"""Every rule of trust: what the evidence says of how far a given label may be believed.

They are pure functions, and :data:`RULES` is their one table. Most judge each label by what the evidence says of it,
and take and return, unless they say otherwise,

labels : Tensor, shape (N, ...), integer
    Given labels; one outside 0..K-1 (unlabelled, ignored) has trust 1: there is nothing to doubt.
evidence : Tensor, shape (N, K, ...), floating
    Probabilities of the classes, in [0, 1].
trust : Tensor, shape (N, ...), dtype of the evidence
    In [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from noisycorrect.labels.mixture import QualityMixture
from noisycorrect.labels.storage import blocks
from noisycorrect.labels.transition import DENSE_CLASSES, SparseTransition
from noisycorrect.support.errors import unknown_name


def paper_trust(generation: int, labeled: Tensor) -> Tensor:
    """Return the trust of SCHP's Eq. 7 after m cycles, float32 (N,): 1/(m+1), and 0 without a label (sec. 3.4).

    Parameters
    ----------
    generation : int
        m >= 0; generation 0 trusts the given labels wholly.
    labeled : Tensor, shape (N,), bool
        Which samples have a given label.

    Examples
    --------
    >>> paper_trust(3, torch.tensor([True, False]))
    tensor([0.2500, 0.0000])
    """
    return labeled.float() / (generation + 1)


def class_balanced_trust(generation: int, recall: Tensor) -> Tensor:
    r"""Return the least trust in the labels of each class: evidence counts only as far as the model knows the class.

    With :math:`r_k` the share of the given labels of class k that the model predicts, the weight of the evidence, in
    SCHP's Eq. 7 :math:`m/(m+1)` for every label, is :math:`r_k\, m/(m+1)` for those of class k. A network that misses
    most of a rare class predicts its neighbours there; Eq. 7 then averages the class away, and the next cycle learns
    still less of it. Labels that the model predicts well are treated as in the paper.

    Parameters
    ----------
    generation : int
        m >= 1, cycles so far; what is returned is float32 (K,), in [1/(m+1), 1].
    recall : Tensor, shape (K,)
        In [0, 1]; NaN for a class without labels.

    Examples
    --------
    >>> class_balanced_trust(1, torch.tensor([1.0, 0.2]))
    tensor([0.5000, 0.9000])
    """
    return 1 - recall.float().nan_to_num(0).clamp(0, 1) * generation / (generation + 1)


def agreement_trust(labels: Tensor, evidence: Tensor) -> Tensor:
    r"""Return the evidence's probability of each given label, :math:`e_{y}`: the share of trust that it has earned.

    A label that the evidence shares keeps its weight, one that it contradicts gives way: blended with this trust the
    target of a wrong label is nearly the evidence alone, that of a right one nearly the label.

    Parameters and what is returned are those of the module.

    Examples
    --------
    >>> agreement_trust(torch.tensor([1, -1]), torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    tensor([0.2500, 1.0000])
    """
    labels = labels.long()
    known = (labels >= 0) & (labels < evidence.shape[1])
    return torch.where(known, evidence.gather(1, (labels * known).unsqueeze(1)).squeeze(1), 1.0)


def confident_trust(labels: Tensor, evidence: Tensor, threshold: float = 0.9) -> Tensor:
    """Return 0 for each label that the evidence contradicts with a probability of at least `threshold`, 1 for others.

    The most careful rule: it takes nothing from a label unless another class is all but certain, so it neither slows
    down learning nor lets a class fade that the network has not learnt (ADELE, Liu et al. 2022, corrects by it).

    Parameters
    ----------
    labels, evidence : Tensor
        See the module. What is returned is 0 or 1.
    threshold : float
        In (0.5, 1].

    Examples
    --------
    >>> confident_trust(torch.tensor([0, 0]), torch.tensor([[0.05, 0.95], [0.2, 0.8]]))
    tensor([0., 1.])
    """
    highest, suggested = evidence.max(1)
    known = (labels >= 0) & (labels < evidence.shape[1])
    return (~(known & (suggested != labels) & (highest >= threshold))).to(evidence.dtype)


def relative_trust(labels: Tensor, evidence: Tensor) -> Tensor:
    r"""Return how probable each given label is beside the most probable class, :math:`e_y / \max_k e_k`.

    Evidence that is not sure of anything yet doubts no label much, where :func:`agreement_trust` would take weight even
    from right ones and slow learning down.

    Parameters and what is returned are those of the module; trust is 1 where the label is the evidence's own.

    Examples
    --------
    >>> relative_trust(torch.tensor([0, 1]), torch.tensor([[0.4, 0.2, 0.4], [0.4, 0.2, 0.4]]))
    tensor([1.0000, 0.5000])
    """
    highest = evidence.amax(1)
    return torch.where(highest > 0, agreement_trust(labels, evidence) / highest.clamp(min=1e-12), 1.0).clamp(max=1)


def class_means(given: Tensor, values: Tensor, num_classes: int) -> Tensor:
    """Return the mean of a value of each sample over the labels of each class.

    Parameters
    ----------
    given, values : Tensor, shape (N,), int64 and floating
        A sample with a negative label does not count.
    num_classes : int
        K. What is returned is (K,), 0 for a class without labels.

    Examples
    --------
    >>> class_means(torch.tensor([0, 0, -1]), torch.tensor([0.9, 0.3, 0.5]), 2)
    tensor([0.6000, 0.0000])
    """
    known = given >= 0
    sums = values.new_zeros(num_classes).index_add_(0, given[known], values[known])
    return sums / torch.bincount(given[known], minlength=num_classes).clamp(min=1)


def class_agreement(given: Tensor, evidence: Tensor) -> Tensor:
    r"""Return the mean agreement of the labels of each class: confident learning's thresholds.

    :math:`c_k = \frac{1}{|\{i: y_i = k\}|} \sum_{i: y_i = k} e_{ik}` (Northcutt et al. 2021, "Confident learning").

    Parameters
    ----------
    given, evidence : Tensor, shapes (N,), int64, and (N, K)
        See the module; an unlabelled sample does not count. Evidence may be a
        :class:`~noisycorrect.labels.storage.HeldEvidence`. What is returned is (K,), 0 for a class without labels.

    Examples
    --------
    >>> class_agreement(torch.tensor([0, 0, -1]), torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]]))
    tensor([0.6000, 0.0000])
    """
    return class_means(given, _agreement_of_all(given, evidence), evidence.shape[1])


def _agreement_of_all(given: Tensor, evidence: Any) -> Tensor:
    """Return :func:`agreement_trust` of a whole set, (N,), whose evidence is read some rows at a time."""
    return torch.cat([agreement_trust(given[rows], block) for rows, block in blocks(evidence)])


def class_relative_trust(labels: Tensor, evidence: Tensor, agreement: Tensor) -> Tensor:
    r"""Return how much the evidence agrees with each label beside others of its class, :math:`\min(1, e_y / c_y)`.

    A label that the evidence shares as much as it does on average for its class is trusted wholly; so classes that the
    network has not learnt, or that are hard, are not argued away.

    Parameters
    ----------
    labels, evidence : Tensor
        See the module.
    agreement : Tensor, shape (K,)
        :func:`class_agreement`.

    Examples
    --------
    >>> class_relative_trust(torch.tensor([0, 0]), torch.tensor([[0.9, 0.1], [0.3, 0.7]]), torch.tensor([0.6, 0.0]))
    tensor([1.0000, 0.5000])
    """
    labels = labels.long()
    known = (labels >= 0) & (labels < len(agreement))
    average = agreement[labels * known]
    trust = torch.where(average > 0, agreement_trust(labels, evidence) / average.clamp(min=1e-12), 1.0)
    return torch.where(known, trust.clamp(max=1), 1.0)


def estimated_transition(given: Tensor, evidence: Any, *, smoothing: float = 1.0) -> Any:
    r"""Return the transition matrix that evidence and given labels suggest.

    :math:`T_{kj} \propto \sum_{i: y_i = j} e_{ik}`: each sample counts for class k as far as the evidence says so.

    Parameters
    ----------
    given, evidence : Tensor, shapes (N,), int64, and (N, K)
        See the module; an unlabelled sample does not count.
    smoothing : float
        Added to every count, > 0, so that no entry is 0.

    Returns
    -------
    Tensor, shape (K, K), or SparseTransition
        Row k: how the samples of class k are labelled; rows sum to 1. Of more than 2,048 classes a
        :class:`~noisycorrect.labels.transition.SparseTransition`, which is linear in samples and classes.

    Examples
    --------
    >>> estimated_transition(torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    tensor([[0.5000, 0.5000],
            [0.3333, 0.6667]])
    """
    classes = evidence.shape[1]
    if classes > DENSE_CLASSES:
        return SparseTransition.counted(given, blocks(evidence), classes, smoothing=smoothing)
    known = given >= 0
    counts: Tensor | None = None
    for rows, block in blocks(evidence):
        if counts is None:
            counts = torch.zeros(classes, classes, dtype=block.dtype, device=block.device)
        counts.index_add_(0, given[rows][known[rows]], block[known[rows]])  # [given, class]
    assert counts is not None
    counts = counts.T + smoothing
    return counts / counts.sum(1, keepdim=True)


def posterior_trust(given: Tensor, evidence: Tensor, transition: Any) -> Tensor:
    r"""Return the chance that a given label is right, calibrated by how classes are confused.

    Bayes' rule with the evidence as the prior of the true class and the transition matrix as the likelihood of the
    given label: :math:`e_y T_{yy} / \sum_k e_k T_{ky}`. Where the labels are good (T near the identity) moderate
    evidence is not enough to doubt one; where class k is often given as y, a little is.

    Parameters
    ----------
    given, evidence : Tensor, shapes (N,) and (N, K)
        See the module.
    transition : Tensor, shape (K, K), or SparseTransition
        Row k: how class k is labelled.

    Examples
    --------
    >>> transition = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    >>> posterior_trust(torch.tensor([0, 1]), torch.full((2, 2), 0.5), transition)
    tensor([0.7500, 0.8750])
    """
    known = given >= 0
    label = given * known
    if isinstance(transition, SparseTransition):
        own, mass = transition.likelihoods(label, evidence)
    else:
        joint = evidence * transition.T[label]
        mass = joint.sum(1)
        own = joint.gather(1, label.unsqueeze(1)).squeeze(1)
    return torch.where(known & (mass > 0), own / mass.clamp(min=1e-12), 1.0)


def mixture_trust(labels: Tensor, evidence: Tensor, mixture: QualityMixture) -> Tensor:
    """Return the posterior of the good group of labels; see :class:`~noisycorrect.labels.mixture.QualityMixture`.

    Parameters
    ----------
    labels, evidence : Tensor, shapes (N,) and (N, K)
        See the module; a label outside 0..K-1 counts as one that the evidence is sure of.
    mixture : QualityMixture
        Fitted to the :func:`agreement_trust` of all labels.

    Examples
    --------
    >>> mixture_trust(torch.tensor([0]), torch.tensor([[0.2, 0.8]]), QualityMixture())  # all are alike
    tensor([1.])
    """
    return mixture.trust(agreement_trust(labels, evidence))


class RuleEntry(NamedTuple):
    """What a rule of :data:`RULES` does.

    Attributes
    ----------
    judge : callable, optional
        ``judge(labels, evidence, facts)`` -> trust in each label. Without one the weight of a sample is that of Eq. 7.
    fit : callable, optional
        ``fit(given, evidence)`` -> facts: what `judge` needs to know of the whole set; evidence is (N, K), a tensor or
        what is read some rows at a time (:func:`~noisycorrect.labels.storage.blocks`).
    floor : callable, optional
        ``floor(generation, recall)`` -> least trust in the labels of each class.
    """

    judge: Callable[[Tensor, Tensor, Any], Tensor] | None = None
    fit: Callable[[Tensor, Any], Any] | None = None
    floor: Callable[[int, Tensor], Tensor] | None = None


RULES: dict[str, RuleEntry] = {
    "paper": RuleEntry(),
    "class-balanced": RuleEntry(floor=class_balanced_trust),
    "agreement": RuleEntry(lambda labels, evidence, _: agreement_trust(labels, evidence)),
    "confident": RuleEntry(lambda labels, evidence, _: confident_trust(labels, evidence)),
    "relative": RuleEntry(lambda labels, evidence, _: relative_trust(labels, evidence)),
    "class-relative": RuleEntry(class_relative_trust, class_agreement),
    "mixture": RuleEntry(
        mixture_trust, lambda given, evidence: QualityMixture.fit(_agreement_of_all(given, evidence)[given >= 0])
    ),
    "posterior": RuleEntry(posterior_trust, estimated_transition),
    "none": RuleEntry(lambda labels, evidence, _: torch.zeros_like(evidence[:, 0])),
}
CYCLE_RULES = ("paper", "class-balanced", "agreement", "confident")  # offered for the ends of cycles
STEP_RULES = ("agreement", "relative", "class-relative", "mixture", "posterior", "none")  # and for every step


@dataclass(frozen=True)
class Rule:
    """A rule of :data:`RULES` that judges each label, together with what was fitted for it.

    Attributes
    ----------
    name : str
        Its name.
    facts : Any
        What was fitted to the whole set; None if the rule needs nothing.

    Raises
    ------
    InvalidInputError
        If no rule of that name judges labels.

    Examples
    --------
    >>> Rule("agreement")(torch.tensor([0]), torch.tensor([[0.25, 0.75]]))
    tensor([0.2500])
    """

    name: str
    facts: Any = None

    def __post_init__(self) -> None:
        judging = [name for name, entry in RULES.items() if entry.judge is not None]
        if self.name not in judging:
            raise unknown_name("rule of trust that judges labels", self.name, judging)

    def __call__(self, labels: Tensor, evidence: Tensor) -> Tensor:
        """Return the trust in each label, float32, in [0, 1]; `labels` (N, ...), `evidence` (N, K, ...)."""
        judge = RULES[self.name].judge
        assert judge is not None
        return judge(labels, evidence, self.facts).float()
