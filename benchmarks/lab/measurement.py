"""A measured figure against its reference, and the table and picture of many."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.lab.report import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def markdown(rows: Sequence[Measurement]) -> str:
    """Return the table as Markdown."""
    lines = [
        "# Speed and size",
        "",
        "Ratios against a reference measured in the same run; medians. Budgets are those of docs/design.md.",
        "",
        "| what | against | measured | reference | ratio | budget | note |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    lines += [f"| {' | '.join([row.name, row.reference, *_numbers(row), row.note])} |" for row in rows]
    return "\n".join(lines) + "\n"


def _numbers(row: Measurement) -> list[str]:
    budget = "" if row.budget is None else f"{row.budget:g}" + ("" if row.ratio <= row.budget else " (missed)")
    return [f"{row.value:.3g} {row.unit}", f"{row.base:.3g} {row.unit}", f"{row.ratio:.3g}", budget]


def print_rows(rows: Sequence[Measurement], console: Console) -> None:
    """Print the table."""
    table = Table(title="Speed and size", box=box.SIMPLE_HEAD)
    for name in ("what", "against", "measured", "reference", "ratio", "budget"):
        table.add_column(name, justify="left" if name in ("what", "against") else "right")
    for row in rows:
        table.add_row(row.name, row.reference, *_numbers(row))
    console.print(table)


def figure(rows: Sequence[Measurement]) -> Figure:
    """Return a bar chart of the ratios, on a logarithmic axis, with the budgets as marks."""
    drawing = new_figure(9, 0.45 * len(rows) + 1.5)
    axes = drawing.add_subplot()
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
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.15)
    return drawing
