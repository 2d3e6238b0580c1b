"""The speed benchmark measures and reports; no time is asserted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import speed
from benchmarks.measures import engine
from benchmarks.measures.steps import correction_run, end_cycle, train_epoch
from noisycorrect import Classification
from noisycorrect.data.datasets import ArrayDataset


def test_rows_are_measured_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_recalibration_errors_in_the_table_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
