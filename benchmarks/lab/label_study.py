"""The report of a study of label noise: methods down, noises across, last epochs and what was chosen without them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.console import Console

from benchmarks.lab.figures import curves_of, mean_curve, study_figures
from benchmarks.lab.report import StrPath, write_report
from benchmarks.lab.rows import Record, Row, distinct, summarise
from benchmarks.lab.tables import Grid, across, bold, markdown, mean_of, percent, show, signed, span

SCORE, SELECTED = "test_accuracy", "selected_accuracy"
_MOST_COLUMNS = 2  # of noises on a terminal, with deviations and costs
_PROTOCOL = (
    "Test accuracy after the **last epoch** (no epoch is chosen on test data), mean ± sample standard deviation over"
    " {seeds} seeds, in %. Bold: the best method that trains one network. Passes: samples through a network in one run."
    " Baselines warm up over a tenth of their epochs (the control, before 0.2.0, over a twentieth), `robust` over a"
    " twentieth."
)
# What a reader need not be told of the cells, or what is said elsewhere.
_UNSAID = {"dataset", "noise", "rate", "method", "seed", "networks", "settings", "data", "version"}


class Table(NamedTuple):
    """A further table of a data set: what is said above it, its measure, the text of a cell, the line on top."""

    head: str
    known: Callable[[Row], bool]
    text: Callable[[Row], str]
    first: Callable[[Row], str] | None = None
    first_name: str = ""


def _of(head: str, path: str, *first: str) -> Table:
    line = (lambda row: f"{100 * row.mean('noise_rate'):.1f}") if first else None
    return Table(head, lambda row: row.has(path), lambda row: _best(row, path), line, *first)


def _best(row: Row, path: str, missing: str = "-") -> str:
    return bold(percent(row[path], missing), path in row.best)


def _difference(row: Row) -> str:
    """Return the mean difference to the rival and its standard error."""
    mean, std = row.gain
    return signed((mean, std / math.sqrt(row.paired or 1)))


TABLES = (
    _of(
        "Test accuracy at the epoch with the best accuracy on **noisy validation** labels, the last of equals, in %.",
        SELECTED,
    ),
    Table(
        "Points of accuracy, last epoch, over the best baseline of one network, which the first line names: mean of the"
        " differences seed by seed ± its standard error. That baseline is chosen by these very figures, in its favour.",
        lambda row: not math.isnan(row.gain[0]),
        _difference,
        lambda row: str(row.rival),
        "(best baseline)",
    ),
    _of("Right labels of the training set after correction, in %.", "train_label_accuracy"),
    _of("Finding the wrong labels: area under the ROC curve, in %.", "issue_auroc"),
    _of("Finding the wrong labels: average precision, in %.", "issue_average_precision"),
    _of(
        "Wrong labels of the training set as the run estimates them, in %; the first line has the truth.",
        "estimated_rate",
        "(truth)",
    ),
)


def rows_of(records: Sequence[Record]) -> list[Row]:
    """Return the rows of a study of label noise."""
    return summarise(records, SCORE, bold=[SELECTED])


def accuracy_grid(rows: Sequence[Row]) -> Grid:
    """Return one data set's table of last epochs, with costs."""
    columns: list[tuple[str, Callable[[list[Row]], str]]] = [("seeds", lambda own: span(len(row.seeds) for row in own))]
    if any(row.networks > 1 for row in rows):
        columns.append(("nets", lambda own: span(row.networks for row in own)))
    columns.append(("passes", lambda own: mean_of(row.mean("sample_passes") for row in own)))
    columns.append(("s/run", lambda own: mean_of(row.mean("seconds") for row in own)))
    return across(rows, lambda row: _best(row, SCORE, "nan"), columns)


def page(title: str, records: Sequence[Record], *more: str | Grid) -> str:
    """Return the page of a study, with further blocks at its end."""
    rows = rows_of(records)
    blocks: list[str | Grid] = [f"# {title}", _PROTOCOL.format(seeds=span(len(row.seeds) for row in rows))]
    for dataset in distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        settings = _settings([record["config"] for record in records if record["config"]["dataset"] == dataset])
        blocks += [f"## {dataset}", f"Settings: {settings}." if settings else "", accuracy_grid(own)]
        for table in TABLES:
            known = [row for row in own if table.known(row)]
            names, noises = {row.name for row in known}, {row.noise for row in known}
            if shown := [row for row in own if row.name in names and row.noise in noises]:
                blocks += [table.head, across(shown, table.text, first=table.first, first_name=table.first_name)]
    return markdown(*blocks, *more)


def _settings(configs: Sequence[Mapping[str, object]]) -> str:
    shared = {k: v for k, v in configs[0].items() if v is not None and all(c.get(k) == v for c in configs)}
    return ", ".join(f"{name} {value}" for name, value in shared.items() if name not in _UNSAID)


def write_study(
    folder: StrPath, records: Sequence[Record], *, title: str, command: str | None = None, stem: str = "results"
) -> list[Row]:
    """Summarise the cells of a study, write its report into `folder`, and return the rows.

    The JSON file holds the mean curve of each row and the cells without theirs: those are in the cells' own files.
    """
    rows = rows_of(records)
    payload = {
        "title": title,
        "seeds": sorted({record["config"]["seed"] for record in records}),
        "summary": [row.plain() for row in rows],
        "curves": [
            {"dataset": dataset, "noise": noise, "method": method, **mean_curve(curves)}
            for (dataset, noise, method), curves in curves_of(records).items()
        ],
        "cells": [{**r, "result": {k: v for k, v in r["result"].items() if k != "history"}} for r in records],
    }
    write_report(
        folder, payload, page(title, records), lambda: study_figures(records, rows), command=command, stem=stem
    )
    return rows


def print_study(rows: Sequence[Row], console: Console) -> None:
    """Print one table a data set; where there are many noises, only the mean accuracies."""
    for dataset in distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        grid = accuracy_grid(own)
        if len({row.noise for row in own}) > _MOST_COLUMNS:
            grid = across(own, lambda row: bold(percent((row.mean(SCORE), math.nan), "nan"), SCORE in row.best))
        show(grid, console, f"{dataset}: test accuracy after the last epoch, %")
