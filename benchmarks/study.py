"""From the finished cells of a study to rows and tables: methods down, noises across, means over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from noisycorrect.errors import InvalidInputError

Record = Mapping[str, Any]  # {"config": {...}, "result": {...}}
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


_COSTS: dict[str, Callable[[Row], float]] = {
    "seeds": lambda row: len(row.seeds),
    "nets": lambda row: row.networks,
    "passes": lambda row: row.sample_passes,
    "s/run": lambda row: row.seconds,
}


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
        groups.setdefault((config["dataset"], noise_name(config), config["method"]), []).append(cell)
    rows = [_row(*names, _comparable(members)) for names, members in groups.items()]
    return [_with_best(row, rows) for row in rows]


def noise_name(config: Mapping[str, Any]) -> str:
    """Return the spelling of a cell's noise, its rate included."""
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


def study_markdown(title: str, cells: Sequence[Record]) -> str:
    """Return the tables of a study, one a data set: methods down, noises across."""
    rows = summarise(cells)
    named = {"dataset", "noise", "rate", "method", "seed", "networks", "data", "version"}
    first = cells[0]["config"] if cells else {}
    shared = [
        f"{k} {v}"
        for k, v in first.items()
        if k not in named and first[k] is not None and all(c["config"].get(k) == v for c in cells)
    ]
    lines = [f"# {title}", "", _PROTOCOL.format(seeds=_span([len(row.seeds) for row in rows]))]
    lines += ["", f"Settings: {', '.join(shared)}."] if shared else []
    for dataset in distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        lines += ["", f"## {dataset}", "", *_markdown_table(_grid(own, "accuracy", costs=True))]
        if correcting := [row for row in own if not math.isnan(row.label_accuracy_mean)]:
            lines += ["", "Right labels of the training set after correction, in %.", ""]
            lines += _markdown_table(_grid(correcting, "label_accuracy", costs=False))
    return "\n".join(lines) + "\n"


def print_table(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print one table a data set: accuracies and costs, the best method of one network in bold green."""
    for dataset in distinct(row.dataset for row in rows):
        head, *body = _grid([row for row in rows if row.dataset == dataset], "accuracy", costs=True)
        table = Table(title=f"{dataset}: test accuracy after the last epoch, %", box=box.SIMPLE_HEAD)
        for place, name in enumerate(head):
            table.add_column(name.replace(":", ":\n"), justify="right" if place else "left", no_wrap=True)
        for texts in body:
            table.add_row(*(Text(t.strip("*"), style="bold green" if t.startswith("**") else "") for t in texts))
        (console or Console()).print(table)


def distinct(names: Iterable[str]) -> list[str]:
    """Return each name once, in the order of first appearance."""
    return list(dict.fromkeys(names))


def _grid(rows: Sequence[Row], measure: str, *, costs: bool) -> list[list[str]]:
    """Return the texts of one data set's table, head first; the best accuracy stands between double asterisks."""
    noises = distinct(row.noise for row in rows)
    columns = ["seeds", "passes", "s/run"] if costs else []
    if costs and any(row.networks > 1 for row in rows):
        columns.insert(1, "nets")
    lines = [["method", *noises, *columns]]
    for method in distinct(row.method for row in rows):
        own = {row.noise: row for row in rows if row.method == method}
        texts = [method, *(_percent(own.get(noise), measure) for noise in noises)]
        for column in columns:
            values = [_COSTS[column](row) for row in own.values()]
            counted = column in ("seeds", "nets")
            texts.append(_span(values) if counted else _short(mean_and_std(v for v in values if not math.isnan(v))[0]))
        lines.append(texts)
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
    if math.isnan(value):
        return "-"
    return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value / 1e3:.3g} k" if value >= 1e3 else f"{value:.3g}"
