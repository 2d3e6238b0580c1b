"""Learning from several annotators: majority, Dawid-Skene, cleanlab's consensus, and training on all votes.

    python -m benchmarks.crowd                                     # simulated annotators, no files
    python -m benchmarks.crowd --data-dir DIR --datasets crowd     # DIR has crowd.csv, gold.csv, heldout.csv
    python -m benchmarks.crowd --data-dir DIR --datasets segment   # DIR has segment.npz with X and y

Files may lie in a folder of DIR.

Every method sees the same votes; clean labels only score. Labels are scored on the items that have a vote, models on
clean test rows that nobody voted on. The seed draws split, annotators and network; of `crowd`, a file, the network.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.lab.annotators import CROWDS, simulated_votes
from benchmarks.lab.cells import Record
from benchmarks.lab.datasets import load
from benchmarks.lab.experiment import add_cell_options, add_seed_options, new_parser, printed, run_study, seeds_of
from benchmarks.lab.extras import require
from benchmarks.lab.figures import Panel, dots, label_lines, panels
from benchmarks.lab.files import files_digest, read_arrays, read_rows
from benchmarks.lab.methods import QUIET
from benchmarks.lab.networks import initialised, mlp
from benchmarks.lab.report import write_report
from benchmarks.lab.rows import Row, distinct, summarise
from benchmarks.lab.tables import Column, Grid, bold, down, markdown, with_deviation
from noisycorrect import SelfCorrector, Votes, dawid_skene, fit_votes
from noisycorrect.classification import Classification
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Several annotators"
SCORE = "label_accuracy"
METRICS = {
    "label_accuracy": "labels right",
    "label_rarest": "rarest class",
    "label_balanced": "labels, balanced",
    "test_accuracy": "test accuracy",
    "test_balanced": "test, balanced",
}
FILE_SET, FILES = "crowd", ("crowd.csv", "gold.csv", "heldout.csv")
HIDDEN, LR, BATCH, TEST_SHARE, MOST_ROWS, FOLDS = 128, 0.05, 64, 0.3, 1500, 5
_COLOURS = {True: "#D55E00", False: "#7F7F7F"}  # all votes, others

Array = np.ndarray


@dataclass(frozen=True)
class Cell:
    """One training; all that its result depends on, but for the code. `noise`: the crowd; `data`: digest of files."""

    dataset: str
    noise: str
    method: str
    seed: int
    recipe: str
    epochs: int
    data: str


class Data(NamedTuple):
    """Votes on training rows, with what scores them: float32 inputs (N, F), int64 clean labels (N,)."""

    inputs: Array
    clean: Array
    votes: Votes
    test_inputs: Array
    test_clean: Array


class Outcome(NamedTuple):
    """Labels of the items, int64 (N,); classes of the test rows; estimated accuracy of the annotators, or None."""

    labels: Array
    test: Array
    annotators: Array | None = None


# ---------------------------------------------------------------- data


def read_crowd(folder: Path | None) -> Data:
    """Return the crowd table as TF-IDF features, and its votes.

    Raises
    ------
    InvalidInputError
        If a file is missing.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    table, gold, heldout = (read_rows(_found(folder, name)) for name in FILES)
    right = {row["id"]: row["gold"] for row in gold}
    names = sorted(set(right.values()))
    columns = [name for name in table[0] if name.startswith("annotator")]
    votes = Votes.from_table([[row[name] for name in columns] for row in table], classes=names)
    place = {name: code for code, name in enumerate(names)}
    vectors = TfidfVectorizer()
    inputs = vectors.fit_transform([row["text"] for row in table]).toarray().astype(np.float32)
    test = vectors.transform([row["text"] for row in heldout]).toarray().astype(np.float32)
    clean = np.array([place[right[row["id"]]] for row in table])
    return Data(inputs, clean, votes, test, np.array([place[row["label"]] for row in heldout]))


def _found(folder: Path | None, name: str) -> Path:
    """Return where a file lies: in the folder, or in a folder of it."""
    if folder is not None:
        for path in (folder / name, *sorted(folder.glob(f"*/{name}"))):
            if path.is_file():
                return path
    raise InvalidInputError(f"the file {name}", got=f"none in {folder}", fix="pass its folder as --data-dir")


