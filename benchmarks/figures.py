"""Pictures of a study, and its whole report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.report import StrPath, new_figure, write_report
from benchmarks.study import Record, Row, distinct, noise_name, study_markdown, summarise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Curve = dict[float, float]  # test accuracy by epoch
_Panel = tuple[str, "Callable[[Axes], None]"]
_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#7F7F7F",
    "#8C564B",
    "#6A3D9A",
    "#000000",
)


def write_study(
    folder: StrPath, cells: Sequence[Record], *, title: str, command: str | None = None, stem: str = "results"
) -> list[Row]:
    """Summarise the cells of a study, write its report into `folder`, and return the rows."""
    rows = summarise(cells)
    seeds = sorted({cell["config"]["seed"] for cell in cells})
    payload = {"title": title, "seeds": seeds, "summary": [asdict(row) for row in rows], "cells": list(cells)}
    write_report(
        folder, payload, study_markdown(title, cells), lambda: study_figures(cells), command=command, stem=stem
    )
    return rows


def study_figures(cells: Sequence[Record]) -> dict[str, Figure]:
    """Draw "accuracy" (bars, or lines over the rate where a noise has several) and, given histories, "curves"."""
    rows = summarise(cells)
    colours = {method: _COLOURS[n % len(_COLOURS)] for n, method in enumerate(distinct(row.method for row in rows))}
    panels: list[_Panel] = []
    for dataset in distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        kinds = [(kind, [row for row in own if _kind(row) == kind]) for kind in distinct(map(_kind, own))]
        swept = {kind: members for kind, members in kinds if len({row.noise for row in members}) > 1}
        panels += [(f"{dataset}, {kind}", partial(_draw_rates, rated, colours)) for kind, rated in swept.items()]
        single = [row for row in own if _kind(row) not in swept]
        panels += [(dataset, partial(_draw_bars, single, colours))] if single else []
    histories: dict[str, dict[str, list[_Curve]]] = {}
    for cell in cells:
        if curve := _curve(cell):
            place = histories.setdefault(f"{cell['config']['dataset']}, {noise_name(cell['config'])}", {})
            place.setdefault(cell["config"]["method"], []).append(curve)
    curves: list[_Panel] = [(name, partial(_draw_curves, runs, colours)) for name, runs in histories.items()]
    return {name: _figure(drawn) for name, drawn in (("accuracy", panels), ("curves", curves)) if drawn}


def _figure(panels: Sequence[_Panel]) -> Figure:
    across = 2 if len(panels) == 4 else min(len(panels), 3)
    down = -(-len(panels) // across)
    figure = new_figure(max(6.4, 5.0 * across), 3.8 * down + 0.5)
    named: dict[str, Any] = {}
    for place, (title, draw) in enumerate(panels, start=1):
        axes = figure.add_subplot(down, across, place)
        draw(axes)
        axes.set(title=title, ylabel="test accuracy, %", axisbelow=True)
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        named |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=min(len(named), 6), frameon=False)
    return figure


def _draw_bars(rows: Sequence[Row], colours: Mapping[str, str], axes: Axes) -> None:
    noises, methods = distinct(row.noise for row in rows), distinct(row.method for row in rows)
    width = 0.84 / len(methods)
    for place, method in enumerate(methods):
        own = [row for row in rows if row.method == method]
        left = [noises.index(row.noise) + (place - (len(methods) - 1) / 2) * width for row in own]
        means, errors = _percents(own)
        axes.bar(left, means, 0.92 * width, yerr=errors, color=colours[method], label=method, error_kw={"lw": 1})
        for x, mean, error in zip(left, means, errors, strict=True):
            if math.isfinite(mean):
                axes.text(x, mean + error + 1, f"{mean:.0f}", ha="center", va="bottom", fontsize=7)
    axes.set_xticks(range(len(noises)), [noise.replace(":", "\n") for noise in noises])
    axes.set_ylim(0, 105)


def _draw_rates(rows: Sequence[Row], colours: Mapping[str, str], axes: Axes) -> None:
    for method in distinct(row.method for row in rows):
        own = sorted((row for row in rows if row.method == method), key=_rate)
        rates = [100 * _rate(row) for row in own]
        axes.errorbar(rates, *_percents(own), color=colours[method], label=method, marker="o", ms=4, capsize=3)
    axes.set_xlabel("wrong labels, %")


def _draw_curves(runs_of: Mapping[str, Sequence[_Curve]], colours: Mapping[str, str], axes: Axes) -> None:
    for method, runs in runs_of.items():
        epochs = sorted(set(runs[0]).intersection(*runs))
        values = 100 * np.array([[run[epoch] for epoch in epochs] for run in runs])
        mean, std = values.mean(axis=0), values.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(len(epochs))
        axes.plot(epochs, mean, color=colours[method], label=method, lw=1.6)
        axes.fill_between(epochs, mean - std, mean + std, color=colours[method], alpha=0.15, lw=0)
    axes.set_xlabel("epoch")


def _percents(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    return [100 * row.accuracy_mean for row in rows], [100 * np.nan_to_num(row.accuracy_std) for row in rows]


def _kind(row: Row) -> str:
    # A rate that is no number ("human:worst") names another noise, not a point on an axis.
    return row.noise if math.isnan(_rate(row)) else row.noise.rpartition(":")[0]


def _rate(row: Row) -> float:
    try:
        return float(row.noise.rpartition(":")[2])
    except ValueError:
        return math.nan


def _curve(cell: Record) -> _Curve:
    history = cell["result"].get("history") or []
    return {entry["epoch"]: entry["test_accuracy"] for entry in history if entry.get("test_accuracy") is not None}
