"""Cross-fitting against slow float64 arithmetic straight from the docstring."""

import copy
import math

import pytest
import torch
from spawn import run_processes
from tiny_runs import QUIET, Kill
from torch import nn

from noisycorrect import (
    RECIPES,
    Classification,
    CrossFitting,
    EarlyLearning,
    OneCosine,
    Schedule,
    SelfCorrector,
    TaskLoss,
)
from noisycorrect.correction.cross_fitting import CrossFittedNetworks
from noisycorrect.correction.halves import halves
from noisycorrect.correction.part import Setup
from noisycorrect.correction.twin import InputPair, TwinNetworks
from noisycorrect.data.batches import Batch
from noisycorrect.labels import Trust
from noisycorrect.labels.rules import STEP_RULES
from noisycorrect.support.errors import InvalidInputError

CLASSES = 3
CROSSED = RECIPES["robust"].replace(correction=CrossFitting(), objective=TaskLoss(), standardize=None)


def data(count=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=generator), torch.arange(count) % CLASSES


def network(norm=None):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), norm(6), nn.Tanh(), nn.Linear(6, CLASSES)) if norm else linear()


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, CLASSES)


def twin(norm=None):
    return CrossFittedNetworks.of(network(norm), seed=1)


def corrector(model=None, *, parts=None, callbacks=(), **settings):
    recipe = CROSSED.replace(**(parts or {}))
    settings = {"epochs": 8, "batch_size": 8, "lr": 0.1, "callbacks": [QUIET, *callbacks]} | settings
    return SelfCorrector(twin() if model is None else model, num_classes=CLASSES, recipe=recipe, **settings)


def started(given, *, correcting=False):
    """A correction and its objective as a run has them before the first step."""
    correction, objective = CrossFitting(start=0.0 if correcting else 0.5), TaskLoss()
    setup = Setup(Classification(CLASSES), given, len(given), 4, torch.device("cpu"), 0, lambda _: None, lambda: None)
    correction.start(setup)
    objective.start(setup)
    return correction, objective


def batch_of(rows, inputs, given):
    return Batch(rows, inputs[rows], given[rows], Trust(torch.ones(len(rows))))


def softmax(row):
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def probabilities(inputs, weight, bias):
    return [
        softmax([sum(w * x for w, x in zip(weight[k], sample, strict=True)) + bias[k] for k in range(CLASSES)])
        for sample in inputs
    ]


# ---------------------------------------------------------------- formulas


def slow_run(inputs, given, half, networks, epochs):
    """The docstring sample by sample, with the softmax's gradient written out; returns the evidence."""
    count = len(inputs)
    evidence = [[1 / CLASSES] * CLASSES for _ in range(count)]
    for epoch in range(epochs):
        rate = 1e-3 + 0.5 * (0.1 - 1e-3) * (1 + math.cos(math.pi * epoch / epochs))
        probs = [probabilities(inputs, weight, bias) for weight, bias in networks]
        seen = []
        for i in range(count):
            own, other = probs[half[i]][i], probs[1 - half[i]][i]
            seen.append(other if given[i] >= 0 else [(a + b) / 2 for a, b in zip(own, other, strict=True)])
        evidence = [
            [0.6 * e + 0.4 * p for e, p in zip(*rows, strict=True)] for rows in zip(evidence, seen, strict=True)
        ]
        correcting = epoch >= 2
        counted = count if correcting else sum(label >= 0 for label in given)
        gradients = [([[0.0] * 4 for _ in range(CLASSES)], [0.0] * CLASSES) for _ in networks]
        for i in range(count):
            e, p, label = evidence[i], probs[half[i]][i], given[i]
            target = [float(k == label) for k in range(CLASSES)]
            if correcting:
                trust = e[label] if label >= 0 else 0.0
                target = [trust * target[k] + (1 - trust) * e[k] for k in range(CLASSES)]
            agreement = sum(a * b for a, b in zip(p, e, strict=True))
            for k in range(CLASSES):
                slope = (sum(target) * p[k] - target[k]) / counted  # of the cross-entropy
                slope -= 2.0 * max(e) / (1 - agreement) * p[k] * (e[k] - agreement) / count
                gradients[half[i]][1][k] += 2 * slope
                for column in range(4):
                    gradients[half[i]][0][k][column] += 2 * slope * inputs[i][column]
        for (weight, bias), (of_weight, of_bias) in zip(networks, gradients, strict=True):
            for k in range(CLASSES):
                bias[k] -= rate * of_bias[k]
                for column in range(4):
                    weight[k][column] -= rate * of_weight[k][column]
    return evidence


