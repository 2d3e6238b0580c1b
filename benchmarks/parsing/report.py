"""The report of a parsing study: rows, tables, verdict, JSON, Markdown, pictures."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmarks.lab.figures import lines, panels
from benchmarks.lab.published import LIP_SOURCE, paper_miou, paper_table
from benchmarks.lab.report import write_report
from benchmarks.lab.rows import NOTHING, Record, Row, Spread, distinct, mean_and_std, summarise
from benchmarks.lab.tables import (
    Grid,
    bold,
    bullets,
    down,
    markdown,
    percent,
    short,
    show,
    signed,
    without_empty_columns,
)
from benchmarks.parsing.methods import PARSING_METHODS
from benchmarks.parsing.pictures import load_evolutions, write_evolution
from benchmarks.parsing.plan import Variant
from noisycorrect_seg.classes import Classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORE = "val.mean_iou"
SERIES = ("val_mean_iou", "label_accuracy", "label_mean_iou", "agreement", "changed")
SHOWN = (
    "size", "backbone", "context", "width", "losses", "optimizer", "lr", "batch_size", "train", "val", "noise",
    "weights", "freeze", "backbone_rate", "precision",
)  # fmt: skip
TITLES = {
    "correction": "Self-correction for human parsing",
    "losses": "Terms of the parsing loss",
    "backbones": "Self-correction with several backbones",
    "context": "Self-correction with several context modules",
    "cycles": "Self-correction over the cycles",
}
LABELS = (
    "Given and refined after the last cycle, in %; against the hidden clean masks where there are any, mIoU over the"
    " classes that occur. Changed: training pixels whose label is another than the given one."
)
PROTOCOL = (
    "Validation metrics after the **last epoch**, in the network's input frame, mean ± sample standard deviation"
    " over seeds, in %; mIoU over the classes that occur. All rows of a network have the same sample passes"
    " (forward 1, backward 2), rounded up for the others than self-correction. Gain: points of mIoU over plain"
    " training of the same network (of losses: over the first row), seed by seed. Bold: the highest mIoU, whichever"
    " row has it."
)
CLASS_LOSS = 0.02  # a class that is further below plain training is named
Series = Mapping[str, Mapping[int, Spread]]  # a measure after each cycle; 0 is the initial phase


def rows_of(variants: Sequence[Variant], records: Sequence[Record]) -> list[Row]:
    """Return the rows of a study; a variant without a finished run is left out.

    Each is compared with plain training of the same network and loss, or else with the first row.

    Parameters
    ----------
    variants : sequence of Variant
        The rows, in order.
    records : sequence of {"row": ..., "config": ..., "result": ...}
        The finished cells, with the names of their variants.
    """
    known = {record["row"] for record in records}
    found = [variant for variant in variants if variant.name in known]

    def rival(row: Row, rows: Sequence[Row]) -> Row:
        name = _rival(next(variant for variant in found if variant.name == row.name), found).name
        return next(other for other in rows if other.name == name)

    return summarise([r for v in found for r in records if r["row"] == v.name], SCORE, rival=rival)


def _rival(variant: Variant, found: Sequence[Variant]) -> Variant:
    def kind(one: Variant) -> tuple[object, ...]:
        return one.losses, one.backbone, one.context

    plain = [other for other in found if other.method == "none" and kind(other) == kind(variant)]
    return plain[0] if plain and variant.method != "none" else found[0]


def series_of(records: Sequence[Record], row: Row) -> Series:
    """Return the measures of a row's history after each cycle."""
    histories = [record["result"]["history"] for record in records if record["row"] == row.name]
    found: dict[str, dict[int, list[float]]] = {name: {} for name in SERIES}
    for entry in sorted((entry for history in histories for entry in history), key=lambda entry: entry["cycle"]):
        for name in SERIES:
            if entry.get(name) is not None:
                found[name].setdefault(int(entry["cycle"]), []).append(entry[name])
    return {name: {cycle: mean_and_std(own) for cycle, own in cycles.items()} for name, cycles in found.items()}


