"""The methods of the robustness study, and how long each may train at equal compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from noisycorrect import Schedule
from noisycorrect.errors import unknown_name

FORWARD, TRAINING = 1, 3  # sample passes: forward 1, backward 2


@dataclass(frozen=True)
class Method:
    """A row of the study.

    Attributes
    ----------
    settings : mapping
        Arguments for :class:`noisycorrect.SelfCorrector`.
    passes : callable
        ``passes(schedule)``: passes over the training set that a run costs, BatchNorm being in the network.
    """

    settings: Mapping[str, Any]
    passes: Callable[[Schedule], int]


def _training(schedule: Schedule) -> int:
    return TRAINING * schedule.epochs


def _recalibration(schedule: Schedule) -> int:
    return FORWARD * (schedule.cycles + 1)


METHODS: dict[str, Method] = {
    "ce": Method({"aggregate": False, "refine": False}, _training),
    "ce-wa": Method({"refine": False}, lambda schedule: _training(schedule) + _recalibration(schedule)),
    "selfcorrect": Method(
        {}, lambda schedule: _training(schedule) + _recalibration(schedule) + FORWARD * schedule.cycles
    ),
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


def epochs_at_equal_passes(name: str, epochs: int) -> int:
    """Return how many epochs a method may train for the passes of self-correction over `epochs` epochs.

    Rounded up: a part of an epoch is given to the other method, never taken from it.

    Examples
    --------
    >>> {name: epochs_at_equal_passes(name, 60) for name in METHODS}
    {'ce': 64, 'ce-wa': 62, 'selfcorrect': 60}
    """
    method = method_named(name)
    budget = METHODS[REFERENCE].passes(Schedule.from_budget(epochs))
    longer = epochs
    while method.passes(Schedule.from_budget(longer)) < budget:
        longer += 1
    assert longer <= math.ceil(budget / TRAINING)
    return longer
