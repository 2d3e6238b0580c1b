from __future__ import annotations

import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from spawn import fork_server

from benchmarks.lab import cells as cells_module
from benchmarks.lab.cells import (
    CellsFailedError,
    cell_config,
    cell_key,
    code_digest,
    plain,
    read_cell,
    read_records,
    run_cells,
)
from noisycorrect.support.errors import InvalidInputError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cell:
    dataset: str = "digits"
    method: str = "ce"
    seed: int = 0
    rates: tuple[float, ...] = (0.2, 0.4)


def grid(count: int) -> list[Cell]:
    return [Cell(seed=seed) for seed in range(count)]


# Module level, so that spawned workers can import them.
def note(log: Path, cell: Cell) -> dict[str, Any]:
    with (log / f"{cell.seed}-{os.getpid()}-{time.monotonic_ns()}").open("w"):
        pass
    if cell.method == "broken":
        raise ArithmeticError("no good")
    return {"test_accuracy": np.float32(0.5), "seed": cell.seed, "threads": torch.get_num_threads()}


def slowly(log: Path, seconds: float, cell: Cell) -> dict[str, Any]:
    result = note(log, cell)
    time.sleep(seconds)
    return result


@dataclass(frozen=True)
class Coded:
    source: str
    seed: int

    def code(self) -> str:
        return Path(self.source).read_text()


def edited_meanwhile(cell: Coded) -> dict[str, Any]:
    Path(cell.source).write_text("new")
    return {"seed": cell.seed}


def die(cell: Cell) -> dict[str, Any]:
    os._exit(3)


@pytest.fixture
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers start as quickly as they can; with an interrupt they start as in a study."""
    context = fork_server()
    monkeypatch.setattr(cells_module.multiprocessing, "get_context", lambda _: context)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


def runs_by_seed(log: Path) -> list[int]:
    return sorted(int(path.name.split("-")[0]) for path in log.iterdir())


def test_finished_cells_are_skipped_and_only_new_ones_computed(tmp_path: Path, log: Path) -> None:
    run = functools.partial(note, log)
    first = run_cells(grid(2), run, tmp_path / "study", processes=1)
    again = run_cells(grid(3), run, tmp_path / "study", processes=1)

    assert runs_by_seed(log) == [0, 1, 2]
    assert again[:2] == first
    assert [record["config"]["seed"] for record in again] == [0, 1, 2]
    assert again[0]["config"] == {"dataset": "digits", "method": "ce", "seed": 0, "rates": [0.2, 0.4]}
    names = sorted(path.name for path in (tmp_path / "study").iterdir())
    assert names == sorted(f"{cell_key(cell)}.json" for cell in grid(3))  # no claim and no part is left behind


def test_cells_of_another_code_are_computed_again(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = functools.partial(note, log)
    run_cells(grid(2), run, tmp_path / "study", processes=1)
    monkeypatch.setattr(cells_module, "code_digest", lambda: "another")
    assert read_cell(tmp_path / "study", Cell()) is None
    (tmp_path / "study" / f"{cell_key(Cell())}.json").write_text(
        json.dumps({"config": cell_config(Cell()), "code": "the first", "result": {}})
    )
    assert read_cell(tmp_path / "study", Cell()) is None, "a record of other code under this one's name"
    run_cells(grid(2), run, tmp_path / "study", processes=1)
    assert runs_by_seed(log) == [0, 0, 1, 1]
    assert sorted(read_records(tmp_path / "study")) == sorted(map(cell_key, grid(2))), "the newest of each"


def test_the_code_of_a_cell_is_every_source_of_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_package" / "inside"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(cells_module, "PACKAGES", ("some_package",))
    digest, digests = code_digest.__wrapped__, []
    for name, text in (("a.py", "x = 1"), ("a.py", "x = 2"), ("b.py", ""), ("notes.txt", "no source")):
        (package / name).write_text(text)
        digests.append(digest())
    assert len(set(digests)) == 3
    assert digests[-1] == digests[-2], "what is no source does not count"
    (package / "a.py").rename(package / "c.py")
    assert digest() not in digests
    monkeypatch.undo()
    assert cells_module.PACKAGES == ("noisycorrect", "noisycorrect_seg", "benchmarks")


@pytest.mark.parametrize("content", ["", '{"config": {"seed": 1}, "result": {}}', "[]", "{}"])
def test_a_file_that_is_damaged_or_of_another_configuration_is_computed_again(
    tmp_path: Path, log: Path, content: str
) -> None:
    path = tmp_path / f"{cell_key(Cell())}.json"
    path.write_text(content)
    assert read_cell(tmp_path, Cell()) is None
    run_cells([Cell()], functools.partial(note, log), tmp_path, processes=1)
    assert json.loads(path.read_text())["config"] == cell_config(Cell())
    assert read_cell(tmp_path, Cell()) is not None


@pytest.mark.usefixtures("quick_start")
def test_two_workers_share_cells_and_cores_and_report_failures_at_the_end(tmp_path: Path, log: Path) -> None:
    cells = [Cell(method="broken"), *grid(4)]
    with pytest.raises(CellsFailedError, match=r"1 of 5 cells failed: digits-broken.*ArithmeticError: no good") as info:
        run_cells(cells, functools.partial(note, log), tmp_path / "study", processes=2)

    assert list(info.value.failures) == [cell_key(cells[0])]
    assert "in note" in info.value.failures[cell_key(cells[0])]
    assert [record["config"]["seed"] for record in info.value.finished] == [0, 1, 2, 3]
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert {record["result"]["threads"] for record in info.value.finished} == {max(1, available // 2)}
    assert runs_by_seed(log) == [0, 0, 1, 2, 3]


@pytest.mark.usefixtures("quick_start")
def test_a_cell_belongs_to_the_code_that_was_there_when_its_study_began(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("old")
    cells = [Coded(str(source), seed) for seed in range(2)]
    names = sorted(f"{cell_key(cell)}.json" for cell in cells)
    records = run_cells(cells, edited_meanwhile, tmp_path / "study", processes=2)
    assert source.read_text() == "new"
    assert [record["code"] for record in records] == ["old", "old"]
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == names


@pytest.mark.usefixtures("quick_start")
def test_a_worker_that_dies_is_reported_with_its_cells(tmp_path: Path) -> None:
    with pytest.raises(CellsFailedError, match="BrokenProcessPool") as info:
        run_cells(grid(2), die, tmp_path, processes=2)
    assert list(info.value.failures) == [cell_key(cell) for cell in grid(2)]


# A shell that starts the tests in the background has its programs ignore interrupts.
STUDY = """
import functools, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:0] = {paths!r}
from benchmarks.lab.cells import run_cells
import test_cells
if __name__ == "__main__":
    run = functools.partial(test_cells.slowly, Path({log!r}), {seconds})
    run_cells(test_cells.grid({cells}), run, {folder!r}, processes={processes})
