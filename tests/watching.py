"""Callbacks that tests of runs share: `from watching import QUIET, AfterEpoch, Kill`."""

from __future__ import annotations

from collections.abc import Callable

from noisycorrect import Callback, Progress
from noisycorrect.training.run import Run

QUIET = Progress(enabled=False)


class Kill(Callback):
    """Ends a run as a signal would, after the checkpoint of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_checkpoint(self, run: Run) -> None:
        """Raise, if the epoch is done."""
        if run.epoch == self.epoch:
            raise KeyboardInterrupt


class AfterEpoch(Callback):
    """Calls a function with the run after every epoch."""

    def __init__(self, function: Callable[[Run], object]) -> None:
        self.function = function

    def on_epoch_end(self, run: Run) -> None:
        """Call it."""
        self.function(run)
