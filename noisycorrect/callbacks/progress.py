"""How far a run is, for those who wait for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from noisycorrect.callbacks.base import Callback
from noisycorrect.data.batches import Batch
from noisycorrect.support import distributed
from noisycorrect.training.run import Run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


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
        from rich.console import Console

        from noisycorrect.support.progress import samples_progress

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
