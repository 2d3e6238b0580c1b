"""The benchmark of several people: a small cell, its page, and its parts."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import people
from benchmarks.parsing import group_picture
from noisycorrect_seg import SyntheticScenes
from noisycorrect_seg.inference import Parsing


def record(seed, value):
    figures = dict.fromkeys(people.METRICS, value) | {"seconds": 0.1}
    labels = {"label_mean_iou_given": 0.7, "label_mean_iou": 0.8, "moved": 0.01}
    cell = people.Cell("people", people.NOISE, "all", seed, "robust", 4, 2, 3, 1, 0.1)
    result = dict.fromkeys(people.METHODS, figures)
    return {"config": vars(cell), "result": {**result, "labels": labels, "boxes": {"recall": 0.9, "precision": 0.8}}}


def test_the_page_has_a_row_a_method_and_the_masks():
    page = people.page([record(0, 0.5), record(1, 0.7)])
    for method in people.METHODS:
        assert f"| {method} | **60.0 ± 14.1** |" in page
    assert "| mean IoU of the corrected masks, put back | 80.0 ± 0.0 |" in page
    assert "2 seeds" in page


def test_cells_are_a_seed_each(capsys):
    arguments = people.parse_arguments(["--seeds", "2", "--first-seed", "100", "--scenes", "5"])
    assert [(cell.seed, cell.scenes) for cell in people.make_cells(arguments)] == [(100, 5), (101, 5)]
    assert people.main(["--epochs", "0"]) == 2
    assert "--epochs" in capsys.readouterr().err


def test_a_whole_picture_has_a_person_a_connected_place(monkeypatch):
    scenes = SyntheticScenes(1, size=(32, 48), classes="people")
    labels = np.zeros((32, 48), np.uint8)
    labels[2:20, 2:10], labels[4:30, 20:30], labels[0, 40] = 3, 4, 5
    parsing = Parsing(labels, np.zeros((11, 32, 48), np.float32), scenes.classes)
    monkeypatch.setattr(people, "parse_image", lambda *_, **__: parsing)
    found = people._components(None, scenes.image(0), scenes)
    assert np.array_equal(found.instances > 0, (labels > 0) & (labels != 5))  # a single pixel is nobody
    assert found.instances.max() == 2
    scores = people._scores(people.WHOLE, found)
    assert scores == {1: 18 * 8, 2: 26 * 10}


@pytest.mark.parametrize("method", [people.GIVEN, people.FOUND])
def test_methods_differ_in_their_boxes(monkeypatch, method):
    scenes, seen = SyntheticScenes(1, size=(32, 48), classes="people"), {}
    monkeypatch.setattr(people, "parse_people", lambda model, image, **options: seen.update(options))
    trained = people.Trained("crops", "whole", "detector", {})
    people.parse(method, trained, scenes, scenes.image(0), scenes.boxes(0), 0.2)
    assert seen["depth"] == 0.2
    assert ("boxes" in seen) == (method == people.GIVEN)
    assert seen.get("detector") == (None if method == people.GIVEN else "detector")


def test_a_methods_time_is_that_of_parsing_after_the_first_picture(monkeypatch):
    now = [0.0]

    def takes(seconds, value=None):
        now[0] += seconds
        return value

    class Slow(SyntheticScenes):
        def image(self, index):
            return takes(100.0, super().image(index))

        def boxes(self, index):
            return takes(10.0, super().boxes(index))

    scenes = Slow(3, size=(32, 48), classes="people")
    nobody = people.PeopleParsing(np.zeros((32, 48), np.int32), np.zeros((32, 48), np.uint8), [], scenes.classes)
    times = iter([50.0, 1.0, 3.0] * len(people.METHODS))
    monkeypatch.setattr(people.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(people, "scenes_of", lambda cell: (None, scenes))
    monkeypatch.setattr(people, "learn", lambda cell, train: people.Trained("crops", "whole", "detector", {}))
    monkeypatch.setattr(people, "parse", lambda *_: takes(next(times), nobody))
    monkeypatch.setattr(people, "_box_figures", lambda detector, val: {})
    cell = people.Cell("people", people.NOISE, "all", 0, "robust", 4, 3, 3, 1, 0.1)
    result = people.run_cell(cell)
    assert [result[method]["seconds"] for method in people.METHODS] == [2.0] * 3
    assert people.mean_after_first([4.0]) == 4.0


def test_a_picture_shows_some_scenes_and_their_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(group_picture, "PICTURE", (64, 96))
    monkeypatch.setattr(group_picture, "CROP", (32, 32))
    monkeypatch.setattr(group_picture, "SCORED", 2)
    monkeypatch.setattr(people, "SHOWN_SCENES", 2)
    sizes = ["--scenes", "4", "--epochs", "3", "--detector-epochs", "1"]
    words = [*sizes, "--picture", str(tmp_path / "group.png"), "--keep", str(tmp_path / "kept")]
    assert people.main(words) == 0
    found = json.loads((tmp_path / "group.json").read_text(encoding="utf-8"))
    page = (tmp_path / "group.md").read_text(encoding="utf-8")
    assert page.startswith(group_picture.page(found))
    assert "(group.png)" in page
    with Image.open(tmp_path / "group.png") as picture:
        assert picture.width > 4 * 96
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"crops.pt", "detector.pt"}
    before = (tmp_path / "group.png").read_bytes()
    assert people.main(words) == 0  # the kept networks draw the same
    assert (tmp_path / "group.png").read_bytes() == before
