"""A recipe is a value: what has no meaning cannot be written down, or is refused."""

import copy
import dataclasses
import functools
import inspect
import pickle

import numpy as np
import pytest
import torch
from tiny_runs import CLASSES, blobs, corrector, network
from torch import nn
from torch.optim import SGD, AdamW

from noisycorrect import (
    RECIPES,
    AtCycleEnd,
    AtCycleEnds,
    Classification,
    Correction,
    CosineCycles,
    CrossFitting,
    EarlyLearning,
    EpochCycles,
    EveryStep,
    InvalidInputError,
    NeighborCorrection,
    Objective,
    OneCosine,
    OnePhase,
    OnlineCorrection,
    Recalibration,
    Recipe,
    Schedule,
    SelfCorrector,
    Shares,
    TaskLoss,
)
from noisycorrect.classification import GeneralizedCrossEntropy
from noisycorrect.classification.kind import ClassLabels
from noisycorrect_seg.kind import MaskLabels

PAPER, ROBUST, PLAIN = RECIPES["paper"], RECIPES["robust"], RECIPES["ce"]


def refused(message, recipe=PAPER, **parts):
    with pytest.raises(InvalidInputError, match=rf"expected .*{message}.*; to fix: "):
        recipe.replace(**parts)


# ---------------------------------------------------------------- values


def test_the_defaults_are_the_papers():
    recipe = Recipe()
    assert recipe.divided() == Schedule(init_epochs=100, cycles=5, cycle_epochs=10)
    assert (recipe.lr, recipe.batch_size, recipe.rates) == (7e-3, 36, CosineCycles())
    assert recipe.average == AtCycleEnds("aggregate", Recalibration("fast", 8192, "augmented"))
    assert recipe.correction.identity() == AtCycleEnd().identity()
    assert isinstance(recipe.objective, TaskLoss)
    (group,) = recipe.optimizer(nn.Linear(1, 1).parameters(), lr=recipe.lr).param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.9, 5e-4)


def test_a_recipe_is_frozen_and_replace_leaves_it_alone():
    changed = PAPER.replace(lr=0.5, average=None)
    assert (changed.lr, changed.average) == (0.5, None)
    assert (PAPER.lr, PAPER.average) == (7e-3, AtCycleEnds())
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPER.lr = 0.5


def test_a_recipe_goes_to_another_process():
    recipe = ROBUST.replace(lr=0.3)
    for made in (pickle.loads(pickle.dumps(recipe)), copy.deepcopy(recipe)):
        assert made.identity() == recipe.identity()


def test_numpys_numbers_become_plain_ones():
    recipe = PAPER.replace(lr=np.float32(0.5), batch_size=np.int64(8), clip_grad_norm=np.float64(1))
    assert [type(recipe.identity()[name]) for name in ("lr", "batch_size", "clip_grad_norm")] == [float, int, float]


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_divides_any_budget_and_says_where_it_is_from(name):
    recipe = RECIPES[name]
    assert [recipe.divided(epochs).epochs for epochs in (2, 3, 10, 60)] == [2, 3, 10, 60]
    assert recipe.reference


def test_what_is_passed_beside_a_recipe_goes_into_it():
    recipe = corrector(recipe="paper", epochs=12, lr=0.5, batch_size=7).recipe
    assert (recipe.epochs, recipe.lr, recipe.batch_size) == (12, 0.5, 7)
    assert corrector(recipe="paper", optimizer=AdamW, lr=None).recipe.lr is None  # the factory's own
    assert corrector(recipe="paper", lr=None).recipe.lr == 7e-3


# ---------------------------------------------------------------- parts of another type, numbers out of range


