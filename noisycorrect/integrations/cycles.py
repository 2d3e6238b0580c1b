"""Self-correction as a guest in somebody else's loop: what it does when a cycle ends, and what it goes on with."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from noisycorrect.correction.base import Predictions
from noisycorrect.correction.cycle_end import AtCycleEnd
from noisycorrect.cycle.aggregate import WeightAggregator
from noisycorrect.cycle.averages import AtCycleEnds
from noisycorrect.cycle.recalibrate import recalibrate_batchnorm
from noisycorrect.cycle.schedule import Schedule, Shares
from noisycorrect.data.datasets import as_dataset
from noisycorrect.data.refined import RefinedDataset
from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.folder import remove_store
from noisycorrect.support import distributed
from noisycorrect.support.checkpoint import check_settings
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.log import logger
from noisycorrect.support.modes import frozen_statistics
from noisycorrect.support.modules import evaluating
from noisycorrect.support.rng import untouched
from noisycorrect.task import TASKS, Task
from noisycorrect.training.engine import Engine
from noisycorrect.training.loaders import RunLoaders
from noisycorrect.training.records import label_record
from noisycorrect.training.run_data import RunData

DEFAULT_MOMENTUM = 0.7  # a manifest has one whatever the rule

Forward = Callable[[nn.Module, Any], Any]  # (model, input of a batch) -> output


class Cycles:
    """What ends a cycle in a loop that another library owns: Eq. 6, BatchNorm statistics, Eq. 7.

    The adapters of libraries are thin layers over this: they say when training begins, when an epoch is over, and what
    their checkpoint held. Methods are collective: every rank calls them. It is also what a correction sees of the run
    (:class:`~noisycorrect.correction.base.CycleEnd`).

    Parameters
    ----------
    task, num_classes, schedule, average, correction, folder, batch_size, num_workers, collate_fn, forward
        See :class:`noisycorrect.integrations.lightning.SelfCorrection`.

    Attributes
    ----------
    store : SoftLabelStore
        The labels, once training has begun.
    epoch : int
        Epochs after which a cycle's end was last dealt with, or found not to be due.
    history : list of dict
        One record a cycle.
    """

    store: SoftLabelStore

    def __init__(
        self,
        *,
        task: str | Task,
        num_classes: int | None,
        schedule: Schedule | Shares | None,
        average: AtCycleEnds | None,
        correction: AtCycleEnd | None,
        folder: Path | None,
        batch_size: int,
        num_workers: int,
        collate_fn: Any,
        forward: Forward | None,
    ) -> None:
        self.task = TASKS[task](num_classes) if isinstance(task, str) else task  # type: ignore[arg-type]
        self.planned = Shares() if schedule is None else schedule
        self.average = AtCycleEnds() if average is None else average
        self.correction = AtCycleEnd() if correction is None else correction
        for name, value, kind in (
            ("schedule", self.planned, (Schedule, Shares)),
            ("average", self.average, AtCycleEnds),
            ("correction", self.correction, AtCycleEnd),
        ):
            if not isinstance(value, kind):
                wanted = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
                fix = "the other parts of recipes need a loop of their own: SelfCorrector"
                raise InvalidInputError(f"{name} to be {wanted}", got=repr(value), fix=fix)
        self.folder = folder
        self.batch_size = whole_number("batch_size", batch_size, least=1)
        self.num_workers = whole_number("num_workers", num_workers, least=0)
        self.collate_fn = collate_fn
        self.forward = forward
        self._refined: RefinedDataset | None = None
        self._canonical: Any = None
        self.forget()

    def forget(self) -> None:
        """Be as before a run."""
        self.epoch, self.stopped = 0, False
        self.history: list[dict[str, float]] = []
        self._aggregator: WeightAggregator | None = None
        self._cycle_of_end = 0
        self.running = False

    # ---------------------------------------------------------------- data and labels

    def wrap(self, data: Any, canonical: Any, train: Any = None) -> RefinedDataset:
        """Return a training set with refined labels, and remember what predictions are made of.

        While a training runs it is taken for the same samples, made anew. `train` is the same data set in the form of
        pairs, if it has another one.
        """
        self._refined = RefinedDataset(data, self.store if self.running else None)
        self._train = self._refined.data if train is None else train
        self._canonical = None if canonical is None else as_dataset(canonical, "canonical")
        return self._refined

    @property
    def wrapped(self) -> bool:
        """Whether the training set is known."""
        return self._refined is not None

    @property
    def labels(self) -> SoftLabelStore:
        """The labels, also where the processes that trained are gone."""
        if hasattr(self, "store"):
            return self.store
        if self.folder is not None and (self.folder / "manifest.json").exists():
            return SoftLabelStore.open(self.folder)
        raise InvalidInputError("labels of a training that has begun", got="none yet", fix="train first")

    def begin(self, model: nn.Module, *, epochs: int | None, state: Mapping[str, Any] | None) -> None:
        """Divide the budget, read the given labels, and make their store; or go on from a state that was saved."""
        if self._refined is None:
            fix = "train on wrap(dataset): DataLoader(correction.wrap(dataset), batch_size=..., shuffle=True)"
            raise InvalidInputError("a training set that was wrapped", got="none", fix=fix)
        self.forget()
        self.schedule = self.planned.divided(epochs)
        if not self.schedule.cycles:
            raise InvalidInputError(
                "a cycle, at whose end labels are refined", got=repr(self.schedule), fix="plan cycles"
            )
        with untouched():
            self._data = RunData.make(
                self._train,
                self.task,
                val=None,
                unlabeled=None,
                canonical=self._canonical,
                collate_fn=self.collate_fn,
                num_workers=self.num_workers,
            )
        self.task.check_given(self._data.given)
        if state is not None:
            check_settings(state["settings"], self._settings())
        self.store = self._open_store(resumed=state is not None)
        self._refined.store = self.store
        self._loaders = RunLoaders(
            self._data,
            self.store,
            batch_size=self.batch_size,
            seed=0,
            num_workers=self.num_workers,
            pinned=False,
        )
        self._aggregator = WeightAggregator(model)
        if state is not None:
            self._restore(state)
        self._rehearse(model)
        self._clock = time.perf_counter()
        self.running = True

    def _rehearse(self, model: nn.Module) -> None:
        """Let the task check what the model says of some samples: what does not fit is known before training."""
        engine = Engine(self.task, next(model.parameters()).device)
        ((_, loader, _),) = self._loaders.first()
        with untouched(engine.device), evaluating(model):
            for batch in loader:
                engine.rehearse(self._called(model), batch)

    def go_on(self, *, epochs: int | None) -> None:
        """Go on with a training that ended before its time, where this object has all that it was at."""
        assert self._refined is not None
        if self.planned.divided(epochs) != self.schedule:
            fix = "plan the epochs before training, with Schedule(...)"
            raise InvalidInputError(f"{self.schedule}, as before", got=f"{epochs} epochs", fix=fix)
        self._refined.store = self.store
        self.running, self.stopped = True, False

    def _open_store(self, *, resumed: bool) -> SoftLabelStore:
        if self.folder is None:
            if resumed or distributed.world_size() > 1:
                what = "a training that is resumed" if resumed else "several processes"
                fix = "pass folder=, the same as before and for all processes"
                raise InvalidInputError(f"a folder for the labels of {what}", got="None", fix=fix)
            return self._new_store()
        exists = (self.folder / "manifest.json").exists()
        if exists:
            store = SoftLabelStore.open(self.folder, writable=True)
            if resumed or store.generation:
                if not resumed:
                    raise CheckpointError(
                        f"a new folder for labels, or the checkpoint that belongs to those in {self.folder}",
                        got=f"labels of generation {store.generation}, and a training that starts anew",
                        fix="choose another folder, or resume from the checkpoint; the labels are untouched",
                    )
                store.check_given(self._data.given, self.task.num_classes)
                return store
        distributed.barrier()  # nobody makes it anew before everybody has looked
        if resumed:
            fix = "pass the folder that the training was started with"
            raise CheckpointError(f"the labels of the training in {self.folder}", got="none", fix=fix)
        if distributed.is_main():
            if exists:  # ended before the first generation: the given labels alone, perhaps others
                remove_store(self.folder)
            self._new_store()
        distributed.barrier()
        return SoftLabelStore.open(self.folder, writable=True)

    def _new_store(self) -> SoftLabelStore:
        momentum = self.correction.momentum
        return SoftLabelStore.create(
            self.folder,
            self._data.given,
            self.task.num_classes,
            kind=self.task.kind,
            codec=self.task.codec,
            evidence=self.correction.evidence_rule,
            momentum=DEFAULT_MOMENTUM if momentum is None else momentum,
            keep=self.correction.keep,
            frame=self.task.frame,
        )

    # ---------------------------------------------------------------- the end of a cycle

    @property
    def cycle(self) -> int:
        """The cycle that has ended; 0 is the initial phase."""
        return self._cycle_of_end

    def after_epoch(
        self, epoch: int, model: nn.Module, optimizers: Sequence[Optimizer], *, device: Any
    ) -> dict[str, float] | None:
        """Do what is due after an epoch (0-based); return the cycle's record if one has ended.

        Once for each epoch, however often it is called.
        """
        if epoch < self.epoch:
            return None
        self.epoch = epoch + 1
        if not self.schedule.ends_cycle(epoch):
            return None
        return self._end_cycle(self.schedule.cycle(epoch), model, optimizers, device=device)

    def stop(self, epochs: int, model: nn.Module, *, device: Any) -> dict[str, float] | None:
        """Let a training that is over after so many epochs end its cycle, and give the model the average."""
        record = None
        self.stopped = epochs < self.schedule.epochs
        due = epochs and not self.schedule.ends_cycle(epochs - 1)
        if due and not (self.history and self.history[-1]["epoch"] == epochs):
            self.epoch = epochs
            record = self._end_cycle(self.schedule.cycle(epochs - 1), model, (), device=device)
        if self.average.restart == "student" and self._averaged.count:
            self._averaged.copy_to(model)
        return record

    @property
    def _averaged(self) -> WeightAggregator:
        assert self._aggregator is not None, "begin() comes first"
        return self._aggregator

    def _end_cycle(
        self, cycle: int, model: nn.Module, optimizers: Sequence[Optimizer], *, device: Any
    ) -> dict[str, float]:
        self._cycle_of_end, self._engine = cycle, Engine(self.task, device)
        with untouched(device):
            self._averaged.update(model)  # Eq. 6
            self._recalibrate()
            metrics = self.correction.at_cycle_end(self)  # Eq. 7
        if self.average.restart == "aggregate":
            self._averaged.copy_to(model)
            for optimizer in optimizers:
                optimizer.state.clear()
        now = time.perf_counter()
        of_labels = label_record(self.store, metrics, self.task.main_metric, None)
        record = {
            "cycle": cycle,
            "epoch": self.epoch,
            "seconds": now - self._clock,
            **{name: of_labels[name] for name in ("agreement", "changed", "mean_trust")},
        }
        self._clock = now
        self.history.append(record)
        return {name: value for name, value in record.items() if not math.isnan(value)}

    def _recalibrate(self) -> None:
        how = self.average.recalibration
        data = self._data.train if how.inputs == "augmented" else self._data.canonical

        def forward(model: nn.Module, batch: Any) -> Any:
            return self.task.forward(self._called(model), self._engine.to_device(batch))

        recalibrate_batchnorm(
            self._averaged.model,
            self._loaders.for_statistics(data, self.epoch),
            method=how.method,
            max_samples=how.samples,
            forward=forward,
            skip=[*self._averaged.resting, *frozen_statistics(self._averaged.model)],
        )

    def _called(self, model: nn.Module) -> nn.Module:
        return model if self.forward is None else _Called(model, self.forward)

    def predictions(self) -> Predictions:
        """Yield (index, given, probs) of this rank's shard, predicted now by the average."""
        for batch, probs in self._engine.predict(self._called(self._averaged.model), self._loaders.canonical()):
            yield batch.index, batch.given, probs

    def shard(self) -> Iterator[Tensor]:
        """Yield the positions of this rank's shard, as many at once as are predicted at once."""
        yield from map(torch.tensor, self._loaders.in_order(len(self.store)))

    # ---------------------------------------------------------------- going on

    def _settings(self) -> dict[str, Any]:
        schedule = self.schedule
        return {
            "schedule": [schedule.init_epochs, schedule.cycles, schedule.cycle_epochs],
            "task": self.task.identity(),
            "correction": self.correction.identity(),
            "restart": self.average.restart,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold; nothing before a run."""
        if self._aggregator is None:
            return {}
        return {
            "settings": self._settings(),
            "epoch": self.epoch,
            "generation": self.store.generation,
            "average": self._aggregator.state_dict(),
            "history": copy.deepcopy(self.history),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._averaged.load_state_dict(state["average"])
        self.epoch, self.history = state["epoch"], copy.deepcopy(state["history"])
        generation = self.store.generation
        # What was published after the checkpoint, by a process that died before the next one, is done again.
        self.store.rollback(state["generation"])
        if generation > state["generation"]:
            logger.info("%s: back from label generation %d to %d", self.folder, generation, state["generation"])


class _Called(nn.Module):
    """A model that is run on an input as the caller says."""

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.model = model
        self._forward = forward
        self.training = model.training

    def forward(self, inputs: Any) -> Any:
        """Return the output."""
        return self._forward(self.model, inputs)


class Guest:
    """What the callbacks of all hosts show of their cycles."""

    _cycles: Cycles

    @property
    def labels(self) -> SoftLabelStore:
        """The labels: given, refined, evidence."""
        return self._cycles.labels

    @property
    def history(self) -> list[dict[str, float]]:
        """One record a cycle."""
        return self._cycles.history
