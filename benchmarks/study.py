"""From the finished cells of a study to rows and tables: methods down, noises across, means over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from noisycorrect.support.errors import InvalidInputError

Record = Mapping[str, Any]  # {"config": {...}, "result": {...}}
_PROTOCOL = (
    "Test accuracy after the **last epoch** (no epoch is chosen on test data), mean ± sample standard deviation over"
    " {seeds} seeds, in %. Bold: the best method that trains one network. Passes: samples through a network in one run."
    " Baselines warm up over a tenth of their epochs, `robust` and the control over a twentieth."
)
_MOST_COLUMNS = 2  # of noises on a terminal, with deviations and costs


@dataclass(frozen=True)
class Row:
    """One method on one data set under one noise, over all its seeds.

    Accuracies lie in [0, 1]; deviations are sample deviations, NaN for one seed. What no cell has recorded is NaN.

    Attributes
    ----------
    networks : int
        How many the method trains.
    baseline : bool
        Whether the method is somebody else's.
    note : str or None
        What a reader has to know of the method.
    accuracy_mean, accuracy_std : float
        Test accuracy of the last epoch.
    selected_mean, selected_std : float
        Test accuracy at the epoch with the best accuracy on noisy validation labels.
    label_accuracy_mean, label_accuracy_std : float
        Share of training labels that are right after correction.
    issue_auroc_mean, issue_auroc_std, issue_precision_mean, issue_precision_std : float
        Area under the ROC curve, and average precision, of finding the wrong labels.
    noise_rate, estimated_rate_mean, estimated_rate_std : float
        Share of wrong training labels; the method's own estimate of it.
    sample_passes, seconds : float
        Means.
    best, selected_best : bool
        No other method of one network has a higher mean on this data set and noise.
    rival : str or None
        The best baseline of one network on this data set and noise: with the highest mean accuracy.
    difference_mean, difference_error : float
        Accuracy less the rival's, seed by seed: mean and its standard error. NaN for the rival itself.
    """

    dataset: str
    noise: str
    method: str
    seeds: tuple[int, ...]
    networks: int
    baseline: bool
    note: str | None
    accuracy_mean: float
    accuracy_std: float
    selected_mean: float
    selected_std: float
    label_accuracy_mean: float
    label_accuracy_std: float
    issue_auroc_mean: float
    issue_auroc_std: float
    issue_precision_mean: float
    issue_precision_std: float
    noise_rate: float
    estimated_rate_mean: float
    estimated_rate_std: float
    sample_passes: float
    seconds: float
    best: bool = False
    selected_best: bool = False
    rival: str | None = None
    difference_mean: float = math.nan
    difference_error: float = math.nan

    @property
    def label(self) -> str:
        """The method's name as tables show it."""
        return self.method if self.note is None else f"{self.method} ({self.note})"


_RECORDED = {  # row's name: result's name
    "accuracy": "test_accuracy",
    "selected": "selected_accuracy",
    "label_accuracy": "train_label_accuracy",
    "issue_auroc": "issue_auroc",
    "issue_precision": "issue_average_precision",
    "estimated_rate": "estimated_rate",
}
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
        maybe `selected_accuracy`, `train_label_accuracy`, `issue_auroc`, `issue_average_precision`, `noise_rate`,
        `estimated_rate`, `sample_passes`, `seconds`, `networks`, `baseline`, `note`.

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
    return [_with_rival(_with_best(row, rows), rows, groups) for row in rows]


def noise_name(config: Mapping[str, Any]) -> str:
    """Return the spelling of a cell's noise, its rate included; "clean" if there is none."""
    if config["noise"] == "none":
        return "clean"
    rate = config.get("rate")
    return str(config["noise"]) if rate is None else f"{config['noise']}:{rate:g}"


def _comparable(members: list[Record]) -> list[Record]:
    first = members[0]["config"]
    for config in (cell["config"] for cell in members):
        keys = [k for k in {**first, **config} if not k.endswith("seed") and first.get(k) != config.get(k)]
        if keys:
            raise InvalidInputError("cells of one study", got=f"several {', '.join(keys)}", fix="pass one study")
    seeds = [cell["config"]["seed"] for cell in members]
    if len(set(seeds)) < len(seeds):
        raise InvalidInputError("each seed once", got=f"seeds {sorted(seeds)}")
    return members


def _row(dataset: str, noise: str, method: str, members: list[Record]) -> Row:
    results = [cell["result"] for cell in members]

    def recorded(name: str) -> tuple[float, float]:
        return mean_and_std(result[name] for result in results if result.get(name) is not None)

    measured: dict[str, Any] = {}
    for name, source in _RECORDED.items():
        measured[f"{name}_mean"], measured[f"{name}_std"] = recorded(source)
    return Row(
        dataset=dataset,
        noise=noise,
        method=method,
        seeds=tuple(cell["config"]["seed"] for cell in members),
        networks=int(results[0].get("networks", members[0]["config"].get("networks", 1))),
        baseline=bool(results[0].get("baseline", False)),
        note=results[0].get("note"),
        noise_rate=recorded("noise_rate")[0],
        sample_passes=recorded("sample_passes")[0],
        seconds=recorded("seconds")[0],
        **measured,
    )


def _with_best(row: Row, rows: Sequence[Row]) -> Row:
    rivals = [r for r in rows if (r.dataset, r.noise, r.networks) == (row.dataset, row.noise, 1)]
    best = {
        name: row.networks == 1 and getattr(row, name) == _largest(getattr(rival, name) for rival in rivals)
        for name in ("accuracy_mean", "selected_mean")
    }
    return replace(row, best=best["accuracy_mean"], selected_best=best["selected_mean"])


