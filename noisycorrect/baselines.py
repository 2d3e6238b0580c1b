"""Methods to compare with: one table, and one function that trains any of them."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from noisycorrect.classification.methods import (
    Bootstrap,
    CoTeaching,
    DivideMix,
    EarlyLearningRegularization,
    ForwardCorrection,
    GeneralizedCrossEntropy,
    LabelSmoothing,
    Mixup,
    SparseOverParameterization,
    SymmetricCrossEntropy,
    TwinNetworks,
)
from noisycorrect.classification.methods.prune_retrain import PruneRetrainResult, prune_retrain
from noisycorrect.corrector import OptimizerFactory, SelfCorrector
from noisycorrect.objective import TRAINING_PASSES, Objective
from noisycorrect.presets import PAPER
from noisycorrect.result import CorrectionResult
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name

RECALIBRATION_SAMPLES = 8192  # SelfCorrector's default
PRUNE_RETRAIN = "prune-retrain"


def one_cosine(epochs: int) -> dict[str, Any]:
    """Return the corrector's settings for plain training: one cosine over all epochs, nothing averaged or refined.

    Examples
    --------
    >>> one_cosine(60)
    {'init_epochs': 60, 'cycles': 0, 'aggregate': False, 'refine': False}
    """
    return {"init_epochs": epochs, "cycles": 0, "aggregate": False, "refine": False}


def averaged_steps(epochs: int, decay: float = 0.99) -> dict[str, Any]:
    """Return the settings for plain training with an exponential average of the weights after every step."""
    exponential = {"aggregate": True, "aggregation": "exponential", "aggregation_decay": decay}
    return {**one_cosine(epochs), **exponential}


def averaged_epochs(epochs: int) -> dict[str, Any]:
    """Return the settings of stochastic weight averaging with a cyclical rate (Izmailov et al. 2018, Algorithm 1).

    One cosine over three quarters of the epochs, then a cosine from half the rate in each epoch, whose last weights are
    averaged; training goes on from its own weights.

    Examples
    --------
    >>> averaged_epochs(60)
    {'init_epochs': 45, 'cycles': 15, 'cycle_epochs': 1, 'refine': False, 'restart': 'student'}
    """
    init_epochs = max(1, round(0.75 * epochs))
    return {
        "init_epochs": init_epochs,
        "cycles": epochs - init_epochs,
        "cycle_epochs": 1,
        "refine": False,
        "restart": "student",
    }


@dataclass(frozen=True)
class Baseline:
    """A method of the table.

    Attributes
    ----------
    name : str
        What :func:`fit_baseline` calls it.
    objective : callable
        ``objective(**options)`` -> Objective, with the published parameters as defaults.
    reference : str
        Author and year, title, arXiv number.
    cost : str
        Compute in units of cross-entropy (forward 1, backward 2, one network = 1x).
    settings : callable
        ``settings(epochs, **options)``: further arguments for :class:`~noisycorrect.SelfCorrector`.
    networks : int
        Networks that are trained.
    weight_decay : float
        Least weight decay; 0 leaves the optimizer's.
    needs_augment : bool
        Whether the method is nothing without an augmentation.
    """

    name: str
    objective: Callable[..., Objective]
    reference: str
    cost: str = "1x"
    settings: Callable[..., dict[str, Any]] = one_cosine
    networks: int = 1
    weight_decay: float = 0.0
    needs_augment: bool = False

    def options(self) -> dict[str, inspect.Parameter]:
        """Return the method's own parameters by name."""
        if self.name == PRUNE_RETRAIN:
            known = inspect.signature(prune_retrain).parameters
            return {name: known[name] for name in ("folds", "method")}
        found = {**inspect.signature(self.settings).parameters, **inspect.signature(self.objective).parameters}
        return {name: parameter for name, parameter in found.items() if name != "epochs"}

    def make(self, epochs: int, options: Mapping[str, Any]) -> tuple[Objective, dict[str, Any]]:
        """Return the objective, and the corrector's settings, with a method's options.

        Raises
        ------
        InvalidInputError
            If an option is unknown, missing or out of range.
        """
        self.check(options)
        averaging = inspect.signature(self.settings).parameters
        settings = self.settings(epochs, **{key: value for key, value in options.items() if key in averaging})
        return self.objective(**{key: value for key, value in options.items() if key not in averaging}), settings

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise an InvalidInputError if an option is unknown or a necessary one is missing."""
        known = self.options()
        for name in options:
            if name not in known:
                raise unknown_name(f"option of {self.name!r}", name, known)
        for name, parameter in known.items():
            if parameter.default is inspect.Parameter.empty and name not in options:
                raise InvalidInputError(
                    f"the option {name} of {self.name!r}",
                    got=repr(dict(options)),
                    fix=f"pass options={{{name!r}: ...}}",
                )


BASELINES: dict[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline("ce", Objective, "cross-entropy: nothing against noise"),
        Baseline("ls", LabelSmoothing, "Szegedy et al. 2016, Rethinking the Inception Architecture, arXiv:1512.00567"),
        Baseline("mixup", Mixup, "Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization, arXiv:1710.09412"),
        Baseline(
            "gce", GeneralizedCrossEntropy, "Zhang and Sabuncu 2018, Generalized Cross Entropy Loss, arXiv:1805.07836"
        ),
        Baseline("sce", SymmetricCrossEntropy, "Wang et al. 2019, Symmetric Cross Entropy, arXiv:1908.06112"),
        *(
            Baseline(
                f"bootstrap-{kind}",
                functools.partial(Bootstrap, kind),
                "Reed et al. 2015, Training Deep Neural Networks on Noisy Labels with Bootstrapping, arXiv:1412.6596",
            )
            for kind in ("soft", "hard")
        ),
        Baseline("forward", ForwardCorrection, "Patrini et al. 2017, a Loss Correction Approach, arXiv:1609.03683"),
        Baseline(
            "ema",
            Objective,
            "Polyak and Juditsky 1992, Acceleration of Stochastic Approximation by Averaging, with exponential weights",
            "1x + 1 forward pass for BatchNorm",
            averaged_steps,
        ),
        Baseline(
            "swa",
            Objective,
            "Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization, arXiv:1803.05407",
            "1x + 1 forward pass for BatchNorm",
            averaged_epochs,
        ),
        Baseline(
            "ce-wa-aug",
            Objective,
            "Kang et al. 2023, Unleashing the Potential of Regularization Strategies in Learning with Noisy Labels,"
            " arXiv:2307.05025",
            "1x + 1 forward pass for BatchNorm",
            averaged_steps,
            weight_decay=1e-3,
            needs_augment=True,
        ),
        Baseline(
            "elr",
            EarlyLearningRegularization,
            "Liu et al. 2020, Early-Learning Regularization Prevents Memorization of Noisy Labels, arXiv:2007.00151",
        ),
        Baseline(
            "sop",
            SparseOverParameterization,
            "Liu et al. 2022, Robust Training under Label Noise by Over-parameterization, arXiv:2202.14026",
        ),
        Baseline(
            "coteaching",
            CoTeaching,
            "Han et al. 2018, Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels,"
            " arXiv:1804.06872",
            "2x",
            networks=2,
        ),
        Baseline(
            "dividemix",
            DivideMix,
            "Li et al. 2020, DivideMix: Learning with Noisy Labels as Semi-supervised Learning, arXiv:2002.07394",
            "2x in the warm-up, then 10/3x (6x with a second view)",
            networks=2,
        ),
        Baseline(
            PRUNE_RETRAIN,
            Objective,
            "Northcutt et al. 2021, Confident Learning: Estimating Uncertainty in Dataset Labels, arXiv:1911.00068",
            "folds x (5x), of full length each, + 1 forward pass",
        ),
    )
}


def baseline_named(name: str) -> Baseline:
    """Return the baseline of that name.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    if name not in BASELINES:
        raise unknown_name("baseline", name, BASELINES)
    return BASELINES[name]


