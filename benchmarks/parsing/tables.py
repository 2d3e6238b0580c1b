"""The tables of a parsing study: for the terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.parsing.reference import SOURCE, paper_table
from benchmarks.parsing.rows import METHODS
from benchmarks.parsing.summary import Row, Spread, verdict
from benchmarks.study import distinct

Grid = list[list[str]]  # head first; the best value stands between double asterisks
Column = tuple[str, Callable[[Row], str]]
NOTHING: Spread = (math.nan, math.nan)
TITLES = {
    "correction": "Self-correction for human parsing",
    "losses": "Terms of the parsing loss",
    "backbones": "Self-correction with several backbones",
    "context": "Self-correction with several context modules",
    "cycles": "Self-correction over the cycles",
}


def model_grid(rows: Sequence[Row]) -> Grid:
    """Return what the models have come to: validation metrics, gain over plain training, the paper's figure, cost."""
    columns: list[Column] = [
        ("row", lambda row: row.name),
        ("val mIoU", lambda row: _bold(percent(row.val["mean_iou"]), row.best)),
        ("gain", gain),
        ("pixel acc", lambda row: percent(row.val["pixel_accuracy"])),
        ("mean acc", lambda row: percent(row.val["mean_accuracy"])),
        ("mIoU in images", lambda row: percent(row.image_frame.get("mean_iou", NOTHING))),
        ("paper: mIoU", lambda row: "-" if row.paper is None else f"{100 * row.paper:.2f}"),
        ("seeds", lambda row: str(len(row.seeds))),
        ("epochs", lambda row: str(row.epochs)),
        ("params", lambda row: short(row.parameters)),
        ("passes", lambda row: short(row.sample_passes)),
        ("s/run", lambda row: short(row.seconds)),
    ]
    return _grid(rows, columns, always=("row", "val mIoU", "gain"))


def label_grid(rows: Sequence[Row]) -> Grid:
    """Return what the training labels have come to; no rows where no label was refined and none can be measured."""
    columns: list[Column] = [
        ("row", lambda row: row.name),
        ("pixel acc: given", lambda row: percent(row.before["label_accuracy"])),
        ("refined", lambda row: percent(row.after["label_accuracy"])),
        ("mIoU: given", lambda row: percent(row.before["label_mean_iou"])),
        ("refined", lambda row: percent(row.after["label_mean_iou"])),
        ("pixels changed", lambda row: percent(row.changed)),
    ]
    known = [row for row in rows if not math.isnan(row.changed[0])]
    return _grid(known, columns, always=("row",)) if known else []


def _grid(rows: Sequence[Row], columns: Sequence[Column], always: Sequence[str]) -> Grid:
    """Return a grid without the columns that say nothing: no paper number, no clean masks, one size of network."""
    body = [[text(row) for _, text in columns] for row in rows]
    kept = [
        place
        for place, (name, _) in enumerate(columns)
        if name in always
        or (
            any(line[place] != "-" for line in body) and (name != "params" or len({row.parameters for row in rows}) > 1)
        )
    ]
    return [[columns[place][0] for place in kept], *([line[place] for place in kept] for line in body)]


def class_grid(rows: Sequence[Row]) -> Grid:
    """Return the IoU of each class: classes down, rows across, the two means in both conventions last."""
    names = distinct(name for row in rows for name in row.class_iou)
    lines = [["class", *(row.name for row in rows)]]
    lines += [[name, *(percent(row.class_iou.get(name, NOTHING)) for row in rows)] for name in names]
    lines.append(["mean over the classes that occur", *(percent(row.val["mean_iou"]) for row in rows)])
    lines.append(["published: absent classes count 0", *(percent(row.val["published_mean_iou"]) for row in rows)])
    return lines


def cycle_grid(rows: Sequence[Row]) -> Grid:
    """Return the validation mean IoU after each cycle: rows down, cycles across; cycle 0 is the initial phase."""
    cycles = sorted({cycle for row in rows for cycle in row.by_cycle})
    head = ["row", *("initial" if cycle == 0 else f"cycle {cycle}" for cycle in cycles)]
    return [head, *([row.name, *(percent(row.by_cycle.get(cycle, NOTHING)) for cycle in cycles)] for row in rows)]


