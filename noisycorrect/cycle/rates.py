"""How the learning rate goes, as values of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

from noisycorrect.cycle.schedule import PAPER_INIT_EPOCHS, PAPER_WARMUP_EPOCHS, CyclicalLR, Schedule, check_floor
from noisycorrect.support.checks import finite_number, set_field
from noisycorrect.support.errors import InvalidInputError

COSINE_WARMUP = 0.1  # of all epochs


@dataclass(frozen=True)
class CosineCycles:
    """Linear warm-up, a cosine for the initial phase, and one for each cycle (SCHP, Eq. 5).

    Of an optimizer with several groups of parameters each group has its own peak, and all keep their ratios throughout;
    the rates below are those of the group with the highest peak.

    Parameters
    ----------
    warmup_epochs : float, optional
        Part of the initial phase. Default: a tenth of it, as in the paper.
    cycle_lr : float, optional
        Peak of the cycles. Default: half of the recipe's `lr`.
    min_lr : float, optional
        Floor. Default: a hundredth of `lr`.

    Raises
    ------
    InvalidInputError
        If a number is negative, or `cycle_lr` is below `min_lr`.
    """

    warmup_epochs: float | None = None
    cycle_lr: float | None = None
    min_lr: float | None = None

    def __post_init__(self) -> None:
        _check_rates(self)
        if self.cycle_lr is not None and self.min_lr is not None:
            check_floor("cycle_lr", [self.cycle_lr], [self.min_lr])

    def warmup(self, schedule: Schedule) -> float:
        """Return the warm-up epochs of a run."""
        share = PAPER_WARMUP_EPOCHS / PAPER_INIT_EPOCHS
        return _warmup(self.warmup_epochs, share * schedule.init_epochs, schedule)

    def scheduler(self, optimizer: Optimizer, schedule: Schedule) -> CyclicalLR:
        """Return the learning-rate scheduler of a run."""
        return CyclicalLR(
            optimizer,
            warmup_epochs=self.warmup(schedule),
            init_epochs=schedule.init_epochs,
            cycle_epochs=schedule.cycle_epochs,
            cycle_lr=_by_group(self.cycle_lr, optimizer),
            min_lr=_by_group(self.min_lr, optimizer),
        )


@dataclass(frozen=True)
class OneCosine:
    """Linear warm-up and one cosine over the whole run; cycles only say when labels are published.

    Groups of parameters keep the ratios of their rates; `min_lr` is that of the group with the highest peak.

    Parameters
    ----------
    warmup_epochs : float, optional
        Default: a tenth of all epochs, and at most half of the initial phase.
    min_lr : float, optional
        Floor. Default: a hundredth of the recipe's `lr`.

    Raises
    ------
    InvalidInputError
        If a number is negative.
    """

    warmup_epochs: float | None = None
    min_lr: float | None = None

    def __post_init__(self) -> None:
        _check_rates(self)

    def warmup(self, schedule: Schedule) -> float:
        """Return the warm-up epochs of a run."""
        default = min(COSINE_WARMUP * schedule.epochs, schedule.init_epochs / 2)
        return _warmup(self.warmup_epochs, default, schedule)

    def scheduler(self, optimizer: Optimizer, schedule: Schedule) -> CyclicalLR:
        """Return the learning-rate scheduler of a run."""
        return CyclicalLR(
            optimizer,
            warmup_epochs=self.warmup(schedule),
            init_epochs=schedule.epochs,
            cycle_epochs=schedule.cycle_epochs,
            min_lr=_by_group(self.min_lr, optimizer),
        )


def _by_group(rate: float | None, optimizer: Optimizer) -> list[float] | None:
    """Return a rate for each group of parameters: that of the highest peak, and less for others as their peaks are."""
    if rate is None:
        return None
    peaks = [float(group["lr"]) for group in optimizer.param_groups]
    highest = max(peaks)
    return [rate * (peak / highest) if highest else rate for peak in peaks]


def _check_rates(rates: Any) -> None:
    for name in ("cycle_lr", "min_lr", "warmup_epochs"):
        value = getattr(rates, name, None)
        if value is not None:
            set_field(rates, name, finite_number(name, value, above=0, fix="leave it out for the default"))


def _warmup(given: float | None, default: float, schedule: Schedule) -> float:
    warmup = default if given is None else given
    if warmup >= schedule.init_epochs:
        raise InvalidInputError(
            f"warmup_epochs < init_epochs = {schedule.init_epochs}", got=f"{warmup:g}", fix="shorten the warm-up"
        )
    return warmup
