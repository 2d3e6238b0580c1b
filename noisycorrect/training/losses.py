"""The losses of an epoch: their mean over all ranks, and that they stay finite."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from noisycorrect.support import distributed
from noisycorrect.support.errors import NonFiniteLossError

LOSSES_BETWEEN_CHECKS = 32  # looking at every loss would make the host wait for the device after every batch


class EpochLosses:
    """The losses of an epoch's batches.

    Parameters
    ----------
    epoch : int
        0-based.
    length : int
        Batches of the epoch.
    """

    def __init__(self, epoch: int, length: int) -> None:
        self.epoch = epoch
        self.length = length
        self._losses: list[Tensor] = []
        self._counts: list[int] = []

    def add(self, loss: Tensor, labeled: int) -> None:
        """Take in a batch's mean loss, and of how many labels it is the mean.

        Raises
        ------
        NonFiniteLossError
            If a loss is NaN or infinite, now and then looked at; the message names epoch and batch.
        """
        self._losses.append(loss)
        self._counts.append(labeled)
        if len(self._losses) % LOSSES_BETWEEN_CHECKS == 0 or len(self._losses) == self.length:
            self._check()

    def mean(self) -> float:
        """Return the mean loss of what is labelled, over all ranks; NaN if nothing was."""
        total = sum(loss.item() * count for loss, count in zip(self._losses, self._counts, strict=True))
        sums = torch.tensor([total, sum(self._counts)], dtype=torch.float64)
        total, labeled = distributed.all_reduce_sum(sums).tolist()
        return total / labeled if labeled else math.nan

    def _check(self) -> None:
        first = len(self._losses) - (len(self._losses) - 1) % LOSSES_BETWEEN_CHECKS - 1
        wrong = (~torch.isfinite(torch.stack(self._losses[first:]))).nonzero()
        if len(wrong):
            number = first + int(wrong[0])
            raise NonFiniteLossError(
                "a finite loss",
                got=f"{self._losses[number].item()} in epoch {self.epoch + 1}, batch {number + 1}",
                fix="lower lr, pass recipe.replace(clip_grad_norm=1.0), or look for NaN in the inputs",
            )


def check_weights(model: nn.Module, epoch: int) -> None:
    """Raise a NonFiniteLossError if a trained parameter is NaN or infinite after an epoch (0-based)."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not torch.isfinite(parameter).all():
            raise NonFiniteLossError(
                "finite weights",
                got=f"NaN or infinity in {name!r} after epoch {epoch + 1}",
                fix="lower lr, or pass recipe.replace(clip_grad_norm=1.0)",
            )
