"""How labels differ: between generations, and from clean ones."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from noisycorrect.labels.store import SoftLabelStore

ROWS_AT_ONCE = 65_536


def changed_share(store: SoftLabelStore, before: int) -> float:
    """Return the share of labels whose most probable class is another than in generation `before`."""
    changed = total = 0
    for start in range(0, len(store), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        new, old = store.labels(rows), store.labels(rows, generation=before)
        for now, then in [(new, old)] if isinstance(new, np.ndarray) else zip(new, old, strict=True):
            changed, total = changed + int((now != then).sum()), total + now.size
    return changed / total


def label_accuracy(store: SoftLabelStore, clean: Tensor) -> float:
    """Return the share of refined class labels that are the clean ones."""
    correct = sum(
        int((store.labels(rows) == clean[rows].numpy()).sum())
        for rows in (slice(start, start + ROWS_AT_ONCE) for start in range(0, len(store), ROWS_AT_ONCE))
    )
    return correct / len(store)
