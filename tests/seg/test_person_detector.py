"""The detector: targets by hand, the loss against a slow oracle, frames there and back, and a short training."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg.datasets import SyntheticPeople, SyntheticScenes
from noisycorrect_seg.detection import PersonDetector, train_detector
from noisycorrect_seg.detection.detector import STRIDE, decoded, suppressed
from noisycorrect_seg.detection.training import Targets, detection_loss, targets_of
from noisycorrect_seg.instances.boxes import box_overlaps

SIZE = (64, 96)


def said(targets):
    """What a detector that is always right says of targets."""
    heat = torch.logit(targets.heat.clamp(1e-4, 1 - 1e-4))
    return heat, targets.edges


@pytest.mark.parametrize("seed", range(4))
def test_right_answers_give_the_boxes_back(seed):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, (50, 20), (3, 2)) + np.array([[0, 0], [14, 3], [28, 6]])
    boxes = np.concatenate([low, np.minimum(low + rng.uniform((8, 16), (16, 36), (3, 2)), (96, 64))], 1)
    found = decoded(*said(targets_of(boxes, SIZE)), 0.9, 10)
    assert len(found) == 3
    best = box_overlaps(found[:, :4], boxes)
    assert best.max(1) == pytest.approx(1, abs=1e-5)
    assert len(set(best.argmax(1))) == 3


def test_targets_by_hand():
    targets = targets_of(np.array([[8.0, 4, 20, 28]]), (32, 32))
    assert targets.heat.max() == 1
    assert targets.heat[4, 3] == 1  # the centre (14, 16) lies in the place of row 4, column 3
    assert targets.edges[:, 4, 3].tolist() == [14 - 8, 18 - 4, 20 - 14, 28 - 18]
    assert targets.heat[4, 4] == pytest.approx(math.exp(-(4**2) / (2 * 2**2)))
    assert targets.weight[0, 7] == 0
    assert targets_of(np.array([[5.0, 5, 6, 30]]), (32, 32)).heat.max() == 0  # a pixel wide: not learnt


def oracle(heat, edges, targets):
    """CornerNet's eq. 1 and -log IoU, a place at a time in float64."""
    focal, centres, weighted, weights = 0.0, 0, 0.0, 0.0
    for n, y, x in np.ndindex(*targets.heat.shape):
        p, t = 1 / (1 + math.exp(-float(heat[n, 0, y, x]))), float(targets.heat[n, y, x])
        centres += t == 1
        focal -= (1 - p) ** 2 * math.log(p) if t == 1 else (1 - t) ** 4 * p**2 * math.log(1 - p)
        a, b = edges[n, :, y, x].double().tolist(), targets.edges[n, :, y, x].double().tolist()
        shared = (min(a[0], b[0]) + min(a[2], b[2])) * (min(a[1], b[1]) + min(a[3], b[3]))
        union = (a[0] + a[2]) * (a[1] + a[3]) + (b[0] + b[2]) * (b[1] + b[3]) - shared
        weighted -= float(targets.weight[n, y, x]) * math.log(shared / union)
        weights += float(targets.weight[n, y, x])
    return focal / max(centres, 1) + weighted / max(weights, 1)


def test_the_loss_is_the_oracles():
    generator = torch.Generator().manual_seed(0)
    each = [targets_of(np.array(boxes), (32, 32)) for boxes in ([[2.0, 2, 20, 30], [14, 6, 30, 32]], [[0.0, 0, 9, 9]])]
    targets = Targets._make(torch.stack(maps) for maps in zip(*each, strict=True))
    heat = torch.randn(2, 1, 8, 8, generator=generator)
    edges = torch.rand(2, 4, 8, 8, generator=generator) * 20 + 1
    assert float(detection_loss(heat, edges, targets)) == pytest.approx(oracle(heat, edges, targets), rel=1e-5)


class Knows(PersonDetector):
    """Says that there is a person in the frame's rows 16 to 48 and columns 24 to 40."""

    def forward(self, images):
        heat, edges = said(targets_of(np.array([[24.0, 16, 40, 48]]), self.size))
        return heat[None, None], edges[None]


