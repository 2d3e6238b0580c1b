"""Whole CIFAR-10N on one GPU: labels that people gave, a full-sized network, last epochs beside published ones.

    python -m benchmarks.cifar10n --data-dir CIFAR10
    python -m benchmarks.cifar10n --data-dir CIFAR10 --network resnet34 --labels aggregate,random1,worst --seeds 3
    python -m benchmarks.cifar10n --data-dir CIFAR10 --dry-run

A call trains for `--minutes` and stops; the same command goes on, until all runs are finished. Exit status: 0 if they
are, 3 if something is left, 1 if a run failed, 2 on wrong arguments. The images lie on the device, where they are
cropped and mirrored, so no loader process is needed. All methods get the sample passes of plain training over
`--epochs`; every training image is trained on, no epoch is chosen, and clean labels only score.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.lab import methods
from benchmarks.lab.augmentation import crop_and_mirror
from benchmarks.lab.cells import Record, cell_key, fields_from, read_cell, write_cell
from benchmarks.lab.datasets import Benchmark, load
from benchmarks.lab.experiment import FAILED, FINISHED, new_parser, usage
from benchmarks.lab.extras import require
from benchmarks.lab.figures import study_figures
from benchmarks.lab.label_study import SCORE, page, print_study, rows_of
from benchmarks.lab.networks import NETWORKS, build
from benchmarks.lab.protocol import Problem, accuracy, label_scores, noise_model
from benchmarks.lab.published import CIFAR10N, CIFAR10N_SOURCE
from benchmarks.lab.report import write_report
from benchmarks.lab.rows import Row, distinct
from benchmarks.lab.slices import Clock, Curve, TimeOverError, read_curve
from benchmarks.lab.tables import Grid, percent
from noisycorrect import noise
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import NoisyCorrectError, unknown_name
from noisycorrect.training.engine import resolve_device

TITLE = "CIFAR-10N, whole"
RUNS = Path("runs/cifar10n")
LEFT = 3  # exit status, beside those of :mod:`benchmarks.lab.experiment`


@dataclass(frozen=True)
class Cell:
    """One run; all that its result depends on, but for code and device.

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
    data: str  # digest of the labels, so that another folder's runs are not taken for this one's

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.noise} {self.method} seed {self.seed}"


def run_folder(out: Path, cell: Cell) -> Path:
    """Return where a cell's checkpoint, labels and curve are."""
    return out / "runs" / cell_key(cell)


# ---------------------------------------------------------------- the cells


def make_problem(data: Benchmark, spelling: str) -> Problem:
    """Return the whole training set with the labels of people ("human:KEY"); nothing is held out.

    Raises
    ------
    InvalidInputError
        If the data set has no such labels.
    """
    noisy = noise_model(spelling, data).apply(data.train_labels, num_classes=data.num_classes, seed=0)
    return Problem(data.train_inputs, noisy.labels, data.train_labels, data.train_inputs[:0], noisy.labels[:0])


def make_cells(arguments: argparse.Namespace, data: Benchmark) -> list[Cell]:
    """Return the runs that the command line asks for, the sets of labels in turn, and seeds last to change.

    Raises
    ------
    InvalidInputError
        If a method or a set of labels is unknown, or a number is out of range.
    """
    names, known = arguments.methods.split(","), methods.names_of(ablations=False, resumable=True)
    for name in names:
        if name not in known:
            raise unknown_name("method that can be resumed", name, known)
    budget = whole_number("--epochs", arguments.epochs, least=2)
    samples = len(data.train_labels)
    epochs = {name: methods.epochs_at_equal_passes(name, budget, samples) for name in names}
    digests = {}
    for key in arguments.labels.split(","):
        problem = make_problem(data, f"{noise.Human.name}:{key}")
        content = problem.given.tobytes() + problem.clean.tobytes()
        digests[f"{noise.Human.name}:{key}"] = hashlib.sha256(content).hexdigest()[:12]
    common = {
        "budget": budget,
        "lr": finite_number("--lr", arguments.lr, above=1e-12, fix="0.05 to 0.1 suits these networks"),
        "batch_size": whole_number("--batch-size", arguments.batch_size, least=2),
        "network": arguments.network,
    }
    return [
        Cell("cifar10", spelling, name, seed, epochs=epochs[name], **common, data=digest)
        for seed in range(whole_number("--seeds", arguments.seeds, least=1))
        for spelling, digest in digests.items()
        for name in names
    ]


# ---------------------------------------------------------------- one run


