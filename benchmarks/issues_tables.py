"""Finding wrong labels from features alone: neighbours and a linear head against cleanlab, over public tables.

    python -m benchmarks.issues_tables --data-dir DIR
    python -m benchmarks.issues_tables --sets digits,wine --noise symmetric:0.3

DIR holds one `.npz` a table: `X` (N, F) as published, `y` (N,) 0..K-1. digits and wine come with scikit-learn. cleanlab
ranks by probabilities of a logistic regression on standardised features, cross-validated over the very folds that
`evidence_from_features` uses. Settings were chosen on the development half; the report half judges.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.lab.cells import Record
from benchmarks.lab.experiment import add_cell_options, add_seed_options, new_parser, printed, run_study, seeds_of
from benchmarks.lab.extras import require
from benchmarks.lab.files import files_digest, read_arrays
from benchmarks.lab.report import write_report
from benchmarks.lab.rows import distinct
from benchmarks.lab.tables import Column, Grid, down, markdown
from noisycorrect import evidence_from_features, noise
from noisycorrect.features.inputs import stratified_folds
from noisycorrect.review.issues import detection_scores, label_quality
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name

TITLE = "Finding wrong labels from features"
DEVELOPMENT = ("digits", "penbased", "vehicle", "phoneme", "contraceptive", "wdbc", "led7digit")
REPORT = ("letter", "segment", "magic", "ring", "marketing", "mammographic", "wine")
HALVES = {"report half": REPORT, "development half": DEVELOPMENT}
NOISES = ("symmetric:0.3", "pairflip:0.3", "next:0.3", "instance:0.3")
FOLDS = 5
RIVALS = ("cleanlab, self-confidence", "cleanlab, normalized margin")
OURS = "evidence"
_BY_SKLEARN = ("digits", "wine")

Labels = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """One noisy table on which all methods rank the labels; all that its result depends on, but for the code.

    `imbalance` is the size of the last class to the first; `data` a digest of the table's file, if it has one.
    """

    dataset: str
    noise: str
    seed: int
    rows: int
    imbalance: float
    data: str


def run_cell(cell: Cell, folder: str | None = None) -> dict[str, Any]:
    """Rank the labels of one noisy table with every method.

    Returns
    -------
    dict
        ``methods``, by name: ``auroc`` and ``average_precision`` of all labels, ``rare_auroc`` among the labels of the
        rarest class (None if they are all right, or all wrong), ``rare_accused``, the share of the right labels of that
        class that are called wrong, ``accuracy`` of the labels after those called wrong were replaced, ``seconds``. And
        ``noise_rate``, ``rare_size``.
    """
    features, clean = table(cell, folder)
    classes = int(clean.max()) + 1
    given = noisy_labels(cell.noise, features, clean, classes, cell.seed)
    rarest = int(np.bincount(clean, minlength=classes).argmin())
    found: dict[str, Any] = {}
    for name, (quality, cleaned, seconds) in _rankings(features, given, classes, cell.seed).items():
        found[name] = {**_scores(quality, cleaned, given, clean, rarest), "seconds": seconds}
    changed = given != clean
    return {"noise_rate": float(changed.mean()), "rare_size": int((clean == rarest).sum()), "methods": found}


def _scores(quality: Values, cleaned: Labels, given: Labels, clean: Labels, rarest: int) -> dict[str, Any]:
    changed = given != clean
    scores = detection_scores(quality, changed)
    own, right = given == rarest, (given == rarest) & ~changed
    mixed = 0 < changed[own].sum() < own.sum()
    return {
        "auroc": scores["auroc"],
        "average_precision": scores["average_precision"],
        "rare_auroc": detection_scores(quality[own], changed[own])["auroc"] if mixed else None,
        "rare_accused": float((cleaned != given)[right].mean()) if right.any() else None,
        "accuracy": float((cleaned == clean).mean()),
    }


def _rankings(features: Values, given: Labels, classes: int, seed: int) -> dict[str, tuple[Values, Labels, float]]:
    """Return quality (N,), cleaned labels (N,) and seconds by method."""
    import torch

    start = time.perf_counter()
    probs = _cross_validated(features, given, classes, seed)
    cleaned = _cleaned_by_cleanlab(given, probs)
    seconds = time.perf_counter() - start
    found = {name: (_by_cleanlab(given, probs, name), cleaned, seconds) for name in RIVALS}
    start = time.perf_counter()
    evidence = evidence_from_features(features, given, class_names=range(classes), folds=FOLDS, seed=seed)
    quality = evidence.label_quality()
    seconds = time.perf_counter() - start
    found[OURS] = quality.astype(np.float64), evidence.labels, seconds
    parts = {"self-confidence": evidence.probs, "neighbours": evidence.neighbor_probs, "head": evidence.head_probs}
    for name, own in parts.items():
        score = "self-confidence" if name == "self-confidence" else "margin"
        values = label_quality(torch.from_numpy(given), torch.from_numpy(own), score=score).double().numpy()
        # Alone, an opinion calls every label wrong that is not its most probable class.
        labels = evidence.labels if name == "self-confidence" else own.argmax(1)
        label = f"{OURS}, self-confidence" if name == "self-confidence" else f"{name} alone"
        found[label] = values, labels, seconds
    return found


def _cross_validated(features: Values, given: Labels, classes: int, seed: int) -> Values:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probs = np.zeros((len(given), classes))
    fold = stratified_folds(given, FOLDS, np.random.default_rng(seed))
    for own in range(FOLDS):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(features[fold != own], given[fold != own])
        held_out = np.flatnonzero(fold == own)
        probs[np.ix_(held_out, model.classes_)] = model.predict_proba(features[held_out])
    return probs


def _by_cleanlab(given: Labels, probs: Values, name: str) -> Values:
    from cleanlab.rank import get_label_quality_scores

    method = name.removeprefix("cleanlab, ").replace(" ", "_").replace("-", "_")
    return np.asarray(get_label_quality_scores(given, probs, method=method), np.float64)


def _cleaned_by_cleanlab(given: Labels, probs: Values) -> Labels:
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that it would have all labels removed of
        wrong = find_label_issues(given, probs, n_jobs=1)
    return np.where(wrong, probs.argmax(1), given)


# ---------------------------------------------------------------- data


def table(cell: Cell, folder: str | None = None) -> tuple[Values, Labels]:
    """Return the features (N, F) and right labels (N,) of a cell's table: so many rows at random, maybe imbalanced.

    Of class k of K `imbalance` ** (k / (K - 1)) times the smallest class's rows are kept (Cui et al. 2019), at least 8.

    Raises
    ------
    InvalidInputError
        If there is no such table.
    """
    features, labels = _read(cell.dataset, folder)
    order = np.random.default_rng(0).permutation(len(labels))[: cell.rows]
    if cell.imbalance < 1:
        classes = int(labels.max()) + 1
        smallest = np.bincount(labels[order], minlength=classes).min()
        sizes = np.maximum(np.rint(smallest * cell.imbalance ** (np.arange(classes) / (classes - 1))), 8).astype(int)
        order = np.concatenate([order[labels[order] == k][: sizes[k]] for k in range(classes)])
    order = np.sort(order)
    return features[order], labels[order]


def _read(name: str, folder: str | None) -> tuple[Values, Labels]:
    if name in _BY_SKLEARN:
        from sklearn import datasets

        values, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
        return np.asarray(values, np.float64), np.asarray(labels, np.int64)
    values, labels = read_arrays(_files(name, folder)[0])
    return values.astype(np.float64), labels.astype(np.int64)


def _files(name: str, folder: str | None) -> list[Path]:
    """Return the file of a table, nothing of one that scikit-learn has."""
    if name in _BY_SKLEARN:
        return []
    if folder is None:
        raise InvalidInputError(f"the folder of {name}.npz", got="none", fix="pass --data-dir, or --sets digits,wine")
    path = Path(folder) / f"{name}.npz"
    if not path.is_file():
        raise InvalidInputError(f"a file {path}", got="none", fix="pass the folder of the tables as --data-dir")
    return [path]


def noisy_labels(spelling: str, features: Values, clean: Labels, classes: int, seed: int) -> Labels:
    """Return noisy labels; "next:RATE" turns that share of every second class, 0, 2, ..., into the class after it."""
    name, _, rate = spelling.partition(":")
    model: noise.NoiseModel = (
        noise.Asymmetric(float(rate), {k: k + 1 for k in range(0, classes - 1, 2)})
        if name == "next"
        else noise.parse(spelling)
    )
    deviation = features.std(0)
    inputs = (features - features.mean(0)) / np.where(deviation > 0, deviation, 1)
    labels: Labels = model.apply(clean, num_classes=classes, seed=seed, inputs=inputs.astype(np.float32)).labels
    return labels


# ---------------------------------------------------------------- cells


def make_cells(arguments: argparse.Namespace) -> list[Cell]:
    """Return the cells that the command line asks for.

    Raises
    ------
    InvalidInputError
        If a set or a noise is unknown, a number is out of range, or cleanlab is missing.
    """
    require("cleanlab")
    names, known = arguments.sets.split(","), [*DEVELOPMENT, *REPORT]
    for name in names:
        if name not in known:
            raise unknown_name("table", name, known)
    for spelling in arguments.noise.split(","):
        if not spelling.startswith("next:"):
            noise.parse(spelling)
    imbalances = [float(word) for word in arguments.imbalance.split(",")]
    for value in imbalances:
        finite_number("--imbalance", value, above=1e-3, below=1.001, fix="1 is none, 0.1 a tenth in the last class")
    rows = whole_number("--rows", arguments.rows, least=100)
    digests = {name: files_digest(*_files(name, arguments.data_dir)) for name in names}
    cells = [
        Cell(name, spelling, seed, rows, imbalance, digests[name])
        for name in names
        for imbalance in imbalances
        for spelling in arguments.noise.split(",")
        for seed in seeds_of(arguments)
    ]
    for cell in {cell.dataset: cell for cell in cells}.values():
        table(cell, arguments.data_dir)
    return cells


# ---------------------------------------------------------------- report


def page(records: Sequence[Record]) -> str:
    """Return the page: tables of means over cells, a half of the sets and an imbalance each, then set by set."""
    config = records[0]["config"]
    blocks: list[str | Grid] = [
        f"# {TITLE}",
        f"Public tables, at most {config['rows']:,} rows each, with injected noise (`next`: every second class into the"
        " next one). Means over the cells set x noise x seed. Wins: cells in which AUROC is above that of both rows of"
        " cleanlab; worst: least difference to the better of them. Rarest class: AUROC among the labels of that class,"
        " and the share of its right labels that are called wrong. Label accuracy after those called wrong are"
        " replaced: by cleanlab's `find_label_issues` and the most probable class, by `FeatureEvidence.labels`; by a"
        " part alone wherever its most probable class is another. Seconds are wall clock on a busy machine."
        " Settings were chosen on the development half.",
    ]
    for half, names in HALVES.items():
        for imbalance in dict.fromkeys(float(record["config"]["imbalance"]) for record in records):
            own = [r for r in records if r["config"]["dataset"] in names and r["config"]["imbalance"] == imbalance]
            if own:
                kind = "as published" if imbalance == 1 else f"last class {imbalance:g} of the first"
                wrong = np.mean([record["result"]["noise_rate"] for record in own])
                blocks += [
                    f"## {half}, {kind}: {len(own)} cells, {100 * wrong:.1f} % of the labels wrong",
                    _summary(own),
                ]
    return markdown(*blocks, "## AUROC and average precision by set", _by_set(records))


def _of(records: Sequence[Record], method: str, measure: str) -> Values:
    values = [record["result"]["methods"][method][measure] for record in records]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _mean(values: Values) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _summary(records: Sequence[Record]) -> Grid:
    best = np.max([_of(records, name, "auroc") for name in RIVALS], 0)
    columns: list[Column[str]] = [("method", str)]
    for measure, title in (
        ("auroc", "AUROC"),
        ("average_precision", "average precision"),
        ("rare_auroc", "rarest class: AUROC"),
        ("rare_accused", "right, called wrong"),
        ("accuracy", "label accuracy"),
    ):
        columns.append((title, functools.partial(_shown, records, measure)))
    columns += [
        ("wins", lambda name: "" if name in RIVALS else f"{int((_of(records, name, 'auroc') > best).sum())}"),
        ("worst", lambda name: "" if name in RIVALS else f"{(_of(records, name, 'auroc') - best).min():+.3f}"),
        ("seconds", lambda name: f"{_mean(_of(records, name, 'seconds')):.1f}"),
    ]
    return down(list(records[0]["result"]["methods"]), columns)


def _shown(records: Sequence[Record], measure: str, name: str) -> str:
    return f"{_mean(_of(records, name, measure)):.3f}"


def _by_set(records: Sequence[Record]) -> Grid:
    def members(name: str) -> list[Record]:
        return [record for record in records if record["config"]["dataset"] == name]

    def both(method: str) -> Callable[[str], str]:
        return lambda name: " / ".join(
            f"{_mean(_of(members(name), method, measure)):.3f}" for measure in ("auroc", "average_precision")
        )

    shown = (RIVALS[1], OURS, "neighbours alone", "head alone")
    columns: list[Column[str]] = [("set", str), *((method, both(method)) for method in shown)]
    return down(distinct(record["config"]["dataset"] for record in records), columns)


# ---------------------------------------------------------------- command line


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser("issues_tables", "How well wrong labels are found from features, against cleanlab.")
    add = parser.add_argument
    add("--data-dir", help="folder of the tables, one .npz each")
    add("--sets", default=",".join([*DEVELOPMENT, *REPORT]), help="tables, with commas (default: all)")
    add("--noise", default=",".join(NOISES), help="noise models, with commas (default: %(default)s)")
    add("--imbalance", default="1,0.1", help="size of the last class to the first's (default: %(default)s)")
    add("--rows", type=int, default=5000, help="at most so many rows of a table (default: %(default)s)")
    add_seed_options(parser, 1)
    add_cell_options(parser, "issues_tables")
    return parser.parse_args(words)


def write(folder: Path, records: Sequence[Record], stem: str) -> str:
    """Write the report, and return its page."""
    text = page(records)
    write_report(folder, {"title": TITLE, "cells": list(records)}, text, stem=stem)
    return text


def main(words: Sequence[str] | None = None) -> int:
    """Rank, score, write the report; return the exit status."""
    arguments = parse_arguments(words)
    run = functools.partial(run_cell, folder=arguments.data_dir)
    return run_study(arguments, functools.partial(make_cells, arguments), run, printed(arguments, write))


if __name__ == "__main__":
    sys.exit(main())
