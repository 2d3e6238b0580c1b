"""The state of one training run, and the steps that SelfCorrector's loop is made of."""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from noisycorrect.cycle.aggregate import WeightAggregator
from noisycorrect.cycle.recalibrate import recalibrate_batchnorm
from noisycorrect.cycle.schedule import CyclicalLR
from noisycorrect.data.batches import Batch, LabelView, ShardedBatches, make_loader
from noisycorrect.data.datasets import MapStyleDataset
from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.compare import changed_share
from noisycorrect.labels.trust import RULES, Rule, Trust
from noisycorrect.objective import Objective, Setup, share_memory
from noisycorrect.result import HISTORY, CorrectionResult, write_history
from noisycorrect.support import distributed
from noisycorrect.support.errors import CheckpointError, InvalidInputError, NonFiniteLossError
from noisycorrect.support.modules import unwrap
from noisycorrect.support.progress import logger
from noisycorrect.support.rng import derived_seed, seeded
from noisycorrect.training.checkpoint import check_settings, load_model_state, save_checkpoint
from noisycorrect.training.engine import Advance, Engine
from noisycorrect.training.run_data import RunData
from noisycorrect.training.settings import RunSettings

CHECKPOINT = "checkpoint.pt"
# What a stream of random numbers is for; mixed into the seed, so that no two purposes share one.
TRAINING, RECALIBRATION, OBJECTIVE = 1, 2, 3