def _largest(values: Iterable[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def _with_rival(row: Row, rows: Sequence[Row], groups: Mapping[tuple[str, str, str], list[Record]]) -> Row:
    place = row.dataset, row.noise
    rivals = [r for r in rows if (r.dataset, r.noise) == place and r.baseline and r.networks == 1]
    rivals = [rival for rival in rivals if not math.isnan(rival.accuracy_mean)]
    if not rivals:
        return row
    rival = max(rivals, key=lambda rival: rival.accuracy_mean).method
    if rival == row.method:
        return replace(row, rival=rival)
    own, others = (
        {cell["config"]["seed"]: cell["result"]["test_accuracy"] for cell in groups[(*place, name)]}
        for name in (row.method, rival)
    )
    mean, std = mean_and_std(own[seed] - others[seed] for seed in own if seed in others)
    error = std / math.sqrt(sum(seed in others for seed in own) or 1)
    return replace(row, rival=rival, difference_mean=mean, difference_error=error)


def study_markdown(title: str, cells: Sequence[Record]) -> str:
    """Return the tables of a study, data set by data set: methods down, noises across."""
    rows = summarise(cells)
    lines = [f"# {title}", "", _PROTOCOL.format(seeds=_span([len(row.seeds) for row in rows]))]
    for dataset in distinct(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        lines += ["", f"## {dataset}", ""]
        if settings := _settings([cell["config"] for cell in cells if cell["config"]["dataset"] == dataset]):
            lines += [f"Settings: {settings}.", ""]
        lines += _markdown_table(_grid(own, "accuracy", costs=True))
        for head, measure in _TABLES:
            known = [row for row in own if not math.isnan(getattr(row, f"{measure}_mean"))]
            methods, noises = ({getattr(row, name) for row in known} for name in ("method", "noise"))
            if shown := [row for row in own if row.method in methods and row.noise in noises]:
                lines += ["", head, "", *_markdown_table(_grid(shown, measure, costs=False))]
    return "\n".join(lines) + "\n"


_TABLES = (
    (
        "Test accuracy at the epoch with the best accuracy on **noisy validation** labels, the last of equals, in %.",
        "selected",
    ),
    (
        "Points of accuracy, last epoch, over the best baseline of one network, which the first line names: mean of the"
        " differences seed by seed ± its standard error. That baseline is chosen by these very figures, in its favour.",
        "difference",
    ),
    ("Right labels of the training set after correction, in %.", "label_accuracy"),
    ("Finding the wrong labels: area under the ROC curve, in %.", "issue_auroc"),
    ("Finding the wrong labels: average precision, in %.", "issue_precision"),
    (
        "Wrong labels of the training set as the run estimates them, in %; the first line has the truth.",
        "estimated_rate",
    ),
)


def _settings(configs: Sequence[Mapping[str, Any]]) -> str:
    named = {"dataset", "noise", "rate", "method", "seed", "networks", "settings", "data", "version"}
    first = configs[0]
    return ", ".join(
        f"{k} {v}"
        for k, v in first.items()
        if k not in named and v is not None and all(config.get(k) == v for config in configs)
    )


def print_table(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print one table a data set: accuracies and costs, the best method of one network in bold green.

    Where there are many noises, only the mean accuracies.
    """
    for dataset in distinct(row.dataset for row in rows):
        own = [replace(row, note=None) for row in rows if row.dataset == dataset]
        many = len({row.noise for row in own}) > _MOST_COLUMNS
        if many:
            own = [replace(row, accuracy_std=math.nan) for row in own]
        head, *body = _grid(own, "accuracy", costs=not many)
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
    lines = [["method", *noises, *columns], *_first_line(rows, measure, noises)]
    for label in distinct(row.label for row in rows):
        own = {row.noise: row for row in rows if row.label == label}
        texts = [label, *(_percent(own.get(noise), measure) for noise in noises)]
        for column in columns:
            values = [_COSTS[column](row) for row in own.values()]
            counted = column in ("seeds", "nets")
            texts.append(_span(values) if counted else _short(mean_and_std(v for v in values if not math.isnan(v))[0]))
        lines.append(texts)
    return lines


def _first_line(rows: Sequence[Row], measure: str, noises: Sequence[str]) -> list[list[str]]:
    """Return what a measure is to be compared with, a line or none."""
    if measure == "difference":
        rivals = {row.noise: str(row.rival) for row in rows}
        return [["(best baseline)", *(rivals[noise] for noise in noises)]]
    if measure == "estimated_rate":
        truth = {row.noise: f"{100 * row.noise_rate:.1f}" for row in rows}
        return [["(truth)", *(truth[noise] for noise in noises)]]
    return []


def _markdown_table(lines: Sequence[Sequence[str]]) -> list[str]:
    head, *body = ["| " + " | ".join(texts) + " |" for texts in lines]
    return [head, "|---" + "|---:" * (len(lines[0]) - 1) + "|", *body]


def _percent(row: Row | None, measure: str) -> str:
    if row is None:
        return "-"
    if measure != "accuracy" and math.isnan(getattr(row, f"{measure}_mean")):
        return "-"
    if measure == "difference":
        mean, error = 100 * row.difference_mean, 100 * row.difference_error
        return f"{mean:+.1f}" if math.isnan(error) else f"{mean:+.1f} ± {error:.1f}"
    mean, std = (100 * getattr(row, f"{measure}_{statistic}") for statistic in ("mean", "std"))
    text = f"{mean:.1f}" if math.isnan(std) else f"{mean:.1f} ± {std:.1f}"
    bold = {"accuracy": row.best, "selected": row.selected_best}.get(measure, False)
    return f"**{text}**" if bold else text


def _span(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return " to ".join(dict.fromkeys(_short(value) for value in (min(known), max(known)))) if known else "-"


def _short(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value / 1e3:.3g} k" if value >= 1e3 else f"{value:.3g}"
