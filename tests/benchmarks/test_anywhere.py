"""Experiments are installed with the package, and run in any folder."""

from __future__ import annotations

import importlib
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from benchmarks import robustness

ROOT = Path(__file__).parents[2]
ENTRIES = [
    "arena", "cifar10n", "clean", "cluster", "crowd", "deploy", "fading", "issues", "issues_tables", "lip", "people",
    "robustness", "scale", "sheets", "soak", "speed", "video",
]  # fmt: skip


def test_an_installation_carries_every_folder_of_the_benchmarks() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["packages"]["find"]["include"]
    folders = {path.parent for path in (ROOT / "benchmarks").rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in folders)
    names = [".".join(folder.relative_to(ROOT).parts) for folder in folders]
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in names)


def test_one_entry_file_an_experiment() -> None:
    assert sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")) == ENTRIES


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_says_what_it_can(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"python -m benchmarks.{name}" in shown
    assert f"runs/{name}" in " ".join(shown.split()) or name == "cluster"  # which prints


def test_a_report_goes_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--subset", "120", "--epochs", "2", "--seeds", "1", "--methods", "ce", "--processes", "1"]
    assert robustness.main(words) == 0
    assert (tmp_path / "runs" / "robustness" / "results.md").exists()
    assert len(list((tmp_path / "runs" / "robustness" / "cells").glob("*.json"))) == 1
