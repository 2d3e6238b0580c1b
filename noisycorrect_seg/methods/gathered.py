"""Correction of masks by the object, from the predictions that training makes anyway."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.correction.base import CycleEnd, Predictions
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.support.checks import whole_number
from noisycorrect_seg.methods.frames import into_canonical, parsing_task
from noisycorrect_seg.methods.objects import ObjectCorrection


class GatheredObjectCorrection(ObjectCorrection):
    r"""Masks are corrected by the object, from evidence gathered in training: no cycle's end predicts the set.

    Each step's predictions are brought from their crops into the canonical frame, and taken into a running average
    there, where the crop shows the place: :math:`e \leftarrow \beta e + (1 - \beta) p`, from 0, divided by its sum when
    it is published. They are those of the model in training, of augmented images, a little older on average than a
    prediction at the end of the cycle; what a crop never showed is uniform over the classes. The average of many views
    is smoother than one prediction, and costs no pass.

    Parameters
    ----------
    momentum : float
        :math:`\beta`, in [0, 1).
    stride : int
        The evidence is so many times smaller than the canonical frame, at least 1. It is kept in memory as float32:
        N x K x H/stride x W/stride, 34 GB for LIP at 473 x 473 and stride 4.
    keep, **how
        As for :class:`ObjectCorrection`.

    Raises
    ------
    InvalidInputError
        If an argument is out of range or unknown; when a run starts, if its labels are no masks.

    Examples
    --------
    >>> GatheredObjectCorrection(stride=2).momentum
    0.7
    """

    predicts = False

    def __init__(self, *, momentum: float = 0.7, stride: int = 4, keep: int | None = 2, **how: Any) -> None:
        super().__init__(momentum=momentum, keep=keep, **how)
        self.stride = whole_number("stride", stride, least=1)
        self.evidence_rule = "training"  # the average is of all that was, already

    def start(self, setup: Setup) -> None:
        """Make room for the evidence: zeros.

        Raises
        ------
        InvalidInputError
            If labels are no masks.
        """
        super().start(setup)
        task = parsing_task(setup)
        self.size = (max(2, -(-task.size[0] // self.stride)), max(2, -(-task.size[1] // self.stride)))
        shape = (setup.length, task.num_classes, *self.size)
        self.average = torch.zeros(shape, device=setup.device, dtype=torch.float32)

    def memory(self) -> dict[str, Tensor]:
        """Return the running average, float32 (N, K, h, w)."""
        return {"average": self.average}

    def in_step(self, model: nn.Module, batch: Batch) -> tuple[Any, Batch]:
        """Run the model on a batch, and take its predictions into the evidence."""
        output, batch = super().in_step(model, batch)
        task = parsing_task(self.setup)
        with torch.no_grad():
            maps, seen = into_canonical(
                task.probs(output).detach(),
                batch.extra["matrix"],
                batch.extra["mirror"],
                crop=task.size,
                canonical=task.size,
                size=self.size,
                flip_index=task.classes.flip_index,
            )
            old = self.average[batch.index]
            assert self.momentum is not None
            self.average[batch.index] = torch.where(seen, self.momentum * old + (1 - self.momentum) * maps, old)
        return output, batch

    def predictions(self, end: CycleEnd) -> Predictions:
        """Yield (index, given, probs) of this rank's shard from what was gathered."""
        kind: Any = end.store.kind
        for index in end.shard():
            gathered = self.average[index.to(self.average.device)].cpu()
            total = gathered.sum(1, keepdim=True)
            probs = torch.where(total > 0, gathered / total.clamp(min=1e-12), 1 / gathered.shape[1])
            yield index, kind.beside(index.numpy(), probs)[0], probs
