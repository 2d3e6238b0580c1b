"""Several people in a picture: crops, merging, mirrors, and boxes that are wrong."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from noisycorrect.cli import main
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.datasets import CIHP
from noisycorrect_seg.detection import PersonDetector
from noisycorrect_seg.inference import parse_image, parse_people
from noisycorrect_seg.instances.boxes import boxes_of, window_around

SIDES = Classes("sides", ("background", "left", "right"), ((1, 2),))
SIZE = (64, 64)


class Reads(nn.Module):
    """Reads classes off colours: dark is background, red is class 1, green class 2; a bright pixel is a surer one."""

    def __init__(self, strength=20.0):
        super().__init__()
        self.strength, self.batches = strength, []

    def forward(self, crops):
        self.batches.append(len(crops))
        red, green = crops[:, 2], crops[:, 1]  # blue first, normalised
        return torch.stack([torch.full_like(red, 0.0), red, green], 1) * self.strength


class Halves(nn.Module):
    """Knows a person's left from their right by the side of the crop alone, as one who faces the camera."""

    def forward(self, crops):
        logits = torch.full((len(crops), 3, *crops.shape[2:]), -5.0)
        half = crops.shape[3] // 2
        logits[:, 2, :, :half] = logits[:, 1, :, -half:] = 5.0
        return logits


def coloured(labels):
    return np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)[labels]


def two_people():
    labels = np.zeros((40, 60), np.uint8)
    labels[8:32, 6:20], labels[10:36, 32:50] = 1, 2
    return labels, [[6, 8, 20, 32], [32, 10, 50, 36]]


def test_people_apart_are_parsed_exactly():
    labels, boxes = two_people()
    found = parse_people(Reads(), coloured(labels), boxes, classes=SIDES, size=SIZE, batch_size=1)
    assert np.array_equal(found.classes, labels)
    assert np.array_equal(found.instances, labels)  # person 1 is of class 1, person 2 of class 2
    assert found.instances.dtype == np.int32
    assert found.classes.dtype == np.uint8
    for person, box in zip(found.people, boxes, strict=True):
        assert np.array_equal(person.box, box)
        assert np.array_equal(person.mask, labels == person.number)
        assert np.array_equal(person.classes, np.where(labels == person.number, labels, 0))
        assert 0.9 < person.score <= 1
    assert np.array_equal(boxes_of(found.instances)[1], boxes)


def test_one_box_around_everything_is_parse_image():
    labels, _ = two_people()
    image = coloured(labels)
    whole = parse_people(Reads(), image, [[0, 0, 60, 40]], classes=SIDES, size=SIZE, probs=True)
    alone = parse_image(Reads(), image, classes=SIDES, size=SIZE, probs=True)
    assert np.array_equal(whole.classes, alone.labels)
    assert np.abs(whole.people[0].probs - alone.probs).max() < 1e-3  # kept in half precision


def test_a_pixel_goes_to_who_claims_it_most_and_near_ties_to_the_nearer():
    labels = np.zeros((40, 60), np.uint8)
    labels[5:38, 10:50] = 1
    image, boxes = coloured(labels), [[10, 5, 40, 30], [20, 5, 50, 38]]
    contested = np.s_[10:25, 22:38]

    def owner(**options):
        found = parse_people(Reads(), image, boxes, classes=SIDES, size=SIZE, margin=0, **options)
        assert len(np.unique(found.instances[contested])) == 1
        return found.instances[contested][0, 0]

    assert owner() == 2  # equally sure: the second stands lower
    assert owner(depth=0.0) == 1  # equal: the first
    assert owner(scores=[0.9, 0.6]) == 1
    assert owner(scores=[0.6, 0.9]) == 2
    assert owner(scores=[0.9, 0.8], depth=1.0) == 2