def winner(rows: Sequence[Row]) -> Row | None:
    """Return the row with the highest mean IoU; None for a row alone, or if several are the highest."""
    best = [row for row in rows if SCORE in row.best]
    return best[0] if len(best) == 1 and len(rows) > 1 else None


def verdict(rows: Sequence[Row]) -> str:
    """Say in a sentence which row has the highest validation mean IoU, and by how much, whichever it is."""
    if len(rows) < 2:
        return ""
    first, second = sorted(rows, key=lambda row: -row.mean(SCORE))[:2]
    if winner(rows) is None:
        return f"No row wins: {first.name} and {second.name} have the same val mIoU."
    lead = first.mean(SCORE) - second.mean(SCORE)
    text = (
        f"Highest val mIoU: **{first.name}** ({_method(first)}), "
        f"{100 * lead:.2f} points above {second.name}"
    )  # fmt: skip
    spread = max(first[SCORE][1], second[SCORE][1])
    if math.isnan(spread):
        return text + "; one seed, so nobody knows the spread."
    return text + f"; {'less' if lead < spread else 'more'} than the spread over seeds."


def _method(row: Row) -> str:
    return PARSING_METHODS[row.config["method"]].reference


# ---------------------------------------------------------------- tables


def model_grid(study: str, rows: Sequence[Row]) -> Grid:
    """Return what the models have come to: validation metrics, gain over plain training, the paper's figure, cost."""
    first, sizes = winner(rows), {row.mean("parameters") for row in rows}
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("row", lambda row: row.name),
        ("val mIoU", lambda row: bold(percent(row[SCORE]), row is first)),
        ("gain", lambda row: signed(row.gain)),
        ("pixel acc", lambda row: percent(row["val.pixel_accuracy"])),
        ("mean acc", lambda row: percent(row["val.mean_accuracy"])),
        ("mIoU in images", lambda row: percent(row["image_frame.mean_iou"])),
        ("paper: mIoU", lambda row: _paper(study, row)),
        ("seeds", lambda row: str(len(row.seeds))),
        ("epochs", lambda row: str(epochs_of(row.config))),
        ("params", lambda row: short(row.mean("parameters")) if len(sizes) > 1 else "-"),
        ("passes", lambda row: short(row.mean("sample_passes"))),
        ("s/run", lambda row: short(row.mean("seconds"))),
    ]
    return without_empty_columns(down(rows, columns), always=("gain",))


def _paper(study: str, row: Row) -> str:
    reported = paper_miou(study, row.name)
    return "-" if reported is None else f"{reported:.2f}"


def epochs_of(config: Mapping[str, Any]) -> int:
    """Return the epochs of a run."""
    return int(config["init_epochs"] + config["cycles"] * config["cycle_epochs"])


def label_grid(rows: Sequence[Row]) -> Grid | None:
    """Return what the training labels have come to; None where no label was refined."""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("row", lambda row: row.name),
        ("pixel acc: given", lambda row: percent(row["labels_before.label_accuracy"])),
        ("refined", lambda row: percent(row["labels_after.label_accuracy"])),
        ("mIoU: given", lambda row: percent(row["labels_before.label_mean_iou"])),
        ("refined", lambda row: percent(row["labels_after.label_mean_iou"])),
        ("pixels changed", lambda row: percent(row["label_change"])),
    ]
    known = [row for row in rows if row.has("label_change")]
    return without_empty_columns(down(known, columns)) if known else None


def class_grid(rows: Sequence[Row]) -> Grid:
    """Return the IoU of each class: classes down, rows across, the two means in both conventions last."""
    names = distinct(name for row in rows for name in row.first["class_iou"])
    entries = [(name, f"class_iou.{name}") for name in names]
    entries += [("mean over the classes that occur", SCORE)]
    entries += [("published: absent classes count 0", "val.published_mean_iou")]
    body = [[name, *(percent(row[path]) for row in rows)] for name, path in entries]
    return Grid([["class", *(row.name for row in rows)], *body])


