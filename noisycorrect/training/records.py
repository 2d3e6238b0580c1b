"""What a cycle's record says of the labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.compare import changed_share
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
    record["mean_trust"] = mean_trust(store, metrics.class_support())
    return record if clean is None else {**record, **store.kind.quality(store.labels, clean)}


def mean_trust(store: SoftLabelStore, support: Tensor) -> float:
    """Return the mean weight on the given labels, in [0, 1]; `support` (K,) counts those of each class."""
    trust = store.trust(np.flatnonzero(store.labeled))
    mean = float(trust.weight.mean())
    if trust.floor is None:
        return mean
    return float((trust.floor.clamp(min=mean) * support).sum() / support.sum())
