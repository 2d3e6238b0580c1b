"""Do rare classes fade when labels are averaged? What refined masks keep of each class, generation by generation.

    python -m benchmarks.lip --dataset ccp --data-dir DIR --rows both,both-cb --keep-labels --out runs/ccp
    python -m benchmarks.fading runs/ccp

A pixel is kept if its refined label is still the given class. "Resolution" is what would be kept if every prediction
were the given mask itself, seen at the evidence's resolution: what is lost there is lost to resampling alone.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.lab.cells import read_records
from benchmarks.lab.report import new_figure, write_report
from benchmarks.lab.rows import distinct
from noisycorrect import SoftLabelStore
from noisycorrect.labels.masks import given_on_evidence, refined_mask
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Counts = NDArray[np.float64]


def kept_pixels(store: SoftLabelStore, generation: int) -> tuple[Counts, Counts]:
    """Return how many given pixels each class has, and how many of them are refined to the same class, both (K,)."""
    given_counts, kept_counts = np.zeros(store.num_classes), np.zeros(store.num_classes)
    for index in np.flatnonzero(store.labeled).tolist():
        _count(store.given(index)[0], store.labels(index, generation=generation)[0], given_counts, kept_counts)
    return given_counts, kept_counts


def kept_by_resolution(store: SoftLabelStore, trust: float) -> tuple[Counts, Counts]:
    """Return the same if the evidence were the given masks at its own resolution, blended with `trust`."""
    given_counts, kept_counts = np.zeros(store.num_classes), np.zeros(store.num_classes)
    shape = store.evidence(0).shape[2:]
    for index in np.flatnonzero(store.labeled).tolist():
        (given,) = store.given(index)
        cells = torch.from_numpy(given_on_evidence(given, shape, store.frame)).long()
        evidence = (cells == torch.arange(store.num_classes)[:, None, None]).float()
        evidence[0] += evidence.sum(0) == 0  # outside of the image: background
        refined = refined_mask(given, evidence, trust, store.num_classes, frame=store.frame)
        _count(given, refined.argmax(0).numpy(), given_counts, kept_counts)
    return given_counts, kept_counts


def _count(given: NDArray[Any], refined: NDArray[Any], given_counts: Counts, kept_counts: Counts) -> None:
    classes = len(given_counts)
    known = given < classes
    given_counts += np.bincount(given[known], minlength=classes)
    kept_counts += np.bincount(given[known & (given == refined)], minlength=classes)


def measure(folder: Path, console: Console) -> dict[str, Any]:
    """Return what the refined masks of all runs in a study's folder keep of each class, pooled over seeds."""
    pooled: dict[str, dict[int, list[tuple[Counts, Counts]]]] = defaultdict(lambda: defaultdict(list))
    resolution, shares, names = None, None, None
    for key, record in read_records(folder / "cells").items():
        labels = folder / "cells" / key / "run" / "labels"
        if not labels.exists():
            continue
        store = SoftLabelStore.open(labels)
        if not store.generation:
            continue
        console.print(f"{record['config']['method']}, seed {record['config']['seed']}", highlight=False)
        names = list(record["result"]["class_iou"])
        for generation in store.generations[1:]:
            pooled[record["config"]["method"]][generation].append(kept_pixels(store, generation))
        if resolution is None:
            given, kept = kept_by_resolution(store, 1 / (store.generation + 1))
            resolution, shares = _share(given, kept), (given / given.sum()).tolist()
    if names is None or shares is None:
        raise InvalidInputError(
            f"label stores in {folder}", got="none", fix="run benchmarks.lip with --keep-labels and a row that refines"
        )
    kept_of = {
        method: {
            str(generation): _share(sum(given for given, _ in counts), sum(kept for _, kept in counts))
            for generation, counts in sorted(by_generation.items())
        }
        for method, by_generation in pooled.items()
    }
    return {"classes": names, "share": shares, "resolution": resolution, "kept": kept_of}


def _share(given: Any, kept: Any) -> list[float]:
    return [float(k / g) if g else float("nan") for g, k in zip(given, kept, strict=True)]


def markdown(found: Mapping[str, Any]) -> str:
    """Return the table: classes down, the largest first, the last generation of each method across."""
    methods = list(found["kept"])
    last = {method: max(map(int, found["kept"][method])) for method in methods}
    lines = [
        "# What refined masks keep of each class",
        "",
        "Given pixels whose refined label is still their class, in %, after the last cycle, pooled over seeds."
        " Resolution: what would be kept if every prediction were the given mask at the evidence's resolution.",
        "",
        "| class | pixels, % | resolution | " + " | ".join(f"{m}, cycle {last[m]}" for m in methods) + " |",
        "|---|---:|---:|" + "---:|" * len(methods),
    ]
    for place in np.argsort(found["share"])[::-1]:
        kept = [found["kept"][method][str(last[method])][place] for method in methods]
        numbers = [found["share"][place], found["resolution"][place], *kept]
        texts = [f"{100 * numbers[0]:.2f}", *(f"{100 * number:.1f}" for number in numbers[1:])]
        lines.append(f"| {found['classes'][place]} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def figure(found: Mapping[str, Any]) -> Figure:
    """Return what is kept over the cycles, one line a class, one panel a method."""
    methods = distinct(found["kept"])
    drawing = new_figure(5.2 * len(methods) + 1.6, 4.4)
    order = np.argsort(found["share"])[::-1]
    for number, method in enumerate(methods, start=1):
        axes = drawing.add_subplot(1, len(methods), number)
        generations = sorted(map(int, found["kept"][method]))
        for rank, place in enumerate(order):
            values = [100.0, *(100 * found["kept"][method][str(g)][place] for g in generations)]
            colour = (rank / max(1, len(order) - 1), 0.35, 1 - rank / max(1, len(order) - 1))
            axes.plot([0, *generations], values, color=colour, marker="o", ms=3, label=found["classes"][place])
        axes.set(title=method, xlabel="cycle", ylabel="given pixels kept, %", ylim=(-2, 102), xticks=[0, *generations])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    drawing.legend(
        *axes.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8,
        title="frequent to rare",
    )  # fmt: skip
    return drawing


def main(words: Sequence[str] | None = None) -> int:
    """Measure the stores of a study, write the report; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fading", description="What refined masks keep.")
    parser.add_argument("study", type=Path, help="--out of a study that kept its labels")
    parser.add_argument("--out", type=Path, default=Path("runs/fading"), help="report folder (default: %(default)s)")
    parser.add_argument("--stem", default="results", help="name of the report's files (default: %(default)s)")
    arguments = parser.parse_args(words)
    console = Console()
    try:
        found = measure(arguments.study, console)
    except NoisyCorrectError as error:
        print(error, file=sys.stderr)
        return 2
    page = markdown(found)
    write_report(arguments.out, found, page, lambda: {"classes": figure(found)}, stem=arguments.stem)
    console.print(page, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
