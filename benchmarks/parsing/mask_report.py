"""The report of a mask-noise study: JSON, Markdown, a picture; tables for the terminal."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.parsing.mask_methods import METHODS
from benchmarks.parsing.summary import Spread
from benchmarks.parsing.tables import Grid, markdown_table, percent, short
from benchmarks.report import new_figure, write_report
from benchmarks.study import distinct, mean_and_std

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, Any]  # {"config": {...}, "result": {...}}
BASELINE = "ce"
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
COLOURS = {"ce": "#7F7F7F", "elr": "#0072B2", "adele": "#009E73", "paper": "#CC79A7", "robust": "#D55E00"}


@dataclass(frozen=True)
class Row:
    """One method on one data set under one noise, over its seeds; measures in [0, 1], NaN where there is none.

    Attributes
    ----------
    noise_rate : float
        Share of wrong training pixels.
    mean_iou, pixel_accuracy : (float, float)
        On clean validation masks: mean and sample deviation.
    gain : (float, float)
        Mean IoU over plain training, seed by seed.
    accuracy_before, accuracy_after, iou_before, iou_after : (float, float)
        Of the training masks.
    issue_auroc : (float, float)
        See :func:`~benchmarks.parsing.mask_scores.label_scores`.
    best : bool
        No other method has as high a mean IoU here.
    """

    dataset: str
    noise: str
    method: str
    seeds: tuple[int, ...]
    epochs: int
    noise_rate: float
    mean_iou: Spread
    pixel_accuracy: Spread
    gain: Spread
    accuracy_before: Spread
    accuracy_after: Spread
    iou_before: Spread
    iou_after: Spread
    issue_auroc: Spread
    sample_passes: float
    seconds: float
    best: bool = False


def summarise(records: Sequence[Record]) -> list[Row]:
    """Return a row a data set, noise and method, in the order of the records."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        config = record["config"]
        groups.setdefault((config["dataset"], config["noise"], config["method"]), []).append(record)
    highest: dict[tuple[str, str], float] = {}
    for (dataset, noise, _), own in groups.items():
        place = dataset, noise
        highest[place] = max(highest.get(place, -math.inf), _spread(own, "val", "mean_iou")[0])
    return [_row(key, own, groups, highest[key[:2]]) for key, own in groups.items()]


def _row(key: tuple[str, str, str], own: Sequence[Record], groups: Mapping[Any, Sequence[Record]], most: float) -> Row:
    dataset, noise, method = key
    plain = {r["config"]["seed"]: r["result"]["val"]["mean_iou"] for r in groups.get((dataset, noise, BASELINE), ())}
    gains = [
        r["result"]["val"]["mean_iou"] - plain[r["config"]["seed"]]
        for r in own
        if method != BASELINE and r["config"]["seed"] in plain
    ]
    mean_iou = _spread(own, "val", "mean_iou")
    return Row(
        *key,
        seeds=tuple(r["config"]["seed"] for r in own),
        epochs=own[0]["config"]["epochs"],
        noise_rate=_spread(own, "noise_rate")[0],
        mean_iou=mean_iou,
        pixel_accuracy=_spread(own, "val", "pixel_accuracy"),
        gain=mean_and_std(gains),
        accuracy_before=_spread(own, "labels_before", "label_accuracy"),
        accuracy_after=_spread(own, "labels_after", "label_accuracy"),
        iou_before=_spread(own, "labels_before", "label_mean_iou"),
        iou_after=_spread(own, "labels_after", "label_mean_iou"),
        issue_auroc=_spread(own, "issue_auroc"),
        sample_passes=_spread(own, "sample_passes")[0],
        seconds=_spread(own, "seconds")[0],
        best=mean_iou[0] == most,
    )


def _spread(records: Sequence[Record], *path: str) -> Spread:
    """Return mean and deviation of a measure over the records that have it."""
    values = [functools.reduce(lambda found, name: found[name], path, record["result"]) for record in records]
    return mean_and_std(value for value in values if value is not None)


def model_grid(rows: Sequence[Row]) -> Grid:
    """Return one table a data set: methods down, noises across; mean IoU, and the gain over plain training."""
    noises = distinct(row.noise for row in rows)
    rates = {row.noise: row.noise_rate for row in rows}
    lines = [["method", *(f"{noise} ({100 * rates[noise]:.0f} % wrong)" for noise in noises), "epochs", "passes"]]
    for method in distinct(row.method for row in rows):
        own = {row.noise: row for row in rows if row.method == method}
        first = next(iter(own.values()))
        cells = [_cell(own[noise]) if noise in own else "-" for noise in noises]
        lines.append([method, *cells, str(first.epochs), short(first.sample_passes)])
    return lines


