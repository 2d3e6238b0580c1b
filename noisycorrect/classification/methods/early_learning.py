"""Early-learning regularisation: the network is held to what it predicted before (Liu et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noisycorrect.classification.methods.method import register_method
from noisycorrect.classification.methods.targets import classification_task, labeled_mean, logits_and_targets
from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.objective import Objective
from noisycorrect.outputs import soft_cross_entropy
from noisycorrect.support.checks import finite_number

LEAST_PROB = 1e-4  # of the authors' published code: log(1 - <p, t>) and its gradient stay finite


def temporal_average(average: Tensor, probs: Tensor, momentum: float) -> Tensor:
    r"""Return the targets :math:`\beta t + (1 - \beta)\, p / \sum_k p_k` (Liu et al. 2020, sec. 4.2).

    Parameters
    ----------
    average : Tensor, shape (N, K)
        Targets so far; zeros at first.
    probs : Tensor, shape (N, K)
        Predictions, positive; clamped ones do not sum to 1.
    momentum : float
        :math:`\beta`, weight of the past, in [0, 1).

    Examples
    --------
    >>> temporal_average(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.2, 0.2]]), momentum=0.5)
    tensor([[0.7500, 0.2500]])
    """
    return momentum * average + (1 - momentum) * probs / probs.sum(1, keepdim=True)


def early_learning_regularizer(probs: Tensor, average: Tensor) -> Tensor:
    r"""Return :math:`\log(1 - \langle p, t \rangle)` of each sample (Liu et al. 2020, Eq. 6).

    It falls as prediction and target agree, so it keeps the gradient of samples that were learnt early, and damps that
    of wrong labels.

    Parameters
    ----------
    probs : Tensor, shape (N, K)
        Predictions, each below 1.
    average : Tensor, shape (N, K)
        Targets, without gradient; rows sum to 1 at most.

    Returns
    -------
    Tensor, shape (N,)
        <= 0.

    Examples
    --------
    >>> early_learning_regularizer(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])).exp()
    tensor([0.5000])
    """
    return (1 - (probs * average).sum(1)).log()


class EarlyLearningRegularization(Objective):
    """Cross-entropy and a pull towards a temporal average of the predictions (ELR, Liu et al. 2020, arXiv:2007.00151).

    The average takes in a batch's predictions before its loss is computed, as the authors do; they are clamped to
    [1e-4, 1 - 1e-4].

    Parameters
    ----------
    strength : float
        Weight of the regulariser, >= 0; the paper's lambda. Default: 3, published for CIFAR-10.
    momentum : float
        Weight of the past in the average, in [0, 1); the paper's beta. Default: 0.7.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.

    Examples
    --------
    >>> EarlyLearningRegularization().identity()
    {'name': 'EarlyLearningRegularization', 'strength': 3.0, 'momentum': 0.7}
    """

    def __init__(self, strength: float = 3.0, momentum: float = 0.7) -> None:
        self.strength = finite_number("strength", strength, above=0, fix="3 is published for CIFAR-10")
        self.momentum = finite_number("momentum", momentum, above=0, below=1, fix="0.7 is published")

    def start(self, setup: Setup) -> None:
        """Make room for the temporal average of each sample."""
        classes = classification_task(setup).num_classes
        super().start(setup)
        self.average = torch.zeros(setup.length, classes, device=setup.device, dtype=torch.float32)

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Take the batch's predictions into the average, and return its loss."""
        logits, targets = logits_and_targets(self.setup, model, batch)
        probs = logits.softmax(1).clamp(LEAST_PROB, 1 - LEAST_PROB)
        average = temporal_average(self.average[batch.index], probs.detach().float(), self.momentum)
        self.average[batch.index] = average
        regularizer = labeled_mean(early_learning_regularizer(probs, average), targets)
        return soft_cross_entropy(logits, targets) + self.strength * regularizer

    def memory(self) -> dict[str, Tensor]:
        """Return the temporal average, float32 (N, K)."""
        return {"average": self.average}


register_method(
    "elr",
    EarlyLearningRegularization(),
    "Liu et al. 2020, Early-Learning Regularization Prevents Memorization of Noisy Labels, arXiv:2007.00151",
)
