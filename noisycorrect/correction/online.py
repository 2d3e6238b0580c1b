"""Correction while training: evidence from the predictions of every step, trust for each label, early learning kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.correction.memorisation import MemorisationWatch
from noisycorrect.data.batches import Batch
from noisycorrect.labels.refine import UNLABELED, align_to_prior, exponential_evidence
from noisycorrect.labels.trust import STEP_RULES, Trust
from noisycorrect.objective import TRAINING_PASSES, Objective, Setup
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError, unknown_name

STARTS = ("auto",)


class OnlineCorrection(Objective):
    r"""Refined labels from evidence that every training step adds to; one network.

    For each sample of a batch, with p its training-time prediction and y its given label:

    1. evidence :math:`e \leftarrow \beta e + (1 - \beta) p`, from the first epoch on;
    2. from the start of correction, trust :math:`w` in y by a rule below, and the target
       :math:`w\,y + (1 - w)\,e`;
    3. early-learning regularisation, :math:`\lambda\,c \log(1 - \langle p, e \rangle)` (Liu et al. 2020,
       "Early-learning regularization prevents memorization of noisy labels", Eq. 6, with the evidence as their target
       and weighted by how sure it is, :math:`c = \max_k e_k`): it keeps the network where it was before it began to
       memorise, so that the evidence stays worth its trust.

    Parameters
    ----------
    momentum : float
        :math:`\beta`, weight of the past in the evidence, in [0, 1).
    start : float or "auto"
        Share of the epochs before correction starts, in [0, 1): the network has learned little until then. ``"auto"``:
        when memorisation begins (:class:`~noisycorrect.correction.memorisation.MemorisationWatch`): a tenth of the
        labels is held out of the loss at first, and correction starts, with all of them, when the evidence about these
        stops to improve; not at all if it still does after half of the run.
    trust : {"class-relative", "relative", "agreement", "mixture", "posterior", "none"}
        :func:`~noisycorrect.labels.trust.agreement_trust`: :math:`e_y`.
        :func:`~noisycorrect.labels.trust.relative_trust`: beside the most probable class.
        :func:`~noisycorrect.labels.trust.class_relative_trust`: beside the labels of the same class.
        :class:`~noisycorrect.labels.mixture.QualityMixture`: posterior of the good group.
        :func:`~noisycorrect.labels.trust.posterior_trust`: Bayes' rule with the transition matrix. What a rule needs of
        the whole set is fitted once an epoch. ``"none"``: 0, the evidence alone.
    early_learning : float
        :math:`\lambda`, >= 0.
    input_dropout : float
        Share of the values of a training input that are set to 0, in [0, 1) (the others are scaled up): an augmentation
        that knows nothing of the domain. Only of inputs that are floating vectors, (N, F), and only without
        `augment`; pass 0 if the data set augments them by itself.
    balance : bool
        Before it is used, divide the evidence by the class frequencies it has and multiply by those of the given labels
        (:func:`~noisycorrect.labels.refine.align_to_prior`), so that no class fades away.
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
        start: float | str = "auto",
        trust: str = "class-relative",
        early_learning: float = 3.0,
        input_dropout: float = 0.2,
        balance: bool = False,
        consistency: float = 0.0,
        strong_augment: Callable[[Any], Any] | None = None,
    ) -> None:
        if trust not in STEP_RULES:
            raise unknown_name("trust", trust, STEP_RULES)
        if isinstance(start, str) and start not in STARTS:
            raise unknown_name("start", start, STARTS)
        self.momentum = finite_number("momentum", momentum, above=0, below=1, fix="0.7 is common")
        self.begin = (
            start if isinstance(start, str) else finite_number("start", start, above=0, below=1, fix="try 0.05")
        )
        self.early_learning = finite_number("early_learning", early_learning, above=0, fix="3 is common, 0 is off")
        self.input_dropout = finite_number("input_dropout", input_dropout, above=0, below=1, fix="0.2 is common")
        self.consistency = finite_number("consistency", consistency, above=0, fix="1 is common, 0 is off")
        if self.consistency and strong_augment is None:
            raise InvalidInputError("strong_augment with consistency", got="None", fix="pass a callable on batches")
        self.trust = trust
        self.balance = bool(balance)
        self.strong_augment = strong_augment

    def start(self, setup: Setup) -> None:
        """Make the evidence, uniform over the classes, and choose what is held out at first."""
        super().start(setup)
        if setup.given is None:
            raise InvalidInputError(
                "class labels with evidence of training-time predictions",
                got="masks",
                fix='pass evidence="exponential": predictions at the ends of cycles',
            )
        classes = setup.task.num_classes
        self.given: Tensor = setup.given
        self.evidence = torch.full((setup.length, classes), 1 / classes, device=setup.device)
        self.fit_trust()
        self.correcting = False
        self.watch = MemorisationWatch(self.given, setup.epochs, setup.seed) if self.begin == "auto" else None

    def passes(self, epoch: int, epochs: int) -> float:
        """Return the passes of one view, or of two."""
        return TRAINING_PASSES * (2 if self.consistency else 1)

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Decide whether to correct, and fit what the trust rule needs to the evidence so far."""
        self.epoch = epoch
        if self.watch is not None:
            self.correcting = self.watch.has_begun(epoch, self.evidence)
        else:
            assert not isinstance(self.begin, str)
            self.correcting = epoch >= math.ceil(self.begin * self.setup.epochs)
        if self.correcting:
            self.fit_trust()

    @property
    def learns_unlabeled(self) -> bool:  # type: ignore[override]
        """Whether unlabelled samples count in the loss: once evidence is what is learnt from."""
        return self.correcting

    def fit_trust(self) -> None:
        """Fit the trust rule to the present evidence."""
        self.fitted = Trust.fitted(self.trust, self.given, self.usable(self.evidence))

    def usable(self, evidence: Tensor) -> Tensor:
        """Return evidence (n, K) as trust and targets use it: balanced, if that is on."""
        if not self.balance:
            return evidence
        known = self.given[self.given >= 0]
        prior = torch.bincount(known, minlength=evidence.shape[1]).to(evidence) / max(1, len(known))
        return align_to_prior(evidence, self.evidence.mean(0), prior)

    def trust_in(self, given: Tensor, evidence: Tensor) -> Tensor:
        """Return the trust in each label, float32 (n,); 0 for an unlabelled sample."""
        return self.fitted.about(given).of(given, evidence)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss against the batch's refined labels, and the terms that are on."""
        task, rows = self.setup.task, batch.index
        original = batch.input
        if self.input_dropout and not self.setup.augmented and _is_vectors(original):
            batch.input = F.dropout(original, self.input_dropout)
        output = task.forward(model, batch)
        probs = task.probs(output)
        self.evidence[rows] = exponential_evidence(self.evidence[rows], probs.detach(), 1, self.momentum)
        evidence = self.evidence[rows]
        share = self._aim(batch, evidence)
        loss = share * task.loss(output, batch)
        if self.early_learning and (self.correcting or self.watch is None):
            counted = slice(None) if self.correcting else batch.given >= 0  # what the task's loss is a mean over
            loss = loss + self.early_learning * early_learning_penalty(probs[counted], evidence[counted])
        if self.consistency and self.correcting and self.strong_augment is not None:
            batch.input = self.strong_augment(original)
            loss = loss + self.consistency * task.loss(task.forward(model, batch), batch)
        return loss

    def _aim(self, batch: Batch, evidence: Tensor) -> float:
        """Give a batch the trust and evidence that its targets are made of; return the share of it that counts."""
        if self.correcting:
            batch.evidence = self.usable(evidence)
            batch.trust = Trust(self.trust_in(batch.given.long(), batch.evidence))
            return 1.0
        # Evidence and trust may be there already, of an earlier cycle's end.
        batch.evidence, batch.trust = None, Trust(torch.ones_like(batch.trust.weight))
        kept = None if self.watch is None else self.watch.kept(self.epoch, batch.index)
        if kept is None:
            return 1.0
        labeled = batch.given >= 0
        batch.given = torch.where(kept, batch.given, UNLABELED)
        # The task's loss is the mean over what is labelled; ranks may hold out different numbers of samples.
        return float((kept & labeled).sum()) / max(1, int(labeled.sum()))

    def record(self) -> dict[str, float]:
        """Return ``correcting``: 1 if the epoch learned from refined labels, 0 if it came before the start."""
        return {"correcting": float(self.correcting)}

    def kept_evidence(self) -> Tensor:
        """Return the evidence as it is used now; the trust rule is fitted to it."""
        self.fit_trust()
        return self.usable(self.evidence)

    def memory(self) -> dict[str, Tensor]:
        """Return the evidence."""
        return {"evidence": self.evidence}

    def state_dict(self) -> dict[str, Any]:
        """Return the evidence, and what the watch has seen."""
        return {**super().state_dict(), "watch": None if self.watch is None else self.watch.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore both; what the trust rule needs is fitted again when the next epoch starts."""
        super().load_state_dict(state)
        if self.watch is not None:
            self.watch.load_state_dict(state["watch"])


def _is_vectors(inputs: Any) -> bool:
    return isinstance(inputs, Tensor) and inputs.dim() == 2 and inputs.is_floating_point()  # not token ids


def early_learning_penalty(probs: Tensor, evidence: Tensor) -> Tensor:
    r"""Return the mean of :math:`c \log(1 - \langle p, e \rangle)` with :math:`c = \max_k e_k`.

    The regulariser of ELR (Liu et al. 2020, Eq. 6) falls as predictions and evidence agree, most steeply where they
    agree already. Weighted by how sure the evidence is, it leaves a network alone that has not learnt yet: unweighted
    it would make it sure of its first guesses.

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
    tensor(-0.5545)
    """
    evidence = evidence.detach()
    agreement = (probs * evidence).sum(1)
    if not len(evidence):
        return probs.sum()  # 0, with a gradient
    return (evidence.amax(1) * (1 - agreement.clamp(max=1 - 1e-4)).log()).mean()
