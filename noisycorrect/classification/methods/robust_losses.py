"""Robust losses: generalised and symmetric cross-entropy."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.classification.methods.method import register_method
from noisycorrect.classification.methods.targets import classification_task, labeled_mean, logits_and_targets
from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.objective import Objective
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError


def generalized_cross_entropy(logits: Tensor, targets: Tensor, q: float) -> Tensor:
    r"""Return :math:`\sum_k t_k (1 - p_k^q) / q`, mean over the labelled samples (Zhang & Sabuncu 2018, sec. 3.2).

    Near 0 of `q` it is the cross-entropy, at 1 half the mean absolute error.

    Parameters
    ----------
    logits : Tensor, shape (N, K), floating
        Unnormalised scores.
    targets : Tensor, shape (N, K)
        Probabilities; the paper's formula at one-hot ones. A row of zeros, a sample without a label, does not count.
    q : float
        In (0, 1].

    Returns
    -------
    Tensor, scalar
        In [0, 1/q].

    Examples
    --------
    >>> import torch
    >>> generalized_cross_entropy(torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 0.0, 0.0]]), q=0.5)
    tensor(1.)
    """
    powers = (q * F.log_softmax(logits, dim=1)).exp()
    return labeled_mean((targets * (1 - powers)).sum(1) / q, targets)


def symmetric_cross_entropy(logits: Tensor, targets: Tensor, alpha: float, beta: float, log_zero: float) -> Tensor:
    r"""Return :math:`\alpha\,CE + \beta\,RCE`, mean over the labelled samples (Wang et al. 2019, sec. 3.2).

    The reverse cross-entropy is :math:`-\sum_k p_k \log t_k`, where :math:`\log 0 := A`; for one-hot labels
    :math:`-A (1 - p_y)`.

    Parameters
    ----------
    logits : Tensor, shape (N, K), floating
        Unnormalised scores.
    targets : Tensor, shape (N, K)
        Probabilities; a row of zeros, a sample without a label, does not count.
    alpha, beta : float
        Weights, >= 0.
    log_zero : float
        A < 0; the logarithm of small targets is no less than it, either.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> import torch
    >>> targets = torch.tensor([[1.0, 0.0]])
    >>> symmetric_cross_entropy(torch.zeros(1, 2), targets, alpha=0, beta=1, log_zero=-4)
    tensor(2.)
    """
    log_probs = F.log_softmax(logits, dim=1)
    forward = -(targets * log_probs).sum(1)
    reverse = -(log_probs.exp() * targets.clamp(min=math.exp(log_zero)).log()).sum(1)
    return labeled_mean(alpha * forward + beta * reverse, targets)


class GeneralizedCrossEntropy(Objective):
    """Between cross-entropy and mean absolute error (Zhang & Sabuncu 2018, arXiv:1805.07836); not truncated.

    Parameters
    ----------
    q : float
        In (0, 1]. Default: the paper's 0.7.

    Raises
    ------
    InvalidInputError
        If `q` is out of range.

    Examples
    --------
    >>> GeneralizedCrossEntropy().q
    0.7
    """

    def __init__(self, q: float = 0.7) -> None:
        self.q = finite_number("q", q, above=0, fix="0.7 is published")
        if not 0 < self.q <= 1:
            raise InvalidInputError("0 < q <= 1", got=repr(q), fix="0.7 is published; for q -> 0 use cross-entropy")

    def start(self, setup: Setup) -> None:
        """Check that the task is classification."""
        classification_task(setup)
        super().start(setup)

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the generalised cross-entropy of a batch."""
        return generalized_cross_entropy(*logits_and_targets(self.setup, model, batch), self.q)


class SymmetricCrossEntropy(Objective):
    """Cross-entropy and reverse cross-entropy (Wang et al. 2019, arXiv:1908.06112).

    Parameters
    ----------
    alpha, beta : float
        Weights of the two, >= 0, not both 0. Defaults: the paper's 0.1 and 1 on CIFAR-10.
    log_zero : float
        What stands for log 0, < 0; the paper's A. Default: -4.

    Raises
    ------
    InvalidInputError
        If one is out of range.

    Examples
    --------
    >>> SymmetricCrossEntropy().log_zero
    -4.0
    """

    def __init__(self, alpha: float = 0.1, beta: float = 1.0, log_zero: float = -4.0) -> None:
        self.alpha = finite_number("alpha", alpha, above=0, fix="0.1 is published")
        self.beta = finite_number("beta", beta, above=0, fix="1 is published")
        self.log_zero = finite_number("log_zero", log_zero, below=0, fix="-4 is published")
        if self.alpha == self.beta == 0:
            raise InvalidInputError("alpha > 0 or beta > 0", got="both 0", fix="pass alpha=0.1, beta=1")

    def start(self, setup: Setup) -> None:
        """Check that the task is classification."""
        classification_task(setup)
        super().start(setup)

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the symmetric cross-entropy of a batch."""
        logits, targets = logits_and_targets(self.setup, model, batch)
        return symmetric_cross_entropy(logits, targets, self.alpha, self.beta, self.log_zero)


register_method(
    "gce", GeneralizedCrossEntropy(), "Zhang and Sabuncu 2018, Generalized Cross Entropy Loss, arXiv:1805.07836"
)
register_method("sce", SymmetricCrossEntropy(), "Wang et al. 2019, Symmetric Cross Entropy, arXiv:1908.06112")
