"""From a crowd table to a clean one and a model, as users of three libraries would do it, each in its own process.

    python -m benchmarks.clean --data-dir DIR      # DIR, or a folder of it, has crowd.csv, gold.csv, heldout.csv

``noisycorrect`` is its two commands, ``clean`` and ``predict``; cleanlab and scikit-learn are the few lines that their
guides show, on the same texts (TF-IDF). ``gold.csv`` and the labels of ``heldout.csv`` only score. Seconds are those
of the processor for everything from starting Python to the written files: the machine may have other work.
"""

from __future__ import annotations

import argparse
import csv
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.lab.cells import Record
from benchmarks.lab.experiment import add_cell_options, add_seed_options, new_parser, printed, run_study, seeds_of
from benchmarks.lab.extras import require
from benchmarks.lab.figures import Panel, dots, label_lines, panels
from benchmarks.lab.files import files_digest, read_rows
from benchmarks.lab.report import write_report
from benchmarks.lab.rows import Row, distinct, summarise
from benchmarks.lab.tables import Column, Grid, bold, down, markdown, with_deviation
from noisycorrect.review.issues import detection_scores
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError, unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "A crowd table, cleaned"
SCORE = "label_accuracy"
METRICS = {
    "label_accuracy": "labels right",
    "label_rarest": "rarest class: found",
    "label_rarest_precision": "rarest class: right",
    "label_balanced": "labels, balanced",
    "auroc": "detection AUROC",
    "average_precision": "detection AP",
    "test_accuracy": "test accuracy",
    "test_balanced": "test, balanced",
}
OURS = "noisycorrect clean"
FILES = ("crowd.csv", "gold.csv", "heldout.csv")
FOLDS = 5
_COLOURS = {True: "#D55E00", False: "#7F7F7F"}  # ours, others

Array = np.ndarray


@dataclass(frozen=True)
class Cell:
    """One method with one seed; all that its result depends on, but for the code. `data` is a digest of the files."""

    method: str
    seed: int
    data: str


# ---------------------------------------------------------------- methods, each in a process of its own