def _cell(row: Row) -> str:
    text = percent(row.mean_iou)
    text = f"**{text}**" if row.best else text
    return text if math.isnan(row.gain[0]) else f"{text} ({100 * row.gain[0]:+.1f})"


def label_grid(rows: Sequence[Row]) -> Grid:
    """Return the quality of the training masks before and after, a line a noise and method."""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("noise", lambda row: row.noise),
        ("method", lambda row: row.method),
        ("pixel acc: given", lambda row: percent(row.accuracy_before)),
        ("corrected", lambda row: percent(row.accuracy_after)),
        ("mIoU: given", lambda row: percent(row.iou_before)),
        ("corrected", lambda row: percent(row.iou_after)),
        ("AUROC", lambda row: percent(row.issue_auroc)),
        ("s/run", lambda row: short(row.seconds)),
    ]
    return [[name for name, _ in columns], *([text(row) for _, text in columns] for row in rows)]


def markdown(title: str, records: Sequence[Record]) -> str:
    """Return the page of a study."""
    rows = summarise(records)
    lines = [f"# {title}", "", PROTOCOL, ""]
    lines += [f"- {name}: {METHODS[name].label}" for name in distinct(row.method for row in rows)]
    for dataset in distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        config = next(record["config"] for record in records if record["config"]["dataset"] == dataset)
        seeds = sorted({seed for row in own for seed in row.seeds})
        settings = ", ".join(f"{name} {config[name]}" for name in SHOWN)
        lines += ["", f"## {dataset}", "", f"{settings}, seeds {seeds}.", "", *markdown_table(model_grid(own))]
        lines += ["", LABELS, "", *markdown_table(label_grid(own))]
    return "\n".join(lines) + "\n"


def print_tables(rows: Sequence[Row], console: Console) -> None:
    """Print what the models have come to, a table a data set, the best in bold green."""
    for dataset in distinct(row.dataset for row in rows):
        grid = model_grid([row for row in rows if row.dataset == dataset])
        table = Table(title=f"{dataset}: clean validation mIoU, %", box=box.SIMPLE_HEAD)
        for place, name in enumerate(grid[0]):
            table.add_column(name, justify="right" if place else "left")
        for texts in grid[1:]:
            table.add_row(*(Text(t.replace("**", ""), style="bold green" if "**" in t else "") for t in texts))
        console.print(table)


def write_study(folder: Path, records: Sequence[Record], *, title: str, stem: str = "results") -> list[Row]:
    """Summarise the cells of a study, write its report into `folder`, and return the rows."""
    rows = summarise(records)
    payload = {"title": title, "summary": [asdict(row) for row in rows], "cells": list(records)}
    write_report(folder, payload, markdown(title, records), lambda: figures(rows), stem=stem)
    return rows


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    """Draw "miou-DATASET": a panel a noise, a bar a method, whiskers for the deviation over seeds."""
    drawn = {}
    for dataset in distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        noises = distinct(row.noise for row in own)
        figure = new_figure(2.6 * len(noises) + 0.6, 3.2)
        panels = figure.subplots(1, len(noises), sharey=True, squeeze=False)[0]
        for axes, noise in zip(panels, noises, strict=True):
            _bars(axes, [row for row in own if row.noise == noise])
        panels[0].set_ylabel("clean validation mIoU, %")
        panels[0].set_ylim(bottom=0)
        drawn[f"miou-{dataset}"] = figure
    return drawn


def _bars(axes: Axes, rows: Sequence[Row]) -> None:
    names = [row.method for row in rows]
    deviations = [100 * row.mean_iou[1] for row in rows]  # NaN, for one seed, draws no whisker
    heights = [100 * row.mean_iou[0] for row in rows]
    axes.bar(names, heights, yerr=deviations, color=[COLOURS[name] for name in names], capsize=3)
    axes.set_title(f"{rows[0].noise.split(':pairs')[0]}\n{100 * rows[0].noise_rate:.0f} % wrong", fontsize=9)
    axes.tick_params(axis="x", labelrotation=45)
    axes.grid(axis="y", alpha=0.3)
