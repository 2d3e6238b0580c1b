"""The methods of the mask-noise study, and how long each may train at equal compute."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW

from benchmarks.cells import plain
from benchmarks.parsing.rows import samples_an_epoch
from noisycorrect import SelfCorrector
from noisycorrect.objective import Objective
from noisycorrect.presets import PRESETS
from noisycorrect.support.errors import unknown_name
from noisycorrect_seg.losses import ParsingLoss
from noisycorrect_seg.methods import AdaptiveEarlyLearning, PixelEarlyLearning
from noisycorrect_seg.task import HumanParsing

OPTIMIZER = functools.partial(AdamW, weight_decay=1e-2)  # SGD learns less from scratch in so few steps
# The enlarged copy of the paper alone would leave a quarter of the epochs.
ADELE_SCALES = (0.7, 1.0)
REFERENCE = "paper"  # whose sample passes every method gets


@dataclass(frozen=True)
class Method:
    """A row of the study.

    Attributes
    ----------
    label : str
        What it is, for the report.
    preset : str or None
        Of self-correction; None is a baseline, with one cosine over all epochs, nothing averaged or refined.
    objective : callable
        Makes what a step minimises; None is the corrector's own.
    """

    label: str
    preset: str | None = None
    objective: Callable[[], Objective] | None = None

    def task_loss(self) -> ParsingLoss:
        """Return the task's loss, the same for all: cross-entropy and Lovász-Softmax. The U-Net has no edge branch."""
        return ParsingLoss(edge=False, consistency=False)


METHODS = {
    "ce": Method("plain training with the task's loss"),
    "elr": Method("early-learning regularisation on pixels, lambda 1", None, lambda: PixelEarlyLearning(strength=1.0)),
    "adele": Method(
        f"adaptive early-learning correction, copies at {' and '.join(f'{scale:g}' for scale in ADELE_SCALES)}",
        None,
        lambda: AdaptiveEarlyLearning(scales=ADELE_SCALES),
    ),
    "paper": Method("self-correction, the paper's preset", "paper"),
    "robust": Method("self-correction, the robust preset", "robust"),
}


def method_names() -> list[str]:
    """Return the methods that can be run: a row of a preset that is not there is left out."""
    return [name for name, method in METHODS.items() if method.preset is None or method.preset in PRESETS]


def check_method(name: str) -> None:
    """Raise an InvalidInputError if there is no such method."""
    if name not in method_names():
        raise unknown_name("method", name, method_names())


def make_corrector(
    name: str, network: nn.Module, task: HumanParsing, *, epochs: int, lr: float, batch_size: int, seed: int
) -> SelfCorrector:
    """Return a method as a corrector.

    Parameters
    ----------
    name : str
        One of :func:`method_names`.
    network, task, epochs, lr, batch_size, seed
        As for :class:`noisycorrect.SelfCorrector`.
    """
    method = METHODS[name]
    settings: dict[str, Any] = {"lr": lr, "batch_size": batch_size, "seed": seed, "verbose": False}
    if method.preset is None:
        settings |= {"init_epochs": epochs, "cycles": 0, "aggregate": False, "refine": False}
    else:
        settings |= {"preset": method.preset, "epochs": epochs}
    if method.objective is not None:
        settings["objective"] = method.objective()
    return SelfCorrector(network, task=task, optimizer=OPTIMIZER, **settings)


def fingerprint(name: str) -> str:
    """Return a digest of what a method is set to, so that older settings' cells are not taken for it."""
    with torch.device("meta"):
        task = HumanParsing(["background", "person"], size=(8, 8))
        corrector = make_corrector(name, nn.Conv2d(3, 2, 1), task, epochs=8, lr=1e-3, batch_size=2, seed=0)
    identity = corrector.settings.identity(), corrector.objective.identity()
    return hashlib.sha256(json.dumps(plain(identity), sort_keys=True).encode()).hexdigest()[:8]


def planned_passes(corrector: SelfCorrector, samples: int, batch_size: int) -> float:
    """Return the sample passes of a run: training, recalibration and prediction at the cycles' ends.

    The objective's passes of each epoch, one a sample for recalibrating an average, and the task's for predicting every
    training sample where labels are refined. Validation is left out.
    """
    schedule, settings = corrector.schedule, corrector.settings
    each = samples_an_epoch(samples, batch_size)
    passes = sum(corrector.objective.passes(epoch, schedule.epochs) * each for epoch in range(schedule.epochs))
    if settings.aggregate:
        times = schedule.cycles + 1 if corrector.uses_average(validated=True) else 1
        passes += times * min(samples, settings.recalibration_samples or samples)
    if settings.refine:
        passes += schedule.cycles * corrector.task.prediction_passes * samples
    return passes


def epochs_at_equal_passes(name: str, budget: int, *, size: tuple[int, int], train: int, batch_size: int) -> int:
    """Return a method's epochs at the sample passes of the paper's self-correction over `budget` epochs.

    A baseline rounds up: it gets the part of an epoch that is over. Self-correction rounds down.

    Parameters
    ----------
    name : str
        One of :func:`method_names`.
    budget : int
        Epochs of the reference, at least 2.
    size, train, batch_size
        Of the input, number of training images, and samples in a batch.
    """
    task = HumanParsing(["background", "person"], size=size)

    def passes(method: str, epochs: int) -> float:
        with torch.device("meta"):
            corrector = make_corrector(
                method, nn.Conv2d(3, 2, 1), task, epochs=epochs, lr=1e-3, batch_size=batch_size, seed=0
            )
        return planned_passes(corrector, train, batch_size)

    if name == REFERENCE:
        return budget
    allowed = passes(REFERENCE, budget)
    epochs = 2
    while passes(name, epochs + 1) <= allowed:
        epochs += 1
    return epochs + int(METHODS[name].preset is None and passes(name, epochs) < allowed)