def classes_behind(rows: Sequence[Row]) -> list[str]:
    """Say of each row which classes are more than two points of IoU below plain training, if that is there."""
    plain = [row for row in rows if row.config["method"] == "none"]
    return [f"{row.name}: {_behind(row, plain[0])}" for row in rows if plain and row is not plain[0]]


def _behind(row: Row, plain: Row) -> str:
    paths = [f"class_iou.{name}" for name in row.first["class_iou"]]
    gains = {path.removeprefix("class_iou."): row.mean(path) - plain.mean(path) for path in paths}
    return ", ".join(f"{name} {100 * gain:+.1f}" for name, gain in gains.items() if gain < -CLASS_LOSS) or "none"


def cycle_grid(rows: Sequence[Row], series: Mapping[str, Series]) -> Grid:
    """Return the validation mean IoU after each cycle: rows down, cycles across; cycle 0 is the initial phase."""
    points = {row.name: series[row.name]["val_mean_iou"] for row in rows}
    cycles = sorted({cycle for own in points.values() for cycle in own})
    head = ["row", *("initial" if cycle == 0 else f"cycle {cycle}" for cycle in cycles)]
    return Grid([head, *([name, *(percent(own.get(c, NOTHING)) for c in cycles)] for name, own in points.items())])


def page(study: str, rows: Sequence[Row], records: Sequence[Record], *more: str) -> str:
    """Return the page of a study, with further paragraphs at its end."""
    series = {row.name: series_of(records, row) for row in rows}
    settings = ", ".join(f"{name} {value}" for name, value in _settings(records).items())
    methods = [f"{row.config['method']}: {_method(row)}" for row in rows]
    labels, behind, protocol = label_grid(rows), classes_behind(rows), PROTOCOL
    if any(paper_miou(study, row.name) is not None for row in rows):
        protocol += f" Paper: {paper_table(study)} of {LIP_SOURCE}; the real LIP, not comparable with ours."
    return markdown(
        f"# {TITLES[study]}", protocol, f"{settings}.", model_grid(study, rows), verdict(rows),
        bullets(distinct(methods)), *(("## Training labels", LABELS, labels) if labels else ()),
        "## After each cycle", "Validation mean IoU, in %.", cycle_grid(rows, series),
        "## Classes", "IoU on the validation set, in %; - where a class does not occur.", class_grid(rows),
        *(("More than 2 points below plain training, in the mean:", bullets(behind)) if behind else ()), *more,
    )  # fmt: skip


def _settings(records: Sequence[Record]) -> dict[str, object]:
    """Return what all cells share."""
    configs = [{**r["config"], "size": "x".join(map(str, r["config"].get("size", ())))} for r in records]
    return {
        name: configs[0][name]
        for name in SHOWN
        if configs[0].get(name) is not None and all(config[name] == configs[0][name] for config in configs)
    }


def print_tables(study: str, rows: Sequence[Row], console: Console) -> None:
    """Print what the models and the labels have come to, and which row wins."""
    show(model_grid(study, rows), console, f"{TITLES[study]}: validation, %")
    if labels := label_grid(rows):
        show(labels, console, "Training labels, %")
    if any(paper_miou(study, row.name) is not None for row in rows):
        console.print(f"paper: {paper_table(study)} on the real LIP, not comparable.", highlight=False)
    console.print(verdict(rows).replace("**", ""), soft_wrap=True, highlight=False)


# ---------------------------------------------------------------- files


