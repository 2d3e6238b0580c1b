"""Mask-noise study: data set x noise x method x seed, at equal sample passes.

    python -m benchmarks.robustness --task segmentation
    python -m benchmarks.robustness --task segmentation --noise "drop:0.4;boundary:3" --methods ce,elr --seeds 3
    python -m benchmarks.robustness --task segmentation --dataset ccp --data-dir DIR --seeds 1

Each finished cell is a file; a rerun computes what is missing. Clean masks score the last epoch and decide nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.lab.cells import fields_from
from benchmarks.lab.experiment import add_cell_options, add_seed_options, new_parser, reported, run_study, seeds_of
from benchmarks.lab.methods import QUIET, check_method
from benchmarks.lab.unet import UNet
from benchmarks.parsing.data import EMBEDDED, describe, load
from benchmarks.parsing.mask_methods import HALF, MASK_METHODS, first_epochs, half_of, mask_epochs_at_equal_passes
from benchmarks.parsing.mask_report import print_tables, write_study
from benchmarks.parsing.mask_scores import agreement_by_mask, label_scores
from benchmarks.parsing.networks import INITIALISATION, make_task
from benchmarks.parsing.plan import Data, parse_size, preset_named
from benchmarks.parsing.sources import GROUPS, Grouped, Injected
from noisycorrect import CorrectionResult, SelfCorrector
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import unknown_name
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg import noise
from noisycorrect_seg.datasets import ParsingDataset, ParsingSource, Subset
from noisycorrect_seg.task import HumanParsing

TITLE = "Robustness to mask noise"
SHRINK = 1.5  # images of a folder are kept in memory, at so many times their size in the input
LOSSES = "ce+iou"  # the task's, the same for all: the U-Net has no edge branch
VAL_MEASURES = ("mean_iou", "pixel_accuracy", "mean_accuracy")


@dataclass(frozen=True)
class Settings:
    """How a data set is trained on, the same for every method; `noises` and `seeds` are what runs unless told."""

    size: tuple[int, int]
    train: int
    val: int
    epochs: int
    noises: tuple[str, ...]
    seeds: int
    width: int = 16
    lr: float = 3e-3
    batch_size: int = 8


# Errors that are always the same (arXiv:2406.10891, 2107.02189): classes that are left out, one that is taken for
# another and never the other way, borders too far in; each at two rates. Numbers are places in GROUPS.
SETTINGS = {
    "people": Settings(
        (64, 48),
        train=200,
        val=100,
        epochs=30,
        noises=(
            "none",
            *(f"omit:{rate}:only=1,8,9,10" for rate in (0.25, 0.4)),
            *(f"confusion:{rate}:whole:pairs=1-2,5-4,7-6" for rate in (0.25, 0.4)),
            *(f"boundary:{radius}:side=in:together" for radius in (1, 2)),
        ),
        seeds=3,
    ),
    "ccp": Settings(
        (96, 64),
        train=400,
        val=100,
        epochs=24,
        noises=(
            *(f"omit:{rate}:only=1,5,6" for rate in (0.25, 0.4)),
            *(f"confusion:{rate}:whole:pairs=3-2,5-3,6-2" for rate in (0.25, 0.4)),
            *(f"boundary:{radius}:side=in:together" for radius in (1, 2)),
        ),
        seeds=3,
    ),
}


@dataclass(frozen=True)
class Cell:
    """One run of the study; all that its result depends on, but for the code.

    `budget` is in epochs of the paper's self-correction; `epochs` are those that the method trains at the same passes.
    """

    dataset: str
    noise: str
    method: str
    seed: int
    budget: int
    epochs: int
    size: tuple[int, int]
    width: int
    lr: float
    batch_size: int
    train: int
    val: int
    data: str  # fingerprint of images and masks


def make_cells(arguments: argparse.Namespace) -> list[Cell]:
    """Return the cells that the command line asks for, after a look at the data.

    Raises
    ------
    InvalidInputError
        If a data set, its folder, a noise or a method is unknown, or a number is out of range.
    """
    usual = make_settings(arguments)
    methods = arguments.methods.split(",") if arguments.methods else list(MASK_METHODS)
    for method in methods:
        check_method(method, MASK_METHODS)
    data = _describe(arguments, usual)
    spellings = [str(noise.parse(spelling)) for spelling in usual.noises]
    epochs = {
        method: mask_epochs_at_equal_passes(method, usual.epochs, data.train, usual.batch_size) for method in methods
    }
    shared = fields_from(Cell, usual, data) | {"budget": usual.epochs, "data": data.fingerprint}
    return [
        Cell(**shared | {"noise": spelling, "method": method, "seed": seed, "epochs": epochs[method]})
        for seed in seeds_of(arguments, usual.seeds)
        for spelling in spellings
        for method in methods
    ]


def make_settings(arguments: argparse.Namespace) -> Settings:
    """Return the data set's settings with what the command line says instead.

    Raises
    ------
    InvalidInputError
        If the data set is unknown or a number is out of range.
    """
    if arguments.dataset not in SETTINGS:
        raise unknown_name("data set", arguments.dataset, SETTINGS)
    given: dict[str, Any] = {
        "size": None if arguments.size is None else parse_size(arguments.size),
        "noises": None if arguments.noise is None else tuple(arguments.noise.split(";")),
    }
    for name, least in (("train", 2), ("val", 2), ("epochs", 4), ("width", 1), ("batch_size", 2)):
        value = getattr(arguments, name)
        given[name] = None if value is None else whole_number("--" + name.replace("_", "-"), value, least=least)
    if arguments.lr is not None:
        given["lr"] = finite_number("--lr", arguments.lr, above=1e-12, fix="the default suits the data set")
    return dataclasses.replace(SETTINGS[arguments.dataset], **{k: v for k, v in given.items() if v is not None})


def _describe(arguments: argparse.Namespace, usual: Settings) -> Data:
    preset = preset_named("tiny", size=usual.size, train_limit=usual.train, val_limit=usual.val, shrink=SHRINK)
    data = describe(arguments.dataset, arguments.data_dir, preset)
    return dataclasses.replace(data, noise=None)  # of drawn people: their own; this study puts its noise on groups


def load_noisy(cell: Cell, data_dir: Path | None) -> tuple[Injected, ParsingSource]:
    """Return a cell's training images with noisy masks, and its validation images with clean ones."""
    shrink = None if data_dir is None else SHRINK
    data = Data(cell.dataset, cell.train, cell.val, None, cell.data, shrink)
    sources = load(cell.dataset, data_dir, data, cell.size, cell.seed)
    train, val = sources.train, sources.val
    if cell.dataset != EMBEDDED:  # whose classes are put together already
        train, val = (Grouped(source, GROUPS[cell.dataset]) for source in (train, val))
    return Injected(train, noise.parse(cell.noise), cell.seed), val


