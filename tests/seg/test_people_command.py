"""Several people on the command line: boxes from files, a detector from a file, photos and videos."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from noisycorrect.cli import main
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import PersonDetector, parse_people
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.cli import networks
from noisycorrect_seg.inference import Recipe
from noisycorrect_seg.inference.people_folder import HowPeople, parse_people_files
from noisycorrect_seg.inputs import Normalisation
from noisycorrect_seg.instances.box_file import boxes_of_photo, read_boxes
from noisycorrect_seg.video import Clip, ParsedVideo
from noisycorrect_seg.video.reading import opened_video

SIDES = Classes("sides", ("background", "left", "right"), ((1, 2),))
SIZE = (64, 64)
BOXES = {"a.png": [[6, 8, 20, 32], [32, 10, 50, 36]], "b.png": [[4, 4, 30, 30]]}


class Reads(nn.Module):
    """Reads classes off colours: dark is background, red is class 1, green class 2."""

    num_classes = 3

    def forward(self, crops):
        red, green = crops[:, 2], crops[:, 1]  # blue first, normalised
        return torch.stack([torch.zeros_like(red), red, green], 1) * 20.0


def picture(*people):
    labels = np.zeros((40, 60), np.uint8)
    for number, (left, top, right, bottom) in enumerate(people, 1):
        labels[top:bottom, left:right] = number
    return labels


LABELS = {name: picture(*boxes) for name, boxes in BOXES.items()}


def coloured(labels):
    return np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)[labels]


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Return the words of a command that parses two photos, with a network that reads colours."""
    monkeypatch.setattr(networks, "load_network", lambda source, official: (Reads(), SIDES, SIZE))
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, labels in LABELS.items():
        Image.fromarray(coloured(labels)).save(photos / name)
    return ["parse", str(photos), "--checkpoint", "own.pt", "--out", str(tmp_path / "out"), "--device", "cpu"]


def written(tmp_path, kind, name):
    with Image.open(tmp_path / "out" / kind / name) as image:
        return np.array(image)


CSV = "image,left,top,right,bottom,score\na.png,6,8,20,32,0.9\na.png,32,10,50,36,\nphotos/b.png,4,4,30,30,1\n"
COCO = {
    "images": [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
    "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"image_id": 7, "category_id": 1, "bbox": [6, 8, 14, 24]},
        {"image_id": 7, "category_id": 2, "bbox": [0, 0, 60, 40]},
        {"image_id": 7, "category_id": 1, "bbox": [32, 10, 18, 26], "score": 0.9},
        {"image_id": 9, "category_id": 1, "bbox": [4, 4, 26, 26]},
    ],
}


@pytest.mark.parametrize("form", ["boxes.csv", "boxes.json", "coco.json"])
def test_boxes_of_a_file_give_classes_and_human_ids(words, tmp_path, capsys, form):
    text = {"boxes.csv": CSV, "boxes.json": json.dumps(BOXES), "coco.json": json.dumps(COCO)}[form]
    (tmp_path / form).write_text(text, encoding="utf-8")
    assert main([*words, "--boxes", str(tmp_path / form), "--overlay"]) == 0
    assert capsys.readouterr().out == f"2 images parsed, 3 people: {tmp_path / 'out'}\n"
    for name, labels in LABELS.items():
        assert np.array_equal(written(tmp_path, "Category_ids", name), labels)
        assert np.array_equal(written(tmp_path, "Human_ids", name), labels)  # person 1 is of class 1
    assert (tmp_path / "out" / "a-overlay.jpg").exists()


def test_masks_of_a_data_set_are_not_replaced_by_results(words, tmp_path, capsys):
    """CIHP has photos in Images/, and beside it its annotators' masks, in folders called as those of results."""
    (tmp_path / "boxes.json").write_text(json.dumps(BOXES), encoding="utf-8")
    words = [*words[:-4], "--out", str(tmp_path), "--device", "cpu", "--boxes", str(tmp_path / "boxes.json")]
    (tmp_path / "Human_ids").mkdir()
    (tmp_path / "Human_ids" / "b.png").write_bytes(b"theirs")
    assert main(words) == 2
    assert "b.png; to fix: name another folder: the masks could be a data set's own" in capsys.readouterr().err
    assert (tmp_path / "Human_ids" / "b.png").read_bytes() == b"theirs"
    assert not (tmp_path / "Category_ids").exists()
    (tmp_path / "Human_ids" / "b.png").rename(tmp_path / "Human_ids" / "c.png")
    assert main(words) == 0