def clean_and_predict(folder: Path, out: Path, seed: int) -> None:
    """Run the two commands of noisycorrect."""
    run = [sys.executable, "-m", "noisycorrect.cli"]
    words = ["--text", "text", "--annotators", "annotator_*", "--seed", str(seed), "--out", str(out / "run")]
    cleans = ["clean", str(folder / FILES[0]), *words]
    predicts = ["predict", str(out / "run"), str(folder / FILES[2]), "--out", str(out / "predicted.csv")]
    for command in (cleans, predicts):
        done = subprocess.run([*run, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoisyCorrectError(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
    cleaned = read_rows(out / "run" / "cleaned.csv")
    predicted = read_rows(out / "predicted.csv")
    rows = [(row["given_label"], row["corrected_label"], row["label_quality"]) for row in cleaned]
    _write(out, rows, [row["predicted_label"] for row in predicted])


def _write(out: Path, rows: Sequence[tuple[str, str, Any]], test: Sequence[str]) -> None:
    with (out / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    with (out / "test.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([name] for name in test)


def other(method: str, folder: Path, out: Path, seed: int) -> None:
    """Do what a user of cleanlab or scikit-learn would."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    table, heldout = read_rows(folder / FILES[0]), read_rows(folder / FILES[2])
    columns = [name for name in table[0] if name.startswith("annotator")]
    classes = sorted({row[name] for row in table for name in columns} - {""})
    codes = np.array([[classes.index(row[name]) if row[name] else -1 for name in columns] for row in table])
    voted = np.flatnonzero((codes >= 0).any(1))
    vectorizer = TfidfVectorizer()
    inputs = vectorizer.fit_transform([row["text"] for row in table])[voted]
    test = vectorizer.transform([row["text"] for row in heldout])
    library, _, kind = method.partition(", ")
    balanced = "balanced" in kind
    do = _cleanlab if library == "cleanlab" else _sklearn
    given, labels, quality, predicted = do(inputs, codes[voted], test, len(classes), seed, balanced, "twice" in kind)
    rows: list[tuple[str, str, Any]] = [("", "", "")] * len(table)
    for place, row in enumerate(voted.tolist()):
        rows[row] = (classes[given[place]], classes[labels[place]], float(quality[place]))
    _write(out, rows, [classes[code] for code in predicted])


Answer = tuple[Array, Array, Array, Array]  # given labels, labels, quality of the given ones, classes of the test rows


def _model(balanced: bool) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000, class_weight="balanced" if balanced else None)


def _held_out(inputs: Any, labels: Array, classes: int, seed: int, balanced: bool) -> Array:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    probs = np.zeros((len(labels), classes))
    found = cross_val_predict(_model(balanced), inputs, labels, cv=folds, method="predict_proba")
    probs[:, np.unique(labels)] = found
    return probs


def _majority(codes: Array, classes: int) -> Array:
    counts = np.stack([(codes == code).sum(1) for code in range(classes)], 1)
    return np.asarray((counts + counts.sum(0) / (counts.sum() + 1)).argmax(1))


def _sklearn(inputs: Any, codes: Array, test: Any, classes: int, seed: int, balanced: bool, twice: bool) -> Answer:
    """Return the majority vote as it is, and a logistic regression on it; doubt is what cross-validation says."""
    majority = _majority(codes, classes)
    quality = np.take_along_axis(_held_out(inputs, majority, classes, seed, balanced), majority[:, None], 1)[:, 0]
    return majority, majority, quality, _model(balanced).fit(inputs, majority).predict(test)


def _cleanlab(inputs: Any, codes: Array, test: Any, classes: int, seed: int, balanced: bool, twice: bool) -> Answer:
    """Return CROWDLAB's consensus, and CleanLearning on it; doubt is CROWDLAB's quality of the majority votes.

    `twice` learns held-out probabilities from the consensus once more, as cleanlab's guide on annotators proposes.
    """
    from cleanlab.classification import CleanLearning
    from cleanlab.multiannotator import get_label_quality_multiannotator, get_majority_vote_label

    table = np.where(codes < 0, np.nan, codes)
    labels = get_majority_vote_label(table)
    for _ in range(2 if twice else 1):
        probs = _held_out(inputs, labels, classes, seed, balanced)
        found = get_label_quality_multiannotator(
            table, probs, consensus_method=["best_quality", "majority_vote"], verbose=False
        )["label_quality"]
        labels = found["consensus_label"].to_numpy().astype(int)
    votes = found[[name for name in found if "majority_vote" in name]]
    given = votes[next(name for name in votes if "label" in name)].to_numpy().astype(int)
    quality = votes[next(name for name in votes if "score" in name)].to_numpy()
    model = CleanLearning(_model(balanced), seed=seed).fit(inputs, labels)
    return given, labels, quality, np.asarray(model.predict(test), int)


METHODS: dict[str, Callable[[Path, Path, int], None]] = {
    "scikit-learn, majority": functools.partial(other, "scikit-learn, majority"),
    "scikit-learn, majority balanced": functools.partial(other, "scikit-learn, majority balanced"),
    "cleanlab, consensus": functools.partial(other, "cleanlab, consensus"),
    "cleanlab, consensus balanced": functools.partial(other, "cleanlab, consensus balanced"),
    "cleanlab, consensus twice balanced": functools.partial(other, "cleanlab, consensus twice balanced"),
    OURS: clean_and_predict,
}


# ---------------------------------------------------------------- cells


def find_files(folder: Path | None) -> Path:
    """Return where the three tables lie: in the folder, or in a folder of it.

    Raises
    ------
    InvalidInputError
        If they are nowhere.
    """
    places = [] if folder is None else [folder, *sorted(path for path in folder.glob("*") if path.is_dir())]
    for place in places:
        if all((place / name).is_file() for name in FILES):
            return place
    fix = "pass their folder as --data-dir"
    raise InvalidInputError(f"the files {', '.join(FILES)}", got=f"not all in {folder}", fix=fix)


def run_cell(cell: Cell, folder: Path) -> dict[str, Any]:
    """Run one method in a process of its own, and score what it has written.

    Returns
    -------
    dict
        The `METRICS`, and ``seconds`` of the processor.
    """
    with tempfile.TemporaryDirectory() as out:
        before = os.times()
        words = ["--worker", cell.method, str(folder), out, str(cell.seed)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        subprocess.run([sys.executable, "-m", "benchmarks.clean", *words], check=True, env={**os.environ, **threads})
        after = os.times()
        seconds = after.children_user + after.children_system - before.children_user - before.children_system
        return {**score(folder, Path(out)), "seconds": seconds}


def score(folder: Path, out: Path) -> dict[str, float]:
    """Return how right the written labels, their quality and the predictions are."""
    gold = [row["gold"] for row in read_rows(folder / FILES[1])]
    truth = [row["label"] for row in read_rows(folder / FILES[2])]
    with (out / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with (out / "test.csv").open(encoding="utf-8", newline="") as file:
        test = [row[0] for row in csv.reader(file)]
    voted = [place for place, row in enumerate(rows) if row[0]]
    clean = np.array([gold[place] for place in voted])
    given, labels = (np.array([rows[place][column] for place in voted]) for column in (0, 1))
    quality = np.array([float(rows[place][2]) for place in voted])
    found = detection_scores(quality, given != clean)
    return {
        **_right("label", labels, clean),
        "auroc": found["auroc"],
        "average_precision": found["average_precision"],
        **_right("test", np.array(test), np.array(truth)),
    }


def _right(name: str, found: Array, clean: Array) -> dict[str, float]:
    names, counts = np.unique(clean, return_counts=True)
    recall = np.array([(found[clean == each] == each).mean() for each in names])
    rarest = names[counts.argmin()]
    return {
        f"{name}_accuracy": float((found == clean).mean()),
        f"{name}_rarest": float(recall[counts.argmin()]),
        f"{name}_rarest_precision": float((clean[found == rarest] == rarest).mean())
        if (found == rarest).any()
        else 0.0,
        f"{name}_balanced": float(recall.mean()),
    }


def make_cells(arguments: argparse.Namespace) -> list[Cell]:
    """Return the cells that the command line asks for.

    Raises
    ------
    InvalidInputError
        If a method is unknown, or files are missing.
    NoisyCorrectError
        If cleanlab is needed and missing.
    """
    methods = list(METHODS) if arguments.methods is None else arguments.methods.split(";")
    for name in methods:
        if name not in METHODS:
            raise unknown_name("method", name, METHODS)
    if any("cleanlab" in name for name in methods):
        require("cleanlab")
    place = find_files(arguments.data_dir)
    data = files_digest(*(place / name for name in FILES))
    return [Cell(method, seed, data) for method in methods for seed in seeds_of(arguments)]


# ---------------------------------------------------------------- report


def rows_of(records: Sequence[Record]) -> list[Row]:
    """Return the rows of the study."""
    return summarise(records, SCORE, bold=list(METRICS))


def page(records: Sequence[Record]) -> str:
    """Return the report as Markdown."""
    rows = rows_of(records)
    about = (
        "Labels of the rows that somebody labelled, how well low quality finds wrong majority votes, and a model's"
        " classes of clean rows that nobody labelled: mean and standard deviation over seeds, in %. The rarest class is"
        " that of the clean labels: how many of its rows are found, and how many of those said to be of it are."
        " `balanced` is logistic regression with balanced class weights; `twice` learns from the consensus once more."
        " Seconds of one processor core, from starting Python to the written files; the machine had other work."
    )
    return markdown(f"# {TITLE}", about, _grid(rows))


def _grid(rows: Sequence[Row]) -> Grid:
    columns: list[Column[Row]] = [("method", lambda row: row.name)]
    for metric, title in METRICS.items():
        columns.append(
            (title, lambda row, metric=metric: bold(with_deviation(row[metric], ".1f", 100), metric in row.best))  # type: ignore[misc]
        )
    columns.append(("seconds", lambda row: f"{row.mean('seconds'):.1f}"))
    columns.append(("seeds", lambda row: str(len(row.seeds))))
    return down(rows, columns)


def figure(records: Sequence[Record]) -> Figure:
    """Return dots a seed and a mean a method, a panel a measure."""
    methods = distinct(row.name for row in rows_of(records))
    shown: list[Panel] = [
        (title, functools.partial(_draw, metric, methods, records)) for metric, title in METRICS.items()
    ]
    return panels(shown, 4.5, 0.9 + 0.25 * len(methods), most_across=2, share_labels=True)


def _draw(metric: str, methods: Sequence[str], records: Sequence[Record], axes: Axes) -> None:
    for line, method in enumerate(methods):
        chosen = [record["result"][metric] for record in records if record["config"]["method"] == method]
        dots(axes, line, [100 * value for value in chosen], _COLOURS[method == OURS])
    label_lines(axes, methods)
    axes.set_xlabel(f"{METRICS[metric]}, %")


def write(folder: Path, records: Sequence[Record], stem: str) -> str:
    """Write the report, and return its page."""
    text = page(records)
    payload = {"title": TITLE, "summary": [row.plain() for row in rows_of(records)], "cells": list(records)}
    write_report(folder, payload, text, lambda: {"methods": figure(records)}, stem=stem)
    return text


# ---------------------------------------------------------------- command line


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser("clean", "From a crowd table to a clean one and a model.")
    parser.add_argument("--data-dir", type=Path, help="folder of crowd.csv, gold.csv and heldout.csv")
    parser.add_argument("--methods", help=f"rows, with semicolons: {'; '.join(METHODS)} (default: all)")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    add_seed_options(parser, 3)
    add_cell_options(parser, "clean")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Clean, score, write the report; return the exit status."""
    arguments = parse_arguments(words)
    if arguments.worker is not None:
        method, folder, out, seed = arguments.worker
        METHODS[method](Path(folder), Path(out), int(seed))
        return 0
    run = functools.partial(_run_cell, arguments.data_dir)
    return run_study(arguments, functools.partial(make_cells, arguments), run, printed(arguments, write))


def _run_cell(folder: Path | None, cell: Cell) -> dict[str, Any]:
    return run_cell(cell, find_files(folder))


if __name__ == "__main__":
    sys.exit(main())
