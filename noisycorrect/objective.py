"""The objective: what a training step minimises, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from noisycorrect.correction.base import Correction
from noisycorrect.correction.class_weights import weighted
from noisycorrect.correction.in_training import EvidenceInTraining
from noisycorrect.correction.part import TRAINING_PASSES, RunPart
from noisycorrect.data.batches import Batch
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError


class Objective(RunPart, ABC):
    """What a training step minimises; the methods of the literature are objectives.

    Random numbers drawn from torch's global generator in :meth:`loss` are reproducible: a run seeds it.

    Attributes
    ----------
    corrects : bool
        Whether :meth:`loss` runs the model through the correction's ``in_step``, so that each step's predictions may
        change its targets. One that does not learns from given labels, or from those of a cycle's end.
    weighs : bool
        Whether the weights of samples and classes count: :meth:`loss` takes its loss from the task's.
    networks : int
        Networks that are trained.
    couples : bool
        Whether a sample's loss depends on the other samples of its batch. :meth:`loss` then returns, on every rank,
        that of the whole batch, with the gradient of the rank's own rows: see ``batch.whole``.
    """

    corrects = False
    weighs = False
    couples = False
    networks = 1

    def passes(self, epoch: int, epochs: int) -> float:
        """Return the sample passes for each sample trained on in an epoch (0-based) of so many: forward 1, backward 2.

        Predictions of the whole set (``Setup.predict``) are counted by :meth:`set_predictions`.
        """
        return TRAINING_PASSES

    def set_predictions(self, epoch: int, epochs: int) -> int:
        """Return how often an epoch (0-based) of so many has the whole set predicted by a network."""
        return 0

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Run the model, in training mode, on a batch and return the loss, a scalar: the mean over its samples."""


class TaskLoss(Objective):
    """The task's own loss against the batch's refined labels (SCHP, Eq. 7).

    Examples
    --------
    >>> TaskLoss().identity()
    {'name': 'TaskLoss'}
    """

    corrects = weighs = True

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the loss against the targets that the correction makes of the batch."""
        output, batch = correction.in_step(model, batch)
        return correction.weight * (batch.share * self.setup.task.loss(output, batch))


class EarlyLearning(Objective):
    r"""The task's loss, and a pull towards what was learnt before the network began to memorise.

    The second term is :math:`\lambda\,c \log(1 - \langle p, e \rangle)` (Liu et al. 2020, "Early-learning
    regularization prevents memorization of noisy labels", Eq. 6, with a correction's evidence e as their target and
    weighted by how sure it is, :math:`c = \max_k e_k`; :func:`early_learning_penalty`). It needs a correction with
    evidence in training. Weights of samples and classes count in the task's loss alone.

    Parameters
    ----------
    strength : float
        :math:`\lambda`, >= 0.
    consistency : float
        Weight, >= 0, of a third term: the prediction of a strongly augmented view against the same target, once
        correction has started. Costs as much again as the first view.
    strong_augment : callable, optional
        ``strong_augment(input) -> input``, the second view of a batch, on the device; needed with `consistency`.

    Raises
    ------
    InvalidInputError
        If an argument is out of range.

    Examples
    --------
    >>> EarlyLearning(strength=2).identity()
    {'name': 'EarlyLearning', 'strength': 2.0, 'consistency': 0.0}
    """

    corrects = weighs = True

    def __init__(
        self,
        strength: float = 3.0,
        *,
        consistency: float = 0.0,
        strong_augment: Callable[[Any], Any] | None = None,
    ) -> None:
        self.strength = finite_number("strength", strength, above=0, fix="3 is common, 0 is off")
        self.consistency = finite_number("consistency", consistency, above=0, fix="1 is common, 0 is off")
        if bool(self.consistency) != (strong_augment is not None) or not callable(strong_augment or len):
            raise InvalidInputError(
                "both consistency and strong_augment, a callable on batches, or neither",
                got=f"consistency={self.consistency:g}, strong_augment={strong_augment!r}",
                fix="pass consistency=1 and a function, or leave both out",
            )
        self.strong_augment = strong_augment

    def passes(self, epoch: int, epochs: int) -> float:
        """Return the passes of one view, or of two."""
        return TRAINING_PASSES * (2 if self.consistency else 1)

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the loss against the batch's refined labels, and the terms that are on."""
        assert isinstance(correction, EvidenceInTraining)  # a recipe sees to it
        task, original = self.setup.task, batch.input
        output, batch = correction.in_step(model, batch)
        loss = batch.share * task.loss(output, batch)
        lesson = correction.taught(batch)
        if self.strength and lesson is not None:
            aim = weighted(task, lesson.evidence)  # as a network that is weighed can say it
            penalty = early_learning_penalty(task.probs(output)[lesson.rows], aim)
            loss = loss + self.strength * lesson.weight * penalty
        if self.consistency and correction.correcting and self.strong_augment is not None:
            with self.setup.draws(batch):
                batch.input = self.strong_augment(original)
            loss = loss + self.consistency * task.loss(task.forward(model, batch), batch)
        return correction.weight * loss


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
    >>> import torch
    >>> early_learning_penalty(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.8, 0.2]]))
    tensor(-0.5545)
    """
    evidence = evidence.detach()
    agreement = (probs * evidence).sum(1)
    if not len(evidence):
        return probs.sum()  # 0, with a gradient
    return (evidence.amax(1) * (1 - agreement.clamp(max=1 - 1e-4)).log()).mean()
