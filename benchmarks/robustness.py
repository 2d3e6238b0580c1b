"""Noise-injection study: data set x noise x method x seed, at equal sample passes.

    python -m benchmarks.robustness --suite standard --data-dir CIFAR10
    python -m benchmarks.robustness --quick
    python -m benchmarks.robustness --noise symmetric:0.2,symmetric:0.4,pairflip:0.4 --methods ce,elr,robust --seeds 5
    python -m benchmarks.robustness --dataset cifar10 --data-dir DIR --subset 10000 --noise human:random1
    python -m benchmarks.robustness --task segmentation

Each finished cell is a file; a rerun computes what is missing, and several runs may share the folder. What a cell goes
through is in :mod:`benchmarks.lab.protocol`: test labels score, and choose nothing. Masks have a study of their own,
:mod:`benchmarks.parsing.mask_noise`.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.lab import methods
from benchmarks.lab.cells import fields_from
from benchmarks.lab.datasets import Benchmark, load
from benchmarks.lab.experiment import (
    add_cell_options,
    add_seed_options,
    new_parser,
    reported,
    run_study,
    seeds_of,
    usage,
)
from benchmarks.lab.extras import require
from benchmarks.lab.label_study import print_study, write_study
from benchmarks.lab.networks import NETWORKS, build
from benchmarks.lab.protocol import VALIDATION_SHARE, Watcher, label_scores, make_problem, noise_model
from benchmarks.lab.suites import QUICK, SETTINGS, SUITES, Part, augmentations
from noisycorrect import noise
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError, unknown_name

TITLE = "Robustness to label noise"
SEEDS = 3


@dataclass(frozen=True)
class Cell:
    """One run of the study; all that its result depends on, but for the code.

    `budget` is in epochs of plain training; `epochs` are those that the method trains at the same sample passes.
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


def make_parts(arguments: argparse.Namespace) -> list[Part]:
    """Return what the command line asks for, data set by data set; says which parts of a suite lack their data.

    Raises
    ------
    InvalidInputError
        If a suite or a part is unknown, or nothing is left.
    """
    if arguments.suite is None and not arguments.quick:
        noises = tuple((arguments.noise or "symmetric:0.4").split(","))
        return [Part(arguments.dataset or "digits", noises, SEEDS, arguments.subset)]
    if arguments.dataset is not None:
        raise InvalidInputError("no --dataset with a suite", got=arguments.dataset, fix="choose with --parts")
    name = arguments.suite or "standard"
    if name not in SUITES:
        raise unknown_name("suite", name, SUITES)
    known = QUICK if arguments.quick else SUITES[name]
    chosen = list(known) if arguments.parts is None else arguments.parts.split(",")
    for part in chosen:
        if part not in known:
            raise unknown_name(f"part of the suite {name!r}", part, known)
    found = [part for part in chosen if arguments.data_dir is not None or not known[part].needs_data]
    if len(found) < len(chosen):
        left = ", ".join(part for part in chosen if part not in found)
        print(f"Left out: {left}. Their images are in no package; pass --data-dir.", file=sys.stderr)
    if not found:
        raise InvalidInputError("a part that needs no files", got="none", fix="pass --data-dir")
    return [_overridden(known[part], arguments) for part in found]


def _overridden(part: Part, arguments: argparse.Namespace) -> Part:
    noises = part.noises if arguments.noise is None else tuple(arguments.noise.split(","))
    return replace(part, noises=noises, subset=arguments.subset or part.subset)


def make_cells(arguments: argparse.Namespace) -> list[Cell]:
    """Return the cells that the command line asks for, after a look at the data.

    Raises
    ------
    InvalidInputError
        If a data set, its folder, a noise or a method is unknown, or a number is out of range.
    """
    return [cell for part in make_parts(arguments) for cell in _part_cells(part, arguments)]


def _part_cells(part: Part, arguments: argparse.Namespace) -> list[Cell]:
    if part.dataset not in SETTINGS:
        raise unknown_name("data set", part.dataset, SETTINGS)
    usual, seeds = SETTINGS[part.dataset], seeds_of(arguments, part.seeds)
    budget, lr, batch_size, network = (
        getattr(usual, name) if getattr(arguments, name) is None else getattr(arguments, name)
        for name in ("epochs", "lr", "batch_size", "network")
    )
    for name, value in (("--epochs", budget), ("--batch-size", batch_size)):
        whole_number(name, value, least=2)
    lr = finite_number("--lr", lr, above=1e-12, fix="the default suits the data set")
    names = _method_names(part, arguments)
    for name in names:
        methods.check_method(name)
    data = load(part.dataset, arguments.data_dir, subset=part.subset)
    build(network, data, seed=0)
    spellings = [str(noise.parse(spelling)) for spelling in part.noises]
    for spelling in spellings:
        noise_model(spelling, data)
    samples = len(data.train_labels) - round(VALIDATION_SHARE * len(data.train_labels))
    epochs = {name: methods.epochs_at_equal_passes(name, budget, samples) for name in names}
    common = {"budget": budget, "lr": lr, "batch_size": batch_size, "network": network, "subset": part.subset}
    common["data"] = _fingerprint(data)
    return [
        Cell(part.dataset, spelling, name, seed, epochs=epochs[name], **common)
        for seed in seeds
        for spelling in spellings
        for name in names
        if arguments.methods is not None or spelling in part.ablations or not methods.LABEL_METHODS[name].ablation
    ]


