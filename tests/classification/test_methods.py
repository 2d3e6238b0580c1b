"""The methods of the literature for class labels, as recipes and as prune-and-retrain."""

import dataclasses
import functools
import math

import pytest
import torch
import torch.nn.functional as F
from spawn import run_processes
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from watching import QUIET, AfterEpoch, Kill

from noisycorrect import RECIPES, EveryStep, OnePhase, Recipe, Schedule, SelfCorrector, prune_retrain
from noisycorrect.classification import (
    CoTeaching,
    EarlyLearningRegularization,
    ForwardCorrection,
    GeneralizedCrossEntropy,
    SparseOverParameterization,
)
from noisycorrect.classification.methods.prune_retrain import prune_retrain_passes
from noisycorrect.correction.twin import TwinNetworks
from noisycorrect.recipe import PLAIN
from noisycorrect.support.errors import InvalidInputError

COUNT, CLASSES = 60, 3
NAMES = [
    "ce", "ema", "swa", "ls", "mixup", "gce", "sce", "bootstrap-soft", "bootstrap-hard", "forward", "elr", "sop",
    "coteaching", "dividemix", "ce-wa-aug",
]  # fmt: skip
TWINS = ("coteaching", "dividemix")
RUN = {"num_classes": CLASSES, "epochs": 4, "lr": 0.1, "batch_size": 12}


def data():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(COUNT) % CLASSES
    inputs = torch.randn(COUNT, 4, generator=generator) + 4 * F.one_hot(labels, 4)
    given = torch.where(torch.rand(COUNT, generator=generator) < 0.2, (labels + 1) % CLASSES, labels)
    return inputs, given, labels


def network(norm=True):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8) if norm else nn.Tanh(), nn.Linear(8, CLASSES))


def jitter(inputs):
    return inputs + 0.01 * torch.randn_like(inputs)


def recipe_of(name, **parts):
    """Return the recipe of that name; co-teaching is told the noise rate."""
    needed = {"objective": CoTeaching(noise_rate=0.3)} if name == "coteaching" else {}
    return RECIPES[name].replace(**{**needed, **parts})


def fit(name, model=None, *, parts=None, callbacks=(), **settings):
    inputs, given, _ = data()
    settings = {**RUN, "augment": jitter, **settings}
    corrector = SelfCorrector(
        model or network(), recipe=recipe_of(name, **(parts or {})), callbacks=[QUIET, *callbacks], **settings
    )
    return corrector.fit((inputs, given))


def test_the_table_has_all_methods():
    found = [name for name, recipe in RECIPES.items() if "classification" in (recipe.kinds or ("classification",))]
    assert sorted(name for name in found if name not in ("paper", "robust")) == sorted(NAMES)
    for name in NAMES:
        recipe = RECIPES[name]
        assert getattr(recipe.objective, "networks", 1) == (2 if name in TWINS else 1)
        assert len(recipe.reference) > 30
        assert recipe.correction is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPES["ce"].lr = 1.0


@pytest.mark.parametrize("name", NAMES)
def test_each_trains_at_the_cost_that_its_recipe_says(name):
    inputs = data()[0]
    model, epochs = network(), []
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = fit(name, model, callbacks=[AfterEpoch(lambda run: epochs.append(run.epoch))])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert epochs == [1, 2, 3, 4]
    assert isinstance(result.model, TwinNetworks) == (name in TWINS)
    logits = result.model(inputs)
    assert logits.shape == (COUNT, CLASSES)
    assert not result.model.training
    assert math.isfinite(result.history[-1]["loss"])
    assert result.sample_passes == recipe_of(name).passes(COUNT, epochs=4)


