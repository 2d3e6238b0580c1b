"""Recipe: everything that says how a run trains and corrects, as one frozen value, and the table of all recipes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch.optim import SGD, Optimizer

from noisycorrect.correction.base import Correction
from noisycorrect.correction.cycle_end import AtCycleEnd
from noisycorrect.correction.in_training import EvidenceInTraining
from noisycorrect.cycle.averages import AtCycleEnds, Average, EveryStep
from noisycorrect.cycle.rates import CosineCycles, OneCosine
from noisycorrect.cycle.schedule import EpochCycles, OnePhase, Schedule, Shares, check_floor
from noisycorrect.objective import EarlyLearning, Objective, TaskLoss
from noisycorrect.support.checks import finite_number, set_field, whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.register import Register

OptimizerFactory = Callable[..., Optimizer]
_USUAL = {"accumulate": 1, "class_weight": None}


class Division(Protocol):
    """How epochs are divided into phases: a fixed :class:`~noisycorrect.Schedule`, or a way to divide a budget."""

    def divided(self, epochs: int | None) -> Schedule:
        """Return the schedule of a budget of epochs; None is the default budget."""
        ...


# The published code trains with momentum 0.9 and weight decay 5e-4 on every parameter.
PAPER_OPTIMIZER = functools.partial(SGD, momentum=0.9, weight_decay=5e-4)


@dataclass(frozen=True)
class Recipe:
    """Everything that says how a run trains and corrects. The defaults are the paper's (Li et al. 2020, sec. 4.1).

    Parts are values, too; :meth:`replace` exchanges some of them. A combination without meaning is an error.

    Parameters
    ----------
    schedule : Schedule, Shares, OnePhase or EpochCycles
        Lengths of the initial phase and of the cycles, or how a budget of epochs is divided.
    rates : CosineCycles or OneCosine
        How the learning rate goes.
    average : AtCycleEnds, EveryStep or None
        How the weights are averaged. None returns those of the last step.
    correction : Correction or None
        How predictions become refined labels: :class:`~noisycorrect.AtCycleEnd` (Eq. 7),
        :class:`~noisycorrect.OnlineCorrection`, :class:`~noisycorrect.CrossFitting`; None trains on given labels.
    objective : Objective
        What a step minimises.
    optimizer : callable
        ``optimizer(parameters, lr=lr)`` -> Optimizer, or ``optimizer(parameters)`` if `lr` is None. If its first
        argument is called ``model``, or annotated as a module, it gets the run's network: for rates by layer.
    lr : float or None
        Peak of the initial phase; None is the optimizer factory's own.
    batch_size : int
        Samples in a batch, over all ranks.
    accumulate : int
        Batches whose gradients make one step: a step is that of a batch of ``accumulate * batch_size`` samples, in the
        memory of one of `batch_size` (but BatchNorm sees the smaller ones). The last step of an epoch has what is left;
        the rate changes with the steps.
    epochs : int or None
        Default budget; None is 150, the paper's, or the sum of a fixed schedule.
    clip_grad_norm : float or None
        Largest norm of the gradient, > 0.
    weight_decay : float
        Least weight decay: that of the optimizer is raised to it.
    standardize : "auto" or None
        Whether inputs that are floating vectors, (N, F), are standardised feature by feature, by a module in front of
        the network that stays part of the result's model: :class:`~noisycorrect.data.standardize.Standardized`.
        Token ids and images are left as they are.
    class_weight : "balanced" or None
        What classes count in the loss, where the task says nothing of it: ``"balanced"`` counts rare ones more, as
        :meth:`Classification.balanced_by <noisycorrect.Classification.balanced_by>` has it; None all alike. A task that
        cannot weigh classes is left as it is.
    needs_augment : bool
        Whether the recipe is nothing without an augmentation.
    kinds : tuple of str
        Kinds of labels that it is for; empty for all.
    reference : str
        Author and year, title, arXiv number.

    Raises
    ------
    InvalidInputError
        If a part is of another type, out of range, or has no meaning beside another.

    Examples
    --------
    >>> RECIPES["paper"].replace(average=EveryStep(0.9)).average
    EveryStep(decay=0.9, recalibration=Recalibration(method='fast', samples=8192, inputs='augmented'))
    >>> RECIPES["paper"].schedule.divided(60)
    Schedule(init_epochs=40, cycles=5, cycle_epochs=4)
    """

    schedule: Division = field(default_factory=Shares)
    rates: CosineCycles | OneCosine = field(default_factory=CosineCycles)
    average: Average | None = field(default_factory=AtCycleEnds)
    correction: Correction | None = field(default_factory=AtCycleEnd)
    objective: Objective = field(default_factory=TaskLoss)
    optimizer: OptimizerFactory = PAPER_OPTIMIZER
    lr: float | None = 7e-3
    batch_size: int = 36
    accumulate: int = 1
    epochs: int | None = None
    clip_grad_norm: float | None = None
    weight_decay: float = 0.0
    standardize: str | None = None
    class_weight: str | None = None
    needs_augment: bool = False
    kinds: tuple[str, ...] = ()
    reference: str = ""

    def __post_init__(self) -> None:
        self._check_parts()
        if self.lr is not None:
            set_field(self, "lr", finite_number("lr", self.lr, above=0, fix="the paper's is 7e-3"))
            if self.lr == 0:
                raise InvalidInputError("lr > 0", got="0", fix="the paper's is 7e-3")
        set_field(self, "batch_size", whole_number("batch_size", self.batch_size, least=1))
        set_field(self, "accumulate", whole_number("accumulate", self.accumulate, least=1))
        if self.clip_grad_norm is not None:
            fix = "1.0 is common, None is off"
            norm = finite_number("clip_grad_norm", self.clip_grad_norm, above=0, fix=fix)
            if norm == 0:
                raise InvalidInputError("clip_grad_norm > 0 or None", got="0", fix=fix)
            set_field(self, "clip_grad_norm", norm)
        weight_decay = finite_number("weight_decay", self.weight_decay, above=0, fix="0 leaves the optimizer's")
        set_field(self, "weight_decay", weight_decay)
        if self.standardize is not None and (not isinstance(self.standardize, str) or self.standardize != "auto"):
            fix = '"auto" standardises inputs that are vectors, None leaves them as they are'
            raise InvalidInputError('standardize="auto" or None', got=repr(self.standardize), fix=fix)
        if self.class_weight is not None and self.class_weight != "balanced":
            fix = '"balanced" counts rare classes more, None all alike; weights of your own belong to the task'
            raise InvalidInputError('class_weight="balanced" or None', got=repr(self.class_weight), fix=fix)
        if not isinstance(self.kinds, tuple) or not all(isinstance(kind, str) for kind in self.kinds):
            fix = 'pass kinds=("classification",), or () for all'
            raise InvalidInputError("kinds to be a tuple of names", got=repr(self.kinds), fix=fix)
        self._check_combination()

        for part in (self.correction, self.objective):
            if part is not None:
                part.of_recipe()

    def _check_parts(self) -> None:
        parts: dict[str, tuple[Any, str]] = {
            "rates": (CosineCycles | OneCosine, "CosineCycles() or OneCosine()"),
            "average": (AtCycleEnds | EveryStep | None, "AtCycleEnds(), EveryStep() or None"),
            "correction": (Correction | None, "AtCycleEnd(), OnlineCorrection(), CrossFitting() or None"),
            "objective": (Objective, "an object, such as EarlyLearningRegularization(), not its name or class"),
        }
        for name, (kind, fix) in parts.items():
            if not isinstance(getattr(self, name), kind):
                got = repr(getattr(self, name))
                raise InvalidInputError(f"{name} of a recipe to be a part", got=got, fix=f"pass {fix}")
        if not callable(getattr(self.schedule, "divided", None)) or isinstance(self.schedule, type):
            fix = "pass Schedule(init_epochs, cycles, cycle_epochs), Shares(), OnePhase() or EpochCycles()"
            raise InvalidInputError("a schedule", got=repr(self.schedule), fix=fix)
        if not callable(self.optimizer) or isinstance(self.optimizer, Optimizer):
            raise InvalidInputError(
                "optimizer to be a factory, called with the parameters",
                got=repr(self.optimizer) if isinstance(self.optimizer, str) else type(self.optimizer).__name__,
                fix="pass torch.optim.AdamW, or functools.partial(torch.optim.SGD, momentum=0.9)",
            )

    def _check_combination(self) -> None:
        corrects = self.correction is not None and self.correction.teaches
        objective = type(self.objective).__name__
        if corrects and not self.objective.corrects:
            raise InvalidInputError(
                f"an objective that learns from what {type(self.correction).__name__} makes of each step",
                got=objective,
                fix="pass objective=TaskLoss() or EarlyLearning(), or correction=AtCycleEnd() or None",
            )
        if self.class_weight is not None and not self.objective.weighs:
            fix = "pass objective=TaskLoss() or EarlyLearning(), or class_weight=None"
            raise InvalidInputError("an objective that counts class weights", got=objective, fix=fix)
        views = 2 if isinstance(self.objective, EarlyLearning) and self.objective.consistency else 1
        if views > 1 and self.correction is not None and self.correction.networks > 1:
            fix = "pass EarlyLearning() without consistency, or correction=OnlineCorrection()"
            raise InvalidInputError("one network with consistency", got=type(self.correction).__name__, fix=fix)
        if isinstance(self.objective, EarlyLearning) and not isinstance(self.correction, EvidenceInTraining):
            raise InvalidInputError(
                "a correction with evidence in training beside EarlyLearning",
                got=type(self.correction).__name__,
                fix="pass correction=OnlineCorrection(), or objective=TaskLoss()",
            )
        self._check_schedule()

    def _check_schedule(self) -> None:
        if self.epochs is not None:
            self.divided()  # raises if the schedule has another length
        if self.lr is not None and self.rates.min_lr is not None:
            check_floor("lr", [self.lr], [self.rates.min_lr])
        fixed = self.schedule if isinstance(self.schedule, Schedule) else None
        if not isinstance(self.schedule, OnePhase) and (fixed is None or fixed.cycles):
            return
        got = repr(self.schedule)
        if self.correction is not None:
            fix = "pass schedule=Shares(), or correction=None"
            raise InvalidInputError("a schedule with cycles, at whose ends labels are refined", got=got, fix=fix)
        if isinstance(self.average, AtCycleEnds):
            fix = "pass schedule=Shares(), or average=EveryStep() or None"
            raise InvalidInputError("a schedule with cycles, at whose ends weights are averaged", got=got, fix=fix)
        if isinstance(self.rates, CosineCycles) and self.rates.cycle_lr is not None:
            raise InvalidInputError("no cycle_lr without cycles", got=got, fix="leave cycle_lr out")

    def replace(self, **parts: Any) -> Recipe:
        """Return the recipe with some parts exchanged.

        Raises
        ------
        InvalidInputError
            If a name is unknown, or the result has no meaning.
        """
        known = [part.name for part in dataclasses.fields(self)]
        for name in parts:
            if name not in known:
                raise unknown_name("part of a recipe", name, known)
        return dataclasses.replace(self, **parts)

    @property
    def networks(self) -> int:
        """How many networks are trained."""
        return max(self.objective.networks, 1 if self.correction is None else self.correction.networks)

    def divided(self, epochs: int | None = None) -> Schedule:
        """Return the schedule of a budget of epochs; the recipe's own by default."""
        return self.schedule.divided(self.epochs if epochs is None else epochs)

    def uses_average(self, *, cycle: int, last: bool, validated: bool) -> bool:
        """Return whether the end of a cycle does anything with the average, whose statistics are then made anew.

        Parameters
        ----------
        cycle : int
            0 is the initial phase, at whose end nothing is predicted.
        last : bool
            Whether the run ends with it.
        validated : bool
            Whether the run has a validation set. An average of every step is measured with the student's statistics.
        """
        if self.average is None:
            return False
        predicts = self.correction is not None and self.correction.predicts and cycle > 0
        at_ends = isinstance(self.average, AtCycleEnds) and (validated or self.average.restart == "aggregate")
        return last or predicts or at_ends

    def passes(
        self,
        samples: int,
        *,
        epochs: int | None = None,
        trained: int | None = None,
        layers: int = 1,
        prediction_passes: int = 1,
        vectors: bool = False,
        validated: bool = False,
        done: int | None = None,
        stopped: bool = False,
    ) -> int:
        """Return the sample passes of a run: forward 1, backward 2.

        Left out are validation, and the few looks at one batch that tell whether a run goes wrong.

        Parameters
        ----------
        samples : int
            N, training samples, unlabelled ones included.
        epochs : int, optional
            Whole budget. Default: the recipe's.
        trained : int, optional
            Samples that an epoch trains on: a last batch of one sample is left out. Default: N.
        layers : int
            BatchNorm layers of the network, whose statistics an average has estimated anew; 0 without any.
        prediction_passes : int
            Forward passes that the task takes to predict a sample.
        vectors : bool
            Whether inputs are vectors, which a correction can compare without the network.
        validated : bool
            Whether there is a validation set; see :meth:`uses_average`.
        done : int, optional
            Epochs done so far. Default: all.
        stopped : bool
            Whether the run was stopped after them.

        Raises
        ------
        InvalidInputError
            If a number is too small.

        Examples
        --------
        >>> from noisycorrect import RECIPES
        >>> RECIPES["elr"].passes(1000, epochs=60), RECIPES["ema"].passes(1000, epochs=60)
        (180000, 181000)
        """
        samples, layers = whole_number("samples", samples, least=1), whole_number("layers", layers, least=0)
        schedule, total = self.divided(epochs), 0.0
        done = schedule.epochs if done is None else whole_number("done", done, least=0)
        if done > schedule.epochs:
            raise InvalidInputError(f"done <= {schedule.epochs}, the epochs", got=str(done), fix="leave done out")
        correction = self.correction or Correction()
        for epoch in range(done):
            step = self.objective.passes(epoch, schedule.epochs) + correction.step_passes
            total += step * (samples if trained is None else trained)
            total += self.objective.set_predictions(epoch, schedule.epochs) * prediction_passes * samples
            total += 0 if vectors else correction.set_features(epoch, schedule.epochs) * samples
            last = epoch + 1 == (done if stopped else schedule.epochs)
            if not (schedule.ends_cycle(epoch) or last):
                continue
            cycle = schedule.cycle(epoch)
            if self.average is not None and self.uses_average(cycle=cycle, last=last, validated=validated):
                total += self.networks * self.average.recalibration.passes(samples, layers)
            if correction.predicts and cycle > 0:
                total += self.networks * prediction_passes * samples
        return round(total)

    def identity(self) -> dict[str, Any]:
        """Return plain values that a run and the run that resumes it must share, a part each."""
        correction = None if self.correction is None else self.correction.identity()
        # Only what is not usual, as checkpoints of before have it.
        more = {name: getattr(self, name) for name, usual in _USUAL.items() if getattr(self, name) != usual}
        return {
            "rates": repr(self.rates),
            "average": repr(self.average),
            "correction": correction,
            "objective": self.objective.identity(),
            "lr": self.lr,
            "batch_size": self.batch_size,
            "clip_grad_norm": self.clip_grad_norm,
            "weight_decay": self.weight_decay,
            "standardize": self.standardize,
            **more,
        }


