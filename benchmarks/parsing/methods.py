"""The rows of the parsing study, as recipes, and their schedules at equal sample passes."""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any

from torch import nn
from torch.optim import AdamW

from benchmarks.lab.methods import PAPER, most_epochs
from noisycorrect import RECIPES, AtCycleEnd, AtCycleEnds, OnePhase, Recalibration, Recipe, Schedule
from noisycorrect.data.batches import ShardedBatches
from noisycorrect_seg.ace2p import parameter_groups
from noisycorrect_seg.methods import AbstainingLoss, GatheredObjectCorrection, ObjectCorrection


def _kept(correction: Any) -> Any:
    """Return a correction whose generations all stay."""
    correction = copy.copy(correction)
    correction.of_run()
    correction.keep = None
    return correction


REFERENCE = "both"  # whose sample passes every row gets
# All generations stay, for the pictures; the store goes with the run's folder.
_EQ7, _BALANCED = AtCycleEnd(keep=None), AtCycleEnd(trust="class-balanced", keep=None)
_CANONICAL = AtCycleEnds(recalibration=Recalibration(inputs="canonical"))
_PAPER = PAPER.replace(correction=_EQ7)
_PLAIN = PAPER.replace(average=None, correction=None)
_ROBUST = RECIPES.of_kind("robust", "segmentation")


def _published(name: str, reference: str) -> Recipe:
    return RECIPES.of_kind(name, "segmentation").replace(optimizer=PAPER.optimizer, reference=reference)


#: What a row is stands in its recipe's `reference`.
PARSING_METHODS: dict[str, Recipe] = {
    "none": _PLAIN.replace(reference="plain training"),
    "ma": PAPER.replace(correction=None, reference="weights averaged"),
    "lr": _PAPER.replace(average=None, reference="labels refined"),
    "both": _PAPER.replace(reference="self-correction"),
    "both-cb": PAPER.replace(correction=_BALANCED, reference="self-correction, class-balanced trust"),
    "ma-canonical": PAPER.replace(
        average=_CANONICAL, correction=None, reference="weights averaged, recalibrated on canonical inputs"
    ),
    "both-canonical": _PAPER.replace(
        average=_CANONICAL, reference="self-correction, recalibrated on canonical inputs"
    ),
    "both-cb-canonical": PAPER.replace(
        average=_CANONICAL, correction=_BALANCED, reference="class-balanced trust, recalibrated on canonical inputs"
    ),
    "both-student": _PAPER.replace(
        average=AtCycleEnds(restart="student"), reference="self-correction, cycles go on from the student"
    ),
    "robust": _ROBUST.replace(correction=_kept(_ROBUST.correction), reference="self-correction, the robust recipe"),
    "robust-missing": _ROBUST.replace(
        correction=ObjectCorrection(parts=("missing",), keep=None),
        reference="the robust recipe, missing objects filled in and none renamed",
    ),
    "robust-shifted": _ROBUST.replace(
        correction=ObjectCorrection(parts=("missing", "misnamed", "shifted"), keep=None),
        reference="the robust recipe, outlines moved as well",
    ),
    "robust-weighed": _ROBUST.replace(
        correction=ObjectCorrection(weigh=1.0, keep=None), reference="the robust recipe, whole masks weighed by quality"
    ),
    "robust-gathered": _ROBUST.replace(
        correction=GatheredObjectCorrection(keep=None), reference="the robust recipe, evidence gathered in training"
    ),
    "robust-abstaining": _ROBUST.replace(
        correction=_kept(_ROBUST.correction), objective=AbstainingLoss(), reference="the robust recipe, abstaining"
    ),
    "none-cosine": _PLAIN.replace(schedule=OnePhase(), reference="plain training, one cosine"),
    "ema": _published("ema", "plain training, the average of all steps"),
    "elr": _published("elr", "early-learning regularisation on pixels"),
    "adele": _published("adele", "adaptive early-learning correction as published"),
}  # fmt: skip


def samples_an_epoch(samples: int, batch_size: int, ranks: int = 1) -> int:
    """Return how many samples an epoch trains on: a last batch that leaves a rank fewer than two is left out.

    Examples
    --------
    >>> samples_an_epoch(17, 8), samples_an_epoch(18, 8)
    (16, 18)
    """
    return ShardedBatches(samples, batch_size, world_size=ranks, full=False).samples


def parsing_passes(name: str, schedule: Schedule, samples: int, batch_size: int, *, ranks: int = 1) -> int:
    """Return the sample passes of a row of :data:`PARSING_METHODS`, validation left out.

    Examples
    --------
    >>> [parsing_passes(name, Schedule(4, 2, 1), 100, 10) for name in ("none", "ma", "lr", "both")]
    [1800, 2100, 2000, 2300]
    """
    recipe = PARSING_METHODS[name].replace(schedule=schedule)
    return recipe.passes(samples, trained=samples_an_epoch(samples, batch_size, ranks), validated=True)


def schedule_at_equal_passes(name: str, schedule: Schedule, samples: int, batch_size: int, ranks: int = 1) -> Schedule:
    """Return a row's schedule at the sample passes of self-correction over `schedule`.

    A row that has the paper's schedule gets a longer initial phase, rounded up: a part of an epoch is given to the
    other method. A recipe with a division of its own divides what the same passes allow; of ours it is rounded down.

    Examples
    --------
    >>> schedule_at_equal_passes("none", Schedule(4, 2, 1), 100, 10)
    Schedule(init_epochs=6, cycles=2, cycle_epochs=1)
    """
    recipe = PARSING_METHODS[name]
    allowed = parsing_passes(REFERENCE, schedule, samples, batch_size, ranks=ranks)
    if recipe.schedule != PAPER.schedule:
        taken = functools.partial(
            recipe.passes, samples, trained=samples_an_epoch(samples, batch_size, ranks), validated=True
        )
        epochs = most_epochs(
            lambda count: taken(epochs=count), allowed, guess=schedule.epochs, least=2, up=recipe.correction is None
        )
        return recipe.schedule.divided(epochs)

    def passes(init_epochs: int) -> int:
        longer = dataclasses.replace(schedule, init_epochs=init_epochs)
        return parsing_passes(name, longer, samples, batch_size, ranks=ranks)

    least = schedule.init_epochs
    return dataclasses.replace(schedule, init_epochs=most_epochs(passes, allowed, guess=least, least=least, up=True))


def prepared_recipe(name: str, schedule: Schedule, optimizer: str, *, backbone_rate: float = 1.0) -> Recipe:
    """Return the recipe of a row with a schedule and an optimizer, ``"sgd"`` (the recipe's own) or ``"adamw"``.

    Where the backbone's rate is not that of the other layers, the optimizer gets the groups of both.
    """
    recipe = PARSING_METHODS[name].replace(schedule=schedule)
    factory: Any = recipe.optimizer if optimizer == "sgd" else functools.partial(AdamW, weight_decay=1e-2, fused=True)
    if backbone_rate != 1:
        return recipe.replace(optimizer=_ByLayer(factory, backbone_rate))
    return recipe if optimizer == "sgd" else recipe.replace(optimizer=factory)


@dataclasses.dataclass(frozen=True)
class _ByLayer:
    """Makes an optimizer of a network whose backbone has a rate of its own."""

    factory: Any
    backbone_rate: float

    def __call__(self, model: nn.Module, lr: float) -> Any:
        return self.factory(parameter_groups(model, lr, backbone=self.backbone_rate), lr=lr)
