"""The robustness study at toy size, end to end; its protocol and its compute."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import robustness
from benchmarks.lab import methods
from benchmarks.lab.datasets import load
from benchmarks.lab.methods import LABEL_METHODS, TRAINING_PASSES, epochs_at_equal_passes, names_of
from benchmarks.lab.networks import build
from benchmarks.lab.protocol import Watcher, accuracy, make_problem, noise_model
from noisycorrect import EveryStep, SelfCorrector
from noisycorrect.training.run import Run

TOY = ["--subset", "200", "--epochs", "3", "--seeds", "2", "--processes", "1"]


def run(folder: Path, *more: str) -> int:
    return robustness.main([*TOY, "--out", str(folder), *more])


def test_a_study_is_written_and_finished_cells_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--noise", "symmetric:0.4,none", "--methods", "ce,paper")
    assert run(tmp_path, *words) == 0
    shown = capsys.readouterr().out
    assert "paper" in shown
    assert "results.md" in shown
    stored = json.loads((tmp_path / "results.json").read_text())
    assert len(stored["cells"]) == 2 * 2 * 2
    assert len(stored["curves"]) == 2 * 2
    for cell in stored["cells"]:
        result = cell["result"]
        assert 0.05 < result["test_accuracy"] <= 1
        corrects, clean = cell["config"]["method"] == "paper", cell["config"]["noise"] == "none"
        assert result["baseline"] is not corrects
        assert (result["train_label_accuracy"] is not None) == corrects
        assert (result["estimated_rate"] is not None) == corrects
        assert (result["issue_auroc"] is not None) == (corrects and not clean)
        assert (result["noise_rate"] == 0) == clean
    rivals = {row["name"]: row["rival"] for row in stored["summary"]}
    assert rivals == {"ce": "ce", "paper": "ce"}
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.json")}
    assert run(tmp_path, *words) == 0
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.json")}
    for name in ("results.md", "results-accuracy-digits.png", "results-curves-digits.png"):
        assert (tmp_path / name).stat().st_size > 0


def test_the_quick_suite_at_toy_size_has_every_method_on_two_noises(tmp_path: Path) -> None:
    words = ["--quick", *TOY[:4], "--seeds", "1", "--noise", "pairflip:0.4", "--processes", "1"]
    few = ["ce-wa-aug", "coteaching", "robust"]
    assert robustness.main([*words, "--out", str(tmp_path), "--methods", ",".join(few), "--stem", "quick"]) == 0
    stored = json.loads((tmp_path / "quick.json").read_text())
    assert [cell["config"]["method"] for cell in stored["cells"]] == few
    assert {cell["result"]["networks"] for cell in stored["cells"]} == {1, 2}
    assert "coteaching (rate given)" in (tmp_path / "quick.md").read_text()
    every = robustness.make_cells(robustness.parse_arguments(["--quick"]))
    assert len(every) == 2 * 2 * len(names_of(ablations=False))
    assert {cell.noise for cell in every} == {"symmetric:0.4", "pairflip:0.4"}


def test_a_cell_depends_on_its_seed_alone() -> None:
    first, second = robustness.make_cells(robustness.parse_arguments([*TOY, "--methods", "robust"]))
    once, again, other = (robustness.run_cell(None, cell) for cell in (first, first, second))
    for result in (once, again, other):
        result.pop("seconds")
    assert once == again
    assert once != other


@pytest.mark.parametrize("name", sorted(set(names_of()) - {"prune-retrain"}))
def test_a_run_makes_the_passes_that_were_foreseen(name: str) -> None:
    words = ["--subset", "120", "--seeds", "1", "--epochs", "6", "--methods", name]
    (cell,) = robustness.make_cells(robustness.parse_arguments(words))
    samples = 108
    result = robustness.run_cell(None, cell)
    recipe = LABEL_METHODS[name].recipe
    assert recipe is not None
    foreseen = recipe.passes(samples, epochs=cell.epochs, vectors=True)
    assert result["sample_passes"] == foreseen
    # The budget is reckoned as if inputs were no vectors: with one look of the network at each sample more, at most.
    assert LABEL_METHODS[name].passes(samples, cell.epochs) - foreseen in (0, samples)
    assert result["history"][-1]["sample_passes"] == foreseen
    assert [record["epoch"] for record in result["history"]] == list(range(1, cell.epochs + 1))


def test_pruning_is_reckoned_as_if_it_kept_all() -> None:
    words = ["--subset", "400", "--seeds", "1", "--epochs", "6", "--methods", "prune-retrain"]
    (cell,) = robustness.make_cells(robustness.parse_arguments(words))
    result = robustness.run_cell(None, cell)
    most = LABEL_METHODS["prune-retrain"].passes(360, cell.epochs)
    assert 0.8 * most < result["sample_passes"] <= most
    assert result["history"][0]["sample_passes"] > 4 * TRAINING_PASSES * cell.epochs * 360
    assert 0.5 < result["issue_auroc"] < 1


@pytest.mark.parametrize("budget", [10, 60, 150])
@pytest.mark.parametrize("samples", [1000, 50_000])
def test_equal_passes_round_in_favour_of_the_baselines(budget: int, samples: int) -> None:
    most = TRAINING_PASSES * budget * samples
    for name in names_of():
        epochs = epochs_at_equal_passes(name, budget, samples)
        fewer, own, more = (LABEL_METHODS[name].passes(samples, epochs + step) for step in (-1, 0, 1))
        if LABEL_METHODS[name].published:
            assert fewer < most <= own
        else:
            assert own <= most < more


def test_ablations_are_rows_of_the_robust_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    row = methods.Method(methods.ROBUST.replace(average=EveryStep(0.9)), ablation=True)
    monkeypatch.setitem(LABEL_METHODS, "robust-short-average", row)
    assert names_of()[-1] == "robust-short-average"
    assert "robust-short-average" not in names_of(ablations=False)
    assert methods.facts("robust-short-average") == {"networks": 1, "baseline": False, "note": None}
    methods.check_method("robust-short-average")
    for part in methods.ROBUST_ABLATIONS:
        recipe = LABEL_METHODS[f"robust-{part}"].recipe
        changed = {f.name for f in fields(recipe) if getattr(recipe, f.name) != getattr(methods.ROBUST, f.name)}
        # What takes its evidence from the ends of cycles has none in a step that an objective could learn from.
        # Cross-fitting keeps the strength of early learning that goes with it.
        assert len(changed) == (2 if part in ("cycle-evidence", "cross-fitted") else 1), part


def test_a_changed_method_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--methods", "ce", "--seeds", "1")
    assert run(tmp_path, *words) == 0
    monkeypatch.setattr("benchmarks.lab.cells.code_digest", lambda: "changed")
    assert run(tmp_path, *words) == 0
    assert len(list((tmp_path / "cells").glob("*.json"))) == 2


def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'noisycorrect[plot]'" in error
    assert not list(tmp_path.glob("cells/*.json")), "said before anything is trained"
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert robustness.main(["--task", "segmentation", "--out", str(tmp_path)]) == 2
    assert "pip install 'noisycorrect[seg]'" in capsys.readouterr().err


# ---------------------------------------------------------------- protocol


def test_a_tenth_is_held_out_in_the_proportions_of_the_noisy_labels() -> None:
    data = load("digits")
    problem = make_problem(data, "pairflip:0.4", seed=3)
    assert (len(problem.given), len(problem.val_given)) == (1212, 135)
    given = np.concatenate([problem.given, problem.val_given])
    for label in range(10):
        assert abs((problem.val_given == label).sum() - 0.1 * (given == label).sum()) <= 1
    assert problem.noise_rate == pytest.approx(0.4, abs=0.05)
    rows = torch.cat([problem.inputs, problem.val_inputs])
    assert torch.equal(rows.sort(0).values, data.train_inputs.sort(0).values)
    again, other = (make_problem(data, "pairflip:0.4", seed=seed) for seed in (3, 4))
    assert np.array_equal(problem.given, again.given)
    assert not np.array_equal(problem.given, other.given)


class Constant(nn.Module):
    """Always predicts one class, in the mode that it must be in."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        assert not self.training
        return nn.functional.one_hot(torch.full((len(inputs),), self.label), 10).float()


