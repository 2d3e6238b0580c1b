"""The report of the CIFAR-10N study: our last epochs beside published ones."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import methods
from benchmarks.lab.cells import Record
from benchmarks.lab.figures import study_figures
from benchmarks.lab.report import write_report
from benchmarks.lab.rows import Row, distinct, study_markdown, summarise

TITLE = "CIFAR-10N, whole"
PUBLISHED_SOURCE = "recomputed from the per-epoch logs of KlemenVovk/noisy-labels (ReScience C 2026)"


@dataclass(frozen=True)
class Published:
    """Mean test accuracy of the last epoch over 3 seeds, in %, of a method in its own authors' setting.

    Attributes
    ----------
    network : str or None
        What was trained; None where the source of these figures does not say.
    cost : tuple of float
        Least and most compute of an epoch, of an epoch of cross-entropy.
    accuracy : dict of str to float
        By set of labels.
    """

    method: str
    network: str | None
    networks: int
    epochs: int
    cost: tuple[float, float]
    accuracy: dict[str, float]


def _published(method: str, network: str | None, networks: int, epochs: int, cost: Any, *scores: float) -> Published:
    return Published(
        method, network, networks, epochs, cost, dict(zip(("aggregate", "random1", "worst"), scores, strict=True))
    )


#: Source: :data:`PUBLISHED_SOURCE`; the last epoch, not the best one on test data.
PUBLISHED = (
    _published("CE", "ResNet-34", 1, 100, (1, 1), 86.6, 82.0, 68.3),
    _published("ELR", "ResNet-34", 1, 120, (1, 1), 92.9, 92.1, 87.8),
    _published("SOP", "ResNet-34", 1, 120, (1, 1), 91.6, 89.7, 82.9),
    _published("CAL", "ResNet-34", 1, 165, (1, 1), 90.3, 89.0, 82.3),
    _published("SOP+", "PreAct ResNet-18", 1, 300, (2, 2), 96.0, 95.6, 92.7),
    _published("Co-teaching", None, 2, 200, (2, 2), 91.8, 90.4, 73.6),
    _published("ELR+", "PreAct ResNet-18", 2, 400, (4, 4), 95.1, 94.7, 91.3),
    _published("DivideMix", None, 2, 300, (3, 11), 95.3, 95.5, 92.5),
)


def comparison(rows: Sequence[Row], cells: Sequence[Record]) -> str:
    """Return the table of our last epochs, and published ones below them."""
    keys = distinct(row.noise.partition(":")[2] for row in rows)
    first = cells[0]
    plain_passes = methods.TRAINING * first["config"]["budget"] * first["result"]["samples"]
    head = ["method", "network", "nets", "epochs", "passes, CE = 1", *keys]
    lines = [head]
    for label in distinct(row.label for row in rows):
        own = {row.noise.partition(":")[2]: row for row in rows if row.label == label}
        row = next(iter(own.values()))
        epochs = next(cell["config"]["epochs"] for cell in cells if cell["config"]["method"] == row.method)
        fixed = [label, first["config"]["network"], row.networks, epochs, f"{row.sample_passes / plain_passes:.2f}"]
        lines.append([str(text) for text in [*fixed, *(_score(own.get(key)) for key in keys)]])
    for published in PUBLISHED:
        factors = distinct(f"{cost * published.epochs / first['config']['budget']:.2g}" for cost in published.cost)
        fixed = [f"{published.method} (published)", published.network or "-", published.networks, published.epochs]
        scores = [f"{published.accuracy[key]:.1f}" if key in published.accuracy else "-" for key in keys]
        lines.append([str(text) for text in [*fixed, " to ".join(factors), *scores]])
    table = ["| " + " | ".join(texts) + " |" for texts in lines]
    table.insert(1, "|---|---" + "|---:" * (len(head) - 2) + "|")
    note = (
        "Test accuracy of the last epoch, in %: ours, mean ± sample standard deviation, beside published methods in"
        f" their authors' own settings, 3 seeds, {PUBLISHED_SOURCE}. Passes: an epoch of cross-entropy is 3 a sample;"
        f" 1 is plain training over {first['config']['budget']} epochs. A pass of one network is not one of another."
    )
    return "\n".join(["## Beside published methods", "", note, "", *table]) + "\n"


def _score(row: Row | None) -> str:
    if row is None:
        return "-"
    deviation = "" if len(row.seeds) < 2 else f" ± {100 * row.accuracy_std:.1f}"
    return f"{100 * row.accuracy_mean:.1f}{deviation}"


def write_results(out: Path, cells: Sequence[Record]) -> list[Row]:
    """Write `results.json`, `results.md` and the pictures of finished cells into a folder, and return the rows."""
    rows = summarise(cells)
    payload = {
        "title": TITLE,
        "summary": [asdict(row) for row in rows],
        "published": {"source": PUBLISHED_SOURCE, "rows": [asdict(row) for row in PUBLISHED]},
        "cells": list(cells),
    }
    page = f"{study_markdown(TITLE, cells)}\n{comparison(rows, cells)}"
    write_report(out, payload, page, functools.partial(study_figures, cells))
    return rows
