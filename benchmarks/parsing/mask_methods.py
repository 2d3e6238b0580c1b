"""The rows of the mask-noise study, as recipes, and their epochs at equal sample passes."""

from __future__ import annotations

import functools
from typing import Any

from torch.optim import AdamW

from benchmarks.lab.methods import most_epochs
from benchmarks.parsing.methods import samples_an_epoch
from noisycorrect import RECIPES, Recipe
from noisycorrect.correction.part import TRAINING_PASSES
from noisycorrect_seg.methods import AdaptiveEarlyLearning, ObjectCorrection, PixelEarlyLearning
from noisycorrect_seg.task import HumanParsing

REFERENCE = "paper"  # whose sample passes every row gets
HALF = "half"
FIRST_SHARE = 3  # of a run's epochs one in so many is for choosing the better half
_ADAM = functools.partial(AdamW, weight_decay=1e-2)  # SGD learns less from scratch in so few steps


def _recipe(name: str, reference: str, **parts: Any) -> Recipe:
    return RECIPES.of_kind(name, HumanParsing.kind.name).replace(optimizer=_ADAM, reference=reference, **parts)


#: What a row is stands in its recipe's `reference`.
MASK_METHODS: dict[str, Recipe] = {
    "ce": _recipe("ce", "plain training with the task's loss"),
    "ema": _recipe("ema", "plain training, the average of all steps"),
    HALF: _recipe(
        "ce",
        "plain training, begun anew on the half of the masks that a first, shorter one agrees with most",
    ),
    "elr": _recipe(
        "elr", "early-learning regularisation on pixels, lambda 1", objective=PixelEarlyLearning(strength=1.0)
    ),
    "adele": _recipe(
        "adele",
        "adaptive early-learning correction as published: copies at 0.7, 1 and 1.5, and their mirrors",
        objective=AdaptiveEarlyLearning(),
    ),
    # As published it gets a quarter of plain training's epochs at equal passes.
    "adele-lean": _recipe(
        "adele",
        "adaptive early-learning correction, copies at 0.7 and 1, no mirrors",
        objective=AdaptiveEarlyLearning(scales=(0.7, 1.0), mirror=False),
    ),
    "paper": _recipe("paper", "self-correction, the paper's recipe"),
    "robust": _recipe("robust", "self-correction, the robust recipe"),
    "robust-missing": _recipe(
        "robust",
        "the robust recipe, missing objects filled in and none renamed",
        correction=ObjectCorrection(parts=("missing",)),
    ),
    "robust-shifted": _recipe(
        "robust",
        "the robust recipe, outlines moved as well",
        correction=ObjectCorrection(parts=("missing", "misnamed", "shifted")),
    ),
}


def first_epochs(epochs: int) -> int:
    """Return how many epochs the first training of :data:`HALF` has, if the second has `epochs`.

    Examples
    --------
    >>> first_epochs(10), first_epochs(2)
    (3, 1)
    """
    return max(1, epochs // FIRST_SHARE)


def half_of(samples: int) -> int:
    """Return how many of so many masks are the better half, at least 2.

    Examples
    --------
    >>> half_of(201)
    100
    """
    return max(2, samples // 2)


def mask_passes(name: str, epochs: int, samples: int, batch_size: int) -> int:
    """Return the sample passes of a row of :data:`MASK_METHODS`, validation left out.

    Examples
    --------
    >>> mask_passes("ce", 10, 40, 8)
    1200
    >>> mask_passes("half", 9, 40, 8)  # three epochs on all, a prediction, nine on half
    940
    """
    trained = samples_an_epoch(samples, batch_size)
    if name == HALF:
        half = samples_an_epoch(half_of(samples), batch_size)
        return int(TRAINING_PASSES) * (first_epochs(epochs) * trained + epochs * half) + samples
    return MASK_METHODS[name].passes(samples, epochs=epochs, trained=trained, validated=True)


def mask_epochs_at_equal_passes(name: str, budget: int, samples: int, batch_size: int) -> int:
    """Return a method's epochs at the sample passes of the paper's self-correction over `budget` epochs.

    A published method rounds up: it gets the part of an epoch that is over. Self-correction rounds down.
    """
    if name == REFERENCE:
        return budget
    passes = functools.partial(mask_passes, name, samples=samples, batch_size=batch_size)
    allowed = mask_passes(REFERENCE, budget, samples, batch_size)
    return most_epochs(passes, allowed, guess=budget, least=2, up=MASK_METHODS[name].correction is None)
