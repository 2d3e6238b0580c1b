"""From the finished cells of a study to a table, a JSON file, a Markdown page and pictures."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import math
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from noisycorrect.errors import InvalidInputError, NoisyCorrectError
from noisycorrect.files import replace_atomically, write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, Any]  # {"config": {...}, "result": {...}}
StrPath = str | os.PathLike[str]
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
_PROTOCOL = (
    "Test accuracy after the **last epoch** (no epoch is chosen on test data), mean ± sample standard deviation over"
    " {seeds} seeds, in %. Bold: the best method that trains one network. Passes: samples through a network in one run."
)


@dataclass(frozen=True)
class Row:
    """One method on one data set under one noise, over all its seeds.

    Accuracies lie in [0, 1] and are those of the last epoch; deviations are sample deviations, NaN for one seed.
    `label_accuracy` is the share of training labels that are right after correction. What no cell has recorded is
    NaN. `best` tells that no other method of one network has a higher mean on this data set and noise.
    """

    dataset: str
    noise: str
    method: str
    seeds: tuple[int, ...]
    networks: int
    accuracy_mean: float
    accuracy_std: float
    label_accuracy_mean: float
    label_accuracy_std: float
    sample_passes: float
    seconds: float
    best: bool = False


def mean_and_std(values: Iterable[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation (ddof=1); NaN where there are too few values.

    Examples
    --------
    >>> mean_and_std([1.0, 3.0]), mean_and_std([2.0])
    ((2.0, 1.4142135623730951), (2.0, nan))
    """
    array = np.array(list(values), dtype=np.float64)
    mean = array.mean().item() if array.size else math.nan
    return mean, array.std(ddof=1).item() if array.size > 1 else math.nan


def summarise(cells: Sequence[Record]) -> list[Row]:
    """Summarise cells over their seeds, in the order in which data sets, noises and methods first appear.

    Parameters
    ----------
    cells : sequence of {"config": ..., "result": ...}
        The configuration holds `dataset`, `noise`, `method`, `seed` and maybe `rate`; the result `test_accuracy` and
        maybe `train_label_accuracy`, `sample_passes`, `seconds`, `networks`.

    Raises
    ------
    InvalidInputError
        If cells of one method, data set and noise differ in anything but seeds, or repeat a seed.
    """
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for cell in cells:
        config = cell["config"]
        groups.setdefault((config["dataset"], _noise(config), config["method"]), []).append(cell)
    rows = [_row(*names, _comparable(members)) for names, members in groups.items()]
    return [_with_best(row, rows) for row in rows]


def _noise(config: Mapping[str, Any]) -> str:
    rate = config.get("rate")
    return str(config["noise"]) if rate is None else f"{config['noise']}:{rate:g}"


def _comparable(members: list[Record]) -> list[Record]:
    first = members[0]["config"]
    for config in (cell["config"] for cell in members):
        keys = [k for k in {**first, **config} if not k.endswith("seed") and first.get(k) != config.get(k)]
        if keys:
            raise InvalidInputError("cells of one study", got=f"several {', '.join(keys)}", mend="pass one study")
    seeds = [cell["config"]["seed"] for cell in members]
    if len(set(seeds)) < len(seeds):
        raise InvalidInputError("each seed once", got=f"seeds {sorted(seeds)}")
    return members


def _row(dataset: str, noise: str, method: str, members: list[Record]) -> Row:
    results = [cell["result"] for cell in members]

    def recorded(name: str) -> tuple[float, float]:
        return mean_and_std(result[name] for result in results if result.get(name) is not None)

    seeds = tuple(cell["config"]["seed"] for cell in members)
    networks = int(results[0].get("networks", members[0]["config"].get("networks", 1)))
    accuracies = *recorded("test_accuracy"), *recorded("train_label_accuracy")
    costs = recorded("sample_passes")[0], recorded("seconds")[0]
    return Row(dataset, noise, method, seeds, networks, *accuracies, *costs)


