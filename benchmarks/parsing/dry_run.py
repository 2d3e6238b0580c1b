"""The plan of a study with what it will cost, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.parsing.measure import Costs, measure
from benchmarks.parsing.plan import Cell, distinct_cells
from benchmarks.parsing.tables import short
from noisycorrect_seg.classes import Classes

HEAD = ("row", "runs", "epochs", "passes/run", "params", "step", "forward", "time/run", "memory", "label store")


def print_plan(
    cells: Mapping[str, Sequence[Cell]],
    classes: Classes,
    console: Console,
    *,
    processes: int,
    ranks: int,
    device: str,
    finished: Sequence[Cell] = (),
    **layout: bool,
) -> None:
    """Measure one cell of each row, and print what the study will take.

    Parameters
    ----------
    cells : mapping of str to sequence of Cell
        The cells by row.
    classes : Classes
        Of the data set.
    console : Console
        Where it is printed.
    processes : int
        Cells at a time; each is measured with its share of the cores.
    ranks : int
        Processes that share a batch.
    device : str
        As for :class:`noisycorrect.SelfCorrector`.
    finished : sequence of Cell
        Cells that need not be computed.
    **layout
        As for :func:`~benchmarks.parsing.networks.prepared`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // processes))
    known: dict[tuple[object, ...], Costs] = {}
    table = Table(title="Plan", box=box.SIMPLE_HEAD)
    for place, name in enumerate(HEAD):
        table.add_column(name.replace(" ", "\n"), justify="right" if place else "left")
    total, costs_of = 0.0, {}
    for name, own in cells.items():
        cell = own[0]
        key = (cell.backbone, cell.context, cell.losses)
        if key not in known:
            known[key] = measure(cell, classes, device=device, **layout)
        costs = costs_of[name] = known[key]
        table.add_row(name, str(len(own)), *_texts(cell, costs, ranks))
    for cell in distinct_cells(cells):
        if cell not in finished:
            name = next(name for name, own in cells.items() if cell in own)
            total += costs_of[name].seconds(cell)
    torch.set_num_threads(threads)
    console.print(table)
    console.print(
        _foot(cells, finished, total / (processes * ranks), processes, ranks), soft_wrap=True, highlight=False
    )


def _texts(cell: Cell, costs: Costs, ranks: int) -> list[str]:
    schedule = cell.schedule
    parts = f"{schedule.epochs} = {schedule.init_epochs} + {schedule.cycles} x {schedule.cycle_epochs}"
    return [
        parts,
        short(cell.passes(ranks)),
        short(costs.parameters),
        duration(costs.step_seconds),
        duration(costs.forward_seconds),
        duration(costs.seconds(cell)),
        gigabytes(costs.memory(cell, ranks)),
        " to ".join(gigabytes(size) for size in costs.disk(cell)) if costs.disk(cell)[1] else "-",
    ]


def _foot(
    cells: Mapping[str, Sequence[Cell]], finished: Sequence[Cell], seconds: float, processes: int, ranks: int
) -> str:
    every = distinct_cells(cells)
    cell = every[0]
    left = [one for one in every if one not in finished]
    size = f"{cell.size[0]}x{cell.size[1]}"
    text = f"{len(every)} runs, {len(left)} to compute, {processes} at a time" + (f", {ranks} ranks each" * (ranks > 1))
    text += f": about {duration(seconds)}.\nData: {cell.dataset}, {cell.train:,} training and {cell.val:,} validation"
    text += f" images, input {size}, batch {cell.batch_size}, lr {cell.lr:g}"
    text += f", noise {cell.noise}.\n" if cell.noise else ".\n"
    text += (
        "Step and forward: measured here, a sample, without reading images. Memory: weights, gradients, momentum,"
        " average, and what a training batch keeps; a process, without images. Label store: all generations of a run,"
        " if predictions are like masks of people with soft outlines, and at most; it goes when the run is done."
    )
    return text


def duration(seconds: float) -> str:
    """Return a time as text.

    Examples
    --------
    >>> duration(0.0234), duration(42.4), duration(600), duration(36000), duration(9e5)
    ('23.4 ms', '42.4 s', '10 min', '10 h', '10.4 days')
    """
    for unit, length, most in (("ms", 1e-3, 1000), ("s", 1, 100), ("min", 60, 100), ("h", 3600, 100)):
        if seconds / length < most:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 86400:.3g} days"


def gigabytes(count: float) -> str:
    """Return a number of bytes as text.

    Examples
    --------
    >>> gigabytes(3e6), gigabytes(2.5e9)
    ('3.0 MB', '2.50 GB')
    """
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
