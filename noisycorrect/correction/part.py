"""What the exchangeable parts of a run, its correction and its objective, have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.support import distributed
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.task import Task

TRAINING_PASSES = 3.0  # of a sample through a network: forward 1, backward 2


@dataclass(frozen=True)
class Setup:
    """What a part may know of the run that it belongs to.

    Attributes
    ----------
    task : Task
        What an output means.
    given : Tensor, shape (N,), int64, or None
        Given labels on the device, -1 for an unlabelled sample; None if a label is not one class a sample.
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
        device; one forward pass a sample, which whoever calls it declares in its `passes`.
    features : callable
        ``features()``: what samples can be compared by, float32 (N, F) on the device; inputs that are vectors, else one
        forward pass a sample as for `predict`. See :func:`noisycorrect.training.features.features_of`.
    vectors : callable
        ``vectors()``: whether inputs are floating vectors, (B, F); known from the first epoch on.
    augmented : bool
        Whether the run augments its batches.
    neutral : Tensor, shape (F,), or float
        What an input says nothing with: its features' means where the run standardises them, else 0.
    folder : Path or None
        Where a part may have files of its own, in the run's folder; None without one.
    draws : callable
        ``draws(batch)`` and ``draws()``: contexts in which random numbers are alike on any number of ranks, one a row
        of the batch, or as many as the whole batch takes. What is random outside a model is drawn in one.
    """

    task: Task
    given: Tensor | None
    length: int
    epochs: int
    device: torch.device
    seed: int
    predict: Callable[[nn.Module], Tensor]
    features: Callable[[], Tensor]
    augmented: bool = False
    vectors: Callable[[], bool] = lambda: True
    neutral: Tensor | float = 0.0
    folder: Path | None = None
    draws: Callable[..., AbstractContextManager[Any]] = lambda batch=None: nullcontext()


class RunPart:
    """A part of a recipe that a run copies and that may remember something of each sample.

    A run calls :meth:`prepare` and :meth:`start` once, and :meth:`start_epoch` and :meth:`end_epoch` around each epoch.
    Random numbers drawn from torch's global generator in :meth:`start_epoch` and in a step are reproducible: a run
    seeds it.
    """

    setup: Setup
    _of_recipe = False  # a recipe's own part is a value: it cannot be changed, a run's copy can

    def __setattr__(self, name: str, value: Any) -> None:
        if self._of_recipe:
            raise InvalidInputError(
                f"{type(self).__name__} of a recipe to stay as it is",
                got=f"{name} = {value!r}",
                fix=f"make another one, {type(self).__name__}(...), and pass it to recipe.replace",
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._values().items())
        return f"{type(self).__name__}({values})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(type(self))

    def _values(self) -> dict[str, Any]:
        """Return what it was made with: plain values and callables."""
        kinds = (bool, int, float, str, tuple, list, type(None))
        own = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return {name: value for name, value in own.items() if isinstance(value, kinds) or callable(value)}

    def of_recipe(self) -> None:
        """Refuse any change from now on; a recipe calls it."""
        vars(self)["_of_recipe"] = True

    def of_run(self) -> None:
        """Allow changes again; a run calls it of its copy."""
        vars(self)["_of_recipe"] = False

    def prepare(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model that is trained: the caller's, or one made of it (two networks, say)."""
        return model

    def start(self, setup: Setup) -> None:
        """Make room for what is remembered of each sample; called once, before the first epoch or a resumed one."""
        self.setup = setup

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Prepare for an epoch (0-based); `model` is the one in training."""

    def after_step(self, model: nn.Module) -> None:
        """Go on after an optimizer step; `model` is the one in training."""

    def end_epoch(self) -> None:
        """Finish an epoch; what was remembered of the samples is the same on all ranks by now."""

    def record(self) -> dict[str, float]:
        """Return what the history should tell of an epoch, by name; called after it."""
        return {}

    def memory(self) -> dict[str, Tensor]:
        """Return what is remembered of each sample: tensors of N rows, changed in place, each row by its own batch."""
        return {}

    def identity(self) -> dict[str, Any]:
        """Return plain values that a run and the run that resumes it must share."""
        plain = (bool, int, float, str)
        values: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, plain) and not name.startswith("_"):
                values[name] = value
            elif isinstance(value, (tuple, list)) and all(isinstance(entry, plain) for entry in value):
                values[name] = list(value)
        return {"name": type(self).__name__, **values}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold: the memory, and whatever else the next epoch depends on."""
        return dict(self.memory())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore, after :meth:`start`, what :meth:`state_dict` returned."""
        for name, tensor in self.memory().items():
            with torch.no_grad():
                tensor.copy_(state[name])


def share_memory(part: RunPart, before: Mapping[str, Tensor]) -> None:
    """Bring the rows that each rank has changed since `before`, a copy of the memory, to all ranks; exact.

    Every sample is in the batches of one rank an epoch, so a row is changed by one rank at most.
    """
    for name, tensor in part.memory().items():
        own = (tensor != before[name]).reshape(len(tensor), -1).any(1)
        rows = own.reshape(-1, *[1] * (tensor.dim() - 1))
        changed = distributed.all_reduce_sum(own.float()).reshape(rows.shape) > 0
        merged = distributed.all_reduce_sum(torch.where(rows, tensor, torch.zeros_like(tensor)))
        with torch.no_grad():
            tensor.copy_(torch.where(changed, merged, before[name]))
