"""DivideMix against loops over the formulas of Li et al. 2020."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from watching import QUIET

from noisycorrect import Classification, Correction, SelfCorrector, noise
from noisycorrect.classification.methods import dividemix
from noisycorrect.classification.methods.dividemix import (
    DivideMix,
    clean_probability,
    guessed_labels,
    mix,
    semi_supervised_loss,
    sharpen,
)
from noisycorrect.correction.part import Setup
from noisycorrect.correction.twin import TwinNetworks
from noisycorrect.data.batches import Batch
from noisycorrect.labels import Trust
from noisycorrect.recipe import PLAIN
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.training.engine import Engine

COUNT, CLASSES = 10, 3
GIVEN = Correction()  # labels stay as they are given


def random(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def probabilities(*shape, seed=0):
    return (4 * random(*shape, seed=seed)).softmax(-1)


def softmax(row):
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def sharpened(row, temperature):
    powers = [value ** (1 / temperature) for value in row]
    return [value / sum(powers) for value in powers]


def guessed(given, probs, clean, threshold, temperature):
    """Algorithm 1, lines 14-22, for one sample: the label for each network."""
    labels = []
    for k in (0, 1):
        if clean[k] >= threshold:
            row = [clean[k] * given[c] + (1 - clean[k]) * probs[k][c] for c in range(len(given))]
        else:
            row = [(probs[0][c] + probs[1][c]) / 2 for c in range(len(given))]
        labels.append(sharpened(row, temperature))
    return labels


def total_loss(logits, targets, labeled, weight):
    """Eq. 9-12 for one network."""
    probs, classes = [softmax(row) for row in logits], len(logits[0])
    of_labeled, of_others = [], []
    for prob, target, known in zip(probs, targets, labeled, strict=True):
        if known:
            of_labeled.append(-sum(t * math.log(p) for t, p in zip(target, prob, strict=True)))
        else:
            of_others.append(sum((t - p) ** 2 for t, p in zip(target, prob, strict=True)) / classes)
    loss = sum(of_labeled) / len(of_labeled) if of_labeled else 0.0
    loss += weight * sum(of_others) / len(of_others) if of_others else 0.0
    for k in range(classes):
        mean = sum(prob[k] for prob in probs) / len(probs)
        loss += 1 / classes * math.log(1 / classes / mean)
    return loss


def posterior(values, steps=200):
    """A mixture of two Gaussians by expectation maximisation, from the two halves of the sorted values."""
    cut = sorted(values)[len(values) // 2]
    member = [1.0 if value < cut else 0.0 for value in values]
    for _ in range(steps):
        parts = []
        for side in (member, [1 - m for m in member]):
            total = sum(side)
            mean = sum(m * v for m, v in zip(side, values, strict=True)) / total
            variance = sum(m * (v - mean) ** 2 for m, v in zip(side, values, strict=True)) / total + 5e-4
            parts.append((total / len(values), mean, variance))
        density = [
            [share / math.sqrt(var) * math.exp(-((value - mean) ** 2) / 2 / var) for share, mean, var in parts]
            for value in values
        ]
        member = [low / (low + high) for low, high in density]
    return member


# ---------------------------------------------------------------- formulas


def test_the_mixture_is_that_of_expectation_maximisation():
    generator = np.random.default_rng(0)
    losses = np.concatenate([generator.normal(0.5, 0.3, 60), generator.normal(3, 0.8, 40)])
    scaled = [(value - losses.min()) / (losses.max() - losses.min()) for value in losses]
    found = clean_probability(losses)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, posterior(scaled), atol=0.03)  # scikit-learn stops at a tolerance of 1e-3
    assert 0.5 < (found > 0.5).mean() < 0.7


def test_the_mixture_does_not_care_about_scale_and_offset():
    losses = np.random.default_rng(1).gamma(1.0, 1.0, 50)
    np.testing.assert_allclose(clean_probability(losses), clean_probability(100 * losses + 7), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("losses", [[0.0, 0.0, 0.0], [2.5], []])
def test_losses_that_say_nothing_divide_nothing(losses):
    assert clean_probability(np.array(losses)).tolist() == [1.0] * len(losses)


def test_two_different_losses_are_divided_without_a_warning():
    assert clean_probability(np.array([0.0, 1.0, 1.0, 1.0])).round().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("losses", [[1.0, math.nan], [1.0, math.inf], [[1.0, 2.0]]])
def test_losses_that_are_none_are_refused(losses):
    with pytest.raises(InvalidInputError, match="finite losses"):
        clean_probability(np.array(losses))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sharpening_is_its_formula(temperature):
    probs = probabilities(6, CLASSES)
    expected = [sharpened(row, temperature) for row in probs.tolist()]
    np.testing.assert_allclose(sharpen(probs, temperature).numpy(), expected, rtol=1e-12)


def test_a_low_temperature_does_not_underflow():
    assert sharpen(torch.full((1, 50), 0.02), 0.005).sum().item() == pytest.approx(1)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.9])
def test_guessed_labels_are_those_of_the_loops(threshold):
    given = nn.functional.one_hot(torch.arange(COUNT) % CLASSES, CLASSES).double()
    probs, clean = probabilities(2, COUNT, CLASSES), random(2, COUNT, seed=3)
    found = guessed_labels(given, probs, clean, threshold, 0.5)
    for row in range(COUNT):
        expected = guessed(given[row].tolist(), probs[:, row].tolist(), clean[:, row].tolist(), threshold, 0.5)
        np.testing.assert_allclose(found[:, row].numpy(), expected, rtol=1e-12)


def test_mixing_is_its_formula():
    values, share, order = random(4, 2, 3), random(4, seed=1), torch.tensor([2, 2, 0, 3])
    found = mix(values, order, share)
    for row in range(4):
        lam = share[row].item()
        expected = lam * values[row].numpy() + (1 - lam) * values[int(order[row])].numpy()
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("labeled", [[True] * 5, [False] * 5, [True, False, False, True, True]])
@pytest.mark.parametrize("weight", [0.0, 25.0])
def test_the_loss_is_its_formula(labeled, weight):
    logits, targets = 3 * random(5, CLASSES), probabilities(5, CLASSES, seed=2)
    found = semi_supervised_loss(logits, targets, torch.tensor(labeled), weight)
    assert found.item() == pytest.approx(total_loss(logits.tolist(), targets.tolist(), labeled, weight), rel=1e-12)


def test_a_class_that_nothing_predicts_gives_a_finite_loss_and_gradient():
    logits = torch.tensor([[0.0, 1e4]] * 2, requires_grad=True)
    loss = semi_supervised_loss(logits, torch.tensor([[0.0, 1.0]] * 2), torch.tensor([True, True]), 1.0)
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(logits.grad).all()


# ---------------------------------------------------------------- the objective


def twin(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwinNetworks.of(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES)), 1).to(dtype)


def batch(given=None):
    given = torch.arange(COUNT) % CLASSES if given is None else given
    return Batch(torch.arange(COUNT), random(COUNT, 4), given, Trust(torch.ones(COUNT)))


def started(objective, samples, networks, epoch, epochs=30):
    def predict(network):
        with torch.no_grad():
            return copy.deepcopy(network).eval()(samples.input).softmax(1).float()

    task, device = Classification(CLASSES), torch.device("cpu")
    objective.start(Setup(task, samples.given, COUNT, epochs, device, 0, predict, lambda: None))
    objective.start_epoch(epoch, networks)
    return objective


@pytest.mark.parametrize("views", [1, 2])
def test_the_objective_is_the_algorithm(views, monkeypatch):
    augment = (lambda inputs: inputs + 0.5) if views == 2 else None
    samples, networks = batch(), twin()
    objective = started(DivideMix(warmup_epochs=1, ramp_epochs=4, augment=augment), samples, networks, epoch=3)
    drawn = []

    def mixed(values, order, share, rows=None):
        drawn.append((order, share))
        return mix(values, order, share)

    monkeypatch.setattr(dividemix, "mix", mixed)
    torch.manual_seed(5)
    reference = copy.deepcopy(networks)
    found = objective.loss(networks, samples, GIVEN).item()

    inputs = [samples.input, samples.input + 0.5][:views]
    ends = [copy.deepcopy(network).eval() for network in (reference.first, reference.second)]
    probs = [sum(np.array([softmax(row) for row in end(view).tolist()]) for view in inputs) / views for end in ends]
    losses = [
        [-math.log(own[i][int(samples.given[i])]) for i in range(COUNT)] for own in probs_of_one_view(ends, samples)
    ]
    clean = [clean_probability(np.float32(losses[other]), seed_of(objective)) for other in (1, 0)]  # co-divide
    np.testing.assert_allclose(objective.clean_probs.T.numpy(), clean, atol=1e-4)
    clean = objective.clean_probs.T.tolist()
    expected = 0.0
    labels = [
        guessed(np.eye(CLASSES)[int(samples.given[i])], [p[i] for p in probs], [c[i] for c in clean], 0.5, 0.5)
        for i in range(COUNT)
    ]
    everything = torch.cat(inputs)
    for k, network in enumerate((reference.first, reference.second)):
        order, share = drawn[2 * k]
        assert all(part >= 0.5 for part in share.tolist())
        assert sorted(order.tolist()) == list(range(views * COUNT))
        own = np.array([labels[i % COUNT][k] for i in range(views * COUNT)])
        rows = [share[i].item() * everything[i] + (1 - share[i].item()) * everything[order[i]] for i in range(len(own))]
        targets = [share[i].item() * own[i] + (1 - share[i].item()) * own[order[i]] for i in range(len(own))]
        labeled = [clean[k][i % COUNT] >= 0.5 for i in range(len(own))]
        assert 0 < sum(labeled) < len(labeled)
        expected += total_loss(network(torch.stack(rows)).tolist(), targets, labeled, 25 * 2 / 4)
    assert found == pytest.approx(expected, rel=1e-5)  # probabilities and shares are float32


def probs_of_one_view(ends, samples):
    return [[softmax(row) for row in end(samples.input).tolist()] for end in ends]


def seed_of(objective):
    return dividemix.derived_seed(objective.setup.seed, "division", 3)


@pytest.mark.parametrize("penalty", [False, True])
def test_the_warmup_is_cross_entropy(penalty):
    samples, networks = batch(torch.tensor([0, 1, 2, -1, 1] * 2)), twin()
    objective = started(DivideMix(warmup_epochs=2, confidence_penalty=penalty), samples, networks, epoch=1)
    expected = 0.0
    for logits in copy.deepcopy(networks)(samples.input).tolist():
        probs = [softmax(row) for row in logits]
        known = [(prob, int(label)) for prob, label in zip(probs, samples.given, strict=True) if label >= 0]
        expected -= sum(math.log(prob[label]) for prob, label in known) / len(known)
        expected += penalty * sum(p * math.log(p) for prob in probs for p in prob) / len(probs)
    assert objective.loss(networks, samples, GIVEN).item() == pytest.approx(expected, rel=1e-10)


def test_guesses_leave_modes_statistics_and_gradients_to_training():
    samples, networks = batch(), twin().train()
    objective = started(DivideMix(warmup_epochs=1), samples, networks, epoch=1)
    objective.loss(networks, samples, GIVEN).backward()
    assert all(module.training for module in networks.modules())
    assert networks.first[1].num_batches_tracked == networks.second[1].num_batches_tracked == 1
    assert all(parameter.grad.abs().sum() > 0 for parameter in (networks.first[0].weight, networks.second[0].weight))


def test_autocast_does_not_lose_the_gradient_of_guessed_weights():
    samples, networks = batch(), twin(torch.float32)
    objective = started(DivideMix(warmup_epochs=1), samples, networks.double(), epoch=1)
    networks.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective.loss(networks, samples, GIVEN)
    loss.backward()
    assert all(parameter.grad is not None for parameter in networks.parameters())


def test_samples_without_a_label_are_used_as_unlabelled_ones():
    samples, networks = batch(torch.tensor([0, 1, 2, -1, 1] * 2)), twin()
    objective = started(DivideMix(warmup_epochs=1, threshold=0.0), samples, networks, epoch=0)
    assert objective.clean_probs[:, 0].tolist() == [1, 1, 1, 0, 1] * 2
    objective = started(DivideMix(warmup_epochs=1), samples, networks, epoch=1)
    assert objective.clean_probs[3].tolist() == [0, 0]
    assert torch.isfinite(objective.loss(networks, samples, GIVEN))


def test_lengths_and_weights_follow_the_paper():
    objective = DivideMix()
    assert [objective.warmup(epochs) for epochs in (300, 60, 30, 5)] == [10, 2, 1, 1]
    assert [objective.unlabeled_weight(epoch, 300) for epoch in (0, 10, 18, 26, 200)] == [0, 0, 12.5, 25, 25]
    assert DivideMix(warmup_epochs=10).warmup(4) == 4
    assert DivideMix(warmup_epochs=2, ramp_epochs=2, lambda_u=8).unlabeled_weight(3, 9) == 4


def test_passes_are_those_that_a_run_takes(monkeypatch):
    forwards, look = {"samples": 0, "with_gradient": 0}, Engine.look

    def uncounted(*arguments, **how):
        """Look at a batch, for the rehearsal or a run's health, which no method is charged for."""
        before = dict(forwards)
        output = look(*arguments, **how)
        forwards.update(before)
        return output

    monkeypatch.setattr(Engine, "look", uncounted)
    monkeypatch.setattr("noisycorrect.training.run.try_training", lambda *_: None)
    inputs, given = random(20, 4).float(), torch.arange(20) % CLASSES

    class Counting(nn.Linear):
        def forward(self, inputs):
            forwards["samples"] += len(inputs)
            forwards["with_gradient"] += len(inputs) * torch.is_grad_enabled()
            return super().forward(inputs)

    twin_model = TwinNetworks.of(Counting(4, CLASSES), seed=1)
    for augment, passes in ((None, 6 + 2 * 10), (lambda batch: batch + 0.1, 6 + 2 * 18)):
        forwards.update(samples=0, with_gradient=0)
        recipe = PLAIN.replace(objective=DivideMix(augment=augment, warmup_epochs=1), batch_size=10, lr=0.01)
        run = SelfCorrector(twin_model, num_classes=CLASSES, recipe=recipe, epochs=3, callbacks=[QUIET])
        result = run.fit((inputs, given))
        assert result.sample_passes == 20 * passes
        assert forwards["samples"] + 2 * forwards["with_gradient"] == 20 * passes


