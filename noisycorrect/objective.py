"""The Objective: what a training step minimises, and what it remembers of each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.data.batches import Batch
from noisycorrect.support import distributed
from noisycorrect.task import Task

TRAINING_PASSES = 3.0  # of a sample through a network: forward 1, backward 2


@dataclass(frozen=True)
class Setup:
    """What an objective may know of the run that it is a part of.

    Attributes
    ----------
    task : Task
        What an output means.
    given : Tensor, shape (N,), int64, or None
        Given labels on the device, -1 for an unlabelled sample; None if labels are masks.
    length : int
        N, samples of the training set.
    epochs : int
        Epochs of the whole run.
    device : torch.device
        Where the model is.
    seed : int
        The run's.
    predict : callable
        ``predict(model)``: class probabilities of the whole training set in its canonical frame, float32 (N, K) on the
        device; one forward pass a sample, which the run counts.
    augmented : bool
        Whether the run augments its batches.
    """

    task: Task
    given: Tensor | None
    length: int
    epochs: int
    device: torch.device
    seed: int
    predict: Callable[[nn.Module], Tensor]
    augmented: bool = False


class Objective:
    """What a training step minimises. This one is the task's loss against the batch's refined labels (SCHP, Eq. 7).

    Subclasses are the baselines of :mod:`noisycorrect.classification` and the robust correction. A run calls
    :meth:`start` once, :meth:`start_epoch` and :meth:`end_epoch` around an epoch, :meth:`loss` and then
    :meth:`after_step` for each batch. Random numbers drawn from torch's global generator in :meth:`start_epoch` and
    :meth:`loss` are reproducible: a run seeds it.

    Attributes
    ----------
    networks : int
        Networks that are trained: with 2, the model is a :class:`~noisycorrect.classification.TwinNetworks`.
    keeps_evidence : bool
        Whether it gathers evidence itself, in training: then :meth:`kept_evidence` and :meth:`trust_in` are what a
        cycle's end publishes as the next generation of labels, and no prediction is made for it.
    learns_unlabeled : bool or None
        Whether the loss is a mean over unlabelled samples, too: ranks weigh their means by what these are over. None:
        from the first generation of labels on.
    """

    networks = 1
    keeps_evidence = False
    learns_unlabeled: bool | None = None
    setup: Setup

    def start(self, setup: Setup) -> None:
        """Make room for what is remembered of each sample; called once, before the first epoch or a resumed one."""
        self.setup = setup

    def passes(self, epoch: int, epochs: int) -> float:
        """Return the sample passes for each training sample in an epoch (0-based) of so many.

        Forward 1, backward 2, predictions of the whole set (:attr:`Setup.predict`) included.
        """
        return TRAINING_PASSES * self.networks

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Prepare for an epoch (0-based); `model` is the one in training."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Run the model, in training mode, on a batch and return the loss, a scalar: the mean over its samples."""
        return self.setup.task.loss(self.setup.task.forward(model, batch), batch)

    def after_step(self, model: nn.Module) -> None:
        """Go on after an optimizer step; `model` is the one in training."""

    def end_epoch(self) -> None:
        """Finish an epoch; what was remembered of the samples is the same on all ranks by now."""

    def kept_evidence(self) -> Tensor:
        """Return the evidence about all samples, float32 (N, K); only if :attr:`keeps_evidence`."""
        raise NotImplementedError

    def trust_in(self, given: Tensor, evidence: Tensor) -> Tensor:
        """Return the trust in given labels (n,), float32 in [0, 1], under evidence (n, K) of :meth:`kept_evidence`."""
        raise NotImplementedError

    def record(self) -> dict[str, float]:
        """Return what the history should tell of an epoch, by name; called after it."""
        return {}

    def memory(self) -> dict[str, Tensor]:
        """Return what is remembered of each sample: tensors of N rows, changed in place, each row by its own batch."""
        return {}

    def identity(self) -> dict[str, Any]:
        """Return plain values that a run and the run that resumes it must share."""
        values = {name: value for name, value in vars(self).items() if isinstance(value, (bool, int, float, str))}
        return {"name": type(self).__name__, **values}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold: the memory, and whatever else the next epoch depends on."""
        return dict(self.memory())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore, after :meth:`start`, what :meth:`state_dict` returned."""
        for name, tensor in self.memory().items():
            with torch.no_grad():
                tensor.copy_(state[name])


def share_memory(objective: Objective, before: Mapping[str, Tensor]) -> None:
    """Bring the rows that each rank has changed since `before`, a copy of the memory, to all ranks; exact.

    Every sample is in the batches of one rank an epoch, so a row is changed by one rank at most.
    """
    for name, tensor in objective.memory().items():
        own = (tensor != before[name]).reshape(len(tensor), -1).any(1)
        rows = own.reshape(-1, *[1] * (tensor.dim() - 1))
        changed = distributed.all_reduce_sum(own.float()).reshape(rows.shape) > 0
        merged = distributed.all_reduce_sum(torch.where(rows, tensor, torch.zeros_like(tensor)))
        with torch.no_grad():
            tensor.copy_(torch.where(changed, merged, before[name]))