@pytest.mark.parametrize("shape", [(64, 96), (128, 192), (64, 192), (200, 96), (32, 48)])
def test_boxes_come_back_in_the_pictures_own_pixels(shape):
    (found,) = Knows(SIZE, width=1).detect(np.zeros((*shape, 3), np.uint8))
    # The letterbox lays the middle of corner pixels on corner pixels.
    zoom = 95 / max(shape[1] - 1, (shape[0] - 1) * 96 / 64)
    back = [
        ((edge - 0.5) - (side - 1) / 2) / zoom + (own - 1) / 2 + 0.5
        for edge, side, own in ((24, 96, shape[1]), (16, 64, shape[0]), (40, 96, shape[1]), (48, 64, shape[0]))
    ]
    limits = [shape[1], shape[0]] * 2
    assert found[:4] == pytest.approx(
        [min(max(edge, 0), most) for edge, most in zip(back, limits, strict=True)], abs=1e-4
    )


def test_of_boxes_on_one_person_the_surest_stays():
    boxes = np.array([[0.0, 0, 10, 20], [1, 0, 11, 20], [0, 0, 10, 9], [30, 0, 40, 20]])
    assert suppressed(boxes, 0.7) == [0, 2, 3]
    assert suppressed(np.zeros((0, 4)), 0.7) == []


def test_a_short_training_finds_people_and_is_saved(tmp_path):
    scenes = SyntheticScenes(16, people=(1, 1), size=SIZE, seed=2)
    detector = train_detector(scenes, epochs=12, batch_size=2, lr=0.01, size=SIZE, width=4, progress=False)
    found = sum(
        int((box_overlaps(scenes.boxes(index), detector.detect(scenes.image(index))[:, :4]) > 0.5).any(1).sum())
        for index in range(16)
    )
    assert found >= 11  # an untrained one finds none
    detector.threshold = 0.2
    detector.save(tmp_path / "people.pt")
    again = PersonDetector.load(tmp_path / "people.pt")
    assert again.threshold == 0.2
    assert np.array_equal(again.detect(scenes.image(3)), detector.detect(scenes.image(3)))
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError):
        PersonDetector.load(tmp_path / "other.pt")


def test_equal_seeds_train_equal_detectors_and_touch_nothing():
    scenes, state = SyntheticScenes(4, size=SIZE), torch.random.get_rng_state()
    first, second, other = (
        train_detector(scenes, epochs=1, size=SIZE, width=2, seed=seed, progress=False) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_without_pictures_of_ones_own_200_are_drawn(monkeypatch):
    asked_for = []

    def few(count, seed):
        asked_for.append((count, seed))
        return SyntheticScenes(2, seed=seed, size=SIZE)

    monkeypatch.setattr("noisycorrect_seg.detection.training.SyntheticScenes", few)
    detector = train_detector(epochs=1, batch_size=2, size=SIZE, width=2, seed=3, progress=False)
    assert asked_for == [(200, 3)]
    assert detector.size == SIZE


def test_it_is_small():
    assert sum(parameter.numel() for parameter in PersonDetector().parameters()) * 4 < 300_000


class Nobody(SyntheticScenes):
    """Pictures in which no pixel is said to be anybody's."""

    def instances(self, index):
        return np.zeros((32, 32), np.int32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PersonDetector((60, 96)), "multiples of 16"),
        (lambda: PersonDetector(threshold=1.0), "threshold"),
        (lambda: train_detector(SyntheticPeople(2, size=(32, 32)), progress=False), "whose each pixel is"),
        (lambda: train_detector(epochs=0), "epochs"),
        (lambda: train_detector(Nobody(2, size=(32, 32)), progress=False), "people in 2 pictures; got none"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_strides_agree():
    heat, _ = PersonDetector(SIZE, width=1)(torch.zeros(2, 3, *SIZE))
    assert heat.shape[-2:] == (SIZE[0] // STRIDE, SIZE[1] // STRIDE)


def test_it_takes_photos_as_parse_image_does_and_says_so(tmp_path):
    detector, pixels = PersonDetector(SIZE, width=1, threshold=0.0), SyntheticScenes(1, size=(50, 70)).image(0)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    found = detector.detect(pixels)
    assert len(found)
    for photo in (tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(pixels)):
        assert np.array_equal(detector.detect(photo), found)
    grey = pixels[:, :, 0]
    assert np.array_equal(detector.detect(grey), detector.detect(np.dstack([grey] * 3)))
    for wrong in (pixels, "photo.png", torch.zeros(3, 64, 96), torch.zeros(1, 3, 64, 96, dtype=torch.uint8)):
        with pytest.raises(InvalidInputError, match=r"to fix: of a photo detector\.detect\(photo\)"):
            detector(wrong)
    with pytest.raises(InvalidInputError, match=r"a uint8 array; got Tensor; to fix: pass a tensor as tensor\.numpy"):
        detector.detect(torch.zeros(3, 64, 96))
