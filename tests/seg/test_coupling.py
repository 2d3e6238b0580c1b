"""Masks coupled with coarser evidence: a right mask stays right at every size, a wrong one gives way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from noisycorrect import SoftLabelStore
from noisycorrect.data.batches import Batch
from noisycorrect.labels.codec import CODECS
from noisycorrect.labels.refine import blend, one_hot
from noisycorrect.labels.rules import Rule
from noisycorrect.labels.trust import Trust
from noisycorrect_seg import HumanParsing, SegmentationMetrics, SyntheticPeople, noise
from noisycorrect_seg.geometry.coupling import area_means, axes_of, composed, coupled, own_share
from noisycorrect_seg.geometry.frame import letterbox
from noisycorrect_seg.geometry.refined import refined_labels, refined_mask
from noisycorrect_seg.kind import MaskLabels

K = 20
SIZES = [(48, 32), (64, 48), (97, 65), (128, 88)]


def seen_by_a_perfect_network(mask, blurred, frame=None):
    """Return the area means, at stride 4, of what a mask shows in its frame; as a network would, or blurred besides."""
    if frame is not None:
        matrix = letterbox(mask.shape, frame)
        rows = np.rint((np.arange(frame[0]) - matrix[1, 2]) / matrix[1, 1]).astype(int)
        columns = np.rint((np.arange(frame[1]) - matrix[0, 2]) / matrix[0, 0]).astype(int)
        inside = ((rows >= 0) & (rows < mask.shape[0]))[:, None] & ((columns >= 0) & (columns < mask.shape[1]))
        mask = np.where(inside, mask[np.ix_(rows.clip(0, len(mask) - 1), columns.clip(0, mask.shape[1] - 1))], 0)
    maps = one_hot(torch.from_numpy(mask.astype(np.int64)), K).permute(2, 0, 1)[None]
    maps = F.interpolate(maps, [-(-side // 4) for side in mask.shape], mode="area")
    if blurred:
        binomial = torch.tensor([0.25, 0.5, 0.25])
        kernel = (binomial[:, None] * binomial).expand(K, 1, 3, 3)
        maps = F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="replicate"), kernel, groups=K)
    return maps[0]


def mean_iou(found, right):
    metrics = SegmentationMetrics(K)
    for one, other in zip(found, right, strict=True):
        metrics.update(torch.from_numpy(one)[None], torch.from_numpy(other)[None])
    return metrics.compute()


@pytest.mark.parametrize("blurred", [False, True])
@pytest.mark.parametrize("weight", [0.5, 0.0])
@pytest.mark.parametrize("size", SIZES)
def test_right_masks_stay_right_however_little_they_are_trusted(size, weight, blurred):
    people = SyntheticPeople(4, size=size)
    masks = [people.mask(index) for index in range(4)]
    masks[0][:, 5] = 7  # a line of one pixel
    trust = Trust(torch.tensor([weight]), coupled=True)
    refined = [refined_labels(mask, seen_by_a_perfect_network(mask, blurred), trust) for mask in masks]
    scores = mean_iou(refined, masks)
    assert float(scores["mean_iou"]) >= 0.995
    assert float(torch.as_tensor(scores["iou"]).nan_to_num(1).min()) >= 0.97


def test_right_masks_of_other_sizes_than_the_frame_stay_right():
    people = SyntheticPeople(4, size=(150, 61))
    masks, frame = [people.mask(index) for index in range(4)], (128, 96)
    trust = Trust(torch.tensor([0.0]), coupled=True)
    maps = [seen_by_a_perfect_network(mask, True, frame) for mask in masks]
    refined = [refined_labels(mask, each, trust, frame=frame) for mask, each in zip(masks, maps, strict=True)]
    assert float(mean_iou(refined, masks)["mean_iou"]) >= 0.995


@pytest.mark.parametrize("spelling", ["drop:0.4", "confusion:0.4:whole", "boundary:3"])
def test_wrong_masks_approach_the_right_ones_as_trust_falls(spelling):
    people = SyntheticPeople(4, size=(128, 88))
    right = [people.mask(index) for index in range(4)]
    given = noise.parse(spelling).apply(right, classes=people.classes, seed=0).masks
    maps = [seen_by_a_perfect_network(mask, True) for mask in right]
    scores = [float(mean_iou(given, right)["mean_iou"])]
    for weight in (0.5, 0.2, 0.0):
        trust = Trust(torch.tensor([weight]), coupled=True)
        refined = [refined_labels(mask, each, trust) for mask, each in zip(given, maps, strict=True)]
        scores.append(float(mean_iou(refined, right)["mean_iou"]))
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 0.03


def slowly_composed(given, evidence, weight, frame):
    """Return the refined mask pixel by pixel, in float64, from the formulas."""
    classes, height, width = evidence.shape
    evidence = evidence.double().numpy()
    matrix = np.eye(2, 3) if frame is None else letterbox(given.shape, frame)
    sides = given.shape if frame is None else frame
    unit = [(cells - 1) / max(side - 1, 1) for cells, side in zip((height, width), sides, strict=True)]

    def place(y, x):
        return (matrix[1, 1] * y + matrix[1, 2]) * unit[0], (matrix[0, 0] * x + matrix[0, 2]) * unit[1]

    def nearest(at, cells):
        return min(max(int(np.floor(at + 0.5)), 0), cells - 1)

    counts, pixels = np.zeros((classes, height, width)), np.zeros((height, width))
    for y in range(-100, 100):
        for x in range(-100, 100):
            in_frame = [matrix[1, 1] * y + matrix[1, 2], matrix[0, 0] * x + matrix[0, 2]]
            on_mask = 0 <= y < given.shape[0] and 0 <= x < given.shape[1]
            if all(-0.5 <= at <= side - 0.5 for at, side in zip(in_frame, sides, strict=True)) or on_mask:
                row, column = (nearest(at, cells) for at, cells in zip(place(y, x), (height, width), strict=True))
                pixels[row, column] += 1
                if on_mask and given[y, x] < classes:
                    counts[given[y, x], row, column] += 1
    means = counts / pixels.clip(1)

    def around(maps):
        padded, out = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge"), np.zeros_like(maps)
        for dy, row_weight in enumerate((1, 2, 1)):
            for dx, column_weight in enumerate((1, 2, 1)):
                out += row_weight * column_weight / 16 * padded[:, dy : dy + height, dx : dx + width]
        return out

    def between(maps, y, x):
        at = [min(max(a, 0), cells - 1) for a, cells in zip(place(y, x), (height, width), strict=True)]
        low = [int(np.floor(a)) for a in at]
        total = np.zeros(classes)
        for dy in (0, 1):
            for dx in (0, 1):
                share = (at[0] - low[0] if dy else 1 - at[0] + low[0]) * (at[1] - low[1] if dx else 1 - at[1] + low[1])
                total += share * maps[:, min(low[0] + dy, height - 1), min(low[1] + dx, width - 1)]
        return total

    expected, seen = around(means), (evidence + around(evidence)) / 2
    excess = (evidence - expected).clip(0)
    refined = np.zeros((classes, *given.shape))
    for y, x in np.argwhere(given < classes):
        own = given[y, x]
        kept = min(1, between(seen, y, x)[own] / between(expected, y, x)[own])
        left = between(excess, y, x)
        share = weight + (1 - weight) * kept if left.sum() > 1e-6 else 1.0
        refined[:, y, x] = (1 - share) * left / max(left.sum(), 1e-6)
        refined[own, y, x] += share
    return refined


@pytest.mark.parametrize(("shape", "frame"), [((9, 7), None), ((11, 6), (17, 13)), ((8, 20), (17, 13))])
@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_the_coupling_is_its_formula_in_float64(shape, frame, weight):
    rng = np.random.default_rng(1)
    given = rng.choice([0, 1, 2, 255], shape, p=[0.4, 0.4, 0.1, 0.1]).astype(np.uint8)
    evidence = torch.from_numpy(rng.dirichlet(np.ones(3), (5, 4))).permute(2, 0, 1).float()
    found = refined_mask(given, evidence, Trust(torch.tensor([weight]), coupled=True), 3, frame=frame)
    np.testing.assert_allclose(found.numpy(), slowly_composed(given, evidence, weight, frame), atol=1e-5)


@pytest.mark.parametrize("side", [12, 30, 59, 60, 120])
def test_a_mask_smaller_than_its_evidence_follows_it_as_a_large_one_does(side):
    given, trust = np.zeros((side, side), np.uint8), Trust(torch.tensor([0.0]), coupled=True)
    evidence = torch.tensor([0.3, 0.7]).reshape(2, 1, 1).expand(2, 60, 60).contiguous()
    found = refined_mask(given, evidence, trust, 2, frame=(237, 237))
    torch.testing.assert_close(found, evidence[:, :1, :1].expand(2, side, side), atol=1e-6, rtol=0)


def test_right_masks_smaller_than_their_evidence_stay_right():
    given = np.kron(np.arange(12, dtype=np.uint8).reshape(4, 3), np.ones((4, 4), np.uint8))
    maps, trust = seen_by_a_perfect_network(given, True, (256, 192)), Trust(torch.tensor([0.0]), coupled=True)
    assert maps.shape[1:] == (64, 48)
    assert np.array_equal(refined_labels(given, maps, trust, frame=(256, 192)), given)


def test_what_is_said_of_a_sample_without_a_mask_is_scaled_by_class_as_targets_are():
    evidence = torch.tensor([0.55, 0.45, 0.0]).reshape(3, 1, 1).expand(3, 4, 3)
    trust = Trust(torch.zeros(1), class_scale=torch.tensor([1.0, 2.0, 1.0]), coupled=True)
    nothing = np.zeros((0, 0), np.uint8)
    task = HumanParsing(("background", "left-arm", "right-arm"), size=(16, 12))
    code = torch.from_numpy(CODECS[task.codec].encode(evidence[None]))
    given = torch.full((1, 16, 12), 255, dtype=torch.uint8)
    targets = task.targets(crop_batch(given, code, trust))
    found = refined_mask(nothing, evidence, trust, 3)
    torch.testing.assert_close(targets[0][:, 0, 0], found[:, 0, 0], atol=1e-2, rtol=0)  # the codec rounds
    assert (refined_labels(nothing, evidence, trust) == 1).all()


def test_where_mask_and_evidence_have_one_resolution_and_are_flat_the_coupling_is_equation_7():
    given = torch.zeros(1, 4, 4, dtype=torch.int64)
    evidence = torch.tensor([0.3, 0.6, 0.1]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    axes = axes_of((4, 4), (4, 4))
    coupling = coupled(area_means(given, axes, 3), evidence)
    found = composed(given, own_share(given, coupling, axes), coupling.excess.clone(), torch.tensor([0.25]))
    torch.testing.assert_close(found, blend(given, evidence, torch.tensor([0.25])))


def test_trust_that_rounding_has_brought_above_1_makes_no_negative_label():
    excess, trust = torch.full((1, 2, 1, 1), 0.5), torch.full((1, 1, 1), 1 + 2e-7)
    found = composed(torch.tensor([[[0]]]), torch.zeros(1, 1, 1), excess, trust)
    assert found.min() >= 0
    assert found.max() <= 1


def crop_batch(given, evidence, trust, *, mirror=False):
    height, width = given.shape[1:]
    matrix = torch.tensor([[-1.0, 0, width - 1], [0, 1, 0]]) if mirror else torch.eye(2, 3)
    extra = {
        "matrix": matrix.expand(len(given), 2, 3),
        "mirror": torch.full((len(given),), mirror),
        "extent": torch.tensor([[-0.5, -0.5, width - 0.5, height - 0.5]]).expand(len(given), 4),
    }
    image = torch.zeros(len(given), 3, height, width)
    return Batch(torch.arange(len(given)), image, given, trust, evidence, 1, extra)


@pytest.mark.parametrize("rule", [None, Rule("agreement")])
@pytest.mark.parametrize("parts", [False, True])
def test_targets_of_a_crop_that_is_the_frame_are_the_refined_mask(rule, parts):
    rng = np.random.default_rng(2)
    given = rng.choice([0, 1, 2, 255], (2, 16, 12)).astype(np.uint8)
    evidence = torch.from_numpy(rng.dirichlet(np.ones(3), (2, 4, 3))).permute(0, 3, 1, 2).float()
    own = torch.from_numpy(rng.random((2, 4, 3))).float() if parts else None
    trust = Trust(torch.tensor([0.3, 1.0]), rule=rule, parts=own, coupled=True)
    task = HumanParsing(("background", "left-arm", "right-arm"), size=(16, 12))
    code = torch.from_numpy(CODECS[task.codec].encode(evidence))
    decoded = CODECS[task.codec].decode(code)
    targets = task.targets(crop_batch(torch.from_numpy(given), code, trust))
    for row in range(2):
        one = dataclasses.replace(
            trust, weight=trust.weight[row : row + 1], parts=None if own is None else own[row : row + 1]
        )
        torch.testing.assert_close(targets[row], refined_mask(given[row], decoded[row], one, 3), atol=2e-5, rtol=0)


def test_a_mirrored_crop_has_mirrored_targets_with_left_and_right_exchanged():
    given = torch.tensor([[[0, 1, 1, 2], [0, 0, 1, 2]]]).repeat_interleave(4, 1).repeat_interleave(4, 2)
    evidence = torch.rand(1, 3, 3, 5, generator=torch.Generator().manual_seed(0))
    evidence /= evidence.sum(1, keepdim=True)
    task = HumanParsing(("background", "left-arm", "right-arm"), size=(8, 16))
    code = torch.from_numpy(
        SoftLabelStore.create(None, [given[0].byte().numpy()], 3, kind="segmentation").codec.encode(evidence)
    )
    trust = Trust(torch.tensor([0.0]), coupled=True)
    straight = task.targets(crop_batch(given, code, trust))
    swap = torch.tensor([0, 2, 1])
    mirrored = task.targets(crop_batch(swap[given.flip(-1)], code, trust, mirror=True))
    torch.testing.assert_close(mirrored, straight.flip(-1)[:, swap], atol=1e-5, rtol=0)


def test_a_generation_keeps_coupling_and_trust_in_parts():
    given = [np.array([[0, 1], [1, 1]], np.uint8), np.array([[0, 0], [0, 0]], np.uint8)]
    store = SoftLabelStore.create(None, given, 2, kind="segmentation")
    probs = torch.tensor([0.2, 0.8]).reshape(1, 2, 1, 1).expand(2, 2, 2, 2)
    with store.new_generation(trust=torch.zeros(2)) as writer:
        writer.write([0, 1], probs)
        writer.coupled = True
        for rows, evidence in writer.written():
            torch.testing.assert_close(evidence, probs[rows], atol=5e-3, rtol=0)
        writer.judge(np.array([1]), torch.tensor([[[1.0, 0.0], [0.2, 1.0]]]))
    trust = store.trust()
    assert trust.coupled
    assert trust.parts.tolist() == [[[1, 1], [1, 1]], [[1, 0], [pytest.approx(0.2), 1]]]
    assert store.labels(1)[0].tolist() == [[1, 1], [1, 1]]  # of a weight of 0 no part has anything left
    with store.new_generation(trust=torch.ones(2)) as writer:
        writer.write([0, 1], probs)
        writer.coupled = True
        writer.judge(np.array([0, 1]), torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]))
    assert store.labels(0)[0].tolist() == given[0].tolist()
    assert store.labels(1)[0].tolist() == [[0, 1], [1, 0]]


def test_labels_that_nothing_argues_with_are_the_given_ones_and_the_others_as_before():
    rng = np.random.default_rng(3)
    given = rng.choice([0, 1, 2, 255], (3, 16, 12)).astype(np.uint8)
    evidence = torch.from_numpy(rng.dirichlet(np.ones(3), (3, 4, 3))).permute(0, 3, 1, 2).float()
    parts = torch.ones(3, 4, 3)
    parts[1, 1:3, 1] = 0.0
    trust = Trust(torch.ones(3), parts=parts, coupled=True)
    assert trust.doubted().tolist() == [1]
    task = HumanParsing(("background", "left-arm", "right-arm"), size=(16, 12))
    batch = crop_batch(torch.from_numpy(given), torch.from_numpy(CODECS[task.codec].encode(evidence)), trust)
    targets = task.targets(batch)
    assert torch.equal(targets, task._refined(batch))
    hard = one_hot(torch.from_numpy(given).long(), 3).permute(0, 3, 1, 2)
    assert torch.equal(targets[[0, 2]], hard[[0, 2]])
    assert not torch.equal(targets[1], hard[1])


@pytest.mark.parametrize("coupled", [False, True])
def test_of_equally_probable_classes_the_given_one_stays(coupled):
    given, trust = np.repeat([1, 2, 1, 255], 8)[None].repeat(8, 0).astype(np.uint8), Trust(torch.ones(1) / 2)
    evidence = torch.eye(3)[[2, 1, 0, 0]].T.repeat_interleave(8, 1)[:, None].repeat_interleave(8, 1)
    trust = dataclasses.replace(trust, coupled=coupled)
    inside = np.s_[2:6, 2::4]  # away from borders
    assert (refined_mask(given, evidence, trust, 3).amax(0)[inside][:, :6] == 0.5).all()
    assert np.array_equal(refined_labels(given, evidence, trust)[inside], given[inside])


def test_only_doubted_rows_of_a_mask_are_composed_and_come_out_the_same():
    rng = np.random.default_rng(4)
    given = rng.choice([0, 1, 255], (17, 12), p=[0.8, 0.1, 0.1]).astype(np.uint8)
    evidence = torch.from_numpy(rng.dirichlet([1.0, 1.0, 9.0], (5, 3))).permute(2, 0, 1).float()
    changed = 0
    for top in range(4):
        parts = torch.ones(1, 5, 3)
        parts[0, top : top + 2, 1] = 0.0
        trust = Trust(torch.ones(1), parts=parts, coupled=True)
        expected = refined_mask(given, evidence, trust, 3).argmax(0).numpy().astype(np.uint8)
        expected[given == 255] = 255
        found = refined_labels(given, evidence, trust)
        np.testing.assert_array_equal(found, expected)
        changed += int((found != given).sum())
    assert changed > 0


def test_evidence_about_a_mask_that_is_trusted_wholly_is_not_read():
    masks = MaskLabels([np.array([[0, 1, 255]], np.uint8)] * 2, 2)
    parts = torch.ones(2, 1, 3)
    parts[1] = 0.0
    asked = []

    def evidence(rows):
        asked.extend(rows.tolist())
        return torch.tensor([[[[0.1, 0.1, 0.1]], [[0.9, 0.9, 0.9]]]])

    found = masks.labels(np.array([0, 1]), evidence, Trust(torch.ones(2), parts=parts))
    assert [mask.tolist() for mask in found] == [[[0, 1, 255]], [[1, 1, 255]]]
    assert asked == [1]