def _with_best(row: Row, rows: Sequence[Row]) -> Row:
    rivals = [r.accuracy_mean for r in rows if (r.dataset, r.noise, r.networks) == (row.dataset, row.noise, 1)]
    best = row.networks == 1 and row.accuracy_mean == max((a for a in rivals if not math.isnan(a)), default=math.nan)
    return Row(**{**vars(row), "best": best})


def environment() -> dict[str, Any]:
    """Return what numbers were measured with: versions, kind of machine, and the date (UTC)."""
    installed = importlib.metadata.distributions(name="noisycorrect")
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "noisycorrect": next((distribution.version for distribution in installed), None),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (models or [platform.processor() or platform.machine()])[0]


def command_line() -> str:
    """Return the command that started this program; absolute paths are cut to their last part."""
    return shlex.join(["python", *(_portable(word) for word in sys.orig_argv[1:])])


def _portable(word: str) -> str:
    # A reader keeps the data elsewhere, and a report should not tell where its author does.
    option, equals, value = word.rpartition("=")
    return f"{option}{equals}{Path(value).name}" if Path(value).is_absolute() else word


def write_report(
    folder: StrPath,
    payload: Mapping[str, Any],
    markdown: str,
    figures: Callable[[], Mapping[str, Figure]] = dict,
    *,
    command: str | None = None,
) -> None:
    """Write `results.json`, `results.md` and one PNG a figure, each atomically, for any benchmark.

    Parameters
    ----------
    folder : path-like
        Where they go; made if it does not exist.
    payload : mapping
        What the JSON file holds besides `environment` and `command`; numbers that are not finite become null.
    markdown : str
        The page; the pictures, the command and the environment are put below it.
    figures : callable, optional
        Draws the figures, by name. Called last: without matplotlib the numbers are on disk all the same.
    command : str, optional
        How to get the same results; default: how this program was started.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    facts, how = environment(), command or command_line()
    write_json(place / "results.json", _finite({**payload, "command": how, "environment": facts}))
    foot = f"\n## Reproduce\n\n```sh\n{how}\n```\n\n" + ", ".join(f"{k} {v}" for k, v in facts.items() if v) + "\n"
    _write_text(place / "results.md", f"{markdown.rstrip()}\n{foot}")
    drawn = figures()
    for name, figure in drawn.items():
        with replace_atomically(place / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    pictures = "".join(f"\n![{name}]({name}.png)\n" for name in drawn)
    _write_text(place / "results.md", f"{markdown.rstrip()}\n{pictures}{foot}")


def write_study(folder: StrPath, cells: Sequence[Record], *, title: str, command: str | None = None) -> list[Row]:
    """Summarise the cells of a study, write its report into `folder`, and return the rows."""
    rows = summarise(cells)
    seeds = sorted({cell["config"]["seed"] for cell in cells})
    payload = {"title": title, "seeds": seeds, "summary": [asdict(row) for row in rows], "cells": list(cells)}
    write_report(folder, payload, study_markdown(title, cells), lambda: study_figures(cells), command=command)
    return rows


def _write_text(path: Path, text: str) -> None:
    with replace_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def study_markdown(title: str, cells: Sequence[Record]) -> str:
    """Return the tables of a study, one a data set: methods down, noises across."""
    rows = summarise(cells)
    named, first = {"dataset", "noise", "rate", "method", "seed", "networks"}, cells[0]["config"] if cells else {}
    shared = [f"{k} {v}" for k, v in first.items() if k not in named and all(c["config"].get(k) == v for c in cells)]
    lines = [f"# {title}", "", _PROTOCOL.format(seeds=_span([len(row.seeds) for row in rows]))]
    lines += ["", f"Settings: {', '.join(shared)}."] if shared else []
    for dataset in _distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        lines += ["", f"## {dataset}", "", *_markdown_table(_grid(own, "accuracy", costs=True))]
        if correcting := [row for row in own if not math.isnan(row.label_accuracy_mean)]:
            lines += ["", "Right labels of the training set after correction, in %.", ""]
            lines += _markdown_table(_grid(correcting, "label_accuracy", costs=False))
    return "\n".join(lines) + "\n"


def print_table(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print one table a data set: accuracies and costs, the best method of one network in bold green."""
    for dataset in _distinct(row.dataset for row in rows):
        head, *body = _grid([row for row in rows if row.dataset == dataset], "accuracy", costs=True)
        table = Table(title=f"{dataset}: test accuracy after the last epoch, %", box=box.SIMPLE_HEAD)
        for place, name in enumerate(head):
            table.add_column(name.replace(":", ":\n"), justify="right" if place else "left", no_wrap=True)
        for texts in body:
            table.add_row(*(Text(t.strip("*"), style="bold green" if t.startswith("**") else "") for t in texts))
        (console or Console()).print(table)


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _grid(rows: Sequence[Row], measure: str, *, costs: bool) -> list[list[str]]:
    """Return the texts of one data set's table, head first; the best accuracy stands between double asterisks."""
    noises = _distinct(row.noise for row in rows)
    lines = [["method", *noises, *(["seeds", "nets", "passes", "seconds"] if costs else [])]]
    for method in _distinct(row.method for row in rows):
        own = {row.noise: row for row in rows if row.method == method}
        texts = [method, *(_percent(own.get(noise), measure) for noise in noises)]
        numbers = [(len(row.seeds), row.networks, row.sample_passes, row.seconds) for row in own.values()]
        lines.append(texts + [_span(values) for values in zip(*numbers, strict=True)] * costs)
    return lines


