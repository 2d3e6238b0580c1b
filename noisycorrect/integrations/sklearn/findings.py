"""What is said of the given labels: issues as a table, corrected labels, the annotators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from noisycorrect.labels.refine import UNLABELED


def table(columns: Mapping[str, np.ndarray], index: Any = None) -> Any:
    """Return columns as a DataFrame, or as a NumPy record array where pandas is not installed.

    Examples
    --------
    >>> found = table({"is_label_issue": np.array([True, False]), "label_quality": np.array([0.1, 0.9])})
    >>> found["label_quality"].tolist()
    [0.1, 0.9]
    """
    try:
        import pandas as pd
    except ImportError:
        return np.rec.fromarrays(list(columns.values()), names=list(columns))
    return pd.DataFrame(dict(columns), index=index)


def names_of(codes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the names of class indices (N,): objects, None where the index is -1, if there is such a one.

    Examples
    --------
    >>> names_of(np.array([1, -1]), np.array(["cat", "dog"])).tolist()
    ['dog', None]
    """
    gap = codes == UNLABELED
    if not gap.any():
        return np.asarray(classes[codes])
    names = classes.astype(object)[codes]
    names[gap] = None
    return np.asarray(names)
