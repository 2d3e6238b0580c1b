"""The speed benchmark measures and reports; no time is asserted."""

from __future__ import annotations

import copy
import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import speed
from benchmarks.measures import doubted, engine, imports, losses, mask_issues
from benchmarks.measures.steps import correction_run, end_cycle, train_epoch
from noisycorrect import Classification, SoftLabelStore, find_label_issues
from noisycorrect.data.datasets import ArrayDataset
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.losses import ParsingLoss


def test_rows_are_measured_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, count in (("ROWS", 500), ("MAPS", 4), ("PHOTOS", 256)):
        monkeypatch.setattr(engine, name, count)
    # A second start of an interpreter is one more figure, and nothing else.
    monkeypatch.setattr(imports, "_seconds", functools.cache(imports._seconds))
    words = ["--rows", "import,loader,store", "--repeats", "1", "--out", str(tmp_path), "--stem", "speed"]
    assert speed.main(words) == 0
    rows = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert len(rows) == 9
    for row in rows:
        assert row["value"] > 0
        assert math.isfinite(row["ratio"])
    assert "speed.md" in capsys.readouterr().out
    page = (tmp_path / "speed.md").read_text()
    assert "| loader with evidence |" in page
    assert "| import, wall time | import torch |" in page
    assert (tmp_path / "speed-ratios.png").stat().st_size > 0


def test_what_is_doubted_and_the_average_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubted, "UPDATES", 2)
    rows = [row for name in ("doubted", "average") for row in speed.measure(name, 1)]
    assert [row.name.split(",")[0] for row in rows] == [
        "targets",
        "labels of a mask doubted in a patch",
        "an update of the average",
    ]
    assert all(row.value > 0 and math.isfinite(row.ratio) for row in rows)


def test_the_losses_are_a_part_of_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("IMAGES", 2), ("SIZE", (32, 32)), ("LEARNT", 1)):
        monkeypatch.setattr(losses, name, value)
    rows = losses.measure_losses(tmp_path, 1)
    assert [row.name for row in rows] == ["losses of a step, given masks", "losses of a step, refined masks"]
    assert all(0 < row.value < row.base and 0 < row.ratio < 1 for row in rows)


def test_a_measured_step_is_a_step_of_the_whole_loss() -> None:
    images, labels = torch.randn(2, 3, 32, 32), torch.randint(3, (2, 32, 32))
    torch.manual_seed(0)
    model = ACE2P(3, "resnet18", width=0.125, dropout=0.0).train()
    other = copy.deepcopy(model)
    losses.step(model, torch.optim.SGD(model.parameters(), lr=0.1), images, labels)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    ParsingLoss()(other(images), labels).backward()
    optimizer.step()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_masks_are_ranked_beside_cleanlab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_issues, "MASKS", 6)
    monkeypatch.setattr(mask_issues, "WRONG", 0.5)
    monkeypatch.setattr(mask_issues, "_growth", lambda folder, by: 1)  # which starts two interpreters
    assert [row.budget for row in mask_issues.measure_issues(tmp_path, 1)] == [1 / 3, None, None]
    probs, given = mask_issues.maps_and_masks()
    wrong = (given != probs.argmax(1).numpy()).any((1, 2))
    assert 0 < wrong.sum() < 6
    scores, _ = mask_issues.cleanlab_scores(given.astype(np.int64), probs.numpy())
    found = {issue.index for issue in find_label_issues(SoftLabelStore.open(tmp_path / "masks"))}
    assert set(np.flatnonzero(wrong)) <= found
    assert max(scores[wrong]) < min(scores[~wrong])


def test_recalibration_errors_in_the_table_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CONTRASTS", 300)
    monkeypatch.setattr(engine, "paired", lambda measured, reference, repeats: (measured(), reference(), 1.0))
    notes = [row.note for row in engine.measure_recalibration(tmp_path, 1)]
    errors = [float(note.split("variance ")[1].split(",")[0]) for note in notes]
    update = float(notes[0].split("update_bn ")[1])
    assert errors[1] < 1e-6 < errors[0]
    assert update > errors[1]


def test_pairs_are_timed_in_turns() -> None:
    calls: list[str] = []
    _, _, ratio = engine.paired(lambda: calls.append("a"), lambda: calls.append("b"), repeats=2)
    assert calls == ["a", "b"] * 3
    assert ratio > 0


def test_the_end_of_a_measured_cycle_refines_the_labels(tmp_path: Path) -> None:
    inputs, labels = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    with correction_run(tmp_path / "run", model, Classification(3), ArrayDataset(inputs, labels), 4, None) as run:
        for cycle in (1, 2):
            before = run.student[0].weight.clone()
            train_epoch(run)
            assert not torch.equal(run.student[0].weight, before)
            end_cycle(run)
            assert run.store.generation == cycle
            assert torch.equal(run.student[0].weight, run.model[0].weight)


def test_smooth_maps_are_probabilities() -> None:
    maps = engine.smooth_maps(2)
    assert maps.shape == (2, *engine.MAP_SHAPE)
    torch.testing.assert_close(maps.sum(1), torch.ones(2, 119, 119))
    assert maps.min() >= 0


def test_unknown_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(["--rows", "lader"]) == 2
    assert "did you mean 'loader'" in capsys.readouterr().err
