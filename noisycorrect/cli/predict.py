"""``noisycorrect predict``."""

from __future__ import annotations

import argparse
from pathlib import Path

from noisycorrect.cli.stores import Subparsers
from noisycorrect.support.cells import visible
from noisycorrect.support.errors import InvalidInputError


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of ``noisycorrect``."""
    parser = subparsers.add_parser(
        "predict",
        help="label other rows with the model of a cleaning run",
        description="Write a table with two columns more: predicted_label, and probability, that of the label. If the "
        "table has labels, say how many are the predicted ones.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a folder that `noisycorrect clean` wrote")
    parser.add_argument("source", metavar="FILE", help="a table with the same columns, or a folder of pictures")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: predictions-FILE.csv in the run folder")
    parser.add_argument("--label", metavar="COLUMN", help="compare with these labels (default: those of the run)")
    parser.add_argument(
        "--root", type=Path, metavar="FOLDER", help="where the pictures lie (default: the table's folder)"
    )
    parser.add_argument("--encoding", help="of the file (default: found out)")
    parser.add_argument("--delimiter", help="of the file (default: found out)")
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> int:
    # Imported here: the other commands do not need all this.
    from noisycorrect.tables.opening import open_source
    from noisycorrect.tables.predicting import predict

    source = open_source(options.source, encoding=options.encoding, delimiter=options.delimiter)
    out = options.out or options.run_dir / f"predictions-{Path(options.source).resolve().stem}.csv"
    try:
        found = predict(options.run_dir, source, out, label=options.label, root=options.root)
    except OSError as error:
        fix = "free space or check permissions"
        raise InvalidInputError(f"to read {source.path} and to write {out}", got=str(error), fix=fix) from error
    print(f"{found.rows:,} rows with predicted labels written to {out}")
    for note in found.notes:
        print(f"note: {visible(note)}")
    if found.unreadable:
        print(f"{found.unreadable:,} pictures cannot be read and have no label")
    if found.compared:
        print(
            f"{100 * found.accuracy:.1f} % of {found.compared:,} labels in {found.label!r} are the predicted ones"
            f" ({100 * found.balanced:.1f} % on average over the classes)"
        )
    return 0
