"""Every way to train on class labels that an experiment has a row for, and its epochs at equal sample passes.

A row is a recipe, or pruning and retraining. A pass is one sample forward (1) or backward (2) through one network.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect import (
    RECIPES,
    AtCycleEnd,
    Callback,
    CrossFitting,
    EarlyLearning,
    EveryStep,
    NeighborCorrection,
    Objective,
    OneCosine,
    OnlineCorrection,
    Progress,
    Recipe,
    SelfCorrector,
    TaskLoss,
    prune_retrain,
)
from noisycorrect.classification import CoTeaching, EarlyLearningRegularization
from noisycorrect.classification.methods.prune_retrain import PruneRetrainResult, prune_retrain_passes
from noisycorrect.recipe import OptimizerFactory
from noisycorrect.result import CorrectionResult
from noisycorrect.support.errors import unknown_name
from noisycorrect.training.run import Run

INPUT_DROPOUT = 0.2  # OnlineCorrection's default
TRAINING_PASSES = 3
PRUNE_RETRAIN = "prune-retrain"
QUIET = Progress(enabled=False)
Outcome = CorrectionResult | PruneRetrainResult


@dataclass(frozen=True)
class Method:
    """A row for class labels.

    Attributes
    ----------
    recipe : Recipe or None
        None is :func:`noisycorrect.prune_retrain`.
    ablation : bool
        Whether it is another method with a part left out or replaced.
    control : bool
        Whether it is a published loss with our averaging and input dropout, at no more than the budget.
    objective : callable or None
        Makes the objective from the true share of wrong labels, where the method has to be told.
    note : str or None
        What stands beside it in tables.
    """

    recipe: Recipe | None
    ablation: bool = False
    control: bool = False
    objective: Callable[[float], Objective] | None = None
    note: str | None = None

    @property
    def rival(self) -> bool:
        """Whether it is somebody else's, or made of somebody else's: it corrects no labels."""
        return self.recipe is None or self.recipe.correction is None

    @property
    def published(self) -> bool:
        """Whether it is somebody else's as it was published."""
        return self.rival and not self.control

    @property
    def networks(self) -> int:
        """How many networks it trains."""
        return 1 if self.recipe is None else self.recipe.networks

    def passes(self, samples: int, epochs: int) -> int:
        """Return the sample passes of a run; pruning is reckoned as if it kept all labels.

        Examples
        --------
        >>> LABEL_METHODS["ce"].passes(100, 10), LABEL_METHODS["paper"].passes(100, 10)
        (3000, 3700)
        """
        if self.recipe is None:
            return prune_retrain_passes(samples, epochs)
        return self.recipe.passes(samples, epochs=epochs)


PAPER, ROBUST = RECIPES["paper"], RECIPES["robust"]
#: The robust recipe with parts left out, or others in their place: rows `robust-` and the name here.
ROBUST_ABLATIONS: dict[str, Recipe] = {
    "no-averaging": ROBUST.replace(average=None),
    "no-early-learning": ROBUST.replace(objective=EarlyLearning(0.0)),
    "all-doubted": ROBUST.replace(correction=NeighborCorrection(clean_rate=0.0, noisy_rate=1e-9)),
    "no-share": ROBUST.replace(correction=NeighborCorrection(share=0.0)),
    "no-neighbors": ROBUST.replace(correction=OnlineCorrection(start=0.1, input_dropout=0.0)),
    "no-standardizing": ROBUST.replace(standardize=None),
    "classes-alike": ROBUST.replace(class_weight=None),
    "few-rounds": ROBUST.replace(correction=NeighborCorrection(most_rounds=3)),
    "neighbors-10": ROBUST.replace(correction=NeighborCorrection(neighbors=10)),
    "neighbors-40": ROBUST.replace(correction=NeighborCorrection(neighbors=40)),
    "cross-fitted": ROBUST.replace(correction=CrossFitting(), objective=EarlyLearning(3.0)),
    "cycle-evidence": ROBUST.replace(
        correction=AtCycleEnd(momentum=0.7, trust="agreement"), objective=TaskLoss()
    ),
}  # fmt: skip
LABEL_METHODS: dict[str, Method] = {
    name: Method(recipe)
    for name, recipe in RECIPES.items()
    if "/" not in name and recipe.correction is None and recipe.kinds in ((), ("classification",))
}
# Clean labels have no rate that the method would take; at this one no sample of a batch is left out.
LABEL_METHODS["coteaching"] = Method(
    RECIPES["coteaching"], objective=lambda rate: CoTeaching(noise_rate=max(rate, 1e-6)), note="rate given"
)
LABEL_METHODS[PRUNE_RETRAIN] = Method(None)
# Not a published method: ELR's loss, lambda 7 (3 is published and worse here), with the averaging and the input dropout
# of the robust recipe.
LABEL_METHODS["elr-ema-dropout"] = Method(
    PAPER.replace(
        objective=EarlyLearningRegularization(strength=7.0), average=EveryStep(), rates=OneCosine(), correction=None
    ),
    control=True,
    note="control, lambda 7",
)
LABEL_METHODS |= {"paper": Method(PAPER), "robust": Method(ROBUST)}
LABEL_METHODS |= {f"robust-{part}": Method(recipe, ablation=True) for part, recipe in ROBUST_ABLATIONS.items()}
DEFAULT_METHODS = ["ce", "elr", "paper", "robust"]


def check_method(name: str, known: Mapping[str, Any] = LABEL_METHODS, what: str = "method") -> None:
    """Raise an InvalidInputError if a table has no row of that name."""
    if name not in known:
        raise unknown_name(what, name, known)


