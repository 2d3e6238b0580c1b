"""``noisycorrect check``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from noisycorrect.cli.stores import Subparsers
from noisycorrect.saved.check import check_folder


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of ``noisycorrect``."""
    parser = subparsers.add_parser(
        "check",
        help="say what of a run folder is whole, and what can be saved",
        description="Read every bit of a run folder, a saved result or a label store, compare it with the digests that "
        "were written with it, and say what is whole, and what can be done about what is not. Nothing is changed. The "
        "exit status is 1 if something is damaged.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a run folder, a saved result, or a label store")
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    found, console = check_folder(options.run_dir), Console(highlight=False, soft_wrap=True)
    table = Table("file", "what", "state", "")
    for finding in found.findings:
        table.add_row(*(Text(cell) for cell in (finding.file, finding.what, finding.state, finding.detail)))
    console.print(table)
    for line in found.advice:
        console.print(line, markup=False)
    if found.whole:
        console.print("Everything is whole.")
    return 0 if found.whole else 1
