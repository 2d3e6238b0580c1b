"""The average of the weights in a run: when it takes weights in, and when its statistics are made anew."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from noisycorrect.cycle.aggregate import WeightAggregator
from noisycorrect.cycle.averages import AtCycleEnds, Average, EveryStep
from noisycorrect.training.optimizer import FirstSettings


class RunningAverage:
    """What a recipe's `average` does in a run; without one, nothing.

    Parameters
    ----------
    recipe : AtCycleEnds, EveryStep or None
        The recipe's part.
    student : nn.Module
        The model in training.
    optimizer : Optimizer
        As it was made.
    """

    def __init__(self, recipe: Average | None, student: nn.Module, optimizer: Optimizer) -> None:
        self.recipe = recipe
        self._first_settings = FirstSettings(optimizer)
        self._aggregator: WeightAggregator | None = None
        if isinstance(recipe, AtCycleEnds):
            self._aggregator = WeightAggregator(student, method="equal")
        elif isinstance(recipe, EveryStep):
            self._aggregator = WeightAggregator(student, method="exponential", decay=recipe.decay)

    @property
    def model(self) -> nn.Module | None:
        """The averaged model; None without an average."""
        return None if self._aggregator is None else self._aggregator.model

    def after_step(self, student: nn.Module) -> None:
        """Take the weights in, if every step counts."""
        if isinstance(self.recipe, EveryStep) and self._aggregator is not None:
            self._aggregator.update(student)

    def at_cycle_end(self, student: nn.Module) -> None:
        """Take the weights in, if the ends of cycles count (SCHP, Eq. 6)."""
        if isinstance(self.recipe, AtCycleEnds) and self._aggregator is not None:
            self._aggregator.update(student)

    def restart(self, student: nn.Module, optimizer: Optimizer) -> None:
        """Let the next cycle start from the averaged weights, the optimizer having forgotten the old ones."""
        if isinstance(self.recipe, AtCycleEnds) and self.recipe.restart == "aggregate":
            assert self._aggregator is not None
            self._aggregator.copy_to(student)
            self._first_settings.forget(optimizer)

    def state_dict(self) -> dict[str, Any] | None:
        """Return the average, or None."""
        return None if self._aggregator is None else self._aggregator.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Restore what :meth:`state_dict` returned."""
        if self._aggregator is not None and state is not None:
            self._aggregator.load_state_dict(state)
