"""The speed benchmark measures and reports; no time is asserted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks import speed
from benchmarks.measures import engine


def test_rows_are_measured_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(["--rows", "loader,store", "--repeats", "1", "--out", str(tmp_path), "--stem", "speed"]) == 0
    rows = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert len(rows) == 7
    for row in rows:
        assert row["value"] > 0
        assert math.isfinite(row["ratio"])
    assert "speed.md" in capsys.readouterr().out
    page = (tmp_path / "speed.md").read_text()
    assert "| loader with evidence |" in page
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


def test_smooth_maps_are_probabilities() -> None:
    maps = engine.smooth_maps(2)
    assert maps.shape == (2, *engine.MAP_SHAPE)
    torch.testing.assert_close(maps.sum(1), torch.ones(2, 119, 119))
    assert maps.min() >= 0


def test_unknown_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(["--rows", "lader"]) == 2
    assert "did you mean 'loader'" in capsys.readouterr().err
