"""Neighbours and their votes, against loops in float64."""

import numpy as np
import pytest
from scipy import sparse

from noisycorrect.features import neighbors
from noisycorrect.features.neighbors import class_relative, held_out_neighbors, vote, voter_quality

N, F, K, FOLDS = 60, 5, 3, 4


@pytest.fixture(name="made")
def _made():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, F)).astype(np.float32)
    given = rng.integers(-1, K, N)
    fold = np.where(given < 0, FOLDS, rng.integers(0, FOLDS, N))
    prior = np.bincount(given[given >= 0], minlength=K) / (given >= 0).sum()
    return features, given, fold, prior


def slow_neighbors(features, fold, k, appended):
    rows = [[*map(float, row), *appended] for row in features]
    found = []
    for i, row in enumerate(rows):
        alike = []
        for j, other in enumerate(rows):
            if fold[j] != fold[i] and fold[j] < FOLDS:
                lengths = sum(a * a for a in row) ** 0.5 * sum(b * b for b in other) ** 0.5
                alike.append((-sum(a * b for a, b in zip(row, other, strict=True)) / lengths, j))
        found.append({j for _, j in sorted(alike)[:k]})
    return found


@pytest.mark.parametrize("block", [1, 100, 2**24])
def test_neighbors_are_those_of_a_slow_loop(made, monkeypatch, block):
    features, _, fold, _ = made
    monkeypatch.setattr(neighbors, "BLOCK_VALUES", block)
    expected = slow_neighbors(features, fold, 7, [1.0])
    assert [set(row) for row in held_out_neighbors(features, fold, FOLDS, 7).tolist()] == expected
    rows = sparse.csr_array(features / np.linalg.norm(features, axis=1, keepdims=True))
    assert [set(row) for row in held_out_neighbors(rows, fold, FOLDS, 7).tolist()] == slow_neighbors(
        features, fold, 7, []
    )


def test_one_feature_has_neighborhoods():
    """Cosine alone would know its sign only."""
    features = np.array([[0.1], [0.2], [3.0], [3.1]], np.float32)
    assert held_out_neighbors(features, np.array([0, 1, 0, 1]), 2, 1).ravel().tolist() == [1, 0, 3, 2]


def test_quality_is_that_of_a_slow_loop_and_never_of_the_fold_it_votes_on(made):
    features, given, fold, prior = made
    found = held_out_neighbors(features, fold, FOLDS, 9)
    quality = voter_quality(found, given, fold, FOLDS, prior)
    for j in np.flatnonzero(given >= 0):
        for column in range(FOLDS + 1):
            asked = [n for n in found[j] if fold[n] != column]
            agree = sum(given[n] == given[j] for n in asked)
            assert quality[j, column] == pytest.approx((agree + prior[given[j]]) / (len(asked) + 1), rel=1e-6)


def test_votes_are_those_of_a_slow_loop(made):
    features, given, fold, prior = made
    found = held_out_neighbors(features, fold, FOLDS, 9)
    weights = voter_quality(found, given, fold, FOLDS, prior)[found, fold[:, None]]
    probs = vote(found, given, weights, prior)
    for i in range(N):
        votes = [0.0] * K
        for n, weight in zip(found[i], weights[i], strict=True):
            votes[given[n]] += float(weight)
        expected = [(9 * v / sum(votes) + p) / 10 for v, p in zip(votes, prior, strict=True)]
        assert probs[i] == pytest.approx(expected, rel=1e-5)


def test_a_class_keeps_the_weight_of_its_labels_in_each_fold(made):
    _, given, fold, _ = made
    quality = np.random.default_rng(1).random((N, FOLDS + 1)) + 0.01
    found = class_relative(quality, given, fold, K + 1)  # a class without labels is no matter
    for column in range(FOLDS + 1):
        for k in range(K):
            own = [i for i in range(N) if given[i] == k and fold[i] != column]
            mean = sum(float(quality[i, column]) for i in own) / len(own)
            expected = [float(quality[i, column]) / mean for i in own]
            np.testing.assert_allclose(found[own, column], expected, rtol=1e-12)
