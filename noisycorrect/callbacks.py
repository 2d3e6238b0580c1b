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
    rank. State that a resumed run has to have goes through :meth:`state_dict`.

    Examples
    --------
    >>> class StopAtLoss(Callback):
    ...     def on_epoch_end(self, run):
    ...         if run.loss < 0.1:
    ...             run.stop()
    """

    def on_fit_begin(self, run: Run) -> None:
        """See a run that is about to train; ``run.epoch`` epochs are done, if it is resumed."""

    def on_batch_end(self, run: Run, batch: Batch) -> None:
        """See a batch after its step."""

    def on_epoch_end(self, run: Run) -> None:
        """See a run after an epoch; ``run.epoch_record()`` has its loss and rate."""

    def on_cycle_end(self, run: Run) -> None:
        """See a run after a cycle; ``run.history[-1]`` is its record, ``run.store`` has its labels."""

    def on_checkpoint(self, run: Run) -> None:
        """See a run after an epoch's state was written, if it has a folder: a process that ends here loses nothing."""

    def on_fit_end(self, run: Run) -> None:
        """See a run that is over."""

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
        self.all: list[Any] = list(callbacks)
        for callback in self.all:
            if not isinstance(callback, Callback):
                got = callback.__name__ if isinstance(callback, type) else repr(callback)
                raise InvalidInputError(
                    "callbacks to be Callback objects", got=got, fix='pass objects, such as EarlyStopping("val_nll")'
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

    It is there without being asked for; pass ``Progress(enabled=False)`` for silence.

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

    def on_fit_begin(self, run: Run) -> None:
        """Show the bar."""
        self._console = self.console or Console(stderr=True, soft_wrap=True, highlight=False)
        if not self.enabled or not distributed.is_main() or run.done:
            return
        share = len(distributed.shard(len(run.store)))
        self._bar = samples_progress(console=self._console)
        self._bar.start()
        total, completed = run.schedule.epochs * share, run.epoch * share
        self._line: TaskID = self._bar.add_task(self._described(run), total=total, completed=completed)

    def on_batch_end(self, run: Run, batch: Batch) -> None:
        """Move the bar on."""
        if self._bar is not None:
            self._bar.advance(self._line, len(batch))

    def on_epoch_end(self, run: Run) -> None:
        """Say how the epoch was."""
        if self._bar is None:
            return
        self._bar.update(self._line, description=self._described(run))
        if not self._console.is_terminal:
            self._print(f"epoch {run.epoch}/{run.schedule.epochs}", run.epoch_record(), leave=("epoch",))

    def on_cycle_end(self, run: Run) -> None:
        """Say how the cycle was."""
        if self._bar is not None:
            leave = ("cycle", "epoch", "loss", "lr")
            self._print(f"cycle {run.cycle}/{run.schedule.cycles} done", run.history[-1], leave=leave)

    def on_fit_end(self, run: Run) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _print(self, head: str, record: Mapping[str, float], leave: tuple[str, ...]) -> None:
        values = [f"{name} {value:.4g}" for name, value in record.items() if name not in leave and value == value]
        self._console.print(", ".join([head, *values]))

    @staticmethod
    def _described(run: Run) -> str:
        loss = "" if math.isnan(run.loss) else f", loss {run.loss:.3g}"
        epoch = min(run.epoch + 1, run.schedule.epochs)
        cycle = run.schedule.cycle(epoch - 1)
        return f"cycle {cycle}/{run.schedule.cycles}, epoch {epoch}/{run.schedule.epochs}{loss}"


class EarlyStopping(Callback):
    """Stops a run whose model no longer gets better on the validation set, whose labels may be as noisy as the others.

    The model, or its average, is measured after every epoch, one forward pass over the validation set.

    Parameters
    ----------
    metric : str
        What gets better: ``"val_accuracy"``, ``"val_nll"``, ``"val_mean_iou"``, ... A loss or likelihood (``loss`` or
        ``nll`` in its name) gets better downwards.
    patience : int
        Epochs without improvement before the run is stopped, at least 1.
    min_delta : float
        Least improvement that counts, >= 0.

    Raises
    ------
    InvalidInputError
        If a number is out of range; in a run, if there is no validation set or no such metric.
    """

    def __init__(self, metric: str = "val_accuracy", *, patience: int = 5, min_delta: float = 0.0) -> None:
        self.metric = metric
        self.patience = whole_number("patience", patience, least=1)
        self.min_delta = finite_number("min_delta", min_delta, above=0, fix="0 counts every improvement")
        self.falls = "loss" in metric or "nll" in metric
        self.best = -math.inf
        self.waited = 0

    def on_epoch_end(self, run: Run) -> None:
        """Measure, and stop a run that has waited long enough."""
        scores = {**run.epoch_record(), **run.validate()}
        if self.metric not in scores:
            raise InvalidInputError(
                f"the metric {self.metric!r} to stop by",
                got=f"{', '.join(scores)}",
                fix="pass val= to fit, or another metric",
            )
        value = -scores[self.metric] if self.falls else scores[self.metric]
        if value > self.best + self.min_delta:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            run.stop()

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, and the epochs since."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore both."""
        self.best, self.waited = state["best"], state["waited"]


class CSVLog(Callback):
    """Writes a row an epoch into a CSV file; a cycle's record is in the row of its last epoch.

    Parameters
    ----------
    path : path-like
        Of the file, replaced as a whole after each epoch.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.rows: list[dict[str, float]] = []

    def on_epoch_end(self, run: Run) -> None:
        """Add a row."""
        self.rows.append(run.epoch_record())
        self._write()

    def on_cycle_end(self, run: Run) -> None:
        """Complete the row with the cycle's record."""
        self.rows[-1] = {**run.history[-1]}
        self._write()

    def _write(self) -> None:
        if not distributed.is_main():
            return
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        try:
            with replace_atomically(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
                writer.writeheader()
                writer.writerows({key: value for key, value in row.items() if value == value} for row in self.rows)
        except OSError as error:
            raise InvalidInputError(f"to write {self.path}", got=str(error), fix="choose another file") from error

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
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

    def on_epoch_end(self, run: Run) -> None:
        """Write loss and rate."""
        self._write(run.epoch_record(), run.epoch)

    def on_cycle_end(self, run: Run) -> None:
        """Write the cycle's record."""
        self._write(run.history[-1], run.epoch)

    def on_fit_end(self, run: Run) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, record: Mapping[str, float], epoch: int) -> None:
        if not distributed.is_main():
            return
        if self._writer is None:
            self._writer = self._open(str(self.folder))
        for name, value in record.items():
            if name != "epoch" and value == value:
                self._writer.add_scalar(name, value, epoch)
