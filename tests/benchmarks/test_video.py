"""The benchmark of films, at a size of seconds."""

import json
from pathlib import Path

from benchmarks import video


def test_films_are_parsed_compared_and_written(tmp_path: Path) -> None:
    sizes = ["--frames", "3", "--train", "8", "--epochs", "1", "--seeds", "1"]
    words = [*sizes, "--out", str(tmp_path), "--stem", "video"]
    assert video.main(words) == 0
    cells = json.loads((tmp_path / "video.json").read_text(encoding="utf-8"))["cells"]
    page = (tmp_path / "video.md").read_text(encoding="utf-8")
    assert page.startswith(video.page(cells))
    assert "±" not in page  # of one seed
    assert (tmp_path / "video-flicker.png").exists()
    assert video.main(words) == 0  # finished cells are kept
    assert json.loads((tmp_path / "video.json").read_text(encoding="utf-8"))["cells"] == cells
