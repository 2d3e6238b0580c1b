"""``noisycorrect estimate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from noisycorrect.cli.stores import Subparsers, class_names_in, opened_store, verdict_of
from noisycorrect.review.noise_rate import estimate_store_noise
from noisycorrect.support.cells import visible


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of ``noisycorrect``."""
    parser = subparsers.add_parser(
        "estimate",
        help="say how many labels are wrong",
        description="Estimate the share of wrong labels and the confusion of classes from a run's evidence.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run folder, a saved result, or a label store")
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="all figures as JSON, transition matrix included")
    parser.set_defaults(run=_estimate)


def _estimate(options: argparse.Namespace) -> int:
    found = estimate_store_noise(opened_store(options.run_dir), level=options.level)
    print(found.to_json() if options.json else visible(verdict_of(found, class_names_in(options.run_dir))))
    return 0