def run_cell(data_dir: Path | None, cell: Cell) -> dict[str, Any]:
    """Train one method on one set of noisy masks, and score its last epoch.

    Returns
    -------
    dict
        ``val`` (measures on clean masks), ``class_iou``, ``labels_before``, ``labels_after``, ``issue_auroc``,
        ``noise_rate``, ``sample_passes``, ``seconds``; see :func:`~benchmarks.parsing.mask_scores.label_scores`.
    """
    train, val = load_noisy(cell, data_dir)
    task = make_task(train.classes, cell.size, LOSSES)
    start = time.perf_counter()
    trained_on: ParsingSource = train
    passes = 0
    if cell.method == HALF:
        first = _fit(cell, task, train, val, first_epochs(cell.epochs))
        agreement = agreement_by_mask(first, ParsingDataset(train, task.size), task, train.given)
        chosen = np.sort(np.argsort(-agreement, kind="stable")[: half_of(len(train))])
        trained_on, passes = Subset(train, chosen.tolist()), first.sample_passes + len(train)
    result = _fit(cell, task, trained_on, val, cell.epochs)
    seconds = time.perf_counter() - start
    last = result.history[-1]
    return {
        "val": {name: last[f"val_{name}"] for name in VAL_MEASURES},
        "class_iou": {name: _finite(last[f"val_iou_{name}"]) for name in train.classes.names},
        **label_scores(result, ParsingDataset(train, task.size), task, train.given, train.clean),
        "sample_passes": passes + result.sample_passes,
        "seconds": seconds,
    }


def _fit(cell: Cell, task: HumanParsing, train: ParsingSource, val: ParsingSource, epochs: int) -> CorrectionResult:
    """Train the cell's network, from the same initial weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(cell.seed, INITIALISATION))
        network = UNet(len(train.classes), cell.width)
    how = {name: getattr(cell, name) for name in ("lr", "batch_size", "seed")}
    recipe = MASK_METHODS[cell.method]
    corrector = SelfCorrector(network, task=task, recipe=recipe, callbacks=[QUIET], epochs=epochs, **how)
    crops = ParsingDataset(train, cell.size, augment=True, scale_factor=0.15, rotation_prob=0.0)
    return corrector.fit(crops, ParsingDataset(val, cell.size))


def _finite(value: float) -> float | None:
    """Return a measure, None for a class that does not occur."""
    return value if math.isfinite(value) else None


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(
        "robustness --task segmentation",
        "How well methods train on masks with injected noise.",
        epilog="Defaults are the data set's: " + "; ".join(f"{n}: {usual}" for n, usual in SETTINGS.items()) + ".",
    )
    add = parser.add_argument
    add("--dataset", default="people", help=f"{', '.join(SETTINGS)} (default: people, drawn)")
    add("--data-dir", type=Path, help="folder of the data set's files; people need none")
    add("--noise", help="noise models, with semicolons, such as drop:0.4;boundary:3")
    add("--methods", help=f"methods, with commas (default: {','.join(MASK_METHODS)})")
    add_seed_options(parser)
    add("--size", help="input as HEIGHTxWIDTH")
    add("--train", type=int, help="training images")
    add("--val", type=int, help="validation images")
    add("--width", type=int, help="channels of the network's first level")
    add("--epochs", type=int, help="budget in epochs of the paper's self-correction")
    add("--lr", type=float, help="learning rate")
    add("--batch-size", type=int, help="samples in a batch")
    add_cell_options(parser, "mask-robustness")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the study, write the report, print the tables; return the exit status."""
    arguments = parse_arguments(words)
    one = functools.partial(run_cell, arguments.data_dir)
    return run_study(
        arguments, functools.partial(make_cells, arguments), one, reported(arguments, write_study, print_tables, TITLE)
    )


if __name__ == "__main__":
    sys.exit(main())
