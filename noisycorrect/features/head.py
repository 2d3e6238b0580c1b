"""A linear head on features, cross-fitted: what a logistic regression that has not seen a label says of it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from noisycorrect.features.inputs import Features

_ITERATIONS, _TOLERANCE = 200, 1e-3  # held-out probabilities change in the third digit beyond
_LEAST_LEARNT, _CLASS_WEIGHT = 0.02, 0.5


def cross_fitted_head(
    features: Features, given: np.ndarray, fold: np.ndarray, folds: int, classes: int, weights: np.ndarray
) -> np.ndarray:
    r"""Return held-out class probabilities of logistic regressions, one a fold.

    Each minimises :math:`\sum_j w_{jf} \log(1 / p_{j g_j}) + \frac12 \lVert W \rVert^2` over the labelled samples j of
    the other folds (scikit-learn's ``LogisticRegression`` with C = 1).

    Parameters
    ----------
    features : ndarray or CSR array, shape (N, F), float32
        Of comparable scale.
    given : ndarray of int64, shape (N,)
        -1 for none.
    fold : ndarray of int64, shape (N,)
        0..folds-1, or `folds` for a sample that nobody may learn from; of those the probabilities are those of a
        regression on all labels.
    folds, classes : int
        F, K.
    weights : ndarray, shape (N, F + 1)
        Of each sample in the regression of each fold, and in the one on all labels.

    Returns
    -------
    ndarray, shape (N, K), float32
        Rows sum to 1; 0 for a class of which the fold's regression has seen no label.

    Examples
    --------
    >>> features = np.array([[-1], [-2], [1], [2]], np.float32)
    >>> given, fold = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    >>> cross_fitted_head(features, given, fold, 2, 2, np.ones((4, 3))).argmax(1).tolist()
    [0, 0, 1, 1]
    """
    # Imported here: scikit-learn takes a second to import.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    probs = np.zeros((len(given), classes), np.float32)
    for own in np.unique(fold):
        train, held_out = np.flatnonzero((fold != own) & (fold < folds)), np.flatnonzero(fold == own)
        seen = np.unique(given[train])
        if len(seen) == 1:
            probs[held_out, seen[0]] = 1
            continue
        model = LogisticRegression(max_iter=_ITERATIONS, tol=_TOLERANCE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[train], given[train], sample_weight=weights[train, own])
        probs[np.ix_(held_out, seen)] = model.predict_proba(features[held_out])
    return probs


class SoftHead:
    r"""A logistic regression on class probabilities instead of labels.

    It minimises :math:`\sum_j \sum_k c_k q_{jk} \log(1 / p_{jk}) + \frac12 \lVert W \rVert^2`, with q the
    probabilities and class weights :math:`c_k \propto \pi_k^{-0.5}`, :math:`\pi` their means: a rare class counts more
    than its share, and less than as much as a frequent one. Probabilities up to 0.02 are left out.

    Parameters
    ----------
    classes : int
        K.

    Examples
    --------
    >>> head = SoftHead(3).fit(np.array([[-1.0], [1.0]]), np.array([[0.9, 0.1, 0], [0.1, 0.9, 0]]))
    >>> head.probs(np.array([[-2.0], [2.0]])).argmax(1).tolist()
    [0, 1]
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._model: Any = None

    def fit(self, features: Features, probs: np.ndarray) -> SoftHead:
        """Learn from features (N, F) and probabilities (N, K); the weights go on from those of the last call."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        row, label = np.nonzero(probs > _LEAST_LEARNT)
        totals = np.bincount(label, probs[row, label], self.classes)
        weight = _relative(probs[row, label], label, totals)
        seen = np.unique(label)
        if len(seen) == 1:
            self._model = int(seen[0])
            return self
        before = self._model
        model = LogisticRegression(max_iter=_ITERATIONS, tol=_TOLERANCE, warm_start=True)
        if isinstance(before, LogisticRegression) and np.array_equal(before.classes_, seen):
            model.coef_, model.intercept_ = before.coef_, before.intercept_
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model = model.fit(features[row], label, sample_weight=weight)
        return self

    def probs(self, features: Features) -> np.ndarray:
        """Return class probabilities, float32 (N, K); 0 for a class that was never seen."""
        found = np.zeros((features.shape[0], self.classes), np.float32)
        if isinstance(self._model, int):
            found[:, self._model] = 1
        else:
            found[:, self._model.classes_] = self._model.predict_proba(features)
        return found


def _relative(weight: np.ndarray, label: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return weights times a factor a class, with the same sum."""
    shares = totals / totals.sum()
    factor = np.where(shares > 0, np.maximum(shares, np.finfo(float).tiny) ** -_CLASS_WEIGHT, 0)
    changed = weight * factor[label]
    return np.asarray(changed * (weight.sum() / changed.sum()))