def test_scores_are_the_boxes_times_the_mean_probability():
    labels, boxes = two_people()
    model = Reads(0.4)
    found = parse_people(model, coloured(labels), boxes, scores=[0.5, 1.0], classes=SIDES, size=SIZE, probs=True)
    for person in found.people:
        inside = person.mask[person.window.slices]
        mean = (1 - person.probs[0].astype(float))[inside].mean()
        assert person.score == pytest.approx(person.box_score * mean, abs=2e-3)


@pytest.mark.parametrize("flip", [False, True])
def test_a_mirrored_picture_is_parsed_to_the_mirrored_people(flip):
    """Of a network that knows left from right by the side alone, left and right are exchanged in the mirror."""
    image, boxes = np.zeros((40, 61, 3), np.uint8), np.array([[5.0, 4, 20, 36], [30, 6, 55, 39]])
    mirrored = np.stack([61 - boxes[:, 2], boxes[:, 1], 61 - boxes[:, 0], boxes[:, 3]], 1)
    settings = {"classes": SIDES, "size": SIZE, "flip": flip, "margin": 0}
    upright = parse_people(Halves(), image, boxes, **settings)
    other = parse_people(Halves(), image[:, ::-1].copy(), mirrored, **settings)
    middles = np.zeros((40, 61), bool)  # a column in the middle of a crop may fall to either side
    for person in upright.people:
        middle = (person.window.left + person.window.right) // 2
        middles[:, middle - 1 : middle + 2] = True
    same = other.instances[:, ::-1] == upright.instances
    assert same.all()
    assert (SIDES.swap(other.classes[:, ::-1]) == upright.classes)[~middles].all()
    for person in upright.people:  # the picture's left half is the right hand
        rows, columns = person.window.slices
        middle = (columns.start + columns.stop) // 2
        assert (upright.classes[rows, columns.start : middle - 2] == 2).all()
        assert (upright.classes[rows, middle + 2 : columns.stop] == 1).all()


def test_flip_averages_each_crop_with_its_own_mirror():
    """Averaged the wrong way, without the exchange of left and right, the two sides would cancel out."""
    image = np.zeros((40, 60, 3), np.uint8)
    found = parse_people(
        Halves(), image, [[2, 2, 18, 38], [30, 2, 50, 38]], classes=SIDES, size=SIZE, flip=True, probs=True
    )
    for person in found.people:
        assert person.probs.max(0)[:, [1, -2]].min() > 0.99


@pytest.mark.parametrize(
    "detector",
    [
        lambda image: two_people()[1],
        lambda image: torch.tensor([[*box, 0.8] for box in two_people()[1]]),
        lambda image: (np.array(two_people()[1]), np.array([0.8, 0.8])),
        lambda image: {"boxes": torch.tensor(two_people()[1]), "scores": torch.tensor([0.8, 0.8])},
        type("Detector", (), {"detect": staticmethod(lambda image: two_people()[1])})(),
    ],
)
def test_detectors_of_any_kind(detector):
    labels, _ = two_people()
    found = parse_people(Reads(), coloured(labels), detector=detector, classes=SIDES, size=SIZE)
    assert np.array_equal(found.classes, labels)


