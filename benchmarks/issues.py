"""Finding wrong labels: one run of self-correction against cleanlab, which needs predictions of five trainings.

    python -m benchmarks.issues
    python -m benchmarks.issues --noise symmetric:0.3 --seeds 1 --methods cleanlab-logistic,paper

Every method ranks the same noisy labels by quality; clean labels only score. cleanlab's rows rank by its label quality
score of probabilities from five-fold cross-validation: of logistic regression, and of the network that self-correction
trains, with the same settings in every fold.
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
from numpy.typing import NDArray

from benchmarks.lab.cells import Record, fields_from
from benchmarks.lab.datasets import Benchmark, load
from benchmarks.lab.experiment import add_cell_options, add_seed_options, new_parser, printed, run_study, seeds_of
from benchmarks.lab.extras import require
from benchmarks.lab.figures import Panel, dots, label_lines, panels
from benchmarks.lab.methods import Training, correcting_names, fit
from benchmarks.lab.networks import build
from benchmarks.lab.protocol import noise_model
from benchmarks.lab.report import write_report
from benchmarks.lab.rows import Row, distinct, summarise
from benchmarks.lab.suites import SETTINGS
from benchmarks.lab.tables import Column, Grid, down, markdown, with_deviation
from noisycorrect import noise
from noisycorrect.result import CorrectionResult
from noisycorrect.review.issues import SCORES, detection_scores
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Finding wrong labels"
FOLDS = 5
CLEANLAB_SCORES = dict(zip(SCORES, ("self_confidence", "normalized_margin"), strict=True))
METRICS = {"auroc": "AUROC", "average_precision": "average precision", "precision_at_errors": "precision at errors"}
_NOISES, _SEEDS, _RECIPES = "symmetric:0.3,pairflip:0.3", 5, "paper,robust"
_COLOURS = {True: "#7F7F7F", False: "#D55E00"}  # cleanlab, self-correction

Labels = NDArray[np.int64]
Probs = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """One ranking; all that its result depends on, but for the code.

    `epochs`, `lr` and `batch_size` are those of a training.
    """

    dataset: str
    noise: str
    method: str
    seed: int
    score: str
    epochs: int
    lr: float
    batch_size: int
    network: str
    subset: int | None


class Ranking(NamedTuple):
    """Quality of each label, (N,); sample passes, None of what is no network; estimated share of wrong labels."""

    quality: Probs
    sample_passes: int | None
    estimated_rate: float


def run_cell(cell: Cell) -> dict[str, Any]:
    """Rank the labels of one noisy data set with one method, and score the ranking.

    Returns
    -------
    dict
        The scores of :func:`noisycorrect.review.issues.detection_scores`; ``noise_rate``, the share of wrong labels,
        and ``estimated_rate``, what the method thinks it is; ``sample_passes``; ``seconds``.
    """
    data = load(cell.dataset, subset=cell.subset, seed=cell.seed)
    given = noise_model(cell.noise, data).apply(
        data.train_labels, num_classes=data.num_classes, seed=cell.seed, inputs=data.train_inputs
    ).labels  # fmt: skip
    start = time.perf_counter()
    ranking = _RANKINGS.get(cell.method, _self_correction)(cell, data, given)
    seconds = time.perf_counter() - start
    changed = given != data.train_labels
    return {
        **detection_scores(ranking.quality, changed),
        "noise_rate": float(changed.mean()),
        "estimated_rate": ranking.estimated_rate,
        "sample_passes": ranking.sample_passes,
        "seconds": seconds,
    }


# ---------------------------------------------------------------- methods


def _self_correction(cell: Cell, data: Benchmark, given: Labels) -> Ranking:
    result = fit(cell.method, _training(cell, data, data.train_inputs, given, cell.seed))
    assert isinstance(result, CorrectionResult)
    quality = result.label_quality(score=cell.score).astype(np.float64)
    return Ranking(quality, result.sample_passes, result.estimate_noise().rate)


def _cleanlab_logistic(cell: Cell, data: Benchmark, given: Labels) -> Ranking:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inputs = data.train_inputs.flatten(1).double().numpy()

    def predict(train: Labels, held_out: Labels, _: int) -> tuple[Probs, int]:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(inputs[train], given[train])
        probs = np.zeros((len(held_out), data.num_classes))
        probs[:, model.classes_] = model.predict_proba(inputs[held_out])
        return probs, 0

    probs, _ = _cross_validated(predict, given, data.num_classes, cell.seed)
    return _cleanlab(probs, given, cell.score, None)


def _cleanlab_network(cell: Cell, data: Benchmark, given: Labels) -> Ranking:
    def predict(train: Labels, held_out: Labels, fold: int) -> tuple[Probs, int]:
        inputs = data.train_inputs[torch.from_numpy(train)]
        result = fit("ce", _training(cell, data, inputs, given[train], FOLDS * cell.seed + fold))
        device = next(result.model.parameters()).device
        with torch.no_grad():
            logits = result.model(data.train_inputs[torch.from_numpy(held_out)].to(device)).cpu()
        return logits.double().softmax(1).numpy(), result.sample_passes + len(held_out)

    probs, passes = _cross_validated(predict, given, data.num_classes, cell.seed)
    return _cleanlab(probs, given, cell.score, passes)


_RANKINGS: dict[str, Callable[[Cell, Benchmark, Labels], Ranking]] = {
    "cleanlab-logistic": _cleanlab_logistic,
    "cleanlab-network": _cleanlab_network,
}


def _training(cell: Cell, data: Benchmark, inputs: torch.Tensor, given: Labels, seed: int) -> Training:
    network = build(cell.network, data, seed)
    return Training(network, inputs, given, data.num_classes, cell.epochs, cell.lr, cell.batch_size, seed)


def _cross_validated(
    predict: Callable[[Labels, Labels, int], tuple[Probs, int]], given: Labels, classes: int, seed: int
) -> tuple[Probs, int]:
    """Return held-out probabilities (N, K), and the sample passes of all folds."""
    from sklearn.model_selection import StratifiedKFold

    probs, passes = np.empty((len(given), classes)), 0
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(given, given)
    for fold, (train, held_out) in enumerate(folds):
        probs[held_out], more = predict(train, held_out, fold)
        passes += more
    return probs, passes


def _cleanlab(probs: Probs, given: Labels, score: str, passes: int | None) -> Ranking:
    from cleanlab.count import num_label_issues
    from cleanlab.rank import get_label_quality_scores

    quality = get_label_quality_scores(given, probs, method=CLEANLAB_SCORES[score])
    return Ranking(np.asarray(quality, np.float64), passes, float(num_label_issues(given, probs)) / len(given))


# ---------------------------------------------------------------- cells


def make_cells(arguments: argparse.Namespace) -> list[Cell]:
    """Return the cells that the command line asks for.

    Raises
    ------
    InvalidInputError
        If a data set, a noise, a method or a recipe is unknown, a number is out of range, or cleanlab is missing.
    """
    seeds = seeds_of(arguments)
    if arguments.dataset not in SETTINGS:
        raise unknown_name("data set", arguments.dataset, SETTINGS)
    usual = SETTINGS[arguments.dataset]
    methods = _methods(arguments)
    data = load(arguments.dataset, subset=arguments.subset)
    spellings = [str(noise.parse(spelling)) for spelling in arguments.noise.split(",")]
    for spelling in spellings:
        noise_model(spelling, data)
    epochs = usual.epochs if arguments.epochs is None else whole_number("--epochs", arguments.epochs, least=3)
    common = fields_from(Cell, usual) | {"score": arguments.score, "epochs": epochs, "subset": arguments.subset}
    return [
        Cell(arguments.dataset, spelling, method, seed, **common)
        for seed in seeds
        for spelling in spellings
        for method in methods
    ]


def _methods(arguments: argparse.Namespace) -> list[str]:
    asked = arguments.methods or ",".join([*_RANKINGS, arguments.recipes])
    methods, known = asked.split(","), [*_RANKINGS, *correcting_names()]
    for method in methods:
        if method not in known:
            raise unknown_name("method", method, known)
    if any(method in _RANKINGS for method in methods):
        require("cleanlab")
    return methods


# ---------------------------------------------------------------- report


def page(rows: Sequence[Row]) -> str:
    """Return the page: a table a noise, methods down."""
    config, seeds = rows[0].config, len({seed for row in rows for seed in row.seeds})
    about = (
        f"Labels of {config['dataset']} with injected noise, ranked by label quality ({config['score']}); mean and"
        f" standard deviation over {seeds} seeds. Precision at errors:"
        " of as many labels as are wrong. Network, rate, batches and epochs of each training are the same in every row"
        f" ({config['network']}, {config['epochs']} epochs), the way to train is the recipe's; cleanlab's rows need"
        f" {FOLDS} of them, or {FOLDS} logistic"
        " regressions. A sample pass is one sample forward (1) or backward (2)."
    )
    blocks: list[str | Grid] = [f"# {TITLE}", about]
    for name in distinct(row.noise for row in rows):
        own = [row for row in rows if row.noise == name]
        wrong = 100 * own[0].mean("noise_rate")
        blocks += [f"## {name}: {wrong:.1f} % of the labels wrong", _grid(own)]
    return markdown(*blocks)


def _grid(rows: Sequence[Row]) -> Grid:
    columns: list[Column[Row]] = [("method", lambda row: row.name)]
    for metric, title in METRICS.items():
        columns.append((title, lambda row, metric=metric: with_deviation(row[metric], ".3f", missing="nan")))  # type: ignore[misc]
    columns += [
        ("estimated rate, %", lambda row: with_deviation(row["estimated_rate"], ".1f", 100)),
        ("sample passes", lambda row: f"{row.mean('sample_passes'):,.0f}" if row.has("sample_passes") else ""),
        ("seconds", lambda row: f"{row.mean('seconds'):.1f}"),
    ]
    return down(rows, columns)


def figure(rows: Sequence[Row], records: Sequence[Record]) -> Figure:
    """Return dots a seed and a mean a method, a row of panels a noise: AUROC and average precision."""
    methods = distinct(row.name for row in rows)
    shown: list[Panel] = [
        (name, functools.partial(_draw, name, metric, methods, records))
        for name in distinct(row.noise for row in rows)
        for metric in list(METRICS)[:2]
    ]
    return panels(shown, 4.5, 0.9 + 0.32 * len(methods), most_across=2, share_labels=True)


def _draw(noise_name: str, metric: str, methods: Sequence[str], records: Sequence[Record], axes: Axes) -> None:
    for place, method in enumerate(methods):
        chosen = [r for r in records if (r["config"]["noise"], r["config"]["method"]) == (noise_name, method)]
        dots(axes, place, [record["result"][metric] for record in chosen], _COLOURS[method in _RANKINGS])
    label_lines(axes, methods)
    axes.set_xlabel(METRICS[metric])


# ---------------------------------------------------------------- command line


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser("issues", "How well wrong labels are found, against cleanlab.")
    add = parser.add_argument
    add("--dataset", default="digits", help="digits (default)")
    add("--subset", type=int, help="take so many samples only")
    add("--noise", default=_NOISES, help="noise models, with commas (default: %(default)s)")
    add("--recipes", default=_RECIPES, help="recipes of self-correction (default: %(default)s)")
    add("--methods", help=f"rows, with commas: {', '.join(_RANKINGS)} and recipes (default: all)")
    add("--score", choices=SCORES, default=SCORES[0], help="label quality (default: %(default)s)")
    add_seed_options(parser, _SEEDS)
    add("--epochs", type=int, help="of each training (default: the data set's)")
    add_cell_options(parser, "issues")
    return parser.parse_args(words)


def write(folder: Path, records: Sequence[Record], stem: str) -> str:
    """Write the report, and return its page."""
    rows = summarise(records, "auroc")
    text = page(rows)
    payload = {"title": TITLE, "summary": [row.plain() for row in rows], "cells": list(records)}
    write_report(folder, payload, text, lambda: {"scores": figure(rows, records)}, stem=stem)
    return text


def main(words: Sequence[str] | None = None) -> int:
    """Rank, score, write the report; return the exit status."""
    arguments = parse_arguments(words)
    return run_study(arguments, functools.partial(make_cells, arguments), run_cell, printed(arguments, write))


if __name__ == "__main__":
    sys.exit(main())