def names_of(*, ablations: bool = True, resumable: bool = False) -> list[str]:
    """Return the methods for class labels, published ones first; pruning is many trainings, and cannot be resumed.

    Examples
    --------
    >>> names_of()[0], PRUNE_RETRAIN in names_of(resumable=True)
    ('ce', False)
    """
    return [
        name
        for name, method in LABEL_METHODS.items()
        if (ablations or not method.ablation) and not (resumable and name == PRUNE_RETRAIN)
    ]


def correcting_names() -> list[str]:
    """Return the rows of self-correction: one a recipe.

    Examples
    --------
    >>> correcting_names()
    ['paper', 'robust']
    """
    return [name for name in names_of(ablations=False) if not LABEL_METHODS[name].rival]


def facts(name: str) -> dict[str, Any]:
    """Return what a result says of its method: ``networks``, how many it trains; ``baseline``; ``note``.

    Examples
    --------
    >>> facts("coteaching")
    {'networks': 2, 'baseline': True, 'note': 'rate given'}
    """
    method = LABEL_METHODS[name]
    return {"networks": method.networks, "baseline": method.rival, "note": method.note}


# ---------------------------------------------------------------- training


@dataclass(frozen=True, eq=False)
class Training:
    """What all methods for class labels are given alike.

    Attributes
    ----------
    model : nn.Module
        The network, with its initial weights.
    inputs, given : Tensor, shape (N, ...); array of int64, shape (N,)
        Training samples and their noisy labels.
    num_classes, epochs, lr, batch_size, seed
        As for :class:`noisycorrect.SelfCorrector`; for epochs see :func:`epochs_at_equal_passes`.
    noise_rate : float
        True share of wrong labels, for the methods that have to be told.
    augment, own_augment : callable or None
        What every method trains with; what only a method does that consists in augmentation, where the others have
        none.
    callbacks, device, run_dir, optimizer
        As for :class:`noisycorrect.SelfCorrector`.
    """

    model: nn.Module
    inputs: Tensor
    given: Any
    num_classes: int
    epochs: int
    lr: float
    batch_size: int
    seed: int
    noise_rate: float = 0.0
    augment: Callable[[Tensor], Tensor] | None = None
    own_augment: Callable[[Tensor], Tensor] | None = None
    callbacks: Sequence[Callback] = (QUIET,)
    device: str | torch.device = "auto"
    run_dir: Path | None = None
    optimizer: OptimizerFactory | None = None


_SHARED = ("num_classes", "epochs", "lr", "batch_size", "seed", "callbacks", "device", "optimizer")


def fit(name: str, training: Training) -> Outcome:
    """Train a method for class labels and return its result.

    Raises
    ------
    InvalidInputError
        If there is no method of that name.
    """
    check_method(name)
    return fit_row(LABEL_METHODS[name], training)


def fit_row(method: Method, training: Training) -> Outcome:
    """Train a row, be it in a table or not, and return its result."""
    shared: dict[str, Any] = {key: getattr(training, key) for key in _SHARED}
    train = training.inputs, training.given
    recipe, augment = method.recipe, training.augment
    if recipe is None:
        return prune_retrain(training.model, train, augment=augment, **shared)
    if method.objective is not None:
        recipe = recipe.replace(objective=method.objective(training.noise_rate))
    if augment is None and recipe.needs_augment:
        augment = training.own_augment
    if augment is None and method.control:
        augment = functools.partial(F.dropout, p=INPUT_DROPOUT)
    return SelfCorrector(training.model, recipe=recipe, augment=augment, run_dir=training.run_dir, **shared).fit(train)


class EpochWatcher(Callback, ABC):
    """Sees the model after every epoch, and the finished one where a cycle ends with it.

    That is once the epoch's state is written, so a process that ends here loses nothing.
    """

    @abstractmethod
    def see(self, model: nn.Module, epoch: int) -> None:
        """See the model when so many epochs are done."""

    def on_checkpoint(self, run: Run) -> None:
        """Show the average where each step counts in it, else the model in training."""
        self.see(run.model if isinstance(run.recipe.average, EveryStep) else run.student, run.epoch)


def passes_before_training(result: Outcome) -> int:
    """Return the sample passes that a run made before the first epoch of the training that it returns the model of.

    Pruning needs predictions of other networks first.
    """
    return int(result.history[-2]["sample_passes"]) if isinstance(result, PruneRetrainResult) else 0


# ---------------------------------------------------------------- equal passes


def most_epochs(passes: Callable[[int], float], allowed: float, *, guess: int, least: int, up: bool) -> int:
    """Return the most epochs, at least `least`, whose passes are allowed; with `up`, the part of an epoch that is over.

    Examples
    --------
    >>> [most_epochs(lambda epochs: 3 * epochs, 20, guess=9, least=1, up=up) for up in (False, True)]
    [6, 7]
    """
    epochs = max(least, guess)
    while epochs > least and passes(epochs) > allowed:
        epochs -= 1
    while passes(epochs + 1) <= allowed:
        epochs += 1
    return epochs + (up and passes(epochs) < allowed)


def epochs_at_equal_passes(name: str, budget: int, samples: int) -> int:
    """Return how many epochs a method may train for the sample passes of plain training over `budget` epochs.

    Published methods round up: they get the part of an epoch that is over. Self-correction rounds down.

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
    return epochs_of(LABEL_METHODS[name], budget, samples)


def epochs_of(method: Method, budget: int, samples: int) -> int:
    """Return how many epochs of a row, be it in a table or not, make the sample passes that plain training makes."""
    allowed = TRAINING_PASSES * budget * samples
    return most_epochs(functools.partial(method.passes, samples), allowed, guess=budget, least=1, up=method.published)
