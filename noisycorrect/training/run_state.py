"""What a checkpoint holds of a run, and how the run goes back to it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import RunPart
from noisycorrect.cycle.schedule import CyclicalLR, Schedule
from noisycorrect.data.streams import StreamedDataset
from noisycorrect.labels import SoftLabelStore
from noisycorrect.objective import Objective
from noisycorrect.recipe import Recipe
from noisycorrect.saved.details import HISTORY, MEMORY
from noisycorrect.saved.runs import check_not_older, checked_history, write_history
from noisycorrect.support import distributed
from noisycorrect.support.checkpoint import check_settings, load_model_state
from noisycorrect.support.modes import TrainingModes
from noisycorrect.support.modules import fit_buffers, persistent_buffers, unwrap
from noisycorrect.task import Task
from noisycorrect.training.aside import brought_back
from noisycorrect.training.averaging import RunningAverage
from noisycorrect.training.checkpoints import Checkpoints, check_network, check_weights_of, network_identity
from noisycorrect.training.engine import Engine
from noisycorrect.training.optimizer import load_optimizer_state, names_of_groups, optimizer_identity
from noisycorrect.training.run_data import RunData
from noisycorrect.training.sharded import ShardedAverage, optimizer_in_shards, scatter, whole
from noisycorrect.training.weights import digest_of


class RunState:
    """What a run is made of: the base of :class:`~noisycorrect.training.run.Run`, which makes and moves it."""

    recipe: Recipe
    schedule: Schedule
    engine: Engine
    data: RunData
    store: SoftLabelStore
    seed: int
    run_dir: Path | None
    checkpoints: Checkpoints | None
    correction: Correction
    objective: Objective
    student: nn.Module
    plain: nn.Module
    in_shards: bool
    optimizer: Optimizer
    scheduler: CyclicalLR
    average: RunningAverage | ShardedAverage
    identity: dict[str, Any]
    history: list[dict[str, float]]
    epoch: int
    stopped: bool
    loss: float
    modes: TrainingModes

    @property
    def task(self) -> Task:
        """What an output means."""
        return self.engine.task

    @property
    def input_record(self) -> dict[str, Any] | None:
        """How samples become inputs, as the task and the data set say; None if neither says anything."""
        return {**(getattr(self.task, "input_record", None) or {}), **(self.data.input_record or {})} or None

    @property
    def model(self) -> nn.Module:
        """The model that predicts: the average, or the student if weights are not averaged."""
        return self.average.model or self.student

    @property
    def done(self) -> bool:
        """Whether there is nothing left to train."""
        return self.stopped or self.epoch == self.schedule.epochs

    @property
    def cycle(self) -> int:
        """The cycle of the epoch that was done last; 0 is the initial phase."""
        return self.schedule.cycle(max(0, self.epoch - 1))

    @property
    def parts(self) -> tuple[RunPart, RunPart]:
        """Correction and objective."""
        return self.correction, self.objective

    def save(self, **more: Any) -> None:
        """Write a checkpoint, if the run has a folder; `more` is what its surroundings have to remember."""
        if self.run_dir is None or self.checkpoints is None:
            return
        self.modes.apply()
        state = self._state() if distributed.is_main() or self.in_shards else {}  # shards are put together by all
        if distributed.is_main():
            self.checkpoints.write({**state, **more})
            write_history(self.run_dir / HISTORY, self.history)
        distributed.barrier()

    def _identity(self) -> dict[str, Any]:
        """Return what a checkpoint and the run that resumes it must share; of callables, whether there is one."""
        return {
            "schedule": dataclasses.asdict(self.schedule),
            **self.recipe.identity(),
            "warmup_epochs": self.recipe.rates.warmup(self.schedule),
            "seed": self.seed,
            "task": self.task.identity(),
            "optimizer": optimizer_identity(self.optimizer),
            "precision": str(self.engine.precision),
            "augment": self.engine.augment is not None,
            **({"parallel": "fsdp"} if self.in_shards else {}),
            "network": network_identity(self.plain),
            **digest_of(self.data.sample_weight),
            **({"ids": self.data.train.digest} if isinstance(self.data.train, StreamedDataset) else {}),
            **self.data.identity,
        }

    def _state(self) -> dict[str, Any]:
        """Return all that a run needs to go on; of shards, on all ranks at once."""

        def gathered(value: dict[str, Any]) -> Any:
            return whole(value) if self.in_shards else value

        return {
            "run": self.store.run,
            "settings": self.identity,
            "epoch": self.epoch,
            "stopped": self.stopped,
            "generation": self.store.generation,
            "student": whole(unwrap(self.student).state_dict())
            if self.in_shards
            else unwrap(self.student).state_dict(),
            "buffers": persistent_buffers(self.student),
            "aggregate": self.average.state_dict(),
            "optimizer": gathered(self.optimizer.state_dict()),
            "groups": names_of_groups(self.optimizer, self.student),
            "trains": [name for name, parameter in self.student.named_parameters() if parameter.requires_grad],
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.engine.scaler.state_dict(),
            "correction": self.correction.state_dict(),
            "objective": self.objective.state_dict(),
            "history": self.history,
            "loss": self.loss,
        }

    def bring_back(self, content: dict[str, Any]) -> None:
        """Bring the run back to where a checkpoint was written."""
        saved, own = ({**settings} for settings in (content["settings"], self.identity))
        networks = saved.pop("network", None), own.pop("network")
        check_settings(saved, own)
        check_network(*networks)
        fit_buffers(self.plain, content["student"], content["buffers"])
        load_model_state(unwrap(self.plain), content["student"])
        check_weights_of(unwrap(self.plain), content["student"])
        if self.in_shards:
            scatter(self.plain, self.student)
            content["optimizer"] = optimizer_in_shards(self.optimizer, content["optimizer"])
        self.average.load_state_dict(content["aggregate"])
        for name, parameter in self.student.named_parameters():
            parameter.requires_grad_(name in content["trains"])  # a callback may have thawed layers, or frozen them
        load_optimizer_state(self.optimizer, content["optimizer"], self.student, content["groups"])
        self.scheduler.load_state_dict(content["scheduler"])
        self.engine.scaler.load_state_dict(content["scaler"])
        memory = Path() if self.run_dir is None else self.run_dir / MEMORY
        for name, part in zip(("correction", "objective"), self.parts, strict=True):
            part.load_state_dict(brought_back(content[name], memory))
        if self.checkpoints is not None:
            self.checkpoints.are_of(content)
        self.history, self.loss = checked_history(content["history"]), content["loss"]
        if self.run_dir is not None:
            check_not_older(self.run_dir, self.history)
        self.epoch, self.stopped = int(content["epoch"]), bool(content["stopped"])
        # A run that was killed after publishing a generation but before its checkpoint does that cycle's end again.
        self.store.rollback(int(content["generation"]))
        if self.run_dir is not None and distributed.is_main():
            write_history(self.run_dir / HISTORY, self.history)  # it may have died between the two
