"""Cross-entropy, and the loss of Eq. 4 against its terms."""

import itertools
import math
import weakref
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.losses import (
    ParsingLoss,
    balanced_edge_loss,
    consistency_loss,
    cross_entropy,
    edge_targets,
    lovasz_softmax,
)
from noisycorrect_seg.losses.branch import BranchTerms
from noisycorrect_seg.losses.eager import with_gradient
from noisycorrect_seg.losses.resizing import enlarged, gathered
from noisycorrect_seg.losses.targets import Targets
from noisycorrect_seg.outputs import ParsingOutput


def labels_example(seed=0, shape=(2, 8, 9), num_classes=4, ignored=0.2):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_classes, shape, generator=generator)
    return labels.masked_fill(torch.rand(shape, generator=generator) < ignored, 255)


def logits_example(seed=0, shape=(2, 4, 8, 9), dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def one_hot(labels, num_classes=4):
    return (labels[:, None] == torch.arange(num_classes)[:, None, None]).double()


def soft_example(seed=0, num_classes=4):
    labels = labels_example(seed, num_classes=num_classes)
    evidence = logits_example(seed + 9, (2, num_classes, 8, 9)).softmax(1)
    return (0.3 * one_hot(labels, num_classes) + 0.7 * evidence) * (labels != 255)[:, None]


def loop_cross_entropy(logits, targets, weights=None):
    """Pixel by pixel in float64; `targets` are soft."""
    weights = [1.0] * logits.shape[1] if weights is None else weights.tolist()
    total = mass = 0.0
    for image, y, x in itertools.product(*map(range, (len(logits), *logits.shape[2:]))):
        scores, shares = logits[image, :, y, x].tolist(), targets[image, :, y, x].tolist()
        norm = math.log(sum(math.exp(score) for score in scores))
        for score, share, weight in zip(scores, shares, weights, strict=True):
            total += weight * share * (norm - score)
            mass += weight * share
    return total / mass


WEIGHTS = torch.tensor([0.2, 1.0, 3.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_is_the_mean_over_valid_pixels(weights):
    logits, labels, targets = logits_example(), labels_example(), soft_example()
    hard = cross_entropy(logits, labels, class_weights=weights).item()
    assert hard == pytest.approx(loop_cross_entropy(logits, one_hot(labels), weights), abs=1e-12)
    assert hard == pytest.approx(F.cross_entropy(logits, labels, weights, ignore_index=255).item(), abs=1e-12)
    soft = cross_entropy(logits, targets, class_weights=weights).item()
    assert soft == pytest.approx(loop_cross_entropy(logits, targets, weights), abs=1e-12)
    assert cross_entropy(logits, one_hot(labels), class_weights=weights).item() == pytest.approx(hard, abs=1e-12)


def test_soft_targets_are_not_divided_by_the_number_of_classes():
    logits, labels = logits_example(shape=(2, 20, 8, 9)), labels_example(num_classes=20)
    published = F.kl_div(logits.log_softmax(1), one_hot(labels, 20), reduction="sum") / logits.numel()
    ratio = cross_entropy(logits, one_hot(labels, 20)) / published
    assert ratio.item() == pytest.approx(20 / (labels != 255).double().mean().item())


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_has_the_right_gradient(weights):
    logits = logits_example()[..., :4, :5].requires_grad_()
    for targets in (labels_example()[..., :4, :5], soft_example()[..., :4, :5]):
        assert torch.autograd.gradcheck(lambda z, t=targets: cross_entropy(z, t, class_weights=weights), logits)
        cross_entropy(logits, targets, class_weights=weights).backward()
        valid = targets.sum(1) > 0 if targets.is_floating_point() else targets != 255
        assert not logits.grad.transpose(0, 1)[:, ~valid].any()
        logits.grad = None


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_without_a_valid_pixel_and_with_one(weights, soft):
    logits, labels = logits_example().requires_grad_(), torch.full((2, 8, 9), 255)
    loss = cross_entropy(logits, one_hot(labels) if soft else labels, class_weights=weights)
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
    labels[1, 2, 3] = 2
    loss = cross_entropy(logits, one_hot(labels) if soft else labels, class_weights=weights)
    assert loss.item() == pytest.approx(-logits[1, :, 2, 3].log_softmax(0)[2].item(), abs=1e-12)


def test_labels_of_a_class_without_weight_cost_nothing():
    loss = cross_entropy(logits_example(), torch.full((2, 8, 9), 3), class_weights=WEIGHTS)
    assert loss == 0


# ---- the loss ----


def output_example(seed=0, dtype=torch.float64, grad=False):
    """Branches at half of the labels' size."""
    shapes = (2, 4, 4, 5), (2, 4, 4, 5), (2, 2, 4, 5)
    maps = (logits_example(seed + i, shape, dtype).requires_grad_(grad) for i, shape in enumerate(shapes))
    return ParsingOutput(*maps)


def large(logits):
    return F.interpolate(logits, size=(8, 9), mode="bilinear", align_corners=True)


def expected_terms(output, targets, method="exact"):
    """Eq. 4 put together from the public losses, each from full-size logits."""
    hard = targets.max(1).indices.masked_fill(targets.sum(1) == 0, 255) if targets.is_floating_point() else targets
    edges = edge_targets(hard).masked_fill(hard == 255, 255)
    branches = [large(logits) for logits in (output.parsing, output.fusion) if logits is not None]
    terms = {
        "cross_entropy": sum(cross_entropy(z, targets) for z in branches) / len(branches),
        "lovasz": sum(lovasz_softmax(z.softmax(1), targets, method=method) for z in branches) / len(branches),
    }
    if output.edge is not None:
        edge = large(output.edge)
        terms["consistency"] = sum(consistency_loss(z, edge, hard) for z in branches) / len(branches)
        terms["edge"] = balanced_edge_loss(edge, edges)
    return terms


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("method", ["exact", "linear"])
@pytest.mark.parametrize("missing", [(), ("fusion",), ("edge",), ("fusion", "edge")])
def test_the_loss_is_equation_4(soft, method, missing):
    output = output_example()._replace(**dict.fromkeys(missing))
    targets = soft_example() if soft else labels_example()
    loss = ParsingLoss(2.0, 3.0, 5.0, lovasz_method=method, lovasz_targets="soft")
    expected = expected_terms(output, targets, method)
    terms = loss.terms(output, targets)
    torch.testing.assert_close(terms, expected, rtol=0, atol=1e-12)
    weights = {"cross_entropy": 3.0, "lovasz": 3.0, "consistency": 5.0, "edge": 2.0}
    total = sum(weights[name] * term for name, term in expected.items()).item()
    assert loss(output, targets).item() == pytest.approx(total, abs=1e-12)
    assert loss.total(terms).item() == pytest.approx(total, abs=1e-12)


def test_the_published_weights_are_the_default():
    output, labels = output_example(), labels_example()
    terms = expected_terms(output, labels)
    total = terms["cross_entropy"] + terms["lovasz"] + terms["edge"] + 0.1 * terms["consistency"]
    assert ParsingLoss()(output, labels).item() == pytest.approx(total.item(), abs=1e-12)


@pytest.mark.parametrize("soft", [False, True])
def test_a_call_and_its_terms_have_the_same_gradient(soft):
    targets = soft_example() if soft else labels_example()
    loss = ParsingLoss(class_weights=WEIGHTS)
    gradients = []
    for total in (loss, lambda *args: loss.total(loss.terms(*args))):
        output = output_example(grad=True)
        (3 * total(output, targets)).backward()
        gradients.append([logits.grad for logits in output[:3]])
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
    assert all(gradient.abs().max() > 1e-4 for gradient in gradients[0])


def test_the_loss_has_the_right_gradient():
    targets = soft_example()
    output = output_example(grad=True)
    # fast_mode: a random direction instead of every element
    assert torch.autograd.gradcheck(
        lambda *maps: ParsingLoss()(ParsingOutput(*maps), targets), tuple(output), fast_mode=True
    )


TERMS = ("cross_entropy", "lovasz", "edge", "consistency")


@pytest.mark.parametrize("switches", list(itertools.product([False, True], repeat=4))[1:])
def test_each_term_can_be_left_out(switches):
    output, labels = output_example(grad=True), labels_example()
    wanted = [name for name, on in zip(TERMS, switches, strict=True) if on]
    loss = ParsingLoss(**dict(zip(TERMS, switches, strict=True)))
    expected = expected_terms(output, labels)
    terms = loss.terms(output, labels)
    assert set(terms) == set(wanted)
    torch.testing.assert_close(terms, {name: expected[name] for name in terms}, rtol=0, atol=1e-12)
    value = loss(output, labels)
    assert value.item() == pytest.approx(loss.total(terms).item(), abs=1e-12)
    value.backward()
    touched = [logits.grad is not None for logits in output[:3]]
    parsing, edge = (
        bool({"cross_entropy", "lovasz", "consistency"} & set(wanted)),
        bool({"edge", "consistency"} & set(wanted)),
    )
    assert touched == [parsing, parsing, edge]


def test_a_tensor_is_the_parsing_branch():
    logits, labels = logits_example(), labels_example()
    expected = cross_entropy(logits, labels) + lovasz_softmax(logits.softmax(1), labels)
    assert ParsingLoss()(logits, labels).item() == pytest.approx(expected.item(), abs=1e-12)


def test_edges_of_soft_targets_are_those_of_their_most_probable_classes():
    output, labels = output_example(), labels_example()
    soft = (0.6 * one_hot(labels) + 0.1) * (labels != 255)[:, None]
    loss = ParsingLoss(cross_entropy=False, lovasz=False)
    assert loss(output, soft) == loss(output, labels)


def test_ignored_pixels_count_in_no_term():
    output = [logits_example(i, (2, k, 8, 9)) for i, k in enumerate((4, 4, 2))]
    labels = labels_example(ignored=0.4)
    loss = ParsingLoss()
    for logits in output[:3]:
        logits.requires_grad_()
    loss(ParsingOutput(*output), labels).backward()
    for logits in output[:3]:
        assert not logits.grad.transpose(0, 1)[:, labels == 255].any()
        assert logits.grad.transpose(0, 1)[:, labels != 255].any()


@pytest.mark.parametrize("soft", [False, True])
def test_nothing_valid_costs_nothing(soft):
    output = output_example(grad=True)
    targets = torch.zeros(2, 4, 8, 9) if soft else torch.full((2, 8, 9), 255)
    loss = ParsingLoss()(output, targets)
    loss.backward()
    assert loss == 0
    for logits in output[:3]:
        assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    labels = labels_example()
    for targets in (labels, soft_example().to(dtype)):
        output = output_example(dtype=dtype, grad=True)
        wide = ParsingOutput(*(logits.detach().float().requires_grad_() for logits in output[:3]))
        expected = ParsingLoss()(wide, targets.float() if targets.is_floating_point() else targets)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = ParsingLoss()(output, targets)
            assert torch.equal(ParsingLoss()(wide, targets), expected)
        assert loss.dtype is torch.float32
        assert torch.equal(loss, expected)
        (1024 * loss).backward()  # as a gradient scaler would: scaled before it is rounded to half precision
        (1024 * expected).backward()
        for half, full in zip(output[:3], wide[:3], strict=True):
            assert torch.equal(half.grad, full.grad.to(dtype))


def test_arguments_stay_as_they_were():
    output, labels, targets = output_example(), labels_example(), soft_example()
    inputs = (*output[:3], labels, targets, WEIGHTS)
    before = [tensor.clone() for tensor in inputs]
    for goal in (labels, targets):
        ParsingLoss(class_weights=WEIGHTS)(output, goal)
        ParsingLoss().terms(output, goal)
        cross_entropy(large(output.parsing), goal, class_weights=WEIGHTS)
    for tensor, copy in zip(inputs, before, strict=True):
        assert torch.equal(tensor, copy)


def test_nothing_at_full_size_outlives_a_call():
    logits = logits_example(shape=(2, 4, 4, 5)).requires_grad_()
    output = ParsingOutput(logits, 2 * logits, logits_example(4, (2, 2, 4, 5)))
    kept = []  # what autograd saves, alive or not

    class Saved:
        def __init__(self, tensor):
            self.tensor = tensor

    def pack(tensor):
        saved = Saved(tensor)
        kept.append(weakref.ref(saved))
        return saved

    def full_size():
        alive = [saved.tensor for ref in kept if (saved := ref()) is not None]
        return sum(tensor.numel() >= 2 * 4 * 8 * 9 for tensor in alive)

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        loss = ParsingLoss()(output, labels_example())
        assert full_size() == 0
        kept.clear()
        terms = ParsingLoss().terms(output, labels_example())
        assert full_size() > 2
    assert loss.item() == pytest.approx(ParsingLoss().total(terms).item(), abs=1e-12)


def test_with_gradient_gives_each_input_what_it_asks_for():
    x, y, z = torch.tensor([2.0], requires_grad=True), torch.tensor([5.0]), torch.tensor([7.0], requires_grad=True)

    def product(x, y, z):
        assert not torch.is_grad_enabled()
        return (x * y).sum(), [y, x, torch.zeros(1)]

    loss = with_gradient(product, x, y, z)
    (3 * loss).backward()
    assert (x.grad, y.grad, z.grad) == (torch.tensor([15.0]), None, torch.tensor([0.0]))
    (gradient,) = torch.autograd.grad(
        x * with_gradient(lambda x: (x.pow(3).sum(), [3 * x**2]), x), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "sizes", [((4, 5), (8, 9)), ((1, 1), (3, 4)), ((7, 3), (7, 3)), ((6, 5), (4, 2)), ((2, 9), (1, 1))]
)
def test_enlarging_is_torchs_interpolation_and_has_its_gradient(sizes, dtype):
    small = logits_example(shape=(2, 3, *sizes[0]), dtype=dtype).requires_grad_()
    slopes = logits_example(1, (2, 3, *sizes[1]), dtype)
    expected = F.interpolate(small, size=sizes[1], mode="bilinear", align_corners=True)
    close = {"rtol": 0, "atol": 1e-13 if dtype is torch.float64 else 2e-6}
    torch.testing.assert_close(enlarged(small, sizes[1]), expected, **close)
    (wanted,) = torch.autograd.grad(expected, small, slopes)
    (found,) = torch.autograd.grad(enlarged(small, sizes[1]), small, slopes)
    torch.testing.assert_close(found, wanted, **close)
    torch.testing.assert_close(gathered(slopes, sizes[0]), wanted, **close)


def test_enlarging_stays_exact_where_products_are_rounded():
    small, before = logits_example(shape=(2, 3, 24, 24), dtype=torch.float32), torch.get_float32_matmul_precision()
    expected = F.interpolate(small, size=(90, 90), mode="bilinear", align_corners=True)
    torch.set_float32_matmul_precision("medium")
    try:
        torch.testing.assert_close(enlarged(small, (90, 90)), expected, rtol=0, atol=2e-6)
        slopes = torch.ones_like(expected)
        assert gathered(slopes, (24, 24)).sum().item() == pytest.approx(slopes.sum().item(), rel=1e-6)
    finally:
        torch.set_float32_matmul_precision(before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(enlarged(small, (90, 90)), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("ignored", [-1, -100])
def test_a_negative_ignore_index_is_no_class_of_bytes(ignored):
    logits, edges = torch.zeros(1, 256, 1, 3), torch.randn(1, 2, 1, 3)
    last = ignored % 256
    logits[0, last, 0, 2] = -50
    labels = torch.tensor([[[0, 1, last]]], dtype=torch.uint8)
    assert Targets(labels, 256, ignored).valid.all()
    assert torch.equal(cross_entropy(logits, labels, ignored), cross_entropy(logits, labels.long(), ignored))
    output = ParsingOutput(logits, edge=edges)
    loss = ParsingLoss(ignore_index=ignored)
    assert torch.equal(loss(output, labels), loss(output, labels.long()))
    signed = torch.tensor([[[0, 1, -1]]], dtype=torch.int8)
    with pytest.raises(InvalidInputError, match=r"labels in 0..2 or 255; got -1"):
        cross_entropy(logits[:, :3], signed)


def test_labels_of_int64_are_not_copied():
    labels = torch.tensor([[[0, 1, 255]]])
    assert Targets(labels, 3).labels.data_ptr() == labels.data_ptr()


def test_class_weights_come_to_the_device_of_the_targets():
    """Both kinds; torch's device without memory stands for a GPU."""
    valid, classes = (
        torch.ones(1, 2, 2, dtype=torch.bool, device="meta"),
        torch.zeros(4, dtype=torch.int64, device="meta"),
    )
    planes = torch.ones(3, 4, device="meta")
    for soft in (None, planes):
        there = SimpleNamespace(soft=soft, planes=planes, valid=valid, classes=classes)
        terms = BranchTerms(there, there, None, 1.0, 0.0, 0.0, torch.ones(3), None, torch.float64)
        assert terms.shares.device.type == "meta"


def test_targets_are_made_once():
    targets = Targets(soft_example(), 4)
    assert targets.labels is targets.labels
    assert targets.count == (labels_example() != 255).sum()
    assert targets.pixels.tolist() == (labels_example() != 255).flatten().nonzero().squeeze(1).tolist()
    assert Targets(labels_example(ignored=0.0), 4).pixels is None


def test_invalid_input():
    output, labels = output_example(), labels_example()
    logits = large(output.parsing)
    with pytest.raises(InvalidInputError, match=r"targets of 2 images of \(4, 5\) pixels; got 2 of \(8, 9\)"):
        cross_entropy(output.parsing, labels)
    with pytest.raises(InvalidInputError, match="labels in 0..3 or 255; got 4"):
        cross_entropy(logits, labels.where(labels != 3, 4))
    for weights in (torch.ones(3), -torch.ones(4), torch.full((4,), math.nan)):
        with pytest.raises(InvalidInputError, match="4 finite class weights of at least 0; got"):
            cross_entropy(logits, labels, class_weights=weights)
    with pytest.raises(InvalidInputError, match="a class weight above 0; got zeros"):
        cross_entropy(logits, labels, class_weights=torch.zeros(4))
    with pytest.raises(
        InvalidInputError, match=r"logits of shape \(N, K, h, w\), floating; got torch.float64 of shape \(4"
    ):
        cross_entropy(logits[0], labels)
    with pytest.raises(InvalidInputError, match=r"fusion logits of shape \(2, 4, h, w\), floating; got shape \(2, 2"):
        ParsingLoss()(output._replace(fusion=output.edge), labels)
    with pytest.raises(InvalidInputError, match=r"edge logits of shape \(2, 2, h, w\), floating; got shape \(2, 4"):
        ParsingLoss()(output._replace(edge=output.fusion), labels)
    with pytest.raises(InvalidInputError, match="targets of 2 images; got 1"):
        ParsingLoss()(output, labels[:1])
    with pytest.raises(InvalidInputError, match="a network with an edge branch; got none"):
        ParsingLoss(cross_entropy=False, lovasz=False)(output.parsing, labels)
    with pytest.raises(InvalidInputError, match="4 finite class weights"):
        ParsingLoss(class_weights=torch.ones(3))(output, labels)
    for name, weight in (("lambda_edge", -1.0), ("lambda_parsing", math.nan), ("lambda_consistency", math.inf)):
        with pytest.raises(InvalidInputError, match=f"a finite {name} of at least 0"):
            ParsingLoss(**{name: weight})
    with pytest.raises(InvalidInputError, match="did you mean 'exact'"):
        ParsingLoss(lovasz_method="exakt")
    with pytest.raises(InvalidInputError, match="at least one term"):
        ParsingLoss(**dict.fromkeys(TERMS, False))


def test_of_more_than_255_classes_255_is_one():
    logits = torch.randn(1, 300, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[[255, 299, 65535], [255, 0, 1]]])
    for loss in (
        lambda ignored: cross_entropy(logits, labels, ignored),
        lambda ignored: lovasz_softmax(logits.softmax(1), labels, ignored),
        lambda ignored: consistency_loss(logits, logits[:, :2], labels, ignored),
        lambda ignored: ParsingLoss(ignore_index=ignored)(logits, labels),
    ):
        with pytest.raises(InvalidInputError, match="none of 300 classes; got 255; to fix: pass ignore_index=65535"):
            loss(255)
        assert loss(65535) > 0
    known = labels != 65535
    soft = F.one_hot(labels.where(known, 0), 300).movedim(-1, 1).double() * known.unsqueeze(1)
    assert ParsingLoss()(logits, soft) == pytest.approx(ParsingLoss(ignore_index=65535)(logits, labels).item())
