"""Early-learning regularisation on pixels: maps are held to what was predicted before (after Liu et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noisycorrect.classification.methods.early_learning import (
    LEAST_PROB,
    early_learning_regularizer,
    temporal_average,
)
from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.objective import Objective
from noisycorrect.recipe import RECIPES
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect_seg.geometry.crops import onto_crops
from noisycorrect_seg.masks import ignore_index
from noisycorrect_seg.methods.frames import into_canonical, parsing_task
from noisycorrect_seg.methods.recipes import KIND, PLAIN_MASKS


class PixelEarlyLearning(Objective):
    r"""The task's loss and a pull of every pixel towards a temporal average of its predictions.

    ELR (Liu, Niles-Weed, Razavian & Fernandez-Granda 2020, arXiv:2007.00151) is written for one label a sample; here a
    pixel is a sample: the loss is the task's plus :math:`\lambda` times the mean over the labelled pixels of
    :math:`\log(1 - \langle p, t \rangle)` (Eq. 6), with the targets :math:`t \leftarrow \beta t + (1 - \beta) p`
    (sec. 4.2). A sample's targets lie in the canonical frame; each crop's predictions are warped there, and change only
    what the crop shows. The regulariser is that of the final branch, at its own resolution.

    Parameters
    ----------
    strength : float
        Weight of the regulariser, >= 0; the paper's lambda. Default: 3, published for CIFAR-10.
    momentum : float
        Weight of the past in the average, in [0, 1); the paper's beta. Default: 0.7.
    stride : int
        The targets are so many times smaller than the canonical frame, at least 1. They are kept in memory as float32:
        N x K x H/stride x W/stride, 34 GB for LIP at 473 x 473 and stride 4.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.

    Examples
    --------
    >>> PixelEarlyLearning(strength=1).identity()
    {'name': 'PixelEarlyLearning', 'strength': 1.0, 'momentum': 0.7, 'stride': 4}
    """

    def __init__(self, strength: float = 3.0, momentum: float = 0.7, stride: int = 4) -> None:
        self.strength = finite_number("strength", strength, above=0, fix="3 is published for CIFAR-10")
        self.momentum = finite_number("momentum", momentum, above=0, below=1, fix="0.7 is published")
        self.stride = whole_number("stride", stride, least=1)

    def start(self, setup: Setup) -> None:
        """Make room for the temporal averages: zeros, as in the paper.

        Raises
        ------
        InvalidInputError
            If the task is not of masks.
        """
        task = parsing_task(setup)
        super().start(setup)
        self.size = (max(2, -(-task.size[0] // self.stride)), max(2, -(-task.size[1] // self.stride)))
        shape = (setup.length, task.num_classes, *self.size)
        self.average = torch.zeros(shape, device=setup.device, dtype=torch.float32)

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Take the batch's predictions into the averages, and return its loss."""
        task = parsing_task(self.setup)
        output = task.forward(model, batch)
        probs = output.final.float().softmax(1).clamp(LEAST_PROB, 1 - LEAST_PROB)
        with torch.no_grad():
            maps, seen = into_canonical(
                probs.detach(),
                batch.extra["matrix"],
                batch.extra["mirror"],
                crop=task.size,
                canonical=task.size,
                size=self.size,
                flip_index=task.classes.flip_index,
            )
            old = self.average[batch.index]
            average = torch.where(seen, temporal_average(old, maps, self.momentum), old)
            self.average[batch.index] = average
            size = (probs.shape[2], probs.shape[3])
            targets = onto_crops(
                average,
                batch.extra["matrix"],
                batch.extra["mirror"],
                size=size,
                crop=task.size,
                canonical=task.size,
                flip_index=task.classes.flip_index,
            )
            weight = _labeled_share(batch.given != ignore_index(task.num_classes), size)
        regularizer = (early_learning_regularizer(probs, targets) * weight).sum() / weight.sum().clamp(min=1)
        return task.loss(output, batch) + self.strength * regularizer

    def memory(self) -> dict[str, Tensor]:
        """Return the temporal averages, float32 (N, K, h, w)."""
        return {"average": self.average}


def _labeled_share(labeled: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the share of labelled pixels, bool (B, H, W), around each place of a smaller map, float32 (B, *size)."""
    return nn.functional.adaptive_avg_pool2d(labeled.float().unsqueeze(1), size).squeeze(1)


RECIPES.register(
    f"elr/{KIND}",
    PLAIN_MASKS.replace(
        objective=PixelEarlyLearning(),
        reference="Liu et al. 2020, Early-Learning Regularization Prevents Memorization of Noisy Labels, "
        "arXiv:2007.00151, for pixels",
    ),
)