def test_it_beats_cross_entropy_where_many_labels_are_wrong():
    generator = torch.Generator().manual_seed(0)
    clean = torch.arange(200) % CLASSES
    inputs = torch.randn(200, 10, generator=generator) + 2 * nn.functional.one_hot(clean, 10)
    given = torch.from_numpy(noise.Symmetric(0.4).apply(clean.numpy(), num_classes=CLASSES, seed=0).labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    settings = {"num_classes": CLASSES, "epochs": 20, "lr": 0.1, "batch_size": 30, "callbacks": [QUIET]}
    recipe = PLAIN.replace(objective=DivideMix(warmup_epochs=5, ramp_epochs=5))
    scores = []
    for seed in range(3):  # one division in a few goes wrong
        plain = SelfCorrector(model, recipe="ce", seed=seed, **settings).fit((inputs, given)).model
        found = SelfCorrector(model, recipe=recipe, seed=seed, **settings).fit((inputs, given)).model
        scores.append([(net(inputs).argmax(1) == clean).float().mean().item() for net in (plain, found)])
    plain, found = torch.tensor(scores).mean(0).tolist()
    assert found > plain + 0.03


def test_it_knows_itself():
    identity = DivideMix(augment=lambda inputs: inputs).identity()
    assert identity == {
        "name": "DivideMix", "temperature": 0.5, "alpha": 4.0, "lambda_u": 25.0, "threshold": 0.5,
        "confidence_penalty": False, "views": 2,
    }  # fmt: skip
    assert DivideMix(warmup_epochs=3).identity()["warmup_epochs"] == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": 0}, "temperature"),
        ({"alpha": -1}, "alpha"),
        ({"lambda_u": -1}, "0 <= lambda_u"),
        ({"threshold": 1}, "threshold < 1"),
        ({"warmup_epochs": 0}, "warmup_epochs to be a whole number >= 1"),
        ({"ramp_epochs": 1.5}, "ramp_epochs to be a whole number >= 1"),
        ({"augment": "flip"}, "augment"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(InvalidInputError, match=message):
        DivideMix(**setting)


@pytest.mark.parametrize("inputs", [torch.zeros(COUNT, 4, dtype=torch.int64), {"x": torch.zeros(COUNT, 4)}])
def test_inputs_that_cannot_be_mixed_are_refused(inputs):
    samples, networks = batch(), twin()
    objective = started(DivideMix(warmup_epochs=1), samples, networks, epoch=1)
    with pytest.raises(InvalidInputError, match="a floating tensor as input for DivideMix"):
        objective.loss(networks, Batch(samples.index, inputs, samples.given, samples.trust), GIVEN)


def test_masks_are_refused():
    with pytest.raises(InvalidInputError, match="class labels for DivideMix; got .*Classification"):
        DivideMix().start(Setup(Classification(2), None, 4, 3, torch.device("cpu"), 0, lambda _: None, lambda: None))