@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        ("schedule", 150, "a schedule; got 150"),
        ("schedule", Shares, "a schedule; got <class"),
        ("rates", "cosine", "rates of a recipe to be a part; got 'cosine'"),
        ("rates", None, "rates of a recipe to be a part; got None"),
        ("average", True, "average of a recipe to be a part; got True"),
        ("average", "exponential", "average of a recipe to be a part; got 'exponential'"),
        ("correction", OnlineCorrection, "correction of a recipe to be a part; got <class"),
        ("correction", False, "correction of a recipe to be a part; got False"),
        ("objective", "elr", "objective of a recipe to be a part; got 'elr'"),
        ("objective", EarlyLearning, "objective of a recipe to be a part; got <class"),
        ("objective", None, "objective of a recipe to be a part; got None"),
        ("optimizer", "adam", "a factory, called with the parameters; got 'adam'"),
        ("optimizer", SGD([torch.zeros(1)], lr=1.0), "a factory, called with the parameters; got SGD"),
        ("lr", 0, "lr > 0; got 0"),
        ("lr", float("nan"), "0 <= lr; got nan"),
        ("batch_size", 2.5, "batch_size to be a whole number >= 1; got 2.5"),
        ("epochs", 1, "epochs to be a whole number >= 2; got 1"),
        ("clip_grad_norm", 0, "clip_grad_norm > 0 or None; got 0"),
        ("clip_grad_norm", "1", "0 <= clip_grad_norm; got '1'"),
        ("weight_decay", -1e-4, "0 <= weight_decay; got -0.0001"),
        ("standardize", "always", "standardize=.auto. or None; got 'always'"),
        ("standardize", True, "standardize=.auto. or None; got True"),
    ],
)
def test_wrong_parts(part, wrong, message):
    refused(message, **{part: wrong})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AtCycleEnds(restart="aggregat"), "did you mean 'aggregate'"),
        (lambda: EveryStep(decay=1.0), "0 <= decay < 1; got 1.0"),
        (lambda: Recalibration(method="fsat"), "did you mean 'fast'"),
        (lambda: Recalibration(samples=1), "samples to be a whole number >= 2; got 1"),
        (lambda: Recalibration(inputs="canonicl"), "did you mean 'canonical'"),
    ],
)
def test_wrong_averages(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("avarage", "did you mean 'average'"),
        ("objectiv", "did you mean 'objective'"),
        ("refine", "Known: 'accumulate', 'average', 'batch_size'"),
    ],
)
def test_unknown_parts(name, hint):
    with pytest.raises(InvalidInputError, match=f"a known part of a recipe; got '{name}'; to fix: {hint}"):
        PAPER.replace(**{name: 1})


def test_an_objective_without_a_loss_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Objective()


# ---------------------------------------------------------------- combinations without effect


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (AtCycleEnds, {"decay": 0.9}),  # was aggregation_decay with equal weights
        (EveryStep, {"restart": "student"}),  # exponential averaging flipped restart
        (Recipe, {"restart": "student"}),  # had no effect without averaging
        (Recipe, {"recalibration": Recalibration()}),  # likewise
        (Recipe, {"trust": "agreement"}),  # had no effect without refinement
        (Recipe, {"momentum": 0.5}),  # likewise
        (OneCosine, {"cycle_lr": 0.1}),
        (TaskLoss, {"strong_augment": abs}),
    ],
)
def test_what_had_no_effect_has_no_place(make, settings):
    with pytest.raises(TypeError, match="a known argument|takes no arguments"):
        make(**settings)


def test_a_momentum_makes_evidence_exponential():
    """There is no momentum beside the mean of Eq. 7."""
    assert AtCycleEnd(momentum=0.5).evidence_rule == "exponential"
    assert AtCycleEnd().evidence_rule == "mean"
    assert "evidence" not in inspect.signature(AtCycleEnd).parameters


@pytest.mark.parametrize("average", [None, AtCycleEnds("student"), EveryStep(0.5)])
@pytest.mark.parametrize("correction", [None, AtCycleEnd(), OnlineCorrection()])
def test_averages_and_corrections_stand_for_themselves(average, correction):
    """Neither changes the other, as exponential averaging once did with restart."""
    recipe = PAPER.replace(average=average, correction=correction)
    assert recipe.average is average
    assert recipe.correction is correction


# ---------------------------------------------------------------- combinations without meaning


@pytest.mark.parametrize("correction", [None, Correction(), AtCycleEnd()])
def test_early_learning_needs_evidence_in_training(correction):
    got = type(correction).__name__
    refused(f"evidence in training beside EarlyLearning; got {got}", correction=correction, objective=EarlyLearning())


