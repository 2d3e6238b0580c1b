"""What many samples and many classes take: peak memory, bytes on disk and time, each in a process of its own.

python -m benchmarks.scale                            # at a fifth of the size; memory is extended to all of it
python -m benchmarks.scale --rows robust-1000 --share 1
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.lab.experiment import FINISHED, add_report_options, new_parser, progress, say_where, usage
from benchmarks.lab.report import write_report
from benchmarks.lab.tables import Column, console, down, markdown, show
from benchmarks.measures.scale import ROWS
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import NoisyCorrectError, unknown_name
from noisycorrect.support.files import write_json

TITLE = "Scale"
SMALLER = 0.25  # of a share: the second size, from which and the first memory is extended
ABOUT = (
    "Each size in a process of its own. Memory is the peak of what it held beyond what it held before the run (PyTorch,"
    " the library, the inputs), by the kernel's count of anonymous pages, which cannot be given back, and file pages,"
    " which can: those of stores and of mapped evidence. Where a row was run at two sizes and not at its whole one, the"
    " line through both is extended to it. Errors are those of evidence after ten epochs, against float64."
)


@dataclass(frozen=True)
class Found:
    """What one row came to.

    Attributes
    ----------
    name, note : str
        Which, and what else was seen.
    samples, classes : int
        N and K of the size that was measured.
    memory, files : float
        Peak of anonymous and of file pages beyond those before the run, GB.
    disk : float
        Bytes in the run folder at its end, GB.
    seconds : float
        Of processor time.
    whole : int
        N of the whole size.
    extended : float
        Memory at the whole size: measured, or on the line through two sizes, GB.
    budget : float or None
        Most memory that the whole size may take, GB.
    """

    name: str
    note: str
    samples: int
    classes: int
    memory: float
    files: float
    disk: float
    seconds: float
    whole: int
    extended: float
    budget: float | None


def measured(name: str, samples: int, cells: Path) -> dict[str, float | str]:
    """Run a row at a size in a process of its own, and return its figures; what lies in `cells` is not run again."""
    cell = cells / f"{name}-{samples}.json"
    if not cell.exists():
        command = [sys.executable, "-m", "benchmarks.measures.scale", name, str(samples)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        cells.mkdir(parents=True, exist_ok=True)
        write_json(cell, json.loads(done.stdout.splitlines()[-1]))
    figures: dict[str, float | str] = json.loads(cell.read_text(encoding="utf-8"))
    return figures


def found(name: str, share: float, cells: Path) -> Found:
    """Return what a row comes to at a share of its whole size; of a share below 1 it is run at two sizes."""
    row = ROWS[name]
    samples = max(2, round(share * row.samples))
    large = measured(name, samples, cells)
    extended = float(large["memory"])
    if samples < row.samples:
        few = max(1, round(SMALLER * samples))
        small = measured(name, few, cells)
        slope = (float(large["memory"]) - float(small["memory"])) / (samples - few)
        extended = float(large["memory"]) + slope * (row.samples - samples)
    figures = {key: float(large[key]) for key in ("memory", "files", "disk", "seconds")}
    return Found(
        name=name,
        note=str(large["note"]),
        samples=samples,
        classes=row.classes,
        whole=row.samples,
        extended=extended,
        budget=row.budget,
        **figures,
    )


def _budget(row: Found) -> str:
    if row.budget is None:
        return ""
    return f"{row.budget:g}" + ("" if row.extended <= row.budget else " (missed)")


_COLUMNS: list[Column[Found]] = [
    ("what", lambda row: ROWS[row.name].what),
    ("samples", lambda row: f"{row.samples:,}"),
    ("classes", lambda row: f"{row.classes:,}"),
    ("memory, GB", lambda row: f"{row.memory:.2f}"),
    ("file pages, GB", lambda row: f"{row.files:.2f}"),
    ("on disk, GB", lambda row: f"{row.disk:.2f}"),
    ("CPU s", lambda row: f"{row.seconds:.0f}"),
    ("memory at the whole size, GB", lambda row: f"{row.extended:.2f} ({row.whole:,})"),
    ("budget", _budget),
    ("note", lambda row: row.note),
]


def page(rows: Sequence[Found]) -> str:
    """Return the table as Markdown."""
    return markdown(f"# {TITLE}", ABOUT, down(rows, _COLUMNS, left=(0, 9)))


def main(words: Sequence[str] | None = None) -> int:
    """Measure, write the report, print the table; return the exit status."""
    parser = new_parser("scale", "Peak memory with many samples and many classes.")
    parser.add_argument("--rows", default=",".join(ROWS), help="which (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.2, help="of the whole sizes (default: %(default)s)")
    parser.add_argument("--cells", type=Path, help="folder of the finished sizes (default: cells, in the report's)")
    add_report_options(parser, "scale")
    arguments = parser.parse_args(words)
    names = arguments.rows.split(",")
    try:
        share = finite_number("--share", arguments.share, above=1e-6, below=1 + 1e-9, fix="0.2 is the default")
        for name in names:
            if name not in ROWS:
                raise unknown_name("row", name, ROWS)
        cells = arguments.cells or arguments.out / "cells"
        rows = [found(name, 1.0 if ROWS[name].always_whole else share, cells) for name in progress(names, "rows")]
    except NoisyCorrectError as error:
        return usage(error)
    screen = console()
    show(down(rows, _COLUMNS[:-1], left=(0,)), screen, TITLE)
    payload = {"rows": [asdict(row) for row in rows], "share": share}
    write_report(arguments.out, payload, page(rows), stem=arguments.stem)
    say_where(arguments, screen)
    return FINISHED


if __name__ == "__main__":
    sys.exit(main())
