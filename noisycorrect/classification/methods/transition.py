"""Forward correction: the loss through an estimated transition matrix (Patrini et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.classification.methods.method import register_method
from noisycorrect.classification.methods.targets import classification_task, labeled_mean, logits_and_targets
from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.objective import Objective
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError


def forward_correction_loss(logits: Tensor, targets: Tensor, transition: Tensor) -> Tensor:
    r"""Return :math:`-\sum_j t_j \log (T^\top p)_j`, mean over the labelled samples (Patrini et al. 2017, Theorem 2).

    Parameters
    ----------
    logits : Tensor, shape (N, K), floating
        Unnormalised scores of the true class.
    targets : Tensor, shape (N, K)
        Given labels as probabilities; a row of zeros, a sample without a label, does not count.
    transition : Tensor, shape (K, K)
        T[true, given], rows sum to 1; the identity gives the cross-entropy.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> transition = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    >>> logits = torch.tensor([[-200.0, 200.0]])
    >>> forward_correction_loss(logits, torch.tensor([[1.0, 0.0]]), transition).exp()
    tensor(4.)
    """
    # Autocast would multiply in half precision, and the logarithm of what is left of small numbers is wrong.
    with torch.autocast(logits.device.type, enabled=False):
        probs = logits.softmax(1)
        given = probs @ transition.to(probs.dtype)
    return labeled_mean(-(targets * given.clamp(min=torch.finfo(given.dtype).tiny).log()).sum(1), targets)


def estimate_transition(probs: Tensor, percentile: float = 0.97) -> Tensor:
    r"""Return the transition matrix that a network's predictions show at anchor points.

    Patrini et al. 2017, Eq. 12 and 13: :math:`T_{ij} = p_j(\bar x^i)`, where :math:`\bar x^i` is the sample most
    certainly of class i. In place of the largest :math:`p_i` the authors take a high percentile of all samples, against
    outliers (sec. 6), but for the many classes of CIFAR-100 (their published code): of a class that has fewer samples
    than lie above the percentile it would be a sample of another class. So here it is the sample at position
    floor(percentile (N - 1)) of the ascending order, or higher: no more are passed over than half as many as the class
    is the most probable one of.

    Parameters
    ----------
    probs : Tensor, shape (N, K)
        Predictions of a network trained on the given labels, N >= 1.
    percentile : float
        In [0, 1]; 1 is the most certain sample.

    Returns
    -------
    Tensor, shape (K, K), dtype of `probs`
        T[true, given]; rows sum to 1.

    Raises
    ------
    InvalidInputError
        If there are no samples, or `percentile` is out of range.

    Examples
    --------
    >>> estimate_transition(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]), percentile=1)
    tensor([[0.9000, 0.1000],
            [0.2000, 0.8000]])
    """
    if probs.dim() != 2 or not len(probs):
        raise InvalidInputError(
            "predictions of shape (N, K), N >= 1", got=f"shape {tuple(probs.shape)}", fix="pass class probabilities"
        )
    if not 0 <= percentile <= 1:
        raise InvalidInputError("0 <= percentile <= 1", got=repr(percentile), fix="0.97 is published")
    last = len(probs) - 1
    predicted = torch.bincount(probs.argmax(1), minlength=probs.shape[1])
    passed_over = (predicted // 2).clamp(max=last - math.floor(percentile * last))
    anchors = probs.argsort(dim=0, stable=True).gather(0, (last - passed_over).unsqueeze(0)).squeeze(0)
    return probs[anchors] / probs[anchors].sum(1, keepdim=True)


class ForwardCorrection(Objective):
    """Cross-entropy of predictions sent through the estimated transition matrix (Patrini et al. 2017).

    Training begins with cross-entropy. At the end of the first third of the epochs (at least one) T is estimated from
    the predictions that this epoch's steps made of each sample, which cost nothing more, and the loss goes through T
    from then on. The authors train a network for the estimate and another one with it, at twice the cost.

    Parameters
    ----------
    percentile : float
        Of the anchor points, in [0, 1), see :func:`estimate_transition`. Default: the paper's 0.97.
    warmup : float
        Share of the epochs before the estimate, in [0, 1). Default: 1/3, our choice.

    Attributes
    ----------
    transition : Tensor, shape (K, K), float32
        T[true, given] once the objective is in a run: the identity before the estimate.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.

    Examples
    --------
    >>> ForwardCorrection().percentile
    0.97
    """

    def __init__(self, percentile: float = 0.97, warmup: float = 1 / 3) -> None:
        self.percentile = finite_number("percentile", percentile, above=0, below=1, fix="0.97 is published")
        self.warmup = finite_number("warmup", warmup, above=0, below=1, fix="1/3 is the default")

    def start(self, setup: Setup) -> None:
        """Make room for a prediction of each sample."""
        classes = classification_task(setup).num_classes
        super().start(setup)
        self.probs = torch.zeros(setup.length, classes, device=setup.device, dtype=torch.float32)
        self.transition = torch.eye(classes, device=setup.device, dtype=torch.float32)
        self.last_warmup_epoch = max(1, round(self.warmup * setup.epochs)) - 1

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Gather predictions in the last epoch before the estimate."""
        self.gathers = epoch == self.last_warmup_epoch

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the corrected loss of a batch."""
        logits, targets = logits_and_targets(self.setup, model, batch)
        if self.gathers:
            self.probs[batch.index] = logits.detach().softmax(1).float()
        return forward_correction_loss(logits, targets, self.transition)

    def end_epoch(self) -> None:
        """Estimate the transition matrix, if this was the epoch for it."""
        if self.gathers:
            seen = self.probs.sum(1) > 0  # an epoch may leave out its last batch
            self.transition = estimate_transition(self.probs[seen], self.percentile)

    def memory(self) -> dict[str, Tensor]:
        """Return the gathered predictions, float32 (N, K)."""
        return {"probs": self.probs}

    def state_dict(self) -> dict[str, Any]:
        """Return the memory and the transition matrix."""
        return {**super().state_dict(), "transition": self.transition}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.transition = state["transition"].to(self.transition.device)


register_method("forward", ForwardCorrection(), "Patrini et al. 2017, a Loss Correction Approach, arXiv:1609.03683")
