"""The canonical frame of masks, and trust a class: how refined masks are composed from them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from noisycorrect import SoftLabelStore
from noisycorrect.labels.compare import changed_share
from noisycorrect.labels.refine import blend, one_hot
from noisycorrect.labels.rules import Rule, class_balanced_trust
from noisycorrect.labels.trust import Trust
from noisycorrect.support.errors import InvalidInputError, StoreError
from noisycorrect_seg.geometry.frame import letterbox
from noisycorrect_seg.geometry.refined import evidence_on_mask, refined_mask
from noisycorrect_seg.kind import MaskLabels, mask_confusion
from noisycorrect_seg.review import mask_quality

K, FRAME, MAP = 3, (17, 13), (5, 4)
SHAPES = [(9, 5), (4, 11), (17, 13), (2, 2), (1, 1)]
RNG = np.random.default_rng(0)
MASKS = [RNG.choice([0, 1, 2, 255], shape).astype(np.uint8) for shape in SHAPES]
PROBS = torch.from_numpy(RNG.dirichlet(np.ones(K), (len(SHAPES), *MAP))).permute(0, 3, 1, 2).float()


def store_with(frame, floor=None, trust=None):
    store = SoftLabelStore.create(None, MASKS, K, kind="segmentation", frame=frame)
    with store.new_generation(trust=trust) as writer:
        writer.write(range(len(MASKS)), PROBS)
        writer.floor = floor
    return store


@pytest.mark.parametrize("shape", SHAPES)
def test_letterbox_is_the_published_whole_image_box(shape):
    """The box of the published code, step by step: enlarge to the aspect, zoom by width, centre on centre."""
    height, width = (side - 1 for side in shape)
    aspect = FRAME[1] / FRAME[0]
    box = width if width > aspect * height else height * aspect
    matrix = letterbox(shape, FRAME)
    centre = matrix @ np.array([width / 2, height / 2, 1])
    np.testing.assert_allclose(centre, [(FRAME[1] - 1) / 2, (FRAME[0] - 1) / 2], atol=1e-12)
    if box:
        np.testing.assert_allclose(matrix[:, :2], np.eye(2) * (FRAME[1] - 1) / box, atol=1e-12)
    corners = [matrix @ np.array([x, y, 1.0]) for x in (0, width) for y in (0, height)]
    assert all(-1e-9 <= x <= FRAME[1] - 1 + 1e-9 and -1e-9 <= y <= FRAME[0] - 1 + 1e-9 for x, y in corners)


@pytest.mark.parametrize("shape", SHAPES)
def test_evidence_on_a_mask_is_a_slow_bilinear_lookup(shape):
    found = evidence_on_mask(PROBS[0], shape, FRAME).double().numpy()
    matrix, source = letterbox(shape, FRAME), PROBS[0].double().numpy()
    for y in range(shape[0]):
        for x in range(shape[1]):
            at = (matrix @ np.array([x, y, 1.0])) * (np.array(MAP[::-1]) - 1) / (np.array(FRAME[::-1]) - 1)
            at = np.clip(at, 0, np.array(MAP[::-1]) - 1)
            left, top = np.minimum(np.floor(at).astype(int), np.array(MAP[::-1]) - 2)
            fx, fy = at - (left, top)
            expected = (
                source[:, top, left] * (1 - fx) * (1 - fy)
                + source[:, top, left + 1] * fx * (1 - fy)
                + source[:, top + 1, left] * (1 - fx) * fy
                + source[:, top + 1, left + 1] * fx * fy
            )
            np.testing.assert_allclose(found[:, y, x], expected, atol=2e-6)


def test_a_store_with_a_frame_composes_in_the_images_own_frame():
    store = store_with(FRAME)
    assert store.frame == FRAME
    for index, refined in enumerate(store.refined()):
        expected = refined_mask(MASKS[index], store.evidence(index)[0], Trust(torch.tensor([0.5])), K, frame=FRAME)
        assert torch.equal(refined, expected)
        assert refined.shape[1:] == MASKS[index].shape
    again = SoftLabelStore.open(store.folder)
    assert again.frame == FRAME
    assert all(torch.equal(one, other) for one, other in zip(again.refined(), store.refined(), strict=True))
    other = store_with(None)
    assert not torch.allclose(other.refined(0)[0], store.refined(0)[0])


def test_a_floor_is_kept_with_its_generation():
    floor = torch.tensor([0.0, 1.0, 0.75])
    store = store_with(FRAME, floor)
    assert torch.equal(store.trust().floor, floor)
    assert store.trust(generation=0).floor is None
    refined = store.refined(0)[0]
    assert torch.equal(refined[1][torch.from_numpy(MASKS[0] == 1)], torch.ones(int((MASKS[0] == 1).sum())))
    on_mask = evidence_on_mask(store.evidence(0)[0], MASKS[0].shape, FRAME)
    for label, weight in ((0, 0.5), (2, 0.75)):
        where = torch.from_numpy(MASKS[0] == label)
        expected = weight + (1 - weight) * on_mask[label][where]
        torch.testing.assert_close(refined[label][where], expected)
    with store.new_generation() as writer:
        writer.write(range(len(MASKS)), PROBS)
    assert store.trust().floor is None
    assert torch.equal(SoftLabelStore.open(store.folder).trust(generation=1).floor, floor)


def test_a_floor_of_classes():
    store = SoftLabelStore.create(None, [0, 1, -1], 2)
    with store.new_generation() as writer:
        writer.write(range(3), torch.tensor([[0.5, 0.5]] * 3))
        writer.floor = torch.tensor([0.9, 0.1])
    expected = torch.tensor([[0.95, 0.05], [0.25, 0.75], [0.5, 0.5]])
    torch.testing.assert_close(store.refined(), expected)


@pytest.mark.parametrize("wrong", [torch.ones(2), torch.tensor([0.0, 1.5, 0.0]), torch.tensor([0.0, torch.nan, 0.0])])
def test_a_wrong_floor_publishes_nothing(wrong):
    store = SoftLabelStore.create(None, MASKS, K, kind="segmentation")

    def write() -> None:
        with store.new_generation() as writer:
            writer.write(range(len(MASKS)), PROBS)
            writer.floor = wrong

    with pytest.raises(InvalidInputError, match=r"a floor of shape \(3,\) in \[0, 1\]"):
        write()
    assert store.generation == 0


def test_trust_takes_the_higher_of_sample_and_class():
    labels = torch.tensor([[0, 1], [2, 255], [-1, 1]])
    trust, floor = torch.tensor([0.5, 0.2, 0.0]), torch.tensor([0.1, 0.6, 0.3])
    expected = torch.tensor([[0.5, 0.6], [0.3, 0.2], [0.0, 0.6]])
    assert torch.equal(Trust(trust, floor).of(labels), expected)
    assert Trust(trust).of(labels) is trust


def test_blend_is_that_of_one_hot_labels_and_ignores_what_is_no_class():
    labels = torch.from_numpy(np.stack([RNG.choice([0, 1, 2, 255, -1], MAP) for _ in SHAPES]))
    onehot = one_hot(labels, K).permute(0, 3, 1, 2)
    trusts = torch.linspace(0, 1, len(SHAPES)), torch.rand(labels.shape, generator=torch.Generator().manual_seed(0))
    for trust in trusts:
        evidence = PROBS.clone()
        weight = trust.reshape(-1, 1, 1, 1) if trust.dim() == 1 else trust.unsqueeze(1)
        expected = (weight * onehot + (1 - weight) * evidence) * ((labels >= 0) & (labels < K)).unsqueeze(1)
        torch.testing.assert_close(blend(labels, evidence, trust), expected)
        assert torch.equal(evidence, PROBS)


def test_class_balanced_trust_is_the_papers_where_the_model_knows_the_class():
    recall = torch.tensor([1.0, 0.5, 0.0, torch.nan])
    for m in (1, 2, 5):
        expected = torch.tensor([1 / (m + 1), 1 - 0.5 * m / (m + 1), 1.0, 1.0])
        torch.testing.assert_close(class_balanced_trust(m, recall), expected)


def test_mask_confusion_counts_pixel_by_pixel():
    store = store_with(FRAME)
    clean = [np.where(mask == 2, 255, RNG.choice([0, 1], mask.shape)).astype(np.uint8) for mask in MASKS]
    expected = np.zeros((K, K))
    for truth, found in zip(clean, store.labels(), strict=True):
        for t, f in zip(truth.ravel(), found.ravel(), strict=True):
            if t != 255 and f != 255:
                expected[t, f] += 1
    found = mask_confusion(store, clean)
    assert np.array_equal(found, expected)
    quality = mask_quality(found)
    assert quality["label_accuracy"] == np.trace(expected) / expected.sum()
    with pytest.raises(InvalidInputError, match="at index 0"):
        mask_confusion(store, [mask.T for mask in clean])


def test_changes_of_masks_are_counted_on_evenly_spaced_ones(monkeypatch):
    store = store_with(FRAME, trust=lambda given, evidence, generation: 0.1 * given)
    whole = changed_share(store, 0)
    monkeypatch.setattr(MaskLabels, "compared", 2)
    pairs = [(store.labels(i)[0], store.labels(i, generation=0)[0]) for i in (0, len(MASKS) - 1)]
    expected = sum((a != b).sum() for a, b in pairs) / sum(a.size for a, _ in pairs)
    assert changed_share(store, 0) == expected
    assert 0 < whole < 1


def test_a_manifest_of_the_first_format_is_read():
    store = SoftLabelStore.create(None, [0, 1], 2)
    path = store.folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["frame"]
    path.write_text(json.dumps(content | {"version": 1}))
    assert SoftLabelStore.open(store.folder).frame is None


@pytest.mark.parametrize(
    ("frame", "kind"), [((1, 5), "segmentation"), ((5,), "segmentation"), ((5, 5), "classification")]
)
def test_wrong_frames_are_refused(frame, kind):
    with pytest.raises(InvalidInputError, match="frame"):
        SoftLabelStore.create(None, [0, 1] if kind == "classification" else MASKS, K, kind=kind, frame=frame)


def test_a_damaged_frame_is_refused():
    store = store_with(FRAME)
    path = store.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"frame": [0, 5]}))
    with pytest.raises(StoreError, match="manifest as it was written"):
        SoftLabelStore.open(store.folder)


@pytest.mark.parametrize("rule", ["agreement", "confident"])
def test_pixels_are_trusted_by_a_rule_that_is_kept_with_the_generation(rule):
    sharp = (PROBS * 6).softmax(1)
    store = SoftLabelStore.create(None, MASKS, K, kind="segmentation", frame=FRAME)
    with store.new_generation(trust=lambda given, evidence, generation: given.float()) as writer:
        writer.write(range(len(MASKS)), sharp)
        writer.rule = rule
    reopened = SoftLabelStore.open(store.folder)
    assert reopened.trust().rule == Rule(rule)
    assert reopened.trust(generation=0).rule is None
    for index, mask in enumerate(MASKS):
        evidence = evidence_on_mask(reopened.evidence([index])[0], mask.shape, FRAME).double()
        expected = torch.zeros(K, *mask.shape, dtype=torch.float64)
        for y, x in np.ndindex(mask.shape):
            label = int(mask[y, x])
            if label == 255:
                continue
            at = evidence[:, y, x]
            if rule == "agreement":
                trust = float(at[label])
            else:
                trust = 0.0 if int(at.argmax()) != label and float(at.max()) >= 0.9 else 1.0
            expected[:, y, x] = (1 - trust) * at
            expected[label, y, x] += trust
        torch.testing.assert_close(reopened.refined([index])[0].double(), expected, rtol=1e-5, atol=1e-6)
        assert np.array_equal(reopened.labels([index])[0] == 255, mask == 255)