class RecipeRegister(Register[Recipe]):
    """Recipes by name; ``"robust/segmentation"`` is what ``"robust"`` means for that kind of labels.

    Attributes
    ----------
    defaults : dict of str to str
        Which recipe wins for a kind of labels, by its name; ``"paper"`` for others.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.defaults: dict[str, str] = {}

    def of_kind(self, recipe: str | Recipe | None, kind: str) -> Recipe:
        """Return a recipe, that of a name, or the default one for a kind of labels.

        Raises
        ------
        InvalidInputError
            If there is none of that name, or it is for other kinds.
        """
        if recipe is None:
            recipe = self.defaults.get(kind, "paper")
        found: Any = recipe
        if isinstance(recipe, str):
            found = self[f"{recipe}/{kind}" if f"{recipe}/{kind}" in self else recipe]
        if not isinstance(found, Recipe):
            fix = 'pass a name such as "paper", or a Recipe'
            raise InvalidInputError("recipe to be a name or a Recipe", got=repr(recipe), fix=fix)
        if found.kinds and kind not in found.kinds:
            known = sorted({name.split("/")[0] for name in self._things if self._suits(name, kind)})
            own = next((name for name, other in self._things.items() if other is found), None)
            fix = f"pass one of {', '.join(map(repr, known))}, or a Recipe of your own with kinds=()"
            if own is not None and own.split("/")[0] in known:  # the same name is another recipe there
                name = own.split("/")[0]
                fix = f'pass recipe="{name}", the one of that kind, or RECIPES.of_kind("{name}", "{kind}")'
            raise InvalidInputError(
                f"a recipe for labels of the kind {kind!r}",
                got=f"{'a Recipe' if own is None else repr(own)}, which is for {', '.join(map(repr, found.kinds))}",
                fix=fix,
            )
        return found

    def _suits(self, name: str, kind: str) -> bool:
        other: Any = self._things[name]
        return isinstance(other, Recipe) and kind in (other.kinds or (kind,))


RECIPES = RecipeRegister(
    "recipe",
    group="noisycorrect.recipes",
    accepts=lambda thing: isinstance(thing, Recipe),
    expected="a Recipe object",
)
register_recipe = RECIPES.register

register_recipe(
    "paper", Recipe(reference="Li et al. 2020, Self-Correction for Human Parsing, arXiv:1910.09777, Algorithm 1")
)
PLAIN = Recipe(schedule=OnePhase(), average=None, correction=None, lr=0.05, batch_size=64)
register_recipe("ce", PLAIN.replace(reference="the task's own loss: nothing against noise"))
register_recipe(
    "ema",
    PLAIN.replace(
        average=EveryStep(),
        reference="Polyak and Juditsky 1992, Acceleration of Stochastic Approximation by Averaging, with exponential "
        "weights",
    ),
)
register_recipe(
    "swa",
    PLAIN.replace(
        schedule=EpochCycles(),
        average=AtCycleEnds(restart="student"),
        reference="Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization, "
        "arXiv:1803.05407",
    ),
)
