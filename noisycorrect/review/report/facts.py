"""What the report says, gathered from a run folder: a cleaning run's, a SelfCorrector's, or a label store."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.findings import LabelReview
from noisycorrect.review.issues import review_labels
from noisycorrect.review.noise_rate import estimate_store_noise
from noisycorrect.review.pairs import pair_counts
from noisycorrect.review.report.figures import noise_figures
from noisycorrect.review.session import Cleaning, Decision, Item, Reviewed, has_items, read_decisions, read_items
from noisycorrect.support.errors import NoisyCorrectError, StoreError

WORST = 20
LABELS, HISTORY, DETAILS = "labels", "history.json", "details.json"
SCORES_OF_MODELS = ("val_accuracy", "val_mean_iou", "val_f1")


@dataclass(frozen=True)
class Annotator:
    """How one annotator votes: accuracy in [0, 1] by `measured`, and the class of least accuracy."""

    name: str
    votes: int
    accuracy: float | None
    weakest: tuple[str, float] | None = None


@dataclass(frozen=True)
class Validation:
    """A score in [0, 1] on held-out samples against their given labels, before and after correcting."""

    before: float
    after: float
    count: int | None
    name: str = "accuracy"
    curve: Sequence[tuple[float, float]] = ()


@dataclass
class Facts:
    """What a report says.

    Attributes
    ----------
    folder : Path
        The run folder.
    source, label, created : str
        Where the data came from, its column of labels, when; empty if unknown.
    classes : tuple of str
        K names.
    total, labelled, issues : int
        Samples, those with a given label, those whose label is contradicted.
    joint : ndarray or csr_array, shape (K, K)
        Counts of [given, corrected]; of labels of many parts, parts.
    unit : str
        What `joint` counts.
    noise : dict or None
        :func:`noise_figures`.
    annotators : list of Annotator
        The least accurate first.
    measured : str
        What annotators are measured by.
    validation : Validation or None
        What correcting bought.
    worst : list of Item
        Issues of least quality.
    decisions : dict
        Decision in force, by id.
    store : SoftLabelStore or None
        The run's labels, if they are there.
    command : str
        What made the run; empty if unknown.
    made : dict
        How it was made, by name.
    kind : str
        What items show; empty if there are none.
    """

    folder: Path
    classes: tuple[str, ...]
    total: int
    labelled: int
    issues: int
    joint: Any
    source: str = ""
    label: str = ""
    created: str = ""
    unit: str = "labels"
    noise: Mapping[str, Any] | None = None
    annotators: list[Annotator] = field(default_factory=list)
    measured: str = ""
    validation: Validation | None = None
    worst: list[Item] = field(default_factory=list)
    decisions: dict[str, Decision] = field(default_factory=dict)
    store: SoftLabelStore | None = None
    command: str = ""
    made: dict[str, str] = field(default_factory=dict)
    kind: str = ""
    positions: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Facts:
        """Gather the facts of a folder.

        Raises
        ------
        StoreError
            If there is nothing to report on, or it is damaged.
        InvalidInputError
            If a run has not yet made evidence about its labels.
        """
        if not folder.is_dir():
            fix = "pass the folder of a cleaning run, of a SelfCorrector's run, or of a label store"
            raise StoreError(f"a run folder at {folder}", got="none", fix=fix)
        return _of_cleaning(folder) if has_items(folder) else _of_store(folder)


# ---------------------------------------------------------------- a cleaning run


def _of_cleaning(folder: Path) -> Facts:
    header, items = read_items(folder)
    store = SoftLabelStore.open(folder / LABELS) if (folder / LABELS).is_dir() else None
    of_parts = store is not None and store.kind.parts is not None
    number = {name: place for place, name in enumerate(header.classes)}
    issues = sorted((item for item in items if item.is_issue), key=lambda item: item.quality)
    figures = header.figures
    annotators, measured = _annotators(header, items)
    return Facts(
        folder=folder,
        classes=tuple(header.classes),
        total=len(items),
        labelled=sum(item.given is not None for item in items),
        issues=len(issues),
        joint=_joint_of_parts(store) if of_parts and store is not None else _joint(items, number),
        unit=(store.kind.parts or "labels") if store is not None else "labels",
        source=header.source,
        label=header.label,
        created=header.created,
        noise=_noise(figures, store, header.classes),
        annotators=annotators,
        measured=measured,
        validation=_validation(figures),
        worst=issues[:WORST],
        decisions=Reviewed(read_decisions(folder)).in_force(),
        store=store,
        command=" ".join(header.command),
        made=_made(figures),
        kind=header.kind,
        positions={item.id: place for place, item in enumerate(items)} if of_parts else {},
    )


def _joint(items: Sequence[Item], number: Mapping[str, int]) -> Any:
    known = [item for item in items if item.given is not None]
    given, corrected = (
        np.array([number[getattr(item, side) or ""] for item in known], np.int64) for side in ("given", "corrected")
    )
    return pair_counts(given, corrected, len(number))


def _joint_of_parts(store: SoftLabelStore) -> Any:
    return store.kind.noise(store.evidence, None).joint


def _noise(
    figures: Mapping[str, Any], store: SoftLabelStore | None, classes: Sequence[str]
) -> Mapping[str, Any] | None:
    """Return what the run says of its noise; else what its labels say, if they are there."""
    if isinstance(figures.get("noise"), Mapping):
        found = dict(figures["noise"])
        pairs = found.get("most_confused") or []
        told = [[p["true"], p["given"], p["share"]] if isinstance(p, Mapping) else p for p in pairs]
        return found | {"most_confused": told}
    if store is None or store.generation == 0:
        return None
    try:
        return noise_figures(estimate_store_noise(store), classes)
    except NoisyCorrectError:  # no labelled sample, say: the report says that nothing is known
        return None


def _annotators(header: Cleaning, items: Sequence[Item]) -> tuple[list[Annotator], str]:
    records = header.figures.get("annotators")
    if records:
        return [_annotator(record) for record in records], "estimated from all votes and the model together"
    votes: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    for item in items:
        for name, label in (item.votes or {}).items():
            votes[name] += 1
            agreed[name] += label == item.corrected
    rows = [Annotator(name, count, agreed[name] / count) for name, count in votes.items()]
    return sorted(rows, key=lambda row: row.accuracy or 0), "share of votes that are the corrected label"


def _annotator(record: Mapping[str, Any]) -> Annotator:
    classes = {name: value for name, value in (record.get("classes") or {}).items() if value is not None}
    weakest = min(classes.items(), key=lambda pair: pair[1]) if classes else None
    return Annotator(str(record["annotator"]), int(record["votes"]), record.get("accuracy"), weakest)


def _validation(figures: Mapping[str, Any]) -> Validation | None:
    before, after = figures.get("val_accuracy_before"), figures.get("val_accuracy_after")
    if before is None or after is None:
        return None
    count = figures.get("val_labels")
    return Validation(float(before), float(after), None if count is None else int(count))


def _made(figures: Mapping[str, Any]) -> dict[str, str]:
    names = {
        "seconds": "seconds",
        "recipe": "recipe",
        "seed": "seed",
        "version": "noisycorrect",
        "torch": "torch",
        "device": "device",
    }
    return {shown: str(figures[name]) for name, shown in names.items() if figures.get(name) is not None}


# ---------------------------------------------------------------- a SelfCorrector's run, or labels alone


def _of_store(folder: Path) -> Facts:
    inside = folder / LABELS
    store = SoftLabelStore.open(inside if inside.is_dir() else folder)
    review = review_labels(store)
    names, samples = _names(folder, store)
    classes = store.num_classes
    pairs = (review.given >= 0) & (review.suggested >= 0)
    joint = (
        pair_counts(review.given[pairs], review.suggested[pairs], classes)
        if store.kind.parts is None
        else _joint_of_parts(store)
    )
    return Facts(
        folder=folder,
        classes=names if joint.shape[0] == classes else ("absent", "present"),
        total=len(store),
        labelled=int(store.labeled.sum()),
        issues=int(review.contradicted.sum()),
        joint=joint,
        unit=store.kind.parts or "labels",
        noise=_noise({}, store, names if joint.shape[0] == classes else ("absent", "present")),
        validation=_history(folder),
        worst=_worst(review, names, samples),
        store=store,
        made={"labels": f"generation {store.generation} of {store.kind.name}"},
        positions={samples(row): row for row in _ranked(review)},
    )


def _names(folder: Path, store: SoftLabelStore) -> tuple[tuple[str, ...], Any]:
    """Return class names, and what names a sample by its position: those kept with the run, or numbers."""
    try:
        details = json.loads((folder / DETAILS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        details = {}
    names, samples = details.get("class_names"), details.get("sample_names")
    if not names or len(names) != store.num_classes:
        names = [f"class {number}" for number in range(store.num_classes)]
    if samples and len(samples) == len(store):
        return tuple(map(str, names)), lambda row: str(samples[row])
    return tuple(map(str, names)), lambda row: f"sample {row}"


def _ranked(review: LabelReview) -> list[int]:
    chosen = np.flatnonzero(review.contradicted)
    order = np.lexsort((review.index[chosen], review.quality[chosen]))
    ranked: list[int] = review.index[chosen[order][:WORST]].tolist()
    return ranked


def _worst(review: LabelReview, names: Sequence[str], named: Any) -> list[Item]:
    place = {int(row): at for at, row in enumerate(review.index)}
    found = []
    for row in _ranked(review):
        at = place[row]
        given, suggested = (int(column[at]) for column in (review.given, review.suggested))
        found.append(
            Item(
                id=named(row),
                given=names[given] if given >= 0 else None,
                suggested=names[suggested] if suggested >= 0 else None,
                quality=float(review.quality[at]),
                is_issue=True,
                share=float(review.share[at]),
            )
        )
    return found


def _history(folder: Path) -> Validation | None:
    """Return the validation score of a run's history: of its initial phase, and at its end."""
    try:
        history = json.loads((folder / HISTORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    keys = [*SCORES_OF_MODELS, *sorted({key for row in history for key in row if key.startswith("val_")})]
    for key in keys:
        curve = [(float(row.get("epoch", at)), row.get(key)) for at, row in enumerate(history)]
        known = [(at, float(score)) for at, score in curve if score is not None and math.isfinite(score)]
        if len(known) > 1 and all(0 <= score <= 1 for _, score in known):
            return Validation(known[0][1], known[-1][1], None, key.removeprefix("val_").replace("_", " "), known)
    return None
