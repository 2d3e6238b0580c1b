"""Callbacks: they see a run, and may stop it. The protocol, and the ready ones."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TaskID

from noisycorrect.cycle.averages import AtCycleEnds
from noisycorrect.data.batches import Batch
from noisycorrect.support import distributed
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import replace_atomically
from noisycorrect.support.progress import samples_progress
from noisycorrect.training.run import Run


class Callback:
    """Sees a run; :meth:`~noisycorrect.training.run.Run.stop` lets it end, with a whole result.

    Subclasses override what they need. Every rank calls every method; one that writes or shows does so on the main
    rank. State that a resumed run has to have goes through :meth:`state_dict`. A callback only looks: a run with it
    gives bit for bit what the run without it gives.

    Examples
    --------
    >>> class StopAtLoss(Callback):
    ...     def on_epoch_end(self, run):
    ...         if run.loss < 0.1:
    ...             run.stop()
    """

    def on_fit_begin(self, run: Run) -> None:
        """See a run that is about to train; ``run.epoch`` epochs are done, if it is resumed.

        The state of an earlier run is to be forgotten if there are none; :meth:`load_state_dict` comes before.
        """

    def on_batch_end(self, run: Run, batch: Batch) -> None:
        """See a batch after its step."""

    def on_epoch_end(self, run: Run) -> None:
        """See a run after an epoch; ``run.epoch_record()`` has its loss and rate."""

    def on_cycle_end(self, run: Run) -> None:
        """See a run after a cycle; ``run.history[-1]`` is its record, ``run.store`` has its labels."""

    def on_checkpoint(self, run: Run) -> None:
        """See a run after an epoch's state was written, if it has a folder: a process that ends here loses nothing."""

    def on_fit_end(self, run: Run) -> None:
        """See a run that is over, be it by an error."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain values that a resumed run goes on with."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""


class Callbacks(Callback):
    """Several callbacks as one, in order.

    Parameters
    ----------
    callbacks : iterable of Callback
        A :class:`Progress` is added unless there is one.

    Raises
    ------
    InvalidInputError
        If something else is among them.
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        several = isinstance(callbacks, Iterable) and not isinstance(callbacks, str)
        self.all: list[Any] = list(callbacks) if several else [callbacks]
        wrong = [callback for callback in self.all if not isinstance(callback, Callback)]
        if wrong or not several:
            found = [*wrong, *self.all][0]
            raise InvalidInputError(
                "callbacks to be a list of Callback objects",
                got=f"the class {found.__name__}" if isinstance(found, type) else repr(found),
                fix='pass objects in a list, such as [EarlyStopping("val_nll")]',
            )
        if not any(isinstance(callback, Progress) for callback in self.all):
            self.all.insert(0, Progress())

    def on_fit_begin(self, run: Run) -> None:
        """Tell all."""
        for callback in self.all:
            callback.on_fit_begin(run)

    def on_batch_end(self, run: Run, batch: Batch) -> None:
        """Tell all."""
        for callback in self.all:
            callback.on_batch_end(run, batch)

    def on_epoch_end(self, run: Run) -> None:
        """Tell all; if one stops the run, it is stopped on all ranks."""
        for callback in self.all:
            callback.on_epoch_end(run)
        run.agree_to_stop()

    def on_cycle_end(self, run: Run) -> None:
        """Tell all; a cycle's end has no further epoch to stop in, so a run that is stopped here is over."""
        for callback in self.all:
            callback.on_cycle_end(run)
        run.agree_to_stop()

    def on_checkpoint(self, run: Run) -> None:
        """Tell all."""
        for callback in self.all:
            callback.on_checkpoint(run)

    def on_fit_end(self, run: Run) -> None:
        """Tell all."""
        for callback in self.all:
            callback.on_fit_end(run)

    def state_dict(self) -> dict[str, Any]:
        """Return the states by class and number among those of a class."""
        return dict(zip(self._names(), (callback.state_dict() for callback in self.all), strict=True))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the states of those that were there before; new ones start afresh."""
        for name, callback in zip(self._names(), self.all, strict=True):
            if name in state:
                callback.load_state_dict(state[name])

    def _names(self) -> list[str]:
        classes = [type(callback).__name__ for callback in self.all]
        return [f"{name} {classes[:place].count(name)}" for place, name in enumerate(classes)]


class Progress(Callback):
    """Shows how far a run is: a bar on a terminal, elsewhere a line an epoch; and a line for each cycle's record.

    It is there without being asked for; pass ``Progress(enabled=False)`` for silence. Of the validation metrics a line
    has the task's main one; all are in the history.

    Parameters
    ----------
    enabled : bool
        Whether anything is shown.
    console : rich.console.Console, optional
        Where. Default: standard error.
    """

    def __init__(self, *, enabled: bool = True, console: Console | None = None) -> None:
        self.enabled = enabled
        self.console = console
        self._bar: Bar | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Progress:
        """Return one that shows on the same console, which cannot be copied."""
        return type(self)(enabled=self.enabled, console=self.console)

    def on_fit_begin(self, run: Run) -> None:
        """Show the bar."""
        if not self.enabled or not distributed.is_main() or run.done:
            return
        console = self.console or Console(stderr=True, soft_wrap=True, highlight=False)
        self._bar = samples_progress(console=console)
        self._share = len(distributed.shard(len(run.store)))
        total = run.schedule.epochs * self._share
        self._line: TaskID = self._bar.add_task(self._described(run), total=total, completed=run.epoch * self._share)
        if run.epoch:
            self._print(f"going on after epoch {run.epoch}/{run.schedule.epochs}")
        self._bar.start()

    def on_batch_end(self, run: Run, batch: Batch) -> None:
        """Move the bar on."""
        if self._bar is not None:
            self._bar.advance(self._line, len(batch))

    def on_epoch_end(self, run: Run) -> None:
        """Say how the epoch was."""
        if self._bar is None:
            return
        # Counted batches miss a last one of a single sample, which nobody trains on.
        self._bar.update(self._line, description=self._described(run), completed=run.epoch * self._share)
        if not self._bar.console.is_terminal:
            record = run.epoch_record()
            values = {name: value for name, value in record.items() if name not in ("cycle", "epoch")}
            self._print(f"epoch {run.epoch}/{run.schedule.epochs}", values)

    def on_cycle_end(self, run: Run) -> None:
        """Say how the cycle was."""
        if self._bar is None:
            return
        record, main = run.history[-1], run.task.main_metric
        names = ("agreement", "changed", "mean_trust", "label_accuracy", f"val_{main}", f"val_clean_{main}")
        values = {name: record[name] for name in names if name in record}
        self._print(f"{self._phase(run)} done in {record['seconds']:.1f} s", values)

    def on_fit_end(self, run: Run) -> None:
        """Take the bar away, and say so if the run was stopped."""
        if self._bar is None:
            return
        if run.stopped:
            self._print(f"stopped after epoch {run.epoch}/{run.schedule.epochs}")
        self._bar.stop()
        self._bar = None

    def _print(self, head: str, values: Mapping[str, float] | None = None) -> None:
        assert self._bar is not None
        known = {name: value for name, value in (values or {}).items() if not math.isnan(value)}
        text = ", ".join(f"{name} {value:.4g}" for name, value in known.items())
        self._bar.console.print(f"{head}: {text}" if text else head)

    @staticmethod
    def _phase(run: Run) -> str:
        if not run.schedule.cycles:
            return "training"
        return f"cycle {run.cycle}/{run.schedule.cycles}" if run.cycle else "initial phase"

    @classmethod
    def _described(cls, run: Run) -> str:
        """Return what stands before the bar: the epoch that runs now, and the loss of the last one."""
        loss = "" if math.isnan(run.loss) else f", loss {run.loss:.3g}"
        epoch = min(run.epoch + 1, run.schedule.epochs)
        cycle = run.schedule.cycle(epoch - 1)
        return f"epoch {epoch}/{run.schedule.epochs}{f', cycle {cycle}/{run.schedule.cycles}' if cycle else ''}{loss}"


class EarlyStopping(Callback):
    """Stops a run whose model no longer gets better on the validation set, whose labels may be as noisy as the others.

    What is measured is the model that the run would return: after every epoch, one forward pass over the validation
    set; or, of a recipe that averages weights at the ends of cycles, as the paper's does, after every cycle.

    Parameters
    ----------
    metric : str
        What gets better: ``"val_accuracy"``, ``"val_nll"``, ``"val_mean_iou"``, ... A loss or likelihood (``loss`` or
        ``nll`` in its name) gets better downwards.
    patience : int
        Measurements without improvement before the run is stopped, at least 1.
    min_delta : float
        Least improvement that counts, >= 0.

    Raises
    ------
    InvalidInputError
        If a number is out of range; when a run starts, if there is no validation set or no such metric.

    Examples
    --------
    >>> import torch
    >>> from noisycorrect import SelfCorrector
    >>> inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    >>> labels = (inputs[:, 0] > 0).long()
    >>> stopping = EarlyStopping("val_accuracy", patience=2)
    >>> corrector = SelfCorrector(
    ...     torch.nn.Linear(5, 2), num_classes=2, recipe="ce", epochs=90, callbacks=[stopping])
    >>> corrector.fit((inputs, labels), (inputs, labels)).history[-1]["epoch"] < 90
    True
    """

    def __init__(self, metric: str = "val_accuracy", *, patience: int = 5, min_delta: float = 0.0) -> None:
        self.metric = metric
        self.patience = whole_number("patience", patience, least=1)
        self.min_delta = finite_number("min_delta", min_delta, above=0, fix="0 counts every improvement")
        self.falls = "loss" in metric or "nll" in metric
        self.best = -math.inf
        self.waited = 0

    def on_fit_begin(self, run: Run) -> None:
        """See whether there is what is to be measured, before hours of training."""
        if not run.epoch:
            self.best, self.waited = -math.inf, 0
        if run.done:
            return
        scores = {**run.epoch_record(), **run.validate()}
        if self.metric not in scores:
            raise InvalidInputError(
                f"a metric to stop by, one of {', '.join(scores)}",
                got=repr(self.metric),
                fix="pass val= to fit" if run.data.val is None else "pass one of them",
            )

    def on_epoch_end(self, run: Run) -> None:
        """Measure, and stop a run that has waited long enough."""
        if not isinstance(run.recipe.average, AtCycleEnds):
            self._look(run, {**run.epoch_record(), **run.validate()})

    def on_cycle_end(self, run: Run) -> None:
        """Do it now, if the model has changed only now."""
        if isinstance(run.recipe.average, AtCycleEnds):
            self._look(run, run.history[-1])

    def _look(self, run: Run, scores: Mapping[str, float]) -> None:
        value = -scores[self.metric] if self.falls else scores[self.metric]
        if value > self.best + self.min_delta:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            run.stop()

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, and the measurements since."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore both."""
        self.best, self.waited = state["best"], state["waited"]


