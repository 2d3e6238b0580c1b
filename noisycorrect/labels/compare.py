"""How labels differ: between generations, and from clean ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from noisycorrect.labels.given import ClassLabels
from noisycorrect.labels.store import SoftLabelStore

VALUES_AT_ONCE = 2**23  # 32 MB of float32


def row_blocks(store: SoftLabelStore) -> Iterator[slice]:
    """Yield slices over all samples, each with few enough values to be worked on at once.

    Examples
    --------
    >>> [rows.stop for rows in row_blocks(SoftLabelStore.create(None, [0, 1] * 5, 2))]
    [10]
    """
    step = max(1, VALUES_AT_ONCE // store.num_classes) if store.kind == ClassLabels.kind else 1
    for start in range(0, len(store), step):
        yield slice(start, min(start + step, len(store)))


def changed_share(store: SoftLabelStore, before: int) -> float:
    """Return the share of labels (or of pixels) whose most probable class is another than in generation `before`.

    A sample that had no label then and has one now has changed.
    """
    changed = total = 0
    for rows in row_blocks(store):
        new, old = store.labels(rows), store.labels(rows, generation=before)
        for now, then in [(new, old)] if isinstance(new, np.ndarray) else zip(new, old, strict=True):
            changed += int((now != then).sum()) if now.shape == then.shape else now.size
            total += now.size
    return changed / total


def label_accuracy(store: SoftLabelStore, clean: Tensor) -> float:
    """Return the share of refined class labels that are the clean ones."""
    correct = sum(int((store.labels(rows) == clean[rows].numpy()).sum()) for rows in row_blocks(store))
    return correct / len(store)