@pytest.mark.parametrize("correction", [OnlineCorrection(), CrossFitting()])
def test_a_published_objective_learns_nothing_from_correction_in_training(correction):
    name = type(correction).__name__
    message = f"an objective that learns from what {name} makes of each step; got GeneralizedCrossEntropy"
    refused(message, correction=correction, objective=GeneralizedCrossEntropy())
    assert PAPER.replace(objective=GeneralizedCrossEntropy()).correction.predicts


WITHOUT_CYCLES = [OnePhase(), Schedule(init_epochs=4, cycles=0, cycle_epochs=1)]


@pytest.mark.parametrize("schedule", WITHOUT_CYCLES)
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"correction": AtCycleEnd()}, "at whose ends labels are refined"),
        ({"correction": OnlineCorrection()}, "at whose ends labels are refined"),
        ({"average": AtCycleEnds()}, "at whose ends weights are averaged"),
        ({"rates": CosineCycles(cycle_lr=0.01)}, "no cycle_lr without cycles"),
    ],
)
def test_without_cycles_nothing_happens_at_their_ends(schedule, parts, message):
    refused(f"{message}; got {type(schedule).__name__}", PLAIN, schedule=schedule, **parts)
    assert PLAIN.replace(schedule=schedule, average=EveryStep()).average == EveryStep()


@pytest.mark.parametrize("rates", [CosineCycles(min_lr=0.1), OneCosine(min_lr=0.1)])
def test_a_floor_above_the_peak(rates):
    refused("lr >= min_lr; got lr=0.007, min_lr=0.1", rates=rates)
    assert PAPER.replace(rates=rates, lr=0.1).rates is rates
    with pytest.raises(InvalidInputError, match=r"lr >= min_lr; got lr=0.02, min_lr=0.1"):
        corrector(recipe=PAPER.replace(rates=rates, lr=0.1), lr=0.02)


def test_a_floor_above_the_peak_of_an_optimizer_of_its_own():
    """Only the optimizer knows its rate, when it is made."""
    inputs, given, _ = blobs(60)
    recipe = PAPER.replace(rates=CosineCycles(min_lr=0.1), optimizer=functools.partial(SGD, lr=0.05), lr=None)
    with pytest.raises(InvalidInputError, match=r"lr >= min_lr; got lr=0.05, min_lr=0.1; to fix: raise lr or lower"):
        corrector(recipe=recipe, epochs=4, lr=None).fit((inputs, given))


def test_another_length_than_the_schedules():
    refused(r"epochs=7, the sum of Schedule\(.*\); got epochs=8", schedule=Schedule(3, 2, 2), epochs=8)
    assert PAPER.replace(schedule=Schedule(3, 2, 2), epochs=7).divided() == Schedule(3, 2, 2)
    assert PAPER.replace(epochs=60).divided() == Schedule(40, 5, 4)
    assert PAPER.replace(epochs=60).divided(30).epochs == 30


# ---------------------------------------------------------------- kinds of labels


class TokenLabels(ClassLabels):
    """Labels of a kind that no recipe was made for."""

    name = "tokens"


class Tokens(Classification):
    kind = TokenLabels


class Masks(Classification):
    kind = MaskLabels


def test_a_recipe_of_another_kind():
    message = "of the kind 'tokens'; got 'robust', which is for 'classification'; to fix: pass one of .*'paper'"
    with pytest.raises(InvalidInputError, match=message):
        SelfCorrector(network(), task=Tokens(CLASSES), recipe="robust")
    message = "of the kind 'tokens'; got a Recipe, which is for 'classification'; to fix: .*kinds="
    with pytest.raises(InvalidInputError, match=message):
        SelfCorrector(network(), task=Tokens(CLASSES), recipe=ROBUST.replace(batch_size=3))
    with pytest.raises(
        InvalidInputError, match="of the kind 'classification'; got 'adele', which is for 'segmentation'"
    ):
        SelfCorrector(network(), num_classes=CLASSES, recipe="adele")
    assert SelfCorrector(network(), task=Tokens(CLASSES), recipe=ROBUST.replace(kinds=())).recipe.kinds == ()
    assert SelfCorrector(network(), task=Tokens(CLASSES), recipe="paper").recipe.correction.predicts


