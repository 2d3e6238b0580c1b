"""The study on whole CIFAR-10N at toy size: slices, resuming, plan and report."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks import cifar10n
from benchmarks.cifar10n import make_cells, make_problem
from benchmarks.lab.cells import cell_config
from benchmarks.lab.datasets import load
from benchmarks.lab.label_study import rows_of
from benchmarks.lab.methods import LABEL_METHODS, names_of
from benchmarks.lab.networks import build, resnet34
from benchmarks.lab.published import CIFAR10N, CIFAR10N_SOURCE
from benchmarks.lab.slices import CURVE, Clock, Curve, TimeOverError, read_curve
from noisycorrect.support.errors import NonFiniteLossError
from noisycorrect.training.engine import resolve_device

# Runs of an epoch or two may well predict one class for all, or have inputs as they come.
pytestmark = pytest.mark.filterwarnings("ignore:expected:noisycorrect.TrainingWarning")

TRAIN, TEST = 64, 20
ONE_EPOCH = "1e-6"  # minutes: a call trains one epoch at least


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 training images with two sets of labels of people, a quarter and a half of them wrong."""
    place = tmp_path_factory.mktemp("cifar")
    for split, count, seed in (("train", TRAIN, 0), ("test", TEST, 1)):
        codes = []
        for pixels in np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG")
            codes.append(buffer.getvalue())
        offsets = np.cumsum([0, *map(len, codes)], dtype=np.int64)
        np.savez(place / f"{split}_jpeg.npz", data=np.frombuffer(b"".join(codes), np.uint8), offsets=offsets)
        np.save(place / f"labels_clean_{split}.npy", (np.arange(count) % 10).astype(np.uint8))
    for name, wrong in (("aggregate", 16), ("random1", 32)):
        labels = np.arange(TRAIN) % 10
        labels[:wrong] = (labels[:wrong] + 1) % 10
        np.save(place / f"labels_human_{name}.npy", labels.astype(np.uint8))
    return place


@pytest.fixture(autouse=True)
def _surroundings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISYCORRECT_CACHE", str(folder / "cache"))
    # On a GPU a run is repeated up to rounding only.
    monkeypatch.setattr(cifar10n, "resolve_device", lambda _: torch.device("cpu"))


def words(folder: Path, out: Path, *more: str) -> list[str]:
    usual = ["--network", "narrow_cnn", "--epochs", "3", "--batch-size", "16", "--labels", "aggregate"]
    return ["--data-dir", str(folder), "--out", str(out), *usual, *more]


def run(folder: Path, out: Path, *more: str) -> int:
    return cifar10n.main(words(folder, out, *more))


def outcomes(out: Path) -> dict[str, Any]:
    """Return the results by method, without what the clock says."""
    found = {}
    for path in (out / "cells").glob("*.json"):
        record = json.loads(path.read_text())
        record["result"].pop("seconds")
        for point in record["result"]["history"]:
            point.pop("seconds")
        found[record["config"]["method"]] = record["result"]
    return found


def weights(out: Path) -> dict[str, Any]:
    return {
        path.parent.name: torch.load(path, weights_only=False)["student"] for path in out.glob("runs/*/checkpoint.pt")
    }


def test_slices_of_an_epoch_make_the_run_that_was_never_stopped(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, sliced = tmp_path / "whole", tmp_path / "sliced"
    methods = ("--methods", "ce,robust")
    assert run(folder, whole, *methods) == 0
    assert "Left:" not in capsys.readouterr().out
    assert run(folder, sliced, *methods, "--minutes", ONE_EPOCH) == 3
    shown = capsys.readouterr().out
    assert "human:aggregate ce seed 0: 1 of 3 epochs" in shown
    assert "human:aggregate robust seed 0: 0 of 2 epochs" in shown
    assert "4 epochs in 2 runs" in shown
    assert not (sliced / "results.md").exists()
    statuses = [run(folder, sliced, *methods, "--minutes", ONE_EPOCH) for _ in range(4)]
    assert statuses == [3, 3, 3, 0]
    one, other = outcomes(whole), outcomes(sliced)
    assert one == other
    assert set(one) == {"ce", "robust"}
    assert [point["epoch"] for point in one["robust"]["history"]] == [1, 2]
    mine, theirs = weights(whole), weights(sliced)
    assert len(mine) == 2
    assert mine.keys() == theirs.keys()
    for key in mine:
        assert all(torch.equal(mine[key][name], theirs[key][name]) for name in mine[key])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_images_may_lie_on_a_gpu(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10n, "resolve_device", resolve_device)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)  # put back what the command sets
    more = ("--methods", "ce,elr,paper,robust", "--epochs", "6")
    assert run(folder, tmp_path, *more, "--minutes", ONE_EPOCH) == 3
    assert run(folder, tmp_path, *more) == 0
    found = outcomes(tmp_path)
    assert set(found) == {"ce", "elr", "paper", "robust"}
    assert {result["device"] for result in found.values()} == {torch.cuda.get_device_name()}


