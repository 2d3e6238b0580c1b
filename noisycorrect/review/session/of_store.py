"""Items from a label store with evidence: what a run of one's own loop needs to be reviewed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from noisycorrect.labels import SoftLabelStore
from noisycorrect.review.issues import review_labels
from noisycorrect.review.session.items import Item
from noisycorrect.support.errors import InvalidInputError

TOLD = 5  # most probable classes of an item
ROWS_AT_ONCE = 65_536


def store_items(
    store: SoftLabelStore,
    classes: Sequence[str],
    *,
    ids: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    images: Sequence[str] | None = None,
    rows: Sequence[Mapping[str, Any]] | None = None,
    votes: Sequence[Mapping[str, str]] | None = None,
) -> Iterator[Item]:
    """Yield an item a sample of a store with evidence, in its order, for :func:`write_items`.

    Parameters
    ----------
    store : SoftLabelStore
        N samples; the evidence's most probable class is what it suggests.
    classes : sequence of str
        K names.
    ids : sequence of str, optional
        N names of the samples. Default: their positions.
    texts, images, rows : sequence, optional
        What there is to see of each; at most one of them.
    votes : sequence of mapping, optional
        Label by annotator, of each sample.

    Raises
    ------
    InvalidInputError
        If the store has no evidence, or something is not N or K.

    Examples
    --------
    >>> import torch
    >>> store = SoftLabelStore.create(None, [0, 1, -1], 2)
    >>> with store.new_generation() as writer:
    ...     writer.write(range(3), torch.tensor([[0.75, 0.25], [0.75, 0.25], [0.5, 0.5]]))
    >>> [(item.given, item.suggested, item.is_issue) for item in store_items(store, ["cat", "dog"])]
    [('cat', 'cat', False), ('dog', 'cat', True), (None, 'cat', False)]
    """
    columns = {"ids": ids, "texts": texts, "images": images, "rows": rows, "votes": votes}
    for name, column in columns.items():
        if column is not None and len(column) != len(store):
            raise InvalidInputError(f"{len(store)} {name}", got=str(len(column)), fix="pass one a sample, in order")
    if len(classes) != store.num_classes:
        raise InvalidInputError(f"{store.num_classes} class names", got=str(len(classes)), fix="pass one a class")
    found = review_labels(store)
    place = np.full(len(store), -1)
    place[found.index] = np.arange(len(found.index))
    for start in range(0, len(store), ROWS_AT_ONCE):
        block = np.arange(start, min(start + ROWS_AT_ONCE, len(store)))
        probs = store.evidence(block).numpy() if store.kind.parts is None else None
        for row in block.tolist():
            at = int(place[row])
            top = {} if probs is None else _top(probs[row - start], classes)
            given, suggested = (int(found.given[at]), int(found.suggested[at])) if at >= 0 else (-1, -1)
            unlabelled = next(iter(top), None) if at < 0 else None
            yield Item(
                id=str(row) if ids is None else str(ids[row]),
                given=classes[given] if given >= 0 else None,
                suggested=classes[suggested] if suggested >= 0 else unlabelled,
                quality=float(found.quality[at]) if at >= 0 else 1.0,
                is_issue=bool(found.contradicted[at]) if at >= 0 else False,
                probs=top,
                text=None if texts is None else texts[row],
                image=None if images is None else str(images[row]),
                row=None if rows is None else rows[row],
                votes=None if votes is None else votes[row],
                share=float(found.share[at]) if at >= 0 and store.kind.parts is not None else None,
            )


def _top(probs: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    best = np.argsort(-probs, kind="stable")[:TOLD]
    return {classes[k]: round(float(probs[k]), 6) for k in best.tolist()}
