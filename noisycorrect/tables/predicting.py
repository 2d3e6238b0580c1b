"""Using the model of a cleaning run again: on rows that it has not seen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.features.efficientnet import pretrained
from noisycorrect.support.cells import safe_cell
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.tables.columns import no_numbers, told_gaps
from noisycorrect.tables.features import NumberBlock
from noisycorrect.tables.learning import Trained
from noisycorrect.tables.loading import as_classes, label_cells
from noisycorrect.tables.networks import LARGE_SIDE, SMALL_SIDE
from noisycorrect.tables.pictures import described, folder_of, picture_paths, read_picture
from noisycorrect.tables.settings import read_settings
from noisycorrect.tables.source import Row, Source, find_column
from noisycorrect.tables.writing import new_names, write_table

_ROWS_AT_ONCE = 4096
_PICTURES_AT_ONCE = 64


@dataclass(frozen=True)
class Predicted:
    """What came of it.

    Attributes
    ----------
    rows, unreadable : int
        How many rows there are, and of how many the picture could not be read.
    compared : int
        How many have a label to compare with: 0 if there is no such column.
    accuracy, balanced : float
        Share of these labels that are predicted, and its mean over the classes.
    label : str
        The column.
    notes : tuple of str
        Which columns of numbers have cells that are none.
    """

    rows: int
    unreadable: int
    compared: int
    accuracy: float
    balanced: float
    label: str
    notes: tuple[str, ...] = ()


def predict(
    run_dir: Path, source: Source, out: Path, *, label: str | None = None, root: Path | None = None
) -> Predicted:
    """Write a table with predicted labels beside it, some thousand rows at a time.

    Parameters
    ----------
    run_dir : Path
        Of a cleaning run that has ended.
    source : Source
        With the columns that the run learnt from.
    out : Path
        The table: all columns as they were, ``predicted_label`` and ``probability``.
    label : str, optional
        Column to compare with. Default: the run's, if the table has it.
    root : Path, optional
        Folder of the pictures. Default: the table's.

    Raises
    ------
    CheckpointError
        If there is no trained model.
    InvalidInputError
        If a column is missing, or the file cannot be written.
    """
    trained = Trained.load(run_dir)
    if label is None:
        known = read_settings(run_dir).get("label") or ("label" if source.kind == "folder" else None)
        label = known if known in source.columns else None
    else:
        find_column(label, source.columns, "--label")
    reader = _Reader(trained, source, root)
    place = None if label is None else source.columns.index(label)
    truth, found = [], []

    def rows() -> Iterator[Row]:
        for some in _blocks(source, reader.at_once):
            probs, readable = reader.probs(some)
            labels = trained.predict(probs)
            for row, code, own, whole in zip(some, labels.tolist(), probs, readable.tolist(), strict=True):
                name = trained.classes[code] if whole else ""
                found.append(name)
                truth.append("" if place is None else row[place])
                yield [*row, safe_cell(name), f"{own[code]:.6f}" if whole else ""]

    header = [*source.columns, *new_names(("predicted_label", "probability"), source.columns)]
    out.parent.mkdir(parents=True, exist_ok=True)
    count = write_table(out, source, header, rows())
    known = as_classes(label_cells(truth, label or "", []), trained.classes)
    compared = _compared(count, found, known, label or "")
    return replace(compared, notes=reader.notes)


def _compared(count: int, found: list[str], truth: list[str], label: str) -> Predicted:
    right, names = np.array(found, object), np.array(truth, object)
    kept = (names != "") & (right != "")
    hits = (right == names)[kept]
    classes = sorted(set(names[kept]))
    recall = [float(hits[names[kept] == name].mean()) for name in classes]
    accuracy = float(hits.mean()) if len(hits) else float("nan")
    balanced = float(np.mean(recall)) if recall else float("nan")
    return Predicted(count, found.count(""), int(kept.sum()), accuracy, balanced, label)


def _blocks(source: Source, size: int) -> Iterator[list[Row]]:
    some: list[Row] = []
    for row in source.rows():
        some.append(row)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


class _Reader:
    """Rows as the network takes them."""

    def __init__(self, trained: Trained, source: Source, root: Path | None) -> None:
        self.trained = trained
        self.folder = root or folder_of(source)
        names = trained.features.columns if trained.features is not None else (trained.pictures["column"],)
        for name in names:
            if name not in source.columns:
                fix = f"the columns are {', '.join(source.columns)}"
                raise InvalidInputError(f"a column {name!r}, which the model learnt from", got="none", fix=fix)
        self.place = {name: source.columns.index(name) for name in names}
        blocks = () if trained.features is None else trained.features.blocks
        self.numbers = [name for block in blocks if isinstance(block, NumberBlock) for name in block.columns]
        self.wrong: Counter[str] = Counter()  # cells of these that are none, and the first one
        self.first: dict[str, str] = {}
        backbone = trained.pictures.get("backbone")
        self.network: Any = None if backbone is None else pretrained(Path(backbone))
        self.at_once = _ROWS_AT_ONCE if trained.features is not None else _PICTURES_AT_ONCE

    @property
    def notes(self) -> tuple[str, ...]:
        """In which columns of numbers so far are cells that are none."""
        return tuple(f"{name!r}: {told_gaps(self.wrong[name], first)}" for name, first in self.first.items())

    def probs(self, rows: list[Row]) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities (n, K), and which rows could be read, bool (n,)."""
        cells = {name: [row[place] for row in rows] for name, place in self.place.items()}
        for name in self.numbers:
            if wrong := no_numbers(cells[name]):
                self.wrong[name] += len(wrong)
                self.first.setdefault(name, wrong[0])
        if self.trained.features is not None:
            return self.trained.probs(self.trained.features.transform(cells)), np.ones(len(rows), bool)
        folder, real = self.folder, os.path.realpath(self.folder)
        side = SMALL_SIDE if self.network is None else LARGE_SIDE
        (column,) = cells.values()
        pictures = [read_picture(path, side, real) for path in picture_paths(column, folder)]
        readable = np.array([picture is not None for picture in pictures])
        probs = np.full((len(rows), len(self.trained.classes)), 1 / len(self.trained.classes), np.float32)
        whole = [picture for picture in pictures if picture is not None]
        if whole:
            pixels = np.stack(whole)
            probs[readable] = self.trained.probs(pixels if self.network is None else described(self.network, pixels))
        return probs, readable
