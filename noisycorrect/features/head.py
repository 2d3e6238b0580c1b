"""A linear head on features, cross-fitted: what a logistic regression that has not seen a label says of it."""

from __future__ import annotations

import warnings

import numpy as np

from noisycorrect.features.inputs import Features

_ITERATIONS, _TOLERANCE = 200, 1e-3  # held-out probabilities change in the third digit beyond


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
