"""The table of baselines, and the function that trains them."""

import dataclasses
import functools
import math

import pytest
import torch
import torch.nn.functional as F
from spawn import run_processes
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from noisycorrect import SelfCorrector
from noisycorrect.baselines import BASELINES, PRUNE_RETRAIN, baseline_named, baseline_passes, fit_baseline
from noisycorrect.classification import (
    EarlyLearningRegularization,
    ForwardCorrection,
    SparseOverParameterization,
)
from noisycorrect.support.errors import InvalidInputError

COUNT, CLASSES = 60, 3
NAMES = [
    "ce", "ls", "mixup", "gce", "sce", "bootstrap-soft", "bootstrap-hard", "forward", "ema", "swa", "ce-wa-aug", "elr",
    "sop", "coteaching", "dividemix", "prune-retrain",
]  # fmt: skip
NEEDED = {"coteaching": {"noise_rate": 0.3}, PRUNE_RETRAIN: {"folds": 3}}
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


def fit(name, model=None, **settings):
    inputs, given, _ = data()
    settings = {**RUN, "options": NEEDED.get(name), "augment": jitter, **settings}
    return fit_baseline(name, model or network(), (inputs, given), **settings)


def test_the_table_has_all_baselines():
    assert list(BASELINES) == NAMES
    for name, baseline in BASELINES.items():
        assert baseline.name == name
        assert baseline.networks == (2 if name in ("coteaching", "dividemix") else 1)
        assert len(baseline.reference) > 30
    with pytest.raises(dataclasses.FrozenInstanceError):
        BASELINES["ce"].name = "other"


@pytest.mark.parametrize("name", NAMES)
def test_each_trains_at_the_cost_that_the_table_says(name):
    inputs = data()[0]
    model, epochs = network(), []
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = fit(name, model, on_epoch=lambda _, record: epochs.append(record["epoch"]))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert epochs == [1, 2, 3, 4]
    logits = result.model(inputs)
    assert logits.shape == (COUNT, CLASSES)
    assert not result.model.training
    assert math.isfinite(result.history[-1]["loss"])
    expected = baseline_passes(name, 4, COUNT, options=NEEDED.get(name))
    if name == PRUNE_RETRAIN:
        pruned = int((~result.kept).sum())
        assert result.sample_passes <= expected
        # Of the last training nothing else is missing, but for last batches of one sample.
        assert result.sample_passes >= expected - 3 * 4 * (pruned + 4)
    else:
        assert result.sample_passes == expected


def test_passes():
    passes = {name: baseline_passes(name, 60, 1000, options=NEEDED.get(name)) for name in NAMES}
    once = 3 * 60 * 1000
    assert [name for name, value in passes.items() if value == once] == [
        "ce", "ls", "mixup", "gce", "sce", "bootstrap-soft", "bootstrap-hard", "forward", "elr", "sop",
    ]  # fmt: skip
    assert passes["ema"] == passes["ce-wa-aug"] == once + 1000
    assert passes["swa"] == once + 1000
    assert passes["coteaching"] == 2 * once
    assert passes["dividemix"] > 3 * once
    assert passes[PRUNE_RETRAIN] == 3 * once + 1000
    assert baseline_passes(PRUNE_RETRAIN, 60, 1000) == 5 * once + 1000
    assert baseline_passes("swa", 60, 1000, batchnorm=False) == once
    assert baseline_passes("ema", 1, 10**5) == 3 * 10**5 + 8192


def test_the_same_run_through_the_corrector():
    inputs, given, clean = data()
    result = fit_baseline("elr", network(), (inputs, given), clean_labels=clean, seed=3, **RUN, options={"strength": 1})
    corrector = SelfCorrector(
        network(), num_classes=CLASSES, objective=EarlyLearningRegularization(1.0), init_epochs=4, cycles=0,
        aggregate=False, refine=False, lr=0.1, batch_size=12, seed=3, verbose=False,
    )  # fmt: skip
    for name, value in corrector.fit((inputs, given)).model.state_dict().items():
        assert torch.equal(result.model.state_dict()[name], value)


