"""Every way to train that an experiment has a row for, and the sample passes that it takes.

The only module of the benchmarks that calls the training API of noisycorrect. Three tables, one entry a row:
:data:`LABEL_METHODS` for class labels, :data:`MASK_METHODS` for masks with injected noise, :data:`PARSING_METHODS` for
the paper's ablation. A pass is one sample forward (1) or backward (2) through one network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from benchmarks.lab.augmentation import strong_view
from noisycorrect import Schedule, SelfCorrector, Task
from noisycorrect.baselines import BASELINES, PRUNE_RETRAIN, baseline_passes, fit_baseline
from noisycorrect.classification import EarlyLearningRegularization
from noisycorrect.classification.methods.prune_retrain import PruneRetrainResult
from noisycorrect.correction.cross_fitting import CrossFittedNetworks, CrossFitting
from noisycorrect.correction.online import OnlineCorrection
from noisycorrect.objective import Objective
from noisycorrect.presets import PRESETS
from noisycorrect.result import CorrectionResult
from noisycorrect.support.errors import unknown_name
from noisycorrect.training.engine import Engine
from noisycorrect.training.run import Run
from noisycorrect.training.run_data import RunData
from noisycorrect.training.run_folder import open_run
from noisycorrect.training.settings import RunSettings

if TYPE_CHECKING:
    from noisycorrect_seg.task import HumanParsing

INPUT_DROPOUT = 0.2  # OnlineCorrection's default
TRAINING_PASSES = 3
Outcome = CorrectionResult | PruneRetrainResult


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes
    ----------
    label : str
        What it is, for reports.
    settings : mapping
        Arguments for :class:`noisycorrect.SelfCorrector`.
    objective : callable or None
        Makes the objective, where it is not that of the settings; called late, as some need Pillow.
    published : bool
        Whether it is a baseline of :data:`noisycorrect.baselines.BASELINES`, by its name.
    rival : bool
        Whether it is somebody else's, or made of somebody else's.
    ablation : bool
        Whether it is another method with a part left out or replaced.
    one_phase : bool
        Whether all epochs are one phase, without cycles.
    options : callable
        Makes a baseline's options from the true share of wrong labels.
    note : str or None
        What stands beside it in tables.
    """

    label: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    objective: Callable[[], Objective] | None = None
    published: bool = False
    rival: bool = False
    ablation: bool = False
    one_phase: bool = False
    options: Callable[[float], dict[str, Any]] = lambda rate: {}
    note: str | None = None

    @property
    def aggregates(self) -> bool:
        """Whether weights are averaged (Eq. 6)."""
        return bool(self.settings.get("aggregate", True))

    @property
    def refines(self) -> bool:
        """Whether labels are refined (Eq. 7)."""
        return bool(self.settings.get("refine", True))

    def arguments(self) -> dict[str, Any]:
        """Return the arguments for a corrector, the objective among them if it is the method's own."""
        return {**self.settings, **({} if self.objective is None else {"objective": self.objective()})}


PLAIN: dict[str, Any] = {"aggregate": False, "refine": False}
#: Parts of the robust preset left out, or others in their place: rows `robust-` and the name here.
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
LABEL_METHODS: dict[str, Method] = {name: Method(published=True, rival=True) for name in BASELINES}
# Clean labels have no rate that the method would take; at this one no sample of a batch is left out.
LABEL_METHODS["coteaching"] = Method(
    published=True, rival=True, options=lambda rate: {"noise_rate": max(rate, 1e-6)}, note="rate given"
)
# Not a published method: ELR's loss, lambda 7 (3 is published and worse here), with the averaging and the input dropout
# of the robust preset.
LABEL_METHODS["elr-ema-dropout"] = Method(
    settings={
        "objective": EarlyLearningRegularization(strength=7.0),
        "aggregation": "exponential",
        "lr_schedule": "cosine",
        "refine": False,
    },
    rival=True,
    note="control, lambda 7",
)
LABEL_METHODS |= {name: Method(settings={"preset": name}) for name in PRESETS}
LABEL_METHODS |= {
    f"robust-{part}": Method(settings={"preset": "robust", **changed}, ablation=True)
    for part, changed in ROBUST_ABLATIONS.items()
}
DEFAULT_METHODS = ["ce", "elr", "paper", "robust"]


def _pixel_early_learning() -> Objective:
    from noisycorrect_seg.methods import PixelEarlyLearning

    return PixelEarlyLearning(strength=1.0)


ADELE_SCALES = (0.7, 1.0)  # the enlarged copy of its paper alone would leave a quarter of the epochs