def markdown(title: str, study: str, rows: Sequence[Row], settings: Mapping[str, object]) -> str:
    """Return the page of a study."""
    lines = [f"# {title}", "", protocol(study, rows), "", ", ".join(f"{k} {v}" for k, v in settings.items()) + "."]
    lines += ["", *markdown_table(model_grid(rows)), "", *([verdict(rows), ""] if len(rows) > 1 else [])]
    lines += [f"- {name}: {METHODS[name].label}" for name in distinct(row.method for row in rows)]
    if labels := label_grid(rows):
        lines += ["", "## Training labels", "", LABELS, "", *markdown_table(labels)]
    lines += ["", "## After each cycle", "", "Validation mean IoU, in %.", "", *markdown_table(cycle_grid(rows))]
    lines += ["", "## Classes", "", "IoU on the validation set, in %; - where a class does not occur.", ""]
    lines += markdown_table(class_grid(rows))
    return "\n".join(lines) + "\n"


LABELS = (
    "Given and refined after the last cycle, in %; against the hidden clean masks where there are any, mIoU over the"
    " classes that occur. Changed: training pixels whose label is another than the given one."
)


def protocol(study: str, rows: Sequence[Row]) -> str:
    """Say what the columns are and where they come from."""
    text = (
        "Validation metrics after the **last epoch**, in the network's input frame, mean ± sample standard deviation"
        " over seeds, in %; mIoU over the classes that occur. All rows of a network have the same sample passes"
        " (forward 1, backward 2), rounded up for the others than self-correction. Gain: points of mIoU over plain"
        " training of the same network (of losses: over the first row), seed by seed. Bold: the highest mIoU, whichever"
        " row has it."
    )
    if any(row.paper is not None for row in rows):
        text += f" Paper: {paper_table(study)} of {SOURCE}; the real LIP, not comparable with ours."
    return text


def print_tables(study: str, rows: Sequence[Row], console: Console) -> None:
    """Print what the models and the labels have come to, the best model in bold green, and which row wins."""
    _print(f"{TITLES[study]}: validation, %", model_grid(rows), console)
    if labels := label_grid(rows):
        _print("Training labels, %", labels, console)
    if any(row.paper is not None for row in rows):
        console.print(f"paper: {paper_table(study)} on the real LIP, not comparable.", highlight=False)
    console.print(verdict(rows).replace("**", ""), soft_wrap=True, highlight=False)


def _print(title: str, grid: Grid, console: Console) -> None:
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for place, name in enumerate(grid[0]):
        table.add_column(name.replace(" ", "\n"), justify="right" if place else "left", no_wrap=True)
    for texts in grid[1:]:
        table.add_row(*(Text(t.strip("*"), style="bold green" if t.startswith("**") else "") for t in texts))
    console.print(table)


def markdown_table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return a grid as Markdown lines, its first column left, the others right."""
    head, *body = ["| " + " | ".join(texts) + " |" for texts in lines]
    return [head, "|---" + "|---:" * (len(lines[0]) - 1) + "|", *body]


def percent(spread: Spread) -> str:
    """Return a mean and a deviation in [0, 1] as per cent; "-" where there is none.

    Examples
    --------
    >>> percent((0.5, 0.01)), percent((0.5, math.nan)), percent((math.nan, math.nan))
    ('50.0 ± 1.0', '50.0', '-')
    """
    mean, std = (100 * value for value in spread)
    if math.isnan(mean):
        return "-"
    return f"{mean:.1f}" if math.isnan(std) else f"{mean:.1f} ± {std:.1f}"


def gain(row: Row) -> str:
    """Return what a row gains in points of mIoU; "-" for the row that others are compared with."""
    mean, std = (100 * value for value in row.gain)
    if math.isnan(mean):
        return "-"
    return f"{mean:+.1f}" if math.isnan(std) else f"{mean:+.1f} ± {std:.1f}"


def short(value: float) -> str:
    """Return a number with three digits and a letter.

    Examples
    --------
    >>> short(66_723_928), short(1347), short(math.nan)
    ('66.7 M', '1.35 k', '-')
    """
    if math.isnan(value):
        return "-"
    for letter, unit in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= unit:
            return f"{value / unit:.3g} {letter}"
    return f"{value:.3g}"


def _bold(text: str, best: bool) -> str:
    return f"**{text}**" if best else text
