"""What `python -m benchmarks.lip` does: a study, its dry run, or an evaluation."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.lab.cells import CellsFailedError, Record, cell_config, cores, read_cell, run_cells
from benchmarks.lab.experiment import FINISHED, finished, say_where, seeds_of, usage
from benchmarks.lab.extras import require
from benchmarks.lab.tables import console as new_console
from benchmarks.parsing.ceiling import agreement_of_annotators
from benchmarks.parsing.costs import print_plan
from benchmarks.parsing.data import EMBEDDED, describe, load, val_images
from benchmarks.parsing.evaluate import evaluate
from benchmarks.parsing.networks import build_network
from benchmarks.parsing.plan import (
    PACKAGE,
    Cell,
    Data,
    Preset,
    Variant,
    distinct_cells,
    make_cells,
    parse_size,
    preset_named,
    variants,
)
from benchmarks.parsing.report import print_tables, write_study
from benchmarks.parsing.study import Options, run_cell, run_together
from noisycorrect.support import distributed
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError
from noisycorrect.training.engine import resolve_device, resolve_precision
from noisycorrect_seg.classes import Classes

OVERRIDES = (
    "backbone", "context", "width", "epochs", "init_epochs", "cycles", "cycle_epochs", "lr", "batch_size",
    "train_limit", "val_limit", "shrink", "losses", "optimizer", "pretrained", "freeze", "backbone_rate",
)  # fmt: skip


def command(arguments: argparse.Namespace) -> int:
    """Do what a command line says; return the exit status: 0, 1 if runs failed, 2 for a mistake in the command."""
    console = new_console()
    try:
        with process_group(arguments.device):
            if arguments.evaluate is not None:
                return _evaluate(arguments, console)
            return _study(arguments, console)
    except NoisyCorrectError as error:
        return usage(error)


@contextlib.contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the process group that torchrun started this process for, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or distributed.world_size() > 1:
        yield
        return
    backend = "nccl" if resolve_device(device).type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def make_preset(arguments: argparse.Namespace) -> Preset:
    """Return the preset that a command line names, with what it overrides."""
    size = None if arguments.size is None else parse_size(arguments.size)
    name = arguments.preset or ("demo" if arguments.dataset == EMBEDDED else "small")
    return preset_named(name, size=size, **{name: getattr(arguments, name) for name in OVERRIDES})


def _study(arguments: argparse.Namespace, console: Console) -> int:
    preset = make_preset(arguments)
    rows = variants(arguments.ablation, None if arguments.rows is None else arguments.rows.split(","))
    seeds = seeds_of(arguments)
    if not arguments.dry_run:
        require("matplotlib")  # known before hours of training, not after
    resolve_precision(arguments.amp, resolve_device(arguments.device))
    data = describe(arguments.dataset, arguments.data_dir, preset, arguments.noise)
    cells = make_cells(
        rows,
        preset,
        data,
        seeds,
        weights=_weights(arguments, preset),
        precision=arguments.amp,
        ranks=distributed.world_size(),
    )
    classes = _classes(arguments, data, preset)
    for own in cells.values():
        _check_network(own[0], len(classes), arguments.weights)
    options = Options(
        folder=arguments.cells or arguments.out / "cells",
        data_dir=arguments.data_dir,
        weights=arguments.weights,
        device=arguments.device,
        workers=arguments.workers,
        channels_last=arguments.channels_last,
        compiled=arguments.compile,
        keep_labels=arguments.keep_labels,
    )
    processes = _processes(arguments)
    if arguments.dry_run:
        if distributed.is_main():
            every = distinct_cells(cells)
            print_plan(
                cells, classes, console, processes=min(processes, max(1, len(every))),
                ranks=distributed.world_size(), device=options.device,
                finished=[cell for cell in every if read_cell(options.folder, cell)],
                channels_last=options.channels_last, compiled=options.compiled,
            )  # fmt: skip
        return FINISHED
    cores_alone = arguments.processes is None and processes > 1
    records, failed = _compute(cells, options, processes, few_at_once=cores_alone, verbose=arguments.verbose)
    if records and distributed.is_main():
        _report(arguments, rows, cells, records, classes, options.folder, console)
    return finished(failed)


def _weights(arguments: argparse.Namespace, preset: Preset) -> str | None:
    """Return what a cell says of its pretrained weights: the package's, a file's, or none."""
    if arguments.pretrained and arguments.weights is not None:
        raise InvalidInputError("--pretrained or --weights", got="both", fix="leave one of them out")
    return PACKAGE if preset.pretrained and arguments.weights is None else _file_name(arguments.weights)


def _file_name(path: Path | None) -> str | None:
    """Return a file's name and a digest, which tell it from another of that name."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()[:8]}"
    except OSError as error:
        got = error.strerror or str(error)
        raise InvalidInputError(f"a file of weights at {path}", got=got.lower(), fix="check --weights") from error


