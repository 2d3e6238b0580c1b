"""Pairs of classes, counted, and rows of probabilities that are read some at a time: memory linear in classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

DENSE_CLASSES = 100  # up to so many a transition is a dense array; beyond, most of its cells are empty


def pair_counts(rows: np.ndarray, columns: np.ndarray, classes: int, *, dense: int = DENSE_CLASSES) -> Any:
    """Return how often each pair of classes occurs, int64 (K, K); of more classes than `dense` a csr_array.

    Parameters
    ----------
    rows, columns : ndarray of int64, shape (n,)
        Classes, 0..K-1.
    classes : int
        K.
    dense : int
        Up to so many classes most cells are filled.

    Examples
    --------
    >>> pair_counts(np.array([0, 1, 1]), np.array([0, 0, 0]), 2).tolist()
    [[1, 0], [2, 0]]
    """
    if classes <= dense:
        return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)
    from scipy.sparse import coo_array

    return coo_array((np.ones(len(rows), np.int64), (rows, columns)), shape=(classes, classes)).tocsr()


class Rows:
    """Rows (n, K) that are read when they are asked for, as those of an array are.

    Parameters
    ----------
    read : callable
        Values (m, K) at positions (m,).
    positions : ndarray of int64, shape (n,)
        Which rows.
    classes : int
        K.

    Examples
    --------
    >>> rows = Rows(lambda some: np.eye(3)[some], np.array([2, 0]), 3)
    >>> rows.shape, rows[1:].tolist()
    ((2, 3), [[1.0, 0.0, 0.0]])
    """

    def __init__(self, read: Callable[[np.ndarray], Any], positions: np.ndarray, classes: int) -> None:
        self._read, self._positions = read, positions
        self.shape = (len(positions), classes)

    def __getitem__(self, rows: Any) -> Any:
        return self._read(self._positions[rows])

    def of(self, rows: np.ndarray) -> Rows:
        """Return some of the rows."""
        return Rows(self._read, self._positions[rows], self.shape[1])
