"""What the engine costs, as ratios against a reference measured in the same run, in turns.

python -m benchmarks.speed                       # about two minutes on two cores
python -m benchmarks.speed --rows store,loader --repeats 9
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.lab.experiment import FINISHED, add_report_options, new_parser, progress, say_where, usage
from benchmarks.lab.extras import require
from benchmarks.lab.measurement import Measurement, figure, page, print_rows
from benchmarks.lab.report import write_report
from benchmarks.lab.tables import console
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import NoisyCorrectError, unknown_name

#: Rows by name: the module of :mod:`benchmarks.measures` and its function `measure_NAME(folder, repeats)`.
ROWS = {
    "import": "imports",
    "cycle": "engine",
    "recalibration": "engine",
    "store": "engine",
    "loader": "engine",
    "lovasz": "parsing",
    "losses": "losses",
    "issues": "mask_issues",
    "relabelling": "parsing",
    "flagship": "parsing",
    "projection": "parsing",
    "warp": "parsing",
    "crops": "parsing",
    "network": "network",
    "compile": "network",
    "backbones": "backbones",
    "doubted": "doubted",
    "average": "doubted",
}


def measure(name: str, repeats: int) -> list[Measurement]:
    """Return the measurements of a row.

    Raises
    ------
    NoisyCorrectError
        If there is no such row, or it needs a package that is not installed.
    """
    if name not in ROWS:
        raise unknown_name("row", name, ROWS)
    if ROWS[name] in ("parsing", "network", "losses", "doubted"):
        require("PIL")
    module = importlib.import_module(f"benchmarks.measures.{ROWS[name]}")
    with tempfile.TemporaryDirectory() as folder:
        found: list[Measurement] = getattr(module, f"measure_{name}")(Path(folder), repeats)
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Measure, write the report, print the table; return the exit status."""
    parser = new_parser("speed", "Ratios of time and size.")
    parser.add_argument("--rows", default=",".join(ROWS), help="which (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of timings (default: %(default)s)")
    add_report_options(parser, "speed")
    arguments = parser.parse_args(words)
    names = arguments.rows.split(",")
    try:
        require("matplotlib")
        whole_number("--repeats", arguments.repeats, least=1)
        for name in names:
            if name not in ROWS:
                raise unknown_name("row", name, ROWS)
        rows = [row for name in progress(names, "rows") for row in measure(name, arguments.repeats)]
    except NoisyCorrectError as error:
        return usage(error)
    screen = console()
    print_rows(rows, screen)
    payload = {"rows": [asdict(row) for row in rows], "repeats": arguments.repeats}
    write_report(arguments.out, payload, page(rows), lambda: {"ratios": figure(rows)}, stem=arguments.stem)
    say_where(arguments, screen)
    return FINISHED


if __name__ == "__main__":
    sys.exit(main())
