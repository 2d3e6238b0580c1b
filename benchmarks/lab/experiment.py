"""What the commands of all experiments have in common: options, the study itself, exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track

from benchmarks.lab.cells import CellsFailedError, Record, run_cells
from benchmarks.lab.extras import require
from benchmarks.lab.tables import console
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import NoisyCorrectError

FINISHED, FAILED, USAGE = 0, 1, 2  # exit status
T = TypeVar("T")


def new_parser(name: str, description: str, **more: Any) -> argparse.ArgumentParser:
    """Return the parser of `python -m benchmarks.NAME`."""
    return argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description, **more)


def add_report_options(parser: Any, name: str) -> None:
    """Add where the report goes: by default below the current directory."""
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs") / name, help="report folder (default: %(default)s)")
    add("--stem", default="results", help="name of the report's files (default: %(default)s)")


def add_cell_options(parser: Any, name: str) -> None:
    """Add how cells are computed, where they are kept, and where the report goes."""
    add = parser.add_argument
    add("--processes", type=int, help="cells at a time (default: one a core; 1 on a GPU)")
    add("--cells", type=Path, help="folder of the finished cells (default: cells, in the report's)")
    add("--verbose", action="store_true", help="print a line a finished cell")
    add_report_options(parser, name)


def add_seed_options(parser: Any, default: int | None = None) -> None:
    """Add which seeds are run; without a default, it is the data set's or the suite's."""
    usual = "the data set's" if default is None else "%(default)s"
    parser.add_argument("--seeds", type=int, default=default, help=f"number of seeds (default: {usual})")
    parser.add_argument("--first-seed", type=int, default=0, help="first of them; from 100 on for choosing settings")


def seeds_of(arguments: argparse.Namespace, default: int = 1) -> Sequence[int]:
    """Return the seeds that `--first-seed` and `--seeds` say.

    Raises
    ------
    InvalidInputError
        If one of them is out of range.
    """
    count = default if arguments.seeds is None else whole_number("--seeds", arguments.seeds, least=1)
    first = whole_number("--first-seed", arguments.first_seed, least=0)
    return range(first, first + count)


def run_study(
    arguments: argparse.Namespace,
    make_cells: Callable[[], Sequence[Any]],
    run_one: Callable[[Any], Mapping[str, Any]],
    report: Callable[[list[Record]], None],
) -> int:
    """Compute what is missing of a study, write its report; return the exit status.

    Parameters
    ----------
    arguments : Namespace
        With the options of :func:`add_cell_options`.
    make_cells : callable
        Returns the cells; its errors are mistakes in the command.
    run_one : callable
        As for :func:`~benchmarks.lab.cells.run_cells`.
    report : callable
        Writes and prints what is known of the finished cells; called if there are any.
    """
    failed = None
    try:
        require("matplotlib")  # known before hours of computing, not after
        records = run_cells(
            make_cells(),
            run_one,
            arguments.cells or arguments.out / "cells",
            arguments.processes or (1 if torch.cuda.is_available() else None),
            verbose=arguments.verbose,
        )
    except CellsFailedError as error:
        records, failed = error.finished, error
    except NoisyCorrectError as error:
        return usage(error)
    if records:
        report(records)
    return finished(failed)


def reported(
    arguments: argparse.Namespace, write: Callable[..., T], show: Callable[[T, Console], None], title: str
) -> Callable[[list[Record]], None]:
    """Return what writes the report of a study and shows it: the `report` of :func:`run_study`.

    Parameters
    ----------
    arguments : Namespace
        With the options of :func:`add_report_options`.
    write : callable
        ``write(folder, records, title=, stem=)`` returns what is to be shown.
    show : callable
        ``show(found, console)``.
    title : str
        Of the page.
    """

    def report(records: list[Record]) -> None:
        screen = console()
        show(write(arguments.out, records, title=title, stem=arguments.stem), screen)
        say_where(arguments, screen)

    return report


def printed(
    arguments: argparse.Namespace, write: Callable[[Path, Sequence[Record], str], str]
) -> Callable[[list[Record]], None]:
    """Return what writes the report of a study and prints its page: the `report` of :func:`run_study`.

    Parameters
    ----------
    arguments : Namespace
        With the options of :func:`add_report_options`.
    write : callable
        ``write(folder, records, stem)`` returns the page.
    """

    def report(records: list[Record]) -> None:
        console().print(write(arguments.out, records, arguments.stem), markup=False, soft_wrap=True)

    return report


def usage(error: NoisyCorrectError) -> int:
    """Print a mistake in the command, and return its exit status."""
    print(error, file=sys.stderr)
    return USAGE


def finished(failed: CellsFailedError | None) -> int:
    """Return the exit status of a study, after a word about its failures."""
    if failed is not None:
        print(failed, file=sys.stderr)
    return FINISHED if failed is None else FAILED


def say_where(arguments: argparse.Namespace, console: Console) -> None:
    """Print where the report is."""
    console.print(f"Report: {arguments.out / arguments.stem}.md", soft_wrap=True, highlight=False)


def progress(entries: Iterable[T], label: str) -> Iterator[T]:
    """Yield the entries with a bar on a terminal, in silence elsewhere."""
    console = Console(stderr=True)
    yield from track(list(entries), label, console=console, disable=not console.is_terminal, transient=True)
