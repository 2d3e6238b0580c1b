"""The rows of a study: ways to correct, terms of the loss, backbones, contexts; and their epochs at equal passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.methods import FORWARD, RECALIBRATION_SAMPLES, TRAINING
from noisycorrect import Schedule
from noisycorrect.support.errors import InvalidInputError, unknown_name


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes
    ----------
    label : str
        What it is, for tables.
    settings : mapping
        Arguments for :class:`noisycorrect.SelfCorrector`.
    restarts : bool
        Whether the cosine restarts every cycle; without, there is one phase over all epochs.
    """

    label: str
    settings: Mapping[str, Any]
    restarts: bool = True

    @property
    def aggregates(self) -> bool:
        """Whether weights are averaged (Eq. 6)."""
        return bool(self.settings.get("aggregate", True))

    @property
    def refines(self) -> bool:
        """Whether labels are refined (Eq. 7)."""
        return bool(self.settings.get("refine", True))


METHODS: dict[str, Method] = {
    "none": Method("plain training", {"aggregate": False, "refine": False}),
    "ma": Method("weights averaged", {"refine": False}),
    "lr": Method("labels refined", {"aggregate": False}),
    "both": Method("self-correction", {}),
    "both-cb": Method("self-correction, class-balanced trust", {"trust": "class-balanced"}),
    "ma-canonical": Method(
        "weights averaged, recalibrated on canonical inputs", {"refine": False, "recalibration_inputs": "canonical"}
    ),
    "both-canonical": Method(
        "self-correction, recalibrated on canonical inputs", {"recalibration_inputs": "canonical"}
    ),
    "both-cb-canonical": Method(
        "class-balanced trust, recalibrated on canonical inputs",
        {"trust": "class-balanced", "recalibration_inputs": "canonical"},
    ),
    "both-student": Method("self-correction, cycles go on from the student", {"restart": "student"}),
    "none-cosine": Method("plain training, one cosine", {"aggregate": False, "refine": False}, restarts=False),
}
REFERENCE = "both"  # whose sample passes every row gets

# The terms of Eq. 4, as Table 3 adds them. Without the edge term the network has no edge branch, and nothing to fuse.
LOSSES = ("ce", "ce+edge", "ce+edge+iou", "ce+edge+iou+consistency")
FULL_LOSS = LOSSES[-1]
BACKBONES = ("resnet18", "resnet50", "resnet101", "mobilenetv2")
CONTEXTS = ("psp", "aspp", "ocnet")
ABLATIONS = ("correction", "losses", "backbones", "context", "cycles")


@dataclass(frozen=True)
class Variant:
    """One row of a study before the seeds: its name, its method, and what it changes in the network and the loss.

    `backbone` and `context` None are the preset's.
    """

    name: str
    method: str
    losses: str = FULL_LOSS
    backbone: str | None = None
    context: str | None = None


def variants(ablation: str | None, rows: Sequence[str] | None = None) -> list[Variant]:
    """Return the rows of a study.

    Parameters
    ----------
    ablation : str or None
        ``"correction"`` (Table 4 of the paper), ``"losses"`` (Table 3), ``"backbones"`` (Fig. 5a), ``"context"``
        (Fig. 5b), ``"cycles"`` (Fig. 6). None: plain training against self-correction.
    rows : sequence of str, optional
        Methods instead of the study's own; the loss study trains plainly.

    Raises
    ------
    InvalidInputError
        If a name is unknown or occurs twice.

    Examples
    --------
    >>> [row.name for row in variants("context", ["both"])]
    ['psp, both', 'aspp, both', 'ocnet, both']
    """
    if ablation is not None and ablation not in ABLATIONS:
        raise unknown_name("ablation", ablation, ABLATIONS)
    methods = list(rows) if rows else ["none", "ma", "lr", "both"] if ablation == "correction" else ["none", "both"]
    for name in methods:
        if name not in METHODS:
            raise unknown_name("row", name, METHODS)
    if len(set(methods)) < len(methods):
        raise InvalidInputError("each row once", got=",".join(methods), fix="leave the repeated ones out")
    if ablation == "losses":
        methods = list(rows) if rows else ["none"]
        return [Variant(f"{terms}, {m}" if rows else terms, m, losses=terms) for terms in LOSSES for m in methods]
    if ablation == "backbones":
        return [Variant(f"{name}, {m}", m, backbone=name) for name in BACKBONES for m in methods]
    if ablation == "context":
        return [Variant(f"{name}, {m}", m, context=name) for name in CONTEXTS for m in methods]
    return [Variant(m, m) for m in methods]


def samples_an_epoch(samples: int, batch_size: int, ranks: int = 1) -> int:
    """Return how many samples an epoch trains on: a last batch that leaves a rank fewer than two is left out.

    Examples
    --------
    >>> samples_an_epoch(17, 8), samples_an_epoch(18, 8)
    (16, 18)
    """
    rest = samples % batch_size
    return samples - rest if samples > batch_size and rest < 2 * ranks else samples


def sample_passes(method: str, schedule: Schedule, samples: int, batch_size: int, *, ranks: int = 1) -> int:
    """Return the sample passes of a run: training 3 a sample, and what every cycle's end costs.

    A cycle's end recalibrates BatchNorm on at most 8,192 samples if weights are averaged, the initial phase's end too,
    and predicts every training sample if labels are refined. Validation is left out.

    Examples
    --------
    >>> [sample_passes(name, Schedule(4, 2, 1), 100, 10) for name in ("none", "ma", "lr", "both")]
    [1800, 2100, 2000, 2300]
    """
    row = METHODS[method]
    passes = TRAINING * schedule.epochs * samples_an_epoch(samples, batch_size, ranks)
    if row.aggregates:
        passes += FORWARD * (schedule.cycles + 1) * min(samples, RECALIBRATION_SAMPLES)
    if row.refines:
        passes += FORWARD * schedule.cycles * samples
    return passes


def schedule_at_equal_passes(
    method: str, schedule: Schedule, samples: int, batch_size: int, *, ranks: int = 1
) -> Schedule:
    """Return a method's schedule at the sample passes of self-correction over `schedule`.

    The initial phase is lengthened. Rounded up: a part of an epoch is given to the other method.

    Examples
    --------
    >>> schedule_at_equal_passes("none", Schedule(4, 2, 1), 100, 10)
    Schedule(init_epochs=6, cycles=2, cycle_epochs=1)
    """
    budget = sample_passes(REFERENCE, schedule, samples, batch_size, ranks=ranks)
    short = budget - sample_passes(method, schedule, samples, batch_size, ranks=ranks)
    extra = -(-short // (TRAINING * samples_an_epoch(samples, batch_size, ranks)))
    longer = dataclasses.replace(schedule, init_epochs=schedule.init_epochs + max(0, extra))
    return longer if METHODS[method].restarts else Schedule(longer.epochs, 0, 1)