@pytest.mark.parametrize("unlabelled", [0, 5])
def test_the_whole_run_is_the_formulas(unlabelled):
    """Full batches, so that every epoch is one step."""
    inputs, given = data(15)
    given = torch.where(torch.arange(15) < 15 - unlabelled, given, -1)
    model = twin().double()
    networks = [(net.weight.detach().tolist(), net.bias.detach().tolist()) for net in (model.first, model.second)]
    parts = {
        "schedule": Schedule(init_epochs=2, cycles=1, cycle_epochs=3),
        "rates": OneCosine(warmup_epochs=0),
        "average": None,
        "correction": CrossFitting(momentum=0.6, start=0.4, trust="agreement", input_dropout=0.0),
        "objective": EarlyLearning(2.0),
    }
    settings = {"batch_size": 15, "optimizer": torch.optim.SGD, "epochs": None}
    result = corrector(model, parts=parts, **settings).fit((inputs.double(), given))
    evidence = slow_run(inputs.tolist(), given.tolist(), halves(given, seed=0).tolist(), networks, epochs=5)
    for net, (weight, bias) in zip((result.model.first, result.model.second), networks, strict=True):
        torch.testing.assert_close(net.weight.tolist(), weight, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(net.bias.tolist(), bias, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(result.labels.evidence().tolist(), evidence, rtol=1e-5, atol=1e-6)
    expected = [e[label] if label >= 0 else 0.0 for e, label in zip(evidence, given.tolist(), strict=True)]
    torch.testing.assert_close(result.labels.trust().weight.tolist(), expected, rtol=1e-5, atol=1e-6)
    mean = (result.model.first(inputs.double()).softmax(1) + result.model.second(inputs.double()).softmax(1)) / 2
    torch.testing.assert_close(result.model(inputs.double()).softmax(1), mean)


def test_a_label_does_not_reach_the_network_that_speaks_of_it():
    """Before correction starts, other labels of one half change nothing of what is said of that half."""
    inputs, given = data()
    seen = []
    for changed in (False, True):
        labels = torch.where((halves(given, seed=0) == 0) & changed, (given + 1) % CLASSES, given)
        result = corrector(parts={"correction": CrossFitting(start=0.99), "average": None}).fit((inputs, labels))
        seen.append(result.labels.evidence())
    first = halves(given, seed=0) == 0
    assert torch.equal(seen[0][first], seen[1][first])
    assert not torch.isclose(seen[0][~first], seen[1][~first]).any(1).all()


def test_halves_divide_the_labelled_and_the_others():
    given = torch.where(torch.arange(41) % 4 > 0, torch.arange(41) % CLASSES, -1)
    half = halves(given, seed=3)
    assert (half[given >= 0] == 0).sum() == (half[given >= 0] == 1).sum() == 15
    assert sorted(torch.bincount(half[given < 0]).tolist()) == [5, 6]
    assert torch.equal(half, halves(given, seed=3))
    assert not torch.equal(half, halves(given, seed=4))


@pytest.mark.parametrize("rule", STEP_RULES)
def test_trust_is_that_of_the_rule(rule):
    result = corrector(parts={"correction": CrossFitting(trust=rule)}).fit(data())
    evidence, given = result.labels.evidence(), data()[1]
    expected = Trust.fitted(rule, given, evidence).of(given, evidence)
    torch.testing.assert_close(result.labels.trust().weight, expected)


# ---------------------------------------------------------------- halves of a batch


@pytest.mark.parametrize("sizes", [(4, 0), (0, 4), (1, 3), (3, 1), (5, 1), (4, 4)])
def test_a_batch_may_hold_little_of_a_half(sizes):
    """With BatchNorm, which cannot train on one sample, and none may be left without a gradient."""
    inputs, given = data()
    model, (correction, objective) = twin(nn.BatchNorm1d).train(), started(given, correcting=True)
    correction.start_epoch(0, model)
    of_half = [(correction.half == number).nonzero().flatten() for number in (0, 1)]
    rows = torch.cat([of_half[0][: sizes[0]], of_half[1][: sizes[1]]]).flip(0)
    objective.loss(model, batch_of(rows, inputs, given), correction).backward()
    for net, own in zip((model.first, model.second), sizes, strict=True):
        slopes = torch.cat([parameter.grad.flatten() for parameter in net.parameters()])
        assert (slopes.abs().sum() > 0) == (own > 0)
        assert net[1].num_batches_tracked == 1
    uniform = (correction.evidence == 1 / torch.tensor(CLASSES, dtype=torch.float32)).all(1)
    assert sorted(rows.tolist()) == (~uniform).nonzero().flatten().tolist()


def test_held_out_predictions_leave_modes_and_statistics_to_training():
    inputs, given = data()
    model, (correction, objective) = twin(nn.BatchNorm1d).train(), started(given)
    correction.start_epoch(0, model)
    reference = copy.deepcopy(model)
    expected = {0: reference.second.eval()(inputs).softmax(1), 1: reference.first.eval()(inputs).softmax(1)}
    correction.input_dropout = 0.0
    objective.loss(model, batch_of(torch.arange(24), inputs, given), correction)
    said = (correction.evidence - 0.7 / CLASSES) / 0.3
    for number, probs in expected.items():
        own = correction.half == number
        torch.testing.assert_close(said[own], probs[own].detach(), rtol=1e-4, atol=1e-6)
        net = (model.first, model.second)[number]
        hidden = net[0](inputs[own]).detach()
        torch.testing.assert_close(net[1].running_mean, 0.1 * hidden.mean(0))  # of its own half, once
    assert all(module.training for module in model.modules())


def test_autocast_does_not_lose_the_gradient_of_weights_that_predicted():
    inputs, given = data()
    model, (correction, objective) = twin().train(), started(given)
    correction.start_epoch(0, model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective.loss(model, batch_of(torch.arange(24), inputs, given), correction)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_passes_are_those_that_a_run_takes():
    forwards = {"samples": 0, "with_gradient": 0}

    class Counting(nn.Linear):
        def forward(self, inputs):
            if len(inputs) > 2:  # the trial before the first epoch is no pass
                forwards["samples"] += len(inputs)
                forwards["with_gradient"] += len(inputs) * torch.is_grad_enabled()
            return super().forward(inputs)

    model = CrossFittedNetworks.of(Counting(4, CLASSES), seed=1)
    result = corrector(model, batch_size=24, parts={"average": None}).fit(data())
    looks = 4 * 2 * 24  # the rehearsal, two of the first epochs, the end
    assert result.sample_passes == 4 * 24 * 8
    assert forwards["samples"] - looks + 2 * forwards["with_gradient"] == result.sample_passes


def test_inputs_may_be_several_tensors():
    class Two(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs["left"] + inputs["right"])

    inputs, given = data()
    items = [{"left": 0.25 * x, "right": 0.75 * x} for x in inputs]
    model = twin()
    nested = CrossFittedNetworks(*(Two(4, CLASSES) for _ in range(2)))
    nested.load_state_dict(model.state_dict())
    parts = {"correction": CrossFitting(input_dropout=0.0)}
    plain = corrector(model, parts=parts).fit((inputs, given))
    result = corrector(nested, parts=parts).fit(list(zip(items, given.tolist(), strict=True)))
    torch.testing.assert_close(result.labels.evidence(), plain.labels.evidence())


def test_networks_take_halves_of_different_lengths():
    model, (inputs, _) = twin(), data()
    logits = model(InputPair(inputs[:5], inputs[5:8]))
    assert torch.equal(logits[0], model.first(inputs[:5]))
    assert torch.equal(logits[1, :3], model.second(inputs[5:8]))
    assert torch.equal(logits[1, 3:], torch.zeros(2, CLASSES))
    assert torch.equal(model(inputs), torch.stack([model.first(inputs), model.second(inputs)]))


# ---------------------------------------------------------------- runs


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(tmp_path):
    parts = {"objective": EarlyLearning(1.0)}
    whole = corrector(parts=parts, run_dir=tmp_path / "whole").fit(data())
    with pytest.raises(KeyboardInterrupt):
        corrector(parts=parts, run_dir=tmp_path / "stopped", callbacks=[Kill(5)]).fit(data())
    resumed = corrector(parts=parts, run_dir=tmp_path / "stopped").fit(data(), resume=True)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(whole.labels.evidence(), resumed.labels.evidence())
    assert torch.equal(whole.labels.trust().weight, resumed.labels.trust().weight)


def ranks_fit(run_dir):
    inputs, given = data(31)  # the last sample is left out; batches have few of a half
    model = twin(nn.LayerNorm).double()
    settings = {"batch_size": 6, "epochs": 4, "run_dir": run_dir}
    correction = CrossFitting(input_dropout=0.0)  # each rank would drop others
    parts = {"correction": correction, "objective": EarlyLearning(1.0)}
    result = corrector(model, parts=parts, **settings).fit((inputs.double(), given))
    return result.model.state_dict(), result.labels.evidence(), result.labels.trust().weight, result.sample_passes


def test_two_ranks_equal_one(tmp_path):
    alone = ranks_fit(tmp_path / "alone")
    for rank in run_processes(ranks_fit, 2, tmp_path, tmp_path / "both"):
        torch.testing.assert_close(rank[0], alone[0], rtol=1e-6, atol=1e-8)  # evidence is float32
        torch.testing.assert_close(rank[1:3], alone[1:3], rtol=0, atol=1e-6)
        assert rank[3] == alone[3]


def test_unlabelled_samples_learn_from_evidence_alone():
    result = corrector().fit(data(), unlabeled=torch.randn(5, 4))
    assert result.labels.trust().weight[-5:].tolist() == [0.0] * 5
    assert torch.equal(result.labels.refined()[-5:], result.labels.evidence()[-5:])


def test_evidence_sees_wrong_labels_that_a_network_has_learnt_by_heart():
    """A network that interpolates gives back the labels that it was trained on; the other one does not know them."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.arange(120) % CLASSES
    inputs = torch.randn(120, 30, generator=generator) + 2 * nn.functional.one_hot(clean, 30)
    wrong = torch.arange(120) % 10 < 3
    given = torch.where(wrong, (clean + 1) % CLASSES, clean)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CrossFittedNetworks.of(nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, CLASSES)), seed=1)
    parts = {"correction": CrossFitting(start=0.99, input_dropout=0.0), "average": None}
    result = corrector(model, parts=parts, epochs=30, batch_size=20).fit((inputs, given))
    half, rows = halves(given, seed=0), torch.arange(120)
    both = torch.stack([net(inputs).softmax(1) for net in (result.model.first, result.model.second)]).detach()
    own, other = both[half, rows], both[1 - half, rows]
    assert own.argmax(1).eq(given)[wrong].float().mean() > 0.9
    assert other.argmax(1).eq(given)[wrong].float().mean() < 0.5
    assert result.labels.evidence()[rows, given][wrong].mean() < 0.5


def test_it_knows_itself():
    assert CrossFitting(momentum=0.5, trust="relative").identity() == {
        "name": "CrossFitting", "momentum": 0.5, "begin": 0.1, "input_dropout": 0.2, "trust": "relative",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trust": "agreemnt"}, "did you mean 'agreement'"),
        ({"momentum": 1.0}, "momentum"),
        ({"start": 1.0}, "start"),
        ({"start": "auto"}, "start"),
        ({"input_dropout": 1.0}, "input_dropout"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        CrossFitting(**settings)


@pytest.mark.parametrize("model", [network(), TwinNetworks.of(network(), seed=1)])
def test_another_model_becomes_two_networks(model):
    parts = {"correction": CrossFitting(input_dropout=0.0)}
    result = corrector(model, seed=1, parts=parts).fit(data())
    assert isinstance(result.model, CrossFittedNetworks)
    both = corrector(CrossFittedNetworks.of(network(), seed=1), seed=1, parts=parts).fit(data())
    assert torch.equal(result.labels.evidence(), both.labels.evidence())