def simulated(name: str, crowd: str, seed: int, folder: Path | None) -> Data:
    """Return a table, standardised, with simulated votes on a part of its rows.

    Raises
    ------
    InvalidInputError
        If there is no such table.
    """
    if name == "digits":
        digits = load("digits")
        inputs = torch.cat([digits.train_inputs, digits.test_inputs]).numpy()
        clean = np.concatenate([digits.train_labels, digits.test_labels])
    else:
        values, labels = read_arrays(_found(folder, f"{name}.npz"))
        inputs, clean = values.astype(np.float32), labels.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(clean))
    rest = round(TEST_SHARE * len(clean))
    test, train = order[:rest], order[rest:][:MOST_ROWS]
    mean, std = inputs[train].mean(0), inputs[train].std(0)
    scaled = (inputs - mean) / np.where(std > 0, std, 1)
    votes = simulated_votes(clean[train], int(clean.max()) + 1, crowd, seed)
    return Data(scaled[train], clean[train], votes, scaled[test], clean[test])


# ---------------------------------------------------------------- methods


def _corrector(cell: Cell, data: Data) -> SelfCorrector:
    task = Classification(data.votes.num_classes, allow_empty_classes=True)
    make = functools.partial(mlp, data.inputs.shape[1], data.votes.num_classes, HIDDEN, depth=1)
    return SelfCorrector(
        initialised(make, cell.seed), task=task, recipe=cell.recipe, epochs=cell.epochs, lr=LR, batch_size=BATCH,
        seed=cell.seed, callbacks=[QUIET],
    )  # fmt: skip


def _classes(model: nn.Module, inputs: Array) -> Array:
    device = next(model.parameters()).device
    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(inputs).to(device)).argmax(1).cpu())


def _all_votes(cell: Cell, data: Data) -> Outcome:
    result = fit_votes(_corrector(cell, data), data.inputs, data.votes)
    return Outcome(result.labels, _classes(result.model, data.test_inputs), result.consensus.accuracy)


def _row_a_vote(cell: Cell, data: Data) -> Outcome:
    votes = data.votes
    result = _corrector(cell, data).fit((data.inputs[votes.item], votes.label))
    return Outcome(_classes(result.model, data.inputs), _classes(result.model, data.test_inputs))


def _network_on(labels: Callable[[Data, int], Array], cell: Cell, data: Data) -> Outcome:
    given = labels(data, cell.seed)
    rows = np.flatnonzero(given >= 0)
    result = _corrector(cell, data).fit((data.inputs[rows], given[rows]))
    return Outcome(given, _classes(result.model, data.test_inputs))


def _logistic_on(labels: Callable[[Data, int], Array], cell: Cell, data: Data) -> Outcome:
    given = labels(data, cell.seed)
    rows = given >= 0
    return Outcome(given, _logistic().fit(data.inputs[rows], given[rows]).predict(data.test_inputs))


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


def _majority(data: Data, seed: int) -> Array:
    return data.votes.majority()


def _dawid_skene(data: Data, seed: int) -> Array:
    return dawid_skene(data.votes).labels


def _cleanlab(data: Data, seed: int) -> Array:
    """Return cleanlab's consensus (CROWDLAB) with five-fold logistic regression on the majority votes."""
    from cleanlab.multiannotator import get_label_quality_multiannotator
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    table, majority = data.votes.table(), data.votes.majority()
    rows = np.flatnonzero(majority >= 0)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    probs = np.zeros((len(rows), data.votes.num_classes))
    present = np.unique(majority[rows])
    probs[:, present] = cross_val_predict(
        _logistic(), data.inputs[rows], majority[rows], cv=folds, method="predict_proba"
    )
    voted = np.where(table[rows] < 0, np.nan, table[rows])
    seen = ~np.isnan(voted).all(0)
    found = get_label_quality_multiannotator(voted[:, seen], probs, verbose=False)["label_quality"]
    labels = np.full(len(table), -1)
    labels[rows] = found["consensus_label"].to_numpy()
    return labels


