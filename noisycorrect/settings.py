"""The settings of a run: checked once, and compared when a run is resumed."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from noisycorrect.errors import InvalidInputError, unknown_name
from noisycorrect.schedule import Schedule

RESTARTS = ("aggregate", "student")


@dataclass(frozen=True)
class RunSettings:
    """What a run does; see :class:`~noisycorrect.SelfCorrector`. Two runs with equal settings and data are equal."""

    schedule: Schedule
    warmup_epochs: float
    lr: float | None
    cycle_lr: float | None
    min_lr: float | None
    batch_size: int
    aggregate: bool
    refine: bool
    restart: str
    evidence: str
    evidence_momentum: float
    recalibration: str
    recalibration_samples: int | None
    num_workers: int
    seed: int
    keep_generations: int | None

    def __post_init__(self) -> None:
        if self.restart not in RESTARTS:
            raise unknown_name("restart", self.restart, RESTARTS)
        for name, least in (("batch_size", 1), ("num_workers", 0), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise InvalidInputError(
                    f"{name} to be a whole number >= {least}", got=repr(value), mend=f"pass {name}="
                )
        if self.recalibration_samples is not None and self.recalibration_samples < 2:
            raise InvalidInputError(
                "recalibration_samples >= 2 or None", got=repr(self.recalibration_samples), mend="None uses all samples"
            )
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise InvalidInputError("lr > 0", got=repr(self.lr), mend="the paper's is 7e-3")
        if not 0 <= self.warmup_epochs < self.schedule.init_epochs:
            raise InvalidInputError(
                f"0 <= warmup_epochs < init_epochs = {self.schedule.init_epochs}",
                got=repr(self.warmup_epochs),
                mend="shorten the warm-up",
            )

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint and the run that resumes it must share: all that the outcome depends on."""
        values = dataclasses.asdict(self)
        # Workers and what stays on disk change nothing in the outcome.
        return {name: value for name, value in values.items() if name not in ("num_workers", "keep_generations")}
