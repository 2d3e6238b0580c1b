"""Do rare classes fade when labels are averaged? What refined masks keep of each class, generation by generation.

    python -m benchmarks.lip --dataset ccp --data-dir DIR --rows both,both-cb --keep-labels --out runs/ccp
    python -m benchmarks.fading runs/ccp

A pixel is kept if its refined label is still the given class. "Resolution" is what would be kept if every prediction
were the given mask itself, seen at the evidence's resolution: what is lost there is lost to resampling alone.
"""

from __future__ import annotations

import functools
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.lab.cells import read_records
from benchmarks.lab.experiment import FINISHED, add_report_options, new_parser, progress, usage
from benchmarks.lab.extras import require
from benchmarks.lab.figures import Panel, panels
from benchmarks.lab.report import write_report
from benchmarks.lab.tables import console, down, markdown
from noisycorrect import SoftLabelStore
from noisycorrect.labels import Trust
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError
from noisycorrect_seg.geometry.refined import given_on_evidence, refined_mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
        refined = refined_mask(given, evidence, Trust(torch.tensor([trust])), store.num_classes, frame=store.frame)
        _count(given, refined.argmax(0).numpy(), given_counts, kept_counts)
    return given_counts, kept_counts


def _count(given: NDArray[Any], refined: NDArray[Any], given_counts: Counts, kept_counts: Counts) -> None:
    classes = len(given_counts)
    known = given < classes
    given_counts += np.bincount(given[known], minlength=classes)
    kept_counts += np.bincount(given[known & (given == refined)], minlength=classes)


def measure(folder: Path) -> dict[str, Any]:
    """Return what the refined masks of all runs in a study's folder keep of each class, pooled over seeds."""
    pooled: dict[str, dict[int, list[tuple[Counts, Counts]]]] = defaultdict(lambda: defaultdict(list))
    resolution, shares, names = None, None, None
    for key, record in progress(read_records(folder / "cells").items(), "runs"):
        labels = folder / "cells" / key / "run" / "labels"
        if not labels.exists():
            continue
        store = SoftLabelStore.open(labels)
        if not store.generation:
            continue
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


def page(found: Mapping[str, Any]) -> str:
    """Return the table: classes down, the largest first, the last generation of each method across."""
    about = (
        "Given pixels whose refined label is still their class, in %, after the last cycle, pooled over seeds."
        " Resolution: what would be kept if every prediction were the given mask at the evidence's resolution."
    )

    def percent_of(shares: Sequence[float | None], place: int, digits: int = 1) -> str:
        share = shares[place]
        return "nan" if share is None else f"{100 * share:.{digits}f}"

    columns: list[Any] = [
        ("class", lambda place: found["classes"][place]),
        ("pixels, %", lambda place: percent_of(found["share"], place, 2)),
        ("resolution", lambda place: percent_of(found["resolution"], place)),
    ]
    for method, kept in found["kept"].items():
        last = max(kept, key=int)
        columns.append((f"{method}, cycle {last}", functools.partial(percent_of, kept[last])))
    return markdown("# What refined masks keep of each class", about, down(_by_size(found), columns))


def _by_size(found: Mapping[str, Any]) -> list[int]:
    return np.argsort(found["share"])[::-1].tolist()  # type: ignore[no-any-return]


def figure(found: Mapping[str, Any]) -> Figure:
    """Return what is kept over the cycles, one line a class, one panel a method."""
    drawn: list[Panel] = [(method, functools.partial(_draw, found, kept)) for method, kept in found["kept"].items()]
    legend = {"loc": "outside right center", "fontsize": 8, "title": "frequent to rare"}
    return panels(drawn, 5.2, 4.4, label="cycle", legend=legend)


def _draw(found: Mapping[str, Any], kept: Mapping[str, Sequence[float]], axes: Axes) -> None:
    generations, order = sorted(map(int, kept)), _by_size(found)
    for rank, place in enumerate(order):
        values = [100.0, *(100 * kept[str(generation)][place] for generation in generations)]
        shade = rank / max(1, len(order) - 1)
        colour = (shade, 0.35, 1 - shade)
        axes.plot([0, *generations], values, color=colour, marker="o", ms=3, label=found["classes"][place])
    axes.set(ylabel="given pixels kept, %", ylim=(-2, 102), xticks=[0, *generations])
    axes.grid(axis="y", alpha=0.3)


def main(words: Sequence[str] | None = None) -> int:
    """Measure the stores of a study, write the report; return the exit status."""
    parser = new_parser("fading", "What refined masks keep.")
    parser.add_argument("study", type=Path, help="--out of a study that kept its labels")
    add_report_options(parser, "fading")
    arguments = parser.parse_args(words)
    try:
        require("matplotlib")
        found = measure(arguments.study)
    except NoisyCorrectError as error:
        return usage(error)
    text = page(found)
    write_report(arguments.out, found, text, lambda: {"classes": figure(found)}, stem=arguments.stem)
    console().print(text, markup=False, soft_wrap=True)
    return FINISHED


if __name__ == "__main__":
    sys.exit(main())