BAD = {
    "outside": ([200, 0, 220, 20], "lies outside"),
    "empty": ([10, 5, 10, 20], "is empty"),
    "width and height": ([32, 10, 18, 26], "is empty"),
    "NaN": ([float("nan"), 0, 5, 5], "is not finite"),
    "infinite": ([0, 0, float("inf"), 5], "is not finite"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_box_costs_only_itself(what):
    (bad, reason), (labels, boxes) = BAD[what], two_people()
    with pytest.warns(UserWarning, match=rf"1 of 3 boxes are left out, the others are parsed: box 1 {reason}"):
        found = parse_people(Reads(), coloured(labels), [boxes[0], bad, boxes[1]], classes=SIDES, size=SIZE)
    assert np.array_equal(found.classes, labels)
    assert [person.index for person in found.people] == [0, 2]
    assert [person.number for person in found.people] == [1, 2]
    assert list(found.skipped) == [1]
    assert found.skipped[1].startswith(reason)
    assert reason in str(found)


def test_a_box_that_reaches_out_is_cut():
    labels = np.zeros((40, 60), np.uint8)
    labels[20:, :20] = 1
    found = parse_people(Reads(), coloured(labels), [[-9, 20, 20, 70]], classes=SIDES, size=SIZE)
    assert np.array_equal(found.classes, labels)
    assert window_around(np.array([-9.0, 20, 20, 70]), (40, 60), 0)[:4] == (20, 0, 40, 20)


@pytest.mark.parametrize("boxes", [[], np.zeros((0, 4)), np.zeros((0, 5)), [[0, 0, 5, 5, 0.1]]])
def test_nobody_is_an_empty_result_and_a_warning(boxes):
    with pytest.warns(UserWarning, match=r"nobody to parse.*; pass boxes"):
        found = parse_people(Reads(), np.zeros((8, 9, 3), np.uint8), boxes, min_score=0.5, classes=SIDES, size=SIZE)
    assert found.people == []
    assert not found.instances.any()
    assert found.classes.shape == (8, 9)
    assert str(found).startswith("nobody")


def test_fifty_people_go_through_in_batches():
    image = np.zeros((60, 200, 3), np.uint8)
    boxes = [
        [4 + 19 * column, 1 + 11 * row, 12 + 19 * column, 10 + 11 * row] for row in range(5) for column in range(10)
    ]
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right, 0] = 255
    model = Reads()
    found = parse_people(model, image, boxes, classes=SIDES, size=(32, 32), batch_size=8, margin=0.1)
    assert model.batches == [8] * 6 + [2]
    assert np.array_equal(boxes_of(found.instances)[0], np.arange(1, 51))
    assert np.array_equal(found.classes > 0, image[:, :, 0] > 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "boxes=, or detector="),
        ({"boxes": [[0, 0, 5, 5]], "detector": lambda image: []}, "got both"),
        ({"boxes": [[0, 0, 5]]}, r"boxes of shape \(n, 4\)"),
        ({"boxes": "everybody"}, r"boxes of shape \(n, 4\)"),
        ({"boxes": [[0, 0, 5, 5]], "scores": [0.1, 0.2]}, "a score for each of 1 boxes"),
        ({"boxes": [[0, 0, 5, 5]], "margin": -1}, "margin"),
        ({"boxes": [[0, 0, 5, 5]], "depth": float("nan")}, "depth"),
        ({"boxes": [[0, 0, 5, 5]], "batch_size": 0}, "batch_size"),
        ({"detector": lambda image: None}, "a detector that returns boxes"),
        ({"detector": 5}, "a detector: a function"),
        (
            {"boxes": [[0.1, 0.1, 0.9, 0.9]]},
            r"got shares.*\(0.1, 0.1, 0.9, 0.9\); to fix: multiply left and right",
        ),
        ({"boxes": [[0, 0, 1, 1], [0.2, 0, 0.4, 1]]}, "in the picture's pixels; got shares"),
        ({"detector": lambda image: [[0, 0.1, 0.9, 0.9, 0.8]]}, "in pixels, .*got shares, all in 0..1.*times width"),
    ],
)
def test_arguments_that_are_wrong(options, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        parse_people(Reads(), np.zeros((8, 8, 3), np.uint8), **options, classes=SIDES, size=SIZE)
    assert str(caught.value).count("to fix") == 1


def test_a_score_outside_0_to_1_is_a_logit():
    with pytest.warns(UserWarning, match="of logits pass the sigmoid"):
        parse_people(Reads(), np.zeros((8, 8, 3), np.uint8), [[0, 0, 5, 5, 3.2]], classes=SIDES, size=SIZE)


def test_a_person_who_is_hidden_keeps_their_number_and_has_no_pixels():
    labels = np.zeros((40, 60), np.uint8)
    labels[8:32, 6:20] = 1
    box = [6, 8, 20, 32]
    found = parse_people(Reads(), coloured(labels), [box, box], scores=[0.5, 0.9], classes=SIDES, size=SIZE)
    assert [person.score > 0 for person in found.people] == [False, True]
    assert not found.people[0].mask.any()
    assert "1 of them hidden" in str(found)


def test_pictures_of_the_result(tmp_path):
    labels, boxes = two_people()
    image = coloured(labels)
    found = parse_people(Reads(), image, boxes, classes=SIDES, size=SIZE)
    shown = np.asarray(found.overlay(image))
    assert (shown[8, 6] == 255).all()  # the outline
    assert np.array_equal(shown[0, 0], image[0, 0])
    found.save_pngs(tmp_path, "a")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "Category_ids" / "a.png")), found.classes)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "Human_ids" / "a.png")), found.instances)


