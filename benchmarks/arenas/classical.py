"""Rows without a network, shown for scale: neighbours, who vote noise away; logistic regression and boosted trees."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from benchmarks.arenas.tables import Values
from benchmarks.lab.datasets import Labels

Reals = NDArray[np.float64]
NEIGHBOURS, VOTERS, ROUNDS = 30, 10, 3
FOLDS = 5
_ROWS_AT_ONCE = 2000


class Answer(NamedTuple):
    """What such a method says: test labels (T,); if it can, the quality of the given labels and cleaned ones, (N,)."""

    predicted: Labels
    quality: Reals | None = None
    cleaned: Labels | None = None


class Question(NamedTuple):
    """What it is asked: training features (N, F) and given labels (N,), K, test features (T, F), a seed."""

    train: Values
    given: Labels
    num_classes: int
    test: Values
    seed: int


def knn(question: Question) -> Answer:
    """Clean the labels by a vote of 30 cosine neighbours, each by its own quality; then 10 neighbours name test rows.

    Quality starts at 1 and becomes, three times over, the weighted share of a row's neighbours that have its label; the
    cleaned label is the class with the largest share. No training.
    """
    near = nearest(question.train, question.train, min(NEIGHBOURS, len(question.train) - 1), own=True)
    quality = np.ones(len(near))
    for _ in range(ROUNDS):
        shares = _vote(question.given[near], quality[near], question.num_classes)
        quality = shares[np.arange(len(near)), question.given]
    cleaned = shares.argmax(axis=1)
    beside = nearest(question.test, question.train, min(VOTERS, len(near)))
    votes = _vote(cleaned[beside], np.ones(beside.shape), question.num_classes)
    return Answer(votes.argmax(axis=1), quality, cleaned)


def _vote(labels: Labels, weights: Reals, num_classes: int) -> Reals:
    """Return the share of each class among the labels (N, k) of each row, by weight."""
    rows = np.broadcast_to(np.arange(len(labels))[:, None], labels.shape)
    tally = np.bincount((rows * num_classes + labels).ravel(), weights.ravel() + 1e-9, len(labels) * num_classes)
    tally = tally.reshape(len(labels), num_classes)
    return np.asarray(tally / tally.sum(axis=1, keepdims=True))


def nearest(rows: Values, among: Values, count: int, *, own: bool = False) -> Labels:
    """Return the indices (N, count) of the rows of `among` with the largest cosine; `own`: they are the same rows.

    Examples
    --------
    >>> nearest(np.eye(2, dtype=np.float32), np.array([[1, 1], [0, 2], [3, 1]], np.float32), 1).tolist()
    [[2], [1]]
    """
    unit = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (rows, among)]
    found = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        cosine = unit[0][start : start + _ROWS_AT_ONCE] @ unit[1].T
        if own:
            cosine[np.arange(len(cosine)), start + np.arange(len(cosine))] = -np.inf
        found.append(np.argpartition(-cosine, count - 1, axis=1)[:, :count])
    return np.concatenate(found)


def ni_erm(question: Question) -> Answer:
    """Fit a logistic regression and ignore the noise (arXiv:2411.00079); quality is its own, cross-fitted five-fold."""
    model = LogisticRegression(max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of raw features, and with 300 steps good enough
        predicted = model.fit(question.train, question.given).predict(question.test)
        rarest = int(np.bincount(question.given)[np.unique(question.given)].min())
        if rarest < FOLDS:
            return Answer(predicted)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=question.seed)
        probs = cross_val_predict(model, question.train, question.given, cv=folds, method="predict_proba")
    quality = probs[np.arange(len(probs)), np.searchsorted(model.classes_, question.given)]
    return Answer(predicted, quality)


def boosted_trees(question: Question) -> Answer:
    """Fit scikit-learn's histogram gradient boosting with its defaults, noise ignored."""
    model = HistGradientBoostingClassifier(random_state=question.seed)
    return Answer(model.fit(question.train, question.given).predict(question.test))


CLASSICAL: dict[str, Callable[[Question], Answer]] = {
    "knn": knn,
    "ni-erm": ni_erm,
    "hist-gradient-boosting": boosted_trees,
}
VECTORS_ONLY = ("hist-gradient-boosting",)
