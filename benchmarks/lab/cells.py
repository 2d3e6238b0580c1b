"""A study as a grid of cells: one JSON file a finished cell, so that a rerun computes only what is missing."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import hashlib
import importlib.util
import json
import logging
import multiprocessing
import os
import re
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError
from noisycorrect.support.files import write_json

Cell = Any  # a frozen dataclass or a mapping of names to plain values
Record = dict[str, Any]  # {"config": {...}, "code": "...", "result": {...}}
RunOne = Callable[[Any], Mapping[str, Any]]
PACKAGES = ("noisycorrect", "noisycorrect_seg", "benchmarks")  # whose sources a cell's digest covers
# In a worker: the code of cells when the study began. Their sources may have changed on disk since they were imported.
_told: dict[str, str] = {}
_log = logging.getLogger(__name__)


class CellsFailedError(NoisyCorrectError):
    """Some cells of a study raised; the others are finished and stored.

    Attributes
    ----------
    failures : dict of str to str
        The traceback of each failed cell, by the cell's key.
    finished : list of dict
        The records of the cells that did finish, in the order of the cells.
    """

    failures: dict[str, str]
    finished: list[Record]

    @classmethod
    def of(cls, failures: Mapping[str, str], finished: Sequence[Record]) -> CellsFailedError:
        """Return the error for these failures."""
        last_lines = [f"{key}: {text.strip().splitlines()[-1]}" for key, text in failures.items()]
        error = cls(f"{len(failures)} of {len(failures) + len(finished)} cells failed: " + "; ".join(last_lines))
        error.failures, error.finished = dict(failures), list(finished)
        return error


class _Outcome(NamedTuple):
    """What a worker tells of one cell: a record, a traceback, or neither if another run is computing it."""

    record: Record | None = None
    failure: str | None = None
    seconds: float = 0.0


_Job = Callable[[Cell], _Outcome]
_Execute = Callable[[Mapping[str, Cell], _Job], Iterator[tuple[str, _Outcome]]]


def cell_config(cell: Cell) -> dict[str, Any]:
    """Return the configuration of a cell as plain JSON values.

    Raises
    ------
    InvalidInputError
        If the cell is neither a dataclass instance nor a mapping, or holds a value that JSON cannot.
    """
    if dataclasses.is_dataclass(cell) and not isinstance(cell, type):
        values: Any = dataclasses.asdict(cell)
    elif isinstance(cell, Mapping):
        values = dict(cell)
    else:
        raise InvalidInputError("a cell that is a dataclass or a mapping", got=type(cell).__name__)
    config: dict[str, Any] = plain(values)
    return config


def fields_from(kind: type[Any], *sources: Any) -> dict[str, Any]:
    """Return what some objects have of a dataclass's fields, by name; the last one that has a field decides.

    Examples
    --------
    >>> Point = dataclasses.make_dataclass("Point", ["x", "y"])
    >>> Point(**fields_from(Point, Point(1, 2), dataclasses.make_dataclass("Line", ["y", "z"])(3, 4)))
    Point(x=1, y=3)
    """
    names = [field.name for field in dataclasses.fields(kind)]
    return {name: getattr(source, name) for source in sources for name in names if hasattr(source, name)}


def cell_key(cell: Cell) -> str:
    """Return the file name of a cell, without its ending: readable values, then a hash of configuration and code.

    Examples
    --------
    >>> cell_key({"dataset": "digits", "noise": "symmetric:0.4", "method": "ce", "seed": 0})
    'digits-symmetric_0.4-ce-0-...'
    """
    config = cell_config(cell)
    words = [re.sub(r"[^A-Za-z0-9._]+", "_", str(value)) for value in config.values() if value is not None]
    content = json.dumps([config, code_of(cell)], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    return "-".join([*words, ""])[:100].strip("-._") + f"-{digest}"


def code_of(cell: Cell) -> str:
    """Return the digest of the code that a cell's result depends on: its own ``code()``, else :func:`code_digest`."""
    if (told := _told.get(_content(cell))) is not None:
        return told
    own = getattr(cell, "code", None)
    return str(own()) if callable(own) else code_digest()


def _content(cell: Cell) -> str:
    return json.dumps(cell_config(cell), sort_keys=True)


