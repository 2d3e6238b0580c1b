"""Figures of a run in files: a table, and TensorBoard's."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noisycorrect.callbacks.base import Callback
from noisycorrect.support import distributed
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
