"""What does a photo cost in each runtime, and what does the runtime change? PyTorch, ONNX, and 8-bit whole numbers.

    python -m benchmarks.deploy

A small A-CE2P is trained on drawn people, so that there is something to be equal in. The published network, a
ResNet-101 at 473 x 473, is timed with random weights.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.lab.experiment import FINISHED, add_report_options, new_parser, say_where, usage
from benchmarks.lab.extras import require
from benchmarks.lab.figures import Panel, panels
from benchmarks.lab.report import write_report
from benchmarks.lab.tables import Column, console, down, markdown, show
from benchmarks.parsing.runtimes import REFERENCE, Row, crops_of, full_size, in_runtimes, measured, trained
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import NoisyCorrectError
from noisycorrect_seg.datasets import SyntheticPeople

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Runtimes of parsing networks"
SIZE, BATCHES = (128, 96), (1, 8)
SMALL, FULL = "ResNet-18, width 0.25, 128 x 96, trained", "ResNet-101, 473 x 473, random weights"
CALIBRATION, FULL_CALIBRATION = 64, 8  # photos


def measure(settings: Mapping[str, int]) -> list[Row]:
    """Return the rows of both networks; of the small one alone if `full` is 0."""
    before, seed = torch.get_num_threads(), settings["seed"]
    torch.set_num_threads(settings["threads"])
    try:
        people = SyntheticPeople(settings["images"], seed=seed, size=SIZE)
        unseen = SyntheticPeople(CALIBRATION, seed=seed, size=SIZE, split="calibration")
        photos = [unseen.image(index) for index in range(len(unseen))]
        val = SyntheticPeople(settings["photos"], seed=seed, size=SIZE, split="val")
        network = trained(people, settings["epochs"], seed)
        with tempfile.TemporaryDirectory() as folder:
            runtimes = in_runtimes(network, photos, Path(folder), settings["threads"])
            crops = crops_of(val, SIZE, max(BATCHES))
            rows = measured(SMALL, runtimes, crops, BATCHES, 4 * settings["repeats"], val)
        if settings["full"]:
            full = full_size(len(people.classes), seed)
            assert full.size is not None
            with tempfile.TemporaryDirectory() as folder:
                runtimes = in_runtimes(full, photos[:FULL_CALIBRATION], Path(folder), settings["threads"])
                crops = crops_of(val, full.size, max(BATCHES))
                rows += measured(FULL, runtimes, crops, BATCHES, settings["repeats"])
        return rows
    finally:
        torch.set_num_threads(before)


def rows_of(found: Mapping[str, Any]) -> list[Row]:
    """Return the rows in a report's JSON."""
    return [Row(**row) for row in found["rows"]]


def page(found: Mapping[str, Any]) -> str:
    """Return the tables as Markdown, one a network."""
    rows, settings = rows_of(found), found["settings"]
    about = (
        f"Milliseconds a photo of the network alone, on the CPU with {settings['threads']} threads: medians, the"
        f" runtimes in turns. Files hold weights, of ONNX also the graph. Equal pixels: of {settings['photos']} unseen"
        f" drawn people, whose class is that of {REFERENCE}; mean IoU: against their true masks. The small"
        f" network was trained on"
        f" {settings['images']} drawn people for {settings['epochs']} epochs, and calibrated for INT8 on"
        f" {CALIBRATION} others. The other one has random weights: its times and sizes alone mean something."
    )
    blocks: list[Any] = [f"# {TITLE}", about]
    for name in dict.fromkeys(row.network for row in rows):
        own = [row for row in rows if row.network == name]
        blocks += [f"## {name}", down(own, _columns(own))]
    return markdown(*blocks)


def _columns(rows: Sequence[Row]) -> list[Column[Row]]:
    base = rows[0]
    columns: list[Column[Row]] = [("runtime", lambda row: row.runtime)]
    for batch in base.milliseconds:
        columns.append((f"ms, batch {batch}", functools.partial(_milliseconds, batch)))
        columns.append(("faster", functools.partial(_speed_up, base, batch)))
    columns.append(("file, MB", lambda row: f"{row.megabytes:.1f}"))
    if base.mean_iou is not None:
        columns.append(("equal pixels, %", lambda row: f"{100 * (row.equal_pixels or 0):.2f}"))
        columns.append(("mean IoU, %", lambda row: f"{100 * (row.mean_iou or 0):.2f}"))
        columns.append(("change", functools.partial(_change, base)))
    return columns


def _milliseconds(batch: str, row: Row) -> str:
    return _said(row.milliseconds[batch])


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _speed_up(base: Row, batch: str, row: Row) -> str:
    return f"{base.milliseconds[batch] / row.milliseconds[batch]:.2f}x"


def _change(base: Row, row: Row) -> str:
    return f"{100 * ((row.mean_iou or 0) - (base.mean_iou or 0)):+.2f}"


def figure(rows: Sequence[Row]) -> Figure:
    """Return bars of the times: a panel a network, a bar a runtime and batch."""
    drawn: list[Panel] = [
        (name, functools.partial(_draw, [row for row in rows if row.network == name]))
        for name in dict.fromkeys(row.network for row in rows)
    ]
    return panels(drawn, 6.2, 3.2, label="milliseconds a photo", most_across=2)


def _draw(rows: Sequence[Row], axes: Axes) -> None:
    batches = list(rows[0].milliseconds)
    height = 0.8 / len(batches)
    for number, batch in enumerate(batches):
        places = [place + (number - (len(batches) - 1) / 2) * height for place in range(len(rows))]
        values = [row.milliseconds[batch] for row in rows]
        colour = ("#0072B2", "#56B4E9")[number % 2]
        axes.barh(places, values, height * 0.95, color=colour, label=f"batch {batch}")
        for place, value in zip(places, values, strict=True):
            axes.annotate(f" {_said(value)}", (value, place), va="center", fontsize=7)
    axes.set_yticks(range(len(rows)), [row.runtime for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)


def main(words: Sequence[str] | None = None) -> int:
    """Train, measure, write the report, print the table; return the exit status."""
    parser = new_parser("deploy", "What a photo costs in each runtime, and what the runtime changes.")
    for name, default, text in (
        ("epochs", 12, "of the small network"),
        ("images", 400, "that it is trained on"),
        ("photos", 96, "that runtimes are compared on"),
        ("repeats", 5, "of each time; four times as many of the small network's"),
        ("threads", 2, "of each runtime"),
        ("seed", 0, "of people and weights"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} (default: %(default)s)")
    parser.add_argument("--small-only", action="store_true", help="leave out the network of the published size")
    add_report_options(parser, "deploy")
    arguments = parser.parse_args(words)
    names = ("epochs", "images", "photos", "repeats", "threads", "seed")
    try:
        require("matplotlib", "PIL", "onnx", "onnxscript", "onnxruntime", "safetensors")
        settings = {
            name: whole_number(f"--{name}", getattr(arguments, name), least={"seed": 0, "photos": 8}.get(name, 1))
            for name in names
        }
        settings["full"] = int(not arguments.small_only)
        rows = measure(settings)
    except NoisyCorrectError as error:
        return usage(error)
    screen = console()
    for name in dict.fromkeys(row.network for row in rows):
        own = [row for row in rows if row.network == name]
        show(down(own, _columns(own)), screen, name)
    found = {"settings": settings, "rows": [asdict(row) for row in rows]}
    write_report(arguments.out, found, page(found), lambda: {"times": figure(rows)}, stem=arguments.stem)
    say_where(arguments, screen)
    return FINISHED


if __name__ == "__main__":
    sys.exit(main())
