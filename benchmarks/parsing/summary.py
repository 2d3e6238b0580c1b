"""From the finished cells of a parsing study to rows: means over the seeds, and differences within a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.parsing.reference import paper_miou
from benchmarks.parsing.rows import METHODS, Variant
from benchmarks.study import mean_and_std

Record = Mapping[str, Any]  # {"config": {...}, "result": {...}}
Spread = tuple[float, float]  # mean and sample standard deviation over seeds; NaN where nothing was measured

# What a row says of the trained model, and of the training labels.
VAL_MEASURES = ("mean_iou", "pixel_accuracy", "mean_accuracy", "published_mean_iou")
LABEL_MEASURES = ("label_accuracy", "label_mean_iou")


@dataclass(frozen=True)
class Row:
    """One variant over all its seeds; shares lie in [0, 1].

    Attributes
    ----------
    name, method : str
        Of the variant.
    seeds : tuple of int
        Which seeds are finished.
    val : mapping of str to Spread
        Validation metrics of the last cycle, in the canonical frame, by the names of `VAL_MEASURES`.
    image_frame : mapping of str to Spread
        The same in the images' own frame; empty where it was not measured.
    gain : Spread
        Mean IoU less that of `baseline`, seed by seed; NaN for the baseline itself.
    baseline : str or None
        Name of the row that is compared with: plain training of the same network and loss, else the first row.
    before, after : mapping of str to Spread
        Quality of the training labels, given and refined, against the clean ones, by the names of `LABEL_MEASURES`.
    changed : Spread
        Share of the training pixels that have another label after the last cycle than the given one.
    class_iou : mapping of str to Spread
        IoU of each class on the validation set.
    series : mapping of str to mapping of int to Spread
        Measures of the history (`SERIES`) after each cycle; 0 is the initial phase.
    epochs, parameters : int
        Of one run.
    sample_passes, seconds : float
        Means of one run.
    paper : float or None
        What the paper reports for such a row, in [0, 1].
    best : bool
        Whether no other row has a mean IoU as high.
    """

    name: str
    method: str
    seeds: tuple[int, ...]
    val: Mapping[str, Spread]
    image_frame: Mapping[str, Spread]
    gain: Spread
    baseline: str | None
    before: Mapping[str, Spread]
    after: Mapping[str, Spread]
    changed: Spread
    class_iou: Mapping[str, Spread]
    series: Mapping[str, Mapping[int, Spread]]
    epochs: int
    parameters: int
    sample_passes: float
    seconds: float
    paper: float | None = None
    best: bool = False

    @property
    def by_cycle(self) -> Mapping[int, Spread]:
        """Validation mean IoU after each cycle."""
        return self.series["val_mean_iou"]

    @property
    def mean_iou(self) -> float:
        """Mean of the validation mean IoU over the seeds."""
        return self.val["mean_iou"][0]


SERIES = ("val_mean_iou", "label_accuracy", "label_mean_iou", "agreement", "changed")


def summarise(study: str, variants: Sequence[Variant], records: Mapping[str, Sequence[Record]]) -> list[Row]:
    """Summarise a study.

    Parameters
    ----------
    study : str
        Name of the ablation, for the paper's numbers.
    variants : sequence of Variant
        The rows, in order.
    records : mapping of str to sequence of {"config": ..., "result": ...}
        The finished cells of each variant, by its name; a variant without any is left out.
    """
    found = [variant for variant in variants if records.get(variant.name)]
    highest = max((_mean_iou(records[variant.name]) for variant in found), default=math.nan)
    tied = sum(_mean_iou(records[variant.name]) == highest for variant in found) > 1
    rows = []
    for variant in found:
        own = records[variant.name]
        base = _baseline(variant, found)
        best = not tied and len(found) > 1 and _mean_iou(own) == highest
        rows.append(_row(study, variant, own, base, records[base.name] if base else (), best=best))
    return rows


def _baseline(variant: Variant, found: Sequence[Variant]) -> Variant | None:
    """Return the row that a row is compared with; None for one that is compared with nothing."""
    alike = [
        other
        for other in found
        if other.method == "none"
        and (other.losses, other.backbone, other.context) == (variant.losses, variant.backbone, variant.context)
    ]
    base = alike[0] if alike and variant.method != "none" else found[0]
    return None if base == variant else base


def _row(
    study: str, variant: Variant, own: Sequence[Record], base: Variant | None, others: Sequence[Record], *, best: bool
) -> Row:
    results = [record["result"] for record in own]
    config, first = own[0]["config"], results[0]
    reference = paper_miou(study, variant.name)
    reference_of = {record["config"]["seed"]: record["result"]["val"]["mean_iou"] for record in others}
    gains = [
        record["result"]["val"]["mean_iou"] - reference_of[record["config"]["seed"]]
        for record in own
        if record["config"]["seed"] in reference_of
    ]
    return Row(
        name=variant.name,
        method=variant.method,
        seeds=tuple(record["config"]["seed"] for record in own),
        val={name: _over(results, "val", name) for name in VAL_MEASURES},
        image_frame={name: _over(results, "image_frame", name) for name in VAL_MEASURES if first.get("image_frame")},
        gain=mean_and_std(gains),
        baseline=None if base is None else base.name,
        before={name: _over(results, "labels_before", name) for name in LABEL_MEASURES},
        after={name: _over(results, "labels_after", name) for name in LABEL_MEASURES},
        changed=mean_and_std(result["label_change"] for result in results if result["label_change"] is not None),
        class_iou={name: _over(results, "class_iou", name) for name in first["class_iou"]},
        series={name: _series(results, name) for name in SERIES},
        epochs=config["init_epochs"] + config["cycles"] * config["cycle_epochs"],
        parameters=first["parameters"],
        sample_passes=mean_and_std(result["sample_passes"] for result in results)[0],
        seconds=mean_and_std(result["seconds"] for result in results)[0],
        paper=None if reference is None else round(reference / 100, 4),
        best=best,
    )


def _over(results: Sequence[Mapping[str, Any]], group: str, name: str) -> Spread:
    """Return the spread of a measure over the results that have it."""
    values = [(result.get(group) or {}).get(name) for result in results]
    return mean_and_std(value for value in values if value is not None)


def _mean_iou(records: Sequence[Record]) -> float:
    return _over([record["result"] for record in records], "val", "mean_iou")[0]


def _series(results: Sequence[Mapping[str, Any]], name: str) -> dict[int, Spread]:
    spreads = {}
    for cycle in sorted({int(entry["cycle"]) for result in results for entry in result["history"]}):
        entries = [entry for result in results for entry in result["history"] if entry["cycle"] == cycle]
        values = [entry[name] for entry in entries if entry.get(name) is not None]
        if values:
            spreads[cycle] = mean_and_std(values)
    return spreads


def verdict(rows: Sequence[Row]) -> str:
    """Say in a sentence which row has the highest validation mean IoU, and by how much, whichever it is."""
    if len(rows) < 2:
        return ""
    first, second = sorted(rows, key=lambda row: -row.mean_iou)[:2]
    if not first.best:
        return f"No row wins: {first.name} and {second.name} have the same val mIoU."
    text = (
        f"Highest val mIoU: **{first.name}** ({METHODS[first.method].label}), "
        f"{100 * (first.mean_iou - second.mean_iou):.2f} points above {second.name}"
    )
    spread = max(first.val["mean_iou"][1], second.val["mean_iou"][1])
    if math.isnan(spread):
        return text + "; one seed, so nobody knows the spread."
    within = first.mean_iou - second.mean_iou < spread
    return text + ("; less than the spread over seeds." if within else "; more than the spread over seeds.")