def test_what_is_saved_is_read_as_cihp(tmp_path):
    labels, boxes = two_people()
    home = tmp_path / "Training"
    (home / "Images").mkdir(parents=True)
    Image.fromarray(coloured(labels)).save(home / "Images" / "7.png")
    found = parse_people(Reads(), coloured(labels), boxes, classes=SIDES, size=SIZE)
    found.save_pngs(home, "7")
    source = CIHP(tmp_path)
    assert np.array_equal(source.mask(0), found.classes)
    assert np.array_equal(source.instances(0), found.instances)


def test_the_command_parses_photos_of_nobody_of_many_and_of_bombs(tmp_path, capsys, monkeypatch):
    (tmp_path / "photos").mkdir()
    for name in ("nobody", "fifty", "outside"):
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"none")
    boxes = iter([
        [[index % 10 * 5, 0, index % 10 * 5 + 9, 40, 0.9] for index in range(50)],  # in the order of the names
        np.zeros((0, 5)),
        [[100, 0, 120, 40, 0.9], [5, 0, 30, 40, 0.9]],
    ])  # fmt: skip
    monkeypatch.setattr(PersonDetector, "detect", lambda self, image: next(boxes))
    PersonDetector((64, 96)).save(tmp_path / "detector.pt")
    network = ACE2P(3, backbone="resnet18", width=0.125)
    network.save(tmp_path / "own.pt", classes=classes_named(["background", "top", "legs"]), size=(33, 33))
    words = ["parse", str(tmp_path / "photos"), "--checkpoint", str(tmp_path / "own.pt"), "--device", "cpu",
             "--detector", str(tmp_path / "detector.pt"), "--out", str(tmp_path / "out")]  # fmt: skip
    assert main([*words, "--overlay"]) == 1
    shown = capsys.readouterr()
    assert shown.out == f"3 images parsed, 51 people, 1 images could not be read: {tmp_path / 'out'}\n"
    assert f"{tmp_path / 'photos' / 'broken.png'}: expected an image file that can be read" in shown.err
    assert f"{tmp_path / 'photos' / 'nobody.png'}: nobody: no box" in shown.err
    assert "outside.png: box 0 lies outside" in shown.err
    assert "fifty.png" not in shown.err
    for kind in ("Category_ids", "Human_ids"):
        assert sorted(path.name for path in (tmp_path / "out" / kind).iterdir()) == [
            "fifty.png", "nobody.png", "outside.png"
        ]  # fmt: skip
        assert not np.asarray(Image.open(tmp_path / "out" / kind / "nobody.png")).any()
    assert (tmp_path / "out" / "outside-overlay.jpg").exists()
    assert main([*words, "--tile"]) == 2
    assert "expected --boxes or --detector without --tile; got both" in capsys.readouterr().err
    assert main([*words[:7], str(tmp_path / "gone.pt")]) == 2
    assert "gone.pt" in capsys.readouterr().err