def test_prune_and_retrain_trains_at_the_cost_that_is_foretold():
    inputs, given, _ = data()
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    epochs = []
    seen = AfterEpoch(lambda run: epochs.append(run.epoch))
    result = prune_retrain(model, (inputs, given), folds=3, callbacks=[QUIET, seen], augment=jitter, **RUN)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert epochs == [1, 2, 3, 4]
    assert result.model(inputs).shape == (COUNT, CLASSES)
    assert not result.model.training
    assert math.isfinite(result.history[-1]["loss"])
    expected = prune_retrain_passes(COUNT, 4, folds=3)
    pruned = int((~result.kept).sum())
    # Of the last training nothing else is missing, but for last batches of one sample.
    assert expected - 3 * 4 * (pruned + 4) <= result.sample_passes <= expected


def test_passes():
    passes = {name: recipe_of(name).passes(1000, epochs=60) for name in NAMES}
    once = 3 * 60 * 1000
    assert [name for name, value in passes.items() if value == once] == [
        "ce", "ls", "mixup", "gce", "sce", "bootstrap-soft", "bootstrap-hard", "forward", "elr", "sop",
    ]  # fmt: skip
    assert passes["ema"] == passes["ce-wa-aug"] == once + 1000
    assert passes["swa"] == once + 1000
    assert passes["coteaching"] == 2 * once
    assert passes["dividemix"] > 3 * once
    assert prune_retrain_passes(1000, 60, folds=3) == 3 * once + 1000
    assert prune_retrain_passes(1000, 60) == 5 * once + 1000
    assert RECIPES["swa"].passes(1000, epochs=60, layers=0) == once
    assert RECIPES["ema"].passes(10**5, epochs=1) == 3 * 10**5 + 8192


def test_a_method_is_its_parts():
    inputs, given, clean = data()
    found = SelfCorrector(
        network(), recipe=RECIPES["elr"].replace(objective=EarlyLearningRegularization(strength=1)), seed=3,
        callbacks=[QUIET], **RUN,
    ).fit((inputs, given), clean_labels=clean)  # fmt: skip
    recipe = Recipe(
        schedule=Schedule(init_epochs=4, cycles=0, cycle_epochs=1), average=None, correction=None,
        objective=EarlyLearningRegularization(1.0), lr=0.1, batch_size=12,
    )  # fmt: skip
    other = SelfCorrector(network(), num_classes=CLASSES, recipe=recipe, seed=3, callbacks=[QUIET]).fit((inputs, given))
    for name, value in other.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value)


def test_one_cosine_over_all_epochs():
    rates = []
    fit("ce", epochs=20, callbacks=[AfterEpoch(lambda run: rates.append(run.epoch_record()["lr"]))])
    assert rates[2:] == sorted(rates[2:], reverse=True)  # after two epochs of warm-up
    assert rates[2] > 0.09 > 0.01 > rates[-1]


def test_averaged_weights_are_those_of_every_step():
    after = {}

    class Steps(SGD):
        def step(self, closure=None):
            super().step()
            for number, value in enumerate(self.param_groups[0]["params"]):
                after.setdefault(number, []).append(value.detach().clone())

    result = fit("ema", network(norm=False), optimizer=Steps, parts={"average": EveryStep(0.7)})
    assert len(after[0]) == 4 * COUNT // 12
    for number, value in enumerate(result.model.parameters()):
        average = after[number][0].double()
        for count, weights in enumerate(after[number][1:], start=1):
            decay = min(0.7, count / (count + 1))  # the first ones count alike
            average = decay * average + (1 - decay) * weights.double()
        torch.testing.assert_close(value.double(), average, rtol=1e-5, atol=1e-6)


def test_stochastic_weight_averaging_takes_the_ends_of_the_last_epochs():
    ends = []
    note = AfterEpoch(lambda run: ends.append([value.detach().clone().double() for value in run.student.parameters()]))
    result = fit("swa", network(norm=False), epochs=8, callbacks=[note])
    for number, value in enumerate(result.model.parameters()):
        expected = torch.stack([end[number] for end in ends[5:]]).mean(0)
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("make", "expected"), [(SGD, 1e-3), (AdamW, 1e-2)])
def test_weight_decay_is_raised_with_augmentation(make, expected):
    made = []

    def factory(parameters, lr):
        made.append(make(parameters, lr=lr))
        return made[-1]

    fit("ce-wa-aug", optimizer=factory)
    assert made[0].param_groups[0]["weight_decay"] == made[0].defaults["weight_decay"] == expected


