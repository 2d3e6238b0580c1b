"""The state of one training run, and the steps that SelfCorrector's loop is made of."""

from __future__ import annotations

import contextlib
import copy
import math
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import Setup, share_memory
from noisycorrect.cycle.recalibrate import batchnorm_layers
from noisycorrect.data.batches import Batch, are_vectors, check_generation
from noisycorrect.data.standardize import standardize_of
from noisycorrect.data.streams import StreamedDataset
from noisycorrect.labels import SoftLabelStore
from noisycorrect.recipe import Recipe
from noisycorrect.result import CorrectionResult
from noisycorrect.saved.details import MEMORY
from noisycorrect.support import distributed
from noisycorrect.support.errors import InvalidInputError, NonFiniteLossError
from noisycorrect.support.modes import TrainingModes
from noisycorrect.support.modules import copied, unwrap, wrapped
from noisycorrect.support.rank_rows import RankRows
from noisycorrect.support.rng import Stream, seeded
from noisycorrect.task import Metrics
from noisycorrect.training.averaging import RunningAverage
from noisycorrect.training.checkpoints import Checkpoints
from noisycorrect.training.engine import Engine
from noisycorrect.training.finite import check_finite
from noisycorrect.training.health import RunHealth
from noisycorrect.training.loaders import RunLoaders
from noisycorrect.training.losses import EpochLosses, check_weights
from noisycorrect.training.optimizer import (
    KnownParameters,
    check_parameters,
    make_optimizer,
    networks_of,
    set_mode,
)
from noisycorrect.training.records import label_record
from noisycorrect.training.rehearsal import check_gradient
from noisycorrect.training.run_data import RunData
from noisycorrect.training.sharded import (
    ShardedAverage,
    check_shardable,
    sharded,
)
from noisycorrect.training.step_shares import StepShares
from noisycorrect.training.trial import try_training
from noisycorrect.training.weights import check_weighed
from noisycorrect.training.whole_set import OverWholeSet


