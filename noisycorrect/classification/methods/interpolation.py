"""mixup: training on convex combinations of samples (Zhang et al. 2018)."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.classification.methods.method import register_method
from noisycorrect.classification.methods.targets import classification_task
from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import Setup
from noisycorrect.cycle.feed import map_tensors
from noisycorrect.data.batches import Batch
from noisycorrect.objective import Objective
from noisycorrect.outputs import soft_cross_entropy
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rank_rows import RankRows


def mix(value: Any, partner: Tensor, weight: float, rows: RankRows | None = None) -> Any:
    r"""Return :math:`\lambda x_i + (1 - \lambda) x_j` (Zhang et al. 2018, "mixup", sec. 2).

    Parameters
    ----------
    value : Tensor, or tensors in tuples, lists and dicts
        Floating, (B, ...) each.
    partner : Tensor, shape (B,), int64
        j of each i, in the whole batch.
    weight : float
        :math:`\lambda`, in [0, 1].
    rows : RankRows, optional
        Which rows of the whole batch `value` has. Default: all.

    Returns
    -------
    like `value`

    Raises
    ------
    InvalidInputError
        If a tensor is not floating.

    Examples
    --------
    >>> mix(torch.tensor([[0.0], [4.0]]), torch.tensor([1, 0]), weight=0.75)
    tensor([[1.],
            [3.]])
    """

    def combine(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            raise InvalidInputError(
                "floating inputs to mix",
                got=str(tensor.dtype),
                fix="convert images to float, or choose another objective for tokens",
            )
        other = tensor[partner] if rows is None else rows.exchanged(tensor, partner)
        return weight * tensor + (1 - weight) * other

    return map_tensors(value, combine)


class Mixup(Objective):
    r"""Cross-entropy on convex combinations of two samples and their labels (Zhang et al. 2018, arXiv:1710.09412).

    One :math:`\lambda \sim Beta(\alpha, \alpha)` a batch, whose samples are paired by a random permutation, as in the
    paper's Figure 1.

    Parameters
    ----------
    alpha : float
        > 0; the paper's 1 on CIFAR-10 makes :math:`\lambda` uniform.

    Raises
    ------
    InvalidInputError
        If `alpha` is out of range.

    Examples
    --------
    >>> Mixup(alpha=0.4).identity()
    {'name': 'Mixup', 'alpha': 0.4}
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = finite_number("alpha", alpha, above=0, fix="1 is common")
        if self.alpha == 0:
            raise InvalidInputError("alpha > 0", got="0", fix="1 is common")

    def start(self, setup: Setup) -> None:
        """Check that the task is classification."""
        classification_task(setup)
        super().start(setup)

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the cross-entropy of a mixed batch to its mixed labels."""
        task = classification_task(self.setup)
        rows = batch.whole
        with self.setup.draws():
            weight = float(torch.distributions.Beta(self.alpha, self.alpha).sample())
            partner = torch.randperm(rows.size).to(batch.index.device)
        targets = mix(task.targets(batch), partner, weight, rows)
        mixed = dataclasses.replace(batch, input=mix(batch.input, partner, weight, rows))
        return soft_cross_entropy(task.forward(model, mixed), targets)


register_method("mixup", Mixup(), "Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization, arXiv:1710.09412")
