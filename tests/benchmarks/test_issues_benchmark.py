"""Label issues against cleanlab, at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import issues

pytest.importorskip("cleanlab")
TOY = ["--subset", "150", "--epochs", "3", "--processes", "1", "--recipes", "paper", "--noise", "symmetric:0.3"]


def test_the_report_has_a_row_a_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert issues.main([*TOY, "--seeds", "2", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "results.json").read_text())
    rows = {row["name"]: row["measures"] for row in found["summary"]}
    assert list(rows) == ["cleanlab-logistic", "cleanlab-network", "paper"]
    for name, row in rows.items():
        assert f"| {name} |" in shown
        cells = [cell["result"] for cell in found["cells"] if cell["config"]["method"] == name]
        for metric in issues.METRICS:
            values = [cell[metric] for cell in cells]
            assert row[metric] == pytest.approx([np.mean(values), np.std(values, ddof=1)])
    assert rows["cleanlab-logistic"]["auroc"][0] > 0.9
    assert "sample_passes" not in rows["cleanlab-logistic"]
    # Five trainings on four fifths, and a prediction of each sample.
    assert rows["cleanlab-network"]["sample_passes"][0] == 4 * 3 * 3 * 150 + 150
    assert (tmp_path / "results-scores.png").stat().st_size > 0
    assert "## symmetric:0.3: " in (tmp_path / "results.md").read_text()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.json")}
    assert issues.main([*TOY, "--seeds", "1", "--out", str(tmp_path)]) == 0
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.json")}
    assert " ± " not in (tmp_path / "results.md").read_text()


def test_cross_validation_predicts_what_it_has_not_seen() -> None:
    given = np.repeat(np.arange(3), 10)
    asked: list[int] = []

    def predict(train: issues.Labels, held_out: issues.Labels, fold: int) -> tuple[issues.Probs, int]:
        assert not set(train) & set(held_out)
        assert len(train) + len(held_out) == 30
        asked.extend(held_out)
        return np.full((len(held_out), 3), float(fold)), 7

    probs, passes = issues._cross_validated(predict, given, 3, seed=0)
    assert sorted(asked) == list(range(30))
    assert passes == 35
    assert np.bincount(probs[:, 0].astype(int)).tolist() == [6] * 5


def test_methods_are_those_asked_for() -> None:
    def methods(*words: str) -> list[str]:
        return [cell.method for cell in issues.make_cells(issues.parse_arguments([*TOY[:2], "--seeds", "1", *words]))]

    one = ["--noise", "pairflip:0.3"]
    assert methods(*one) == ["cleanlab-logistic", "cleanlab-network", "paper", "robust"]
    assert methods(*one, "--recipes", "robust") == ["cleanlab-logistic", "cleanlab-network", "robust"]
    assert methods(*one, "--methods", "paper") == ["paper"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "digit"], "did you mean 'digits'"),
        (["--noise", "symetric:0.3"], "did you mean 'symmetric'"),
        (["--recipes", "papers"], "did you mean 'paper'"),
        (["--methods", "cleanlab"], "a known method; got 'cleanlab'"),
        (["--seeds", "0"], "--seeds"),
        (["--epochs", "1"], "--epochs"),
    ],
)
def test_wrong_words(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert issues.main([*words, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