class Run:
    """One run: student, aggregate, optimizer, schedule, labels, loaders, history.

    Made by :func:`open_run`; its methods are the steps of the loop in :meth:`noisycorrect.SelfCorrector.fit`.
    """

    def __init__(
        self,
        model: nn.Module,
        engine: Engine,
        objective: Objective,
        make_optimizer: Callable[..., Optimizer],
        settings: RunSettings,
        data: RunData,
        store: SoftLabelStore,
        run_dir: Path | None,
    ) -> None:
        schedule = settings.schedule
        self.settings = settings
        self.engine = engine
        self.data = data
        self.store = store
        self.run_dir = run_dir
        self.student = copy.deepcopy(model).to(engine.device)
        self.trained = _distributed(self.student, engine.device)
        self.objective = copy.deepcopy(objective)
        self.optimizer = _make_optimizer(make_optimizer, self.student, settings.lr)
        self.identity = self._identity()  # before the schedule changes rates that the optimizer holds in tensors
        self.scheduler = CyclicalLR(
            self.optimizer,
            warmup_epochs=settings.warmup_epochs,
            init_epochs=schedule.init_epochs if settings.lr_schedule == "cyclical" else schedule.epochs,
            cycle_epochs=schedule.cycle_epochs,
            cycle_lr=settings.cycle_lr,
            min_lr=settings.min_lr,
        )
        self.aggregator = (
            WeightAggregator(self.student, method=settings.aggregation, decay=settings.aggregation_decay)
            if settings.aggregate
            else None
        )
        self.history: list[dict[str, float]] = []
        self.epoch = 0  # epochs done
        self.loss = math.nan
        self.sample_passes = 0.0
        self._refined: dict[str, float] = {}  # what the last refinement measured
        self._clock = time.perf_counter()
        self._make_loaders()
        self.objective.start(self._setup())

    def _setup(self) -> Setup:
        given = self.store.kind.class_indices
        return Setup(
            task=self.engine.task,
            given=None if given is None else torch.tensor(given, device=self.engine.device),
            length=len(self.store),
            epochs=self.settings.schedule.epochs,
            device=self.engine.device,
            seed=self.settings.seed,
            augmented=self.engine.augment is not None,
            predict=self.predict,
        )

    def _make_loaders(self) -> None:
        settings, data = self.settings, self.data
        self.train_view = LabelView(data.train, self.store, seed=settings.seed, collate_fn=data.collate_fn)
        self.train_batches = ShardedBatches(
            len(data.train),
            settings.batch_size,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            seed=settings.seed,
            full=False,
        )
        self.train_loader = self._loader(self.train_view, self.train_batches)

    # ---------------------------------------------------------------- the steps of the loop

    def rehearse(self) -> None:
        """Run the student on a training and a validation batch, so that what does not fit is known at once."""
        for view in (self._canonical_view(), self._val_view()):
            if view is not None:
                first = list(range(min(len(view), self._prediction_batch)))
                # Read by a worker if there are any, so that no open file is shared with the workers to come.
                loader = make_loader(view, [first], min(1, self.settings.num_workers))
                with seeded(self.settings.seed):
                    for batch in loader:
                        self.engine.rehearse(self.student, batch)

    @property
    def model(self) -> nn.Module:
        """The model that predicts: the aggregate, or the student if weights are not averaged."""
        return self.aggregator.model if self.aggregator is not None else self.student

    def train_epoch(self, epoch: int, advance: Advance) -> None:
        """Train the student for one epoch on the refined labels of the current generation."""
        if len(self.data.train) != len(self.store):
            raise InvalidInputError(
                f"a training set of {len(self.store)} samples, as at the start of the run",
                got=str(len(self.data.train)),
                fix="the data set must not grow or shrink during a run",
            )
        self.train_view.set_epoch(epoch)
        self.train_batches.set_epoch(epoch)
        with seeded(self.settings.seed, OBJECTIVE, epoch, device=self.engine.device):
            self.objective.start_epoch(epoch, self.student)
        ranks = distributed.world_size()
        before = {name: tensor.clone() for name, tensor in self.objective.memory().items()} if ranks > 1 else {}
        with seeded(self.settings.seed, TRAINING, epoch, distributed.rank(), device=self.engine.device):
            try:
                self.loss, samples = self.engine.train_epoch(
                    self.trained,
                    self.objective,
                    self.optimizer,
                    self.scheduler,
                    self.train_loader,
                    epoch=epoch,
                    length=len(self.train_batches),
                    generation=self.store.generation,
                    weigh=self._weigh,
                    after_step=self._after_step,
                    advance=advance,
                )
            except NonFiniteLossError as error:
                last = f"epoch {self.epoch} in {self.run_dir}" if self.run_dir and self.epoch else "none"
                raise NonFiniteLossError(f"{error}; last good checkpoint: {last}") from None
        if ranks > 1:
            share_memory(self.objective, before)
        self.objective.end_epoch()
        self.sample_passes += self.objective.passes(epoch, self.settings.schedule.epochs) * samples
        self.epoch = epoch + 1

    def _after_step(self) -> None:
        self.objective.after_step(self.student)
        if self.settings.averages_steps:
            self.aggregate()

    def predict(self, model: nn.Module) -> Tensor:
        """Return a model's class probabilities of the whole training set, float32 (N, K, ...), on the device.

        The passes are the caller's to count.
        """
        batches = self._loader(self._canonical_view(), self._in_order(len(self.data.canonical)))
        own = [probs.cpu() for _, probs in self.engine.predict(model, batches)]
        shards = distributed.all_gather_objects(torch.cat(own) if own else None)
        return torch.cat([shard for shard in shards if shard is not None]).to(self.engine.device)

    def _weigh(self, number: int, batch: Batch) -> tuple[int, float]:
        """Return how many samples of the batch have a label, and their share of the global batch's, times the ranks."""
        own = self._labeled(batch.index)
        if distributed.world_size() == 1:
            return own, 1.0
        return own, own * distributed.world_size() / max(1, self._labeled(self.train_batches.batch(number)))

    def _labeled(self, indices: Tensor) -> int:
        # Evidence labels every sample, a given label only its own.
        whole = self.objective.learns_unlabeled
        if whole is None:
            whole = self.store.generation > 0
        return len(indices) if whole else int(self.store.labeled[indices.numpy()].sum())

    def aggregate(self) -> None:
        """Take the student's weights into the average (SCHP, Eq. 6)."""
        assert self.aggregator is not None
        self.aggregator.update(self.student)

    def recalibrate(self) -> None:
        """Estimate the average's BatchNorm statistics on the training samples."""
        settings = self.settings
        augmented = settings.recalibration_inputs == "augmented"
        data = self.data.train if augmented else self.data.canonical
        batches = ShardedBatches(
            len(data),
            self._prediction_batch,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            seed=derived_seed(settings.seed, RECALIBRATION),  # shuffled: sorted data misleads the one-pass estimate
        )
        batches.set_epoch(self.epoch)
        view = self._view(data)
        view.set_epoch(self.epoch)

        def forward(model: nn.Module, batch: Batch) -> Any:
            batch = batch.to(self.engine.device)
            if augmented and self.engine.augment is not None:
                # Seeded by batch: every pass of the exact method must see the same inputs.
                with seeded(settings.seed, RECALIBRATION, self.epoch, int(batch.index[0]), device=self.engine.device):
                    batch.input = self.engine.augment(batch.input)
            return self.engine.task.forward(model, batch)

        with self.engine.autocast():
            layers = recalibrate_batchnorm(
                self.model,
                self._loader(view, batches),
                method=settings.recalibration,
                max_samples=settings.recalibration_samples,
                forward=forward,
            )
        passes = {"fast": min(layers, 1), "exact": layers}[settings.recalibration]
        self.sample_passes += passes * min(settings.recalibration_samples or len(data), len(data))

    def refine(self) -> None:
        """Publish the next generation of labels (SCHP, Eq. 7), from predictions of every training sample.

        An objective that keeps evidence itself has it already.
        """
        before = self.store.generation
        agreement = self.engine.task.metrics()
        entry, parts = RULES[self.settings.trust], self.store.kind.parts
        with self.store.new_generation(trust=self._trust_rule()) as writer:
            for index, given, probs in self._kept() if self.objective.keeps_evidence else self._predicted():
                agreement.update(probs, given)
                writer.write(index, probs)
            agreement.reduce()
            if entry.floor is not None:
                writer.floor = entry.floor(before + 1, agreement.class_recall())
            if entry.judge is not None and parts is not None and not self.objective.keeps_evidence:
                writer.rule = self.settings.trust
        self._refined = {
            "agreement": agreement.compute()[self.engine.task.main_metric],
            "changed": changed_share(self.store, before),
            "mean_trust": self._mean_trust(agreement.class_support()),
        }
        self._refined |= self._label_quality()

    def _trust_rule(self) -> Callable[[Tensor, Tensor, int], Tensor] | None:
        """Return what the store computes trust with; None is Eq. 7."""
        if self.objective.keeps_evidence:
            return lambda given, evidence, _: self.objective.trust_in(
                given.to(self.engine.device), evidence.to(self.engine.device)
            ).cpu()
        if RULES[self.settings.trust].judge is None:
            return None
        if self.store.kind.parts is not None:  # each part is judged when labels are composed
            return lambda given, evidence, _: given.float()
        return lambda given, evidence, _: Trust((given >= 0).float(), rule=Rule(self.settings.trust)).of(
            given, evidence
        )

    def _predicted(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (index, given, probs) of this rank's shard, predicted now."""
        batches = self._in_order(len(self.data.canonical))
        for batch, probs in self.engine.predict(self.model, self._loader(self._canonical_view(), batches)):
            yield batch.index, batch.given, probs
        self.sample_passes += self.engine.task.prediction_passes * len(self.data.canonical)

    def _kept(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (index, given, probs) of this rank's shard, as the objective has kept them."""
        evidence, given = self.objective.kept_evidence(), torch.tensor(self.store.given())
        for rows in self._in_order(len(self.store)):
            index = torch.tensor(rows)
            yield index, given[index], evidence[index.to(evidence.device)]

    def _mean_trust(self, support: Tensor) -> float:
        """Return the mean weight on the given labels; `support` counts those of each class."""
        trust = self.store.trust(np.flatnonzero(self.store.labeled))
        mean = float(trust.weight.mean())
        if trust.floor is None:
            return mean
        return float((trust.floor.clamp(min=mean) * support).sum() / support.sum())

    def _label_quality(self) -> dict[str, float]:
        """Compare the refined labels with the clean ones, if there are any."""
        clean = self.data.clean_labels
        if clean is None:
            return {}
        return self.store.kind.quality(self.store.labels, clean)

    @property
    def _prediction_batch(self) -> int:
        return 2 * self.settings.batch_size  # without gradients twice as many samples take less memory than training

    def _in_order(self, length: int) -> list[list[int]]:
        """Return the batches of this rank's contiguous shard."""
        shard, step = distributed.shard(length), self._prediction_batch
        return [list(shard[start : start + step]) for start in range(0, len(shard), step)]

    def _canonical_view(self) -> LabelView:
        return self._view(self.data.canonical)

    def _view(self, data: MapStyleDataset) -> LabelView:
        seed, expected = self.settings.seed, self.store.kind.class_indices
        return LabelView(data, None, seed=seed, collate_fn=self.data.collate_fn, expected=expected)

    def _val_view(self) -> LabelView | None:
        data, seed = self.data, self.settings.seed
        if data.val is None:
            return None
        given = None if self.store.kind.parts is not None else np.asarray(data.val_given)
        expected = given if given is not None and given.ndim == 1 and given.dtype != object else None
        return LabelView(data.val, None, seed=seed, collate_fn=data.collate_fn, expected=expected)

    def _loader(self, view: LabelView, batches: Any) -> DataLoader[Any]:
        pinned = self.engine.device.type == "cuda"
        return make_loader(view, batches, self.settings.num_workers, pin_memory=pinned)

    def record(self, cycle: int) -> None:
        """Measure the model on the validation set, and append the cycle's record to the history."""
        nothing = dict.fromkeys(("agreement", "changed", "mean_trust", "label_accuracy"), math.nan)
        now = time.perf_counter()
        record: dict[str, float] = {
            **self.epoch_record(cycle),
            "seconds": now - self._clock,
            "sample_passes": round(self.sample_passes),
            **nothing,
            **self._refined,
            **self._validate(),
        }
        self._refined, self._clock = {}, now
        self.history.append(record)
        logger.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in record.items() if value == value))

    def _validate(self) -> dict[str, float]:
        view = self._val_view()
        if view is None:
            return {}
        loader = self._loader(view, self._in_order(len(view)))
        scores = self.engine.evaluate(self.model, loader, self.data.val_clean_labels)
        named = zip(("val", "val_clean"), scores, strict=False)
        return {f"{prefix}_{name}": value for prefix, score in named for name, value in score.items()}

    def restart_from_aggregate(self) -> None:
        """Start the next cycle from the averaged weights, the optimizer having forgotten the old ones."""
        assert self.aggregator is not None
        unwrap(self.student).load_state_dict(self.aggregator.model.state_dict())
        self.optimizer.state.clear()

    def epoch_record(self, cycle: int) -> dict[str, float]:
        """Return cycle, epochs done, loss and learning rate of the epoch that just ended."""
        return {
            "cycle": cycle,
            "epoch": self.epoch,
            "loss": self.loss,
            "lr": float(self.scheduler.get_last_lr()[0]),
            **self.objective.record(),
        }

    def result(self) -> CorrectionResult:
        """Return what the run has come to."""
        return CorrectionResult(self.model.eval(), self.store, self.history, round(self.sample_passes))

    # ---------------------------------------------------------------- stopping and going on

    def save(self) -> None:
        """Write a checkpoint, if the run has a folder."""
        if self.run_dir is None:
            return
        if distributed.is_main():
            save_checkpoint(self.run_dir / CHECKPOINT, self._state())
            write_history(self.run_dir / HISTORY, self.history)
        distributed.barrier()

    def _identity(self) -> dict[str, Any]:
        """Return what a checkpoint and the run that resumes it must share; of callables, whether there is one."""
        values = {
            name: value.tolist() if isinstance(value, Tensor) else value
            for name, value in self.optimizer.defaults.items()
        }
        plain = {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str, tuple))}
        return {
            **self.settings.identity(),
            "task": self.engine.task.identity(),
            "optimizer": f"{type(self.optimizer).__name__}({plain})",
            "precision": str(self.engine.precision),
            "clip_grad_norm": self.engine.clip_grad_norm,
            "augment": self.engine.augment is not None,
            "objective": self.objective.identity(),
        }

    def _state(self) -> dict[str, Any]:
        return {
            "settings": self.identity,
            "epoch": self.epoch,
            "generation": self.store.generation,
            "student": unwrap(self.student).state_dict(),
            "aggregate": None if self.aggregator is None else self.aggregator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.engine.scaler.state_dict(),
            "objective": self.objective.state_dict(),
            "history": self.history,
            "loss": self.loss,
            "sample_passes": self.sample_passes,
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go back to where a checkpoint was written."""
        check_settings(content["settings"], self.identity)
        load_model_state(unwrap(self.student), content["student"])
        if self.aggregator is not None:
            self.aggregator.load_state_dict(content["aggregate"])
        try:
            self.optimizer.load_state_dict(content["optimizer"])
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                "this optimizer", got=str(error), fix="use the run's own optimizer factory"
            ) from error
        self.scheduler.load_state_dict(content["scheduler"])
        self.engine.scaler.load_state_dict(content["scaler"])
        self.objective.load_state_dict(content["objective"])
        self.history = content["history"]
        self.epoch = content["epoch"]
        self.loss = content["loss"]
        self.sample_passes = content["sample_passes"]
        # A run that was killed after publishing a generation but before its checkpoint does that cycle's end again.
        self.store.rollback(content["generation"])


def _distributed(model: nn.Module, device: torch.device) -> nn.Module:
    if distributed.world_size() == 1:
        return model
    return nn.parallel.DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def _make_optimizer(factory: Callable[..., Optimizer], model: nn.Module, lr: float | None) -> Optimizer:
    optimizer = factory(model.parameters()) if lr is None else factory(model.parameters(), lr=lr)
    if not isinstance(optimizer, Optimizer):
        raise InvalidInputError(
            "optimizer(parameters) to return a torch Optimizer",
            got=type(optimizer).__name__,
            fix="pass a factory, such as torch.optim.AdamW",
        )
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise InvalidInputError(
            "an optimizer whose step() needs no closure",
            got=type(optimizer).__name__,
            fix="pass SGD, AdamW or another first-order optimizer",
        )
    return optimizer