def test_weight_decay_of_the_default_optimizer_is_raised_too():
    plain, decayed = fit("ema").model, fit("ce-wa-aug").model
    explicit = fit("ema", optimizer=functools.partial(SGD, momentum=0.9, weight_decay=1e-3)).model
    assert torch.equal(decayed[0].weight, explicit[0].weight)
    assert not torch.equal(decayed[0].weight, plain[0].weight)


def test_what_cannot_be_is_refused():
    class NoDecay(Optimizer):
        def __init__(self, parameters, lr):
            super().__init__(parameters, {"lr": lr})

        def step(self, closure=None):
            pass

    for named in ("ce-wa-aug", RECIPES["ce-wa-aug"].replace(batch_size=12)):
        with pytest.raises(InvalidInputError, match=r"augment= with the recipe"):
            SelfCorrector(network(), num_classes=CLASSES, recipe=named)
    with pytest.raises(InvalidInputError, match="an optimizer with weight decay"):
        fit("ce-wa-aug", optimizer=NoDecay)
    with pytest.raises(InvalidInputError, match=r"a known recipe; got 'erl'.*'elr'"):
        SelfCorrector(network(), num_classes=CLASSES, recipe="erl")
    with pytest.raises(InvalidInputError, match=r"a known part of a recipe; got 'q'"):
        recipe_of("gce", q=0.7)
    with pytest.raises(InvalidInputError, match=r"the noise rate that co-teaching needs to know.*noise_rate=0.2"):
        fit("coteaching", parts={"objective": CoTeaching()})
    with pytest.raises(InvalidInputError, match="0 < q <= 1"):
        GeneralizedCrossEntropy(q=2)
    with pytest.raises(InvalidInputError, match=r"an object.*not its name or class"):
        recipe_of("gce", objective=GeneralizedCrossEntropy)
    with pytest.raises(InvalidInputError, match="epochs to be a whole number >= 1"):
        fit("ce", epochs=0)
    with pytest.raises(InvalidInputError, match="samples to be a whole number"):
        RECIPES["ce"].passes(0, epochs=3)
    with pytest.raises(InvalidInputError, match="folds to be a whole number >= 2"):
        prune_retrain_passes(10, 3, folds=1)


def fit_some(folder):
    inputs, given, _ = data()
    runs = []
    for number, objective in enumerate(
        [ForwardCorrection(percentile=0.9), EarlyLearningRegularization(), SparseOverParameterization()]
    ):
        corrector = SelfCorrector(
            network(norm=False).double(), num_classes=CLASSES, recipe=PLAIN.replace(objective=objective), epochs=3,
            lr=0.1, batch_size=12, callbacks=[QUIET], run_dir=folder / str(number),
        )  # fmt: skip
        runs.append(corrector.fit((inputs.double(), given)).model.state_dict())
    return runs


def test_two_ranks_do_what_one_does(tmp_path):
    alone = fit_some(tmp_path / "alone")
    for rank in run_processes(fit_some, 2, tmp_path, tmp_path / "both"):
        for found, expected in zip(rank, alone, strict=True):
            for name, value in found.items():
                torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-7)


def test_a_run_with_a_folder_goes_on(tmp_path):
    whole = fit("coteaching")
    with pytest.raises(KeyboardInterrupt):
        fit("coteaching", run_dir=tmp_path / "run", callbacks=[Kill(2)])
    epochs = []
    rest = fit("coteaching", run_dir=tmp_path / "run", callbacks=[AfterEpoch(lambda run: epochs.append(run.epoch))])
    assert epochs == [3, 4]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name])


def test_plain_training_is_one_phase():
    assert PLAIN.schedule == OnePhase()
    assert PLAIN.divided(60) == Schedule(init_epochs=60, cycles=0, cycle_epochs=1)
