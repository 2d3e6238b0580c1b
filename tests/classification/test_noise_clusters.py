"""Cluster-based noise: against a slow loop, its rates, and what makes it unlike independent errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisycorrect.classification import noise
from noisycorrect.classification.noise.clusters import _squared_distances
from noisycorrect.support.errors import InvalidInputError


def standardised(inputs: list[list[float]]) -> list[list[float]]:
    columns = list(zip(*inputs, strict=True))
    means = [math.fsum(column) / len(column) for column in columns]
    stds = [
        math.sqrt(math.fsum((value - mean) ** 2 for value in column) / len(column)) or 1.0
        for column, mean in zip(columns, means, strict=True)
    ]
    return [[(value - mean) / std for value, mean, std in zip(row, means, stds, strict=True)] for row in inputs]


def distance(one: list[float], other: list[float]) -> float:
    return math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(one, other, strict=True)))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(8, 40), st.floats(0, 1), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_labels_are_those_of_a_slow_loop(classes: int, size: int, rate: float, centres: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, inputs = rng.integers(0, classes, size), rng.normal(3, [1, 5, 0.2], (size, 3))
    labels[:2] = 0, 1
    result = noise.Clusters(rate, centres).apply(labels, num_classes=classes, seed=seed, inputs=inputs)
    rows, drawn = standardised(inputs.tolist()), result.details["centres"].tolist()
    members = {k: [i for i in range(size) if labels[i] == k] for k in range(classes)}
    means = {
        k: [math.fsum(c) / len(m) for c in zip(*(rows[i] for i in m), strict=True)] for k, m in members.items() if m
    }
    expected = labels.tolist()
    for label, own in members.items():
        count = int(result.changed[own].sum())
        assert abs(count - rate * len(own)) <= 0.5 + 1e-6
        around = [i for i in drawn if labels[i] == label]
        assert len(set(around)) == len(around) == min(centres, count)
        for i in sorted(own, key=lambda i: min(distance(rows[i], rows[c]) for c in around) if around else 0)[:count]:
            expected[i] = min((k for k in means if k != label), key=lambda k: distance(rows[i], means[k]))
    assert result.labels.tolist() == expected


def test_the_rate_is_exact_in_every_class_and_the_transition_says_where_to() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [50, 100, 150])
    inputs = np.array([[0.0, 0], [4, 0], [20, 0]])[labels] + rng.normal(size=(300, 2))
    result = noise.Clusters(0.3).apply(labels, num_classes=4, seed=0, inputs=inputs)
    assert [int(result.changed[labels == k].sum()) for k in range(3)] == [15, 30, 45]
    expected = [[0.7, 0.3, 0, 0], [0.3, 0.7, 0, 0], [0, 0.3, 0.7, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(result.transition, expected, atol=1e-12)


def test_errors_lie_together() -> None:
    """Of a wrong label's five nearest samples of its class, most are wrong; at random it would be the rate."""
    rng = np.random.default_rng(0)
    labels, inputs = rng.integers(0, 2, 600), rng.normal(size=(600, 2))
    result = noise.Clusters(0.3, centres=3).apply(labels, num_classes=2, seed=0, inputs=inputs)
    shares = []
    for index in np.flatnonzero(result.changed):
        own = np.flatnonzero(labels == labels[index])
        near = own[np.argsort(np.square(inputs[own] - inputs[index]).sum(axis=1))[1:6]]
        shares.append(result.changed[near].mean())
    assert np.mean(shares) > 0.8


def test_units_of_a_feature_change_nothing() -> None:
    rng = np.random.default_rng(0)
    labels, inputs = rng.integers(0, 3, 200), rng.normal(size=(200, 4))
    model = noise.Clusters(0.4)
    scaled = inputs * [1, 1000, 1, 0.01] + [0, 7, 0, 0]
    one, other = (model.apply(labels, num_classes=3, seed=1, inputs=x) for x in (inputs, scaled))
    assert np.array_equal(one.labels, other.labels)


def test_distances_in_chunks_are_those_of_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features, space = rng.normal(size=(50, 3)), (np.zeros(3), np.ones(3))
    whole = _squared_distances(features, features[:4], space)
    monkeypatch.setattr("noisycorrect.classification.noise.clusters.CHUNK_VALUES", 28)  # 7 rows
    np.testing.assert_allclose(_squared_distances(features, features[:4], space), whole, rtol=1e-12, atol=1e-12)
    direct = np.square(features[:, None] - features[None, :4]).sum(axis=2)
    np.testing.assert_allclose(whole, direct, rtol=1e-9, atol=1e-12)


def test_bad_input_is_refused() -> None:
    x = np.eye(3)
    with pytest.raises(InvalidInputError, match="labels of two classes at least.*got labels of one class"):
        noise.Clusters(0.5).apply([1, 1, 1], num_classes=2, seed=0, inputs=x)
    with pytest.raises(InvalidInputError, match="centres to be a whole number >= 1"):
        noise.Clusters(0.5, centres=0)
    with pytest.raises(InvalidInputError, match="NaN or infinity at index 2"):
        noise.Clusters(0.5).apply([0, 1, 1], num_classes=2, seed=0, inputs=[[0.0], [1.0], [np.nan]])
    assert noise.parse("clusters:0.3:centres=2") == noise.Clusters(0.3, 2)
