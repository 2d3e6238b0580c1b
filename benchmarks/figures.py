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

_Panel = tuple[str, "Callable[[Axes], None]"]
_Curve = Mapping[int, tuple[float, float]]  # sample passes and test accuracy by epoch
_COLOURS = ("#D55E00", "#009E73", "#0072B2", "#CC79A7", "#56B4E9", "#E69F00", "#8C564B", "#6A3D9A")
_OTHERS = "#C8C8C8"
_KINDS = {"self-correction": "#D55E00", "one network": "#0072B2", "two networks": "#7F7F7F"}
_MOST_ACROSS = 4


def write_study(
    folder: StrPath, cells: Sequence[Record], *, title: str, command: str | None = None, stem: str = "results"
) -> list[Row]:
    """Summarise the cells of a study, write its report into `folder`, and return the rows.

    The JSON file holds the mean curve of each row and the cells without theirs: those are in the cells' own files.
    """
    rows = summarise(cells)
    payload = {
        "title": title,
        "seeds": sorted({cell["config"]["seed"] for cell in cells}),
        "summary": [asdict(row) for row in rows],
        "curves": [
            {"dataset": dataset, "noise": noise, "method": method, **_mean_curve(curves)}
            for (dataset, noise, method), curves in _curves(cells).items()
        ],
        "cells": [{**cell, "result": {k: v for k, v in cell["result"].items() if k != "history"}} for cell in cells],
    }
    write_report(
        folder, payload, study_markdown(title, cells), lambda: study_figures(cells), command=command, stem=stem
    )
    return rows


def study_figures(cells: Sequence[Record]) -> dict[str, Figure]:
    """Draw "accuracy-DATASET", dots a noise and method, and, given histories, "curves-DATASET", over sample passes."""
    rows = summarise(cells)
    figures: dict[str, Figure] = {}
    for dataset in distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        results = {
            (noise_name(cell["config"]), cell["config"]["method"], cell["config"]["seed"]): cell["result"]
            for cell in cells
            if cell["config"]["dataset"] == dataset
        }
        figures[f"accuracy-{dataset}"] = _accuracy_figure(own, results)
        runs = {names[1:]: curves for names, curves in _curves(cells).items() if names[0] == dataset}
        if runs:
            figures[f"curves-{dataset}"] = _curves_figure(runs, _highlighted(own))
    return figures


# ---------------------------------------------------------------- dots


def _accuracy_figure(rows: Sequence[Row], results: Mapping[Any, Any]) -> Figure:
    labels = distinct(row.label for row in rows)
    panels: list[_Panel] = [
        (noise, partial(_draw_dots, [row for row in rows if row.noise == noise], results, labels))
        for noise in distinct(row.noise for row in rows)
    ]
    return _figure(panels, 3.1, 1.1 + 0.2 * len(labels), "test accuracy, %", share_labels=True)


def _draw_dots(rows: Sequence[Row], results: Mapping[Any, Any], labels: Sequence[str], axes: Axes) -> None:
    for row in rows:
        place, kind = labels.index(row.label), _kind(row)
        seeds = [100 * results[row.noise, row.method, seed]["test_accuracy"] for seed in row.seeds]
        axes.plot(seeds, [place] * len(seeds), "o", color=_KINDS[kind], ms=3.5, alpha=0.35, mew=0)
        axes.plot(100 * row.accuracy_mean, place, "o", color=_KINDS[kind], ms=6, mew=0, label=kind)
        if math.isfinite(row.selected_mean):
            axes.plot(
                100 * row.selected_mean, place, "D", mfc="none", mec="black", ms=4.5, mew=0.8,
                label="best noisy-validation epoch",
            )  # fmt: skip
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(alpha=0.3)


def _kind(row: Row) -> str:
    if row.networks > 1:
        return "two networks"
    return "one network" if row.baseline else "self-correction"


# ---------------------------------------------------------------- curves


