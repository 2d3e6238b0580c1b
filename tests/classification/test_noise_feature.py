"""Feature-dependent noise: margins, runner-ups, and the teacher."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noisycorrect.classification import noise
from noisycorrect.classification.noise.feature import cross_fitted_probs
from noisycorrect.support.errors import InvalidInputError


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 6), st.integers(1, 60), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_lowest_margins_become_runner_up(classes: int, size: int, rate: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, probs = rng.integers(0, classes, size), rng.dirichlet(np.ones(classes), size)
    result = noise.FeatureDependent(rate, probs).apply(labels, num_classes=classes, seed=0)
    scored = []
    for index, (label, row) in enumerate(zip(labels.tolist(), probs.tolist(), strict=True)):
        rival = max((other for other in range(classes) if other != label), key=lambda other: row[other])
        scored.append((row[label] - row[rival], index, rival))
    count = int(result.changed.sum())
    assert abs(count - rate * size) <= 0.5 + 1e-6
    expected = labels.copy()
    for _, index, rival in sorted(scored)[:count]:
        expected[index] = rival
    assert result.labels.tolist() == expected.tolist()
    np.testing.assert_allclose(result.details["margin"], [margin for margin, _, _ in scored], rtol=1e-12)


def test_the_teacher_may_be_a_function_of_the_inputs() -> None:
    x = torch.tensor([[0.0], [2.0], [0.1], [3.0]])
    seen: list[Any] = []

    def teacher(inputs: Any) -> torch.Tensor:
        seen.append(inputs)
        return torch.softmax(torch.cat([inputs, -inputs], dim=1), dim=1)

    result = noise.FeatureDependent(0.5, teacher).apply([0, 0, 0, 0], num_classes=2, seed=0, inputs=x)
    assert seen[0] is x
    assert result.labels.tolist() == [1, 0, 1, 0]
    assert result.details["teacher"] == "callable"
    np.testing.assert_allclose(result.details["teacher_probs"], teacher(x).numpy(), rtol=1e-6)


def test_ties_are_broken_by_the_seed() -> None:
    model = noise.FeatureDependent(0.5, np.full((20, 2), 0.5))
    chosen = {model.apply([0] * 20, num_classes=2, seed=seed).changed.tobytes() for seed in range(5)}
    assert len(chosen) > 1


def test_the_default_teacher_flips_samples_near_the_boundary() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(400, 2))
    labels = (x[:, 0] > 0).astype(int)
    result = noise.FeatureDependent(0.2).apply(labels, num_classes=2, seed=0, inputs=x)
    assert result.rate == 0.2
    assert np.abs(x[result.changed, 0]).max() < 0.3 < np.abs(x[~result.changed, 0]).max()
    assert result.details["teacher"] == "logistic regression"
    np.testing.assert_allclose(result.details["teacher_probs"].sum(axis=1), 1.0, rtol=1e-9)


def test_the_default_teacher_has_not_seen_the_sample_it_judges() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 200))  # more features than samples: a teacher in the know would be sure of every label
    labels = np.arange(40) % 2
    probs = cross_fitted_probs(x, labels, 2, np.random.SeedSequence(0))
    accuracy = float((probs.argmax(axis=1) == labels).mean())
    assert 0.2 < accuracy < 0.8


def test_a_class_of_one_sample_gets_no_probability_out_of_fold() -> None:
    x = np.array([[0.0], [0.2], [1.0], [1.2], [9.0]])
    probs = cross_fitted_probs(x, np.array([0, 0, 1, 1, 2]), 4, np.random.SeedSequence(0))
    assert probs[4, 2] == 0.0
    assert (probs[:, 3] == 0.0).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1.0, rtol=1e-9)


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        (np.full((3, 2), 0.5), r"teacher_probs of shape \(N, K\) = \(4, 2\); got shape \(3, 2\)"),
        (np.array([[0.5, 0.5], [3.0, -1.0], [0.5, 0.5], [0.5, 0.5]]), "got minimum -1, sum 2 at index 1; .* softmax"),
        (np.full((4, 2), np.nan), "at index 0"),
        (np.full((4, 2), "a"), "numeric teacher_probs"),
    ],
)
def test_bad_teachers(probs: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        noise.FeatureDependent(0.5, probs).apply([0, 1, 0, 1], num_classes=2, seed=0)


def test_too_few_samples_for_a_default_teacher() -> None:
    with pytest.raises(InvalidInputError, match="two classes of two samples or more, to fit a teacher; got 3 samples"):
        noise.FeatureDependent(0.5).apply([0, 0, 1], num_classes=2, seed=0, inputs=np.eye(3))


def test_a_function_as_teacher_needs_inputs() -> None:
    with pytest.raises(InvalidInputError, match="inputs, because 'feature' noise depends on them"):
        noise.FeatureDependent(0.5, lambda x: x).apply([0, 1], num_classes=2, seed=0)
