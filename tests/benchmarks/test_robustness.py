"""The robustness study at toy size, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import robustness
from benchmarks.datasets import load
from benchmarks.methods import METHODS, epochs_at_equal_passes
from noisycorrect import Schedule

TOY = ["--subset", "200", "--epochs", "3", "--seeds", "2", "--processes", "1"]


def run(folder: Path, *more: str) -> int:
    return robustness.main([*TOY, "--out", str(folder), *more])


def test_a_study_is_written_and_finished_cells_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--noise", "symmetric:0.4,pairflip:0.2") == 0
    shown = capsys.readouterr().out
    assert "selfcorrect" in shown
    assert "results.md" in shown
    stored = json.loads((tmp_path / "results.json").read_text())
    assert len(stored["cells"]) == 2 * 2 * 3
    for cell in stored["cells"]:
        result = cell["result"]
        assert 0.05 < result["test_accuracy"] <= 1
        refines = cell["config"]["method"] == "selfcorrect"
        assert (result["train_label_accuracy"] is not None) == refines
        assert (result["issue_auroc"] is not None) == refines
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.json")}
    assert run(tmp_path, "--noise", "symmetric:0.4,pairflip:0.2") == 0
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.json")}
    for name in ("results.md", "results-accuracy.png", "results-curves.png"):
        assert (tmp_path / name).stat().st_size > 0


def test_a_cell_depends_on_its_seed_alone() -> None:
    arguments = robustness.parse_arguments([*TOY, "--methods", "selfcorrect"])
    first, second = robustness.make_cells(arguments)
    once, again, other = (robustness.run_cell(None, cell) for cell in (first, first, second))
    for result in (once, again, other):
        result.pop("seconds")
    assert once == again
    assert once != other


def test_all_methods_of_a_cell_see_the_same_wrong_labels_and_nearly_the_same_passes() -> None:
    arguments = robustness.parse_arguments([*TOY, "--seeds", "1"])
    results = [robustness.run_cell(None, cell) for cell in robustness.make_cells(arguments)]
    assert len({result["noise_rate"] for result in results}) == 1
    passes = [result["sample_passes"] for result in results]
    cheapest_epoch = 3 * 200
    assert passes[-1] == min(passes), "the others never train for less than self-correction"
    assert max(passes) - min(passes) < cheapest_epoch


@pytest.mark.parametrize("epochs", [2, 10, 60, 150])
@pytest.mark.parametrize("samples", [1000, 50_000])
def test_equal_passes_round_in_favour_of_the_baselines(epochs: int, samples: int) -> None:
    budget = METHODS["selfcorrect"].passes(Schedule.from_budget(epochs), samples)
    for name, method in METHODS.items():
        longer = epochs_at_equal_passes(name, epochs, samples)
        assert method.passes(Schedule.from_budget(longer), samples) >= budget
        if longer > epochs:
            assert method.passes(Schedule.from_budget(longer - 1), samples) < budget


def test_human_labels_are_taken_from_the_data_set() -> None:
    digits = load("digits", subset=100)
    wrong = (digits.train_labels + 1) % 10
    data = type(digits)(**{**vars(digits), "human_labels": {"random1": wrong}})
    noisy = robustness._noise_model("human:random1", data).apply(digits.train_labels, num_classes=10, seed=0)
    assert np.array_equal(noisy.labels, wrong)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "digit"], "did you mean 'digits'"),
        (["--methods", "selfcorect"], "did you mean 'selfcorrect'"),
        (["--noise", "symetric:0.4"], "did you mean 'symmetric'"),
        (["--noise", "symmetric:1.4"], "rate"),
        (["--seeds", "0"], "--seeds >= 1; got 0"),
        (["--subset", "1"], "subset"),
        (["--network", "resnet"], "network"),
        (["--noise", "openset:0.4"], "needs a pool"),
        (["--epochs", "0"], "--epochs to be a whole number >= 2; got 0"),
        (["--lr", "0"], "--lr"),
        (["--dataset", "cifar10"], "data"),
        (["--noise", "human:random1"], "set of human labels of digits"),
    ],
)
def test_mistakes_get_one_line_and_status_2(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert robustness.main(["--out", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_cells_that_fail_leave_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_cell = robustness.run_cell

    def fails_sometimes(data_dir: Path | None, cell: robustness.Cell) -> dict[str, object]:
        if cell.method == "ce-wa":
            raise RuntimeError("out of luck")
        return run_cell(data_dir, cell)

    monkeypatch.setattr(robustness, "run_cell", fails_sometimes)
    assert run(tmp_path, "--methods", "ce,ce-wa", "--seeds", "1") == 1
    assert "out of luck" in capsys.readouterr().err
    assert [cell["config"]["method"] for cell in json.loads((tmp_path / "results.json").read_text())["cells"]] == ["ce"]
