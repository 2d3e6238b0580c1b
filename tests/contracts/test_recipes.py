"""What every recipe must do; a new one joins by being registered, a new kind of labels by an entry in KINDS."""

from __future__ import annotations

import copy
import functools
import json
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from announced import announce
from squares import Squares
from torch import nn
from watching import QUIET, Kill

from noisycorrect import RECIPES, Classification, EveryStep, Objective, Recipe, Schedule, SelfCorrector
from noisycorrect.classification import CoTeaching
from noisycorrect.cycle.recalibrate import batchnorm_layers
from noisycorrect.recipe import PLAIN
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import HumanParsing, ParsingDataset, ParsingLoss

EPOCHS, KILLED = 6, 4
# What a recipe needs to be told before it can be used at all.
NEEDS = {"coteaching": {"objective": CoTeaching(noise_rate=0.3)}}


class ClassLabels:
    """Class labels: 24 vectors of three classes."""

    count = 24
    task = Classification(3)

    def network(self):
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))

    def data(self):
        labels = torch.arange(self.count) % 3
        inputs = torch.randn(self.count, 4, generator=torch.Generator().manual_seed(0)) + 2 * F.one_hot(labels, 4)
        return inputs, torch.where(torch.arange(self.count) % 5 == 0, (labels + 1) % 3, labels)

    def logits(self, model):
        return model(self.data()[0])


class Masks:
    """Masks: six drawn images of three classes."""

    count = 6
    task = HumanParsing(Squares.classes, size=(16, 12), loss=ParsingLoss(edge=False, consistency=False))

    def network(self):
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1)
        )

    def data(self):
        return ParsingDataset(Squares(), (16, 12), augment=True)

    def logits(self, model):
        return model(torch.stack([self.data().canonical()[index]["image"] for index in range(self.count)]))


KINDS = {kind.task.kind.name: kind for kind in (ClassLabels(), Masks())}
NAMES = sorted({name.split("/")[0] for name in RECIPES})


def recipe_of(name, kind):
    return RECIPES.of_kind(name, kind).replace(**NEEDS.get(name, {}))


def suits(name, kind):
    try:
        RECIPES.of_kind(name, kind)
    except InvalidInputError:
        return False
    return True


PAIRS = [(name, kind) for kind in KINDS for name in NAMES]
every = pytest.mark.parametrize(("name", "kind"), [pair for pair in PAIRS if suits(*pair)])
others = pytest.mark.parametrize(("name", "kind"), [pair for pair in PAIRS if not suits(*pair)])


def shifted(inputs):
    return inputs + 0.1 * torch.randn_like(inputs)


def fit(recipe, kind, *, run_dir=None, killed=None):
    made = KINDS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = made.network()
    corrector = SelfCorrector(
        model, task=made.task, recipe=recipe, epochs=EPOCHS, lr=0.05, batch_size=made.count // 3, seed=2,
        augment=shifted if recipe.needs_augment else None, callbacks=[QUIET, Kill(killed)], run_dir=run_dir,
    )  # fmt: skip
    return corrector.fit(made.data(), made.data())


@functools.cache
def whole(name, kind):
    """Return the uninterrupted run, which several tests look at."""
    return fit(recipe_of(name, kind), kind)


def outcome(result):
    """Return all that a run comes to, as plain values."""
    labels = result.labels.labels()
    return {
        "model": {name: value.tolist() for name, value in result.model.state_dict().items()},
        "labels": [np.asarray(label).tolist() for label in labels],
        "refined": [row.tolist() for row in result.labels.refined()],
        "history": [
            {name: None if math.isnan(value) else value for name, value in record.items() if name != "seconds"}
            for record in result.history
        ],
        "passes": result.sample_passes,
    }


def parts_of(recipe):
    return {name: copy.deepcopy(vars(part)) for name, part in vars(recipe).items() if hasattr(part, "identity")}


def test_every_kind_of_a_recipe_is_under_contract():
    for name, recipe in RECIPES.items():
        assert set(recipe.kinds) <= set(KINDS)
        if "/" in name:
            assert recipe.kinds == (name.split("/")[1],)


@every
def test_it_runs_and_its_result_is_whole(name, kind):
    result, made = whole(name, kind), KINDS[kind]
    assert not result.model.training
    logits = made.logits(result.model)
    assert logits.shape[:2] == (made.count, made.task.num_classes)
    assert torch.isfinite(logits).all()
    assert result.history[-1]["epoch"] == EPOCHS
    assert all(math.isfinite(record["loss"]) for record in result.history)
    assert f"val_{made.task.main_metric}" in result.history[-1]
    assert len(result.labels) == made.count
    assert (result.labels.generation > 0) == (recipe_of(name, kind).correction is not None)


@every
def test_two_runs_of_one_recipe_are_one_and_leave_it_as_it_was(name, kind):
    recipe = recipe_of(name, kind)
    before, identity = parts_of(recipe), recipe.identity()
    again = fit(recipe, kind)
    assert parts_of(recipe) == before
    assert recipe.identity() == identity
    assert outcome(again) == outcome(whole(name, kind))