def run_cell(cell: Cell, data: Benchmark, folder: Path, clock: Clock) -> dict[str, Any]:
    """Train a cell, or go on where it stopped, and score it.

    Parameters
    ----------
    cell : Cell
        What to train.
    data : Benchmark
        Its inputs are where the network will be.
    folder : Path
        Of the run.
    clock : Clock
        Says when to stop.

    Returns
    -------
    dict
        ``test_accuracy`` of the last epoch; the scores of :func:`benchmarks.lab.protocol.label_scores`; ``noise_rate``;
        ``networks``, ``baseline`` and ``note`` of the method; ``samples``, ``sample_passes``; ``seconds`` of training,
        over all calls; ``history``; ``device``.

    Raises
    ------
    TimeOverError
        If the time is over first.
    """
    problem = make_problem(data, cell.noise)
    curve = Curve(folder, cell.epochs, data, clock)
    result = _fit(cell, data, problem, folder, curve)
    history = [
        {**point, "sample_passes": round(result.sample_passes * point["epoch"] / cell.epochs)} for point in curve.points
    ]
    device = data.train_inputs.device
    return {
        "test_accuracy": accuracy(result.model, data.test_inputs, torch.from_numpy(data.test_labels)),
        **label_scores(result, problem),
        "noise_rate": problem.noise_rate,
        **methods.facts(cell.method),
        "samples": len(problem.given),
        "sample_passes": result.sample_passes,
        "seconds": curve.seconds(),
        "history": history,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def _fit(cell: Cell, data: Benchmark, problem: Problem, folder: Path, curve: Curve) -> methods.Outcome:
    # Weights in the memory order of the cropped images, or every convolution would have to change it.
    model = build(cell.network, data, cell.seed).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    training = methods.Training(
        model=model,
        **fields_from(methods.Training, data, problem, cell),
        augment=crop_and_mirror,
        callbacks=(curve,),
        device=data.train_inputs.device,
        run_dir=folder,
    )
    return methods.fit(cell.method, training)


# ---------------------------------------------------------------- the plan, and what is left


def progress(out: Path, cell: Cell) -> tuple[int, float | None]:
    """Return how many epochs of a cell are done, and the seconds of an epoch, None if there was none yet."""
    points = read_curve(run_folder(out, cell))
    if not points:
        return 0, None
    return int(points[-1]["epoch"]), statistics.median(point["seconds"] for point in points)


def describe_left(out: Path, cells: Sequence[Cell]) -> str | None:
    """Return a line a cell that is not finished, and a sum; None if there is no such cell."""
    left = [cell for cell in cells if read_cell(out / "cells", cell) is None]
    if not left:
        return None
    states = {cell: progress(out, cell) for cell in cells}
    paces = [pace for _, pace in states.values() if pace is not None]
    lines, total, seconds = [], 0, 0.0
    for cell in left:
        done, pace = states[cell]
        total += cell.epochs - done
        seconds += (cell.epochs - done) * (pace or (statistics.mean(paces) if paces else 0.0))
        lines.append(f"  {cell.name}: {done} of {cell.epochs} epochs")
    time_left = f", about {seconds / 60:.0f} min of training" if paces else ""
    return "\n".join(["Left:", *lines, f"{total} epochs in {len(left)} runs{time_left}; the same command goes on."])


def describe_plan(out: Path, cells: Sequence[Cell], data: Benchmark) -> str:
    """Return what the cells will cost: sample passes, parameters, and memory that the data take on the device."""
    samples = len(data.train_labels)
    network = build(cells[0].network, data, seed=0)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    stored = sum(inputs.numel() * inputs.element_size() for inputs in (data.train_inputs, data.test_inputs))
    lines = [
        f"{samples} training and {len(data.test_labels)} test images; {cells[0].network}: {parameters:,} parameters",
        f"data on the device: {stored / 2**20:.0f} MiB; evidence: {4 * samples * data.num_classes / 2**20:.1f} MiB",
    ]
    for cell in cells:
        done = "finished" if read_cell(out / "cells", cell) else f"{progress(out, cell)[0]} done"
        passes = methods.LABEL_METHODS[cell.method].passes(samples, cell.epochs)
        relative = passes / (methods.TRAINING_PASSES * cell.budget * samples)
        lines.append(f"  {cell.name}: {cell.epochs} epochs, {passes:,} passes, {relative:.3f} of CE's; {done}")
    return "\n".join(lines)


# ---------------------------------------------------------------- the report


def comparison(rows: Sequence[Row]) -> tuple[str, str, Grid]:
    """Return head, note and table of our last epochs, and published ones below them."""
    keys = distinct(row.noise.partition(":")[2] for row in rows)
    budget = rows[0].config["budget"]
    plain_passes = methods.TRAINING_PASSES * budget * rows[0].first["samples"]
    lines: list[list[Any]] = [["method", "network", "nets", "epochs", "passes, CE = 1", *keys]]
    for label in distinct(row.label for row in rows):
        own = {row.noise.partition(":")[2]: row for row in rows if row.label == label}
        row = next(iter(own.values()))
        passes = f"{row.mean('sample_passes') / plain_passes:.2f}"
        scores = [percent(own[key][SCORE]) if key in own else "-" for key in keys]
        lines.append([label, row.config["network"], row.networks, row.config["epochs"], passes, *scores])
    for published in CIFAR10N:
        passes = " to ".join(distinct(f"{cost * published.epochs / budget:.2g}" for cost in published.cost))
        scores = [f"{published.accuracy[key]:.1f}" if key in published.accuracy else "-" for key in keys]
        name = f"{published.method} (published)"
        lines.append([name, published.network or "-", published.networks, published.epochs, passes, *scores])
    note = (
        "Test accuracy of the last epoch, in %: ours, mean ± sample standard deviation, beside published methods in"
        f" their authors' own settings, 3 seeds, {CIFAR10N_SOURCE}. Passes: an epoch of cross-entropy is 3 a sample;"
        f" 1 is plain training over {budget} epochs. A pass of one network is not one of another."
    )
    return "## Beside published methods", note, Grid([[str(text) for text in line] for line in lines], left=(0, 1))


def write_results(out: Path, records: Sequence[Record]) -> list[Row]:
    """Write `results.json`, `results.md` and the pictures of finished cells into a folder, and return the rows."""
    rows = rows_of(records)
    payload = {
        "title": TITLE,
        "summary": [row.plain() for row in rows],
        "published": {"source": CIFAR10N_SOURCE, "rows": [asdict(row) for row in CIFAR10N]},
        "cells": list(records),
    }
    text = page(TITLE, records, *comparison(rows))
    write_report(out, payload, text, functools.partial(study_figures, records, rows))
    return rows


# ---------------------------------------------------------------- the command


def train_cells(out: Path, cells: Sequence[Cell], data: Benchmark, clock: Clock, console: Console) -> int:
    """Train what is not finished, cell by cell, until the time is over; return how many cells failed."""
    failed = 0
    for cell in cells:
        if read_cell(out / "cells", cell) is not None:
            continue
        if not clock.allows_an_epoch():
            break
        try:
            result = run_cell(cell, data, run_folder(out, cell), clock)
        except TimeOverError:
            break
        except NoisyCorrectError as error:  # a run that diverges, or that another process works on, stops no other
            console.print(f"{cell.name}: {error}", markup=False, highlight=False, soft_wrap=True)
            failed += 1
            continue
        (out / "cells").mkdir(parents=True, exist_ok=True)
        write_cell(out / "cells", cell, result)
    return failed


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser("cifar10n", "Last epochs on the labels that people gave to CIFAR-10.")
    add = parser.add_argument
    add("--data-dir", type=Path, required=True, help="folder of CIFAR-10 with CIFAR-10N's labels")
    add("--labels", default="aggregate,random1", help="sets of labels, with commas (default: %(default)s)")
    add("--network", default="preact_resnet18", help=f"{', '.join(NETWORKS)} (default: %(default)s)")
    add("--methods", default="ce,elr,robust", help="methods, with commas (default: %(default)s)")
    add("--epochs", type=int, default=120, help="budget in epochs of plain training (default: %(default)s)")
    add("--lr", type=float, default=0.05, help="peak learning rate (default: %(default)s)")
    add("--batch-size", type=int, default=128, help="samples in a batch (default: %(default)s)")
    add("--seeds", type=int, default=1, help="number of seeds (default: %(default)s)")
    add("--minutes", type=float, default=10.0, help="train for at most so long in this call (default: %(default)g)")
    add("--out", type=Path, default=RUNS, help="folder of runs and report (default: %(default)s)")
    add("--dry-run", action="store_true", help="print the plan, train nothing")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Train for a while, write the report of what is finished, say what is left; return the exit status."""
    arguments = parse_arguments(words)
    console = Console()
    show = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
    try:
        if not arguments.dry_run:
            require("matplotlib")
        clock = Clock(finite_number("--minutes", arguments.minutes, above=0, fix="10 is usual"))
        data = load("cifar10", arguments.data_dir)
        cells = make_cells(arguments, data)
        plan = describe_plan(arguments.out, cells, data)
    except NoisyCorrectError as error:
        return usage(error)
    show(plan)
    if arguments.dry_run:
        return FINISHED
    device = resolve_device("auto")
    torch.backends.cudnn.benchmark = device.type == "cuda"  # all batches but the last one have one shape
    on_device = {name: getattr(data, name).to(device) for name in ("train_inputs", "test_inputs")}
    failed = train_cells(arguments.out, cells, replace(data, **on_device), clock, console)
    records = [record for cell in cells if (record := read_cell(arguments.out / "cells", cell)) is not None]
    if records:
        print_study(write_results(arguments.out, records), console)
        show(f"Report: {arguments.out / 'results.md'}")
    left = describe_left(arguments.out, cells)
    if left is not None:
        show(left)
    return FAILED if failed else LEFT if left else FINISHED


if __name__ == "__main__":
    sys.exit(main())
