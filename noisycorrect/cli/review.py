"""``noisycorrect review``."""

from __future__ import annotations

import argparse
from pathlib import Path

from noisycorrect.cli.stores import Subparsers
from noisycorrect.review.server import serve_review


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of ``noisycorrect``."""
    parser = subparsers.add_parser(
        "review",
        help="look at doubtful labels in the browser, and decide",
        description="Serve a page on this machine alone that shows a cleaning run's labels, the most suspicious first: "
        "accept the correction, keep the label, or choose another class. Decisions are saved at once.",
    )
    parser.add_argument(
        "run_dir",
        type=Path,
        metavar="RUN",
        help="the folder that `noisycorrect clean` wrote; or a run folder that, of masks, "
        "noisycorrect_seg.sessions.write_mask_items has made ready, of others write_items",
    )
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open nothing")
    parser.set_defaults(run=_review)


def _review(options: argparse.Namespace) -> int:
    decided = serve_review(options.run_dir, port=options.port, browser=not options.no_browser)
    print(f"\n{decided:,} decisions are saved in {options.run_dir}")
    return 0