def write_study(
    folder: Path,
    study: str,
    variants: Sequence[Variant],
    records: Sequence[Record],
    classes: Classes,
    cells: Path,
    *,
    stem: str = "results",
    ceiling: str | None = None,
) -> list[Row]:
    """Summarise a study, write its report into `folder`, and return the rows.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    study : str
        Name of the ablation, for titles and the paper's numbers.
    variants, records
        As for :func:`rows_of`.
    classes : Classes
        For the colours of the masks.
    cells : Path
        Where the finished cells lie, with the masks for the picture.
    stem : str
        How the files' names begin.
    ceiling : str, optional
        How far two people agree on a mask, in words.
    """
    rows = rows_of(variants, records)
    folder.mkdir(parents=True, exist_ok=True)
    shown: list[str] = []
    for row in rows:
        found = _evolved(row, records)
        if found is not None and (cells / found[0]).exists():
            name = "evolution" + (f"-{row.name.replace(', ', '-').replace('+', '-')}" if shown else "")
            write_evolution(folder / f"{stem}-{name}.png", load_evolutions(cells / found[0]), classes)
            shown += [_caption(row.name, found[1]), f"![{name}]({stem}-{name}.png)"]
    payload = {
        "title": TITLES[study],
        "study": study,
        "seeds": sorted({record["config"]["seed"] for record in records}),
        "verdict": verdict(rows).replace("**", ""),
        "ceiling": ceiling,
        "summary": [_plain(study, row, records) for row in rows],
        "cells": records,
    }
    more = ["## What two people agree on", f"{ceiling} {_right(rows)}"] if ceiling else []
    text = page(study, rows, records, *more, *(["## Labels over the cycles", *shown] if shown else []))
    write_report(folder, payload, text, lambda: {"curves": curves(rows, records)}, stem=stem)
    return rows


def _right(rows: Sequence[Row]) -> str:
    shares = [row.mean("val.pixel_accuracy") for row in rows]
    return f"The networks above are right on {100 * min(shares):.1f} to {100 * max(shares):.1f} % of validation pixels."


def _plain(study: str, row: Row, records: Sequence[Record]) -> dict[str, Any]:
    reported = paper_miou(study, row.name)
    paper = None if reported is None else round(reported / 100, 4)
    series = {name: {str(c): spread for c, spread in own.items()} for name, own in series_of(records, row).items()}
    return {**row.plain(), "method": row.config["method"], "paper": paper, "series": series}


def _evolved(row: Row, records: Sequence[Record]) -> tuple[str, int] | None:
    """Return the kept labels and the seed of the first run of a row whose labels changed, or else of its first one."""
    kept = [r for r in records if r["row"] == row.name and r["result"]["evolution"]]
    found = next((r for r in kept if r["result"]["label_change"]), kept[0] if kept else None)
    return None if found is None else (found["result"]["evolution"], found["config"]["seed"])


def _caption(name: str, seed: int) -> str:
    return (
        f"Training masks, given and refined, of row `{name}`, seed {seed}: those of the looked-at images in"
        " which most is wrong (without clean masks: in which most changed)."
    )


def curves(rows: Sequence[Row], records: Sequence[Record]) -> Figure:
    """Draw validation mean IoU, and the quality of the refined labels where it is known, at the cycles' ends."""
    titles = {
        "val_mean_iou": "validation mIoU, %",
        "label_mean_iou": "mIoU of the training labels, %",
        "label_accuracy": "pixel accuracy of the training labels, %",
    }
    series = {row.name: series_of(records, row) for row in rows}
    drawn = []
    for name, title in titles.items():
        points = {row.name: dict(series[row.name][name]) for row in rows}
        if any(points.values()):
            for row in rows:
                if points[row.name] and name != "val_mean_iou":
                    points[row.name][0] = row[f"labels_before.{name}"]
            ends = {row.name: {_share_done(row, cycle): at for cycle, at in points[row.name].items()} for row in rows}
            drawn.append((title, functools.partial(lines, series=ends)))
    return panels(drawn, 4.6, 3.8, label="end of a cycle, % of the run's epochs")


def _share_done(row: Row, cycle: int) -> float:
    """Return how much of a run is done at the end of a cycle, in %."""
    config = row.config
    return float(100 * (config["init_epochs"] + cycle * config["cycle_epochs"]) / epochs_of(config))