def _markdown_table(lines: Sequence[Sequence[str]]) -> list[str]:
    head, *body = ["| " + " | ".join(texts) + " |" for texts in lines]
    return [head, "|---" + "|---:" * (len(lines[0]) - 1) + "|", *body]


def _percent(row: Row | None, measure: str) -> str:
    if row is None:
        return "-"
    mean, std = (100 * getattr(row, f"{measure}_{statistic}") for statistic in ("mean", "std"))
    text = f"{mean:.1f}" if math.isnan(std) else f"{mean:.1f} ± {std:.1f}"
    return f"**{text}**" if row.best and measure == "accuracy" else text


def _span(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return " to ".join(dict.fromkeys(_short(value) for value in (min(known), max(known)))) if known else "-"


def _short(value: float) -> str:
    return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value / 1e3:.3g} k" if value >= 1e3 else f"{value:.3g}"


def study_figures(cells: Sequence[Record]) -> dict[str, Figure]:
    """Draw "results" (bars, or lines over the rate where a noise has several) and, given histories, "curves"."""
    rows = summarise(cells)
    colours = {method: _COLOURS[n % len(_COLOURS)] for n, method in enumerate(_distinct(row.method for row in rows))}
    panels: list[_Panel] = []
    for dataset in _distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        kinds = [(kind, [row for row in own if _kind(row) == kind]) for kind in _distinct(map(_kind, own))]
        swept = {kind: members for kind, members in kinds if len({row.noise for row in members}) > 1}
        panels += [(f"{dataset}, {kind}", partial(_draw_rates, rated, colours)) for kind, rated in swept.items()]
        single = [row for row in own if _kind(row) not in swept]
        panels += [(dataset, partial(_draw_bars, single, colours))] if single else []
    histories: dict[str, dict[str, list[_Curve]]] = {}
    for cell in cells:
        if curve := _curve(cell):
            place = histories.setdefault(f"{cell['config']['dataset']}, {_noise(cell['config'])}", {})
            place.setdefault(cell["config"]["method"], []).append(curve)
    curves: list[_Panel] = [(name, partial(_draw_curves, runs, colours)) for name, runs in histories.items()]
    return {name: _figure(drawn) for name, drawn in (("results", panels), ("curves", curves)) if drawn}


def _figure(panels: Sequence[_Panel]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoisyCorrectError("matplotlib", got="none", mend="pip install 'noisycorrect[plot]'") from error
    across = 2 if len(panels) == 4 else min(len(panels), 3)
    down = -(-len(panels) // across)
    figure = Figure(figsize=(max(6.4, 5.0 * across), 3.8 * down + 0.5), layout="constrained")
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
    noises, methods = _distinct(row.noise for row in rows), _distinct(row.method for row in rows)
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
    for method in _distinct(row.method for row in rows):
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
