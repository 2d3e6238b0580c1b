"""Noise-injection study: data set x noise x method x seed, at equal sample passes.

    python -m benchmarks.robustness
    python -m benchmarks.robustness --noise symmetric:0.2,symmetric:0.4,pairflip:0.4 --seeds 5
    python -m benchmarks.robustness --dataset cifar10 --data-dir DIR --subset 10000 --epochs 30 --noise human:random1

Each finished cell is a file; a rerun computes what is missing. Test labels score the last epoch and decide nothing.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from sklearn.metrics import roc_auc_score

import noisycorrect
from benchmarks.cells import CellsFailedError, run_cells
from benchmarks.datasets import Benchmark, load
from benchmarks.figures import write_study
from benchmarks.methods import METHODS, epochs_at_equal_passes, method_named
from benchmarks.networks import build
from benchmarks.study import print_table
from noisycorrect import CorrectionResult, SelfCorrector, noise
from noisycorrect.checks import finite_number, whole_number
from noisycorrect.errors import InvalidInputError, NoisyCorrectError, unknown_name
from noisycorrect.issues import label_quality

TITLE = "Robustness to label noise"
# One recipe a data set, the same for every method: plain SGD at a common rate, tuned to none of them.
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 60, "lr": 0.05, "batch_size": 64},
    "cifar10": {"epochs": 30, "lr": 0.05, "batch_size": 128},
}


@dataclass(frozen=True)
class Cell:
    """One run of the study; all that its result depends on.

    `budget` is in epochs of self-correction; `epochs` are those that the method trains at the same sample passes.
    """

    dataset: str
    noise: str
    method: str
    seed: int
    budget: int
    epochs: int
    lr: float
    batch_size: int
    network: str
    subset: int | None
    data: str  # fingerprint of labels and inputs, so that another folder's cells are not taken for this one's
    version: str  # of the package


def make_cells(arguments: argparse.Namespace) -> list[Cell]:
    """Return the cells that the command line asks for, after a look at the data.

    Raises
    ------
    InvalidInputError
        If a data set, its folder, a noise or a method is unknown, or a number is out of range.
    """
    if arguments.dataset not in RECIPES:
        raise unknown_name("data set", arguments.dataset, RECIPES)
    if arguments.seeds < 1:
        raise InvalidInputError("--seeds >= 1", got=str(arguments.seeds), mend="the default is 3")
    recipe = RECIPES[arguments.dataset]
    budget, lr, batch_size = (
        recipe[name] if getattr(arguments, name) is None else getattr(arguments, name)
        for name in ("epochs", "lr", "batch_size")
    )
    data = load(arguments.dataset, arguments.data_dir, subset=arguments.subset)
    build(arguments.network, data, seed=0)
    for name, value in (("--epochs", budget), ("--batch-size", batch_size)):
        whole_number(name, value, least=2)
    spellings = [str(noise.parse(spelling)) for spelling in arguments.noise.split(",")]
    for spelling in spellings:
        _noise_model(spelling, data)
    return [
        Cell(
            dataset=arguments.dataset,
            noise=spelling,
            method=method,
            seed=seed,
            budget=budget,
            epochs=epochs_at_equal_passes(method, budget, len(data.train_labels)),
            lr=finite_number("--lr", lr, above=1e-12, mend="the default suits the data set"),
            batch_size=batch_size,
            network=arguments.network,
            subset=arguments.subset,
            data=_fingerprint(data),
            version=noisycorrect.__version__,
        )
        for spelling in spellings
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        for method in arguments.methods.split(",")
        if method_named(method)
    ]


def run_cell(data_dir: Path | None, cell: Cell) -> dict[str, Any]:
    """Train one method on one noisy data set, and score its last epoch.

    Returns
    -------
    dict
        ``test_accuracy``, ``train_label_accuracy`` and ``issue_auroc`` (how well label quality tells wrong labels from
        right ones), both None if the method refines nothing, ``noise_rate``, ``sample_passes``, ``seconds``,
        ``history``.
    """
    data = load(cell.dataset, data_dir, subset=cell.subset, seed=cell.seed)
    noisy = _noise_model(cell.noise, data).apply(
        data.train_labels, num_classes=data.num_classes, seed=cell.seed, inputs=data.train_inputs
    )
    inputs = data.train_inputs if noisy.inputs is None else noisy.inputs
    corrector = SelfCorrector(
        build(cell.network, data, cell.seed),
        task="classification",
        num_classes=data.num_classes,
        epochs=cell.epochs,
        lr=cell.lr,
        batch_size=cell.batch_size,
        seed=cell.seed,
        verbose=False,
        **METHODS[cell.method].settings,
    )
    start = time.perf_counter()
    result = corrector.fit((inputs, noisy.labels), (data.test_inputs, data.test_labels), clean_labels=data.train_labels)
    refined = result.labels.generation > 0
    return {
        "test_accuracy": result.history[-1]["val_accuracy"],
        "train_label_accuracy": result.history[-1]["label_accuracy"] if refined else None,
        "issue_auroc": _issue_auroc(result, noisy.changed) if refined else None,
        "noise_rate": float(noisy.changed.mean()),
        "sample_passes": result.sample_passes,
        "seconds": time.perf_counter() - start,
        "history": [{"epoch": record["epoch"], "test_accuracy": record["val_accuracy"]} for record in result.history],
    }


def _fingerprint(data: Benchmark) -> str:
    digest = hashlib.sha256(data.train_labels.tobytes())
    digest.update(data.train_inputs[:100].numpy().tobytes())
    for name in sorted(data.human_labels):
        digest.update(data.human_labels[name].tobytes())
    return digest.hexdigest()[:12]


def _noise_model(spelling: str, data: Benchmark) -> noise.NoiseModel:
    name, _, key = spelling.partition(":")
    if name == noise.OpenSet.name:
        raise InvalidInputError("noise of labels", got=spelling, mend="open-set noise needs a pool of foreign inputs")
    if name != noise.Human.name:
        return noise.parse(spelling)
    if key not in data.human_labels:
        raise unknown_name(f"set of human labels of {data.name}", key, data.human_labels)
    return noise.Human(data.human_labels[key])


def _issue_auroc(result: CorrectionResult, changed: np.ndarray) -> float | None:
    if not changed.any() or changed.all():
        return None
    quality = label_quality(torch.from_numpy(result.labels.given().copy()), result.labels.evidence())
    return float(roc_auc_score(changed, 1 - quality.numpy()))


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.robustness", description="How well methods train on labels with injected noise."
    )
    parser.add_argument("--dataset", default="digits", help="digits (default) or cifar10")
    parser.add_argument("--data-dir", type=Path, help="folder of the data set's files; digits need none")
    parser.add_argument("--subset", type=int, help="train on so many samples only")
    parser.add_argument("--noise", default="symmetric:0.4", help="noise models, such as symmetric:0.4,human:random1")
    parser.add_argument("--methods", default=",".join(METHODS), help="methods, with commas (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: %(default)s)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them (default: %(default)s)")
    parser.add_argument("--epochs", type=int, help="budget in epochs of self-correction")
    parser.add_argument("--lr", type=float, help="learning rate")
    parser.add_argument("--batch-size", type=int, help="samples in a batch")
    parser.add_argument("--network", default="auto", help="mlp, small_cnn, preact_resnet18 or auto (default)")
    parser.add_argument("--processes", type=int, help="cells at a time (default: one a core; 1 on a GPU)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/robustness"), help="report folder (default: %(default)s)"
    )
    parser.add_argument("--cells", type=Path, help="folder of the finished cells (default: cells, in the report's)")
    parser.add_argument("--stem", default="results", help="name of the report's files (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="print a line a finished cell")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the study, write the report, print the table; return the exit status."""
    arguments = parse_arguments(words)
    console = Console()
    failed = None
    try:
        cells = make_cells(arguments)
        processes = arguments.processes or (1 if torch.cuda.is_available() else None)
        records = run_cells(
            cells,
            functools.partial(run_cell, arguments.data_dir),
            arguments.cells or arguments.out / "cells",
            processes,
            verbose=arguments.verbose,
        )
    except CellsFailedError as error:
        records, failed = error.finished, error
    except NoisyCorrectError as error:
        print(error, file=sys.stderr)
        return 2
    if records:
        print_table(write_study(arguments.out, records, title=TITLE, stem=arguments.stem), console)
        console.print(f"Report: {arguments.out / arguments.stem}.md", soft_wrap=True)
    if failed is not None:
        print(failed, file=sys.stderr)
    return int(failed is not None)


if __name__ == "__main__":
    sys.exit(main())
