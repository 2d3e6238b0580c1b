"""The arena: a recipe judged as a whole, over sets x preparations x networks x optimizers x noises, by its regret.

    python -m benchmarks.arena --quick
    python -m benchmarks.arena --data-dir DIR --half development --recipes ce,elr,robust
    python -m benchmarks.arena --data-dir DIR

Last epoch, equal sample passes, a recipe's defaults and nothing else. DIR holds tables, `arena/NAME.npz` (X, y, names)
or any `NAME.csv` with a label column, and may hold the folders `cifar10` and `crowd`; without it there are the sets of
scikit-learn and generated ones. The standard plan is a balanced fraction of the whole product, see
:mod:`benchmarks.arenas.plan`. Finished cells are kept, and computed again when the code or the recipe changes that
they were computed with.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks.arenas import plan
from benchmarks.arenas.cell import Cell, cell_of, run_cell
from benchmarks.arenas.contenders import contender, standard_rows
from benchmarks.arenas.networks import NETWORKS
from benchmarks.arenas.noises import NOISES, check_noise
from benchmarks.arenas.optimizers import OPTIMIZERS
from benchmarks.arenas.plan import Place, fraction, whole
from benchmarks.arenas.preparations import PREPARATIONS
from benchmarks.arenas.report import print_board, write_arena
from benchmarks.arenas.sets import HALVES, Entry, facts_of, find_sets
from benchmarks.lab.experiment import (
    add_cell_options,
    add_seed_options,
    new_parser,
    reported,
    run_study,
    seeds_of,
    usage,
)
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError, unknown_name

TITLE = "The arena"
EPOCHS, IMAGE_EPOCHS = 40, 10
ROWS, IMAGE_ROWS, TEST_ROWS = 1500, 5000, 2000
QUICK_SETS = ("digits", "mixture", "wine", "spheres", "counts")
QUICK_NOISES = ("none", "symmetric:0.4", "pairflip:0.3")


def make_places(arguments: argparse.Namespace, found: Sequence[Entry]) -> list[Place]:
    """Return the places that the command line asks for, of the sets that are there.

    Raises
    ------
    InvalidInputError
        If a name is unknown, or nothing is left.
    """
    names = [entry.name for entry in found]
    sets = _chosen("set", arguments.sets, names) or (QUICK_SETS if arguments.quick else names)
    entries = [e for e in found if e.name in sets and arguments.half in (None, e.half)]
    noises = None if arguments.noises is None else arguments.noises.split(",")
    for spelling in noises or ():
        check_noise(spelling)
    if noises is None and arguments.quick:
        noises = list(QUICK_NOISES)
    make = whole if arguments.full else fraction
    places = make(entries, seeds_of(arguments), noises)
    for factor, known in (("network", NETWORKS), ("preparation", PREPARATIONS), ("optimizer", OPTIMIZERS)):
        kept = _chosen(factor, getattr(arguments, f"{factor}s"), known)
        places = [place for place in places if not kept or getattr(place, factor) in kept]
    places = [p for p in places if not p.noise.startswith("human:") or p.noise in plan.noises_of(p.entry)]
    if not places:
        raise InvalidInputError("a place of the plan", got="none", fix="ask for less at once, or pass --full")
    return places


def _chosen(what: str, words: str | None, known: Collection[str]) -> list[str]:
    names = [] if words is None else [name.strip() for name in words.split(",")]
    for name in names:
        if name not in known:
            raise unknown_name(what, name, known)
    return names


def make_cells(arguments: argparse.Namespace, found: Sequence[Entry]) -> list[Cell]:
    """Return the cells that the command line asks for, place by place.

    Raises
    ------
    InvalidInputError
        If a name is unknown, a number out of range, or a set cannot be read.
    """
    names = standard_rows() if arguments.recipes is None else [n.strip() for n in arguments.recipes.split(",")]
    rows = [contender(name) for name in names]
    epochs = arguments.epochs and whole_number("--epochs", arguments.epochs, least=2)
    most = arguments.rows and whole_number("--rows", arguments.rows, least=50)
    places = make_places(arguments, found)
    return [
        cell_of(
            place,
            row.name,
            budget=epochs or (IMAGE_EPOCHS if place.entry.images else EPOCHS),
            rows=most or (IMAGE_ROWS if place.entry.images else ROWS),
            test_rows=TEST_ROWS,
            data=facts_of(place.entry).fingerprint,
        )
        for place in places
        for row in rows
        if row.fits(images=place.entry.images)
    ]


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser("arena", "How far a recipe is behind the best published method, set by set, noise by noise.")
    add = parser.add_argument
    add("--quick", action="store_true", help=f"{', '.join(QUICK_SETS)} under three noises: about five minutes")
    add("--full", action="store_true", help="the whole product instead of a balanced fraction of it")
    add("--data-dir", type=Path, help="folder of arena/NAME.npz, NAME.csv, cifar10, crowd; some sets need none")
    add("--label", default="label", help="label column of CSV files (default: %(default)s)")
    add("--half", choices=HALVES, help="only the sets of one half (default: both)")
    add("--sets", help="only these sets, with commas")
    add("--noises", help=f"noises, with commas: {', '.join(NOISES)}, human:KEY, or any other spelling")
    add("--networks", help=f"only places of the plan with these: {', '.join(NETWORKS)}")
    add("--preparations", help=f"only places of the plan with these: {', '.join(PREPARATIONS)}")
    add("--optimizers", help=f"only places of the plan with these: {', '.join(OPTIMIZERS)}")
    add("--recipes", help="rows, with commas (default: all public ones)")
    add("--epochs", type=int, help=f"budget in epochs of plain training (default: {EPOCHS}; images {IMAGE_EPOCHS})")
    add("--rows", type=int, help=f"most training rows (default: {ROWS:,}; images {IMAGE_ROWS:,})")
    add_seed_options(parser, 1)
    add_cell_options(parser, "arena")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the arena, write the report, print its main tables; return the exit status."""
    arguments = parse_arguments(words)
    try:
        found, left = find_sets(arguments.data_dir, arguments.label)
    except NoisyCorrectError as error:
        return usage(error)
    for sentence in left:
        print(f"Left out: {sentence}.", file=sys.stderr)
    paths = {entry.name: (None if entry.path is None else str(entry.path), entry.label) for entry in found}
    return run_study(
        arguments,
        functools.partial(make_cells, arguments, found),
        functools.partial(run_cell, paths),
        reported(arguments, functools.partial(write_arena, left=left), print_board, TITLE),
    )


if __name__ == "__main__":
    sys.exit(main())
