"""The arena's page: regret, harm, coverage and cost, the development and the report half apart."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.arenas.board import BALANCED, SCORE, Board, Harm, coverage_of, harm_of, means, regret_of
from benchmarks.arenas.pictures import pictures
from benchmarks.arenas.sets import HALVES, Entry
from benchmarks.lab.report import StrPath, write_report
from benchmarks.lab.rows import Record, distinct
from benchmarks.lab.tables import Column, Grid, bold, down, markdown, show

ONE_NETWORK = ("published", "self-correction")
_KINDS = (*ONE_NETWORK, "two networks", "control", "no network")
_ABOUT = (
    "Each **place** is one noise of one set with one network, one preparation of the inputs, one optimizer, one seed;"
    " all rows of a place make the same sample passes, are run with their defaults, and are scored on right test"
    " labels after the **last epoch**. **Regret** is the best published one-network method of the place less this row,"
    " in points of test accuracy: below 0 it is ahead of all of them. That method is chosen by the very figures, in its"
    " favour. A **win** is a place in which a row is at most one binomial standard error behind it. Rows of two"
    " networks, the control and rows without a network are shown for scale, and nobody's regret is reckoned against"
    " them. A run that diverged or refused the data counts as guessing."
)


def half_of(place: dict[str, Any]) -> str:
    """Return the half that a place belongs to."""
    return Entry(place["dataset"]).half


def halves(board: Board) -> dict[str, Board]:
    """Return the board of each half that has places."""
    parts = {half: board.where(lambda place, half=half: half_of(place) == half) for half in HALVES}  # type: ignore[misc]
    return {half: part for half, part in parts.items() if part.places}


def ordered(board: Board) -> list[int]:
    """Return the rows kind by kind, the least mean regret first."""
    mean = means(board.regret)
    return sorted(range(len(board.names)), key=lambda r: (_KINDS.index(board.kinds[r]), np.nan_to_num(mean[r], nan=9)))


def points(value: float, form: str = ".1f") -> str:
    """Return a share as points, "-" for NaN.

    Examples
    --------
    >>> points(0.0123), points(-0.0001), points(math.nan)
    ('1.2', '0.0', '-')
    """
    return "-" if math.isnan(value) else f"{round(100 * value, 1) + 0.0:{form}}"


def main_grid(board: Board) -> Grid:
    """Return the table of a half: regret, wins, accuracies, what went wrong."""
    found, accuracy, balanced = regret_of(board), means(board.values(SCORE)), means(board.values(BALANCED))
    refused = [sum(bool((results[r] or {}).get("refused")) for results in board.results) for r in range(len(found))]
    warned = board.values("warned")
    diverged, vanished = np.nansum(board.values("diverged"), axis=0), (board.values("vanished") > 0).sum(axis=0)
    rivals = [r for r, kind in enumerate(board.kinds) if kind in ONE_NETWORK]
    least = min((found[r].mean for r in rivals), default=math.nan)
    columns: list[Column[int]] = [
        ("row", lambda r: board.names[r]),
        ("kind", lambda r: board.kinds[r]),
        ("regret", lambda r: bold(points(found[r].mean), r in rivals and found[r].mean == least)),
        ("90 %", lambda r: points(found[r].percentile)),
        ("worst", lambda r: points(found[r].worst)),
        ("wins, %", lambda r: points(found[r].wins, ".0f")),
        ("accuracy", lambda r: points(accuracy[r])),
        ("balanced", lambda r: points(balanced[r])),
        ("diverged", lambda r: f"{diverged[r]:.0f}"),
        ("refused", lambda r: str(refused[r])),
        ("class lost", lambda r: str(vanished[r])),
        ("places", lambda r: str(found[r].places)),
    ]
    if not np.isnan(warned).all():  # cells of earlier versions do not tell
        columns.insert(8, ("warned", lambda r: f"{np.nansum(warned[:, r]):.0f}"))
    return down(ordered(board), columns, left=(0, 1))


def parts_of(board: Board, name: str) -> dict[str, Board]:
    """Return the board of each level of a factor."""
    return {level: board.where(lambda place, at=level: str(place[name]) == at) for level in board.levels(name)}  # type: ignore[misc]


def by_factor(board: Board, name: str) -> Grid:
    """Return the mean regret of each row at each level of a factor; the least of one network is the best."""
    parts = parts_of(board, name)
    columns = [dict(zip(part.names, means(part.regret).tolist(), strict=True)) for part in parts.values()]
    rivals = [row for row, kind in zip(board.names, board.kinds, strict=True) if kind in ONE_NETWORK]
    least = [min((column[row] for row in rivals if row in column), default=math.nan) for column in columns]
    lines = [["row", *parts], ["(places)", *(str(len(part.places)) for part in parts.values())]]
    for row in (board.names[r] for r in ordered(board)):
        own = [column.get(row, math.nan) for column in columns]
        texts = [bold(points(v), row in rivals and v == m) for v, m in zip(own, least, strict=True)]
        lines.append([row, *texts])
    return Grid(lines)


def harm_grid(board: Board) -> Grid | None:
    """Return what each row does to clean labels, in points against plain training."""
    found = harm_of(board)
    known = [(board.names[r], found[board.names[r]]) for r in ordered(board) if board.names[r] in found]
    columns: list[Column[tuple[str, Harm]]] = [
        ("row", lambda pair: pair[0]),
        ("mean", lambda pair: points(pair[1].mean, "+.1f")),
        ("worst", lambda pair: points(pair[1].worst, "+.1f")),
        ("at most 0.5 behind, %", lambda pair: points(pair[1].harmless, ".0f")),
        ("places", lambda pair: str(pair[1].places)),
    ]
    return down(known, columns) if known else None


def labels_grid(board: Board) -> Grid | None:
    """Return how well rows find and mend wrong labels."""
    measures = ("issue_auroc", "issue_average_precision", "train_label_accuracy")
    values = [means(board.values(measure)) for measure in measures]
    known = [r for r in ordered(board) if not all(math.isnan(v[r]) for v in values)]
    lines = [[board.names[r], *(points(v[r]) for v in values)] for r in known]
    given = points(float(np.nanmean(1 - board.values("noise_rate"))))
    head = ["row", "AUROC", "average precision", f"right labels (given: {given})"]
    return Grid([head, *lines]) if lines else None


def coverage_grid(board: Board) -> Grid | None:
    """Return how often the interval for the noise rate holds the truth, noise by noise."""
    whole = coverage_of(board)
    if not whole:
        return None
    parts = {noise: coverage_of(part) for noise, part in parts_of(board, "noise").items()}
    lines = [["row", "all", *parts, "mean width", "runs"]]
    for name, own in whole.items():
        shares = [points(part[name].share, ".0f") if name in part else "-" for part in parts.values()]
        lines.append([name, points(own.share, ".0f"), *shares, points(own.width), str(own.runs)])
    return Grid(lines)


def cost_grid(board: Board) -> Grid:
    """Return seconds a run, and sample passes."""
    seconds, processor = board.values("seconds"), board.values("cpu_seconds")
    run, own, passes = (means(values) for values in (seconds, processor, board.values("sample_passes") / 1000))
    columns: list[Column[int]] = [
        ("row", lambda r: board.names[r]),
        ("s/run", lambda r: f"{run[r]:.1f}"),
        ("CPU s/run", lambda r: f"{own[r]:.1f}"),
        ("CPU s in all", lambda r: f"{np.nansum(processor[:, r]):.0f}"),
        ("passes, thousands", lambda r: "-" if math.isnan(passes[r]) else f"{passes[r]:.0f}"),
    ]
    return down(ordered(board), columns)


_FACTORS = {
    "noise": "By noise", "dataset": "By set", "network": "By network", "preparation": "By preparation",
    "optimizer": "By optimizer",
}  # fmt: skip


_FURTHER: dict[str, Callable[[Board], Grid | None]] = {
    "**Do no harm**: clean labels, at least 1,000 training rows; points of test accuracy against `ce`.": harm_grid,
    "Finding wrong labels where there are any, and right labels after correction, in %.": labels_grid,
    "Share of runs whose 95 % interval of the noise rate holds the true rate, in %.": coverage_grid,
}


def page(title: str, board: Board, left: Sequence[str] = ()) -> str:
    """Return the page of a board; `left` says what is not in it."""
    blocks: list[str | Grid] = [f"# {title}", _ABOUT]
    if left:
        blocks.append("Left out: " + "; ".join(left) + ".")
    for half, part in halves(board).items():
        sets = ", ".join(part.levels("dataset"))
        blocks += [
            f"## The {half} half",
            f"{len(part.places)} places on {sets}.",
            main_grid(part),
        ]
        for factor, head in _FACTORS.items():
            blocks += [f"{head}, mean regret in points.", by_factor(part, factor)]
        for head, make in _FURTHER.items():
            if (grid := make(part)) is not None:
                blocks += [head, grid]
    blocks += ["## Cost", cost_grid(board)]
    return markdown(*blocks)


def compact(records: Sequence[Record]) -> dict[str, Any]:
    """Return cells as a table for a JSON file: recipes once, each cell a line of JSON in a text.

    Thousands of cells would fill megabytes otherwise. Verdicts stay in the cells' own files.

    Examples
    --------
    >>> cell = {"config": {"method": "ce", "recipe": "Recipe()", "seed": 0}, "result": {"test_accuracy": 0.5}}
    >>> found = compact([cell])
    >>> found["recipes"], found["columns"], found["cells"]
    ({'ce': 'Recipe()'}, [['method', 'seed'], ['test_accuracy']], ['["ce", 0, 0.5]'])
    >>> expanded(found)
    [{'config': {'method': 'ce', 'seed': 0}, 'result': {'test_accuracy': 0.5}}]
    """
    configs = distinct(name for record in records for name in record["config"] if name != "recipe")
    results = distinct(name for record in records for name in record["result"] if name != "verdict")
    cells = [
        [*(r["config"].get(name) for name in configs), *(_short(r["result"].get(name)) for name in results)]
        for r in records
    ]
    recipes = {record["config"]["method"]: record["config"].get("recipe") for record in records}
    return {"recipes": recipes, "columns": [configs, results], "cells": [json.dumps(line) for line in cells]}


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(entry) for entry in value]
    return round(value, 6) if isinstance(value, float) else value


def expanded(found: Mapping[str, Any]) -> list[Record]:
    """Return the cells of :func:`compact`."""
    configs, results = found["columns"]
    return [
        {
            "config": dict(zip(configs, line, strict=False)),
            "result": {k: v for k, v in zip(results, line[len(configs) :], strict=True) if v is not None},
        }
        for line in map(json.loads, found["cells"])
    ]


def rendered(found: Mapping[str, Any]) -> str:
    """Return the page of a report's JSON file."""
    return page(found["title"], Board.of(expanded(found)), found["left_out"])


def write_arena(
    folder: StrPath, records: Sequence[Record], *, title: str, stem: str, left: Sequence[str] = ()
) -> Board:
    """Write the report of finished cells into a folder, and return their board."""
    table = compact(records)
    board = Board.of(expanded(table))
    regret = {
        half: {name: own._asdict() for name, own in zip(part.names, regret_of(part), strict=True)}
        for half, part in halves(board).items()
    }
    payload = {"title": title, "left_out": list(left), "regret": regret, **table}
    write_report(folder, payload, rendered(payload), lambda: pictures(halves(board)), stem=stem)
    return board


def print_board(board: Board, console: Console) -> None:
    """Print the table of each half."""
    for half, part in halves(board).items():
        show(main_grid(part), console, f"{half} half: regret in points of test accuracy")
