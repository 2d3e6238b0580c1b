"""The methods of the robustness study, and how long each may train at equal compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from noisycorrect import Schedule
from noisycorrect.errors import unknown_name

FORWARD, TRAINING = 1, 3  # sample passes: forward 1, backward 2
RECALIBRATION_SAMPLES = 8192  # SelfCorrector's default


@dataclass(frozen=True)
class Method:
    """A row of the study.

    Attributes
    ----------
    settings : mapping
        Arguments for :class:`noisycorrect.SelfCorrector`.
    passes : callable
        ``passes(schedule, samples)``: sample passes of a run on a training set of that size, with BatchNorm in the
        network.
    """

    settings: Mapping[str, Any]
    passes: Callable[[Schedule, int], int]


def _training(schedule: Schedule, samples: int) -> int:
    return TRAINING * schedule.epochs * samples


def _averaging(schedule: Schedule, samples: int) -> int:
    recalibration = FORWARD * (schedule.cycles + 1) * min(samples, RECALIBRATION_SAMPLES)
    return _training(schedule, samples) + recalibration


def _correction(schedule: Schedule, samples: int) -> int:
    return _averaging(schedule, samples) + FORWARD * schedule.cycles * samples


METHODS: dict[str, Method] = {
    "ce": Method({"aggregate": False, "refine": False}, _training),
    "ce-wa": Method({"refine": False}, _averaging),
    "selfcorrect": Method({}, _correction),
}
REFERENCE = "selfcorrect"


def method_named(name: str) -> Method:
    """Return the method of that name.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]


def epochs_at_equal_passes(name: str, epochs: int, samples: int) -> int:
    """Return how many epochs a method may train for the passes of self-correction over `epochs` epochs.

    Rounded up: a part of an epoch is given to the other method, never taken from it.

    Examples
    --------
    >>> {name: epochs_at_equal_passes(name, 60, samples=1347) for name in METHODS}
    {'ce': 64, 'ce-wa': 62, 'selfcorrect': 60}
    """
    method = method_named(name)
    budget = METHODS[REFERENCE].passes(Schedule.from_budget(epochs), samples)
    longer = epochs
    while method.passes(Schedule.from_budget(longer), samples) < budget:
        longer += 1
    return longer
