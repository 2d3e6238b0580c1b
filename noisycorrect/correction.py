"""Correction while training: evidence from the predictions of every step, trust for each label, early learning kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.checks import finite_number
from noisycorrect.data import Batch
from noisycorrect.errors import InvalidInputError, unknown_name
from noisycorrect.objective import TRAINING_PASSES, Objective, Setup
from noisycorrect.refine import align_to_prior, exponential_evidence
from noisycorrect.trust import QualityMixture, agreement_trust, estimated_transition, posterior_trust

TRUST_RULES = ("agreement", "mixture", "posterior")


class OnlineCorrection(Objective):
    r"""Refined labels from evidence that every training step adds to; one network, no extra pass.

    For each sample of a batch, with p its training-time prediction and y its given label:

    1. evidence :math:`e \leftarrow \beta e + (1 - \beta) p`, from the first epoch on;
    2. from the start of correction, trust :math:`w` in y by a rule below, and the target
       :math:`w\,y + (1 - w)\,e`;
    3. early-learning regularisation, :math:`\lambda \log(1 - \langle p, e \rangle)` (Liu et al. 2020, "Early-learning
       regularization prevents memorization of noisy labels", Eq. 6, with the evidence as their target): it keeps the
       network where it was before it began to memorise, so that the evidence stays worth its trust.

    Parameters
    ----------
    momentum : float
        :math:`\beta`, weight of the past in the evidence, in [0, 1).
    start : float
        Share of the epochs before correction starts, in [0, 1): the network has learned little until then.
    trust : {"agreement", "mixture", "posterior"}
        :func:`~noisycorrect.trust.agreement_trust`: :math:`e_y`. :class:`~noisycorrect.trust.QualityMixture`: posterior
        of the good group, fitted once an epoch. :func:`~noisycorrect.trust.posterior_trust`: Bayes' rule with the
        transition matrix, estimated once an epoch.
    early_learning : float
        :math:`\lambda`, >= 0.
    balance : bool
        Before it is used, divide the evidence by the class frequencies it has and multiply by those of the given labels
        (:func:`~noisycorrect.refine.align_to_prior`), so that no class fades away.
    consistency : float
        Weight, >= 0, of a second loss: the prediction of a strongly augmented view against the same target. Costs as
        much again as the first view.
    strong_augment : callable, optional
        ``strong_augment(input) -> input``, the second view of a batch, on the device; needed with `consistency`.

    Raises
    ------
    InvalidInputError
        If an argument is out of range; when a run starts, if labels are masks, whose evidence is kept by the store.
    """

    keeps_evidence = True

    def __init__(
        self,
        *,
        momentum: float = 0.7,
        start: float = 0.05,
        trust: str = "agreement",
        early_learning: float = 3.0,
        balance: bool = False,
        consistency: float = 0.0,
        strong_augment: Callable[[Any], Any] | None = None,
    ) -> None:
        if trust not in TRUST_RULES:
            raise unknown_name("trust", trust, TRUST_RULES)
        self.momentum = finite_number("momentum", momentum, above=0, below=1, mend="0.7 is common")
        self.start_share = finite_number("start", start, above=0, below=1, mend="0.05 is common")
        self.early_learning = finite_number("early_learning", early_learning, above=0, mend="3 is common, 0 is off")
        self.consistency = finite_number("consistency", consistency, above=0, mend="1 is common, 0 is off")
        if self.consistency and strong_augment is None:
            raise InvalidInputError("strong_augment with consistency", got="None", mend="pass a callable on batches")
        self.trust = trust
        self.balance = bool(balance)
        self.strong_augment = strong_augment
        self.correcting = False

    def start(self, setup: Setup) -> None:
        """Make the evidence, uniform over the classes."""
        super().start(setup)
        if setup.given is None:
            raise InvalidInputError(
                "class labels with evidence of training-time predictions",
                got="masks",
                mend='pass evidence="exponential": predictions at the ends of cycles',
            )
        classes = setup.task.num_classes
        self.given: Tensor = setup.given
        self.evidence = torch.full((setup.length, classes), 1 / classes, device=setup.device)
        self.mixture = QualityMixture()
        self.transition = torch.eye(classes, device=setup.device)

    @property
    def first_corrected_epoch(self) -> int:
        """Epoch, 0-based, with which correction starts."""
        return math.ceil(self.start_share * self.setup.epochs)

    def passes(self, epoch: int, epochs: int) -> float:
        """Return the passes of one view, or of two."""
        return TRAINING_PASSES * (2 if self.consistency else 1)

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Decide whether to correct, and fit what the trust rule needs to the evidence so far."""
        self.correcting = epoch >= self.first_corrected_epoch
        if self.correcting:
            self.fit_trust()

    def fit_trust(self) -> None:
        """Fit the mixture or the transition matrix to the present evidence."""
        evidence = self.usable(self.evidence)
        if self.trust == "mixture":
            known = self.given >= 0
            self.mixture = QualityMixture.fit(agreement_trust(self.given, evidence)[known])
        elif self.trust == "posterior":
            self.transition = estimated_transition(self.given, evidence)

    def usable(self, evidence: Tensor) -> Tensor:
        """Return evidence (n, K) as trust and targets use it: balanced, if that is on."""
        if not self.balance:
            return evidence
        known = self.given[self.given >= 0]
        prior = torch.bincount(known, minlength=evidence.shape[1]).to(evidence) / max(1, len(known))
        return align_to_prior(evidence, self.evidence.mean(0), prior)

    def trust_in(self, given: Tensor, evidence: Tensor) -> Tensor:
        """Return the trust in each label, float32 (n,); 0 for an unlabelled sample."""
        if self.trust == "mixture":
            trust = self.mixture.trust(agreement_trust(given, evidence))
        elif self.trust == "posterior":
            trust = posterior_trust(given, evidence, self.transition)
        else:
            trust = agreement_trust(given, evidence)
        return trust.float() * (given >= 0)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss against the batch's refined labels, and the terms that are on."""
        task = self.setup.task
        output = task.forward(model, batch)
        probs = task.probs(output)
        rows = batch.index
        self.evidence[rows] = exponential_evidence(self.evidence[rows], probs.detach(), 1, self.momentum)
        evidence = self.evidence[rows]
        if self.correcting:
            batch.evidence = self.usable(evidence)
            batch.trust = self.trust_in(batch.given.long(), batch.evidence)
        loss = task.loss(output, batch)
        if self.early_learning:
            loss = loss + self.early_learning * early_learning_penalty(probs, evidence)
        if self.consistency and self.correcting and self.strong_augment is not None:
            batch.input = self.strong_augment(batch.input)
            loss = loss + self.consistency * task.loss(task.forward(model, batch), batch)
        return loss

    def kept_evidence(self) -> Tensor:
        """Return the evidence as it is used now; the trust rule is fitted to it."""
        self.fit_trust()
        return self.usable(self.evidence)

    def memory(self) -> dict[str, Tensor]:
        """Return the evidence."""
        return {"evidence": self.evidence}


def early_learning_penalty(probs: Tensor, evidence: Tensor) -> Tensor:
    r"""Return the mean of :math:`\log(1 - \langle p, e \rangle)` (ELR, Liu et al. 2020, Eq. 6).

    It falls as predictions and evidence agree, most steeply where they agree already.

    Parameters
    ----------
    probs : Tensor, shape (N, K, ...)
        Predictions, in [0, 1]; with a gradient.
    evidence : Tensor, shape (N, K, ...)
        Past predictions, in [0, 1].

    Returns
    -------
    Tensor, scalar
        At most 0; the inner product counts for at most 1 - 1e-4.

    Examples
    --------
    >>> early_learning_penalty(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.8, 0.2]]))
    tensor(-0.6931)
    """
    agreement = (probs * evidence.detach()).sum(1)
    return (1 - agreement.clamp(max=1 - 1e-4)).log().mean()
