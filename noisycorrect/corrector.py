"""SelfCorrector: model and labels clean each other (Li et al., "Self-Correction for Human Parsing", Algorithm 1)."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from noisycorrect.classification.task import Classification
from noisycorrect.cycle.schedule import PAPER_INIT_EPOCHS, PAPER_WARMUP_EPOCHS, Schedule
from noisycorrect.data.batches import Collate
from noisycorrect.data.datasets import as_dataset
from noisycorrect.objective import Objective
from noisycorrect.presets import Preset, preset_named
from noisycorrect.result import CorrectionResult
from noisycorrect.support import distributed
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.progress import samples_progress
from noisycorrect.task import Task
from noisycorrect.training.engine import Engine, resolve_device, resolve_precision
from noisycorrect.training.run import Run
from noisycorrect.training.run_data import RunData
from noisycorrect.training.run_folder import open_run
from noisycorrect.training.settings import RunSettings

TASKS: dict[str, Callable[[int], Task]] = {"classification": Classification}

COSINE_WARMUP = 0.05  # of all epochs
OptimizerFactory = Callable[..., Optimizer]


class SelfCorrector:
    """Train a model on labels that cannot be trusted, and refine the labels with the model, in turns.

    ``preset="paper"``: after an initial phase, training goes in cycles. At the end of each one the weights are averaged
    with those of the earlier cycles (Eq. 6), BatchNorm statistics are estimated anew, the averaged model predicts every
    training sample, and the mean prediction is blended into the labels of the next cycle (Eq. 7).

    ``preset="robust"``, for labels of which many may be wrong: of class labels, evidence is gathered from the
    predictions of every training step and blended in as soon as memorisation begins, each label trusted as far as the
    evidence agrees with it (:class:`~noisycorrect.OnlineCorrection`); one cosine, weights averaged after every step;
    cycles only say when labels are published. Of masks: the paper's loop with few late cycles, which change a pixel
    only where another class is all but certain. It needs no noise rate. docs/robust.md has what each part does.

    Parameters
    ----------
    model : nn.Module
        Any network whose output the task understands: logits (N, K) for classification. It is copied, not changed.
    task : str or Task
        ``"classification"``, or a task object.
    num_classes : int, optional
        K; needed with a task's name.
    preset : {"paper", "robust"}
        Where the defaults below come from; where they differ, those of ``"robust"`` follow in brackets.
    epochs : int, optional
        Whole budget, divided as in the paper, 100 : 5 x 10 [about 1 : 9, of masks 1 : 1]. Default: 150. With the
        paper's preset and many wrong labels less is more: what a network has memorised, it predicts back.
    init_epochs, cycles, cycle_epochs : int, optional
        Instead of `epochs`: length of the initial phase, number and length of the correction cycles.
    warmup_epochs : float, optional
        Linear warm-up, part of the initial phase. Default: a tenth of it [a twentieth of all epochs, and at most half
        of it].
    lr, cycle_lr, min_lr : float, optional
        Peak of the initial phase, peak of the cycles, floor. Default: 7e-3 [of class labels 0.05], or the optimizer
        factory's own; half of `lr`; a hundredth of `lr`.
    optimizer : callable, optional
        ``optimizer(parameters)`` or, if `lr` is given, ``optimizer(parameters, lr=lr)`` -> Optimizer. Default: SGD with
        momentum 0.9 and weight decay 5e-4.
    objective : Objective, optional
        What a training step minimises. Default: the task's loss against the refined labels [of class labels
        :class:`~noisycorrect.OnlineCorrection`, whose arguments are the parts of the preset]. Baselines of label-noise
        learning are objectives, too (:mod:`noisycorrect.classification`).
    batch_size : int, optional
        Samples in a batch, over all ranks. Default: 36 [of class labels 64].
    aggregate, refine : bool
        Average the weights (Eq. 6); refine the labels (Eq. 7): the rows of the paper's Table 4. The first cycle's blend
        is half the given label, so a label's most probable class can change from the second on.
    lr_schedule : {"cyclical", "cosine"}, optional
        A cosine for the initial phase and one for each cycle (Eq. 5) [or one for the whole run].
    aggregation : {"equal", "exponential"}, optional
        The mean of the weights at the ends of the cycles (Eq. 6) [or an exponential average of those after every step
        with `aggregation_decay`]; training then goes on from its own weights (`restart` must be ``"student"``).
    aggregation_decay : float, optional
        In [0, 1). Default: 0.99.
    restart : {"aggregate", "student"}, optional
        Where a cycle starts from: the averaged weights with a fresh optimizer (the paper), or the weights that the last
        cycle ended with (the published code).
    evidence : {"mean", "exponential", "training"}, optional
        Mean of the predictions of all cycles (Eq. 7); an exponential average of them with `evidence_momentum`; or what
        the objective gathers in training, which only one that keeps evidence does, and always.
    evidence_momentum : float, optional
        Weight of the past in exponential evidence, in [0, 1). Default: 0.7. An objective that keeps evidence has one of
        its own.
    trust : {"paper", "class-balanced", "agreement", "confident"}, optional
        Weight on the given labels after m cycles: 1/(m+1) (Eq. 7); no less for a class that the model misses
        (:func:`~noisycorrect.labels.trust.class_balanced_trust`), so that rare classes are not averaged away; for each
        label, or pixel, the evidence's probability of it (:func:`~noisycorrect.labels.trust.agreement_trust`); or all,
        unless the evidence is sure of another class (:func:`~noisycorrect.labels.trust.confident_trust`) [of masks]. An
        objective that keeps evidence has a rule of its own.
    recalibration : {"fast", "exact"}
        See :func:`~noisycorrect.recalibrate_batchnorm`.
    recalibration_samples : int or None
        Recalibrate on at most so many random training samples; None uses all. A few thousand give population statistics
        (Wu & Johnson 2021, sec. 3), and a pass over all would double what a cycle costs.
    recalibration_inputs : {"augmented", "canonical"}
        Recalibrate on training samples as training sees them (the paper), or as predictions do. The weights were
        trained with statistics of augmented inputs.
    device : str or torch.device
        ``"auto"`` is a GPU where there is one.
    precision : {"auto", "float32", "bfloat16", "float16"}
        Precision of forward passes; ``"auto"`` is half on CUDA, full elsewhere.
    clip_grad_norm : float, optional
        Largest norm of the gradient.
    augment : callable, optional
        ``augment(input) -> input`` on training batches, on the device. Predictions see inputs without it.
    collate_fn : callable, optional
        Makes a batch of a list of items; default: torch's.
    num_workers : int
        Processes that load data; 0 loads in this one.
    seed : int
        Seed of everything that is random after the model was made: order, dropout, augmentation. Global random states
        are left as they were.
    run_dir : path-like, optional
        Folder for checkpoints, labels and history. Without one nothing can be resumed, and the labels live in a
        temporary folder that goes with the result.
    keep_generations : int or None
        Generations of labels that stay on disk, at least 2; None keeps all.
    on_epoch : callable, optional
        ``on_epoch(model, record)`` after every epoch, with the model in training, or its average if that is made at
        every step, and a dict of ``epoch`` (epochs done), ``cycle``, ``loss``, ``lr``.
    verbose : bool
        Show a progress bar, on a terminal only.

    Raises
    ------
    InvalidInputError
        If an argument is out of range or unknown.

    Examples
    --------
    >>> inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    >>> labels = (inputs[:, 0] > 0).long()
    >>> corrector = SelfCorrector(nn.Linear(5, 2), task="classification", num_classes=2, epochs=12, lr=0.5)
    >>> result = corrector.fit((inputs, labels))
    >>> result.labels
    SoftLabelStore(...: 64 samples, 2 classes, generation 4)
    >>> [record["epoch"] for record in result.history]
    [8, 9, 10, 11, 12]
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        task: str | Task = "classification",
        num_classes: int | None = None,
        preset: str = "paper",
        epochs: int | None = None,
        init_epochs: int | None = None,
        cycles: int | None = None,
        cycle_epochs: int | None = None,
        warmup_epochs: float | None = None,
        lr: float | None = None,
        cycle_lr: float | None = None,
        min_lr: float | None = None,
        optimizer: OptimizerFactory | None = None,
        objective: Objective | None = None,
        batch_size: int | None = None,
        lr_schedule: str | None = None,
        aggregate: bool = True,
        aggregation: str | None = None,
        aggregation_decay: float | None = None,
        refine: bool = True,
        restart: str | None = None,
        evidence: str | None = None,
        evidence_momentum: float | None = None,
        trust: str | None = None,
        recalibration: str = "fast",
        recalibration_samples: int | None = 8192,
        recalibration_inputs: str = "augmented",
        device: str | torch.device = "auto",
        precision: str = "auto",
        clip_grad_norm: float | None = None,
        augment: Callable[[Any], Any] | None = None,
        collate_fn: Collate | None = None,
        num_workers: int = 0,
        seed: int = 0,
        run_dir: str | os.PathLike[str] | None = None,
        keep_generations: int | None = 2,
        on_epoch: Callable[[nn.Module, dict[str, float]], None] | None = None,
        verbose: bool = True,
    ) -> None:
        self.model = model
        self.task = _make_task(task, num_classes)
        defaults = preset_named(preset, self.task.kind.name)
        if aggregation == "exponential":
            defaults = dataclasses.replace(defaults, restart="student")
        self.objective = defaults.objective() if objective is None else objective
        self._check_objective()
        self.schedule = _make_schedule(defaults, epochs, init_epochs, cycles, cycle_epochs)
        lr_schedule = defaults.lr_schedule if lr_schedule is None else lr_schedule
        if cycle_lr is not None and lr_schedule == "cosine":
            fix = 'leave cycle_lr out, or pass lr_schedule="cyclical"'
            raise InvalidInputError("no cycle_lr with one cosine", got=repr(cycle_lr), fix=fix)
        if warmup_epochs is None:
            share = PAPER_WARMUP_EPOCHS / PAPER_INIT_EPOCHS
            warmup_epochs = share * self.schedule.init_epochs
            if lr_schedule == "cosine":
                warmup_epochs = min(COSINE_WARMUP * self.schedule.epochs, self.schedule.init_epochs / 2)
        self.settings = RunSettings(
            schedule=self.schedule,
            warmup_epochs=warmup_epochs,
            lr=lr if lr is not None or optimizer is not None else defaults.lr,
            cycle_lr=cycle_lr,
            min_lr=min_lr,
            batch_size=defaults.batch_size if batch_size is None else batch_size,
            lr_schedule=lr_schedule,
            aggregate=aggregate,
            aggregation=defaults.aggregation if aggregation is None else aggregation,
            aggregation_decay=defaults.aggregation_decay if aggregation_decay is None else aggregation_decay,
            refine=refine,
            restart=defaults.restart if restart is None else restart,
            evidence=_checked_evidence(self.objective, evidence, trust, evidence_momentum, defaults),
            evidence_momentum=0.7 if evidence_momentum is None else evidence_momentum,
            trust=defaults.trust if trust is None else trust,
            recalibration=recalibration,
            recalibration_samples=recalibration_samples,
            recalibration_inputs=recalibration_inputs,
            num_workers=num_workers,
            seed=seed,
            keep_generations=keep_generations,
        )
        if self.objective.keeps_evidence and not refine:
            raise InvalidInputError(
                f"refine=True with {type(self.objective).__name__}, which refines while it trains",
                got="refine=False",
                fix="pass objective=Objective() for plain training",
            )
        self.optimizer = defaults.optimizer if optimizer is None else optimizer
        if not callable(self.optimizer) or isinstance(self.optimizer, Optimizer):
            raise InvalidInputError(
                "optimizer to be a factory, called with the parameters",
                got=repr(optimizer) if isinstance(optimizer, str) else f"an object of {type(optimizer).__name__}",
                fix="pass torch.optim.AdamW, or functools.partial(torch.optim.SGD, momentum=0.9)",
            )
        if not isinstance(model, nn.Module):
            raise InvalidInputError("model to be an nn.Module", got=type(model).__name__, fix="pass a network")
        self.device = resolve_device(device)
        self.precision = resolve_precision(precision, self.device)
        self.clip_grad_norm = clip_grad_norm
        self.augment = augment
        self.collate_fn = collate_fn
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.on_epoch = on_epoch
        self.verbose = verbose
        self._engine()  # its arguments are checked now, not after the data was read

    def fit(
        self,
        train: Any,
        val: Any = None,
        unlabeled: Any = None,
        *,
        canonical: Any = None,
        clean_labels: Any = None,
        val_clean_labels: Any = None,
        resume: str | bool = "auto",
    ) -> CorrectionResult:
        """Train, and refine the labels.

        Parameters
        ----------
        train : Dataset, pair of arrays, or DataLoader
            Map-style data set of ``(input, label)``, ``(input, label, index)`` or dicts (``input``, ``image`` or ``x``;
            ``label``, ``given``, ``y`` or ``target``), or ``(inputs, labels)``. Labels are taken from its ``targets``
            or ``labels`` if it has them, else every item is read once. Of a DataLoader only the data set is used.
        val : same, optional
            Validation set; measured at the end of each cycle.
        unlabeled : data set of inputs, or array, optional
            Inputs without labels (transduction, sec. 3.4): an array, or items of an input, a tuple that begins with
            one, or a dict; they follow the training set, with trust 0.
        canonical : data set, optional
            The training set without augmentation, for predictions; the unlabelled inputs may follow. Needed if the
            items of `train` are augmented when they are read and the run predicts them: an objective that keeps
            evidence takes it from training, augmented. Default: ``train.canonical()`` where there is one.
        clean_labels, val_clean_labels : array-like of int, optional
            True labels, for measuring only: the history then says how good refined labels and model are against them.
            For masks `clean_labels` is a sequence of masks, and `val` should have clean ones.
        resume : {"auto", True, False}
            Go on from the checkpoint in `run_dir`: if there is one; it must be there; it must not be there.

        Returns
        -------
        CorrectionResult

        Raises
        ------
        InvalidInputError
            If data or labels are not usable.
        CheckpointError, StoreError
            If `run_dir` belongs to another run, or a file in it is damaged or cannot be written.
        RunInUseError
            If another process works in `run_dir`.
        NonFiniteLossError
            If the loss becomes NaN or infinite; the last checkpoint is good.
        """
        data = self._data(train, val, unlabeled, canonical, clean_labels, val_clean_labels)
        with (
            open_run(
                self.model, self._engine(), self.objective, self.optimizer, self.settings, data, self.run_dir, resume
            ) as run,
            samples_progress(enabled=self.verbose and distributed.is_main()) as progress,
        ):
            run.rehearse()
            share = len(distributed.shard(len(data.train)))
            bar = progress.add_task("", total=self.schedule.epochs * share, completed=run.epoch * share)
            for epoch in range(run.epoch, self.schedule.epochs):
                cycle = self.schedule.cycle(epoch)
                progress.update(bar, description=_describe(epoch, cycle, self.schedule, run))
                run.train_epoch(epoch, advance=functools.partial(progress.advance, bar))
                if self.schedule.ends_cycle(epoch):
                    if self.settings.aggregate:
                        if not self.settings.averages_steps:
                            run.aggregate()  # Eq. 6
                        if run.epoch == self.schedule.epochs or self.uses_average(validated=val is not None):
                            run.recalibrate()
                    if self.settings.refine and cycle > 0:
                        run.refine()  # Eq. 7
                    run.record(cycle)
                    if self.settings.aggregate and self.settings.restart == "aggregate":
                        run.restart_from_aggregate()
                run.save()
                if self.on_epoch is not None:
                    self.on_epoch(run.model if self.settings.averages_steps else run.student, run.epoch_record(cycle))
        return run.result()

    def _check_objective(self) -> None:
        if not isinstance(self.objective, Objective):
            raise InvalidInputError(
                "objective to be an Objective",
                got=repr(self.objective),
                fix='pass an object, such as EarlyLearningRegularization(), or use fit_baseline("elr", ...)',
            )
        if self.objective.keeps_evidence and self.task.kind.parts is not None:
            raise InvalidInputError(
                f"class labels with {type(self.objective).__name__}",
                got=self.task.kind.name,
                fix='leave objective out: preset="robust" has a rule of its own for masks',
            )

    def uses_average(self, *, validated: bool = False) -> bool:
        """Return whether anything is done with the average before the end of a run, with a validation set or without.

        If not, its BatchNorm statistics are estimated anew at the end alone.
        """
        predicts = self.settings.refine and not self.objective.keeps_evidence
        return predicts or (validated and not self.settings.averages_steps) or self.settings.restart == "aggregate"

    def _engine(self) -> Engine:
        return Engine(
            self.task,
            self.device,
            precision=self.precision,
            clip_grad_norm=self.clip_grad_norm,
            augment=self.augment,
        )

    def _data(
        self, train: Any, val: Any, unlabeled: Any, canonical: Any, clean_labels: Any, val_clean_labels: Any
    ) -> RunData:
        data = RunData.make(
            as_dataset(train, "train"),
            self.task,
            val=None if val is None else as_dataset(val, "val"),
            unlabeled=unlabeled,
            canonical=None if canonical is None else as_dataset(canonical, "canonical"),
            collate_fn=self.collate_fn,
            num_workers=self.settings.num_workers,
            predicts=self.settings.refine and not self.objective.keeps_evidence,
        )
        self.task.check_given(data.given)
        if data.val is not None:
            self.task.check_given(data.val_given, training=False)
        if clean_labels is not None:
            data.clean_labels = self.task.kind.checked_clean(
                clean_labels, self.task.num_classes, len(data.train), "clean_labels"
            )
        if val_clean_labels is not None:
            data.val_clean_labels = self._val_clean(val_clean_labels, 0 if data.val is None else len(data.val))
        return data

    def _val_clean(self, labels: Any, length: int) -> Tensor:
        if self.task.kind.parts is not None:
            raise InvalidInputError(
                "val_clean_labels for class labels only",
                got=f"labels of {self.task.kind.parts}",
                fix="pass a val set with the clean labels",
            )
        array = self.task.kind.checked_clean(labels, self.task.num_classes, length, "val_clean_labels")
        return torch.from_numpy(array)