def scores_of(labels: list[int], returned: int, val: list[int], test: list[int]) -> dict[str, Any]:
    problem = make_problem(load("digits", subset=200), "none", seed=0)
    object.__setattr__(problem, "val_given", np.array(val))
    object.__setattr__(problem, "val_inputs", torch.zeros(len(val), 64))
    watcher = Watcher(problem, torch.zeros(len(test), 64), np.array(test))
    for epoch, label in enumerate(labels, start=1):
        model = Constant(label).train()
        watcher.see(model, epoch)
        assert model.training
    return watcher.finish(Constant(returned), 3000, before=1000)


def test_the_epoch_is_selected_on_noisy_validation_labels_the_last_of_equal_ones() -> None:
    val, test = [0, 0, 0, 1, 1, 1, 2], [0, 1, 1, 2, 2, 2, 2, 2, 2, 2]
    scores = scores_of([0, 1, 2, 2], returned=2, val=val, test=test)
    assert scores["test_accuracy"] == 0.7
    assert (scores["selected_accuracy"], scores["selected_epoch"]) == (0.2, 2)
    assert [record["test_accuracy"] for record in scores["history"]] == [0.1, 0.2, 0.7, 0.7]
    assert [record["sample_passes"] for record in scores["history"]] == [1500, 2000, 2500, 3000]


