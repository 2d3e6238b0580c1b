"""Co-teaching: two networks choose each other's samples (Han et al. 2018, arXiv:1804.06872)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.classification.methods.method import register_method
from noisycorrect.classification.methods.twin import TwinObjective
from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import Setup
from noisycorrect.correction.twin import given_labels, twin_networks
from noisycorrect.data.batches import Batch
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError


def remember_rate(epoch: int, noise_rate: float, warmup_epochs: int) -> float:
    r"""Return the share of a batch that is learned from: :math:`R = 1 - \min(\tau e / T_k, \tau)`.

    Han et al. 2018, Algorithm 1. There R is updated at the end of epoch T = 1, 2, ...; the epoch after it uses the new
    value, so the first one (e = 0) keeps everything.

    Parameters
    ----------
    epoch : int
        e, 0-based.
    noise_rate : float
        tau, in [0, 1).
    warmup_epochs : int
        T_k >= 1: epochs until the rate is reached.

    Examples
    --------
    >>> [remember_rate(epoch, 0.4, 4) for epoch in (0, 2, 4, 9)]
    [1.0, 0.8, 0.6, 0.6]
    """
    return 1 - min(epoch / warmup_epochs * noise_rate, noise_rate)


def exchange_loss(losses: Tensor, keep: int) -> Tensor:
    """Return the sum of both networks' mean losses on the samples that the other one has the smallest loss on.

    Han et al. 2018, Algorithm 1, lines 5-8. The sum updates both as two steps would: no parameter is in both terms.

    Parameters
    ----------
    losses : Tensor, shape (2, N)
        Loss of each network on each sample.
    keep : int
        Samples to keep, 1..N; among equal losses the earlier sample.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> exchange_loss(torch.tensor([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]]), keep=1)
    tensor(9.)
    """
    smallest = losses.detach().argsort(dim=1, stable=True)[:, :keep]
    return losses.gather(1, smallest.flip(0)).mean(1).sum()


class CoTeaching(TwinObjective):
    """Two networks, each of which learns from the samples that the other finds easy (Han et al. 2018, Algorithm 1).

    A network fits right labels before wrong ones, so samples of small loss are likely right; letting the other network
    choose keeps an early mistake from confirming itself. The share of the batch that is left is
    :func:`remember_rate`. Trains on the given labels.
    Compute: twice that of cross-entropy, because the losses of all samples are needed and both networks learn.

    Parameters
    ----------
    noise_rate : float
        tau, the share of wrong labels, in [0, 1). The paper takes the true one; a run needs one.
    warmup_epochs : int
        T_k >= 1, epochs in which the share falls from 1 to 1 - tau: 10 of 200 in the paper. In a shorter run, at most
        half of its epochs.

    Raises
    ------
    InvalidInputError
        If a number is out of range; at the start of a run, if the noise rate is missing or a sample has no label.

    Examples
    --------
    >>> from noisycorrect import RECIPES, SelfCorrector
    >>> inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    >>> labels = (inputs[:, 0] > 0).long()
    >>> recipe = RECIPES["coteaching"].replace(objective=CoTeaching(noise_rate=0.2))
    >>> result = SelfCorrector(nn.Linear(5, 2), num_classes=2, recipe=recipe, epochs=4).fit((inputs, labels))
    >>> result.model(inputs).shape, result.sample_passes == 4 * 64 * 6
    (torch.Size([64, 2]), True)
    """

    couples = True

    def __init__(self, noise_rate: float | None = None, warmup_epochs: int = 10) -> None:
        self.noise_rate = (
            None
            if noise_rate is None
            else finite_number(
                "noise_rate", noise_rate, above=0, below=1, fix="pass the share of labels that are wrong, such as 0.2"
            )
        )
        self.warmup_epochs = whole_number("warmup_epochs", warmup_epochs, least=1)

    def start(self, setup: Setup) -> None:
        """Check the labels."""
        super().start(setup)
        given_labels(setup, "CoTeaching", unlabeled=False)
        if self.noise_rate is None:
            raise InvalidInputError(
                "the noise rate that co-teaching needs to know",
                got="None",
                fix='pass recipe=RECIPES["coteaching"].replace(objective=CoTeaching(noise_rate=0.2))',
            )

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Set the share of samples to keep."""
        twin_networks(model)
        warmup = min(self.warmup_epochs, math.ceil(self.setup.epochs / 2))
        assert self.noise_rate is not None
        self._kept_share = remember_rate(epoch, self.noise_rate, warmup)

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the sum of the two networks' mean cross-entropies on the samples that the other one chose."""
        logits = self.setup.task.forward(model, batch)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        given = batch.given.long().expand(2, -1)
        losses = F.cross_entropy(wide.flatten(0, 1), given.flatten(), reduction="none").reshape(2, -1)
        rows = batch.whole
        keep = max(1, round(self._kept_share * rows.size))
        if rows.ranks == 1:
            return exchange_loss(losses, keep)
        smallest = rows.gathered(losses.T).T.argsort(dim=1, stable=True)[:, :keep]
        chosen = torch.zeros(2, rows.size, device=losses.device).scatter_(1, smallest.flip(0), 1.0)
        return rows.total((losses * rows.of(chosen.T).T).sum() / keep)


register_method(
    "coteaching",
    CoTeaching(),  # the noise rate is the user's to know
    "Han et al. 2018, Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels, "
    "arXiv:1804.06872",
)
