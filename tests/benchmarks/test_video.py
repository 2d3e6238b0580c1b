"""The benchmark of films, at a size of seconds."""

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import video
from benchmarks.parsing import clip


def test_films_are_parsed_compared_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "SIZES", {1: (64, 48), 2: (64, 80), 3: (64, 80)})
    sizes = ["--frames", "3", "--train", "8", "--epochs", "1", "--seeds", "1", "--processes", "1"]
    words = [*sizes, "--out", str(tmp_path), "--stem", "video"]
    assert video.main(words) == 0
    cells = json.loads((tmp_path / "video.json").read_text(encoding="utf-8"))["cells"]
    page = (tmp_path / "video.md").read_text(encoding="utf-8")
    assert page.startswith(video.page(cells))
    assert "±" not in page  # of one seed
    assert (tmp_path / "video-flicker.png").exists()
    assert video.main(words) == 0  # finished cells are kept
    assert json.loads((tmp_path / "video.json").read_text(encoding="utf-8"))["cells"] == cells


def test_a_clip_shows_one_film_and_its_figures(tmp_path: Path, capsys) -> None:
    sizes = ["--frames", "2", "--train", "8", "--epochs", "1", "--width", "2"]
    words = [*sizes, "--clip", str(tmp_path / "clip.gif"), "--keep", str(tmp_path / "kept")]
    assert video.main(words) == 0
    found = json.loads((tmp_path / "clip.json").read_text(encoding="utf-8"))
    page = (tmp_path / "clip.md").read_text(encoding="utf-8")
    assert page.startswith(clip.page(found))
    assert "(clip.gif)" in page
    assert "2 frames" in page
    with Image.open(tmp_path / "clip.gif") as picture:
        assert picture.n_frames == 2
        assert picture.width > 3 * clip.SHOWN[1]
    assert video.main(words) == 0  # the kept network draws the same
    assert json.loads((tmp_path / "clip.json").read_text(encoding="utf-8"))["rows"] == found["rows"]
    assert video.main([*words, "--train", "9"]) == 2
    assert "that learnt as asked for" in capsys.readouterr().err


def test_a_clip_has_numbers_of_its_own_unless_told() -> None:
    study, shown = (video.parse_arguments(words) for words in (["--width", "3"], ["--width", "3", "--clip", "x.gif"]))
    assert [study.train, study.width] == [video.STUDIED["train"], 3]
    assert [shown.train, shown.width] == [video.SHOWN["train"], 3]