class CSVLog(Callback):
    """Writes a row an epoch into a CSV file; a cycle's record is in the row of its last epoch.

    Parameters
    ----------
    path : path-like
        Of the file, replaced as a whole after each epoch. A value that a row lacks is an empty field.

    Raises
    ------
    InvalidInputError
        In a run, if the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.rows: list[dict[str, float]] = []

    def on_fit_begin(self, run: Run) -> None:
        """Replace the file of an earlier run; one that is resumed goes on."""
        if not run.epoch:
            self.rows = []
        self._write(run)

    def on_epoch_end(self, run: Run) -> None:
        """Add a row."""
        self.rows.append(run.epoch_record())
        self._write(run)

    def on_cycle_end(self, run: Run) -> None:
        """Complete the row with the cycle's record."""
        self._write(run)

    def on_fit_end(self, run: Run) -> None:
        """Complete the last row of a run that was stopped."""
        self._write(run)

    def _write(self, run: Run) -> None:
        if not distributed.is_main():
            return
        cycles = {record["epoch"]: record for record in run.history}
        rows = [cycles.get(row["epoch"], row) for row in self.rows]
        names = list(dict.fromkeys(name for row in rows for name in row))
        try:
            with replace_atomically(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
                if names:
                    writer.writeheader()
                writer.writerows({key: value for key, value in row.items() if value == value} for row in rows)
        except OSError as error:
            raise InvalidInputError(f"to write {self.path}", got=str(error), fix="choose another file") from error

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs' rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the rows."""
        self.rows = [dict(row) for row in state["rows"]]


class TensorBoard(Callback):
    """Writes every epoch's and cycle's figures for TensorBoard, if the package ``tensorboard`` is installed.

    Parameters
    ----------
    folder : path-like
        Where TensorBoard looks for them.

    Raises
    ------
    InvalidInputError
        If the package is missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InvalidInputError("the package tensorboard", got="none", fix="pip install tensorboard") from error
        self.folder = Path(folder)
        self._open = SummaryWriter
        self._writer: Any = None

    def on_fit_begin(self, run: Run) -> None:
        """Open the file; what a killed run wrote after its last checkpoint is hidden."""
        if distributed.is_main() and not run.done:
            self._writer = self._open(str(self.folder), purge_step=run.epoch + 1)

    def on_epoch_end(self, run: Run) -> None:
        """Write loss and rate."""
        self._write(run.epoch_record())

    def on_cycle_end(self, run: Run) -> None:
        """Write what the cycle's record has beside them."""
        epoch_names = run.epoch_record()
        record = {name: value for name, value in run.history[-1].items() if name not in epoch_names}
        self._write({"epoch": run.epoch, **record})

    def on_fit_end(self, run: Run) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, record: Mapping[str, float]) -> None:
        if self._writer is None:
            return
        for name, value in record.items():
            if name != "epoch" and not math.isnan(value):
                self._writer.add_scalar(name, value, record["epoch"])
