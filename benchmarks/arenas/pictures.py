"""The arena's pictures: heat maps of the regret, and mean ranks with their critical difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.arenas.board import Board, Ranks, means, ranks_of
from benchmarks.lab.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NETWORKS = ("published", "self-correction", "two networks", "control")
_COLOURS = {
    "published": "#0072B2", "self-correction": "#D55E00", "two networks": "#7F7F7F", "control": "#009E73",
    "no network": "#555555",
}  # fmt: skip
_MOST_POINTS = 12.0  # where colours end


def pictures(halves: Mapping[str, Board]) -> dict[str, Figure]:
    """Return heat maps of the mean regret, "HALF-noises" and "HALF-sets", and critical differences, "HALF-ranks"."""
    found: dict[str, Figure] = {}
    for half, board in halves.items():
        for factor, name in (("noise", "noises"), ("dataset", "sets")):
            found[f"{half}-{name}"] = heat_map(board, factor, f"{half} half: mean regret in points")
        ranks = ranks_of(board.only(_NETWORKS))
        if ranks is not None:
            kinds = dict(zip(board.names, board.kinds, strict=True))
            found[f"{half}-ranks"] = rank_plot(ranks, kinds, half)
    return found


def heat_map(board: Board, factor: str, title: str) -> Figure:
    """Draw rows down and the levels of a factor across; red is behind the best published row, blue is ahead."""
    order = np.argsort(np.nan_to_num(means(board.regret), nan=9))
    levels = board.levels(factor)
    values = np.full((len(order), len(levels) + 1), np.nan)
    values[:, 0] = means(board.regret)[order]
    for column, level in enumerate(levels, start=1):
        part = board.where(lambda place, level=level: str(place[factor]) == level)  # type: ignore[misc]
        known = dict(zip(part.names, means(part.regret), strict=True))
        values[:, column] = [known.get(board.names[r], math.nan) for r in order]
    values *= 100
    figure = new_figure(3.2 + 0.62 * (len(levels) + 1), 1.8 + 0.27 * len(order))
    axes = figure.add_subplot()
    axes.set_facecolor("#DDDDDD")  # where a row was not run
    axes.imshow(values, cmap="RdBu_r", vmin=-_MOST_POINTS, vmax=_MOST_POINTS, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not math.isnan(value):
            shade = "white" if abs(value) > 0.6 * _MOST_POINTS else "black"
            axes.text(column, row, f"{round(value, 1) + 0.0:.1f}", ha="center", va="center", fontsize=7, color=shade)
    axes.set_xticks(range(len(levels) + 1), ["all", *levels], rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(order)), [board.names[r] for r in order], fontsize=8)
    for tick, r in zip(axes.get_yticklabels(), order, strict=True):
        tick.set_color(_COLOURS[board.kinds[r]])
    axes.axvline(0.5, color="black", lw=1)
    axes.set_title(title, fontsize=10)
    axes.tick_params(length=0)
    _explain(figure, board.kinds)
    return figure


def _explain(figure: Figure, kinds: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    shown = [kind for kind in _COLOURS if kind in kinds]
    handles = [Line2D([], [], color=_COLOURS[kind], lw=4, label=kind) for kind in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(shown), fontsize=8, frameon=False)


def rank_plot(ranks: Ranks, kinds: Mapping[str, str], half: str) -> Figure:
    """Draw the mean ranks on a line, the best to the left; bars join rows that do not differ (Demšar 2006, fig. 1)."""
    order = np.argsort(ranks.mean)
    values, names = ranks.mean[order], [ranks.names[r] for r in order]
    count = len(values)
    left = (count + 1) // 2
    groups = joined(values, ranks.critical)
    top = 0.35 * (len(groups) + 1)
    figure = new_figure(9.0, 1.9 + 0.24 * left + 0.12 * len(groups))
    axes = figure.add_subplot()
    low, high = math.floor(values[0]), math.ceil(values[-1])
    for number, (value, name) in enumerate(zip(values, names, strict=True)):
        first = number < left
        height = -top - 0.7 * (number if first else count - 1 - number) - 0.5
        end = low - 0.4 if first else high + 0.4
        colour = _COLOURS[kinds[name]]
        axes.plot([value, value, end], [0, height, height], color=colour, lw=0.9)
        text = f"{name}  {value:.1f} " if first else f" {value:.1f}  {name}"
        axes.text(end, height, text, ha="right" if first else "left", va="center", fontsize=8, color=colour)
    for number, (start, stop) in enumerate(groups):
        axes.plot([values[start] - 0.05, values[stop] + 0.05], [-0.35 * (number + 1)] * 2, color="black", lw=3)
    _ruler(axes, low, high, ranks, half)
    _explain(figure, [kinds[name] for name in names])
    width = 0.28 * (high - low) + 1
    axes.set_xlim(low - width, high + width)
    axes.axis("off")
    return figure


def _ruler(axes: Axes, low: int, high: int, ranks: Ranks, half: str) -> None:
    axes.plot([low, high], [0, 0], color="black", lw=1)
    for place in range(low, high + 1):
        axes.plot([place, place], [0, 0.25], color="black", lw=1)
        axes.text(place, 0.4, str(place), ha="center", fontsize=8)
    axes.plot([low, low + ranks.critical], [1.6, 1.6], color="black", lw=2)
    p = "p < 0.001" if ranks.p < 0.001 else f"p = {ranks.p:.3f}"
    text = f" critical difference {ranks.critical:.2f} ({half} half, {ranks.places} places, Friedman {p})"
    axes.text(low + ranks.critical, 1.6, text, va="center", fontsize=8)


def joined(values: np.ndarray, critical: float) -> list[tuple[int, int]]:
    """Return the longest runs of sorted values that lie within the critical difference, as first and last place.

    Examples
    --------
    >>> joined(np.array([1.0, 1.5, 2.2, 4.0]), 1.0)
    [(0, 1), (1, 2)]
    """
    ends = [int(np.searchsorted(values, value + critical, side="right")) - 1 for value in values]
    runs = [(start, end) for start, end in enumerate(ends) if end > start]
    return [run for run in runs if not any(o != run and o[0] <= run[0] and run[1] <= o[1] for o in runs)]
