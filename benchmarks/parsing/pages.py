"""The report of a parsing study: JSON, Markdown, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.parsing.pictures import captions, curves, load_evolutions, write_evolution
from benchmarks.parsing.rows import Variant
from benchmarks.parsing.summary import Record, Row, summarise, verdict
from benchmarks.parsing.tables import TITLES, markdown
from benchmarks.report import write_report
from noisycorrect_seg.classes import Classes

SHOWN = ("size", "backbone", "context", "width", "lr", "batch_size", "train", "val", "noise", "weights", "precision")


def write_study(
    folder: Path,
    study: str,
    variants: Sequence[Variant],
    records: Mapping[str, Sequence[Record]],
    classes: Classes,
    cells: Path,
    *,
    stem: str = "results",
) -> list[Row]:
    """Summarise a study, write its report into `folder`, and return the rows.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    study, variants, records
        As for :func:`~benchmarks.parsing.summary.summarise`.
    classes : Classes
        For the colours of the masks.
    cells : Path
        Where the finished cells lie, with the masks for the picture.
    stem : str
        How the files' names begin.
    """
    rows = summarise(study, variants, records)
    folder.mkdir(parents=True, exist_ok=True)
    seeds = sorted({record["config"]["seed"] for own in records.values() for record in own})
    title = TITLES[study]
    shown: dict[str, str] = {}
    for row in rows:
        found = next((r["result"]["evolution"] for r in records[row.name] if r["result"]["evolution"]), None)
        if found is not None and (cells / found).exists():
            name = "evolution" + ("" if not shown else f"-{_file_word(row.name)}")
            write_evolution(folder / f"{stem}-{name}.png", load_evolutions(cells / found), classes)
            shown[name] = _caption(row)
    page = markdown(title, study, rows, _settings(records))
    if shown:
        page += "\n## Labels over the cycles\n" + captions(stem, shown)
    payload = {
        "title": title,
        "study": study,
        "seeds": seeds,
        "verdict": verdict(rows).replace("**", ""),
        "summary": [_plain(row) for row in rows],
        "cells": [{"row": name, **record} for name, own in records.items() for record in own],
    }
    write_report(folder, payload, page, lambda: curves(rows), stem=stem)
    return rows


def _plain(row: Row) -> dict[str, object]:
    values = asdict(row)
    values["series"] = {name: {str(cycle): spread for cycle, spread in own.items()} for name, own in row.series.items()}
    return values


def _file_word(name: str) -> str:
    return name.replace(", ", "-").replace("+", "-")


def _caption(row: Row) -> str:
    return (
        f"Training masks, given and refined, of row `{row.name}`, seed {row.seeds[0]}: those of the looked-at images in"
        " which most is wrong (without clean masks: in which most changed)."
    )


def _settings(records: Mapping[str, Sequence[Record]]) -> dict[str, object]:
    """Return what all cells share."""
    configs = [record["config"] for own in records.values() for record in own]
    return {
        name: "x".join(map(str, configs[0][name])) if name == "size" else configs[0][name]
        for name in SHOWN
        if configs and configs[0][name] is not None and all(config[name] == configs[0][name] for config in configs)
    }
