"""The scale benchmark measures, keeps what is finished, and extends memory to the whole size; no size is asserted."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.measures import scale as rows


def test_what_is_measured_is_kept_and_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--rows", "rows", "--share", "0.0001", "--out", str(tmp_path), "--stem", "scale"]
    assert scale.main(words) == 0
    (row,) = json.loads((tmp_path / "scale.json").read_text())["rows"]
    assert (row["samples"], row["whole"]) == (200, 2_000_000)
    assert "µs a sample" in row["note"]
    assert {path.name for path in (tmp_path / "cells").iterdir()} == {"rows-200.json", "rows-50.json"}

    for samples, memory in ((200, 0.5), (50, 0.2)):
        cell = tmp_path / "cells" / f"rows-{samples}.json"
        cell.write_text(json.dumps(json.loads(cell.read_text()) | {"memory": memory}))
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("run again"))
    assert scale.main(words) == 0
    (row,) = json.loads((tmp_path / "scale.json").read_text())["rows"]
    assert row["extended"] == pytest.approx(0.5 + 0.3 / 150 * (2_000_000 - 200))
    assert "| 2 M rows from arrays | 200 | 10 | 0.50 |" in (tmp_path / "scale.md").read_text()
    assert "scale.md" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in rows.ROWS if not name.endswith("100000")])
def test_every_row_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rows.ROWS, name, dataclasses.replace(rows.ROWS[name], classes=6))
    found = rows.measure(name, 120)
    assert found["note"]
    assert all(math.isfinite(value) for value in found.values() if isinstance(value, float))


def test_mistakes_in_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main(["--rows", "robust_1000"]) == 2
    assert "did you mean 'robust-1000'" in capsys.readouterr().err
    assert scale.main(["--share", "2"]) == 2
