"""What sees a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noisycorrect.data.batches import Batch
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