METHODS: dict[str, Callable[[Cell, Data], Outcome]] = {
    "majority, logistic": functools.partial(_logistic_on, _majority),
    "dawid-skene, logistic": functools.partial(_logistic_on, _dawid_skene),
    "cleanlab, logistic": functools.partial(_logistic_on, _cleanlab),
    "majority, network": functools.partial(_network_on, _majority),
    "dawid-skene, network": functools.partial(_network_on, _dawid_skene),
    "a row a vote, network": _row_a_vote,
    "fit_votes": _all_votes,
}


def run_cell(cell: Cell, folder: Path | None = None) -> dict[str, Any]:
    """Learn from the votes of one crowd with one method, and score labels and model.

    Returns
    -------
    dict
        The `METRICS`; ``votes_an_item``; ``annotator_error``, mean difference of estimated and true accuracy of the
        annotators, where there is an estimate; ``seconds``.
    """
    data = read_crowd(folder) if cell.dataset == FILE_SET else simulated(cell.dataset, cell.noise, cell.seed, folder)
    start = time.perf_counter()
    outcome = METHODS[cell.method](cell, data)
    seconds = time.perf_counter() - start
    voted = data.votes.votes_of_items > 0
    result = {
        **_scores("label", outcome.labels[voted], data.clean[voted]),
        **_scores("test", outcome.test, data.test_clean),
        "votes_an_item": len(data.votes) / data.votes.num_items,
        "seconds": seconds,
    }
    if outcome.annotators is not None:
        right = data.votes.label == data.clean[data.votes.item]
        counts = data.votes.votes_of_annotators
        truth = np.bincount(data.votes.annotator, right, len(counts)) / np.maximum(counts, 1)
        result["annotator_error"] = float(np.abs(outcome.annotators - truth)[counts > 0].mean())
    return result


def _scores(name: str, found: Array, clean: Array) -> dict[str, float]:
    counts = np.bincount(clean)
    recall = np.bincount(clean, found == clean, len(counts))[counts > 0] / counts[counts > 0]
    rarest = recall[counts[counts > 0].argmin()]
    return {
        f"{name}_accuracy": float((found == clean).mean()),
        f"{name}_rarest": float(rarest),
        f"{name}_balanced": float(recall.mean()),
    }


# ---------------------------------------------------------------- cells


def make_cells(arguments: argparse.Namespace) -> list[Cell]:
    """Return the cells that the command line asks for.

    Raises
    ------
    InvalidInputError
        If a data set, a crowd or a method is unknown, a number is out of range, or cleanlab is missing.
    """
    seeds, folder = seeds_of(arguments), arguments.data_dir
    methods = list(METHODS) if arguments.methods is None else arguments.methods.split(";")
    crowds = arguments.crowds.split(",")
    for names, known, what in ((methods, METHODS, "method"), (crowds, CROWDS, "crowd")):
        for name in names:
            if name not in known:
                raise unknown_name(what, name, known)
    if any("cleanlab" in method for method in methods):
        require("cleanlab")
    epochs = whole_number("--epochs", arguments.epochs, least=3)
    places = []
    for dataset in arguments.datasets.split(","):
        files = FILES if dataset == FILE_SET else () if dataset == "digits" else (f"{dataset}.npz",)
        data = files_digest(*(_found(folder, name) for name in files))
        if dataset == FILE_SET:
            read_crowd(folder)
            places.append((dataset, "as collected", data))
        else:
            simulated(dataset, crowds[0], 0, folder)
            places += [(dataset, crowd, data) for crowd in crowds]
    return [
        Cell(dataset, crowd, method, seed, arguments.recipe, epochs, data)
        for dataset, crowd, data in places
        for method in methods
        for seed in seeds
    ]


# ---------------------------------------------------------------- report


def rows_of(records: Sequence[Record]) -> list[Row]:
    """Return the rows of the study."""
    return summarise(records, SCORE, bold=list(METRICS))


