"""Sparse over-parameterisation: label noise as variables of each sample (Liu et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noisycorrect.classification.methods.method import register_method
from noisycorrect.classification.methods.targets import (
    check_labeled,
    classification_task,
    labeled_mean,
    logits_and_targets,
)
from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.objective import Objective
from noisycorrect.support.checks import finite_number
from noisycorrect.support.rng import derived_seed

LEAST_PROB = 1e-4
INITIAL_DEVIATION = 1e-8
PUBLISHED_BATCH = 128  # the published rates are those of a mean over so many samples


def label_noise(u: Tensor, v: Tensor, targets: Tensor) -> Tensor:
    r"""Return the modelled noise :math:`s = u \odot u \odot y - v \odot v \odot (1 - y)` (Liu et al. 2022, sec. 2).

    Parameters
    ----------
    u : Tensor, shape (N, 1) or (N, K)
        In [-1, 1]; only the label's entry counts, so one a sample is enough.
    v : Tensor, shape (N, K)
        In [-1, 1].
    targets : Tensor, shape (N, K)
        Given labels, one-hot.

    Returns
    -------
    Tensor, shape (N, K)

    Examples
    --------
    >>> label_noise(torch.tensor([[0.5]]), torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.0]]))
    tensor([[ 0.2500, -0.2500]])
    """
    return u * u * targets - v * v * (1 - targets)


def explained_cross_entropy(probs: Tensor, noise: Tensor, targets: Tensor) -> Tensor:
    r"""Return the cross-entropy of :math:`\phi(f + s)` to the labels, of each sample (Liu et al. 2022, sec. 2).

    :math:`\phi(w) = \max(w, \epsilon) / \|\max(w, \epsilon)\|_1` makes probabilities of prediction and noise.

    Parameters
    ----------
    probs : Tensor, shape (N, K)
        Predictions f.
    noise : Tensor, shape (N, K)
        s of :func:`label_noise`.
    targets : Tensor, shape (N, K)
        Given labels.

    Returns
    -------
    Tensor, shape (N,)

    Examples
    --------
    >>> noise, targets = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> explained_cross_entropy(torch.tensor([[0.5, 0.5]]), noise, targets).exp()
    tensor([1.3333])
    """
    explained = (probs + noise).clamp(min=LEAST_PROB)
    return -(targets * (explained / explained.sum(1, keepdim=True)).log()).sum(1)


def explained_squared_error(probs: Tensor, noise: Tensor, targets: Tensor) -> Tensor:
    r"""Return :math:`\|f + s - y\|^2` of each sample: what v is trained with (Liu et al. 2022, sec. 2).

    Examples
    --------
    >>> targets = torch.tensor([[1.0, 0.0]])
    >>> explained_squared_error(torch.tensor([[0.5, 0.5]]), torch.zeros(1, 2), targets)
    tensor([0.5000])
    """
    return (probs + noise - targets).square().sum(1)


class SparseOverParameterization(Objective):
    """The network learns the labels less the noise that variables of each sample explain (SOP, arXiv:2202.14026).

    Network and u take steps on the cross-entropy, v on the squared error; u and v with plain gradient descent of their
    own, constant rate, kept in [-1, 1]. A sample's variables are in one batch an epoch. Their step is the published
    one, rate times the gradient of a mean over 128 samples, whatever this run's batch size, so that it is the same on
    any number of ranks. Their gradients are taken aside, so loss scaling of float16 does not touch them.

    Parameters
    ----------
    lr_u, lr_v : float
        Rates of u and v, >= 0. Defaults: 10 and 10, published for symmetric noise on CIFAR-10, for all kinds of noise
        (10 and 100 were published for asymmetric noise: the kind is not known in advance).

    Raises
    ------
    InvalidInputError
        If a rate is out of range; at the start of a run, if a sample has no label.

    Examples
    --------
    >>> SparseOverParameterization().identity()
    {'name': 'SparseOverParameterization', 'lr_u': 10.0, 'lr_v': 10.0}
    """

    def __init__(self, lr_u: float = 10.0, lr_v: float = 10.0) -> None:
        self.lr_u = finite_number("lr_u", lr_u, above=0, fix="10 is published")
        self.lr_v = finite_number("lr_v", lr_v, above=0, fix="10 and 100 are published")

    def start(self, setup: Setup) -> None:
        """Draw the variables of each sample, near 0."""
        classes = classification_task(setup).num_classes
        check_labeled(setup, self)
        super().start(setup)
        # Drawn on the CPU from a generator of their own: equal on all ranks and devices.
        generator = torch.Generator().manual_seed(derived_seed(setup.seed, "noise variables"))
        drawn = [torch.randn(setup.length, n, generator=generator, dtype=torch.float32) for n in (1, classes)]
        self.u, self.v = (INITIAL_DEVIATION * each.to(setup.device) for each in drawn)

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the network's loss on a batch, and let its u and v take a step."""
        logits, targets = logits_and_targets(self.setup, model, batch)
        probs = logits.softmax(1)
        noise = label_noise(self.u[batch.index], self.v[batch.index], targets)
        loss = labeled_mean(explained_cross_entropy(probs, noise, targets), targets)
        self._step(batch.index, probs.detach().float(), targets)
        return loss

    def _step(self, index: Tensor, probs: Tensor, targets: Tensor) -> None:
        u, v = self.u[index].requires_grad_(), self.v[index].requires_grad_()
        noise = label_noise(u, v, targets)
        (slope_u,) = torch.autograd.grad(explained_cross_entropy(probs, noise, targets).sum(), u, retain_graph=True)
        (slope_v,) = torch.autograd.grad(explained_squared_error(probs, noise, targets).sum(), v)
        self.u[index] = (u.detach() - self.lr_u / PUBLISHED_BATCH * slope_u).clamp(-1, 1)
        self.v[index] = (v.detach() - self.lr_v / PUBLISHED_BATCH * slope_v).clamp(-1, 1)

    def memory(self) -> dict[str, Tensor]:
        """Return u, float32 (N, 1), and v, float32 (N, K)."""
        return {"u": self.u, "v": self.v}


register_method(
    "sop",
    SparseOverParameterization(),
    "Liu et al. 2022, Robust Training under Label Noise by Over-parameterization, arXiv:2202.14026",
)