def test_a_detector_of_a_file_finds_them(words, tmp_path, capsys):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = PersonDetector((64, 96), width=4, threshold=0.05, most=3)
    detector.save(tmp_path / "detector.pt")
    assert main([*words, "--detector", str(tmp_path / "detector.pt"), "--margin", "0.2", "--flip"]) == 0
    for name, labels in LABELS.items():
        found = parse_people(
            Reads(), coloured(labels), detector=detector, classes=SIDES, size=SIZE, margin=0.2, flip=True
        )
        assert len(found.people) == 3
        assert np.array_equal(written(tmp_path, "Human_ids", name), found.instances)
        assert np.array_equal(written(tmp_path, "Category_ids", name), found.classes)
    assert "6 people" in capsys.readouterr().out


def test_in_a_video_people_keep_their_numbers(words, tmp_path, capsys):
    pytest.importorskip("av")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = PersonDetector((64, 96), width=4, threshold=0.05, most=20)
    detector.save(tmp_path / "detector.pt")
    with Clip(tmp_path / "walk.mp4", rate=10) as clip:
        for _ in range(3):
            clip.add(coloured(LABELS["a.png"]))
    again = ["parse", str(tmp_path / "walk.mp4"), *words[2:], "--window", "0", "--detector"]
    assert main([*again, str(tmp_path / "detector.pt")]) == 0
    parsed = ParsedVideo(tmp_path / "out" / "walk")
    assert len(parsed) == 3
    for index, frame in enumerate(opened_video(tmp_path / "walk.mp4").frames):
        found = parse_people(Reads(), frame, detector=detector, classes=SIDES, size=SIZE)
        assert found.instances.max() >= 1
        assert np.array_equal(parsed.people(index) > 0, found.instances > 0)
        assert np.array_equal(parsed.people(index), parsed.people(0))  # nothing moves
    capsys.readouterr()
    detector.heat.bias.data += 0.1
    detector.save(tmp_path / "other.pt")
    assert main([*again, str(tmp_path / "other.pt")]) == 2  # results of two detectors are not mixed
    assert "choose another folder" in capsys.readouterr().err


def test_of_a_video_without_people_it_is_said_once(words, tmp_path, capsys):
    PersonDetector((64, 96), width=4, threshold=0.999).save(tmp_path / "detector.pt")
    with Clip(tmp_path / "walk.gif", rate=10) as clip:
        for name in ("a.png", "b.png", "a.png"):
            clip.add(coloured(LABELS[name]))
    words = ["parse", str(tmp_path / "walk.gif"), *words[2:], "--detector", str(tmp_path / "detector.pt")]
    assert main(words) == 0
    assert capsys.readouterr().err.count("nobody to parse: there is no box") == 1


def test_crowds_of_coco_are_nobody(tmp_path):
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [{**box, "iscrowd": 0}, {**box, "iscrowd": 1, "bbox": [0, 0, 90, 90]}, box],
    }
    (tmp_path / "x.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_boxes(tmp_path / "x.json")["a.jpg"].tolist() == [[1, 2, 4, 6, 1]] * 2


@pytest.mark.parametrize(
    ("names", "photo", "name"),
    [
        (["sub/x"], "photos/sub/x.jpg", "sub/x"),
        (["sub/x", "x.jpg"], "sub/x.jpg", "sub/x"),
        (["sub/x", "x.jpg"], "other/x.jpg", "x.jpg"),
        (["x", "x.jpg"], "sub/x.jpg", "x.jpg"),
        (["sub/c", "sub/c.v2"], "sub/c.v2.jpg", "sub/c.v2"),
        (["b/x"], "sub/x.jpg", None),
    ],
)
def test_photos_are_named_with_or_without_folders_and_suffix(names, photo, name):
    assert boxes_of_photo({each: np.zeros((0, 5)) for each in names}, Path(photo)) == name


def test_boxes_of_a_photo_that_is_named_in_several_ways_come_together(tmp_path):
    one, two = [[1, 2, 3, 4]], [[5, 6, 7, 8], [9, 9, 10, 10]]
    both = [[*box, 1.0] for box in one + two]
    coco = {
        "images": [{"id": number, "file_name": "a/x.jpg"} for number in (1, 2)],
        "annotations": [
            {"image_id": number, "bbox": [left, top, right - left, bottom - top]}
            for number, boxes in ((1, one), (2, two))
            for left, top, right, bottom in boxes
        ],
    }
    lines = [
        f"{name},{','.join(map(str, box))}" for name, boxes in (("a/x.jpg", one), ("./a/x.jpg", two)) for box in boxes
    ]
    written = {
        "x.json": json.dumps({"a/x.jpg": one, "a\\x.jpg": two, "a//x.jpg": []}),
        "coco.json": json.dumps(coco),
        "x.csv": "\n".join(["image,left,top,right,bottom", *lines]),
    }
    for name, text in written.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert {photo: boxes.tolist() for photo, boxes in read_boxes(tmp_path / name).items()} == {"a/x.jpg": both}


def test_arrays_are_photos_of_a_network_for_other_images(tmp_path):
    (tmp_path / "photos").mkdir()
    np.save(tmp_path / "photos" / "a.npy", np.zeros((8, 6, 4), np.uint16))
    recipe = Recipe(SIDES, SIZE, normalisation=Normalisation([0.0] * 4, [1.0] * 4))
    how = HowPeople({"a": np.array([[0.0, 0, 6, 8, 1]])})
    report = parse_people_files(nn.Conv2d(4, 3, 1), [tmp_path / "photos"], tmp_path / "out", recipe, how)
    assert (report.people, len(report.written), report.skipped) == (1, 1, [])


# ---------------------------------------------------------------- invalid input


@pytest.mark.parametrize(
    ("photos", "name"), [(["monday/a.jpg", "tuesday/a.jpg"], "a.jpg"), (["monday/a.jpg", "monday/a.png"], "a")]
)
def test_boxes_of_one_photo_are_not_those_of_another_by_its_name(photos, name, tmp_path):
    for path in (tmp_path / photo for photo in photos):
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (60, 40)).save(path)
    folders = sorted({(tmp_path / photo).parent for photo in photos})
    recipe = Recipe(SIDES, SIZE)
    boxes = {name: np.array([[6.0, 8, 20, 32, 1]])}
    with pytest.raises(InvalidInputError, match=f"got '{name}', which may be .*a.jpg or .*; to fix: name photos with"):
        parse_people_files(Reads(), folders, tmp_path / "out", recipe, HowPeople(boxes))
    assert not (tmp_path / "out").exists()
    boxes = dict.fromkeys(photos, boxes[name])
    assert parse_people_files(Reads(), folders, tmp_path / "out", recipe, HowPeople(boxes)).people == 2


