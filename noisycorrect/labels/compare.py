"""How labels differ: between generations, and from clean ones."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from noisycorrect.labels.given import ClassLabels
from noisycorrect.labels.store import SoftLabelStore

ROWS_AT_ONCE = 65_536


def changed_share(store: SoftLabelStore, before: int) -> float:
    """Return the share of labels (or of pixels) whose most probable class is another than in generation `before`.

    A sample that had no label then and has one now has changed.
    """
    changed = total = 0
    step = ROWS_AT_ONCE if store.kind == ClassLabels.kind else 1
    for start in range(0, len(store), step):
        rows = slice(start, start + step)
        new, old = store.labels(rows), store.labels(rows, generation=before)
        for now, then in [(new, old)] if isinstance(new, np.ndarray) else zip(new, old, strict=True):
            changed += int((now != then).sum()) if now.shape == then.shape else now.size
            total += now.size
    return changed / total


def label_accuracy(store: SoftLabelStore, clean: Tensor) -> float:
    """Return the share of refined class labels that are the clean ones."""
    correct = sum(
        int((store.labels(rows) == clean[rows].numpy()).sum())
        for rows in (slice(start, start + ROWS_AT_ONCE) for start in range(0, len(store), ROWS_AT_ONCE))
    )
    return correct / len(store)
