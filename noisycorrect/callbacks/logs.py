"""Figures of a run where somebody wants them: a table, TensorBoard, trackers such as MLflow."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from noisycorrect.callbacks.base import Callback
from noisycorrect.support import distributed
from noisycorrect.support.cells import CsvLines
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import replace_atomically
from noisycorrect.training.run import Run


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
        self.path = Path(path).absolute()  # wherever the process goes from here
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
                writer = csv.DictWriter(CsvLines(file), names, restval="")
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


class RecordLog(Callback):
    """Calls a function with every epoch's and cycle's record, on the main rank: ``function(record, epoch)``.

    MLflow and Weights & Biases take just that::

        RecordLog(mlflow.log_metrics)
        RecordLog(wandb.init(project="labels").log)

    Parameters
    ----------
    function : callable
        Gets a dict of names and numbers, and the epochs done, as positional arguments: loss and rate after an epoch,
        and at a cycle's end, with the same number, what its record has beside them. NaN is left out. What a killed run
        logged after its last checkpoint comes again when it is resumed.

    Raises
    ------
    InvalidInputError
        If it is not callable.

    Examples
    --------
    >>> import torch
    >>> from noisycorrect import Progress, SelfCorrector
    >>> def show(record, epoch):
    ...     if "agreement" in record:
    ...         print(epoch, sorted(record)[:3])
    >>> _ = torch.manual_seed(0)
    >>> inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    >>> quiet = [Progress(enabled=False), RecordLog(show)]
    >>> corrector = SelfCorrector(torch.nn.Linear(5, 2), num_classes=2, recipe="paper", epochs=5, callbacks=quiet)
    >>> _ = corrector.fit((inputs, (inputs[:, 0] > 0).long()))
    4 ['agreement', 'changed', 'mean_trust']
    5 ['agreement', 'changed', 'mean_trust']
    """

    def __init__(self, function: Callable[[dict[str, float], int], object]) -> None:
        given: Any = function
        if not callable(given):
            fix = "pass a function of a dict and an epoch, such as mlflow.log_metrics"
            raise InvalidInputError("function to be callable", got=repr(given), fix=fix)
        self.function = function

    def __deepcopy__(self, memo: dict[int, Any]) -> RecordLog:
        """Return one that calls the same function: the method of a run of a tracker cannot be copied."""
        return type(self)(self.function)

    def on_epoch_end(self, run: Run) -> None:
        """Log loss and rate."""
        self._log(run.epoch_record(), run.epoch)

    def on_cycle_end(self, run: Run) -> None:
        """Log what the cycle's record has beside them."""
        self._log(_beside_epoch(run), run.epoch)

    def _log(self, record: Mapping[str, float], epoch: int) -> None:
        if distributed.is_main():
            known = {name: float(value) for name, value in record.items() if name != "epoch" and not math.isnan(value)}
            self.function(known, epoch)


def _beside_epoch(run: Run) -> dict[str, float]:
    """Return what the record of the last cycle has beside that of its last epoch."""
    of_epoch = run.epoch_record()
    return {name: value for name, value in run.history[-1].items() if name not in of_epoch}


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
        self._write({"epoch": run.epoch, **_beside_epoch(run)})

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