def test_the_returned_model_stands_for_the_last_epoch() -> None:
    scores = scores_of([0, 2, 2], returned=0, val=[0, 0, 1], test=[0, 0, 0, 1])
    assert (scores["selected_epoch"], scores["selected_accuracy"], scores["test_accuracy"]) == (3, 0.75, 0.75)
    worse = scores_of([0, 0], returned=1, val=[0, 0, 1], test=[0, 0, 0, 1])
    assert (worse["selected_epoch"], worse["selected_accuracy"], worse["test_accuracy"]) == (1, 0.75, 0.25)


@pytest.mark.parametrize("name", ["elr", "ema", "swa", "paper", "robust"])
def test_a_watcher_sees_the_models_of_all_epochs_and_the_finished_one_at_a_cycles_end(name: str) -> None:
    class Keeps(methods.EpochWatcher):
        def __init__(self) -> None:
            self.seen: dict[int, dict[str, torch.Tensor]] = {}
            self.raw: dict[int, dict[str, torch.Tensor]] = {}

        def on_epoch_end(self, run: Run) -> None:
            shown = run.model if run.recipe.average == EveryStep() else run.student
            self.raw[run.epoch] = copy.deepcopy(shown.state_dict())

        def see(self, model: nn.Module, epoch: int) -> None:
            self.seen[epoch] = copy.deepcopy(model.state_dict())

    def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
        return all(torch.equal(one[key], other[key]) for key in one)

    data, keeps = load("digits", subset=200), Keeps()
    recipe = LABEL_METHODS[name].recipe
    assert recipe is not None
    model = build("mlp", data, seed=0)
    corrector = SelfCorrector(model, num_classes=10, recipe=recipe, epochs=6, callbacks=[keeps, methods.QUIET])
    result = corrector.fit((data.train_inputs, data.train_labels))
    assert sorted(keeps.seen) == list(range(1, 7))
    finished = {"elr": set(), "swa": set(), "ema": {6}, "robust": {6}, "paper": {4, 5, 6}}[name]
    assert {epoch for epoch in keeps.seen if not same(keeps.seen[epoch], keeps.raw[epoch])} == finished
    assert same(keeps.seen[6], result.model.state_dict()) == (name != "swa")


def test_accuracy_leaves_the_modes_of_all_layers() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)).train()
    model[1].eval()
    before = model[1].running_mean.clone()
    accuracy(model, torch.randn(7, 4), torch.zeros(7, dtype=torch.int64))
    assert (model.training, model[1].training) == (True, False)
    assert torch.equal(model[1].running_mean, before)


def test_human_labels_are_taken_from_the_data_set() -> None:
    digits = load("digits", subset=100)
    wrong = (digits.train_labels + 1) % 10
    data = type(digits)(**{**vars(digits), "human_labels": {"random1": wrong}})
    noisy = noise_model("human:random1", data).apply(digits.train_labels, num_classes=10, seed=0)
    assert np.array_equal(noisy.labels, wrong)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "digit"], "did you mean 'digits'"),
        (["--methods", "papr"], "did you mean 'paper'"),
        (["--noise", "symetric:0.4"], "did you mean 'symmetric'"),
        (["--noise", "symmetric:1.4"], "rate"),
        (["--seeds", "0"], "--seeds to be a whole number >= 1; got 0"),
        (["--subset", "1"], "subset"),
        (["--network", "resnet"], "network"),
        (["--noise", "openset:0.4"], "needs a pool"),
        (["--epochs", "0"], "--epochs to be a whole number >= 2; got 0"),
        (["--lr", "0"], "--lr"),
        (["--dataset", "cifar10"], "data"),
        (["--noise", "human:random1"], "set of human labels of digits"),
        (["--suite", "standart"], "did you mean 'standard'"),
        (["--suite", "standard", "--parts", "digit"], "did you mean 'digits'"),
        (["--suite", "standard", "--parts", "cnn"], "a part that needs no files"),
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
        if cell.method == "ls":
            raise RuntimeError("out of luck")
        return run_cell(data_dir, cell)

    monkeypatch.setattr(robustness, "run_cell", fails_sometimes)
    assert run(tmp_path, "--methods", "ce,ls", "--seeds", "1") == 1
    assert "out of luck" in capsys.readouterr().err
    assert [cell["config"]["method"] for cell in json.loads((tmp_path / "results.json").read_text())["cells"]] == ["ce"]
