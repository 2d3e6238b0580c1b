"""The methods of the robustness study, and how long each may train at equal compute.

Baselines are :data:`noisycorrect.baselines.BASELINES`; self-correction has a row a preset, and the robust preset one
more for each of its parts, left out.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.augmentation import strong_view
from benchmarks.cells import plain
from noisycorrect import SelfCorrector
from noisycorrect.baselines import BASELINES, baseline_passes, fit_baseline
from noisycorrect.classification import EarlyLearningRegularization
from noisycorrect.classification.methods.prune_retrain import PruneRetrainResult
from noisycorrect.correction.cross_fitting import CrossFittedNetworks, CrossFitting
from noisycorrect.correction.online import OnlineCorrection
from noisycorrect.objective import Objective
from noisycorrect.presets import PRESETS
from noisycorrect.result import CorrectionResult
from noisycorrect.support.errors import unknown_name

INPUT_DROPOUT = 0.2  # OnlineCorrection's default
FORWARD, TRAINING = 1, 3  # sample passes: forward 1, backward 2
RECALIBRATION_SAMPLES = 8192  # SelfCorrector's default

#: Rows of self-correction: arguments for SelfCorrector.
CORRECTIONS: dict[str, dict[str, Any]] = {name: {"preset": name} for name in PRESETS}
#: Not a published method: ELR's loss, lambda 7 (3 is published and worse here), with the averaging and the input
#: dropout of the robust preset.
CONTROLS: dict[str, dict[str, Any]] = {
    "elr-ema-dropout": {
        "objective": EarlyLearningRegularization(strength=7.0),
        "aggregation": "exponential",
        "lr_schedule": "cosine",
        "refine": False,
    }
}
#: Rows of the robust preset with a part left out or another in its place: `robust-` and the name here.
ROBUST_ABLATIONS: dict[str, dict[str, Any]] = {
    "no-averaging": {"aggregate": False},
    "no-early-learning": {"objective": OnlineCorrection(early_learning=0.0)},
    "no-input-dropout": {"objective": OnlineCorrection(input_dropout=0.0)},
    "no-watch": {"objective": OnlineCorrection(start=0.05)},
    "no-trust": {"objective": OnlineCorrection(trust="none")},
    "agreement": {"objective": OnlineCorrection(trust="agreement")},
    "relative": {"objective": OnlineCorrection(trust="relative")},
    "mixture": {"objective": OnlineCorrection(trust="mixture")},
    "posterior": {"objective": OnlineCorrection(trust="posterior")},
    "balanced": {"objective": OnlineCorrection(balance=True)},
    "cross-fitted": {"objective": CrossFitting(early_learning=3.0)},
    "strong-view": {"objective": OnlineCorrection(consistency=1.0, strong_augment=strong_view)},
    "cycle-evidence": {"objective": Objective(), "evidence": "exponential", "trust": "agreement"},
}
#: What stands beside a row in the tables: that it is told what nobody knows of real data, or is nobody's method.
NOTES = {"coteaching": "rate given", "elr-ema-dropout": "control, lambda 7"}
DEFAULT_METHODS = ["ce", "elr", "paper", "robust"]


@dataclass(frozen=True, eq=False)
class Training:
    """What all methods of a cell are given alike.

    Attributes
    ----------
    model : nn.Module
        The network, with its initial weights.
    inputs, given : Tensor, shape (N, ...); array of int64, shape (N,)
        Training samples and their noisy labels.
    num_classes : int
        Number of classes.
    epochs : int
        What the method may train for; see :func:`epochs_at_equal_passes`.
    lr, batch_size, seed
        The recipe's, and the cell's.
    noise_rate : float
        True share of wrong labels, for the methods that have to be told.
    augment : callable or None
        What every method trains with.
    own_augment : callable or None
        What only a method trains with that consists in augmentation, where the others have none.
    on_epoch : callable or None
        ``on_epoch(model, record)`` after every epoch.
    """

    model: nn.Module
    inputs: Tensor
    given: Any
    num_classes: int
    epochs: int
    lr: float
    batch_size: int
    seed: int
    noise_rate: float
    augment: Callable[[Tensor], Tensor] | None = None
    own_augment: Callable[[Tensor], Tensor] | None = None
    on_epoch: Callable[[nn.Module, dict[str, float]], None] | None = None


def method_names(*, ablations: bool = True) -> list[str]:
    """Return the names of all methods, baselines first.

    Examples
    --------
    >>> names = method_names()
    >>> names[0], "paper" in names
    ('ce', True)
    """
    return [*BASELINES, *CONTROLS, *CORRECTIONS, *(ablation_names() if ablations else ())]


def ablation_names() -> list[str]:
    """Return the names of the robust preset's rows with a part left out or replaced."""
    return [f"robust-{part}" for part in ROBUST_ABLATIONS]


def is_baseline(name: str) -> bool:
    """Return whether a method is a rival: somebody else's, or made of somebody else's."""
    return name in BASELINES or name in CONTROLS