def test_what_is_wrong_costs_only_itself_and_is_said(words, tmp_path, capsys):
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    boxes = {"a.png": [[6, 8, 20, 32], [100, 0, 120, 30]], "broken.png": [[0, 0, 5, 5]]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    assert main([*words, "--boxes", str(tmp_path / "boxes.json")]) == 1
    shown = capsys.readouterr()
    assert "2 images parsed, 1 people, 1 images could not be read" in shown.out
    assert "broken.png" in shown.err
    assert "a.png: box 1 lies outside" in shown.err
    assert "b.png: nobody" in shown.err
    assert not written(tmp_path, "Human_ids", "b.png").any()
    assert written(tmp_path, "Human_ids", "a.png").max() == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--boxes", "BOXES", "--detector", "x.pt"], "--detector without --boxes; got both"),
        (["--boxes", "BOXES", "--probs"], "--boxes or --detector without --probs; got both"),
        (["--boxes", "BOXES", "--convention", "evaluator"], "without --convention"),
        (["--margin", "0.2", "--min-score", "0.5"], "--boxes or --detector; got --margin, --min-score alone"),
        (["--boxes", "nowhere.csv"], "a file of boxes at nowhere.csv"),
        (["--detector", "nowhere.pt"], "nowhere.pt"),
        (["--boxes", "BOXES", "--depth", "-1"], "depth"),
        (["--boxes", "OTHERS"], "boxes of a.png, or of one of 1 others; got boxes of z.png"),
    ],
)
def test_words_that_do_not_go_together(words, tmp_path, capsys, more, message):
    for name, boxes in (("BOXES", BOXES), ("OTHERS", {"z.png": [[0, 0, 5, 5]]})):
        (tmp_path / f"{name}.json").write_text(json.dumps(boxes), encoding="utf-8")
    more = [str(tmp_path / f"{word}.json") if word.isupper() else word for word in more]
    assert main([*words, *more]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert not shown.out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "photo,left\n", "the columns image, left, top, right, bottom in .*got photo, left"),
        ("x.csv", "image,left,top,right,bottom\na,1,2,x,4\n", "numbers in .*got 1, 2, x, 4, 1 in line 2 of"),
        ("x.json", "[1, 2]", "an object of boxes by photo in .*got a list"),
        ("x.json", "{", "JSON in"),
        ("x.json", "[" * 100_000, "JSON in .*nested too deep"),
        ("x.json", '{"a.jpg": [[1, 2, 3]]}', r"got of 'a.jpg' .*shape \(1, 3\)"),
        ("x.json", '{"a.jpg": [[1, 2, 3, 4], [1, 2, 3, 4, 0.5]]}', "got of 'a.jpg'"),
        (
            "x.json",
            '{"a.jpg": [[0, 0, 20, 40]], "b.jpg": [[0.1, 0.2, 0.5, 1]]}',
            "in pixels, .*of 'b.jpg' shares",
        ),
        ("x.csv", "image,left,top,right,bottom\na.jpg,.1,.2,.5,1\n", "of 'a.jpg' shares"),
        ("x.json", '{"images": [], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}]}', "got KeyError: 1"),
    ],
)
def test_files_that_hold_no_boxes(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=message) as caught:
        read_boxes(tmp_path / name)
    assert str(caught.value).count("to fix") <= 1
