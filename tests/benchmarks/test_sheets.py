"""`python -m benchmarks.sheets`: a sheet a group of models, or one of those that are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks import sheets
from noisycorrect_seg import SyntheticPeople, noise
from noisycorrect_seg.inference.visualise import LINE_PIXELS, save_mask

SMALL = ["--count", "2", "--size", "32x32", "--height", "32"]


def test_every_model_is_on_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sheets.main([*SMALL, "--out", str(tmp_path)]) == 0
    assert sorted(path.stem for path in tmp_path.glob("*.png")) == sorted(sheets.SHEETS)
    assert capsys.readouterr().out.count(".png") == len(sheets.SHEETS)
    shown = {spelling.split(":")[0] for models in sheets.SHEETS.values() for spelling in models.split(";")}
    assert set(noise.MODELS) - shown == {"none", "swap", "affine", "matrix"}, "those are parts of the realistic mixture"


def test_a_sheet_has_a_row_a_model_and_a_column_a_picture(tmp_path: Path) -> None:
    assert sheets.main([*SMALL, "--out", str(tmp_path), "--noise", "drop:0.5;omit:0.5;realistic"]) == 0
    with Image.open(tmp_path / "noise.png") as sheet:
        assert sheet.size == (2 * 36 + 4, 5 * (32 + 4 + LINE_PIXELS) + 4)
        assert len(sheet.getcolors(1 << 16) or ()) > 20


def test_ones_own_folder_is_shown(tmp_path: Path) -> None:
    people = SyntheticPeople(3, size=(32, 32))
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for index in range(3):
        Image.fromarray(people.image(index)).save(tmp_path / "data/images" / f"{index}.png")
        save_mask(tmp_path / "data/masks" / f"{index}.png", people.mask(index), people.classes)
    (tmp_path / "data/classes.txt").write_text("\n".join(people.classes.names))
    words = [
        "--dataset",
        "folder",
        "--data-dir",
        str(tmp_path / "data"),
        "--noise",
        "boundary:1",
        "--out",
        str(tmp_path),
    ]
    assert sheets.main([*SMALL, *words]) == 0
    assert (tmp_path / "noise.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--noise", "bondary:2"], "did you mean 'boundary'"),
        (["--size", "64"], "HEIGHTxWIDTH"),
        (["--count", "0"], "--count to be a whole number >= 1"),
        (["--height", "3"], "--height"),
        (["--dataset", "lip"], "--data-dir"),
    ],
)
def test_mistakes_get_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sheets.main([*words, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
