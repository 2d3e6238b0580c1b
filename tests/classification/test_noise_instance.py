"""Instance-dependent noise against loops in plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, truncnorm

from noisycorrect.classification import noise
from noisycorrect.classification.noise import checks, projection
from noisycorrect.classification.noise.projection import truncated_normal
from noisycorrect.support.errors import InvalidInputError

K, F, N = 4, 5, 40
_rng = np.random.default_rng(11)
LABELS = _rng.integers(0, K, N)
INPUTS = _rng.normal(3.0, 2.0, size=(N, F))


def slow_probs(inputs: Any, labels: Any, weights: Any, flip_rates: Any) -> np.ndarray:
    """The formula, a sample and a class at a time; weights (K, F, K) or (F, K)."""
    shared = np.ndim(weights) == 2
    num_classes = np.shape(weights)[-1]
    rows = []
    for x, y, q in zip(inputs, labels, flip_rates, strict=True):
        w = weights if shared else weights[y]
        logits = [math.fsum(float(x[f]) * float(w[f][k]) for f in range(len(x))) for k in range(num_classes)]
        top = max(logit for k, logit in enumerate(logits) if k != y)
        exponentials = [0.0 if k == y else math.exp(logit - top) for k, logit in enumerate(logits)]
        total = math.fsum(exponentials)
        rows.append([1.0 - q if k == y else q * e / total for k, e in enumerate(exponentials)])
    return np.array(rows)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(1, 8), st.integers(1, 12), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_formula_against_the_oracle(classes: int, features: int, size: int, shared: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, features)) * 10
    labels = rng.integers(0, classes, size)
    weights = rng.normal(size=(features, classes) if shared else (classes, features, classes))
    flip_rates = rng.random(size)
    probs = noise.instance_transition_probs(x, labels, weights, flip_rates)
    np.testing.assert_allclose(probs, slow_probs(x, labels, weights, flip_rates), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(probs.sum(axis=1), 1.0, rtol=1e-12)


def test_huge_logits_stay_finite() -> None:
    x = np.full((1, 1), 1e5)
    probs = noise.instance_transition_probs(x, np.array([0]), np.array([[9.0, 1.0, 2.0]]), np.array([0.3]))
    np.testing.assert_allclose(probs, [[0.7, 0.0, 0.3]], rtol=1e-15)


def slow_normalise(inputs: np.ndarray, normalise: str) -> np.ndarray:
    if normalise == "none":
        return inputs
    flat = np.array(inputs, dtype=np.float64)
    columns = [flat] if normalise == "global" else [flat[:, f : f + 1] for f in range(flat.shape[1])]
    done = []
    for column in columns:
        values = column.ravel().tolist()
        mean = math.fsum(values) / len(values)
        std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        done.append((column - mean) / std)
    return np.hstack(done)


@pytest.mark.parametrize(
    ("spelling", "normalise", "shape"),
    [
        ("instance:0.4", "global", (K, F, K)),
        ("instance:0.4:normalise=feature", "feature", (K, F, K)),
        ("instance:0.4:normalise=none", "none", (K, F, K)),
        ("instance:0.4:shared_weights", "none", (F, K)),
    ],
)
@pytest.mark.parametrize("chunk", [1, 3 * F, 2**22])
def test_the_models_distributions_against_the_oracle(
    spelling: str, normalise: str, shape: tuple[int, ...], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "CHUNK_VALUES", chunk)
    model = noise.parse(spelling)
    assert isinstance(model, noise.InstanceDependent)
    result = model.apply(LABELS, num_classes=K, seed=5, inputs=INPUTS)
    weights = noise.instance_weights(5, K, F, shared=len(shape) == 2)
    assert result.details["weights_shape"] == weights.shape == shape
    assert result.details["normalise"] == normalise
    expected = slow_probs(slow_normalise(INPUTS, normalise), LABELS, weights, result.details["flip_rates"])
    probs = model.transition_probs(LABELS, num_classes=K, seed=5, inputs=INPUTS)
    np.testing.assert_allclose(probs, expected, rtol=1e-9, atol=1e-300)


def test_labels_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    model = noise.InstanceDependent(0.5)
    whole = model.apply(LABELS, num_classes=K, seed=5, inputs=INPUTS)
    monkeypatch.setattr(projection, "CHUNK_VALUES", 1)
    assert np.array_equal(model.apply(LABELS, num_classes=K, seed=5, inputs=INPUTS).labels, whole.labels)


def test_draws_follow_the_distribution() -> None:
    size = 6000
    labels = np.repeat(np.arange(3), size)
    model = noise.InstanceDependent(0.3, std=0.0)
    result = model.apply(labels, num_classes=3, seed=1, inputs=np.zeros((3 * size, 2)))  # equal logits
    counts = result.transition * size
    for right in range(3):
        for noisy in range(3):
            low, high = binom.interval(1 - 1e-6, size, 0.7 if right == noisy else 0.15)
            assert low <= counts[right, noisy] <= high


def test_draws_are_independent_of_the_flip_rates() -> None:
    model = noise.InstanceDependent(0.4)
    result = model.apply(np.zeros(4000, dtype=int), num_classes=3, seed=0, inputs=np.zeros((4000, 1)))
    flip_rates = result.details["flip_rates"]
    gap = flip_rates[result.changed].mean() - flip_rates[~result.changed].mean()
    expected = flip_rates.var() / (0.4 * 0.6)  # cov(changed, q) = var(q) if the draw is independent given q
    assert abs(gap - expected) < 5 * 0.1 / np.sqrt(1000)


def test_the_likelier_wrong_class_is_drawn_by_the_sample_that_points_to_it() -> None:
    weights = noise.instance_weights(2, 3, 1)[0][:, 1:] * 50  # class 0 becomes 1 or 2, by the sign of x
    x = np.where(np.arange(200) % 2 == 0, 50.0, -50.0)[:, None]
    model = noise.InstanceDependent(1.0, std=0.0, normalise="none")
    result = model.apply(np.zeros(200, dtype=int), num_classes=3, seed=2, inputs=x)
    assert np.array_equal(result.labels, 1 + (x @ weights).argmax(axis=1))


@pytest.mark.parametrize(("centre", "std"), [(0.4, 0.1), (0.05, 0.1), (1.0, 0.1), (0.0, 0.3), (0.5, 5.0)])
def test_truncated_normal_is_scipys_inverted_at_the_same_uniform_numbers(centre: float, std: float) -> None:
    draws = truncated_normal(centre, std, 500, np.random.default_rng(0))
    uniform = np.random.default_rng(0).random(500)
    expected = truncnorm.ppf(uniform, -centre / std, (1 - centre) / std, loc=centre, scale=std)
    np.testing.assert_allclose(draws, expected, rtol=1e-9, atol=1e-12)


def test_inputs_of_any_kind_and_layout() -> None:
    images = _rng.integers(0, 256, size=(N, 2, 2, 3), dtype=np.uint8)
    model = noise.InstanceDependent(0.5)
    expected = model.apply(LABELS, num_classes=K, seed=0, inputs=images.reshape(N, -1).astype(np.float64)).labels
    variants = (images, images.tolist(), torch.from_numpy(images), torch.from_numpy(images).to(torch.bfloat16))
    for inputs in variants:
        assert np.array_equal(model.apply(LABELS, num_classes=K, seed=0, inputs=inputs).labels, expected)


def test_a_constant_feature_is_harmless() -> None:
    x = INPUTS.copy()
    x[:, 2] = 7.0
    model = noise.InstanceDependent(0.4, normalise="feature")
    probs = model.transition_probs(LABELS, num_classes=K, seed=0, inputs=x)
    assert np.isfinite(probs).all()
    assert model.apply(LABELS, num_classes=K, seed=0, inputs=x).details["scale"][2] == 1.0


def test_shared_weights_is_another_noise() -> None:
    labels = [
        model.apply(LABELS, num_classes=K, seed=0, inputs=INPUTS).labels
        for model in (
            noise.InstanceDependent(0.8, normalise="none"),
            noise.InstanceDependent(0.8, shared_weights=True),
        )
    ]
    assert not np.array_equal(*labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"std": -0.1}, "std of the flip rates, finite and at least 0; got -0.1"),
        ({"std": float("nan")}, "finite and at least 0; got nan"),
        ({"normalise": "features"}, "did you mean 'feature'"),
        ({"shared_weights": True, "normalise": "global"}, "raw inputs with shared_weights"),
        ({"shared_weights": 1}, "shared_weights to be True or False"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        noise.InstanceDependent(0.4, **arguments)


def test_bad_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_CHUNK_VALUES", 3 * F)  # the bad sample lies in the third part
    model = noise.InstanceDependent(0.4)
    holed = INPUTS.copy()
    holed[7, 1] = np.nan
    for inputs, message in (
        (holed, "finite inputs; got NaN or infinity at index 7"),
        (np.full((N, 2), "a"), "numeric inputs; got dtype"),
        (np.zeros((N, 0)), r"at least one feature; got shape \(40, 0\)"),
        ([[1.0], [1.0, 2.0]], "ragged"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            model.apply(LABELS, num_classes=K, seed=0, inputs=inputs)