def baseline_passes(
    name: str, epochs: int, samples: int, *, batchnorm: bool = True, options: Mapping[str, Any] | None = None
) -> int:
    """Return the sample passes of a run without validation: forward 1, backward 2.

    Parameters
    ----------
    name : str
        One of :data:`BASELINES`.
    epochs : int
        As for :func:`fit_baseline`, >= 1.
    samples : int
        Training samples, >= 1. (A last batch of one sample is left out of training; it is counted here.)
    batchnorm : bool
        Whether the network has BatchNorm layers, whose statistics are estimated anew where weights are averaged.
    options : mapping, optional
        The method's parameters.

    Returns
    -------
    int
        For ``"prune-retrain"`` an upper bound, as if no label was pruned.

    Raises
    ------
    InvalidInputError
        If the name or an option is unknown, or a number too small.

    Examples
    --------
    >>> baseline_passes("elr", epochs=60, samples=1000)
    180000
    >>> baseline_passes("ema", epochs=60, samples=1000)
    181000
    """
    baseline, options = baseline_named(name), options or {}
    epochs, samples = whole_number("epochs", epochs, least=1), whole_number("samples", samples, least=1)
    if name == PRUNE_RETRAIN:
        baseline.check(options)
        folds = whole_number("folds", options.get("folds", baseline.options()["folds"].default), least=2)
        # Each fold trains on all samples but its own, which it predicts; then the retraining, on all at most.
        return round(TRAINING_PASSES * epochs * samples * folds) + samples
    objective, settings = baseline.make(epochs, options)
    training = sum(objective.passes(epoch, epochs) for epoch in range(epochs)) * samples
    recalibrated = batchnorm and settings.get("aggregate", True)  # at the end: nothing uses the average before
    return round(training) + recalibrated * min(samples, RECALIBRATION_SAMPLES)