def test_what_would_have_no_effect_or_no_sense_is_refused():
    shift = torch.nn.Identity()
    for options in ({"strong_augment": shift}, {"consistency": 1.0}, {"consistency": 1.0, "strong_augment": "flip"}):
        with pytest.raises(InvalidInputError, match="both consistency and strong_augment"):
            EarlyLearning(**options)
    two = EarlyLearning(consistency=1.0, strong_augment=shift)
    with pytest.raises(InvalidInputError, match="one network with consistency; got CrossFitting"):
        ROBUST.replace(correction=CrossFitting(), objective=two)
    short = RECIPES["paper"].replace(schedule=EpochCycles(), average=AtCycleEnds(restart="student"))
    with pytest.raises(InvalidInputError, match="a cycle, at whose end labels are refined"):
        SelfCorrector(network(), num_classes=CLASSES, recipe=short, epochs=1)
    with pytest.raises(InvalidInputError, match="kinds to be a tuple of names; got 'classification'"):
        ROBUST.replace(kinds="classification")
    for name, value in {"done": 99, "layers": -1, "samples": 0}.items():
        with pytest.raises(InvalidInputError, match=name):
            RECIPES["ce"].passes(**{"samples": 10, "epochs": 2, name: value})


def test_an_optimizer_of_other_parameters_is_refused():
    model = network()
    with pytest.raises(InvalidInputError, match="got parameters of another model"):
        corrector(model=model, optimizer=lambda parameters, lr: SGD(model.parameters(), lr=lr)).fit(blobs()[:2])


def test_a_factory_that_takes_no_rate_is_refused():
    with pytest.raises(InvalidInputError, match=r"optimizer\(parameters, lr=0.1\) to work; got .*lr"):
        corrector(optimizer=lambda parameters: SGD(parameters, lr=0.1)).fit(blobs()[:2])


def test_a_loss_without_a_gradient_is_refused():
    class Vector(TaskLoss):
        def loss(self, model, batch, correction):
            return super().loss(model, batch, correction).repeat(3)

    class Detached(TaskLoss):
        def loss(self, model, batch, correction):
            return super().loss(model, batch, correction).detach()

    for objective, got in ((Vector(), r"shape \(3,\)"), (Detached(), ".*without a gradient")):
        recipe = RECIPES["ce"].replace(objective=objective)
        with pytest.raises(InvalidInputError, match=f"a scalar loss with a gradient from .*; got {got}"):
            SelfCorrector(network(), num_classes=CLASSES, recipe=recipe, epochs=2).fit(blobs()[:2])


class OwnLabels(ClassLabels):
    name = "own"


class Own(Classification):
    kind = OwnLabels


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("classification", "robust"),
        (Classification(CLASSES), "robust"),
        ("multilabel", "paper"),
        ("tokens", "paper"),
        (Tokens(CLASSES), "paper"),
        (Masks(CLASSES), "robust"),
        (Own(CLASSES), "paper"),
    ],
    ids=["a name", "classes", "multilabel", "a name of tokens", "tokens", "masks", "a kind of one's own"],
)
def test_the_default_is_the_one_that_wins_for_the_kind(task, name):
    corrector = SelfCorrector(network(), task=task, num_classes=CLASSES)
    assert corrector.recipe == SelfCorrector(network(), task=task, num_classes=CLASSES, recipe=name).recipe
    assert corrector.recipe.identity() == RECIPES.of_kind(name, corrector.task.kind.name).identity()


def test_what_the_robust_recipe_is_made_of():
    assert isinstance(ROBUST.correction, NeighborCorrection)
    assert isinstance(ROBUST.objective, EarlyLearning)
    assert (ROBUST.average, ROBUST.standardize, ROBUST.kinds) == (EveryStep(), "auto", ("classification",))


def test_one_name_means_what_suits_the_kind():
    assert RECIPES.of_kind("robust", "segmentation").correction.predicts
    assert RECIPES.of_kind("robust", "classification") is ROBUST
    assert RECIPES.of_kind(ROBUST, "classification") is ROBUST
    assert SelfCorrector(network(), task=Masks(2), recipe="robust").recipe.correction.predicts


def test_swa_is_its_authors_schedule():
    recipe = RECIPES["swa"]
    assert recipe.schedule == EpochCycles(0.75)
    assert recipe.average.restart == "student"
