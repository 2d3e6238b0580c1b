"""``noisycorrect report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from noisycorrect.cli.stores import Subparsers
from noisycorrect.review.report import write_report


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of ``noisycorrect``."""
    parser = subparsers.add_parser(
        "report",
        help="write a page that says how many labels are wrong, and which",
        description="Write one HTML page: how many labels are wrong, by class and annotator, what is confused, the "
        "worst with their text, row or picture, what correcting bought, and how it was made. The page asks for nothing "
        "from the network, so it can be mailed.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a run folder, a saved result, or a label store")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the run folder")
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    print(f"report written to {write_report(options.run_dir, options.out)}")
    return 0
