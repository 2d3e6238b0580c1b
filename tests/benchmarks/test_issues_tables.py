"""The study of evidence from features, at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import issues_tables
from benchmarks.lab.cells import cell_key

pytest.importorskip("cleanlab")
TOY = ["--sets", "wine", "--rows", "150", "--noise", "symmetric:0.3,next:0.3", "--imbalance", "1", "--processes", "1"]


def test_the_report_has_a_row_a_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert issues_tables.main([*TOY, "--out", str(tmp_path)]) == 0
    cells = json.loads((tmp_path / "results.json").read_text())["cells"]
    assert [cell["config"]["noise"] for cell in cells] == ["symmetric:0.3", "next:0.3"]
    methods = cells[0]["result"]["methods"]
    assert list(methods)[:3] == [*issues_tables.RIVALS, issues_tables.OURS]
    shown = capsys.readouterr().out
    assert "## report half, as published: 2 cells" in shown
    for name in methods:
        mean = np.mean([cell["result"]["methods"][name]["auroc"] for cell in cells])
        assert f"| {name} | {mean:.3f} |" in shown
    best = [max(cell["result"]["methods"][name]["auroc"] for name in issues_tables.RIVALS) for cell in cells]
    ahead = [cell["result"]["methods"]["evidence"]["auroc"] - one for cell, one in zip(cells, best, strict=True)]
    (line,) = [line for line in shown.splitlines() if line.startswith("| evidence |") and line.count("|") == 10]
    assert f"| {sum(value > 0 for value in ahead)} | {min(ahead):+.3f} |" in line


def test_next_noise_turns_every_second_class_into_the_one_after() -> None:
    clean = np.repeat(np.arange(5), 20)
    given = issues_tables.noisy_labels("next:0.3", np.zeros((100, 2)), clean, 5, 0)
    assert np.bincount(given[clean == 0], minlength=5).tolist() == [14, 6, 0, 0, 0]
    assert np.bincount(given[clean == 2], minlength=5).tolist() == [0, 0, 14, 6, 0]
    for whole in (1, 3, 4):
        assert (given[clean == whole] == whole).all()


def test_imbalanced_tables_lose_rows_class_by_class() -> None:
    cell = issues_tables.Cell("digits", "symmetric:0.3", 0, 1797, 0.1, "")
    sizes = np.bincount(issues_tables.table(cell)[1])
    np.testing.assert_allclose(sizes, 174 * 0.1 ** (np.arange(10) / 9), atol=0.5)


def test_cells_belong_to_what_a_file_holds_not_to_where_it_lies(tmp_path: Path) -> None:
    keys = []
    for folder, shift in (("one", 0), ("copy", 0), ("other", 1)):
        (tmp_path / folder).mkdir()
        features = np.arange(200.0).reshape(100, 2) + shift
        np.savez(tmp_path / folder / "segment.npz", X=features, y=np.arange(100) % 2)
        words = ["--sets", "segment", "--data-dir", str(tmp_path / folder), "--noise", "symmetric:0.3"]
        (cell,) = issues_tables.make_cells(issues_tables.parse_arguments([*words, "--imbalance", "1"]))
        keys.append(cell_key(cell))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sets", "wines"], "did you mean 'wine'"),
        (["--sets", "letter"], "pass --data-dir"),
        (["--noise", "symetric:0.3"], "did you mean 'symmetric'"),
        (["--imbalance", "2"], "--imbalance"),
        (["--rows", "10"], "--rows"),
    ],
)
def test_mistakes_are_known_before_any_cell(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert issues_tables.main([*TOY, *words]) == 2
    assert message in capsys.readouterr().err
