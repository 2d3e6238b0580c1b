"""``noisycorrect estimate``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from noisycorrect.cli.stores import Subparsers, class_names_in, opened_store, verdict_of
from noisycorrect.review.noise_rate import estimate_store_noise
from noisycorrect.review.session import has_items
from noisycorrect.review.session.items import read_header
from noisycorrect.support.cells import visible
from noisycorrect.support.errors import InvalidInputError


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
    if has_items(options.run_dir):
        return _of_cleaning(options)
    found = estimate_store_noise(opened_store(options.run_dir), level=options.level)
    print(found.to_json() if options.json else visible(verdict_of(found, class_names_in(options.run_dir))))
    return 0


def _of_cleaning(options: argparse.Namespace) -> int:
    """Say what `noisycorrect clean` has estimated, as its report does: from evidence that has not seen the labels."""
    noise = read_header(options.run_dir).figures.get("noise", {})
    if options.level != noise.get("level", options.level):
        fix = "leave --level out: its intervals are those of the report"
        raise InvalidInputError(f"--level {noise['level']:g} of a cleaned table", got=f"{options.level:g}", fix=fix)
    print(json.dumps(noise, indent=2) if options.json else visible(noise.get("verdict", "")))
    return 0
