"""Sets of the arena that lie in files: published tables, anybody's CSV, crowd-labelled texts, CIFAR-10."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.arenas.tables import Source
from benchmarks.lab.datasets import Labels, load
from benchmarks.lab.files import read_arrays, read_rows
from noisycorrect.support.errors import InvalidInputError

_POOL, _TEST_POOL = 10_000, 4_000  # images that the seeds draw from
_MOST_CATEGORIES = 30


def read_npz(path: Path) -> Source:
    """Return a table of `X` (N, F), `y` (N,) and `names` (K,).

    Raises
    ------
    InvalidInputError
        If the file is damaged, lacks one of them, or they do not fit together.
    """
    inputs, labels, names = read_arrays(path, "names")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        raise InvalidInputError(f"labels 0..{len(names) - 1} in {path}", got=f"{labels.min()} to {labels.max()}")
    return Source(inputs.astype(np.float32), labels.astype(np.int64), tuple(map(str, names)))


def read_csv(path: Path, label: str) -> Source:
    """Return a table with a head line: numbers as they are (gaps become the mean), few categories as 0 and 1.

    A column with more than 30 different texts is left out; so are rows without a label.

    Raises
    ------
    InvalidInputError
        If there is no such column, or nothing is left to learn from.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    known = list(rows[0]) if rows else []
    if label not in known:
        raise InvalidInputError(f"a column {label!r} in {path}", got=", ".join(known[:8]), fix="pass --label")
    rows = [row for row in rows if (row[label] or "").strip()]
    names, labels = np.unique([row[label].strip() for row in rows], return_inverse=True)
    columns = [_columns([(row[name] or "").strip() for row in rows]) for name in known if name != label]
    found = [column for group in columns for column in group]
    if not found:
        raise InvalidInputError(f"columns of numbers or categories in {path}", got="none beside the label")
    return Source(np.stack(found, axis=1).astype(np.float32), labels.astype(np.int64), tuple(map(str, names)))


def _columns(texts: Sequence[str]) -> list[np.ndarray]:
    try:
        values = np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        categories = sorted(set(texts))
        few = len(categories) <= _MOST_CATEGORIES
        return [np.array([text == category for text in texts], float) for category in categories] if few else []
    known = np.isfinite(values)
    return [np.where(known, values, values[known].mean())] if known.any() else []


# ---------------------------------------------------------------- crowd


def read_crowd(folder: Path) -> Source:
    """Return crowd-labelled texts as TF-IDF of their words; ``human:majority`` is the vote of their annotators.

    The folder holds `crowd.csv` (id, text, annotator_1, ...; empty where missing), `gold.csv` (id, gold) and
    `heldout.csv` (text, label), which is for testing. Texts that nobody labelled are left out; words and their weights
    are those of crowd.csv.

    Raises
    ------
    InvalidInputError
        If a file is missing or lacks a column.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    crowd, gold, held_out = (read_rows(folder / name) for name in ("crowd.csv", "gold.csv", "heldout.csv"))
    annotators = [name for name in crowd[0] if name.startswith("annotator")]
    try:
        right = {row["id"]: row["gold"] for row in gold}
        voted = [row for row in crowd if any(row[name] for name in annotators)]
        texts, truths = [row["text"] for row in voted], [right[row["id"]] for row in voted]
        test_texts, test_truths = [row["text"] for row in held_out], [row["label"] for row in held_out]
    except KeyError as error:
        fix = "crowd.csv has id, text and annotator_1, ...; gold.csv id and gold; heldout.csv text and label"
        raise InvalidInputError(f"columns of {folder}", got=f"no {error}", fix=fix) from error
    names = sorted(set(truths))
    place = {name: number for number, name in enumerate(names)}
    words = TfidfVectorizer(min_df=2).fit([row["text"] for row in crowd])
    labels = np.array([place[name] for name in [*truths, *test_truths]], np.int64)
    votes = np.array([[place.get(row[name], -1) for name in annotators] for row in voted], np.int64)
    given = np.concatenate([majority(votes, len(names), seed=None), labels[len(voted) :]])
    return Source(
        words.transform([*texts, *test_texts]).toarray().astype(np.float32),
        labels,
        tuple(names),
        {"majority": given},
        test_rows=np.arange(len(voted), len(labels)),
    )


def majority(votes: Labels, num_classes: int, *, seed: int | None) -> Labels:
    """Return the most frequent of the votes (N, A) of each row, -1 being none.

    Among equals the seed decides; without one, the class that has more votes in all rows.

    Examples
    --------
    >>> majority(np.array([[1, 1, 0], [-1, 2, -1], [2, 1, -1]]), 3, seed=None).tolist()
    [1, 2, 1]
    """
    tally = np.zeros((len(votes), num_classes))
    rows = np.broadcast_to(np.arange(len(votes))[:, None], votes.shape)
    np.add.at(tally, (rows[votes >= 0], votes[votes >= 0]), 1.0)
    frequency = tally.sum(axis=0) / (tally.sum() + 1)
    tally += 0.5 * (frequency if seed is None else np.random.default_rng(seed).random(tally.shape))
    return np.asarray(tally.argmax(axis=1))


# ---------------------------------------------------------------- CIFAR-10


def read_cifar10(folder: Path, *, images: bool) -> Source:
    """Return a part of CIFAR-10 and its human labels: images and, as features, their HOG; or these alone.

    10,000 training and 4,000 test images, drawn once; HOG: :func:`benchmarks.lab.features.hog_features`.

    Raises
    ------
    InvalidInputError
        See :func:`benchmarks.lab.datasets.load`.
    """
    kept = slice(0, _TEST_POOL)
    names = ("cifar10-hog", "cifar10") if images else ("cifar10-hog",)
    parts = [load(name, folder, subset=_POOL, seed=0, standardise=False) for name in names]
    stacked = [np.concatenate([part.train_inputs.numpy(), part.test_inputs[kept].numpy()]) for part in parts]
    last = parts[-1]
    human: Mapping[str, Labels] = {
        name: np.concatenate([given, last.test_labels[kept]]) for name, given in last.human_labels.items()
    }
    labels = np.concatenate([last.train_labels, last.test_labels[kept]])
    test = np.arange(_POOL, len(labels))
    return Source(stacked[-1], labels, last.class_names, human, test, stacked[0] if images else None)
