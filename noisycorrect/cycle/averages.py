"""How the weights are averaged, as values of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field

from noisycorrect.cycle.recalibrate import METHODS
from noisycorrect.support.checks import finite_number, set_field, whole_number
from noisycorrect.support.errors import unknown_name

RESTARTS = ("aggregate", "student")
RECALIBRATION_INPUTS = ("augmented", "canonical")


@dataclass(frozen=True)
class Recalibration:
    """How the BatchNorm statistics of an average are estimated anew; see :func:`~noisycorrect.recalibrate_batchnorm`.

    Parameters
    ----------
    method : {"fast", "exact"}
        One pass over the samples, or one for every layer.
    samples : int or None
        Use at most so many random training samples, at least 2; None uses all. A few thousand give population
        statistics (Wu & Johnson 2021, sec. 3), and a pass over all would double what a cycle costs.
    inputs : {"augmented", "canonical"}
        Training samples as training sees them (the paper), or as predictions do. The weights were trained with
        statistics of augmented inputs.

    Raises
    ------
    InvalidInputError
        If an argument is out of range or unknown.
    """

    method: str = "fast"
    samples: int | None = 8192
    inputs: str = "augmented"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("recalibration method", self.method, METHODS)
        if self.inputs not in RECALIBRATION_INPUTS:
            raise unknown_name("inputs of recalibration", self.inputs, RECALIBRATION_INPUTS)
        if self.samples is not None:
            set_field(self, "samples", whole_number("samples", self.samples, least=2))

    def passes(self, samples: int, layers: int) -> int:
        """Return the forward passes of one recalibration of a network with so many BatchNorm layers."""
        rounds = min(layers, 1) if self.method == "fast" else layers
        return rounds * min(self.samples or samples, samples)


@dataclass(frozen=True)
class AtCycleEnds:
    """The mean of the weights at the ends of the cycles (SCHP, Eq. 6).

    Parameters
    ----------
    restart : {"aggregate", "student"}
        Where a cycle starts from: the averaged weights with a fresh optimizer (the paper), or the weights that the last
        cycle ended with (the published code).
    recalibration : Recalibration
        Of the average's BatchNorm statistics.

    Raises
    ------
    InvalidInputError
        If `restart` is unknown.
    """

    restart: str = "aggregate"
    recalibration: Recalibration = field(default_factory=Recalibration)

    def __post_init__(self) -> None:
        if self.restart not in RESTARTS:
            raise unknown_name("restart", self.restart, RESTARTS)


@dataclass(frozen=True)
class EveryStep:
    """An exponential average of the weights after every step; training goes on from its own weights.

    Parameters
    ----------
    decay : float
        Weight of the past, in [0, 1).
    recalibration : Recalibration
        Of the average's BatchNorm statistics, where it predicts and at the end of a run.

    Raises
    ------
    InvalidInputError
        If `decay` is out of range.
    """

    decay: float = 0.99
    recalibration: Recalibration = field(default_factory=Recalibration)

    def __post_init__(self) -> None:
        set_field(self, "decay", finite_number("decay", self.decay, above=0, below=1, fix="0.99 is common"))


Average = AtCycleEnds | EveryStep