def _make_task(task: str | Task, num_classes: int | None) -> Task:
    if not isinstance(task, str):
        if num_classes not in (None, task.num_classes):
            raise InvalidInputError(
                f"num_classes={task.num_classes}, as in the task", got=repr(num_classes), fix="leave num_classes out"
            )
        return task
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if num_classes is None:
        raise InvalidInputError("num_classes with a task's name", got="None", fix="pass num_classes=")
    return TASKS[task](num_classes)


def _make_schedule(
    defaults: Preset, epochs: int | None, init_epochs: int | None, cycles: int | None, cycle_epochs: int | None
) -> Schedule:
    parts = {"init_epochs": init_epochs, "cycles": cycles, "cycle_epochs": cycle_epochs}
    given = {name: value for name, value in parts.items() if value is not None}
    if epochs is not None and given:
        raise InvalidInputError(
            "either epochs, or init_epochs, cycles and cycle_epochs",
            got=f"epochs={epochs} and {', '.join(f'{name}={value}' for name, value in given.items())}",
            fix="leave one of them out",
        )
    if given:
        return Schedule(**{"init_epochs": 100, "cycles": 5, "cycle_epochs": 10, **given})
    return Schedule.from_budget(
        150 if epochs is None else epochs, init_share=defaults.init_share, cycles=defaults.cycles
    )


