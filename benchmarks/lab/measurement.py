"""A measured figure against its reference, and the table and picture of many."""

from __future__ import annotations

import functools
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmarks.lab.figures import panels
from benchmarks.lab.tables import Column, down, markdown, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Speed and size"
LIP_IMAGES = 30_462  # that sizes are projected to


@dataclass(frozen=True)
class Measurement:
    """One row: a time, or a size, against its reference.

    Attributes
    ----------
    name, reference : str
        What was measured, and against what.
    value, base : float
        Medians of both, in `unit`.
    ratio : float
        Median of the ratios of the repeats, pair by pair.
    budget : float or None
        Largest ratio that the design allows.
    note : str
        What else was seen.
    """

    name: str
    reference: str
    value: float
    base: float
    unit: str
    ratio: float
    budget: float | None = None
    note: str = ""


def peak_memory() -> int:
    """Return the peak of this process's memory in bytes.

    On Linux `ru_maxrss` begins at the peak of the process that started this one, so it is not asked there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def paired(measured: Callable[[], Any], reference: Callable[[], Any], repeats: int) -> tuple[float, float, float]:
    """Time two functions in turns; return the medians of both in seconds, and of their ratios, after a warm-up."""
    measured(), reference()
    pairs = []
    for _ in range(repeats):
        times = []
        for function in (measured, reference):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        pairs.append(times)
    values, bases = zip(*pairs, strict=True)
    ratios = [value / base for value, base in pairs]
    return statistics.median(values), statistics.median(bases), statistics.median(ratios)


def median_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Return the median time of a function, without a warm-up."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _budget(row: Measurement) -> str:
    return "" if row.budget is None else f"{row.budget:g}" + ("" if row.ratio <= row.budget else " (missed)")


_COLUMNS: list[Column[Measurement]] = [
    ("what", lambda row: row.name),
    ("against", lambda row: row.reference),
    ("measured", lambda row: f"{row.value:.3g} {row.unit}"),
    ("reference", lambda row: f"{row.base:.3g} {row.unit}"),
    ("ratio", lambda row: f"{row.ratio:.3g}"),
    ("budget", _budget),
    ("note", lambda row: row.note),
]


def page(rows: Sequence[Measurement]) -> str:
    """Return the table as Markdown."""
    about = (
        "Ratios against a reference measured in the same run; medians."
        " Budgets are those of docs/design.md, and others of the benchmark's own."
    )
    return markdown(f"# {TITLE}", about, down(rows, _COLUMNS, left=(0, 1, 6)))


def print_rows(rows: Sequence[Measurement], console: Console) -> None:
    """Print the table."""
    show(down(rows, _COLUMNS[:-1], left=(0, 1)), console, TITLE)


def figure(rows: Sequence[Measurement]) -> Figure:
    """Return a bar chart of the ratios, on a logarithmic axis, with the budgets as marks."""
    return panels([("", functools.partial(_draw, rows))], 9, 0.45 * len(rows) + 1)


def _draw(rows: Sequence[Measurement], axes: Axes) -> None:
    places = list(range(len(rows)))[::-1]
    axes.barh(places, [row.ratio for row in rows], color="#0072B2", height=0.6)
    for place, row in zip(places, rows, strict=True):
        if row.budget is not None:
            axes.plot([row.budget] * 2, [place - 0.4, place + 0.4], color="#D55E00", linewidth=2)
        axes.annotate(f" {row.ratio:.3g}", (row.ratio, place), va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(places, [row.name for row in rows], fontsize=8)
    axes.set_xlabel("ratio to the reference (black: equal; orange: budget)")
    axes.margins(x=0.15)
