"""The labels of a run with all that is known of them: ids, names, what people decided, what there is to see."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.findings import LabelReview
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.review.issues import SCORES
from noisycorrect.review.session import FinalLabel, Item, final_label, has_items, read_decisions, read_items
from noisycorrect.review.session.decisions import Reviewed
from noisycorrect.saved.details import LABELS, Details, checked_class_names
from noisycorrect.support.errors import InvalidInputError

CLASSES, MASKS = "classification", "segmentation"


@dataclass(frozen=True, eq=False)
class RunLabels:
    """The labels of a run, sample by sample, in the order of its label store.

    Attributes
    ----------
    folder : Path
        The run folder; images of items may be relative to it.
    kind : str
        What labels are made of.
    class_names : tuple of str
        K; the numbers of the classes where nobody has named them.
    named : bool
        Whether somebody has.
    ids : sequence of str
        N different ones: those of the items, names of samples, or positions.
    identified : bool
        Whether they are more than positions.
    shown : str
        What there is to see of an item: ``"text"``, ``"image"``, ``"row"``, ``"mask"``; empty if nothing is known.
    items, finals : sequence of Item and of FinalLabel
        Of class labels: what the run found, and the label in the end. Of masks in a cleaning run: items; else empty.
    image_files : sequence of str, or None
        Name of the image file of each sample, where the data set knew it; each once.
    store : SoftLabelStore or None
        The label store.
    generation : int
        Which of its generations.
    decided : int or None
        About how many somebody has decided; None of runs that are not reviewed.
    input_record : dict or None
        What the folder says of the run's inputs; see :class:`~noisycorrect.saved.details.Details`.
    """

    folder: Path
    kind: str
    class_names: tuple[str, ...]
    named: bool
    ids: Sequence[str]
    identified: bool
    shown: str
    items: Sequence[Item]
    finals: Sequence[FinalLabel]
    image_files: Sequence[str] | None
    store: SoftLabelStore | None
    generation: int
    decided: int | None = None
    input_record: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def stem(self, index: int) -> str:
        """Return the name of a sample in names of files: its id, or its position in six digits or more."""
        return self.ids[index] if self.identified else f"{index:0{max(6, len(str(len(self) - 1)))}}"


def read_run_labels(
    run_dir: str | os.PathLike[str],
    *,
    generation: int | None = None,
    class_names: Sequence[str] | None = None,
    sample_names: Sequence[str] | None = None,
) -> RunLabels:
    """Return the labels of a cleaning run, with decisions; or of a run folder, a saved result, or a label store.

    Parameters
    ----------
    run_dir : path-like
        The folder.
    generation : int, optional
        Labels after that cycle; of runs that nobody has reviewed. Default: the latest.
    class_names, sample_names : sequence of str, optional
        Instead of those that the folder knows: K, and one a sample.

    Raises
    ------
    StoreError
        If there are no labels in the folder, or they are damaged.
    InvalidInputError
        If names are not as many as classes or samples, or stand twice; or a generation is asked for of a cleaning run.

    Examples
    --------
    >>> import tempfile, torch
    >>> store = SoftLabelStore.create(tempfile.mkdtemp(), [0, 1], 2)
    >>> with store.new_generation(trust=torch.zeros(2)) as writer:
    ...     writer.write([0, 1], torch.tensor([[0.1, 0.9], [0.0, 1.0]]))
    >>> labels = read_run_labels(store.folder, class_names=["cat", "dog"])
    >>> [(item.id, item.given, final.label) for item, final in zip(labels.items, labels.finals)]
    [('0', 'cat', 'dog'), ('1', 'dog', 'dog')]
    """
    folder = Path(run_dir)
    if has_items(folder):
        return _cleaning_labels(folder, generation, class_names, sample_names)
    inside = folder / LABELS
    store = SoftLabelStore.open(inside if inside.is_dir() else folder)
    number = store.generation if generation is None else generation
    store.trust(0, generation=number)  # raises if there is no such generation
    details = Details.read(folder)
    names = checked_class_names(class_names, store.num_classes) or (None if details is None else details.class_names)
    ids = _checked_names(sample_names, len(store)) if sample_names is not None else _own_names(details, len(store))
    identified = ids is not None
    ids = [str(index) for index in range(len(store))] if ids is None else ids
    called = names or tuple(map(str, range(store.num_classes)))
    items, finals = _of_store(store, number, called, ids) if store.kind.name == CLASSES else ([], [])
    files = None if sample_names is not None else _own_files(details, len(store))
    shown = "mask" if store.kind.name == MASKS else ""
    record = None if details is None else details.input_record
    return RunLabels(
        *(folder, store.kind.name, called, names is not None, ids, identified, shown, items, finals, files),
        *(store, number, None, record),
    )


def _cleaning_labels(
    folder: Path, generation: int | None, class_names: Sequence[str] | None, sample_names: Sequence[str] | None
) -> RunLabels:
    if generation is not None or class_names is not None or sample_names is not None:
        fix = "leave --generation, --classes and --names out: a cleaning run has labels after review, and names"
        raise InvalidInputError("the labels of a cleaning run as they are", got="other ones asked for", fix=fix)
    header, items = read_items(folder)
    decided = Reviewed(read_decisions(folder)).in_force()
    finals = [final_label(item, decided.get(item.id)) for item in items]
    store = SoftLabelStore.open(folder / LABELS) if (folder / LABELS).is_dir() else None
    if header.kind == "mask" and (store is None or len(store) != len(items)):
        got = "no label store" if store is None else f"{len(store)} masks for {len(items)} items"
        raise InvalidInputError(f"the masks of the items in {folder}", got=got, fix="restore labels/ from a copy")
    kind = MASKS if header.kind == "mask" else CLASSES
    number = 0 if store is None else store.generation
    details = Details.read(folder) if kind == MASKS else None
    ids = [item.id for item in items]
    count = sum(item.id in decided and decided[item.id].decides for item in items)
    return RunLabels(
        folder,
        kind,
        tuple(header.classes),
        True,
        ids,
        True,
        header.kind,
        items,
        finals,
        _own_files(details, len(items), beside=items) or _files(items),
        store,
        number,
        count,
        None if details is None else details.input_record,
    )


def _files(items: Sequence[Item]) -> list[str] | None:
    """Return the names of the items' image files; with their folders where the names alone are not different."""
    paths = [item.image for item in items if item.image is not None]
    names = [Path(path).name for path in paths]
    return None if len(paths) < len(items) else names if len(set(names)) == len(names) else paths


