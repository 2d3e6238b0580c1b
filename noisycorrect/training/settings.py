"""The settings of a run: checked once, and compared when a run is resumed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from noisycorrect.cycle.aggregate import METHODS as AGGREGATIONS
from noisycorrect.cycle.recalibrate import METHODS as RECALIBRATIONS
from noisycorrect.cycle.schedule import Schedule
from noisycorrect.labels.manifest import EVIDENCE_RULES
from noisycorrect.labels.trust import CYCLE_RULES
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name

RESTARTS = ("aggregate", "student")
LR_SCHEDULES = ("cyclical", "cosine")
RECALIBRATION_INPUTS = ("augmented", "canonical")


@dataclass(frozen=True)
class RunSettings:
    """What a run does; see :class:`~noisycorrect.SelfCorrector`. Two runs with equal settings and data are equal."""

    schedule: Schedule
    warmup_epochs: float
    lr: float | None
    cycle_lr: float | None
    min_lr: float | None
    batch_size: int
    lr_schedule: str
    aggregate: bool
    aggregation: str
    aggregation_decay: float
    refine: bool
    restart: str
    evidence: str
    evidence_momentum: float
    trust: str
    recalibration: str
    recalibration_samples: int | None
    recalibration_inputs: str
    num_workers: int
    seed: int
    keep_generations: int | None

    def __post_init__(self) -> None:
        for name, known in (
            ("lr_schedule", LR_SCHEDULES),
            ("aggregation", AGGREGATIONS),
            ("restart", RESTARTS),
            ("evidence", EVIDENCE_RULES),
            ("trust", CYCLE_RULES),
            ("recalibration", RECALIBRATIONS),
            ("recalibration_inputs", RECALIBRATION_INPUTS),
        ):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        if self.averages_steps and self.restart == "aggregate":
            raise InvalidInputError(
                'restart="student" with aggregation="exponential"',
                got='restart="aggregate"',
                fix="leave restart out: an average of all steps is no point to start from",
            )
        for name, least in (
            ("batch_size", 1),
            ("num_workers", 0),
            ("seed", 0),
            ("recalibration_samples", 2),
            ("keep_generations", 2),
        ):
            if getattr(self, name) is not None or name in ("batch_size", "num_workers", "seed"):
                self._set(name, whole_number(name, getattr(self, name), least))
        for name in ("lr", "cycle_lr", "min_lr"):
            if getattr(self, name) is not None:
                self._set(name, finite_number(name, getattr(self, name), above=0, fix="the paper's lr is 7e-3"))
        if self.lr == 0:
            raise InvalidInputError("lr > 0", got="0", fix="the paper's is 7e-3")
        warmup = finite_number("warmup_epochs", self.warmup_epochs, above=0, fix="0 is no warm-up")
        if warmup >= self.schedule.init_epochs:
            raise InvalidInputError(
                f"warmup_epochs < init_epochs = {self.schedule.init_epochs}",
                got=f"{warmup:g}",
                fix="shorten the warm-up",
            )
        self._set("warmup_epochs", warmup)
        for name, fix in (("evidence_momentum", "0.7 is common"), ("aggregation_decay", "0.99 is common")):
            self._set(name, finite_number(name, getattr(self, name), above=0, below=1, fix=fix))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the class is frozen; numpy's numbers become plain ones here

    @property
    def averages_steps(self) -> bool:
        """Whether the weights are averaged after every step, and not at the ends of cycles."""
        return self.aggregate and self.aggregation == "exponential"

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint and the run that resumes it must share."""
        values = dataclasses.asdict(self)
        # Workers and what stays on disk change nothing in the outcome.
        return {name: value for name, value in values.items() if name not in ("num_workers", "keep_generations")}