def _classes(arguments: argparse.Namespace, data: Data, preset: Preset) -> Classes:
    """Return the data set's classes, without reading its images."""
    few = Data(data.dataset, 2, 2, data.noise, data.fingerprint)
    return load(arguments.dataset, arguments.data_dir, few, preset.size, seed=0).classes


def _check_network(cell: Cell, num_classes: int, weights: Path | None) -> None:
    """Build a network for its errors: an unknown name or a wrong file is known before the first run."""
    with torch.device("meta") if cell.weights is None else contextlib.nullcontext():
        build_network(cell, num_classes, weights)


def _processes(arguments: argparse.Namespace) -> int:
    """Return how many runs are computed at a time: one a core, but one alone where a run has a GPU or several ranks."""
    if arguments.processes is not None:
        return whole_number("--processes", arguments.processes, least=1)
    if distributed.world_size() > 1 or resolve_device(arguments.device).type != "cpu":
        return 1
    return cores()


def _compute(
    cells: Mapping[str, Sequence[Cell]], options: Options, processes: int, *, few_at_once: bool, verbose: bool
) -> tuple[list[Record], CellsFailedError | None]:
    every = distinct_cells(cells)
    if few_at_once and processes < len(every) < 2 * processes:
        processes = len(every)  # a last run alone would leave the other cores idle
    processes = min(processes, len(every))
    run_one = functools.partial(run_cell, dataclasses.replace(options, progress=processes == 1))
    if distributed.world_size() > 1:
        return run_together(every, run_one, options.folder), None
    # Bars over samples and over runs would draw over each other.
    console = Console(stderr=True, force_terminal=False) if processes == 1 else None
    try:
        return run_cells(every, run_one, options.folder, processes, verbose=verbose, console=console), None
    except CellsFailedError as error:
        return error.finished, error


def _report(
    arguments: argparse.Namespace,
    rows: Sequence[Variant],
    cells: Mapping[str, Sequence[Cell]],
    records: Sequence[Record],
    classes: Classes,
    folder: Path,
    console: Console,
) -> None:
    by_config = {str(record["config"]): record for record in records}
    keys = [(name, str(cell_config(cell))) for name, own in cells.items() for cell in own]
    found = [{"row": name, **by_config[key]} for name, key in keys if key in by_config]
    study = arguments.ablation or "correction"
    ceiling = agreement_of_annotators(arguments.dataset, arguments.data_dir)
    summary = write_study(arguments.out, study, rows, found, classes, folder, stem=arguments.stem, ceiling=ceiling)
    print_tables(study, summary, console)
    say_where(arguments, console)


def _evaluate(arguments: argparse.Namespace, console: Console) -> int:
    preset = make_preset(arguments)
    if arguments.dataset == EMBEDDED:
        data = describe(arguments.dataset, arguments.data_dir, preset, arguments.noise)
        source = load(EMBEDDED, None, data, preset.size, arguments.first_seed).val
    else:
        source = val_images(arguments.dataset, arguments.data_dir, preset.val_limit)
    quiet = console if distributed.is_main() else Console(quiet=True)
    evaluate(
        arguments.evaluate,
        source,
        quiet,
        size=None if arguments.size is None else parse_size(arguments.size),
        default_size=preset.size,
        tta=arguments.tta,
        official_centres=arguments.official_centres,
        batch_size=arguments.batch_size or 8,
        device=arguments.device,
        precision="float32" if arguments.amp == "auto" else arguments.amp,
        out=arguments.out,
        stem=f"{arguments.stem}-evaluation",
    )
    return FINISHED
