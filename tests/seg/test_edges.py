"""Edges of labels, edges of probabilities, and the losses on them."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.losses import balanced_edge_loss, consistency_loss, edge_targets, soft_edges
from noisycorrect_seg.losses.edge import grown
from noisycorrect_seg.losses.soft_edges import EdgeMap, Pairs
from noisycorrect_seg.losses.targets import by_class

PARTNERS = {"below its partner": (-1, 0), "left": (0, 1), "above right": (1, -1), "above left": (1, 1)}


def loop_edges(labels, ignore_index=255, width=3):
    """One image, pixel by pixel."""
    height, columns = labels.shape
    edges = np.zeros_like(labels)
    for y, x, (dy, dx) in itertools.product(range(height), range(columns), PARTNERS.values()):
        if not (0 <= y + dy < height and 0 <= x + dx < columns):
            continue
        pair = labels[y, x], labels[y + dy, x + dx]
        if pair[0] != pair[1] and ignore_index not in pair:
            reach = width // 2
            edges[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = 1
    return edges


def loop_soft_edges(probs, valid=None):
    """One image (K, H, W) in float64, pixel by pixel."""
    _, height, width = probs.shape
    seeds = np.zeros((height, width))
    for y, x, (dy, dx) in itertools.product(range(height), range(width), PARTNERS.values()):
        if not (0 <= y + dy < height and 0 <= x + dx < width):
            continue
        if valid is not None and not (valid[y, x] and valid[y + dy, x + dx]):
            continue
        seeds[y, x] = max(seeds[y, x], 1 - float(probs[:, y, x] @ probs[:, y + dy, x + dx]))
    padded = np.pad(seeds, 1)
    return np.array([[padded[y : y + 3, x : x + 3].max() for x in range(width)] for y in range(height)])


def one_hot(labels, num_classes):
    return (labels[:, None] == torch.arange(num_classes)[:, None, None]).double()


masks = arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.sampled_from([0, 1, 2, 255]))


@settings(max_examples=60, deadline=None)
@given(masks, st.sampled_from([1, 3, 5, 9]))
def test_edge_targets_are_those_of_the_loop(labels, width):
    edges = edge_targets(torch.from_numpy(labels), width=width)
    assert edges.dtype is torch.uint8
    assert np.array_equal(edges.numpy(), [loop_edges(mask, width=width) for mask in labels])
    one = edge_targets(torch.from_numpy(labels[0].astype(np.int64)), width=width)
    assert torch.equal(one, edges[0])


def test_seeds_lie_on_the_stated_side():
    labels = torch.zeros(5, 5, dtype=torch.int64)
    labels[2, 2] = 1
    expected = torch.tensor([[0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]])
    assert torch.equal(edge_targets(labels, width=1), expected.to(torch.uint8))
    rows = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    assert edge_targets(rows[:, None]).flatten().tolist() == [0, 0, 0, 1, 1, 1, 0]  # the lower pixel, grown by one
    assert edge_targets(rows[None]).flatten().tolist() == [0, 0, 1, 1, 1, 0, 0]  # the left pixel, grown by one


def test_ignored_pixels_make_no_edge_but_can_lie_on_one():
    row = torch.tensor([[[0, 0, 1, 1, 255, 0, 0]]])
    assert edge_targets(row).flatten().tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert edge_targets(torch.tensor([[[0, 1, 255]]])).flatten().tolist() == [1, 1, 0]
    assert edge_targets(torch.tensor([[[255, 0, 1]]])).flatten().tolist() == [1, 1, 1]
    assert edge_targets(row.where(row != 255, 7), ignore_index=7).flatten().tolist() == [1, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("radius", [0, 1, 2, 20])
def test_growing_is_a_maximum_over_squares(radius):
    mask = torch.rand(2, 9, 12, generator=torch.Generator().manual_seed(0)) < 0.05
    side = 2 * radius + 1
    expected = F.max_pool2d(F.pad(mask.double(), [radius] * 4), side, stride=1) > 0
    assert torch.equal(grown(mask, radius), expected)


def edge_example(seed=0, shape=(2, 6, 7)):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], 2, *shape[1:], generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 2, shape, generator=generator)


def test_balanced_edge_loss_is_the_published_weighted_mean():
    logits, targets = edge_example()
    targets[0, 1:3] = 255
    edges, others = (targets == 1).sum(), (targets == 0).sum()
    weights = torch.stack([edges, others]).double() / (edges + others)
    expected = F.cross_entropy(logits, targets, weights, ignore_index=255)
    assert balanced_edge_loss(logits, targets).item() == pytest.approx(expected.item(), abs=1e-12)


def test_balanced_edge_loss_by_hand():
    logits = torch.tensor([[[[0.0, 0.0, 3.0]], [[1.0, -1.0, 3.0]]]])
    targets = torch.tensor([[[1, 0, 0]]], dtype=torch.uint8)
    soft = math.log1p(math.exp(-1))
    assert balanced_edge_loss(logits, targets).item() == pytest.approx((soft + (soft + math.log(2)) / 2) / 2, abs=1e-6)


@pytest.mark.parametrize("kind", [0, 1])
def test_without_edges_or_with_nothing_else_the_plain_cross_entropy_is_left(kind):
    logits, targets = edge_example()
    targets.fill_(kind)
    targets[1, 2] = 255
    expected = F.cross_entropy(logits, targets, ignore_index=255)
    assert balanced_edge_loss(logits, targets).item() == pytest.approx(expected.item(), abs=1e-12)


def test_balanced_edge_loss_with_nothing_valid():
    logits, targets = edge_example()
    logits.requires_grad_()
    loss = balanced_edge_loss(logits, torch.full_like(targets, 255))
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_balanced_edge_loss_resizes_logits_and_has_a_gradient():
    logits, _ = edge_example(shape=(2, 4, 5))
    _, targets = edge_example(1, shape=(2, 7, 9))
    targets[0, 0, 0] = 255
    large = F.interpolate(logits, size=(7, 9), mode="bilinear", align_corners=True)
    assert balanced_edge_loss(logits, targets).item() == pytest.approx(
        balanced_edge_loss(large, targets).item(), abs=1e-12
    )
    assert torch.autograd.gradcheck(lambda z: balanced_edge_loss(z, targets), logits.requires_grad_())


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.integers(0, 3)))
def test_soft_edges_of_certain_classes_are_edge_targets(labels):
    labels = torch.from_numpy(labels).long()
    assert torch.equal(soft_edges(one_hot(labels, 4)), edge_targets(labels).double())


def probs_example(seed=0, shape=(2, 4, 6, 7), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(shape, generator=generator, dtype=torch.float64)).softmax(1).to(dtype)


@pytest.mark.parametrize("shape", [(2, 4, 6, 7), (3, 2, 1, 5), (1, 3, 4, 1), (1, 2, 1, 1)])
def test_soft_edges_are_those_of_the_loop(shape):
    probs = probs_example(0, shape)
    expected = torch.from_numpy(np.stack([loop_soft_edges(image) for image in probs.numpy()]))
    torch.testing.assert_close(soft_edges(probs), expected, rtol=0, atol=1e-14)
    assert soft_edges(probs).shape == (shape[0], *shape[2:])


def test_soft_edges_with_pixels_that_are_not_valid():
    probs = probs_example()
    valid = torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(1)) < 0.8
    expected = torch.from_numpy(
        np.stack([loop_soft_edges(*pair) for pair in zip(probs.numpy(), valid.numpy(), strict=True)])
    )
    found = EdgeMap(by_class(probs), Pairs(probs.shape, valid))
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-14)


def test_soft_edges_have_a_gradient():
    probs = probs_example(3, (2, 3, 4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(soft_edges, probs)
    soft_edges(probs).sum().backward()
    assert (probs.grad != 0).any(1).float().mean() > 0.3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    probs = probs_example(dtype=dtype)
    logits, targets = edge_example()
    logits = logits.to(dtype)
    parsing = probs * 3
    labels = probs.argmax(1)
    pairs = [
        (soft_edges(probs), soft_edges(probs.float())),
        (balanced_edge_loss(logits, targets), balanced_edge_loss(logits.float(), targets)),
        (consistency_loss(parsing, logits, labels), consistency_loss(parsing.float(), logits.float(), labels)),
    ]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pairs += [
            (soft_edges(probs), pairs[0][1]),
            (balanced_edge_loss(logits, targets), pairs[1][1]),
            (consistency_loss(parsing, logits, labels), pairs[2][1]),
        ]
    for half, wide in pairs:
        assert half.dtype is torch.float32
        assert torch.equal(half, wide)


def consistency_example(seed=0, ignored=0.15):
    generator = torch.Generator().manual_seed(seed)
    parsing = 2 * torch.randn(2, 4, 8, 9, generator=generator, dtype=torch.float64)
    edge = torch.randn(2, 2, 8, 9, generator=generator, dtype=torch.float64)
    labels = (torch.arange(9) > 4).long().expand(2, 8, 9) + 2 * (torch.arange(8) > 3).long()[:, None]
    labels = labels.masked_fill(torch.rand(2, 8, 9, generator=generator) < ignored, 255)
    return parsing, edge, labels


def loop_consistency(parsing, edge, labels):
    """SCHP, Eq. 3, pixel by pixel."""
    gaps = []
    for p, e, mask in zip(parsing.softmax(1).numpy(), edge.softmax(1)[:, 1].numpy(), labels.numpy(), strict=True):
        soft, positive = loop_soft_edges(p, mask != 255), loop_edges(mask)
        gaps += [abs(soft[at] - e[at]) for at in zip(*np.nonzero(positive), strict=True) if mask[at] != 255]
    return sum(gaps) / len(gaps)


@pytest.mark.parametrize("seed", range(3))
def test_consistency_is_equation_3(seed):
    parsing, edge, labels = consistency_example(seed)
    assert consistency_loss(parsing, edge, labels).item() == pytest.approx(
        loop_consistency(parsing, edge, labels), abs=1e-13
    )


def test_consistency_has_a_gradient_for_both_where_the_published_term_is_zero():
    parsing, edge, labels = consistency_example()
    predicted, branch = edge_targets(parsing.argmax(1)), edge.argmax(1)
    both = (predicted == 1) & (branch == 1) & (edge_targets(labels) == 1)
    assert both.any()
    assert (predicted[both].double() - branch[both]).abs().sum() == 0  # what the published code computes
    inputs = parsing.requires_grad_(), edge.requires_grad_()
    part = slice(2, 7), slice(2, 7)  # with all four classes and ignored pixels; every element of it is checked
    some = [maps[:1, :, *part].detach().requires_grad_() for maps in inputs]
    assert torch.autograd.gradcheck(lambda *maps: consistency_loss(*maps, labels[:1, *part]), some)
    consistency_loss(*inputs, labels).backward()
    assert parsing.grad.abs().max() > 1e-3
    assert edge.grad.abs().max() > 1e-3


def test_a_parsing_that_agrees_with_its_edges_costs_nothing():
    _, _, labels = consistency_example()
    edges = edge_targets(labels).long()
    parsing = 100 * one_hot(labels.where(labels != 255, 3), 4)
    sure = 100 * one_hot(edges, 2)
    assert consistency_loss(parsing, sure, labels).item() == pytest.approx(0, abs=1e-12)
    assert consistency_loss(parsing, -sure, labels).item() == pytest.approx(1, abs=1e-12)


def test_ignored_pixels_count_in_nothing():
    parsing, edge, labels = consistency_example(1)
    inputs = parsing.clone().requires_grad_(), edge.clone().requires_grad_()
    loss = consistency_loss(*inputs, labels)
    loss.backward()
    ignored = labels == 255
    for maps in inputs:
        assert not maps.grad.transpose(0, 1)[:, ignored].any()
    other = parsing.clone()
    other.transpose(0, 1)[:, ignored] = torch.randn(4, int(ignored.sum()), dtype=torch.float64)
    assert consistency_loss(other, edge, labels) == loss


@pytest.mark.parametrize("value", [2, 255])
def test_without_an_edge_the_loss_is_zero(value):
    parsing, edge, labels = consistency_example()
    inputs = parsing.requires_grad_(), edge.requires_grad_()
    loss = consistency_loss(*inputs, torch.full_like(labels, value))
    loss.backward()
    assert loss == 0
    for maps in inputs:
        assert torch.equal(maps.grad, torch.zeros_like(maps))


def test_consistency_resizes_logits_and_takes_soft_targets():
    parsing, edge, labels = consistency_example()
    small = parsing[..., ::2, ::2], edge[..., ::2, ::2]
    large = [F.interpolate(maps, size=(8, 9), mode="bilinear", align_corners=True) for maps in small]
    assert consistency_loss(*small, labels).item() == pytest.approx(consistency_loss(*large, labels).item(), abs=1e-12)
    soft = (0.6 * one_hot(labels, 4) + 0.1) * (labels != 255)[:, None]
    assert torch.equal(consistency_loss(parsing, edge, soft), consistency_loss(parsing, edge, labels))


def test_arguments_stay_as_they_were():
    parsing, edge, labels = consistency_example()
    probs = parsing.softmax(1)
    before = [maps.clone() for maps in (parsing, edge, labels, probs)]
    edge_targets(labels)
    soft_edges(probs)
    consistency_loss(parsing, edge, labels)
    balanced_edge_loss(edge, edge_targets(labels))
    for maps, copy in zip((parsing, edge, labels, probs), before, strict=True):
        assert torch.equal(maps, copy)


def test_invalid_input():
    parsing, edge, labels = consistency_example()
    for wrong in (labels.double(), labels == 1, labels[None]):
        with pytest.raises(InvalidInputError, match=r"integer labels of shape \(N, H, W\) or \(H, W\); got torch"):
            edge_targets(wrong)
    for width in (0, 2, -1, 3.0):
        with pytest.raises(InvalidInputError, match="an odd edge width"):
            edge_targets(labels, width=width)
    with pytest.raises(
        InvalidInputError, match=r"edge logits of shape \(N, 2, h, w\), floating; got shape \(2, 4, 8, 9\)"
    ):
        balanced_edge_loss(parsing, edge_targets(labels))
    with pytest.raises(InvalidInputError, match=r"integer edge targets of shape \(2, H, W\); got torch.uint8"):
        balanced_edge_loss(edge, edge_targets(labels)[:1])
    with pytest.raises(InvalidInputError, match=r"integer edge targets of shape \(2, H, W\); got torch.float"):
        balanced_edge_loss(edge, edge_targets(labels).float())
    with pytest.raises(InvalidInputError, match=r"edge targets 0, 1 or 255; got other values"):
        balanced_edge_loss(edge, labels)
    with pytest.raises(InvalidInputError, match=r"probs of shape \(N, K, h, w\)"):
        soft_edges(parsing[0])
    with pytest.raises(InvalidInputError, match="labels in 0..3 or 255; got 9"):
        consistency_loss(parsing, edge, labels.where(labels != 3, 9))
    with pytest.raises(
        InvalidInputError, match=r"edge logits of shape \(2, 2, h, w\), floating; got shape \(1, 2, 8, 9\)"
    ):
        consistency_loss(parsing, edge[:1], labels)


@pytest.mark.parametrize("ignored", [-1, -100])
def test_a_negative_ignore_index_is_no_label_of_bytes(ignored):
    labels = torch.tensor([[[0, 0, 0, 0, 0, ignored % 256, ignored % 256]]], dtype=torch.uint8)
    assert torch.equal(edge_targets(labels, ignored), edge_targets(labels.long(), ignored))
    assert edge_targets(labels, ignored).any()
    for targets in (labels, labels.long()):
        with pytest.raises(InvalidInputError, match=f"edge targets 0, 1 or {ignored}"):
            balanced_edge_loss(torch.zeros(1, 2, 1, 7), targets, ignored)


def test_edges_of_the_255th_of_many_classes_are_not_lost():
    labels = torch.tensor([[0, 0, 0, 255, 255, 255, 299]])
    with pytest.raises(InvalidInputError, match="none of 300 classes; got 255; to fix: pass ignore_index=65535"):
        edge_targets(labels)
    assert edge_targets(labels, 65535).tolist() == [[0, 1, 1, 1, 1, 1, 1]]
    assert edge_targets(labels.clamp(max=255)).sum() == 0
