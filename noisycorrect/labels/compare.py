"""How the labels of a store differ from one generation to the next."""

from __future__ import annotations

import numpy as np

from noisycorrect.labels.kind import VALUES_AT_ONCE
from noisycorrect.labels.store import SoftLabelStore


def changed_share(store: SoftLabelStore, before: int) -> float:
    """Return the share of labels (or of their parts) whose most probable class is another than in generation `before`.

    A sample that had no label then and has one now has changed. Of large labels some are compared, evenly spaced:
    of masks 512.

    Examples
    --------
    >>> changed_share(SoftLabelStore.create(None, [0, 1], 2), 0)
    0.0
    """
    changed = total = 0
    for rows in compared_rows(store):
        new, old = store.labels(rows), store.labels(rows, generation=before)
        # Labels of one shape come as one array, others as one a sample.
        for now, then in [(new, old)] if isinstance(new, np.ndarray) else zip(new, old, strict=True):
            changed += int((now != then).sum()) if now.shape == then.shape else now.size
            total += now.size
    return changed / total


def compared_rows(store: SoftLabelStore) -> list[np.ndarray]:
    """Return the positions, block by block, of the labels that stand for all: of large ones some, evenly spaced."""
    most = store.kind.compared
    if most is None:
        return list(store.kind.blocks())
    chosen = np.linspace(0, len(store) - 1, min(len(store), most)).round().astype(int)
    step = max(1, VALUES_AT_ONCE // max(1, store.kind.largest))
    return [chosen[start : start + step] for start in range(0, len(chosen), step)]
