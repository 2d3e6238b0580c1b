"""What a cycle's record says of the labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.compare import changed_share, compared_rows
from noisycorrect.review.parts import LabelsOfParts
from noisycorrect.task import Metrics


def label_record(store: SoftLabelStore, metrics: Metrics | None, main_metric: str, clean: Any) -> dict[str, float]:
    """Compare a store's labels with its predictions, with those of the last generation, and with clean ones.

    Parameters
    ----------
    store : SoftLabelStore
        Its current generation is compared.
    metrics : Metrics or None
        Of the predictions of that generation against the given labels; None if there is no such generation.
    main_metric : str
        Which of them is the agreement.
    clean : Any
        Clean labels, as the store's kind has checked them; None if they are not known.

    Returns
    -------
    dict of str to float
        ``agreement``, ``changed``, ``mean_trust``, ``label_accuracy`` and what else the kind says of clean labels; NaN
        for what is not known.
    """
    record = dict.fromkeys(("agreement", "changed", "mean_trust", "label_accuracy"), math.nan)
    if metrics is None:
        return record
    record["agreement"] = metrics.compute()[main_metric]
    record["changed"] = changed_share(store, store.generation - 1)
    record["mean_trust"] = mean_trust(store)
    return record if clean is None else {**record, **store.kind.quality(store.labels, clean)}


def mean_trust(store: SoftLabelStore) -> float:
    """Return the mean weight on the given labels, in [0, 1]; NaN if there are none.

    Of labels that are judged part by part (the pixels of a mask) it is that of their labelled parts, at the resolution
    of the evidence; of large ones some are looked at, evenly spaced, as in
    :func:`~noisycorrect.labels.compare.changed_share`.
    """
    rows = np.flatnonzero(store.labeled)
    if not len(rows):
        return math.nan
    if store.kind.class_indices is not None:
        labels = torch.from_numpy(store.kind.class_indices[rows])
        return float(store.trust(rows).of(labels).mean())
    if not isinstance(store.kind, LabelsOfParts) or _of_parts(store, store.kind, rows[:1])[0].dim() == 1:
        return float(store.trust(rows).weight.mean())
    total, count = 0.0, 0
    for block in compared_rows(store):
        some = block[store.labeled[block]]
        if len(some):
            trust, known = _of_parts(store, store.kind, some)
            total, count = total + float(trust[known].double().sum()), count + int(known.sum())
    return total / count if count else math.nan


def _of_parts(store: SoftLabelStore, kind: LabelsOfParts, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the trust in the parts of some labels, (n, ...), or (n,) if all are alike; and which are labelled."""
    trust = store.trust(rows)
    if trust.rule is None and trust.parts is not None:  # what the evidence says does not matter, its resolution does
        evidence = trust.parts.new_zeros(()).expand(len(rows), store.num_classes, *trust.parts.shape[1:])
    else:
        evidence = store.evidence(rows)
    given, evidence = kind.beside(rows, evidence)
    return trust.of(given, evidence), (given >= 0) & (given < evidence.shape[1])
