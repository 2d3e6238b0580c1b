"""Abstaining: pixels whose label sure evidence contradicts are left out of the loss."""

from __future__ import annotations

from torch import Tensor, nn

from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.objective import Objective
from noisycorrect.support.checks import finite_number
from noisycorrect_seg.geometry.maps import winners
from noisycorrect_seg.masks import ignore_index
from noisycorrect_seg.methods.frames import parsing_task


def contested_pixels(targets: Tensor, evidence: Tensor, sure: float) -> Tensor:
    """Return which pixels have a target that the evidence contradicts with a probability of at least `sure`.

    Parameters
    ----------
    targets : Tensor
        As a task's ``targets`` returns them: hard labels (B, H, W), or soft targets (B, K, H, W), zero where ignored.
    evidence : Tensor, shape (B, K, H, W), floating
        Probabilities.
    sure : float
        In (0, 1].

    Returns
    -------
    Tensor, shape (B, H, W), bool
        False where the target is ignored.

    Examples
    --------
    >>> import torch
    >>> evidence = torch.tensor([[[[0.95, 0.6, 0.0]], [[0.05, 0.4, 1.0]]]])
    >>> contested_pixels(torch.tensor([[[1, 1, 255]]]), evidence, sure=0.9)
    tensor([[[ True, False, False]]])
    """
    soft = targets.is_floating_point()
    labels = winners(targets) if soft else targets
    known = targets.sum(1) > 0 if soft else targets != ignore_index(evidence.shape[1])
    return known & (winners(evidence) != labels) & (evidence.amax(1) >= sure)


class AbstainingLoss(Objective):
    """The task's loss over the pixels of which labels and evidence are not at odds.

    A correction that is careful leaves a label as it is though its evidence says otherwise. To learn from such a label
    may be wrong, to learn from such evidence, too; here neither is learnt from (after Thulasidasan et al. 2019,
    "Combating label noise in deep learning using abstention"; theirs is learnt, this one is decided by the evidence).
    It needs a correction that keeps evidence; until there is some nothing is left out.

    Parameters
    ----------
    sure : float
        A pixel is left out if the evidence gives another class than its target's at least this probability, in (0, 1].

    Raises
    ------
    InvalidInputError
        If it is out of range; when a run starts, if its labels are no masks.

    Examples
    --------
    >>> AbstainingLoss().identity()
    {'name': 'AbstainingLoss', 'sure': 0.9}
    """

    corrects = True

    def __init__(self, sure: float = 0.9) -> None:
        self.sure = finite_number("sure", sure, more_than=0, at_most=1, fix="0.9 is usual")

    def start(self, setup: Setup) -> None:
        """Check that labels are masks.

        Raises
        ------
        InvalidInputError
            If they are not.
        """
        parsing_task(setup)
        super().start(setup)

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the loss against the batch's targets, those of contested pixels left out."""
        task = parsing_task(self.setup)
        output, batch = correction.in_step(model, batch)
        targets = task.targets(batch)
        if batch.evidence is not None:
            contested = contested_pixels(targets, task.evidence_in_crops(batch), self.sure)
            if targets.is_floating_point():
                targets = targets.masked_fill(contested.unsqueeze(1), 0)
            else:
                targets = targets.masked_fill(contested, task.ignore_index)
        return correction.weight * (batch.share * task.loss_against(output, targets))