@functools.cache
def code_digest() -> str:
    """Return a digest of all sources that a result may depend on: a changed method computes its cells again.

    Examples
    --------
    >>> len(code_digest())
    16
    """
    digest = hashlib.sha256()
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        assert found is not None
        assert found.submodule_search_locations is not None
        for folder in map(Path, found.submodule_search_locations):
            for path in sorted(folder.rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def plain(value: Any) -> Any:
    """Return `value` with mappings, sequences, arrays, tensors and their scalars turned into what JSON knows.

    Raises
    ------
    InvalidInputError
        If it holds anything else.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return float(value) if isinstance(value, float) else int(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise InvalidInputError("numbers, texts, lists and mappings", got=type(value).__name__)


def read_cell(folder: str | os.PathLike[str], cell: Cell) -> Record | None:
    """Return the stored record of a cell, or None if it has to be computed (again)."""
    try:
        record = json.loads((Path(folder) / f"{cell_key(cell)}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or "result" not in record:
        return None
    same = record.get("config") == cell_config(cell) and record.get("code") == code_of(cell)
    return record if same else None


def write_cell(folder: str | os.PathLike[str], cell: Cell, result: Mapping[str, Any]) -> Record:
    """Store the result of a cell, and return its record."""
    record = {"config": cell_config(cell), "code": code_of(cell), "result": plain(result)}
    write_json(Path(folder) / f"{cell_key(cell)}.json", record)
    return record


def read_records(folder: str | os.PathLike[str]) -> dict[str, Record]:
    """Return the stored records of a folder by the keys of their cells, sorted; of one configuration only the newest.

    Whatever their code was: a report may be made of cells that were computed before it changed.
    """
    newest: dict[str, tuple[str, Record]] = {}
    for path in sorted(Path(folder).glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record, dict) and {"config", "result"} <= record.keys():
            newest[json.dumps(record["config"], sort_keys=True)] = path.stem, record
    return dict(sorted(newest.values(), key=lambda found: found[0]))


def run_cells(
    cells: Sequence[Cell],
    run_one: RunOne,
    folder: str | os.PathLike[str],
    processes: int | None = None,
    *,
    verbose: bool = False,
    console: Console | None = None,
) -> list[Record]:
    """Compute the cells that `folder` does not hold yet, and return the records of all, in the order of the cells.

    Several calls, also of separate programs, may share a folder: each cell is claimed by one of them.

    Parameters
    ----------
    cells : sequence of frozen dataclasses or mappings
        The configurations; a cell is stored under a hash of its own and of the code.
    run_one : callable
        Computes one cell and returns its result. With several processes it must be importable by name.
    folder : path-like
        Where the cells lie; made if it does not exist.
    processes : int, optional
        Worker processes, the cores shared out among them; default: one a core, at most one a cell. One process means
        this one.
    verbose : bool, default False
        Print one line a finished cell.
    console : Console, optional
        Where progress goes (only if it is a terminal); default: standard error.

    Raises
    ------
    CellsFailedError
        If cells raised, after all others have finished; it carries the finished records.
    InvalidInputError
        If two cells are the same, or `processes` is not positive.
    """
    keyed = {cell_key(cell): cell for cell in cells}
    if len(keyed) < len(cells):
        raise InvalidInputError("cells that differ", got=f"{len(cells) - len(keyed)} twice")
    if processes is not None and processes < 1:
        raise InvalidInputError("at least one process", got=str(processes))
    Path(folder).mkdir(parents=True, exist_ok=True)
    found = {key: read_cell(folder, cell) for key, cell in keyed.items()}
    todo = {key: cell for key, cell in keyed.items() if found[key] is None}
    outcomes: dict[str, _Outcome] = {}
    if todo:
        compute = functools.partial(_compute, run_one, Path(folder))
        with _Reporter(len(keyed), len(keyed) - len(todo), verbose, console) as report:
            outcomes = _run_all(todo, compute, min(processes or cores(), len(todo)), report)
    records = {key: found[key] or outcomes[key].record for key in keyed}
    finished = [record for record in records.values() if record is not None]
    failures = {key: outcome.failure for key, outcome in outcomes.items() if outcome.failure is not None}
    if failures:
        raise CellsFailedError.of(failures, finished)
    return finished


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compute(run_one: RunOne, folder: Path, wait: bool, cell: Cell) -> _Outcome:
    """Compute and store one cell, unless another run holds it and `wait` is false."""
    start = time.perf_counter()
    with _claim(folder, cell_key(cell), wait) as claimed:
        if not claimed:
            return _Outcome()
        record = read_cell(folder, cell)  # another run may have finished it since we looked
        if record is None:
            try:
                record = write_cell(folder, cell, run_one(cell))
            except Exception:
                return _Outcome(failure=traceback.format_exc(), seconds=time.perf_counter() - start)
    return _Outcome(record, seconds=time.perf_counter() - start)


@contextlib.contextmanager
def _claim(folder: Path, key: str, wait: bool) -> Iterator[bool]:
    """Hold the cell's claim, a lock that dies with its process; yields whether we have it."""
    try:
        import fcntl
    except ImportError:  # without such locks two runs may compute a cell twice, which harms nobody
        yield True
        return
    path = folder / f".{key}.claim"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            _log.info("no locks in %s (%s): runs that share it may compute a cell twice", folder, error)
        try:
            yield True
        finally:
            # Whoever gets the lock looks for the finished cell first, so a removed claim misleads nobody.
            path.unlink(missing_ok=True)


def _run_all(
    todo: Mapping[str, Cell], compute: Callable[[bool, Cell], _Outcome], processes: int, report: _Reporter
) -> dict[str, _Outcome]:
    """Return the outcomes: first of the free cells, then, after waiting, of those that another run had claimed."""
    outcomes: dict[str, _Outcome] = {}
    with _serial() if processes == 1 else _pool(processes) as execute:
        for wait in (False, True):
            left = {key: cell for key, cell in todo.items() if key not in outcomes}
            for key, outcome in execute(left, functools.partial(compute, wait)):
                if outcome.record is not None or outcome.failure is not None:
                    outcomes[key] = outcome
                    report(key, outcome)
    return outcomes


@contextlib.contextmanager
def _serial() -> Iterator[_Execute]:
    yield lambda cells, task: ((key, task(cell)) for key, cell in cells.items())


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[_Execute]:
    """Yield what computes cells in worker processes; on an interrupt the workers stop at once."""
    others = multiprocessing.active_children()
    threads = max(1, cores() // processes)
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _start_worker, (threads,))

    def execute(cells: Mapping[str, Cell], task: _Job) -> Iterator[tuple[str, _Outcome]]:
        futures = {pool.submit(_work, task, cell, code_of(cell)): key for key, cell in cells.items()}
        for future in as_completed(futures):
            yield futures[future], _outcome(future)

    try:
        yield execute
    except BaseException:
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(threads: int) -> None:
    torch.set_num_threads(threads)
    # The terminal sends Ctrl-C to every process; the parent alone decides, and stops workers by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # Workers of a killed parent would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: _Job, cell: Cell, code: str) -> _Outcome:
    """Compute one cell in a worker; SIGTERM unwinds it, so that temporary files go, and ends the worker."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _told[_content(cell)] = code
    try:
        return task(cell)
    except KeyboardInterrupt:
        os._exit(1)  # an exception would be sent to the parent, and the next cell begun
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _outcome(future: Future[_Outcome]) -> _Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    # The cell's own exceptions arrive inside the outcome: this is a worker that died or a function it cannot import.
    return _Outcome(failure="".join(traceback.format_exception(error)))


class _Reporter:
    """Progress on a terminal, one line a cell if verbose, else silence."""

    def __init__(self, total: int, done: int, verbose: bool, console: Console | None) -> None:
        self._console = console or Console(stderr=True)
        self._verbose = verbose
        columns = (TextColumn("cells"), BarColumn(), MofNCompleteColumn(), _Pace())
        self._progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._progress.add_task("cells", total=total, completed=done, before=done)
        self._count, self._total = done, total

    def __enter__(self) -> _Reporter:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, key: str, outcome: _Outcome) -> None:
        self._count += 1
        self._progress.advance(self._task)
        if self._verbose:
            state = "failed" if outcome.failure is not None else "done"
            line = f"[{self._count}/{self._total}] {key} {state} in {outcome.seconds:.1f} s"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Pace(ProgressColumn):
    """Cells a minute and the time left, from the cells of this run alone."""

    def render(self, task: Task) -> Text:
        done, elapsed = task.completed - task.fields["before"], task.elapsed or 0.0
        if done == 0 or elapsed == 0.0:
            return Text("first cells are running")
        left = dt.timedelta(seconds=round((task.remaining or 0.0) * elapsed / done))
        return Text(f"{60 * done / elapsed:.1f} cells/min, {left} left")