@every
def test_a_run_that_was_killed_goes_on_bit_for_bit(name, kind, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(recipe_of(name, kind), kind, run_dir=tmp_path, killed=KILLED)
    assert outcome(fit(recipe_of(name, kind), kind, run_dir=tmp_path)) == outcome(whole(name, kind))


@every
def test_it_foretells_its_cost(name, kind):
    result, made, recipe = whole(name, kind), KINDS[kind], recipe_of(name, kind)
    foretold = functools.partial(
        recipe.passes, made.count, epochs=EPOCHS, layers=batchnorm_layers(made.network()), validated=True,
        prediction_passes=made.task.prediction_passes, vectors=kind == "classification",
    )  # fmt: skip
    assert [record["sample_passes"] for record in result.history] == [
        foretold(done=record["epoch"]) for record in result.history
    ]
    assert result.sample_passes == foretold() == result.history[-1]["sample_passes"]
    assert foretold() >= 3 * EPOCHS * made.count


@every
def test_it_says_where_it_comes_from_and_what_it_is(name, kind):
    recipe = recipe_of(name, kind)
    assert len(recipe.reference) > 20
    identity = recipe.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert pickle.loads(pickle.dumps(recipe)).identity() == copy.deepcopy(recipe).identity() == identity
    same = [other for other in NAMES if suits(other, kind) and recipe_of(other, kind).identity() == identity]
    assert same == [name]


@every
def test_its_parts_can_be_exchanged(name, kind):
    recipe = recipe_of(name, kind)
    other = recipe.replace(average=EveryStep(0.5), clip_grad_norm=1.0)
    assert other.average == EveryStep(0.5)
    assert recipe.average != EveryStep(0.5)
    assert other.identity() != recipe.identity()
    assert (other.objective, other.correction) == (recipe.objective, recipe.correction)


@others
def test_another_kind_of_labels_is_refused(name, kind):
    made = KINDS[kind]
    recipe = RECIPES[name]
    expected = rf"expected a recipe for labels of the kind '{kind}'; got '{name}', which is for .*; to fix: pass one of"
    for asked in (name, recipe):
        with pytest.raises(InvalidInputError, match=expected) as refused:
            SelfCorrector(made.network(), task=made.task, recipe=asked, augment=shifted)
        assert "'paper'" in str(refused.value)
        assert f"'{name}'" not in str(refused.value).split("to fix")[1]


def test_what_a_name_means_for_one_kind_is_refused_for_another():
    with pytest.raises(InvalidInputError, match="got 'robust/segmentation', which is for 'segmentation'"):
        SelfCorrector(nn.Linear(2, 2), num_classes=2, recipe="robust/segmentation")
    fix = r"""to fix: pass recipe="robust", .* or RECIPES\.of_kind\("robust", "segmentation"\)"""
    with pytest.raises(InvalidInputError, match=fix):
        RECIPES.of_kind(RECIPES["robust"], "segmentation")
    changed = RECIPES["robust/segmentation"].replace(batch_size=3)
    with pytest.raises(InvalidInputError, match="got a Recipe, which is for 'segmentation'"):
        SelfCorrector(nn.Linear(2, 2), num_classes=2, recipe=changed)


class Halved(Objective):
    """An objective of another package: half of the task's loss."""

    def loss(self, model, batch, correction):
        return self.setup.task.loss(self.setup.task.forward(model, batch), batch) / 2


def test_a_recipe_of_another_package_is_found_by_name_and_trained(monkeypatch):
    theirs = PLAIN.replace(objective=Halved(), kinds=("classification",), reference="their paper")
    announce(monkeypatch, RECIPES, halved=theirs, nothing=Recipe)
    assert "halved" in RECIPES
    assert RECIPES.of_kind("halved", "classification") is theirs
    made = ClassLabels()
    corrector = SelfCorrector(
        made.network(), task=made.task, recipe="halved", epochs=2, lr=0.1, batch_size=8, callbacks=[QUIET]
    )
    assert corrector.fit(made.data()).sample_passes == theirs.passes(made.count, epochs=2)
    masks = Masks()
    with pytest.raises(InvalidInputError, match="got 'halved', which is for 'classification'"):
        SelfCorrector(masks.network(), task=masks.task, recipe="halved")
    with pytest.raises(InvalidInputError, match="the recipe 'nothing' to be a Recipe object; got the class Recipe"):
        SelfCorrector(made.network(), task=made.task, recipe="nothing")
    with pytest.raises(InvalidInputError, match=r"got 'halve'; to fix: did you mean 'halved'\?"):
        SelfCorrector(made.network(), task=made.task, recipe="halve")


def test_a_name_belongs_to_one_recipe():
    with pytest.raises(InvalidInputError, match="a new name for a recipe; got 'ce'"):
        RECIPES.register("ce", PLAIN.replace(batch_size=3))


def test_a_budget_beside_a_fixed_schedule_is_refused():
    fixed = RECIPES["paper"].replace(schedule=Schedule(3, 2, 2))
    with pytest.raises(InvalidInputError, match="epochs=7, the sum of"):
        SelfCorrector(nn.Linear(2, 2), num_classes=2, recipe=fixed, epochs=8)