def test_one_cosine_over_all_epochs():
    rates = []
    fit("ce", epochs=20, on_epoch=lambda _, record: rates.append(record["lr"]))
    assert rates[2:] == sorted(rates[2:], reverse=True)  # after two epochs of warm-up
    assert rates[2] > 0.09 > 0.01 > rates[-1]


def test_averaged_weights_are_those_of_every_step():
    after = {}

    class Steps(SGD):
        def step(self, closure=None):
            super().step()
            for number, value in enumerate(self.param_groups[0]["params"]):
                after.setdefault(number, []).append(value.detach().clone())

    result = fit("ema", network(norm=False), optimizer=Steps, options={"decay": 0.7})
    assert len(after[0]) == 4 * COUNT // 12
    for number, value in enumerate(result.model.parameters()):
        average = after[number][0].double()
        for count, weights in enumerate(after[number][1:], start=1):
            decay = min(0.7, count / (count + 1))  # the first ones count alike
            average = decay * average + (1 - decay) * weights.double()
        torch.testing.assert_close(value.double(), average, rtol=1e-5, atol=1e-6)


def test_stochastic_weight_averaging_takes_the_ends_of_the_last_epochs():
    ends = []
    result = fit(
        "swa",
        network(norm=False),
        epochs=8,
        on_epoch=lambda model, _: ends.append([value.detach().clone().double() for value in model.parameters()]),
    )
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

    with pytest.raises(InvalidInputError, match=r"augment= with 'ce-wa-aug'"):
        fit("ce-wa-aug", augment=None)
    with pytest.raises(InvalidInputError, match="an optimizer with weight decay"):
        fit("ce-wa-aug", optimizer=NoDecay)
    with pytest.raises(InvalidInputError, match=r"a known baseline; got 'erl'.*'elr'"):
        fit("erl")
    with pytest.raises(InvalidInputError, match=r"a known option of 'gce'; got 'p'"):
        fit("gce", options={"p": 0.7})
    with pytest.raises(InvalidInputError, match=r"the option noise_rate of 'coteaching'"):
        fit("coteaching", options=None)
    with pytest.raises(InvalidInputError, match=r"a known option of 'prune-retrain'"):
        fit(PRUNE_RETRAIN, options={"fold": 3})
    with pytest.raises(InvalidInputError, match="0 < q <= 1"):
        fit("gce", options={"q": 2})
    with pytest.raises(InvalidInputError, match="epochs to be a whole number >= 1"):
        fit("ce", epochs=0)
    with pytest.raises(InvalidInputError, match="samples to be a whole number"):
        baseline_passes("ce", 3, 0)
    with pytest.raises(InvalidInputError, match="folds to be a whole number >= 2"):
        baseline_passes(PRUNE_RETRAIN, 3, 10, options={"folds": 1})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ema", {"decay"}),
        ("swa", set()),
        ("ce", set()),
        ("bootstrap-hard", {"trust"}),
        ("sop", {"lr_u", "lr_v"}),
        ("coteaching", {"noise_rate", "warmup_epochs"}),
        (PRUNE_RETRAIN, {"folds", "method"}),
    ],
)
def test_options(name, expected):
    assert set(baseline_named(name).options()) == expected


def fit_some(folder):
    inputs, given, _ = data()
    made = [
        lambda: ForwardCorrection(percentile=0.9),
        EarlyLearningRegularization,
        SparseOverParameterization,
    ]
    runs = []
    for number, make in enumerate(made):
        corrector = SelfCorrector(
            network(norm=False).double(), num_classes=CLASSES, objective=make(), init_epochs=3, cycles=0, lr=0.1,
            aggregate=False, refine=False, batch_size=12, verbose=False,
            run_dir=folder / str(number),
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
    def stop(_, record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    whole = fit("coteaching")
    with pytest.raises(KeyboardInterrupt):
        fit("coteaching", run_dir=tmp_path / "run", on_epoch=stop)
    epochs = []
    rest = fit("coteaching", run_dir=tmp_path / "run", on_epoch=lambda _, record: epochs.append(record["epoch"]))
    assert epochs == [3, 4]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name])
    with pytest.raises(InvalidInputError, match="no run_dir with 'prune-retrain'"):
        fit(PRUNE_RETRAIN, run_dir=tmp_path / "other")