"""


def start_study(tmp_path: Path, log: Path, **settings: Any) -> subprocess.Popen[str]:
    paths = [str(ROOT), str(Path(__file__).parent), str(Path(__file__).parents[1])]
    script = tmp_path / "study.py"
    script.write_text(STUDY.format(paths=paths, log=str(log), folder=str(tmp_path / "study"), **settings))
    return subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="claims and signals are those of Unix")
def test_two_programs_on_one_folder_share_the_cells(tmp_path: Path, log: Path) -> None:
    run = functools.partial(slowly, log, 0.4)
    studies = [fork_server().Process(target=run_cells, args=(grid(6), run, tmp_path / "study", 1)) for _ in range(2)]
    for study in studies:
        study.start()
    for study in studies:
        study.join(60)
        assert study.exitcode == 0
    assert runs_by_seed(log) == list(range(6))
    assert len(list((tmp_path / "study").iterdir())) == 6


@pytest.mark.skipif(os.name == "nt", reason="claims and signals are those of Unix")
def test_an_interrupt_keeps_finished_cells_and_stops_the_workers(tmp_path: Path, log: Path) -> None:
    run_cells(grid(1), functools.partial(note, log), tmp_path / "study", processes=1)
    study = start_study(tmp_path, log, seconds=60, cells=6, processes=2)
    wait_for(lambda: len(runs_by_seed(log)) == 3)
    start = time.monotonic()
    study.send_signal(signal.SIGINT)
    _, errors = study.communicate(timeout=30)

    assert time.monotonic() - start < 20
    assert study.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert [path.name for path in (tmp_path / "study").iterdir()] == [f"{cell_key(Cell())}.json"]
    assert len(runs_by_seed(log)) == 3  # no worker went on to the next cell


def test_progress_is_silent_off_a_terminal_and_one_line_a_cell_if_verbose(tmp_path: Path, log: Path) -> None:
    run = functools.partial(note, log)
    quiet, verbose = io.StringIO(), io.StringIO()
    run_cells(grid(1), run, tmp_path, 1, console=Console(file=quiet))
    run_cells(grid(3), run, tmp_path, 1, console=Console(file=verbose), verbose=True)

    assert quiet.getvalue() == ""
    lines = verbose.getvalue().splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["[2/3]", cell_key(Cell(seed=1)), "done"],
        ["[3/3]", cell_key(Cell(seed=2)), "done"],
    ]


def test_a_terminal_shows_the_rate_and_the_time_left(tmp_path: Path, log: Path) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    run_cells(grid(2), functools.partial(note, log), tmp_path, 1, console=console)
    assert "cells/min" in screen.getvalue()
    assert "left" in screen.getvalue()


def test_keys_are_readable_and_depend_on_every_value() -> None:
    key = cell_key(Cell(dataset="a/b c"))
    assert key.startswith("a_b_c-ce-0-")
    assert len({cell_key(Cell(seed=seed)) for seed in range(5)}) == 5
    assert cell_key({"b": 1, "a": 2}).rpartition("-")[2] == cell_key({"a": 2, "b": 1}).rpartition("-")[2]
    assert len(cell_key({"text": "x" * 1000})) < 120


def test_plain_turns_arrays_and_scalars_into_json() -> None:
    value = {1: (np.int64(1), torch.tensor(2.0)), "a": np.array([True]), "p": Path("x")}
    assert plain(value) == {"1": [1, 2.0], "a": [True], "p": "x"}


@pytest.mark.parametrize(
    ("cells", "processes", "message"),
    [
        ([Cell(), Cell()], 1, "cells that differ; got 1 twice"),
        ([Cell()], 0, "at least one process; got 0"),
        ([3], 1, "a dataclass or a mapping; got int"),
        ([{"x": object()}], 1, "numbers, texts, lists and mappings; got object"),
    ],
)
def test_invalid_input(tmp_path: Path, cells: list[Any], processes: int, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        run_cells(cells, dict, tmp_path, processes)
