"""Stopping a run that no longer gets better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from noisycorrect.callbacks.base import Callback
from noisycorrect.cycle.averages import AtCycleEnds
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.training.run import Run


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
        """Return the best value so far of which metric, and the measurements since."""
        return {"metric": self.metric, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore both; of another metric nothing can be kept."""
        same = state["metric"] == self.metric
        self.best, self.waited = (state["best"], state["waited"]) if same else (-math.inf, 0)
