"""Self-correction inside a LightningModule: a callback for PyTorch Lightning."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from noisycorrect.correction.cycle_end import AtCycleEnd
from noisycorrect.cycle.averages import AtCycleEnds
from noisycorrect.cycle.rates import CosineCycles, OneCosine
from noisycorrect.cycle.schedule import CyclicalLR, Schedule, Shares
from noisycorrect.data.refined import RefinedDataset
from noisycorrect.integrations.cycles import Cycles, Guest
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.task import Task

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    fix = "pip install lightning"
    raise InvalidInputError("the package lightning", got=f"none ({error})", fix=fix) from error

OWN = "own"


class SelfCorrection(Guest, Callback):
    """Lets a LightningModule and the labels that it is trained on clean each other (SCHP, Algorithm 1).

    The module keeps its ``training_step``, optimizer and loss; it is trained on the data set that :meth:`wrap` returns,
    whose labels are soft, float32 (K,). After an initial phase training goes in cycles. At the end of each one, before
    the validation of that epoch,

    - the module's weights are averaged with those of the earlier cycles' ends (Eq. 6), BatchNorm statistics are
      estimated anew, and training goes on from the average with a fresh optimizer;
    - the average predicts every training sample by the module's ``forward``, which returns logits, and the mean
      prediction is blended into the labels (Eq. 7), which the wrapped data set gives from the next epoch on.

    When training is over the module has the averaged weights, also if it was stopped within a cycle. Lightning's
    checkpoints hold what a resumed training needs, but for the labels, which lie in `folder`. It works on one device
    and on several (``strategy="ddp"``), where every process has the whole model; predictions are divided among them.

    Parameters
    ----------
    task : str or Task
        What the output of the module's ``forward`` means: ``"classification"``, ``"multilabel"`` or a task object.
    num_classes : int, optional
        K; needed with a task's name.
    schedule : Schedule or Shares, optional
        Of epochs. Default: the trainer's ``max_epochs`` divided in the paper's proportions.
    average : AtCycleEnds, optional
        Where cycles start from, and how statistics are estimated. With ``AtCycleEnds(restart="student")`` the module
        has its own weights until training is over.
    correction : AtCycleEnd, optional
        How evidence is accumulated and trusted. ``keep=None`` keeps the labels of all cycles: to resume from a
        checkpoint that is older than the last two.
    rates : CosineCycles, OneCosine, "own" or None
        Learning rates, set before every batch; their peak is the optimizer's own rate. ``"own"`` leaves them to the
        module. None: Eq. 5, unless the module configures schedulers.
    folder : path-like, optional
        Of the labels, new or empty for a new training. Needed to resume, and by several processes. Without one the
        labels go with this object.
    batch_size : int
        Samples that are predicted at once, over all processes, are twice as many.
    num_workers : int
        Processes that load what is predicted.
    collate_fn : callable, optional
        Makes a batch of the wrapped data set's own items, for predictions; default: torch's.
    forward : callable, optional
        ``forward(module, inputs)`` -> logits of a batch, for predictions. Default: ``module(inputs)``.

    Attributes
    ----------
    history : list of dict
        A record a cycle: ``cycle``, ``epoch``, ``seconds``, ``agreement``, ``changed``, ``mean_trust``. Those of a
        cycle that are numbers are logged as ``self_correction/...`` at the end of its last epoch.

    Raises
    ------
    InvalidInputError
        If an argument is unknown or out of range; when training begins, if labels, schedule or rates do not fit.
    CheckpointError
        When training begins, if the labels in `folder` belong to another one.

    Examples
    --------
    See docs/lightning.md.
    """

    def __init__(
        self,
        task: str | Task = "classification",
        num_classes: int | None = None,
        *,
        schedule: Schedule | Shares | None = None,
        average: AtCycleEnds | None = None,
        correction: AtCycleEnd | None = None,
        rates: CosineCycles | OneCosine | str | None = None,
        folder: str | os.PathLike[str] | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        forward: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        if not (rates is None or rates == OWN or isinstance(rates, (CosineCycles, OneCosine))):
            fix = f"pass CosineCycles(), OneCosine(), {OWN!r} or None"
            raise InvalidInputError("learning rates", got=repr(rates), fix=fix)
        self.rates = rates
        self._cycles = Cycles(
            task=task,
            num_classes=num_classes,
            schedule=schedule,
            average=average,
            correction=correction,
            folder=None if folder is None else Path(folder),
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=collate_fn,
            forward=forward,
        )
        self._schedulers: list[CyclicalLR] = []
        self._loaded: Mapping[str, Any] | None = None
        self._to_log: dict[str, float] = {}
        self._begin: Callable[[], None] | None = None  # what waits for a data module to wrap its data

    def wrap(self, train: Any, canonical: Any = None) -> RefinedDataset:
        """Return the training set with refined labels in the place of the given ones; the one to train on.

        Parameters
        ----------
        train : Dataset, or pair of arrays
            Map-style; see :class:`~noisycorrect.data.refined.RefinedDataset`. -1 is the label of a sample that has none
            (its row is zeros before the first generation).
        canonical : same, optional
            The same samples without augmentation, for predictions.

        Raises
        ------
        InvalidInputError
            If it is no map-style data set.
        """
        wrapped = self._cycles.wrap(train, canonical)
        self._begin_once()
        return wrapped

    # ---------------------------------------------------------------- what Lightning calls

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget what another checkpoint held; that of this training is loaded next, if there is one."""
        self._loaded = self._begin = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the given labels, or open those of a training that goes on."""
        epochs = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs >= 0 else None
        if epochs is None and not isinstance(self._cycles.planned, Schedule):
            fix = "pass max_epochs= to Trainer, or schedule=Schedule(...)"
            raise InvalidInputError("epochs to divide into cycles", got=f"max_epochs={trainer.max_epochs}", fix=fix)
        self._to_log = {}
        if self._loaded is None and 0 < trainer.current_epoch == self._cycles.epoch:  # fit() of the same trainer again
            self._loaded = self.state_dict()
            self._cycles.go_on(epochs=epochs)
            return
        self._begin = functools.partial(self._cycles.begin, pl_module, epochs=epochs, state=self._loaded)
        if self._cycles.wrapped:
            self._begin_once()

    def _begin_once(self) -> None:
        if self._begin is not None:
            begin, self._begin = self._begin, None
            begin()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the learning rates."""
        self._begin_once()  # raises, if nothing was wrapped
        rates = self.rates
        own = len(trainer.lr_scheduler_configs)
        if rates is None:
            rates = OWN if own else CosineCycles()
        if not isinstance(rates, str) and own:
            fix = 'return no scheduler from configure_optimizers, or pass rates="own"'
            raise InvalidInputError(f"rates={rates!r} alone", got=f"{own} schedulers of the module beside it", fix=fix)
        saved = [] if self._loaded is None else self._loaded["schedulers"]
        self._loaded = None
        if isinstance(rates, str):
            self._schedulers = []
            return
        self._schedulers = [rates.scheduler(each, self._cycles.schedule) for each in trainer.optimizers]
        if saved and len(saved) != len(self._schedulers):
            got = f"{len(self._schedulers)}"
            raise CheckpointError(f"{len(saved)} optimizers, as before", got=got, fix="resume the same module")
        for scheduler, state in zip(self._schedulers, saved, strict=False):
            scheduler.load_state_dict(state)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the learning rates (Eq. 5)."""
        for scheduler in self._schedulers:
            scheduler.step(trainer.current_epoch + batch_idx / trainer.num_training_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End a cycle after the last batch of its last epoch: what is validated and saved then is the average."""
        if trainer.is_last_batch:
            self._after_epoch(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the record of a cycle; end it, if its last batch was skipped."""
        self._after_epoch(trainer, pl_module)
        if self._to_log:
            self.log_dict(self._to_log, sync_dist=True)  # equal on all ranks; Lightning warns otherwise
            self._to_log = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the cycle of a training that was stopped, and give the module the averaged weights."""
        self._cycles.stop(trainer.current_epoch, pl_module, device=pl_module.device)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Know that training is over."""
        self._cycles.running, self._begin = False, None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Know that training is over."""
        self._cycles.running, self._begin = False, None

    def _after_epoch(self, trainer: Trainer, pl_module: LightningModule) -> None:
        record = self._cycles.after_epoch(trainer.current_epoch, pl_module, trainer.optimizers, device=pl_module.device)
        if record is not None:
            values = {name: value for name, value in record.items() if name not in ("cycle", "epoch", "seconds")}
            self._to_log = {f"self_correction/{name}": value for name, value in values.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what Lightning's checkpoint has to hold: the average, and the generation that the labels are at."""
        state = self._cycles.state_dict()
        return {**state, "schedulers": [each.state_dict() for each in self._schedulers]} if state else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep what a checkpoint held until training begins."""
        self._loaded = state_dict