def _method_names(part: Part, arguments: argparse.Namespace) -> list[str]:
    if arguments.methods is not None:
        return [name.strip() for name in arguments.methods.split(",")]
    if arguments.suite is None and not arguments.quick:
        return methods.DEFAULT_METHODS
    return list(part.methods or methods.names_of(ablations=bool(part.ablations)))


def run_cell(data_dir: Path | None, cell: Cell) -> dict[str, Any]:
    """Train one method on one noisy data set, and score it.

    Returns
    -------
    dict
        The scores of :meth:`benchmarks.lab.protocol.Watcher.finish` and :func:`benchmarks.lab.protocol.label_scores`;
        ``noise_rate`` of the training labels; ``networks``, ``baseline`` and ``note`` of the method;
        ``sample_passes``; ``seconds`` without scoring.
    """
    data = load(cell.dataset, data_dir, subset=cell.subset, seed=cell.seed)
    problem = make_problem(data, cell.noise, cell.seed)
    watcher = Watcher(problem, data.test_inputs, data.test_labels)
    augment, own_augment = augmentations(data)
    training = methods.Training(
        model=build(cell.network, data, cell.seed),
        **fields_from(methods.Training, data, problem, cell),
        augment=augment,
        own_augment=own_augment,
        callbacks=(methods.QUIET, watcher),
    )
    start = time.perf_counter()
    result = methods.fit(cell.method, training)
    seconds = time.perf_counter() - start - watcher.seconds
    return {
        **watcher.finish(result.model, result.sample_passes, before=methods.passes_before_training(result)),
        **label_scores(result, problem),
        "noise_rate": problem.noise_rate,
        **methods.facts(cell.method),
        "sample_passes": result.sample_passes,
        "seconds": seconds,
    }


def _fingerprint(data: Benchmark) -> str:
    digest = hashlib.sha256(data.train_labels.tobytes())
    digest.update(data.train_inputs[:100].numpy().tobytes())
    for name in sorted(data.human_labels):
        digest.update(data.human_labels[name].tobytes())
    return digest.hexdigest()[:12]


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser("robustness", "How well methods train on labels with injected noise.")
    add = parser.add_argument
    add("--task", default="classification", help="segmentation: mask noise; its own options: --task segmentation -h")
    add("--suite", help=f"all cells of a study: {', '.join(SUITES)}; the options below change or restrict them")
    add("--parts", help=f"parts of the suite, with commas: {', '.join(SUITES['standard'])} (default: all)")
    add("--quick", action="store_true", help="a few cells of the suite, in less than ten minutes")
    add("--dataset", help=f"without a suite: {', '.join(SETTINGS)} (default: digits)")
    add("--data-dir", type=Path, help="folder of the data set's files; digits need none")
    add("--subset", type=int, help="train on so many samples only")
    add("--noise", help="noise models, such as none,symmetric:0.4,human:random1 (default: symmetric:0.4)")
    add("--methods", help=f"methods, with commas (default: {','.join(methods.DEFAULT_METHODS)}; of a suite, all)")
    add_seed_options(parser)
    add("--epochs", type=int, help="budget in epochs of plain training")
    add("--lr", type=float, help="learning rate")
    add("--batch-size", type=int, help="samples in a batch")
    add("--network", help=f"{', '.join(NETWORKS)} or auto (default: the data set's)")
    add_cell_options(parser, "robustness")
    return parser.parse_args(words)


def _task(words: Sequence[str] | None) -> tuple[str, list[str]]:
    """Return the task that the command line names, and its other words: masks have a study of their own."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--task", choices=("classification", "segmentation"), default="classification")
    found, rest = parser.parse_known_args(sys.argv[1:] if words is None else words)
    return found.task, rest


def main(words: Sequence[str] | None = None) -> int:
    """Run the study, write the report, print the table; return the exit status."""
    task, rest = _task(words)
    if task == "segmentation":
        try:
            require("PIL")
        except NoisyCorrectError as error:
            return usage(error)
        from benchmarks.parsing import mask_noise

        return mask_noise.main(rest)
    arguments = parse_arguments(rest)
    one = functools.partial(run_cell, arguments.data_dir)
    return run_study(
        arguments, functools.partial(make_cells, arguments), one, reported(arguments, write_study, print_study, TITLE)
    )


if __name__ == "__main__":
    sys.exit(main())
