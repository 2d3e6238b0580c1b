"""Pictures of any study: panels of dots, bars, curves or ratios, drawn with matplotlib where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.lab.extras import require
from benchmarks.lab.rows import Record, Row, Spread, distinct, noise_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = tuple[str, "Callable[[Axes], None]"]
Curve = Mapping[int, tuple[float, float]]  # sample passes and test accuracy by epoch
COLOURS = ("#D55E00", "#009E73", "#0072B2", "#CC79A7", "#56B4E9", "#E69F00", "#8C564B", "#6A3D9A")
_OTHERS = "#C8C8C8"
_KINDS = {"self-correction": "#D55E00", "one network": "#0072B2", "two networks": "#7F7F7F"}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches.

    Raises
    ------
    NoisyCorrectError
        If matplotlib is not installed.
    """
    require("matplotlib")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(
    drawn: Sequence[Panel],
    width: float,
    height: float,
    *,
    label: str | None = None,
    most_across: int = 4,
    share_labels: bool = False,
    legend: Mapping[str, Any] | None = None,
) -> Figure:
    """Return a figure of panels in rows, with one legend for all.

    Parameters
    ----------
    drawn : sequence of (str, callable)
        Title of each panel, and what draws it.
    width, height : float
        Of a panel, in inches.
    label : str, optional
        Below each panel.
    most_across : int
        Panels in a row.
    share_labels : bool
        Whether only the leftmost panels show the labels of their lines.
    legend : mapping, optional
        Further arguments for the legend; default: below all panels.
    """
    across = min(len(drawn), most_across)
    down = -(-len(drawn) // across)
    figure = new_figure(max(6.4, width * across), height * down + 0.5)
    named: dict[str, Any] = {}
    for place, (title, draw) in enumerate(drawn):
        axes = figure.add_subplot(down, across, place + 1)
        draw(axes)
        axes.set(title=title, axisbelow=True, **({} if label is None else {"xlabel": label}))
        if share_labels and place % across:
            axes.tick_params(labelleft=False)
        axes.spines[["top", "right"]].set_visible(False)
        named |= {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    if named:
        inches = 0.6 + 0.085 * max(map(len, named))  # of an entry, about
        columns = max(1, min(len(named), int(figure.get_figwidth() / inches)))
        below = {"loc": "outside lower center", "ncols": columns}
        figure.legend(named.values(), named.keys(), frameon=False, **(below if legend is None else legend))
    return figure


# ---------------------------------------------------------------- dots and bars


def dots(axes: Axes, place: int, values: Sequence[float], colour: str, label: str | None = None) -> None:
    """Draw a dot a seed, and a larger one for their mean, on the line `place`."""
    if len(values):
        axes.plot(values, [place] * len(values), "o", color=colour, ms=3.5, alpha=0.35, mew=0)
        axes.plot(float(np.mean(values)), place, "o", color=colour, ms=6, mew=0, label=label)


def label_lines(axes: Axes, labels: Sequence[str]) -> None:
    """Name the lines of dots, the first one on top."""
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(alpha=0.3)


def bars(axes: Axes, heights: Mapping[str, Spread], colours: Sequence[str], top: float | None = None) -> None:
    """Draw a bar a name, whiskers for the deviation; NaN, for one seed, draws none."""
    means, deviations = ([100 * spread[part] for spread in heights.values()] for part in (0, 1))
    axes.bar(list(heights), means, yerr=deviations, color=list(colours), capsize=3)
    axes.set_ylim(0, top)
    axes.set_xticks(range(len(heights)), list(heights), rotation=45, ha="right", rotation_mode="anchor")
    axes.grid(axis="y", alpha=0.3)


def lines(axes: Axes, series: Mapping[str, Mapping[float, Spread]], colours: Sequence[str] = COLOURS) -> None:
    """Draw a line a name through its means, with a band for the deviation, in per cent."""
    for number, (name, points) in enumerate(series.items()):
        if points:
            places, colour = sorted(points), colours[number % len(colours)]
            means, stds = (100 * np.array([points[place][part] for place in places]) for part in (0, 1))
            spread = np.nan_to_num(stds)
            axes.plot(places, means, color=colour, label=name, marker="o", ms=3.5, lw=1.6)
            axes.fill_between(places, means - spread, means + spread, color=colour, alpha=0.15, lw=0)
    axes.grid(axis="y", alpha=0.3)


# ---------------------------------------------------------------- label noise: accuracy and curves


def study_figures(records: Sequence[Record], rows: Sequence[Row]) -> dict[str, Figure]:
    """Draw "accuracy-DATASET", dots a noise and method, and, given histories, "curves-DATASET", over sample passes."""
    figures: dict[str, Figure] = {}
    for dataset in distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        results = {
            (noise_name(record["config"]), record["config"]["method"], record["config"]["seed"]): record["result"]
            for record in records
            if record["config"]["dataset"] == dataset
        }
        labels = distinct(row.label for row in own)
        drawn: list[Panel] = [
            (noise, partial(_draw_dots, [row for row in own if row.noise == noise], results, labels))
            for noise in distinct(row.noise for row in own)
        ]
        height = 1.1 + 0.2 * len(labels)
        figures[f"accuracy-{dataset}"] = panels(drawn, 3.1, height, label="test accuracy, %", share_labels=True)
        runs = {names[1:]: curves for names, curves in curves_of(records).items() if names[0] == dataset}
        if runs:
            figures[f"curves-{dataset}"] = _curves_figure(runs, _highlighted(own))
    return figures


def _draw_dots(rows: Sequence[Row], results: Mapping[Any, Any], labels: Sequence[str], axes: Axes) -> None:
    for row in rows:
        place, kind = labels.index(row.label), _kind(row)
        seeds = [100 * results[row.noise, row.name, seed]["test_accuracy"] for seed in row.seeds]
        dots(axes, place, seeds, _KINDS[kind], kind)
        if row.has("selected_accuracy"):
            axes.plot(
                100 * row.mean("selected_accuracy"), place, "D", mfc="none", mec="black", ms=4.5, mew=0.8,
                label="best noisy-validation epoch",
            )  # fmt: skip
    label_lines(axes, labels)


def _kind(row: Row) -> str:
    if row.networks > 1:
        return "two networks"
    return "one network" if row.baseline else "self-correction"


def curves_of(records: Sequence[Record]) -> dict[tuple[str, str, str], list[Curve]]:
    """Return the curves of all seeds by data set, noise and method."""
    found: dict[tuple[str, str, str], list[Curve]] = {}
    for record in records:
        config, history = record["config"], record["result"].get("history") or []
        curve = {entry["epoch"]: (entry["sample_passes"], entry["test_accuracy"]) for entry in history}
        if curve:
            found.setdefault((config["dataset"], noise_name(config), config["method"]), []).append(curve)
    return found


def mean_curve(curves: Sequence[Curve]) -> dict[str, list[float]]:
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
    names = distinct(row.name for row in rows)
    if len(names) > len(COLOURS):
        means = {name: np.nanmean([row.mean("test_accuracy") for row in rows if row.name == name]) for name in names}
        # A row of the robust recipe with a part left out, see benchmarks.lab.methods, does not stand out.
        corrections = distinct(row.name for row in rows if not row.baseline and not row.name.startswith("robust-"))
        baselines = distinct(row.name for row in rows if row.baseline)
        best = sorted((name for name in baselines if name != "ce"), key=lambda name: -means[name])
        names = [*reversed(corrections), *(name for name in baselines if name == "ce"), *best]
    return dict(zip(names, COLOURS, strict=False))


def _curves_figure(runs: Mapping[tuple[str, str], Sequence[Curve]], colours: Mapping[str, str]) -> Figure:
    drawn: list[Panel] = [
        (noise, partial(_draw_curves, {name: runs[place, name] for place, name in runs if place == noise}, colours))
        for noise in distinct(noise for noise, _ in runs)
    ]
    return panels(drawn, 4.2, 3.4, label="samples through a network, thousands")


def _draw_curves(runs_of: Mapping[str, Sequence[Curve]], colours: Mapping[str, str], axes: Axes) -> None:
    for method, runs in sorted(runs_of.items(), key=lambda item: item[0] in colours):
        curve = {name: np.array(values) for name, values in mean_curve(runs).items()}
        passes, mean, std = curve["sample_passes"] / 1000, 100 * curve["test_accuracy"], 100 * curve["deviation"]
        if method not in colours:
            axes.plot(passes, mean, color=_OTHERS, lw=0.8, label="others")
            continue
        axes.plot(passes, mean, color=colours[method], label=method, lw=1.5)
        axes.fill_between(passes, mean - std, mean + std, color=colours[method], alpha=0.12, lw=0)
    axes.set_ylabel("test accuracy, %")
    axes.locator_params(axis="x", nbins=7)
    axes.grid(axis="y", alpha=0.3)