def fit_baseline(
    name: str,
    model: nn.Module,
    train: Any,
    val: Any = None,
    *,
    num_classes: int,
    epochs: int,
    lr: float | None,
    batch_size: int,
    optimizer: OptimizerFactory | None = None,
    seed: int = 0,
    augment: Callable[[Any], Any] | None = None,
    device: str | torch.device = "auto",
    on_epoch: Callable[[nn.Module, dict[str, float]], None] | None = None,
    clean_labels: Any = None,
    options: Mapping[str, Any] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    verbose: bool = False,
    **further: Any,
) -> CorrectionResult | PruneRetrainResult:
    """Train a classifier with a baseline of label-noise learning.

    Parameters
    ----------
    name : str
        One of :data:`BASELINES`.
    model : nn.Module
        Returns logits (N, K); it is copied, not changed. A method with two networks makes the second one: a copy whose
        layers are initialised anew.
    train, val : Dataset, pair of arrays, or DataLoader
        As for :meth:`SelfCorrector.fit <noisycorrect.SelfCorrector.fit>`.
    num_classes : int
        K, at least 2.
    epochs : int
        Epochs of the run; of ``"prune-retrain"``, of each of its trainings.
    lr : float or None
        Peak learning rate; None is the optimizer factory's own.
    batch_size : int
        Samples in a batch.
    optimizer : callable, optional
        As for :class:`~noisycorrect.SelfCorrector`. Default: SGD with momentum 0.9 and weight decay 5e-4;
        ``"ce-wa-aug"`` raises the weight decay of any optimizer to at least 1e-3.
    seed : int
        Seed of the run and of a second network.
    augment, device, on_epoch, clean_labels, verbose
        As for :class:`~noisycorrect.SelfCorrector`; ``"ce-wa-aug"`` needs `augment`. A second view for
        ``"dividemix"`` is an option of its own.
    options : mapping, optional
        The method's parameters. Default: the published ones; ``"coteaching"`` needs ``noise_rate``.
    run_dir : path-like, optional
        Folder of the run, which then goes on where it stopped, and which several ranks need; not for
        ``"prune-retrain"``, which is many runs.

    verbose : bool
        Show a progress bar, on a terminal only.
    **further
        Other arguments of :class:`~noisycorrect.SelfCorrector` (``num_workers``, ``collate_fn``, ``precision``, ...);
        none for ``"prune-retrain"``.

    Returns
    -------
    CorrectionResult or PruneRetrainResult
        The latter of ``"prune-retrain"``; both have ``model``, ``history`` and ``sample_passes``.

    Raises
    ------
    InvalidInputError
        If a name, an option or a setting is unknown, missing or out of range.

    Examples
    --------
    >>> inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    >>> labels = (inputs[:, 0] > 0).long()
    >>> run = dict(num_classes=2, epochs=3, lr=0.1, batch_size=16)
    >>> result = fit_baseline("gce", nn.Linear(5, 2), (inputs, labels), options={"q": 0.5}, **run)
    >>> result.sample_passes == baseline_passes("gce", 3, 64)
    True
    """
    baseline, options = baseline_named(name), options or {}
    if baseline.needs_augment and augment is None:
        fix = "pass augment(input) -> input; torch.nn.Identity() if the data set augments by itself"
        raise InvalidInputError(f"augment= with {name!r}", got="None", fix=fix)
    common: dict[str, Any] = {
        "num_classes": num_classes,
        "lr": lr,
        "batch_size": batch_size,
        "optimizer": _with_weight_decay(optimizer, baseline.weight_decay),
        "seed": seed,
        "augment": augment,
        "device": device,
        "on_epoch": on_epoch,
        "verbose": verbose,
    }
    if name == PRUNE_RETRAIN:
        baseline.check(options)
        for argument, value in {"run_dir": run_dir, "clean_labels": clean_labels, **further}.items():
            if value is not None:
                raise InvalidInputError(f"no {argument} with {name!r}", got="one", fix=f"leave {argument} out")
        return prune_retrain(model, train, val, epochs=epochs, **common, **options)
    objective, settings = baseline.make(whole_number("epochs", epochs, least=1), options)
    if objective.networks == 2:
        model = TwinNetworks.of(model, seed)
    settings = {**settings, **common, **further, "objective": objective, "run_dir": run_dir}
    corrector = SelfCorrector(model, preset="paper", **settings)
    return corrector.fit(train, val, clean_labels=clean_labels)


def _with_weight_decay(factory: OptimizerFactory | None, least: float) -> OptimizerFactory | None:
    if not least:
        return factory
    return functools.partial(_decayed, PAPER.optimizer if factory is None else factory, least)


def _decayed(factory: OptimizerFactory, least: float, *arguments: Any, **keywords: Any) -> Optimizer:
    """Make an optimizer, and raise its weight decay to `least` where it is lower."""
    optimizer = factory(*arguments, **keywords)
    for group in [*optimizer.param_groups, optimizer.defaults]:
        if "weight_decay" not in group:
            raise InvalidInputError(
                "an optimizer with weight decay", got=type(optimizer).__name__, fix="pass SGD, AdamW or another"
            )
        group["weight_decay"] = max(least, group["weight_decay"])
    return optimizer