def test_a_finished_study_trains_nothing_more_and_is_written(folder: Path, tmp_path: Path) -> None:
    more = ("--methods", "elr,robust", "--labels", "aggregate,random1", "--epochs", "3")
    assert run(folder, tmp_path, *more) == 0
    stored = json.loads((tmp_path / "results.json").read_text())
    results = {(cell["config"]["noise"], cell["config"]["method"]): cell["result"] for cell in stored["cells"]}
    assert len(results) == 4
    for (spelling, method), result in results.items():
        assert result["noise_rate"] == {"human:aggregate": 0.25, "human:random1": 0.5}[spelling]
        assert result["samples"] == TRAIN
        assert result["device"] == "cpu"
        corrects = method == "robust"
        assert (result["train_label_accuracy"] is not None) is corrects
        assert (result["estimated_rate"] is not None) is corrects
        assert result["history"][-1]["sample_passes"] == result["sample_passes"]
        assert result["seconds"] == pytest.approx(sum(point["seconds"] for point in result["history"]))
    assert stored["published"]["source"] == CIFAR10N_SOURCE
    for name in ("results.md", "results-accuracy-cifar10.png", "results-curves-cifar10.png"):
        assert (tmp_path / name).stat().st_size > 0
    checkpoints = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/checkpoint.pt")}
    assert run(folder, tmp_path, *more) == 0
    assert checkpoints == {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/checkpoint.pt")}


def test_published_last_epochs_stand_beside_ours(folder: Path, tmp_path: Path) -> None:
    arguments = cifar10n.parse_arguments(words(folder, tmp_path, "--epochs", "60", "--seeds", "2", "--methods", "ce"))
    results = [
        {"test_accuracy": score, "baseline": True, "samples": 10, "sample_passes": 1800, "seconds": 1.0}
        for score in (0.9, 0.92)
    ]
    cells = make_cells(arguments, load("cifar10", folder))
    records = [{"config": cell_config(cell), "result": result} for cell, result in zip(cells, results, strict=True)]
    rows = cifar10n.write_results(tmp_path, records)
    assert [row.name for row in rows] == ["ce"]
    page = (tmp_path / "results.md").read_text()
    assert "| ce | narrow_cnn | 1 | 60 | 1.00 | 91.0 ± 1.4 |" in page
    assert "| ELR (published) | ResNet-34 | 1 | 120 | 2 | 92.9 |" in page
    assert "| ELR+ (published) | PreAct ResNet-18 | 2 | 400 | 27 | 95.1 |" in page
    assert "| DivideMix (published) | - | 2 | 300 | 15 to 55 | 95.3 |" in page
    assert page.count("(published)") == len(CIFAR10N) == 8


def test_a_set_of_labels_that_nobody_published_has_a_dash() -> None:
    config = {"dataset": "cifar10", "noise": "human:random2", "method": "ce", "seed": 0, "budget": 100, "epochs": 100}
    result = {"test_accuracy": 0.5, "baseline": True, "samples": 10, "sample_passes": 3000}
    records = [{"config": {**config, "network": "resnet34"}, "result": result}]
    lines = cifar10n.comparison(rows_of(records))[2].lines
    assert ["ce", "resnet34", "1", "100", "1.00", "50.0"] in lines
    assert ["CE (published)", "ResNet-34", "1", "100", "1", "-"] in lines


def test_the_page_has_the_published_rows_of_the_module() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cifar10n.md").read_text(encoding="utf-8")
    for row in CIFAR10N:
        passes = dict.fromkeys(f"{cost * row.epochs / 120:.2g}" for cost in row.cost)
        scores = " | ".join(f"{row.accuracy[key]}" for key in ("aggregate", "random1", "worst"))
        setting = f"{row.method} | {row.network or '-'} | {row.networks} | {row.epochs}"
        assert f"| {setting} | {' to '.join(passes)} | {scores} |" in page


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(folder, out, "--dry-run", "--network", "resnet34", "--methods", "ce,coteaching,robust") == 0
    shown = capsys.readouterr().out
    assert not out.exists()
    assert "64 training and 20 test images; resnet34: 21,282,122 parameters" in shown
    assert "data on the device: 1 MiB" in shown  # 84 images of 3 x 32 x 32 float32
    assert "ce seed 0: 3 epochs, 576 passes, 1.000 of CE's; 0 done" in shown
    assert "coteaching seed 0: 2 epochs, 768 passes, 1.333 of CE's; 0 done" in shown
    assert "robust seed 0: 2 epochs, 448 passes, 0.778 of CE's; 0 done" in shown


@pytest.mark.parametrize("method", ["ema", "coteaching", "paper", "robust"])
def test_runs_make_the_passes_that_were_foreseen(folder: Path, tmp_path: Path, method: str) -> None:
    data = load("cifar10", folder)
    arguments = cifar10n.parse_arguments(words(folder, tmp_path, "--methods", method, "--epochs", "4"))
    (cell,) = make_cells(arguments, data)
    result = cifar10n.run_cell(cell, data, tmp_path / "run", Clock(minutes=5))
    assert result["sample_passes"] == LABEL_METHODS[method].passes(TRAIN, cell.epochs)
    assert len(result["history"]) == cell.epochs
    assert result["note"] == ("rate given" if method == "coteaching" else None)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--methods", "ce,eLr"), "did you mean 'elr'"),
        (("--methods", "prune-retrain"), "known method that can be resumed"),
        (("--labels", "worst"), "set of human labels"),
        (("--network", "resnet50"), "known network"),
        (("--epochs", "1"), "--epochs"),
        (("--seeds", "0"), "--seeds"),
        (("--minutes", "-1"), "--minutes"),
        (("--lr", "0"), "--lr"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: Sequence[str], message: str
) -> None:
    assert run(folder, tmp_path / "out", *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_stops_no_other(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = cifar10n.run_cell

    def diverging(cell: Any, *arguments: Any) -> dict[str, Any]:
        if cell.method == "ce":
            raise NonFiniteLossError("a finite loss", got="nan")
        return train(cell, *arguments)

    monkeypatch.setattr(cifar10n, "run_cell", diverging)
    assert run(folder, tmp_path, "--methods", "ce,elr") == 1
    assert "human:aggregate ce seed 0: expected a finite loss; got nan" in capsys.readouterr().out
    assert set(outcomes(tmp_path)) == {"elr"}


def test_other_settings_are_other_runs(folder: Path, tmp_path: Path) -> None:
    data = load("cifar10", folder)
    keys = set()
    variants: list[tuple[str, ...]] = [(), ("--lr", "0.1"), ("--network", "mlp"), ("--epochs", "4")]
    variants += [("--labels", "random1"), ("--batch-size", "32")]
    for more in variants:
        (cell,) = make_cells(cifar10n.parse_arguments(words(folder, tmp_path, "--methods", "ce", *more)), data)
        keys.add(cifar10n.run_folder(tmp_path, cell))
    assert len(keys) == len(variants)


def test_all_images_are_trained_on_with_the_labels_of_people(folder: Path) -> None:
    data = load("cifar10", folder)
    problem = make_problem(data, "human:random1")
    assert problem.inputs is data.train_inputs, "no copy: it may fill a device's memory"
    assert np.array_equal(problem.given, data.human_labels["random1"])
    assert np.array_equal(problem.clean, np.arange(TRAIN) % 10)
    assert len(problem.val_given) == 0


def test_the_clock_lets_an_epoch_begin_that_fits_by_the_longest() -> None:
    clock = Clock(minutes=1, start=time.monotonic() - 30)
    clock.note(25)
    assert clock.allows_an_epoch()
    clock.note(1)
    assert clock.longest == 25
    clock.note(35)
    assert not clock.allows_an_epoch()
    assert Clock(minutes=1, start=time.monotonic() - 3600).allows_an_epoch(), "a call gets somewhere"


def test_a_curve_forgets_epochs_that_are_trained_again(folder: Path, tmp_path: Path) -> None:
    data = load("cifar10", folder)
    stored = [{"epoch": epoch, "test_accuracy": 2.0, "seconds": 1.0} for epoch in (1, 2, 3)]
    (tmp_path / CURVE).write_text(json.dumps(stored))
    curve = Curve(tmp_path, 4, data, Clock(minutes=5))
    curve.see(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), 2)
    assert [point["epoch"] for point in curve.points] == [1, 2]
    assert curve.points[0] == stored[0]
    assert 0 <= curve.points[1]["test_accuracy"] <= 1
    assert read_curve(tmp_path) == curve.points


def test_the_last_epoch_never_stops_a_run(folder: Path, tmp_path: Path) -> None:
    clock = Clock(minutes=1e-6)
    curve = Curve(tmp_path, 2, load("cifar10", folder), clock)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    with pytest.raises(TimeOverError):
        curve.see(model, 1)
    curve.see(model, 2)
    assert len(read_curve(tmp_path)) == 2


def test_all_baselines_but_pruning_can_be_resumed() -> None:
    names = set(names_of(ablations=False, resumable=True))
    assert {"ce", "elr", "sop", "coteaching", "dividemix", "paper", "robust"} <= names
    assert "prune-retrain" not in names


def test_resnet34_is_the_published_one(folder: Path) -> None:
    network = build("resnet34", load("cifar10", folder), seed=0)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert sum(conv.kernel_size == (3, 3) for conv in convolutions) == 33  # with the last layer 34
    assert sum(conv.kernel_size == (1, 1) for conv in convolutions) == 3
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_282_122
    features = torch.zeros(2, 3, 32, 32)
    sizes = []
    for layer in resnet34(7, width=4).eval():
        features = layer(features)
        sizes.append(tuple(features.shape[1:]))
    assert [size for place, size in enumerate(sizes) if size != sizes[place - 1]] == [
        (4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4), (32, 1, 1), (32,), (7,),
    ]  # fmt: skip


def test_a_residual_block_adds_its_input() -> None:
    block = resnet34(2, width=4)[3].eval()
    inputs = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        block.norm2.weight.zero_()  # nothing but the shortcut is left
        assert torch.equal(block(inputs), inputs.clamp(min=0))