def _curves(cells: Sequence[Record]) -> dict[tuple[str, str, str], list[_Curve]]:
    """Return the curves of all seeds by data set, noise and method."""
    found: dict[tuple[str, str, str], list[_Curve]] = {}
    for cell in cells:
        config, history = cell["config"], cell["result"].get("history") or []
        curve = {entry["epoch"]: (entry["sample_passes"], entry["test_accuracy"]) for entry in history}
        if curve:
            found.setdefault((config["dataset"], noise_name(config), config["method"]), []).append(curve)
    return found


def _mean_curve(curves: Sequence[_Curve]) -> dict[str, list[float]]:
    """Return passes, mean and deviation of accuracy at the epochs that all seeds have."""
    epochs = sorted(set(curves[0]).intersection(*curves))
    values = np.array([[curve[epoch] for epoch in epochs] for curve in curves])
    deviation = values[..., 1].std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(len(epochs))
    means = values.mean(axis=0)
    return {
        "sample_passes": means[:, 0].round().tolist(),
        "test_accuracy": means[:, 1].round(4).tolist(),
        "deviation": deviation.round(4).tolist(),
    }


def _highlighted(rows: Sequence[Row]) -> dict[str, str]:
    """Return the colours of the methods that stand out: self-correction, plain training, the best of the others."""
    names = distinct(row.method for row in rows)
    if len(names) > len(_COLOURS):
        means = {name: np.nanmean([row.accuracy_mean for row in rows if row.method == name]) for name in names}
        corrections = distinct(row.method for row in rows if not row.baseline and not _is_ablation(row.method))
        baselines = distinct(row.method for row in rows if row.baseline)
        best = sorted((name for name in baselines if name != "ce"), key=lambda name: -means[name])
        names = [*reversed(corrections), *(name for name in baselines if name == "ce"), *best]
    return dict(zip(names, _COLOURS, strict=False))


def _is_ablation(method: str) -> bool:
    return method.startswith("robust-")  # the robust preset with a part left out or replaced: benchmarks.methods


def _curves_figure(runs: Mapping[tuple[str, str], Sequence[_Curve]], colours: Mapping[str, str]) -> Figure:
    panels: list[_Panel] = [
        (noise, partial(_draw_curves, {name: runs[place, name] for place, name in runs if place == noise}, colours))
        for noise in distinct(noise for noise, _ in runs)
    ]
    return _figure(panels, 4.2, 3.4, "samples through a network, thousands")


def _draw_curves(runs_of: Mapping[str, Sequence[_Curve]], colours: Mapping[str, str], axes: Axes) -> None:
    for method, runs in sorted(runs_of.items(), key=lambda item: item[0] in colours):
        curve = {name: np.array(values) for name, values in _mean_curve(runs).items()}
        passes, mean, std = curve["sample_passes"] / 1000, 100 * curve["test_accuracy"], 100 * curve["deviation"]
        if method not in colours:
            axes.plot(passes, mean, color=_OTHERS, lw=0.8, label="others")
            continue
        axes.plot(passes, mean, color=colours[method], label=method, lw=1.5)
        axes.fill_between(passes, mean - std, mean + std, color=colours[method], alpha=0.12, lw=0)
    axes.set_ylabel("test accuracy, %")
    axes.locator_params(axis="x", nbins=7)
    axes.grid(axis="y", alpha=0.3)


def _figure(panels: Sequence[_Panel], width: float, height: float, label: str, *, share_labels: bool = False) -> Figure:
    across = min(len(panels), _MOST_ACROSS)
    down = -(-len(panels) // across)
    figure = new_figure(max(6.4, width * across), height * down + 0.5)
    named: dict[str, Any] = {}
    for place, (title, draw) in enumerate(panels):
        axes = figure.add_subplot(down, across, place + 1)
        draw(axes)
        axes.set(title=title, xlabel=label, axisbelow=True)
        if share_labels and place % across:
            axes.tick_params(labelleft=False)
        axes.spines[["top", "right"]].set_visible(False)
        named |= {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    inches = 0.6 + 0.085 * max(map(len, named))  # of an entry, about
    columns = max(1, min(len(named), int(figure.get_figwidth() / inches)))
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns, frameon=False)
    return figure
