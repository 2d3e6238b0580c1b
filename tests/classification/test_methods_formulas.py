"""Every formula of the one-network methods against a slow float64 oracle, written as the paper has it."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from noisycorrect.classification.methods.early_learning import early_learning_regularizer, temporal_average
from noisycorrect.classification.methods.interpolation import mix
from noisycorrect.classification.methods.over_parameterization import (
    explained_cross_entropy,
    explained_squared_error,
    label_noise,
)
from noisycorrect.classification.methods.robust_losses import generalized_cross_entropy, symmetric_cross_entropy
from noisycorrect.classification.methods.targets import bootstrap_loss, labeled_mean, smooth_targets
from noisycorrect.classification.methods.transition import estimate_transition, forward_correction_loss
from noisycorrect.labels.refine import one_hot
from noisycorrect.support.errors import InvalidInputError

COUNT, CLASSES = 7, 4
LABELS = [0, 3, 1, -1, 2, 3, 0]  # one sample without a label


def example(dtype=torch.float64, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(COUNT, CLASSES, generator=generator, dtype=torch.float64)
    return logits.to(dtype), one_hot(torch.tensor(LABELS), CLASSES).to(dtype)


def softmax(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def labeled_rows():
    logits, _ = example()
    return [(softmax(row), label) for row, label in zip(logits.tolist(), LABELS, strict=True) if label >= 0]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def assert_matches(loss, expected, *arguments):
    """The loss in float64 and float32, and its gradient."""
    logits, targets = example()
    assert loss(logits, targets, *arguments).item() == pytest.approx(expected, rel=1e-12)
    single, targets32 = example(torch.float32)
    assert loss(single, targets32, *arguments).item() == pytest.approx(expected, rel=1e-5)
    assert gradcheck(lambda logits: loss(logits, targets, *arguments), logits.requires_grad_())


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_smoothed_labels(smoothing):
    targets = smooth_targets(example()[1], smoothing)
    for row, label in zip(targets.tolist(), LABELS, strict=True):
        for k, value in enumerate(row):
            expected = 0 if label < 0 else (1 - smoothing) * (k == label) + smoothing / CLASSES
            assert value == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("trust", [0.0, 0.8, 1.0])
def test_bootstrapping(kind, trust):
    def loss(probs, label):
        total = 0.0
        for k, prob in enumerate(probs):
            own = prob if kind == "soft" else float(prob == max(probs))
            total -= (trust * (k == label) + (1 - trust) * own) * math.log(prob)
        return total

    assert_matches(bootstrap_loss, mean(loss(*row) for row in labeled_rows()), trust, kind)


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_generalized_cross_entropy(q):
    expected = mean((1 - probs[label] ** q) / q for probs, label in labeled_rows())
    assert_matches(generalized_cross_entropy, expected, q)


def test_generalized_cross_entropy_lies_between_cross_entropy_and_absolute_error():
    logits, targets = example()
    cross_entropy = mean(-math.log(probs[label]) for probs, label in labeled_rows())
    absolute = mean(sum(abs((k == label) - prob) for k, prob in enumerate(probs)) for probs, label in labeled_rows())
    assert generalized_cross_entropy(logits, targets, 1e-7).item() == pytest.approx(cross_entropy, rel=1e-5)
    assert generalized_cross_entropy(logits, targets, 1.0).item() == pytest.approx(absolute / 2, rel=1e-12)


@pytest.mark.parametrize(("alpha", "beta", "log_zero"), [(0.1, 1.0, -4.0), (1.0, 0.0, -4.0), (0.0, 2.0, -6.0)])
def test_symmetric_cross_entropy(alpha, beta, log_zero):
    def loss(probs, label):
        reverse = -sum(prob * (0.0 if k == label else log_zero) for k, prob in enumerate(probs))
        return alpha * -math.log(probs[label]) + beta * reverse

    expected = mean(loss(*row) for row in labeled_rows())
    assert_matches(symmetric_cross_entropy, expected, alpha, beta, log_zero)


def transition_matrix():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(CLASSES, CLASSES, generator=generator, dtype=torch.float64).softmax(1)


def test_forward_correction():
    matrix = transition_matrix()

    def loss(probs, label):
        return -math.log(sum(prob * matrix[true, label].item() for true, prob in enumerate(probs)))

    assert_matches(forward_correction_loss, mean(loss(*row) for row in labeled_rows()), matrix)


def test_forward_correction_with_the_identity_is_cross_entropy():
    expected = mean(-math.log(probs[label]) for probs, label in labeled_rows())
    assert_matches(forward_correction_loss, expected, torch.eye(CLASSES, dtype=torch.float64))


def test_forward_correction_is_not_taken_in_half_precision():
    logits, targets = example(torch.float32)
    matrix = transition_matrix().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = forward_correction_loss(logits, targets, matrix)
    assert inside == forward_correction_loss(logits, targets, matrix)


@pytest.mark.parametrize("percentile", [0.0, 0.5, 0.97, 1.0])
def test_transition_matrix_at_anchor_points(percentile):
    probs = torch.rand(60, CLASSES, generator=torch.Generator().manual_seed(2), dtype=torch.float64).softmax(1)
    estimate = estimate_transition(probs, percentile)
    rows = probs.tolist()
    for i in range(CLASSES):
        passed_over = min(59 - math.floor(percentile * 59), sum(row[i] == max(row) for row in rows) // 2)
        anchor = sorted(rows, key=lambda row: row[i])[59 - passed_over]
        for j in range(CLASSES):
            assert estimate[i, j].item() == pytest.approx(anchor[j], rel=1e-12)


def test_transition_matrix_of_perfect_predictions_is_the_noise():
    # The network knows p(given | input): each input's own class through the true matrix, and anchors of each class.
    matrix = transition_matrix() + 2 * torch.eye(CLASSES, dtype=torch.float64)
    matrix /= matrix.sum(1, keepdim=True)
    probs = matrix.repeat(30, 1)
    assert estimate_transition(probs).sub(matrix).abs().max() < 1e-12


@pytest.mark.parametrize("sizes", [[20] * 50, [500, 495, 5]], ids=["many classes", "a rare class"])
def test_anchors_are_of_their_class_where_it_has_few_samples(sizes):
    classes = len(sizes)
    matrix = torch.full((classes, classes), 0.3 / (classes - 1), dtype=torch.float64).fill_diagonal_(0.7)
    probs = matrix.repeat_interleave(torch.tensor(sizes), 0)
    assert estimate_transition(probs).sub(matrix).abs().max() < 1e-12


@pytest.mark.parametrize(("probs", "percentile"), [((0, 3), 0.9), ((5,), 0.9), ((5, 3), 1.1), ((5, 3), -0.1)])
def test_bad_estimates_are_refused(probs, percentile):
    with pytest.raises(InvalidInputError, match="percentile|predictions"):
        estimate_transition(torch.full(probs, 1 / 3), percentile)


def test_temporal_average():
    logits, _ = example()
    probs = logits.softmax(1).clamp(1e-4, 1 - 1e-4)
    average = torch.rand(COUNT, CLASSES, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = temporal_average(average, probs, 0.7)
    for i in range(COUNT):
        total = sum(probs[i].tolist())
        for k in range(CLASSES):
            expected = 0.7 * average[i, k].item() + 0.3 * probs[i, k].item() / total
            assert found[i, k].item() == pytest.approx(expected, rel=1e-12)


def test_early_learning_regularizer():
    logits, _ = example()
    probs = logits.softmax(1)
    average = torch.rand(COUNT, CLASSES, generator=torch.Generator().manual_seed(3), dtype=torch.float64).softmax(1)
    found = early_learning_regularizer(probs, average)
    for i in range(COUNT):
        product = sum(p * t for p, t in zip(probs[i].tolist(), average[i].tolist(), strict=True))
        assert found[i].item() == pytest.approx(math.log(1 - product), rel=1e-12)
    assert gradcheck(lambda probs: early_learning_regularizer(probs, average), probs.requires_grad_())


def over_parameterized():
    logits, _ = example()
    generator = torch.Generator().manual_seed(4)
    u = torch.rand(COUNT, 1, generator=generator, dtype=torch.float64)
    v = torch.rand(COUNT, CLASSES, generator=generator, dtype=torch.float64)
    targets = one_hot(torch.tensor([label % CLASSES for label in LABELS]), CLASSES).double()
    return logits.softmax(1), u, v, targets


def test_sparse_over_parameterization():
    probs, u, v, targets = over_parameterized()
    noise = label_noise(u, v, targets)
    cross_entropy = explained_cross_entropy(probs, noise, targets)
    squared = explained_squared_error(probs, noise, targets)
    for i in range(COUNT):
        y = targets[i].tolist()
        s = [u[i, 0].item() ** 2 * y[k] - v[i, k].item() ** 2 * (1 - y[k]) for k in range(CLASSES)]
        f = probs[i].tolist()
        w = [max(f[k] + s[k], 1e-4) for k in range(CLASSES)]
        assert noise[i].tolist() == pytest.approx(s, rel=1e-12)
        label = y.index(1)
        assert cross_entropy[i].item() == pytest.approx(-math.log(w[label] / sum(w)), rel=1e-12)
        expected = sum((f[k] + s[k] - y[k]) ** 2 for k in range(CLASSES))
        assert squared[i].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_mixing(weight):
    inputs = torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    partner = [2, 0, 3, 1]
    mixed = mix({"image": inputs, "pair": (inputs[:, 0],)}, torch.tensor(partner), weight)
    for i in range(4):
        expected = weight * inputs[i] + (1 - weight) * inputs[partner[i]]
        assert torch.equal(mixed["image"][i], expected)
        assert torch.equal(mixed["pair"][0][i], expected[0])


def test_whole_numbers_cannot_be_mixed():
    with pytest.raises(InvalidInputError, match="floating inputs"):
        mix(torch.zeros(2, 3, dtype=torch.uint8), torch.tensor([1, 0]), 0.5)


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits, targets: bootstrap_loss(logits, targets, 0.95),
        lambda logits, targets: generalized_cross_entropy(logits, targets, 0.7),
        lambda logits, targets: symmetric_cross_entropy(logits, targets, 0.1, 1.0, -4.0),
        lambda logits, targets: forward_correction_loss(logits, targets, torch.eye(CLASSES)),
    ],
)
def test_losses_stay_finite(loss):
    _, targets = example(torch.float32)
    logits = torch.tensor([[-1000.0, 1000.0, 0.0, 0.0]] * COUNT, requires_grad=True)
    loss(logits, targets).backward()
    assert torch.isfinite(logits.grad).all()
    assert loss(torch.zeros(2, CLASSES), torch.zeros(2, CLASSES)) == 0  # nothing is labelled


def test_the_mean_leaves_out_what_has_no_label():
    losses = torch.arange(COUNT, dtype=torch.float64)
    assert labeled_mean(losses, example()[1]).item() == pytest.approx((21 - 3) / 6)
