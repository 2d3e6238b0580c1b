"""SelfCorrector: model and labels clean each other (Li et al., "Self-Correction for Human Parsing", Algorithm 1)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.callbacks import Callback, Callbacks
from noisycorrect.correction.base import Correction
from noisycorrect.data.batches import Collate
from noisycorrect.data.datasets import as_dataset
from noisycorrect.recipe import RECIPES, OptimizerFactory, Recipe
from noisycorrect.result import CorrectionResult
from noisycorrect.saved.details import checked_class_names
from noisycorrect.support.calling import check_takes
from noisycorrect.support.checks import checked_path, whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.isolation import isolated
from noisycorrect.support.modules import copied
from noisycorrect.support.ranks import together
from noisycorrect.task import TASKS, Task
from noisycorrect.training.engine import Engine, resolve_device, resolve_precision
from noisycorrect.training.rank_facts import rank_facts
from noisycorrect.training.run import Run
from noisycorrect.training.run_data import RunData
from noisycorrect.training.run_folder import open_run
from noisycorrect.training.weights import weighed_task

PARALLEL = ("ddp", "fsdp")


class SelfCorrector:
    """Train a model on labels that cannot be trusted, and refine the labels with the model, in turns.

    What happens is said by a recipe (:class:`~noisycorrect.Recipe`, docs/how-to-choose.md):

    - ``"paper"``: after an initial phase, training goes in cycles. At the end of each one the weights are averaged with
      those of the earlier cycles (Eq. 6), BatchNorm statistics are estimated anew, the averaged model predicts every
      training sample, and the mean prediction is blended into the labels of the next cycle (Eq. 7).
    - ``"robust"``, the default for class labels and masks: nearest neighbours say how many labels look wrong, and
      which. As far as they do, evidence from the predictions of every training step is blended into the labels, each
      trusted as far as neighbours and evidence agree with it; labels that look clean are trained on as they are. One
      cosine, weights averaged after every step, inputs that are vectors standardised, rare classes counted more; of
      other inputs (images) labels are left as they are. Of masks: the averaged network fills in the objects that a mask
      has left out, and renames those misnamed by habit, late in the run and at its end. docs/robust.md has what each
      part does.
    - ``"ce"``, ``"elr"``, ``"dividemix"``, ...: published methods, see :data:`~noisycorrect.RECIPES`.

    Parameters
    ----------
    model : nn.Module
        Any network whose output the task understands: logits (N, K) for classification, alone, first in a tuple, or as
        ``.logits`` of an object. Inputs by name are passed as keyword arguments. It is copied, not changed.
    task : str or Task
        ``"classification"`` or another name of :data:`~noisycorrect.task.TASKS`, or a task object.
    num_classes : int, optional
        K; needed with a task's name.
    recipe : str or Recipe, optional
        A name of :data:`~noisycorrect.RECIPES`, or a recipe, whose parts ``replace`` exchanges. Default:
        ``"robust"`` for class labels and for masks, ``"paper"`` for labels of other kinds.
    epochs : int, optional
        Whole budget, which the recipe divides into an initial phase and cycles. Default: the recipe's; of the paper's
        150. With the paper's recipe and many wrong labels less is more: what a network has memorised, it predicts back.
    lr : float, optional
        Peak learning rate. Default: the recipe's, or the factory's own if an `optimizer` is passed.
    batch_size : int, optional
        Samples in a batch, over all ranks. Default: the recipe's.
    optimizer : callable, optional
        ``optimizer(parameters)`` or, if `lr` is given, ``optimizer(parameters, lr=lr)`` -> Optimizer. If its first
        argument is called ``model``, it gets the run's own network, for rates by layer: ``lambda model: SGD([{"params":
        model.head.parameters(), "lr": 0.1}, ...])``. Default: the recipe's, SGD with momentum 0.9 and weight decay
        5e-4.
    augment : callable, optional
        ``augment(input) -> input`` on training batches, on the device. Predictions see inputs without it.
    collate_fn : callable, optional
        Makes a batch of a list of items; default: torch's.
    num_workers : int
        Processes that load data; 0 loads in this one.
    device : str or torch.device
        ``"auto"`` is a GPU where there is one.
    precision : {"auto", "float32", "bfloat16", "float16"}
        Precision of forward passes; ``"auto"`` is half on CUDA, full elsewhere.
    seed : int
        Seed of everything that is random after the model was made: order, dropout, augmentation. Global random states
        are left as they were.
    class_names : sequence of str, optional
        K different names, class 0 first; kept with the run, for predictions, verdicts and exported labels. Default: the
        task's, if it has names.
    run_dir : path-like, optional
        Folder for checkpoints, labels and history. Without one nothing can be resumed, and the labels live in a
        temporary folder that goes with the result.
    parallel : {"ddp", "fsdp"}
        What each of several ranks has of the model (docs/cluster.md): the whole (DistributedDataParallel), or in
        training a part of weights, gradients, optimizer state and average (FSDP2), which are put together for
        predictions. With one rank both are the same.
    callbacks : iterable of Callback
        They see the run and may stop it: :class:`~noisycorrect.EarlyStopping`, :class:`~noisycorrect.CSVLog`, ...
        Progress is shown unless ``Progress(enabled=False)`` is among them.

    Raises
    ------
    InvalidInputError
        If an argument is out of range or unknown.

    Examples
    --------
    >>> inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    >>> labels = (inputs[:, 0] > 0).long()
    >>> corrector = SelfCorrector(nn.Linear(5, 2), num_classes=2, recipe="paper", epochs=12, lr=0.5)
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
        recipe: str | Recipe | None = None,
        epochs: int | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        optimizer: OptimizerFactory | None = None,
        augment: Callable[[Any], Any] | None = None,
        collate_fn: Collate | None = None,
        num_workers: int = 0,
        device: str | torch.device = "auto",
        precision: str = "auto",
        seed: int = 0,
        class_names: Iterable[Any] | None = None,
        run_dir: str | os.PathLike[str] | None = None,
        parallel: str = "ddp",
        callbacks: Iterable[Callback] = (),
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InvalidInputError("model to be an nn.Module", got=_named(model), fix="pass a network, an object")
        self.model = model
        self.task = _made_task(task, num_classes)
        found = RECIPES.of_kind(recipe, self.task.kind.name)
        self.recipe = _made_recipe(found, epochs, lr, batch_size, optimizer)
        if self.recipe.needs_augment and augment is None:
            fix = "pass augment(input) -> input; torch.nn.Identity() if the data set augments by itself"
            raise InvalidInputError(f"augment= with the recipe {recipe!r}", got="None", fix=fix)
        if isinstance(augment, type) or not (augment is None or callable(augment)):
            fix = "pass a function augment(input) -> input, or a module that was made, such as nn.Dropout(0.1)"
            raise InvalidInputError("augment to be callable", got=repr(augment), fix=fix)
        if augment is not None:
            check_takes(augment, ["input"], "augment", "def augment(input): return input")
        if collate_fn is not None:
            check_takes(collate_fn, ["items"], "collate_fn", "def collate_fn(items): return default_collate(items)")
        self.augment = augment
        self.collate_fn = collate_fn
        self.num_workers = whole_number("num_workers", num_workers, least=0)
        self.device = resolve_device(device)
        self.precision = resolve_precision(precision, self.device)
        self.seed = whole_number("seed", seed, least=0)
        named = getattr(self.task, "class_names", None) if class_names is None else class_names
        self.class_names = checked_class_names(named, self.task.num_classes)
        # Where it is now, wherever the process goes from here.
        self.run_dir = None if run_dir is None else checked_path(run_dir, "run_dir").absolute()
        if parallel not in PARALLEL:
            raise unknown_name("way to divide a model", parallel, PARALLEL)
        self.parallel = parallel
        self.callbacks = Callbacks(callbacks)

    @door
    def fit(
        self,
        train: Any,
        val: Any = None,
        unlabeled: Any = None,
        *,
        canonical: Any = None,
        sample_weight: Any = None,
        clean_labels: Any = None,
        val_clean_labels: Any = None,
        resume: str | bool = "auto",
    ) -> CorrectionResult:
        """Train, and refine the labels.

        Parameters
        ----------
        train : Dataset, pair of arrays, dict of arrays, or DataLoader
            Map-style data set of ``(input, label)``, ``(input, label, index)`` or dicts (``input``, ``image`` or ``x``;
            ``label``, ``given``, ``y`` or ``target``; or as Hugging Face names them: ``input_ids``, ``labels``, ...),
            or ``(inputs, labels)``: arrays, tensors, lists, tables, sparse matrices (docs/inputs.md has all forms).
            Labels are taken from its ``targets`` or ``labels`` if it has them, else every item is read once. Only a
            DataLoader's dataset is used.
        val : same, optional
            Validation set; measured at the end of each cycle, as its ``canonical()`` where there is one.
        unlabeled : data set of inputs, or array, optional
            Inputs without labels (transduction, sec. 3.4): an array, or items of an input, a tuple that begins with
            one, or a dict; they follow the training set, with trust 0.
        canonical : data set, optional
            The training set without augmentation, for predictions; the unlabelled inputs may follow. Needed if the
            items of `train` are augmented when they are read and the run predicts them: a correction with evidence
            of every step takes it from training, augmented. Default: ``train.canonical()`` where there is one.
        sample_weight : array-like, shape (N,), optional
            What each training sample counts in the loss, >= 0, whatever its label becomes; unlabelled samples weigh 1
            if nothing is said of them. The loss is divided by the number of samples: weights of mean 1 keep the
            learning rate's meaning. Items may carry theirs in a dict, under ``sample_weight``. Neighbours, evidence,
            averages and metrics do not know weights.
        clean_labels, val_clean_labels : array-like of int, optional
            True labels, for measuring only: the history then says how good refined labels and model are against them.
            For masks `clean_labels` is a sequence of masks, and `val` should have clean ones.
        resume : {"auto", True, False, "last-whole"}
            Go on from the checkpoint in `run_dir`: if there is one; it must be there; it must not be there; or, where a
            file was damaged, from the last checkpoint that is whole together with its labels: this one or the last of
            the cycle before. Nothing goes back by itself: a damage is an error that names the file.

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
        NoisyCorrectError
            Of several ranks: if another one failed, with its number and message. If labels, lengths or settings differ
            between ranks, an InvalidInputError on all of them says which, and who has what.
        """
        with isolated(self.device), together() as ranks:  # no rank waits for one that fails
            copied(self.model)  # raises at once if it cannot be
            data = self._data(train, val, unlabeled, canonical, sample_weight, clean_labels, val_clean_labels)
            engine = self._engine(data)
            ranks.agree(self._facts(engine, data, resume))
            with self._opened(engine, data, resume) as run:
                run.rehearse()
                try:
                    self.callbacks.on_fit_begin(run)
                    while not run.done:
                        with run.next_epoch() as batches:
                            for batch in batches:
                                with run.engine.autocast():  # the objective asks correction.in_step for its targets
                                    loss = run.objective.loss(run.trained, batch, run.correction)
                                if run.step(loss):  # Eq. 5
                                    run.average.after_step(run.student)
                                self.callbacks.on_batch_end(run, batch)
                        self.callbacks.on_epoch_end(run)
                        if run.ends_cycle:
                            run.average.at_cycle_end(run.student)  # Eq. 6
                            run.recalibrate()
                            run.record(run.correction.at_cycle_end(run))  # Eq. 7: the next generation of labels
                            run.average.restart(run.student, run.optimizer)
                            self.callbacks.on_cycle_end(run)
                            run.complete()
                        run.save(callbacks=self.callbacks.state_dict())
                        self.callbacks.on_checkpoint(run)
                finally:
                    self.callbacks.on_fit_end(run)
            return run.result()

    def _engine(self, data: RunData) -> Engine:
        return Engine(
            weighed_task(self.task, self.recipe, data.given),
            self.device,
            precision=self.precision,
            clip_grad_norm=self.recipe.clip_grad_norm,
            augment=self.augment,
        )

    def _facts(self, engine: Engine, data: RunData, resume: str | bool) -> dict[str, Any]:
        return rank_facts(
            self.model,
            engine,
            self.recipe,
            data,
            seed=self.seed,
            class_names=self._class_names(),
            run_dir=self.run_dir,
            resume=resume,
            parallel=self.parallel,
        )

    def _opened(self, engine: Engine, data: RunData, resume: str | bool) -> AbstractContextManager[Run]:
        return open_run(
            self.model,
            engine,
            self.recipe,
            data,
            seed=self.seed,
            num_workers=self.num_workers,
            class_names=self._class_names(),
            run_dir=self.run_dir,
            parallel=self.parallel,
            resume=resume,
            restore=lambda content: self.callbacks.load_state_dict(content["callbacks"]),
        )

    def _data(
        self,
        train: Any,
        val: Any,
        unlabeled: Any,
        canonical: Any,
        sample_weight: Any,
        clean_labels: Any,
        val_clean_labels: Any,
    ) -> RunData:
        correction = self.recipe.correction
        data = RunData.make(
            as_dataset(train, "train"),
            self.task,
            val=None if val is None else as_dataset(val, "val"),
            unlabeled=unlabeled,
            canonical=None if canonical is None else as_dataset(canonical, "canonical"),
            sample_weight=sample_weight,
            collate_fn=self.collate_fn,
            num_workers=self.num_workers,
            predicts=correction is not None and (correction.predicts or self._asks_network(correction)),
            compares=correction is not None and correction.compares,
        )
        self.task.check_given(data.given)
        if data.val is not None:
            self.task.check_given(data.val_given, training=False)
            # As they are compared with batches: of their own memory, one class a sample.
            data.val_given = self.task.kind.checked(data.val_given, self.task.num_classes, "validation labels")
        if clean_labels is not None:
            data.clean_labels = self.task.kind.checked_clean(
                clean_labels, self.task.num_classes, len(data.train), "clean_labels"
            )
        if val_clean_labels is not None:
            data.val_clean_labels = self._val_clean(val_clean_labels, 0 if data.val is None else len(data.val))
        return data

    def _class_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes; a task may have them of the data set."""
        named = getattr(self.task, "class_names", None) if self.class_names is None else self.class_names
        return checked_class_names(named, self.task.num_classes)

    def _asks_network(self, correction: Correction) -> bool:
        """Return whether a correction asks the network for features of the whole training set."""
        epochs = self.recipe.divided().epochs
        return any(correction.set_features(epoch, epochs) for epoch in range(epochs))

    def _val_clean(self, labels: Any, length: int) -> Tensor:
        if not self.task.kind.stacked:
            raise InvalidInputError(
                "val_clean_labels only of kinds whose labels make one array",
                got=f"labels of the kind {self.task.kind.name!r}",
                fix="pass a val set with the clean labels",
            )
        array = self.task.kind.checked_clean(labels, self.task.num_classes, length, "val_clean_labels")
        return torch.from_numpy(array)


def _named(thing: Any) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"an object of {type(thing).__name__}"


def _made_task(task: str | Task, num_classes: int | None) -> Task:
    if not isinstance(task, str):
        if isinstance(task, type) or not hasattr(task, "check_output"):
            fix = 'pass "classification", or an object such as Classification(num_classes)'
            raise InvalidInputError("task to be a name or a Task object", got=_named(task), fix=fix)
        if num_classes not in (None, task.num_classes):
            raise InvalidInputError(
                f"num_classes={task.num_classes}, as in the task", got=repr(num_classes), fix="leave num_classes out"
            )
        return task
    make = TASKS[task]
    if num_classes is None:
        raise InvalidInputError("num_classes with a task's name", got="None", fix="pass num_classes=10, say")
    return make(num_classes)


def _made_recipe(
    found: Recipe,
    epochs: int | None,
    lr: float | None,
    batch_size: int | None,
    optimizer: OptimizerFactory | None,
) -> Recipe:
    """Return the recipe of a run: with what was passed beside it, and its budget divided."""
    if optimizer is not None:
        found = found.replace(optimizer=optimizer, lr=lr)
    elif lr is not None:
        found = found.replace(lr=lr)
    if batch_size is not None:
        found = found.replace(batch_size=batch_size)
    schedule = found.divided(epochs)
    found.rates.warmup(schedule)  # raises if it does not fit
    if found.correction is not None and not schedule.cycles:
        raise InvalidInputError(
            "a cycle, at whose end labels are refined",
            got=f"{schedule} of epochs={epochs}",
            fix="pass more epochs, or a recipe with correction=None",
        )
    return found.replace(epochs=schedule.epochs)