def networks(name: str) -> int:
    """Return how many networks a method trains."""
    if name in BASELINES:
        return BASELINES[name].networks
    objective: Objective = _settings(name).get("objective", Objective())  # that of a preset trains one
    return objective.networks


def check_method(name: str) -> None:
    """Raise an InvalidInputError if there is no method of that name."""
    if name not in method_names():
        raise unknown_name("method", name, method_names())


def fit(name: str, training: Training) -> CorrectionResult | PruneRetrainResult:
    """Train a method and return its result.

    Raises
    ------
    InvalidInputError
        If there is no method of that name.
    """
    check_method(name)
    shared: dict[str, Any] = {
        "num_classes": training.num_classes,
        "epochs": training.epochs,
        "lr": training.lr,
        "batch_size": training.batch_size,
        "seed": training.seed,
        "on_epoch": training.on_epoch,
        "verbose": False,
    }
    train = training.inputs, training.given
    if name not in BASELINES:
        augment = training.augment
        if name in CONTROLS and augment is None:
            augment = functools.partial(F.dropout, p=INPUT_DROPOUT)
        model = training.model if networks(name) == 1 else CrossFittedNetworks.of(training.model, training.seed)
        return SelfCorrector(model, **shared, augment=augment, **_settings(name)).fit(train)
    augment = training.augment
    if name == "ce-wa-aug" and augment is None:
        augment = training.own_augment
    options = _options(name, training.noise_rate)
    return fit_baseline(name, training.model, train, augment=augment, options=options, **shared)


def epochs_at_equal_passes(name: str, budget: int, samples: int) -> int:
    """Return how many epochs a method may train for the sample passes of plain training over `budget` epochs.

    Baselines round up: they get the part of an epoch that is over. Self-correction rounds down. What pruning saves is
    not known before: `prune-retrain` is reckoned as if it kept all labels.

    Parameters
    ----------
    name : str
        A method.
    budget : int
        In epochs of plain training.
    samples : int
        Of the training set.

    Raises
    ------
    InvalidInputError
        If there is no method of that name, or the budget is too small for it.

    Examples
    --------
    >>> {name: epochs_at_equal_passes(name, 60, samples=1212) for name in ("ce", "ema", "coteaching", "paper")}
    {'ce': 60, 'ema': 60, 'coteaching': 30, 'paper': 56}
    """
    check_method(name)
    most = TRAINING * budget * samples
    epochs = budget
    if name in BASELINES:
        passes = functools.partial(baseline_passes, name, samples=samples, options=_options(name, noise_rate=0.0))
        while passes(epochs) < most:
            epochs += 1
        while epochs > 1 and passes(epochs - 1) >= most:
            epochs -= 1
    else:
        while correction_passes(name, epochs, samples) > most:
            epochs -= 1
    return epochs


def correction_passes(name: str, epochs: int, samples: int) -> int:
    """Return the sample passes of a row of self-correction, with BatchNorm in the network."""
    corrector = _without_network(name, epochs)
    settings, schedule = corrector.settings, corrector.schedule
    passes = sum(corrector.objective.passes(epoch, schedule.epochs) for epoch in range(schedule.epochs)) * samples
    if settings.aggregate:
        times = schedule.cycles + 1 if corrector.uses_average() else 1
        passes += FORWARD * times * min(samples, settings.recalibration_samples or samples)
    if settings.refine and not corrector.objective.keeps_evidence:
        passes += FORWARD * schedule.cycles * samples
    return round(passes)


def passes_before_training(result: CorrectionResult | PruneRetrainResult) -> int:
    """Return the sample passes that a run made before the first epoch of the training that it returns the model of.

    Pruning needs predictions of other networks first.
    """
    if not isinstance(result, PruneRetrainResult):
        return 0
    return int(result.history[-2]["sample_passes"])


def fingerprint(name: str, epochs: int) -> str | None:
    """Return a digest of what a row of self-correction is set to, so that older settings' cells are not taken for it.

    None for a baseline.
    """
    if name in BASELINES:
        return None
    corrector = _without_network(name, epochs)
    identity = corrector.settings.identity(), corrector.objective.identity()
    return hashlib.sha256(json.dumps(plain(identity), sort_keys=True).encode()).hexdigest()[:8]


def _ablations() -> dict[str, dict[str, Any]]:
    return dict(
        zip(ablation_names(), ({"preset": "robust", **part} for part in ROBUST_ABLATIONS.values()), strict=True)
    )


def _settings(name: str) -> dict[str, Any]:
    return {**CONTROLS, **CORRECTIONS, **_ablations()}[name]


def _options(name: str, noise_rate: float) -> dict[str, Any]:
    # Clean labels have no rate that the method would take; at this one no sample of a batch is left out.
    return {"noise_rate": max(noise_rate, 1e-6)} if name == "coteaching" else {}


def _without_network(name: str, epochs: int) -> SelfCorrector:
    return SelfCorrector(nn.Identity(), num_classes=2, epochs=epochs, verbose=False, **_settings(name))
