"""Lovász-Softmax against the integral that defines the Lovász extension, and against the loop of its paper."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.losses import lovasz_softmax
from noisycorrect_seg.losses.jaccard import binned_slopes, sorted_slopes


def jaccard_loss(wrong, mass):
    """Berman et al. 2018, Eq. 6, of a set of pixels: their share of the union of the set and the class."""
    union = sum(mass) + sum(1 - mass[i] for i in wrong)
    return len(wrong) / union if wrong else 0.0


def integral(errors, mass):
    """The Lovász extension as a Choquet integral: the loss of the set {error >= level} over levels from 0 to 1."""
    levels = [0.0, *sorted(set(errors))]
    return sum(
        (upper - lower) * jaccard_loss([i for i, error in enumerate(errors) if error >= upper], mass)
        for lower, upper in itertools.pairwise(levels)
    )


def oracle(probs, targets, classes):
    """Eq. 11 in float64, pixel by pixel; `targets` are soft, with columns of zeros where ignored."""
    valid = targets.sum(1).flatten() > 0
    losses = []
    for k in classes:
        p, t = probs[:, k].flatten()[valid].tolist(), targets[:, k].flatten()[valid].tolist()
        losses.append(integral([abs(a - b) for a, b in zip(p, t, strict=True)], t))
    return sum(losses) / len(losses)


def per_class_loop(probs, labels, ignore_index=255):
    """Algorithm 1 of the paper, class by class, differentiated by autograd."""
    columns = probs.transpose(0, 1).flatten(1)[:, labels.flatten() != ignore_index]
    labels = labels[labels != ignore_index]
    losses = []
    for k in labels.unique().tolist():
        own = (labels == k).to(probs.dtype)
        errors, order = (own - columns[k]).abs().sort(descending=True)
        own = own[order]
        jaccard = 1 - (own.sum() - own.cumsum(0)) / (own.sum() + (1 - own).cumsum(0))
        slopes = torch.cat([jaccard[:1], jaccard.diff()])
        losses.append(errors.dot(slopes))
    return torch.stack(losses).mean()


def one_hot(labels, num_classes, dtype=torch.float64):
    return (labels[:, None] == torch.arange(num_classes)[:, None, None]).to(dtype)


def example(seed=0, shape=(2, 4, 5, 6), dtype=torch.float64, ignored=0.2, sharpness=2.0):
    generator = torch.Generator().manual_seed(seed)
    probs = (sharpness * torch.randn(shape, generator=generator, dtype=torch.float64)).softmax(1).to(dtype)
    labels = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return probs, labels


def soft_example(seed=0, shape=(2, 4, 5, 6)):
    probs, labels = example(seed, shape)
    evidence, _ = example(seed + 100, shape)
    return probs, (0.4 * one_hot(labels, shape[1]) + 0.6 * evidence) * (labels != 255)[:, None]


def loss_and_gradient(probs, *args, **settings):
    probs = probs.clone().requires_grad_()
    loss = lovasz_softmax(probs, *args, **settings)
    (gradient,) = torch.autograd.grad(loss, probs)
    return loss.detach(), gradient


def close(dtype=torch.float64):
    """Tolerance on values of up to 1 that are sums of rounded products."""
    return {"rtol": 0, "atol": 1e-12 if dtype is torch.float64 else 1e-6}


@pytest.mark.parametrize("seed", range(4))
def test_hard_loss_is_the_integral(seed):
    probs, labels = example(seed)
    expected = oracle(probs, one_hot(labels, 4), [0, 1, 2, 3])
    assert lovasz_softmax(probs, labels).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", ["exact", "linear"])
@pytest.mark.parametrize("absent", [0, 2])
def test_a_class_that_no_pixel_has_costs_its_largest_probability_also_beside_ignored_pixels(absent, method):
    probs, labels = example(3, dtype=torch.float32)
    labels[labels == absent] = 1
    assert (labels == 255).any()
    largest = probs[:, absent][labels != 255].max()
    loss = lovasz_softmax(probs, labels, classes=[absent], method=method)
    assert float(loss) == pytest.approx(float(largest), abs=1e-3 if method == "linear" else 1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_soft_loss_is_the_integral(seed):
    probs, targets = soft_example(seed)
    expected = oracle(probs, targets, [0, 1, 2, 3])
    assert lovasz_softmax(probs, targets).item() == pytest.approx(expected, abs=1e-12)


def test_hand_computed_values():
    # Class 0 on pixels 0 and 1, p = .9, .4, .3: errors .6 (own), .3 (other), .1 (own); union 2, 3, 3; Jaccard losses
    # 1/2, 2/3, 1; loss .6/2 + .3/6 + .1/3. Class 1 on pixel 2, p = .1, .6, .7: errors .6, .3, .1 of other, own, other;
    # unions 2, 2, 3: Jaccard losses 1/2, 1, 1; loss .6/2 + .3/2.
    probs = torch.tensor([[[[0.9, 0.4, 0.3]], [[0.1, 0.6, 0.7]]]], dtype=torch.float64)
    expected = ((0.6 / 2 + 0.3 / 6 + 0.1 / 3) + (0.6 / 2 + 0.3 / 2)) / 2
    assert lovasz_softmax(probs, torch.tensor([[[0, 0, 1]]])).item() == pytest.approx(expected, abs=1e-15)
    _, gradient = loss_and_gradient(probs, torch.tensor([[[0, 0, 1]]]))
    slopes = torch.tensor([[[[-1 / 3, -1 / 2, 1 / 6]], [[0, 1 / 2, -1 / 2]]]], dtype=torch.float64) / 2
    torch.testing.assert_close(gradient, slopes, **close())


def test_loss_of_certain_predictions_is_one_minus_the_mean_iou():
    probs, labels = example(3, ignored=0.0)
    predicted = probs.argmax(1)
    ious = [((predicted == k) & (labels == k)).sum() / ((predicted == k) | (labels == k)).sum() for k in range(4)]
    loss = lovasz_softmax(one_hot(predicted, 4), labels)
    assert loss.item() == pytest.approx(1 - sum(ious).item() / 4, abs=1e-7)


@pytest.mark.parametrize("method", ["exact", "linear"])
@pytest.mark.parametrize("shape", [(2, 5, 24, 30), (1, 5, 150, 200), (1, 3, 310, 310), (3, 2, 1, 7)])
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_float32_agrees_with_the_loop_of_the_paper_in_float64(shape, method, ignored):
    probs, labels = example(1, shape, torch.float32, ignored, sharpness=4.0)
    exact = probs.double().requires_grad_()
    expected = per_class_loop(exact, labels)
    expected.backward()
    loss, gradient = loss_and_gradient(probs, labels, method=method, bins=2**20)  # bins that hold one pixel
    assert loss.dtype is gradient.dtype is torch.float32
    assert abs(loss.item() - expected.item()) < 1e-6
    difference = (gradient.double() - exact.grad).abs()
    # Pixels whose errors are equal in float32, or in one bin, may change places.
    assert difference.sum() < (1e-5 if method == "exact" else 2e-3) * exact.grad.abs().sum()


@pytest.mark.parametrize("method", ["exact", "linear"])
@pytest.mark.parametrize("soft", [False, True])
def test_classes_in_blocks_are_classes_at_once(method, soft, monkeypatch):
    probs, labels = example(3, (2, 5, 24, 30), torch.float32)
    goal = one_hot(labels, 5) * 0.75 + 0.05 * (labels != 255)[:, None] if soft else labels
    expected = loss_and_gradient(probs, goal, method=method)
    monkeypatch.setattr("noisycorrect_seg.losses.lovasz.BLOCK_ON_CPU", 2 * 2 * 24 * 30)  # two classes, two, one
    torch.testing.assert_close(loss_and_gradient(probs, goal, method=method), expected, **close(torch.float32))


@pytest.mark.parametrize("soft", [True, False])
def test_classes_shared_between_threads_are_classes_one_by_one(soft, monkeypatch):
    probs, labels = example(1, (2, 7, 6, 5), torch.float32)
    targets = probs.flip(0) if soft else labels
    expected = loss_and_gradient(probs, targets)
    monkeypatch.setattr("noisycorrect_seg.losses.lovasz.PIXELS_FOR_THREADS", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert all(map(torch.equal, loss_and_gradient(probs, targets), expected))


def test_small_slopes_keep_their_digits_in_float32():
    mass = torch.zeros(1, 50_000)
    mass[:, ::100] = 1
    slopes, exact = sorted_slopes(mass), sorted_slopes(mass.double())
    torch.testing.assert_close(slopes.double(), exact, rtol=1e-6, atol=0)
    union = mass.double().sum() + (1 - mass.double()).cumsum(1)
    jaccard = torch.arange(1, 50_001) / union
    torch.testing.assert_close(exact.cumsum(1), jaccard, rtol=1e-12, atol=0)


def test_loss_is_soft_exact_and_linear_differentiable():
    probs, labels = example(5, (1, 3, 2, 4))
    _, targets = soft_example(5, (1, 3, 2, 4))
    probs.requires_grad_()
    for goal, method in itertools.product((labels, targets), ("exact", "linear")):
        assert torch.autograd.gradcheck(
            lambda p, goal=goal, m=method: lovasz_softmax(p, goal, method=m, bins=64), probs
        )


@pytest.mark.parametrize("method", ["exact", "linear"])
def test_one_hot_targets_are_hard_labels(method):
    probs, labels = example(2)
    hard, soft = (loss_and_gradient(probs, goal, method=method) for goal in (labels, one_hot(labels, 4)))
    torch.testing.assert_close(hard, soft, **close())
    assert hard[1].abs().max() > 0.01


@pytest.mark.parametrize("method", ["exact", "linear"])
def test_loss_and_gradient_vanish_at_the_target(method):
    probs, _ = soft_example(7)
    loss, gradient = loss_and_gradient(probs, probs, method=method)
    assert loss == 0
    assert torch.equal(gradient, torch.zeros_like(probs))
    certain = one_hot(probs.argmax(1), 4)
    assert lovasz_softmax(certain, probs.argmax(1), method=method) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.booleans())
def test_convex_in_the_probabilities(seed, share, hard):
    one, targets = soft_example(seed, (1, 3, 2, 5))
    other, labels = example(seed + 50, (1, 3, 2, 5), ignored=0.0)
    goal = labels if hard else targets
    between = lovasz_softmax(share * one + (1 - share) * other, goal, classes="all")
    chord = share * lovasz_softmax(one, goal, classes="all") + (1 - share) * lovasz_softmax(other, goal, classes="all")
    assert between <= chord + 1e-12


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 7, 64, 1024]), st.sampled_from([0.3, 2.0, 12.0]))
def test_linear_is_within_its_bound(seed, bins, sharpness):
    probs, labels = example(seed, (2, 4, 9, 8), sharpness=sharpness)
    gap = lovasz_softmax(probs, labels) - lovasz_softmax(probs, labels, method="linear", bins=bins)
    assert -1e-12 <= gap <= 1 / bins
    _, targets = soft_example(seed, (2, 4, 9, 8))
    gap = lovasz_softmax(probs, targets) - lovasz_softmax(probs, targets, method="linear", bins=bins)
    assert abs(gap) <= 1 / bins


def test_linear_is_far_closer_at_the_default():
    probs, labels = example(0, (1, 6, 64, 64), sharpness=4.0)
    gap = lovasz_softmax(probs, labels) - lovasz_softmax(probs, labels, method="linear")
    assert 0 < gap < 2e-5


def test_slopes_of_a_bin_are_the_mean_of_both_orders_of_its_pixels():
    # Bins in falling order: one own pixel; two own and three others; one other.
    counts, masses = torch.tensor([[1.0, 5.0, 1.0]]).double(), torch.tensor([[1.0, 2.0, 0.0]]).double()
    base, share = binned_slopes(counts, masses)
    first = sorted_slopes(torch.tensor([[1.0, 1, 1, 0, 0, 0, 0]]).double())[0]
    last = sorted_slopes(torch.tensor([[1.0, 0, 0, 0, 1, 1, 0]]).double())[0]
    own = (first[1:3].sum() + last[4:6].sum()) / 4
    others = (first[3:6].sum() + last[1:4].sum()) / 6
    torch.testing.assert_close(torch.stack([base[0, 1], (base + share)[0, 1]]), torch.stack([others, own]), **close())


@pytest.mark.parametrize("method", ["exact", "linear"])
def test_ignored_pixels_count_in_nothing(method):
    probs, labels = example(4, ignored=0.4)
    changed = probs.clone()
    changed.transpose(0, 1)[:, labels == 255] = math.nan
    loss, gradient = loss_and_gradient(probs, labels, method=method)
    again, other = loss_and_gradient(changed, labels, method=method)
    assert loss == again
    assert torch.equal(gradient, other)
    assert torch.equal(gradient.abs().sum(1) > 0, labels != 255)
    columns = probs.transpose(0, 1)[:, labels != 255]
    alone = lovasz_softmax(columns[None, :, None], labels[labels != 255][None, None], method=method)
    torch.testing.assert_close(loss, alone, **close())


@pytest.mark.parametrize("method", ["exact", "linear"])
@pytest.mark.parametrize("soft", [False, True])
def test_no_valid_pixel_and_one(method, soft):
    probs, labels = example(1)
    labels.fill_(255)
    loss, gradient = loss_and_gradient(probs, one_hot(labels, 4) if soft else labels, method=method)
    assert loss == 0
    assert loss.shape == ()
    assert torch.equal(gradient, torch.zeros_like(probs))
    labels[1, 2, 3] = 2
    loss, gradient = loss_and_gradient(probs, one_hot(labels, 4) if soft else labels, method=method)
    assert loss.item() == pytest.approx(1 - probs[1, 2, 2, 3].item(), abs=1e-12)
    expected = torch.zeros_like(probs)
    expected[1, 2, 2, 3] = -1
    torch.testing.assert_close(gradient, expected, **close())


def test_another_ignore_index():
    probs, labels = example(1)
    moved = torch.where(labels == 255, -1, labels).to(torch.int16)
    assert lovasz_softmax(probs, moved, -1) == lovasz_softmax(probs, labels)
    assert lovasz_softmax(probs, labels.to(torch.uint8)) == lovasz_softmax(probs, labels)


@pytest.mark.parametrize("method", ["exact", "linear"])
def test_choice_of_classes(method):
    probs, labels = example(6, ignored=0.0)
    labels[labels == 2] = 1
    targets = one_hot(labels, 4)

    def loss(classes):
        return lovasz_softmax(probs, labels, classes=classes, method=method, bins=2**14).item()

    assert loss("present") == pytest.approx(oracle(probs, targets, [0, 1, 3]), abs=2**-14)
    assert loss([3, 1]) == pytest.approx(oracle(probs, targets, [1, 3]), abs=2**-14)
    assert loss((2,)) == pytest.approx(probs[:, 2].max().item(), abs=2**-14)  # absent: its largest error
    assert loss("all") == pytest.approx(oracle(probs, targets, range(4)), abs=2**-14)
    _, gradient = loss_and_gradient(probs, labels, classes=[3, 1], method=method)
    assert (gradient.abs().sum((0, 2, 3)) > 0).tolist() == [False, True, False, True]


def test_a_soft_class_is_present_where_some_pixel_holds_it_likelier_than_chance():
    probs, _ = example(0, (1, 4, 1, 2))
    targets = torch.tensor([[0.5, 0.02], [0.26, 0.95], [0.2, 0.02], [0.04, 0.01]]).double().view(1, 4, 1, 2)
    assert lovasz_softmax(probs, targets).item() == pytest.approx(oracle(probs, targets, [0, 1]), abs=1e-12)
    uniform = torch.full_like(targets, 0.25)
    assert lovasz_softmax(probs, uniform).item() == pytest.approx(oracle(probs, uniform, range(4)), abs=1e-12)


@pytest.mark.parametrize("soft", [False, True])
def test_per_image_is_the_mean_over_images_with_a_valid_pixel(soft):
    probs, labels = example(8, (3, 4, 5, 6))
    labels[1] = 255
    goal = one_hot(labels, 4) if soft else labels
    expected = (lovasz_softmax(probs[:1], goal[:1]) + lovasz_softmax(probs[2:], goal[2:])) / 2
    torch.testing.assert_close(lovasz_softmax(probs, goal, per_image=True), expected, **close())
    assert abs(expected - lovasz_softmax(probs, goal)) > 1e-3
    labels.fill_(255)
    assert lovasz_softmax(probs, labels, per_image=True) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", ["exact", "linear"])
def test_half_precision_is_computed_in_float32(dtype, method):
    probs, labels = example(9, dtype=dtype)
    loss, gradient = loss_and_gradient(probs, labels, method=method)
    wide, wide_gradient = loss_and_gradient(probs.float(), labels, method=method)
    assert loss == wide
    assert loss.dtype is torch.float32
    assert torch.equal(gradient, wide_gradient.to(dtype))
    _, targets = soft_example(9)
    halved = targets.to(dtype)
    assert lovasz_softmax(probs, halved, method=method) == lovasz_softmax(probs.float(), halved.float(), method=method)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(lovasz_softmax(probs, labels, method=method), loss)


def test_nan_becomes_the_loss():
    for method, dtype in itertools.product(("exact", "linear"), (torch.float32, torch.float64)):
        probs, labels = example(0, dtype=dtype, ignored=0.0)
        probs[0, 1, 2, 3] = math.nan
        assert lovasz_softmax(probs, labels, method=method).isnan()


@pytest.mark.parametrize("method", ["exact", "linear"])
def test_errors_that_round_beyond_one_are_one(method):
    probs = torch.tensor([[[[1.0000001, 0.0]], [[0.0, 1.0000001]]]])
    assert lovasz_softmax(probs, torch.tensor([[[1, 0]]]), method=method) == 1


@pytest.mark.parametrize("method", ["exact", "linear"])
def test_arguments_stay_as_they_were_and_any_layout_will_do(method):
    probs, labels = example(2, dtype=torch.float32)
    _, targets = soft_example(2)
    for goal in (labels, targets):
        before = probs.clone(), goal.clone()
        expected = loss_and_gradient(probs, goal, method=method)
        assert torch.equal(probs, before[0])
        assert torch.equal(goal, before[1])
        mixed = probs.to(memory_format=torch.channels_last)
        torch.testing.assert_close(loss_and_gradient(mixed, goal, method=method), expected, rtol=0, atol=0)
    with torch.inference_mode():
        assert lovasz_softmax(probs, targets, method=method) == expected[0]


def test_invalid_input():
    probs, labels = example(0)
    _, targets = soft_example(0)
    with pytest.raises(InvalidInputError, match=r"probs in \[0, 1\]; got values from -.*logits.softmax\(1\)"):
        lovasz_softmax(probs * 4 - 1, labels)
    with pytest.raises(InvalidInputError, match=r"labels in 0..3 or 255; got 4"):
        lovasz_softmax(probs, labels.where(labels == 255, 4))
    with pytest.raises(InvalidInputError, match=r"labels in 0..3 or 255; got -1"):
        lovasz_softmax(probs, labels.where(labels == 255, -1))
    with pytest.raises(
        InvalidInputError, match=r"integer labels of shape \(N, H, W\); got torch.int64 of shape \(2, 1"
    ):
        lovasz_softmax(probs, labels[:, None])
    with pytest.raises(
        InvalidInputError, match=r"soft targets of shape \(N, 4, H, W\); got torch.float64 of shape \(2, 5"
    ):
        lovasz_softmax(probs, labels.double())
    with pytest.raises(InvalidInputError, match=r"soft targets in \[0, 1\]; got values from"):
        lovasz_softmax(probs, targets * 9)
    with pytest.raises(InvalidInputError, match=r"targets of 2 images of \(5, 6\) pixels; got 2 of \(4, 6\)"):
        lovasz_softmax(probs, labels[:, :4])
    with pytest.raises(InvalidInputError, match="targets of 2 images"):
        lovasz_softmax(probs, labels[:1])
    with pytest.raises(InvalidInputError, match=r"probs of shape \(N, K, h, w\), floating; got torch.int64"):
        lovasz_softmax(labels, labels)
    with pytest.raises(InvalidInputError, match="targets as a tensor of pixels; got list"):
        lovasz_softmax(probs, labels.tolist())
    with pytest.raises(InvalidInputError, match="did you mean 'linear'"):
        lovasz_softmax(probs, labels, method="liner")
    with pytest.raises(InvalidInputError, match="bins >= 2; got 1"):
        lovasz_softmax(probs, labels, method="linear", bins=1)
    with pytest.raises(InvalidInputError, match="did you mean 'present'"):
        lovasz_softmax(probs, labels, classes="presnt")
    for classes in ([], [4], [-1], [1, 1]):
        with pytest.raises(InvalidInputError, match="different classes in 0..3"):
            lovasz_softmax(probs, labels, classes=classes)