def _checked_evidence(
    objective: Objective, evidence: str | None, trust: str | None, momentum: float | None, defaults: Preset
) -> str:
    """Return the rule of the evidence: an objective that keeps its own allows no other."""
    if objective.keeps_evidence:
        name = type(objective).__name__
        if evidence not in (None, "training"):
            raise InvalidInputError(f'evidence="training" with {name}', got=repr(evidence), fix="leave evidence out")
        for argument, value, own in (("trust", trust, "trust"), ("evidence_momentum", momentum, "momentum")):
            if value is not None:
                fix = f"pass objective={name}({own}=...)"
                raise InvalidInputError(f"no {argument}= beside that of {name}", got=repr(value), fix=fix)
        return "training"
    if evidence == "training":
        raise InvalidInputError(
            'an objective that keeps evidence with evidence="training"',
            got=type(objective).__name__,
            fix='leave evidence out, or pass objective=OnlineCorrection() or preset="robust"',
        )
    if evidence is None:
        return "exponential" if defaults.evidence == "training" else defaults.evidence
    return evidence


def _describe(epoch: int, cycle: int, schedule: Schedule, run: Run) -> str:
    loss = "" if run.loss != run.loss else f", loss {run.loss:.3g}"
    return f"cycle {cycle}/{schedule.cycles}, epoch {epoch + 1}/{schedule.epochs}{loss}"
