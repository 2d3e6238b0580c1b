"""Finding wrong labels: one run of self-correction against cleanlab, which needs predictions of five trainings.

    python -m benchmarks.issues
    python -m benchmarks.issues --noise symmetric:0.3 --seeds 1 --methods cleanlab-logistic,paper

Every method ranks the same noisy labels by quality; clean labels only score. cleanlab's rows rank by its label quality
score of probabilities from five-fold cross-validation: of logistic regression, and of the network that self-correction
trains, with the same recipe in every fold.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

import noisycorrect
from benchmarks.lab.cells import CellsFailedError, Record, run_cells
from benchmarks.lab.datasets import Benchmark, load
from benchmarks.lab.methods import fingerprint
from benchmarks.lab.networks import build
from benchmarks.lab.protocol import noise_model
from benchmarks.lab.report import new_figure, write_report
from benchmarks.lab.rows import distinct
from benchmarks.lab.suites import RECIPES, Recipe
from noisycorrect import SelfCorrector, noise
from noisycorrect.presets import PRESETS
from noisycorrect.review.issues import SCORES, detection_scores
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError, unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Finding wrong labels"
FOLDS = 5
CLEANLAB_SCORES = dict(zip(SCORES, ("self_confidence", "normalized_margin"), strict=True))
METRICS = {"auroc": "AUROC", "average_precision": "average precision", "precision_at_errors": "precision at errors"}
_NOISES, _SEEDS, _PRESETS = "symmetric:0.3,pairflip:0.3", 5, "paper,robust"
_COLOURS = {True: "#7F7F7F", False: "#D55E00"}  # cleanlab, self-correction

Labels = NDArray[np.int64]
Probs = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """One ranking; all that its result depends on. `epochs`, `lr` and `batch_size` are those of a training."""

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
    settings: str | None  # digest of the preset's
    version: str  # of the package


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
    corrector = SelfCorrector(build(cell.network, data, cell.seed), preset=cell.method, **_training(cell, data))
    result = corrector.fit((data.train_inputs, given))
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
        seed = FOLDS * cell.seed + fold
        plain = {"init_epochs": cell.epochs, "cycles": 0, "aggregate": False, "refine": False}
        settings = {**_training(cell, data), **plain, "epochs": None, "seed": seed}
        corrector = SelfCorrector(build(cell.network, data, seed), preset="paper", **settings)
        result = corrector.fit((data.train_inputs[torch.from_numpy(train)], given[train]))
        device = next(result.model.parameters()).device
        with torch.no_grad():
            logits = result.model(data.train_inputs[torch.from_numpy(held_out)].to(device))
        return logits.double().softmax(1).cpu().numpy(), result.sample_passes + len(held_out)

    probs, passes = _cross_validated(predict, given, data.num_classes, cell.seed)
    return _cleanlab(probs, given, cell.score, passes)


_RANKINGS: dict[str, Callable[[Cell, Benchmark, Labels], Ranking]] = {
    "cleanlab-logistic": _cleanlab_logistic,
    "cleanlab-network": _cleanlab_network,
}


def _training(cell: Cell, data: Benchmark) -> dict[str, Any]:
    return {
        "num_classes": data.num_classes, "epochs": cell.epochs, "lr": cell.lr, "batch_size": cell.batch_size,
        "seed": cell.seed, "verbose": False,
    }  # fmt: skip


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
        If a data set, a noise, a method or a preset is unknown, a number is out of range, or cleanlab is missing.
    """
    whole_number("--seeds", arguments.seeds, least=1)
    if arguments.dataset not in RECIPES:
        raise unknown_name("data set", arguments.dataset, RECIPES)
    recipe: Recipe = RECIPES[arguments.dataset]
    methods = _methods(arguments)
    data = load(arguments.dataset, subset=arguments.subset)
    spellings = [str(noise.parse(spelling)) for spelling in arguments.noise.split(",")]
    for spelling in spellings:
        noise_model(spelling, data)
    epochs = recipe.epochs if arguments.epochs is None else whole_number("--epochs", arguments.epochs, least=3)
    common: dict[str, Any] = {"score": arguments.score, "epochs": epochs, "lr": recipe.lr}
    common |= {"batch_size": recipe.batch_size, "network": recipe.network}
    common |= {"subset": arguments.subset, "version": noisycorrect.__version__}
    return [
        Cell(
            arguments.dataset,
            spelling,
            method,
            seed,
            settings=None if method in _RANKINGS else fingerprint(method, common["epochs"]),
            **common,
        )
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        for spelling in spellings
        for method in methods
    ]