def _adaptive_early_learning() -> Objective:
    from noisycorrect_seg.methods import AdaptiveEarlyLearning

    return AdaptiveEarlyLearning(scales=ADELE_SCALES)


MASK_METHODS: dict[str, Method] = {
    "ce": Method("plain training with the task's loss", PLAIN, one_phase=True, rival=True),
    "elr": Method(
        "early-learning regularisation on pixels, lambda 1", PLAIN, _pixel_early_learning, one_phase=True, rival=True
    ),
    "adele": Method(
        f"adaptive early-learning correction, copies at {' and '.join(f'{scale:g}' for scale in ADELE_SCALES)}",
        PLAIN, _adaptive_early_learning, one_phase=True, rival=True,
    ),
    "paper": Method("self-correction, the paper's preset", {"preset": "paper"}),
    "robust": Method("self-correction, the robust preset", {"preset": "robust"}),
}  # fmt: skip
_CANONICAL, _BALANCED = {"recalibration_inputs": "canonical"}, {"trust": "class-balanced"}
PARSING_METHODS: dict[str, Method] = {
    "none": Method("plain training", PLAIN),
    "ma": Method("weights averaged", {"refine": False}),
    "lr": Method("labels refined", {"aggregate": False}),
    "both": Method("self-correction"),
    "both-cb": Method("self-correction, class-balanced trust", _BALANCED),
    "ma-canonical": Method("weights averaged, recalibrated on canonical inputs", {"refine": False, **_CANONICAL}),
    "both-canonical": Method("self-correction, recalibrated on canonical inputs", _CANONICAL),
    "both-cb-canonical": Method(
        "class-balanced trust, recalibrated on canonical inputs", {**_BALANCED, **_CANONICAL}
    ),
    "both-student": Method("self-correction, cycles go on from the student", {"restart": "student"}),
    "none-cosine": Method("plain training, one cosine", PLAIN, one_phase=True),
}  # fmt: skip
MASK_REFERENCE, PARSING_REFERENCE = "paper", "both"  # whose sample passes every row of these tables gets
MASK_OPTIMIZER = functools.partial(AdamW, weight_decay=1e-2)  # SGD learns less from scratch in so few steps


def check_method(name: str, known: Mapping[str, Method] = LABEL_METHODS, what: str = "method") -> None:
    """Raise an InvalidInputError if a table has no row of that name."""
    if name not in known:
        raise unknown_name(what, name, known)