def _checked_names(names: Sequence[str], length: int) -> list[str]:
    if len(names) != length or len(set(names)) < length or not all(names):
        got = f"{len(names)} names, {len(set(names))} of them different"
        raise InvalidInputError(f"{length} different names of samples", got=got, fix="write one a line, in order")
    return [str(name) for name in names]


def _own_names(details: Details | None, length: int) -> list[str] | None:
    """Return the names that the data set gave its samples; None without, or if a sample stands in it twice."""
    names = None if details is None else details.sample_names
    return None if names is None or len(names) != length or len(set(names)) < length else list(names)


def _own_files(details: Details | None, length: int, beside: Sequence[Item] = ()) -> list[str] | None:
    """Return the names that the data set gave its image files; None without, or if one stands in it twice.

    None as well if items `beside` have pictures of other names.
    """
    files = None if details is None else details.image_files
    if files is None or len(files) != length or len(set(files)) < length:
        return None
    pictures = ((item.image, file) for item, file in zip(beside, files, strict=False))
    alike = all(image is None or Path(image).name == Path(file).name for image, file in pictures)
    return list(files) if alike else None


def _of_store(
    store: SoftLabelStore, number: int, names: Sequence[str], ids: Sequence[str]
) -> tuple[list[Item], list[FinalLabel]]:
    """Return class labels as items: what the evidence of a generation says of them, and the refined label."""
    called = np.array([*names, None], object)  # -1 is the last
    given, final = store.kind.class_indices, np.asarray(store.labels(generation=number))
    assert given is not None
    suggested, quality = np.full(len(store), UNLABELED), np.ones(len(store), np.float32)
    issue = np.zeros(len(store), bool)
    if number:
        suggested = final.copy()  # of samples without a label
        evidence = functools.partial(store.evidence, generation=number)
        review = LabelReview.joined(
            [store.kind.review(rows, probs, SCORES[0]) for rows, probs in store.kind.labeled_blocks(evidence)]
        )
        suggested[review.index], quality[review.index] = review.suggested, review.quality
        issue[review.index] = review.contradicted
    quality = np.clip(quality, 0, 1)
    columns: list[list[Any]] = [
        list(ids), called[given].tolist(), called[suggested].tolist(), quality.tolist(), issue.tolist()
    ]  # fmt: skip
    fields = ("id", "given", "suggested", "quality", "is_issue")
    items = [Item(**dict(zip(fields, row, strict=True))) for row in zip(*columns, strict=True)]
    finals = [
        FinalLabel(item.id, label, False, "given" if label == item.given else "corrected")
        for item, label in zip(items, called[final].tolist(), strict=True)
    ]
    return items, finals
