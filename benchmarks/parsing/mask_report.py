"""The report of a mask-noise study: JSON, Markdown, a picture; tables for the terminal."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.lab.figures import COLOURS, Panel, bars, panels
from benchmarks.lab.report import write_report
from benchmarks.lab.rows import Record, Row, distinct, named, summarise
from benchmarks.lab.tables import Grid, across, bold, bullets, down, markdown, percent, short, show
from benchmarks.parsing.mask_methods import MASK_METHODS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORE, BASELINE = "val.mean_iou", "ce"
PROTOCOL = (
    "Validation mIoU on clean masks after the **last epoch** (no epoch is chosen on them), mean ± sample standard"
    " deviation over seeds, in %. Equal sample passes (forward 1, backward 2): baselines are rounded up,"
    " self-correction down. Gain: points of mIoU over plain training, seed by seed. Bold: the highest mean, whichever"
    " row has it."
)
LABELS = (
    "Training masks against the hidden clean ones, given and corrected, in %. A method that keeps no labels of its own"
    " is taken at its final network: given label and prediction blended, the trust in a given label being its predicted"
    " probability. AUROC: of finding wrong pixels by how improbable their given label is, in %."
)
SHOWN = ("size", "width", "lr", "batch_size", "train", "val", "budget")
GIVEN, CORRECTED = "labels_before.label_mean_iou", "labels_after.label_mean_iou"


def rows_of(records: Sequence[Record]) -> list[Row]:
    """Return a row a data set, noise and method, compared with plain training."""
    return summarise(records, SCORE, rival=named(BASELINE))


def model_grid(rows: Sequence[Row]) -> Grid:
    """Return one data set's table: methods down, noises across; mean IoU, and the gain over plain training."""
    return across(
        rows,
        _cell,
        [
            ("epochs", lambda own: str(own[0].config["epochs"])),
            ("passes", lambda own: short(own[0].mean("sample_passes"))),
        ],
        head=lambda row: f"{row.noise} ({100 * row.mean('noise_rate'):.0f} % wrong)",
    )


def _cell(row: Row) -> str:
    text = bold(percent(row[SCORE]), SCORE in row.best)
    return text if math.isnan(row.gain[0]) else f"{text} ({100 * row.gain[0]:+.1f})"


def label_grid(rows: Sequence[Row]) -> Grid:
    """Return the quality of the training masks before and after, a line a noise and method."""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("noise", lambda row: row.noise),
        ("method", lambda row: row.name),
        ("pixel acc: given", lambda row: percent(row["labels_before.label_accuracy"])),
        ("corrected", lambda row: percent(row["labels_after.label_accuracy"])),
        ("mIoU: given", lambda row: percent(row[GIVEN])),
        ("corrected", lambda row: percent(row[CORRECTED])),
        ("AUROC", lambda row: percent(row["issue_auroc"])),
        ("s/run", lambda row: short(row.mean("seconds"))),
    ]
    return down(rows, columns)


def page(title: str, rows: Sequence[Row]) -> str:
    """Return the page of a study."""
    methods = bullets(f"{name}: {MASK_METHODS[name].reference}" for name in distinct(row.name for row in rows))
    blocks: list[str | Grid] = [f"# {title}", PROTOCOL, methods]
    for dataset in distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        seeds = sorted({seed for row in own for seed in row.seeds})
        settings = ", ".join(f"{name} {own[0].config[name]}" for name in SHOWN)
        blocks += [f"## {dataset}", f"{settings}, seeds {seeds}.", model_grid(own), LABELS, label_grid(own)]
    return markdown(*blocks)


def print_tables(rows: Sequence[Row], console: Console) -> None:
    """Print what the models have come to, a table a data set."""
    for dataset in distinct(row.dataset for row in rows):
        grid = model_grid([row for row in rows if row.dataset == dataset])
        show(grid, console, f"{dataset}: clean validation mIoU, %")


def write_study(folder: Path, records: Sequence[Record], *, title: str, stem: str = "results") -> list[Row]:
    """Summarise the cells of a study, write its report into `folder`, and return the rows."""
    rows = rows_of(records)
    payload = {"title": title, "summary": [row.plain() for row in rows], "cells": list(records)}
    write_report(folder, payload, page(title, rows), lambda: figures(rows), stem=stem)
    return rows


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    """Draw "miou-DATASET" of the models and "labels-DATASET" of the corrected masks, the given ones as a line.

    A panel a noise, a bar a method, whiskers for the deviation over seeds.
    """
    drawn = {}
    for dataset in distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        for name, score in (("miou", SCORE), ("labels", CORRECTED)):
            top = 105 * max(row.mean(score) + max(0.0, row[score][1]) for row in own)
            shown: list[Panel] = []
            for noise in distinct(row.noise for row in own):
                place = [row for row in own if row.noise == noise]
                title = f"{noise.split(':pairs')[0]}\n{100 * place[0].mean('noise_rate'):.0f} % wrong"
                shown.append((title, functools.partial(_draw, place, score, top)))
            drawn[f"{name}-{dataset}"] = panels(shown, 2.6, 3.2)
    return drawn


def _draw(rows: Sequence[Row], score: str, top: float, axes: Axes) -> None:
    colours = [COLOURS[0] if MASK_METHODS[row.name].correction else COLOURS[2] for row in rows]  # ours, others
    bars(axes, {row.name: row[score] for row in rows}, colours, top)
    axes.set_ylabel("clean validation mIoU, %" if score == SCORE else "mIoU of training masks, %")
    if score == CORRECTED:
        axes.axhline(100 * rows[0].mean(GIVEN), color="black", linestyle="--", linewidth=1)