def names_of(*, ablations: bool = True, resumable: bool = False) -> list[str]:
    """Return the methods for class labels, baselines first; pruning is many trainings, and cannot be resumed.

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


def preset_names() -> list[str]:
    """Return the rows of self-correction: one a preset."""
    return [name for name in names_of(ablations=False) if not LABEL_METHODS[name].rival]


def facts(name: str) -> dict[str, Any]:
    """Return what a result says of its method: ``networks``, how many it trains; ``baseline``; ``note``.

    Examples
    --------
    >>> facts("coteaching")
    {'networks': 2, 'baseline': True, 'note': 'rate given'}
    """
    method = LABEL_METHODS[name]
    return {"networks": _networks(name), "baseline": method.rival, "note": method.note}


def _networks(name: str) -> int:
    if LABEL_METHODS[name].published:
        return BASELINES[name].networks
    objective: Objective = LABEL_METHODS[name].settings.get("objective", Objective())  # that of a preset trains one
    return objective.networks


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
    on_epoch : callable or None
        ``on_epoch(model, record)`` after every epoch.
    device, run_dir, verbose
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
    on_epoch: Callable[[nn.Module, dict[str, float]], None] | None = None
    device: str | torch.device = "auto"
    run_dir: Path | None = None
    verbose: bool = False


_SHARED = ("num_classes", "epochs", "lr", "batch_size", "seed", "on_epoch", "device", "run_dir", "verbose")


def fit(name: str, training: Training) -> Outcome:
    """Train a method for class labels and return its result.

    Raises
    ------
    InvalidInputError
        If there is no method of that name.
    """
    check_method(name)
    method, augment = LABEL_METHODS[name], training.augment
    shared: dict[str, Any] = {key: getattr(training, key) for key in _SHARED}
    train = training.inputs, training.given
    if method.published:
        if augment is None and BASELINES[name].needs_augment:
            augment = training.own_augment
        options = method.options(training.noise_rate)
        return fit_baseline(name, training.model, train, augment=augment, options=options, **shared)
    if method.rival and augment is None:
        augment = functools.partial(F.dropout, p=INPUT_DROPOUT)
    model = training.model if _networks(name) == 1 else CrossFittedNetworks.of(training.model, training.seed)
    return SelfCorrector(model, **shared, augment=augment, **method.arguments()).fit(train)


def plain_predictions(training: Training, held_out: Tensor) -> tuple[Tensor, int]:
    """Train in the paper's way without its correction, and predict samples that were held out.

    Returns
    -------
    logits : Tensor, shape (M, K)
        On the CPU.
    passes : int
        Of training and predictions.
    """
    shared: dict[str, Any] = {key: getattr(training, key) for key in _SHARED}
    shared |= {"epochs": None, "init_epochs": training.epochs, "cycles": 0}
    corrector = SelfCorrector(training.model, preset="paper", **shared, **PLAIN)
    result = corrector.fit((training.inputs, training.given))
    device = next(result.model.parameters()).device
    with torch.no_grad():
        logits: Tensor = result.model(held_out.to(device))
    return logits.cpu(), result.sample_passes + len(held_out)


def mask_corrector(
    name: str, network: nn.Module, task: HumanParsing, *, epochs: int, **arguments: Any
) -> SelfCorrector:  # fmt: skip
    """Return a row of :data:`MASK_METHODS` as a corrector; `arguments` as for :class:`noisycorrect.SelfCorrector`."""
    method = MASK_METHODS[name]
    phases = {"init_epochs": epochs, "cycles": 0} if method.one_phase else {"epochs": epochs}
    arguments = {"optimizer": MASK_OPTIMIZER, "verbose": False, **phases, **method.arguments(), **arguments}
    return SelfCorrector(network, task=task, **arguments)


def parsing_corrector(name: str, network: nn.Module, task: HumanParsing, schedule: Schedule, **more: Any) -> Any:
    """Return a row of :data:`PARSING_METHODS` as a corrector; `more` as for :class:`noisycorrect.SelfCorrector`."""
    phases = dataclasses.asdict(schedule)
    return SelfCorrector(network, task=task, **phases, **PARSING_METHODS[name].arguments(), **more)


# ---------------------------------------------------------------- sample passes


def samples_an_epoch(samples: int, batch_size: int, ranks: int = 1) -> int:
    """Return how many samples an epoch trains on: a last batch that leaves a rank fewer than two is left out.

    Examples
    --------
    >>> samples_an_epoch(17, 8), samples_an_epoch(18, 8)
    (16, 18)
    """
    rest = samples % batch_size
    return samples - rest if samples > batch_size and rest < 2 * ranks else samples


def passes_of(corrector: SelfCorrector, samples: int, *, an_epoch: int | None = None, validated: bool = False) -> float:
    """Return the sample passes of a run, with BatchNorm in the network and validation left out.

    The objective's in each epoch; one a sample for recalibrating an average; the task's for predicting every training
    sample where labels are refined at the end of cycles.

    Parameters
    ----------
    corrector : SelfCorrector
        Its schedule, settings, objective and task.
    samples : int
        Of the training set.
    an_epoch : int, optional
        How many of them an epoch trains on; default: all.
    validated : bool
        Whether there is a validation set, for which the average is recalibrated.
    """
    schedule, settings, objective = corrector.schedule, corrector.settings, corrector.objective
    each = samples if an_epoch is None else an_epoch
    passes = sum(objective.passes(epoch, schedule.epochs) for epoch in range(schedule.epochs)) * each
    if settings.aggregate:
        times = schedule.cycles + 1 if corrector.uses_average(validated=validated) else 1
        passes += times * min(samples, settings.recalibration_samples or samples)
    if settings.refine and not objective.keeps_evidence:
        passes += schedule.cycles * corrector.task.prediction_passes * samples
    return passes


def label_passes(name: str, epochs: int, samples: int) -> int:
    """Return the sample passes of a row of :data:`LABEL_METHODS`; pruning is reckoned as if it kept all labels.

    Examples
    --------
    >>> label_passes("ce", 10, 100), label_passes("paper", 10, 100)
    (3000, 3700)
    """
    method = LABEL_METHODS[name]
    if method.published:
        return baseline_passes(name, epochs, samples, options=method.options(0.0))
    corrector = SelfCorrector(nn.Identity(), num_classes=2, epochs=epochs, verbose=False, **method.arguments())
    return round(passes_of(corrector, samples))


def mask_passes(name: str, epochs: int, samples: int, batch_size: int) -> float:
    """Return the sample passes of a row of :data:`MASK_METHODS`.

    Examples
    --------
    >>> mask_passes("ce", 10, 40, 8)
    1200.0
    """
    corrector = mask_corrector(name, nn.Identity(), _any_masks(), epochs=epochs, lr=1e-3, batch_size=batch_size)
    return passes_of(corrector, samples, an_epoch=samples_an_epoch(samples, batch_size), validated=True)


def parsing_passes(name: str, schedule: Schedule, samples: int, batch_size: int, *, ranks: int = 1) -> int:
    """Return the sample passes of a row of :data:`PARSING_METHODS`.

    Examples
    --------
    >>> [parsing_passes(name, Schedule(4, 2, 1), 100, 10) for name in ("none", "ma", "lr", "both")]
    [1800, 2100, 2000, 2300]
    """
    corrector = parsing_corrector(name, nn.Identity(), _any_masks(), schedule, batch_size=batch_size, verbose=False)
    return round(passes_of(corrector, samples, an_epoch=samples_an_epoch(samples, batch_size, ranks), validated=True))


@functools.cache
def _any_masks() -> HumanParsing:
    from noisycorrect_seg.task import HumanParsing

    return HumanParsing(["background", "person"], size=(8, 8))


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

    Baselines round up: they get the part of an epoch that is over. Self-correction rounds down.

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
    passes = functools.partial(label_passes, name, samples=samples)
    allowed = TRAINING_PASSES * budget * samples
    return most_epochs(passes, allowed, guess=budget, least=1, up=LABEL_METHODS[name].published)


def mask_epochs_at_equal_passes(name: str, budget: int, samples: int, batch_size: int) -> int:
    """Return a method's epochs at the sample passes of the paper's self-correction over `budget` epochs.

    A baseline rounds up: it gets the part of an epoch that is over. Self-correction rounds down.
    """
    if name == MASK_REFERENCE:
        return budget
    passes = functools.partial(mask_passes, name, samples=samples, batch_size=batch_size)
    allowed = mask_passes(MASK_REFERENCE, budget, samples, batch_size)
    return most_epochs(passes, allowed, guess=budget, least=2, up=MASK_METHODS[name].rival)


def schedule_at_equal_passes(name: str, schedule: Schedule, samples: int, batch_size: int, ranks: int = 1) -> Schedule:
    """Return a row's schedule at the sample passes of self-correction over `schedule`: a longer initial phase.

    Rounded up: a part of an epoch is given to the other method.

    Examples
    --------
    >>> schedule_at_equal_passes("none", Schedule(4, 2, 1), 100, 10)
    Schedule(init_epochs=6, cycles=2, cycle_epochs=1)
    """

    def passes(init_epochs: int) -> int:
        longer = dataclasses.replace(schedule, init_epochs=init_epochs)
        return parsing_passes(name, longer, samples, batch_size, ranks=ranks)

    allowed = parsing_passes(PARSING_REFERENCE, schedule, samples, batch_size, ranks=ranks)
    least = schedule.init_epochs
    longer = dataclasses.replace(schedule, init_epochs=most_epochs(passes, allowed, guess=least, least=least, up=True))
    return Schedule(longer.epochs, 0, 1) if PARSING_METHODS[name].one_phase else longer


# ---------------------------------------------------------------- a run, step by step


@contextlib.contextmanager
def correction_run(
    folder: Path, model: nn.Module, task: Task, train: Any, batch_size: int, recalibration_samples: int | None
) -> Iterator[Run]:
    """Yield a run in the paper's way, with cycles of ten epochs, on the CPU, whose steps are taken one by one.

    Parameters
    ----------
    folder : Path
        New run folder.
    model, task, train, batch_size, recalibration_samples
        As for :class:`noisycorrect.SelfCorrector`; `train` is a map-style data set.
    """
    settings = RunSettings(
        schedule=Schedule(init_epochs=1, cycles=1000, cycle_epochs=10), warmup_epochs=0, lr=0.01, cycle_lr=None,
        min_lr=None, batch_size=batch_size, lr_schedule="cyclical", aggregate=True, aggregation="equal",
        aggregation_decay=0.99, refine=True, restart="aggregate", evidence="mean", evidence_momentum=0.7, trust="paper",
        recalibration="fast", recalibration_samples=recalibration_samples, recalibration_inputs="augmented",
        num_workers=0, seed=0, keep_generations=2,
    )  # fmt: skip
    data = RunData.make(train, val=None, unlabeled=None, canonical=None, collate_fn=None)
    engine, optimizer = Engine(task, torch.device("cpu")), functools.partial(SGD, momentum=0.9)
    with open_run(model, engine, Objective(), optimizer, settings, data, folder, "auto") as run:
        yield run


def train_epoch(run: Run) -> None:
    """Train one more epoch of a run."""
    run.train_epoch(run.epoch, advance=lambda _: None)


def end_cycle(run: Run) -> None:
    """Do what a correction cycle adds to its epochs: average, recalibrate, refine, restart."""
    run.aggregate()
    run.recalibrate()
    run.refine()
    run.restart_from_aggregate()
