"""Correction at every step: evidence from the predictions of training, trust for each label, one network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.correction.class_weights import unweighted
from noisycorrect.correction.in_training import EvidenceInTraining, Lesson
from noisycorrect.correction.memorisation import MemorisationWatch
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.labels.refine import UNLABELED, align_to_prior
from noisycorrect.labels.storage import blocks
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import unknown_name

STARTS = ("auto",)


class OnlineCorrection(EvidenceInTraining):
    r"""Refined labels from evidence that every training step adds to; one network.

    For each sample of a batch, with p its training-time prediction and y its given label:

    1. evidence :math:`e \leftarrow \beta e + (1 - \beta) p`, from the first epoch on;
    2. from the start of correction, trust :math:`w` in y by a rule below, and the target
       :math:`w\,y + (1 - w)\,e`.

    Its objective is usually :class:`~noisycorrect.EarlyLearning`, which keeps the network where it was before it began
    to memorise, so that the evidence stays worth its trust.

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
        :func:`~noisycorrect.labels.rules.agreement_trust`: :math:`e_y`.
        :func:`~noisycorrect.labels.rules.relative_trust`: beside the most probable class.
        :func:`~noisycorrect.labels.rules.class_relative_trust`: beside the labels of the same class.
        :class:`~noisycorrect.labels.mixture.QualityMixture`: posterior of the good group.
        :func:`~noisycorrect.labels.rules.posterior_trust`: Bayes' rule with the transition matrix. What a rule needs of
        the whole set is fitted once an epoch. ``"none"``: 0, the evidence alone.
    input_dropout : float
        Share of the values of a training input that are set to 0, in [0, 1) (the others are scaled up): an augmentation
        that knows nothing of the domain. Only of inputs that are floating vectors, (N, F), and only without
        `augment`; pass 0 if the data set augments them by itself.
    balance : bool
        Before it is used, divide the evidence by the class frequencies it has and multiply by those of the given labels
        (:func:`~noisycorrect.labels.refine.align_to_prior`), so that no class fades away.
    keep : int or None
        Generations of labels that stay on disk, at least 2; None keeps all.
    storage : {"auto", "float32", "float16", "top-64", "mapped"}
        How the evidence about N samples of K classes is held while training (docs/scale.md has sizes and errors):
        as it is, 4 N K bytes; in half precision (:class:`~noisycorrect.labels.storage.HalfEvidence`); the 64 (or
        another number of) largest classes of each sample and its given one, with the mass of the others
        (:class:`~noisycorrect.labels.storage.TopEvidence`); or exactly, in a file
        (:class:`~noisycorrect.labels.storage.MappedEvidence`). ``"auto"``: as it is up to 1 GB; beyond, the largest
        classes, and a warning says so.

    Raises
    ------
    InvalidInputError
        If an argument is out of range; when a run starts, if a label is not one class a sample.

    Examples
    --------
    >>> OnlineCorrection(start=0.1).identity()["begin"]
    0.1
    """

    def __init__(
        self,
        *,
        momentum: float = 0.7,
        start: float | str = "auto",
        trust: str = "class-relative",
        input_dropout: float = 0.2,
        balance: bool = False,
        keep: int | None = 2,
        storage: str = "auto",
    ) -> None:
        super().__init__(momentum=momentum, trust=trust, input_dropout=input_dropout, keep=keep, storage=storage)
        if isinstance(start, str) and start not in STARTS:
            raise unknown_name("start", start, STARTS)
        self.begin = (
            start if isinstance(start, str) else finite_number("start", start, above=0, below=1, fix="try 0.05")
        )
        self.balance = bool(balance)

    def start(self, setup: Setup) -> None:
        """Make the evidence, uniform over the classes, and choose what is held out at first."""
        super().start(setup)
        self.watch = MemorisationWatch(self.given, setup.epochs, setup.seed) if self.begin == "auto" else None
        self.epoch = -1
        self._mean: tuple[int, Tensor] | None = None

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Decide whether to correct, and fit what the trust rule needs to the evidence so far."""
        self.epoch = epoch
        super().start_epoch(epoch, model)

    def begun(self, epoch: int) -> bool:
        """Return whether an epoch (0-based) learns from refined labels: the watch knows, if there is one."""
        return super().begun(epoch) if self.watch is None else self.watch.has_begun(epoch, self.evidence)

    def in_step(self, model: nn.Module, batch: Batch) -> tuple[Any, Batch]:
        """Run the model on a batch, take its predictions into the evidence, and blend the evidence into the targets."""
        task = self.setup.task
        batch.input = self.dropped(batch.input, batch)
        output = task.forward(model, batch)
        self.aim(batch, self.remember(batch.index, unweighted(task, task.probs(output).detach())))
        self._hold_out(batch)
        return output, batch

    def _hold_out(self, batch: Batch) -> None:
        """Hide the labels that are held out of the loss at first."""
        kept = None if self.watch is None else self.watch.kept(self.epoch, batch.index)
        if kept is None:
            return
        labeled = batch.given >= 0
        batch.given = torch.where(kept, batch.given, UNLABELED)
        # The task's loss is the mean over what is labelled; ranks may hold out different numbers of samples.
        batch.share = float((kept & labeled).sum()) / max(1, int(labeled.sum()))

    def taught(self, batch: Batch) -> Lesson | None:
        """Return all rows once correction has started, else the labelled ones; none while labels are held out."""
        if not self.correcting and self.watch is not None:
            return None
        rows = slice(None) if self.correcting else batch.given >= 0
        return Lesson(rows, self.evidence[batch.index][rows])

    def usable(self, evidence: Tensor, rows: Tensor | slice) -> Tensor:
        """Return evidence (n, K) of some samples as trust and targets use it: balanced, if that is on."""
        if not self.balance:
            return evidence
        known = self.given[self.given >= 0]
        prior = torch.bincount(known, minlength=evidence.shape[1]).to(evidence) / max(1, len(known))
        return align_to_prior(evidence, self._frequency(), prior)

    def _frequency(self) -> Tensor:
        """Return the mean evidence, (K,): the present one, or, where that would be read in parts, the epoch's first."""
        if isinstance(self.evidence, Tensor):
            return self.evidence.mean(0)
        if self._mean is None or self._mean[0] != self.epoch:
            sums = [block.double().sum(0) for _, block in blocks(self.evidence)]
            self._mean = self.epoch, (torch.stack(sums).sum(0) / len(self.evidence)).float()
        return self._mean[1]

    def state_dict(self) -> dict[str, Any]:
        """Return the evidence, and what the watch has seen."""
        return {**super().state_dict(), "watch": None if self.watch is None else self.watch.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore both; what the trust rule needs is fitted again when the next epoch starts."""
        super().load_state_dict(state)
        if self.watch is not None:
            self.watch.load_state_dict(state["watch"])