def _methods(arguments: argparse.Namespace) -> list[str]:
    presets = arguments.presets.split(",")
    if arguments.presets == _PRESETS:
        presets = [preset for preset in presets if preset in PRESETS]
    methods = [*_RANKINGS, *presets] if arguments.methods is None else arguments.methods.split(",")
    known = [*_RANKINGS, *PRESETS]
    for method in methods:
        if method not in known:
            raise unknown_name("method", method, known)
    if any(method in _RANKINGS for method in methods):
        try:
            import cleanlab  # noqa: F401
        except ImportError as error:
            raise InvalidInputError("the package cleanlab", got="none", fix="pip install -e '.[dev]'") from error
    return methods


# ---------------------------------------------------------------- report


def summarise(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return a row a noise and method: means and deviations of the scores over the seeds."""
    rows = []
    for noise_name, method in dict.fromkeys((r["config"]["noise"], r["config"]["method"]) for r in records):
        own = [r["result"] for r in records if (r["config"]["noise"], r["config"]["method"]) == (noise_name, method)]
        row: dict[str, Any] = {"noise": noise_name, "method": method, "seeds": len(own)}
        for name in (*METRICS, "noise_rate", "estimated_rate", "sample_passes", "seconds"):
            values = [result[name] for result in own]
            known = None not in values
            row[name] = statistics.fmean(values) if known else None
            row[f"{name}_deviation"] = statistics.stdev(values) if known and len(values) > 1 else math.nan
        rows.append(row)
    return rows


def markdown(rows: Sequence[Mapping[str, Any]], cells: Sequence[Record]) -> str:
    """Return the page: a table a noise, methods down."""
    config, seeds = cells[0]["config"], len(distinct(cell["config"]["seed"] for cell in cells))
    lines = [
        f"# {TITLE}",
        "",
        f"Labels of {config['dataset']} with injected noise, ranked by label quality ({config['score']}); mean and"
        f" standard deviation over {seeds} seeds. Precision at errors:"
        " of as many labels as are wrong. Network, rate, batches and epochs of each training are the same in every row"
        f" ({config['network']}, {config['epochs']} epochs), the way to train is the preset's; cleanlab's rows need"
        f" {FOLDS} of them, or {FOLDS} logistic"
        " regressions. A sample pass is one sample forward (1) or backward (2).",
    ]
    for name in distinct(row["noise"] for row in rows):
        own = [row for row in rows if row["noise"] == name]
        lines += ["", f"## {name}: {100 * own[0]['noise_rate']:.1f} % of the labels wrong", ""]
        lines += [f"| method | {' | '.join(METRICS.values())} | estimated rate, % | sample passes | seconds |"]
        lines += ["|---|" + "---:|" * (len(METRICS) + 3)]
        lines += [f"| {row['method']} | {' | '.join(_numbers(row))} |" for row in own]
    return "\n".join(lines) + "\n"


def _numbers(row: Mapping[str, Any]) -> list[str]:
    scores = [_with_deviation(row[name], row[f"{name}_deviation"], ".3f") for name in METRICS]
    rate = _with_deviation(100 * row["estimated_rate"], 100 * row["estimated_rate_deviation"], ".1f")
    passes = "" if row["sample_passes"] is None else f"{row['sample_passes']:,.0f}"
    return [*scores, rate, passes, f"{row['seconds']:.1f}"]


def _with_deviation(mean: float, deviation: float, form: str) -> str:
    return f"{mean:{form}}" + (f" ± {deviation:{form}}" if math.isfinite(deviation) else "")


def figure(rows: Sequence[Mapping[str, Any]], cells: Sequence[Record]) -> Figure:
    """Return dots a seed and a mean a method, a row of panels a noise: AUROC and average precision."""
    names, methods = distinct(row["noise"] for row in rows), distinct(row["method"] for row in rows)
    shown = list(METRICS)[:2]
    drawing = new_figure(9, (0.9 + 0.32 * len(methods)) * len(names))
    for down, name in enumerate(names):
        for across, metric in enumerate(shown):
            axes = drawing.add_subplot(len(names), len(shown), down * len(shown) + across + 1)
            _draw(axes, name, metric, methods, cells)
            axes.tick_params(labelleft=across == 0)
    return drawing


def _draw(axes: Axes, noise_name: str, metric: str, methods: Sequence[str], cells: Sequence[Record]) -> None:
    for place, method in enumerate(methods):
        chosen = [c for c in cells if (c["config"]["noise"], c["config"]["method"]) == (noise_name, method)]
        values = [cell["result"][metric] for cell in chosen]
        if values:
            colour = _COLOURS[method in _RANKINGS]
            axes.plot(values, [place] * len(values), "o", color=colour, ms=4, alpha=0.4, mew=0)
            axes.plot(statistics.fmean(values), place, "o", color=colour, ms=7, mew=0)
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set(title=noise_name, xlabel=METRICS[metric], axisbelow=True)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


# ---------------------------------------------------------------- command line


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.issues", description="How well wrong labels are found, against cleanlab."
    )
    add = parser.add_argument
    add("--dataset", default="digits", help="digits (default)")
    add("--subset", type=int, help="take so many samples only")
    add("--noise", default=_NOISES, help="noise models, with commas (default: %(default)s)")
    add("--presets", default=_PRESETS, help="presets of self-correction (default: of %(default)s, those there are)")
    add("--methods", help=f"rows, with commas: {', '.join(_RANKINGS)} and presets (default: all)")
    add("--score", choices=SCORES, default=SCORES[0], help="label quality (default: %(default)s)")
    add("--seeds", type=int, default=_SEEDS, help="number of seeds (default: %(default)s)")
    add("--first-seed", type=int, default=0, help="the first of them (default: %(default)s)")
    add("--epochs", type=int, help="of each training (default: the data set's)")
    add("--processes", type=int, help="cells at a time (default: one a core; 1 on a GPU)")
    add("--out", type=Path, default=Path("runs/issues"), help="report folder (default: %(default)s)")
    add("--stem", default="results", help="name of the report's files (default: %(default)s)")
    add("--verbose", action="store_true", help="print a line a finished cell")
    return parser.parse_args(words)


def write(folder: Path, records: Sequence[Record], stem: str) -> str:
    """Write the report, and return its page."""
    rows = summarise(records)
    page = markdown(rows, records)
    payload = {"title": TITLE, "summary": rows, "cells": list(records)}
    write_report(folder, payload, page, lambda: {"scores": figure(rows, records)}, stem=stem)
    return page


def main(words: Sequence[str] | None = None) -> int:
    """Rank, score, write the report; return the exit status."""
    arguments = parse_arguments(words)
    failed = None
    try:
        records = run_cells(
            make_cells(arguments),
            run_cell,
            arguments.out / "cells",
            arguments.processes or (1 if torch.cuda.is_available() else None),
            verbose=arguments.verbose,
        )
    except CellsFailedError as error:
        records, failed = error.finished, error
    except NoisyCorrectError as error:
        print(error, file=sys.stderr)
        return 2
    if records:
        Console().print(write(arguments.out, records, arguments.stem), markup=False, soft_wrap=True)
    if failed is not None:
        print(failed, file=sys.stderr)
    return int(failed is not None)


if __name__ == "__main__":
    sys.exit(main())
