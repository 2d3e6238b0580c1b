"""``noisycorrect export``."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from noisycorrect.cli.stores import Subparsers, opened_store
from noisycorrect.support.errors import InvalidInputError


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of ``noisycorrect``."""
    parser = subparsers.add_parser(
        "export",
        help="write a run's refined labels as plain files",
        description="Write refined labels into a new folder, as their kind has them: labels.npy, int64 (N,) or (N, K), "
        "-1 for none; of sequences all tokens one after the other, and lengths.npy; of masks one grey PNG of class "
        "indices a sample, named by its position, 255 where the given mask ignores.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run folder, a saved result, or a label store")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new or empty folder")
    parser.add_argument("--generation", type=int, metavar="M", help="labels after cycle M (default: the latest)")
    parser.add_argument("--probs", action="store_true", help="also probs.npy, float32 (N, K); not of masks")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    store = opened_store(options.run_dir)
    number = store.generation if options.generation is None else options.generation
    store.trust(0, generation=number)  # raises before anything is written if there is no such generation
    labels, refined = (functools.partial(read, generation=number) for read in (store.labels, store.refined))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        if any(options.out.iterdir()):
            raise InvalidInputError(
                f"a new or empty folder at {options.out}", got="a folder with files", fix="choose another folder"
            )
        count = store.kind.export(options.out, labels, refined if options.probs else None)
    except OSError as error:
        fix = "free space, or choose another folder"
        raise InvalidInputError(f"to write into {options.out}", got=str(error), fix=fix) from error
    print(f"{count} labels of generation {number} written to {options.out}")
    return 0
