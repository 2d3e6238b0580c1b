"""When a cycle ends, and the learning rate in between (Li et al. 2020, "Self-Correction for Human Parsing", Eq. 5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from noisycorrect.support.checks import finite_number, set_field, whole_number
from noisycorrect.support.errors import InvalidInputError

# The paper trains 100 initial epochs, then five correction cycles of ten (sec. 4.1), with 10 epochs of warm-up.
PAPER_INIT_EPOCHS, PAPER_CYCLES, PAPER_CYCLE_EPOCHS, PAPER_WARMUP_EPOCHS = 100, 5, 10, 10
PAPER_EPOCHS = PAPER_INIT_EPOCHS + PAPER_CYCLES * PAPER_CYCLE_EPOCHS


@dataclass(frozen=True)
class Schedule:
    """How a run divides its epochs into an initial phase (cycle 0) and correction cycles (1, 2, ...).

    Parameters
    ----------
    init_epochs : int
        Epochs of the initial phase, at least 1.
    cycles : int
        Number of correction cycles, at least 0.
    cycle_epochs : int
        Epochs of each correction cycle, at least 1.

    Raises
    ------
    InvalidInputError
        If a number is not an integer or is too small.

    Examples
    --------
    >>> schedule = Schedule(init_epochs=100, cycles=5, cycle_epochs=10)
    >>> schedule.epochs, schedule.cycle(99), schedule.cycle(100)
    (150, 0, 1)
    >>> [epoch for epoch in range(schedule.epochs) if schedule.ends_cycle(epoch)]
    [99, 109, 119, 129, 139, 149]
    """

    init_epochs: int
    cycles: int
    cycle_epochs: int

    def __post_init__(self) -> None:
        for name, least in (("init_epochs", 1), ("cycles", 0), ("cycle_epochs", 1)):
            set_field(self, name, whole_number(name, getattr(self, name), least))

    def divided(self, epochs: int | None) -> Schedule:
        """Return the schedule itself: its lengths are given, and leave no budget to divide.

        Raises
        ------
        InvalidInputError
            If a budget of other than its own number of epochs is asked for.
        """
        if epochs not in (None, self.epochs):
            raise InvalidInputError(
                f"epochs={self.epochs}, the sum of {self}", got=f"epochs={epochs}", fix="leave one of them out"
            )
        return self

    @property
    def epochs(self) -> int:
        """Epochs of the whole run."""
        return self.init_epochs + self.cycles * self.cycle_epochs

    def cycle(self, epoch: int) -> int:
        """Return the cycle that `epoch` (0-based) belongs to; 0 is the initial phase."""
        return 0 if epoch < self.init_epochs else 1 + (epoch - self.init_epochs) // self.cycle_epochs

    def ends_cycle(self, epoch: int) -> bool:
        """Return whether a cycle, or the initial phase, ends with `epoch` (0-based)."""
        return self.cycle(epoch + 1) != self.cycle(epoch)


@dataclass(frozen=True)
class Shares:
    """A budget of epochs divided into an initial phase and cycles, by default in the paper's proportions, 100 : 5 x 10.

    Parameters
    ----------
    init_share : float
        Share of the initial phase, about, in (0, 1): it takes what whole cycles leave.
    cycles : int
        Correction cycles, at least 1; fewer where the budget has no epoch for each.

    Raises
    ------
    InvalidInputError
        If a number is out of range.

    Examples
    --------
    >>> Shares().divided(150)
    Schedule(init_epochs=100, cycles=5, cycle_epochs=10)
    >>> Shares().divided(60)
    Schedule(init_epochs=40, cycles=5, cycle_epochs=4)
    >>> Shares().divided(7)
    Schedule(init_epochs=5, cycles=2, cycle_epochs=1)
    >>> Shares(init_share=0.1).divided(60)
    Schedule(init_epochs=5, cycles=5, cycle_epochs=11)
    """

    init_share: float = PAPER_INIT_EPOCHS / PAPER_EPOCHS
    cycles: int = PAPER_CYCLES

    def __post_init__(self) -> None:
        share = finite_number("init_share", self.init_share, above=0, below=1, fix="the paper's is 2/3")
        set_field(self, "init_share", share)
        set_field(self, "cycles", whole_number("cycles", self.cycles, least=1))

    def divided(self, epochs: int | None) -> Schedule:
        """Return the schedule of a budget of `epochs`, at least 2: an initial epoch and a cycle of one epoch."""
        epochs = whole_number("epochs", PAPER_EPOCHS if epochs is None else epochs, least=2)
        correction = epochs * (1 - self.init_share)
        cycle_epochs = max(1, round(correction / self.cycles))
        cycles = min(self.cycles, max(1, round(correction)))  # fewer only where so many of one epoch are too many
        while cycles * cycle_epochs >= epochs:  # rounded up
            cycle_epochs, cycles = (cycle_epochs - 1, cycles) if cycle_epochs > 1 else (1, cycles - 1)
        return Schedule(init_epochs=epochs - cycles * cycle_epochs, cycles=cycles, cycle_epochs=cycle_epochs)


@dataclass(frozen=True)
class OnePhase:
    """All epochs are one phase, without correction cycles.

    Examples
    --------
    >>> OnePhase().divided(60)
    Schedule(init_epochs=60, cycles=0, cycle_epochs=1)
    """

    def divided(self, epochs: int | None) -> Schedule:
        """Return the schedule of a budget of `epochs`, at least 1."""
        epochs = whole_number("epochs", PAPER_EPOCHS if epochs is None else epochs, least=1)
        return Schedule(init_epochs=epochs, cycles=0, cycle_epochs=1)


@dataclass(frozen=True)
class EpochCycles:
    """A long initial phase, then cycles of one epoch, as in stochastic weight averaging (Izmailov et al. 2018).

    Parameters
    ----------
    init_share : float
        Share of the initial phase, in (0, 1). Their Algorithm 1 starts averaging after three quarters of the budget.

    Raises
    ------
    InvalidInputError
        If the share is out of range.

    Examples
    --------
    >>> EpochCycles().divided(60)
    Schedule(init_epochs=45, cycles=15, cycle_epochs=1)
    """

    init_share: float = 0.75

    def __post_init__(self) -> None:
        share = finite_number("init_share", self.init_share, above=0, below=1, fix="0.75 is published")
        set_field(self, "init_share", share)

    def divided(self, epochs: int | None) -> Schedule:
        """Return the schedule of a budget of `epochs`, at least 1."""
        epochs = whole_number("epochs", PAPER_EPOCHS if epochs is None else epochs, least=1)
        init_epochs = max(1, round(self.init_share * epochs))
        return Schedule(init_epochs=init_epochs, cycles=epochs - init_epochs, cycle_epochs=1)


def cyclical_lr(
    epoch: float,
    *,
    lr: float,
    warmup_epochs: float,
    init_epochs: float,
    cycle_epochs: float,
    cycle_lr: float,
    min_lr: float,
) -> float:
    r"""Learning rate at `epoch`: linear warm-up, cosine, then cosine cycles with warm restarts (SCHP, Eq. 5).

    With :math:`t` the epochs since the last restart and :math:`T` the length of the phase, a cosine phase is
    :math:`\eta_{min} + \frac12 (\eta_{max} - \eta_{min}) (1 + \cos(\pi t / T))`; :math:`\eta_{max}` is `lr` in the
    initial phase and `cycle_lr` in the cycles (the authors' published schedule; Loshchilov & Hutter 2017, Eq. 5).

    Parameters
    ----------
    epoch : float
        Epochs since the start, >= 0; fractions are allowed.
    lr, cycle_lr, min_lr : float
        Peak of the initial phase, peak of the cycles, and floor.
    warmup_epochs, init_epochs, cycle_epochs : float
        Lengths; the warm-up is part of the initial phase.

    Returns
    -------
    float
        In [`min_lr`, max(`lr`, `cycle_lr`)].

    Examples
    --------
    >>> paper = dict(
    ...     lr=7e-3, warmup_epochs=10, init_epochs=100, cycle_epochs=10, cycle_lr=3.5e-3, min_lr=7e-5)
    >>> [float(f"{cyclical_lr(epoch, **paper):.4g}") for epoch in (0, 9, 10, 100, 109, 110)]
    [7e-05, 0.006307, 0.007, 0.0035, 0.0001539, 0.0035]
    """
    if epoch < warmup_epochs:
        return min_lr + (lr - min_lr) * epoch / warmup_epochs
    if epoch < init_epochs:
        peak, progress = lr, (epoch - warmup_epochs) / (init_epochs - warmup_epochs)
    else:
        peak, progress = cycle_lr, math.fmod(epoch - init_epochs, cycle_epochs) / cycle_epochs
    return min_lr + 0.5 * (peak - min_lr) * (1 + math.cos(math.pi * progress))


class CyclicalLR(LRScheduler):
    """Warm-up, cosine, then cosine cycles with warm restarts, as a PyTorch scheduler (SCHP, Eq. 5).

    One :meth:`step` without an argument goes on by an epoch; ``step(epoch)`` goes to any point, fractions of an epoch
    included, so that the rate can change with every batch. A group that is added to the optimizer later joins in: its
    ``lr`` is its peak, with the ratios of the first group.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its groups' ``lr`` are the peaks of the initial phase.
    warmup_epochs, init_epochs, cycle_epochs : int or float
        Lengths in epochs, with 0 <= `warmup_epochs` < `init_epochs` and `cycle_epochs` >= 1. The warm-up starts at
        `min_lr` and is part of the initial phase. Defaults: the paper's 10, 100, 10.
    cycle_lr : float or sequence of float, optional
        Peak of the cycles, one for all parameter groups or one each. Default: half of each group's ``lr``.
    min_lr : float or sequence of float, optional
        Floor, likewise. Default: a hundredth of each group's ``lr``.
    last_epoch : int
        -1 to start; otherwise the epoch to go on from, as in every PyTorch scheduler.

    Raises
    ------
    InvalidInputError
        If a length is out of range, a list of rates does not have one entry a parameter group, or a peak lies below
        its floor.

    Examples
    --------
    >>> import torch
    >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=7e-3)
    >>> scheduler = CyclicalLR(optimizer, cycle_lr=3.5e-3, min_lr=7e-5)
    >>> scheduler.get_last_lr()
    [7e-05]
    >>> scheduler.step(100 + 5)  # the middle of the first correction cycle
    >>> [round(lr, 6) for lr in scheduler.get_last_lr()]
    [0.001785]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        warmup_epochs: float = PAPER_WARMUP_EPOCHS,
        init_epochs: int = PAPER_INIT_EPOCHS,
        cycle_epochs: int = PAPER_CYCLE_EPOCHS,
        cycle_lr: float | Sequence[float] | None = None,
        min_lr: float | Sequence[float] | None = None,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= warmup_epochs < init_epochs or cycle_epochs <= 0:
            raise InvalidInputError(
                "0 <= warmup_epochs < init_epochs and cycle_epochs > 0",
                got=f"warmup_epochs={warmup_epochs}, init_epochs={init_epochs}, cycle_epochs={cycle_epochs}",
                fix="shorten the warm-up or lengthen the phases",
            )
        peaks = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
        self.warmup_epochs = warmup_epochs
        self.init_epochs = init_epochs
        self.cycle_epochs = cycle_epochs
        self.min_lrs = _one_per_group("min_lr", min_lr, [peak / 100 for peak in peaks])
        check_floor("lr", peaks, self.min_lrs)
        halves = [max(peak / 2, floor) for peak, floor in zip(peaks, self.min_lrs, strict=True)]
        self.cycle_lrs = _one_per_group("cycle_lr", cycle_lr, halves)
        check_floor("cycle_lr", self.cycle_lrs, self.min_lrs)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Return the learning rate of each parameter group at the current epoch."""
        self._take_in_groups()
        return [
            cyclical_lr(
                self.last_epoch,
                lr=float(peak),
                warmup_epochs=self.warmup_epochs,
                init_epochs=self.init_epochs,
                cycle_epochs=self.cycle_epochs,
                cycle_lr=cycle_lr,
                min_lr=min_lr,
            )
            for peak, cycle_lr, min_lr in zip(self.base_lrs, self.cycle_lrs, self.min_lrs, strict=True)
        ]

    def _take_in_groups(self) -> None:
        """Give groups that have come since the last step peaks and a floor."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            group.setdefault("initial_lr", group["lr"])
            peak, first = float(group["initial_lr"]), float(self.base_lrs[0])
            self.base_lrs.append(peak)
            self.cycle_lrs.append(self.cycle_lrs[0] * peak / first if first else self.cycle_lrs[0])
            self.min_lrs.append(self.min_lrs[0] * peak / first if first else self.min_lrs[0])

    def step(self, epoch: float | None = None) -> None:
        """Go on by an epoch, or to `epoch`.

        Parameters
        ----------
        epoch : float, optional
            Epochs since the start, >= 0; ``epoch + batch / batches`` steps by batch.
        """
        if epoch is None:
            super().step()
            return
        if not epoch >= 0:
            raise InvalidInputError("epoch >= 0", got=repr(epoch), fix="count epochs from 0")
        self.last_epoch = epoch  # type: ignore[assignment]
        lrs = self.get_lr()
        self._last_lr = [*lrs]
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)  # a compiled or capturable optimizer holds its rate in a tensor
            else:
                group["lr"] = lr


def _one_per_group(name: str, value: float | Sequence[float] | None, default: list[float]) -> list[float]:
    if value is None:
        return default
    values = [float(entry) for entry in value] if isinstance(value, Sequence) else [float(value)] * len(default)
    if len(values) != len(default) or not all(entry >= 0 for entry in values):
        raise InvalidInputError(
            f"{name} >= 0, one number or one for each of {len(default)} parameter groups",
            got=repr(value),
            fix="pass a single number, or a list in the order of optimizer.param_groups",
        )
    return values


def check_floor(name: str, peaks: Sequence[float], floors: Sequence[float]) -> None:
    """Raise an InvalidInputError if a peak of that name lies below its floor, `min_lr`."""
    for peak, floor in zip(peaks, floors, strict=True):
        if floor > peak:
            raise InvalidInputError(
                f"{name} >= min_lr", got=f"{name}={peak:g}, min_lr={floor:g}", fix=f"raise {name} or lower min_lr"
            )