def page(records: Sequence[Record]) -> str:
    """Return the page: a table a data set and crowd, methods down."""
    rows = rows_of(records)
    config = rows[0].config
    about = (
        "Labels of the items that have a vote, and a model's classes of clean test rows that nobody voted on: mean and"
        " standard deviation over seeds, in %. The rarest class is that of the clean labels. `logistic` is logistic"
        f" regression on the labels, `network` the recipe `{config['recipe']}` on them (one hidden layer of {HIDDEN},"
        f" {config['epochs']} epochs), `fit_votes` the same recipe on all votes. `a row a vote` takes its"
        " labels from the network alone. Annotators: mean difference of estimated and true accuracy."
    )
    blocks: list[str | Grid] = [f"# {TITLE}", about]
    for place in distinct(_place(row) for row in rows):
        own = [row for row in rows if _place(row) == place]
        votes = own[0].mean("votes_an_item")
        blocks += [f"## {place}", f"{votes:.1f} votes an item, {len(own[0].seeds)} seeds.", _grid(own)]
    return markdown(*blocks)


def _place(row: Row) -> str:
    return f"{row.dataset}, {row.noise}"


def _grid(rows: Sequence[Row]) -> Grid:
    columns: list[Column[Row]] = [("method", lambda row: row.name)]
    for metric, title in METRICS.items():
        columns.append(
            (title, lambda row, metric=metric: bold(with_deviation(row[metric], ".1f", 100), metric in row.best))  # type: ignore[misc]
        )
    columns.append(("annotators", lambda row: with_deviation(row["annotator_error"], ".1f", 100, missing="")))
    columns.append(("seconds", lambda row: f"{row.mean('seconds'):.1f}"))
    return down(rows, columns)


def figure(records: Sequence[Record]) -> Figure:
    """Return dots a seed and a mean a method: labels right and balanced test accuracy, a row of panels a crowd."""
    rows = rows_of(records)
    methods = distinct(row.name for row in rows)
    shown: list[Panel] = [
        (place, functools.partial(_draw, place, metric, methods, records))
        for place in distinct(_place(row) for row in rows)
        for metric in ("label_accuracy", "test_balanced")
    ]
    return panels(shown, 4.5, 0.9 + 0.25 * len(methods), most_across=2, share_labels=True)


def _draw(place: str, metric: str, methods: Sequence[str], records: Sequence[Record], axes: Axes) -> None:
    for line, method in enumerate(methods):
        chosen = [
            record["result"][metric]
            for record in records
            if record["config"]["method"] == method
            and f"{record['config']['dataset']}, {record['config']['noise']}" == place
        ]
        dots(axes, line, [100 * value for value in chosen], _COLOURS[method == "fit_votes"])
    label_lines(axes, methods)
    axes.set_xlabel(f"{METRICS[metric]}, %")


# ---------------------------------------------------------------- command line


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser("crowd", "Learning from several annotators.")
    add = parser.add_argument
    add("--data-dir", type=Path, help="folder of the tables that are not digits")
    add("--datasets", default="digits", help="digits, crowd, or names of .npz tables (default: %(default)s)")
    add("--crowds", default=",".join(CROWDS), help="simulated crowds, with commas (default: %(default)s)")
    add("--methods", help=f"rows, with semicolons: {'; '.join(METHODS)} (default: all)")
    add("--recipe", default="ema", help="how networks are trained (default: %(default)s)")
    add("--epochs", type=int, default=30, help="of each training (default: %(default)s)")
    add_seed_options(parser, 3)
    add_cell_options(parser, "crowd")
    return parser.parse_args(words)


def write(folder: Path, records: Sequence[Record], stem: str) -> str:
    """Write the report, and return its page."""
    text = page(records)
    payload = {"title": TITLE, "summary": [row.plain() for row in rows_of(records)], "cells": list(records)}
    write_report(folder, payload, text, lambda: {"labels": figure(records)}, stem=stem)
    return text


def main(words: Sequence[str] | None = None) -> int:
    """Learn, score, write the report; return the exit status."""
    arguments = parse_arguments(words)
    run = functools.partial(run_cell, folder=arguments.data_dir)
    return run_study(arguments, functools.partial(make_cells, arguments), run, printed(arguments, write))


if __name__ == "__main__":
    sys.exit(main())
