"""The benchmark of the whole way, at toy size."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import clean
from benchmarks.lab.cells import cell_key
from noisycorrect.cli import main
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    truth = ["car" if row % 3 else "fruit" for row in range(90)]
    words = {"car": ["wheel", "engine", "brake"], "fruit": ["apple", "pear", "plum"]}
    texts = [" ".join(rng.choice(words[name], 5)) for name in truth]
    other = {"car": "fruit", "fruit": "car"}
    votes = [[other[name] if rng.random() < wrong else name for wrong in (0.1, 0.3)] for name in truth]
    votes[4] = ["", ""]
    place = tmp_path / "data" / "crowd"
    place.mkdir(parents=True)
    rows = [f"{row},{text},{one},{two}" for row, (text, (one, two)) in enumerate(zip(texts, votes, strict=True))]
    (place / "crowd.csv").write_text("id,text,annotator_1,annotator_2\n" + "\n".join(rows), encoding="utf-8")
    gold = [f"{row},{name}" for row, name in enumerate(truth)]
    (place / "gold.csv").write_text("id,gold\n" + "\n".join(gold), encoding="utf-8")
    rows = [f"{row},{text},{name}" for row, (text, name) in enumerate(zip(texts, truth, strict=True))]
    (place / "heldout.csv").write_text("id,text,label\n" + "\n".join(rows), encoding="utf-8")
    return place


@pytest.mark.parametrize("method", [name for name in clean.METHODS if name != clean.OURS])
def test_other_libraries_write_what_is_scored(method: str, folder: Path, tmp_path: Path) -> None:
    if "cleanlab" in method:
        pytest.importorskip("cleanlab")
    clean.METHODS[method](folder, tmp_path, 0)
    scores = clean.score(folder, tmp_path)
    assert scores["test_accuracy"] > 0.95
    assert scores["label_accuracy"] > (0.9 if "cleanlab" in method else 0.7)
    assert scores["auroc"] > 0.9


def test_ours_is_the_two_commands(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []

    def run(command: list[str], **options: object) -> SimpleNamespace:
        said.append(command[1:4])
        return SimpleNamespace(returncode=main([*command[3:], *(["--epochs", "3"] if command[3] == "clean" else [])]))

    monkeypatch.setattr(subprocess, "run", run)
    clean.clean_and_predict(folder, tmp_path, 0)
    assert said == [["-m", "noisycorrect.cli", "clean"], ["-m", "noisycorrect.cli", "predict"]]
    scores = clean.score(folder, tmp_path)
    assert scores["label_accuracy"] > 0.97
    assert scores["test_accuracy"] == 1
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=2, stderr="no such file"))
    with pytest.raises(NoisyCorrectError, match="no such file"):
        clean.clean_and_predict(folder, tmp_path, 0)


def test_scores_are_of_the_rows_with_votes(folder: Path, tmp_path: Path) -> None:
    rows = [("", "", "")] * 87 + [("car", "car", 0.9), ("car", "fruit", 0.1), ("fruit", "fruit", 0.8)]
    clean._write(tmp_path, rows, ["car"] * 90)
    scores = clean.score(folder, tmp_path)  # the last three are fruit, car, car
    assert scores["label_accuracy"] == 0
    assert scores["test_accuracy"] == pytest.approx(2 / 3)
    assert scores["test_balanced"] == 0.5
    assert scores["test_rarest"] == 0
    assert scores["auroc"] == 0  # the one right label, of row 88, has the least quality


def test_cells_of_other_files_are_not_taken_for_these(folder: Path) -> None:
    arguments = clean.parse_arguments(["--data-dir", str(folder), "--methods", clean.OURS, "--seeds", "1"])
    (before,), gold = clean.make_cells(arguments), folder / "gold.csv"
    gold.write_text(gold.read_text(encoding="utf-8").replace("0,fruit", "0,car"), encoding="utf-8")
    (after,) = clean.make_cells(arguments)
    assert cell_key(before) != cell_key(after)


def test_the_report_has_a_row_a_method(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = dict.fromkeys([*clean.METRICS, "seconds"], 0.5)
    monkeypatch.setattr(clean, "run_cell", lambda cell, place: {**result, "auroc": 0.5 + cell.seed / 10})
    methods = f"scikit-learn, majority;{clean.OURS}"
    words = ["--data-dir", str(folder.parent), "--seeds", "2", "--methods", methods, "--processes", "1"]
    assert clean.main([*words, "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["name"] for row in found["summary"]] == methods.split(";")
    assert "55.0 ± 7.1" in capsys.readouterr().out
    assert clean.main(["--data-dir", str(tmp_path / "out"), "--methods", methods]) == 2
    assert "not all in" in capsys.readouterr().err
    with pytest.raises(InvalidInputError, match="did you mean"):
        clean.make_cells(clean.parse_arguments(["--data-dir", str(folder), "--methods", "noisycorect clean"]))