class Run(OverWholeSet):
    """One run: student, average, correction, objective, optimizer, labels, history.

    Made by :func:`~noisycorrect.training.run_folder.open_run`; its methods are the steps of the loop in
    :meth:`noisycorrect.SelfCorrector.fit`.

    Attributes
    ----------
    recipe : Recipe
        With a fixed schedule.
    student : nn.Module
        The model in training.
    plain : nn.Module
        The student; of one in shards, the whole model that predicts, of which each rank has a copy.
    average : RunningAverage or ShardedAverage
        Of its weights.
    correction : Correction
        The run's own copy of the recipe's.
    objective : Objective
        Likewise.
    store : SoftLabelStore
        The labels.
    history : list of dict
        One record a cycle.
    epoch : int
        Epochs done.
    class_names : tuple of str, or None
        What the classes are called.
    stopped : bool
        Whether it ends before its schedule does, because somebody has stopped it.
    """

    def __init__(
        self,
        model: nn.Module,
        engine: Engine,
        recipe: Recipe,
        data: RunData,
        store: SoftLabelStore,
        *,
        seed: int,
        num_workers: int,
        class_names: tuple[str, ...] | None = None,
        run_dir: Path | None = None,
        parallel: str = "ddp",
    ) -> None:
        self.recipe = recipe
        self.schedule = recipe.divided()
        self.engine = engine
        self.data = data
        self.store = store
        self.seed = seed
        self.class_names = class_names
        self.run_dir = run_dir
        self.checkpoints = None if run_dir is None else Checkpoints(run_dir)
        self.correction = Correction() if recipe.correction is None else copy.deepcopy(recipe.correction)
        self.objective = copy.deepcopy(recipe.objective)
        for part in self.parts:
            part.of_run()
        own = copied(model)
        for network in networks_of(own):
            if not unwrap(network).training:
                network.train()  # loaded, perhaps: what is at rest is known in a model that trains
        own = self.objective.prepare(self.correction.prepare(own, seed), seed)
        self.in_shards = parallel == "fsdp" and distributed.world_size() > 1
        if self.in_shards:
            check_shardable(recipe, engine.device, engine.precision)
        self.plain = own.to(engine.device)
        self.student = sharded(self.plain, engine.device) if self.in_shards else self.plain
        self.modes = TrainingModes(self.student)
        self.trained = self.student if self.in_shards else wrapped(self.student, engine.device)
        self.optimizer = make_optimizer(recipe, self.student)
        self._known = KnownParameters(self.student)
        self._callers = {id(parameter): name for name, parameter in model.named_parameters()}
        self.identity = self._identity()  # before the schedule changes rates that the optimizer holds in tensors
        self.scheduler = recipe.rates.scheduler(self.optimizer, self.schedule)
        self.average: RunningAverage | ShardedAverage
        if self.in_shards:
            self.average = ShardedAverage(recipe.average, self.student, self.plain)
        else:
            self.average = RunningAverage(recipe.average, self.student, self.optimizer)
        self.history: list[dict[str, float]] = []
        self.epoch = 0
        self.stopped = False
        self.loss = math.nan
        self.vectors = False  # whether inputs are; known from the rehearsal on
        self._asked_to_stop = False
        self._published: Metrics | None = None  # at the cycle's end that was last
        self._recorded_as_last = False
        self._clock = time.perf_counter()
        self._recalibrated = -1  # epochs done when the average was last given statistics
        pinned = engine.device.type == "cuda"
        self.loaders = RunLoaders(
            data,
            store,
            batch_size=recipe.batch_size,
            seed=seed,
            num_workers=num_workers,
            pinned=pinned,
            least=2 if any(isinstance(module, _BatchNorm) for module in self.student.modules()) else 1,
        )
        if recipe.accumulate > 1 and isinstance(data.train, StreamedDataset):
            got, fix = f"accumulate={recipe.accumulate}", "pass a larger batch_size instead"
            raise InvalidInputError("recipe.accumulate of 1 with a set that is read in passes", got=got, fix=fix)
        setup = self._setup()
        self.health = RunHealth(engine, setup.given, seed)
        for part in self.parts:
            part.start(setup)

    def _setup(self) -> Setup:
        given = self.store.kind.class_indices
        standardize = standardize_of(self.plain)
        return Setup(
            task=self.task,
            given=None if given is None else torch.tensor(given, device=self.engine.device),
            length=len(self.store),
            epochs=self.schedule.epochs,
            device=self.engine.device,
            seed=self.seed,
            augmented=self.engine.augment is not None,
            predict=self.predict,
            features=self.features,
            vectors=lambda: self.vectors,
            neutral=0.0 if standardize is None else standardize.mean,
            folder=None if self.run_dir is None else self.run_dir / MEMORY,
            draws=self.draws,
        )

    @contextlib.contextmanager
    def draws(self, batch: Batch | None = None) -> Iterator[None]:
        """Draw random numbers that are alike on any number of ranks: each row of a batch its own, or any for it all."""
        if distributed.world_size() == 1:
            yield  # what a model draws, too, comes from the one stream that there is
            return
        with self._common, contextlib.nullcontext() if batch is None else batch.whole.draws():
            yield

    # ---------------------------------------------------------------- what it is

    @property
    def ends_cycle(self) -> bool:
        """Whether a cycle, or the run, ends with the epoch that was done last."""
        return self.done or self.schedule.ends_cycle(self.epoch - 1)

    @property
    def sample_passes(self) -> int:
        """Sample passes so far: forward 1, backward 2."""
        return self.recipe.passes(
            len(self.store),
            trained=self.loaders.train_batches.samples,
            layers=batchnorm_layers(self.student, skip=self.modes.resting),
            prediction_passes=self.task.prediction_passes,
            vectors=self.vectors,
            validated=self.data.val is not None,
            done=self.epoch,
            stopped=self.stopped,
        )

    def stop(self) -> None:
        """Let the run end with this epoch, as if it ended a cycle; the result is whole. For callbacks, on any rank.

        Before an epoch or after its checkpoint, ``this`` is the next one.
        """
        self._asked_to_stop = True

    # ---------------------------------------------------------------- the steps of the loop

    def rehearse(self) -> None:
        """Run the student on a training and a validation batch, so that what does not fit is known at once."""
        resting = self.modes.trained_at_rest()
        if resting is not None:
            warnings.warn(
                f"{resting!r} is in evaluation mode while the model trains, and stays in it: no dropout, statistics as"
                " they are; its weights are trained. Call model.train() before, or requires_grad_(False) on it",
                stacklevel=3,
            )
        for name, loader, bad in self.loaders.first():
            with seeded(self.seed, "rehearsal"):
                for batch in loader:
                    output = self.engine.rehearse(self.plain, batch)
                    check_finite(name, batch, self.task.probs(output))
                    if name == "training":
                        self.vectors = are_vectors(batch.input)
                        self.health.begin(self.plain, batch, output, epoch=self.epoch)
                        size = self.recipe.batch_size // distributed.world_size()
                        try_training(self.engine, self.plain, batch, size)
                        check_gradient(self.engine, self.plain, batch, self._callers)
                for batch in bad:
                    check_finite(name, batch, self.task.probs(self.engine.look(self.plain, batch)))
        self._known.check(self.student)
        self.loaders.check_lengths()

    @contextlib.contextmanager
    def next_epoch(self) -> Iterator[Iterator[Batch]]:
        """Give the batches of the next epoch, on the device, and finish the epoch when the block ends."""
        epoch, ranks, device = self.epoch, distributed.world_size(), self.engine.device
        loader = self.loaders.train(epoch)
        with seeded(self.seed, "start of an epoch", epoch, device=device):
            for part in self.parts:
                part.start_epoch(epoch, self.student)
        shared = self.parts if ranks > 1 else ()
        before = [{name: tensor.clone() for name, tensor in part.memory().items()} for part in shared]
        self._losses = EpochLosses(epoch, len(self.loaders.train_batches))
        self.modes.apply()
        check_parameters(self.optimizer, self.student)
        set_mode(self.optimizer, training=True)
        self._common = Stream(self.seed, "training", epoch, 0, device=device)  # as one process would draw
        place = (epoch, 0) if ranks == 1 else (epoch, distributed.rank() + 1)
        try:
            with seeded(self.seed, "training", *place, device=device):
                yield self._batches(loader, epoch)
                self.loss = self._losses.mean()
                set_mode(self.optimizer, training=False)
                check_weights(self.student, epoch)
                self._known.check(self.student)
        except NonFiniteLossError as error:
            last = f"epoch {self.epoch} in {self.run_dir}" if self.run_dir and self.epoch else "none"
            raise NonFiniteLossError(f"{error}{self.health.note()}; last good checkpoint: {last}") from None
        for part, memory in zip(shared, before, strict=True):
            share_memory(part, memory)
        for part in self.parts:
            part.end_epoch()
        self.epoch = epoch + 1
        if isinstance(self.average, ShardedAverage):
            self.average.gather()
        self.health.after_epoch(self.plain, self.epoch)

    def _batches(self, loader: Any, epoch: int) -> Iterator[Batch]:
        length, generation, accumulated = len(self.loaders.train_batches), self.store.generation, self.recipe.accumulate
        steps = math.ceil(length / accumulated)
        shares = StepShares(
            self.store, self.loaders.train_batches, accumulated,
            couples=self.objective.couples, learns_unlabeled=self.correction.learns_unlabeled,
        )  # fmt: skip
        for number, batch in enumerate(loader):
            check_generation(batch, generation)
            self._begins = number % accumulated == 0
            self._ends = number + 1 == length or (number + 1) % accumulated == 0
            if self._begins:
                self.scheduler.step(epoch + number // accumulated / steps)
            # Before the index is on the device, to wait for nothing.
            self._labeled, self._step_share = shares.of(number, batch.index)
            check_weighed(batch, self.task, self.objective)
            batch = self.engine.to_device(batch)
            if distributed.world_size() > 1:
                size = len(self.loaders.train_batches.batch(number))
                batch.rows = RankRows(size, distributed.rank(), distributed.world_size())
            if self.engine.augment is not None:
                with self.draws(batch):
                    batch.input = self.engine.augment(batch.input)
            # Ranks exchange gradients once a step.
            waits = isinstance(self.trained, nn.parallel.DistributedDataParallel) and not self._ends
            waiting: Any = self.trained.no_sync() if waits else contextlib.nullcontext()  # type: ignore[operator]
            with waiting:
                yield batch

    def step(self, loss: Tensor) -> bool:
        """Take one step of the optimizer, or add to the gradient of one; return whether the step was taken.

        Raises
        ------
        InvalidInputError
            If the loss is no scalar with a gradient.
        """
        if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad:
            shape = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise InvalidInputError(
                f"a scalar loss with a gradient from {type(self.objective).__name__}",
                got=shape if isinstance(loss, Tensor) and loss.requires_grad else f"{shape} without a gradient",
                fix="return the mean loss of the batch, and train some parameter (requires_grad)",
            )
        share = loss * self._step_share
        self.engine.step(self.trained, self.optimizer, share, begins=self._begins, ends=self._ends)
        if self._ends:
            for part in self.parts:
                part.after_step(self.student)
        self._losses.add(loss.detach(), self._labeled)
        return self._ends

    def record(self, metrics: Metrics | None) -> None:
        """Append the cycle's record to the history: how the model does, and how the labels have changed.

        Parameters
        ----------
        metrics : Metrics or None
            Of the predictions of the generation that this cycle's end published, against the given labels.
        """
        now = time.perf_counter()
        record: dict[str, float] = {
            **self.epoch_record(),
            "seconds": now - self._clock,
            "sample_passes": self.sample_passes,
            **label_record(self.store, metrics, self.task.main_metric, self.data.clean_labels),
            **self.validate(),
        }
        self._clock = now
        self._published, self._recorded_as_last = metrics, self.done
        self.history.append(record)

    def complete(self) -> None:
        """Do what the end of a run takes beside that of a cycle, if a callback stopped it when the cycle had ended."""
        if not self.stopped or self._recorded_as_last:
            return
        if self._recalibrated != self.epoch:
            self.recalibrate()
        published = self.correction.at_cycle_end(self) if self._published is None else self._published
        earlier = self.history.pop()
        self.record(published)
        self.history[-1]["seconds"] += earlier["seconds"]

    def validate(self) -> dict[str, float]:
        """Return the model's metrics on the validation set, ``val_*`` and ``val_clean_*``; nothing without one."""
        loader = self.loaders.validation()
        if loader is None:
            return {}
        scores = self.engine.evaluate(self.model, loader, self.data.val_clean_labels)
        named = zip(("val", "val_clean"), scores, strict=False)
        return {f"{prefix}_{name}": value for prefix, score in named for name, value in score.items()}

    def epoch_record(self) -> dict[str, float]:
        """Return cycle, epochs done, loss and learning rate of the epoch that just ended."""
        return {
            "cycle": self.cycle,
            "epoch": self.epoch,
            "loss": self.loss,
            "lr": float(self.scheduler.get_last_lr()[0]),
            **self.correction.record(),
            **self.objective.record(),
        }

    def agree_to_stop(self) -> None:
        """Stop, on all ranks, if somebody asked for it on one."""
        self.stopped = bool(distributed.all_reduce_sum(torch.tensor(float(self._asked_to_stop))) > 0)

    def result(self) -> CorrectionResult:
        """Return what the run has come to."""
        self.health.at_end(self.model)
        return CorrectionResult(
            self.model.eval(),
            self.store,
            self.history,
            self.sample_passes,
            self.class_names,
            self.task,
            self.input_record,
        )
