"""The pool of opinions and the cross-fitted head, against loops and another optimiser."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from noisycorrect.features.head import cross_fitted_head
from noisycorrect.features.pool import MOST_WEIGHT, fit_pool, log_linear_pool


def opinions(seed=0, count=80, classes=3):
    rng = np.random.default_rng(seed)
    return [rng.dirichlet(np.full(classes, 0.5), count) for _ in range(2)], rng.integers(0, classes, count)


def slow_pool(both, weights):
    rows = []
    for one, other in zip(*both, strict=True):
        values = [
            max(a, 1e-6) ** weights[0] * max(b, 1e-6) ** weights[1]
            for a, b in zip(one.tolist(), other.tolist(), strict=True)
        ]
        rows.append([value / sum(values) for value in values])
    return np.array(rows)


def test_the_pool_is_a_product_of_powers():
    both, _ = opinions()
    both[0][0] = [1, 0, 0]
    found = log_linear_pool(both, np.array([0.7, 1.6]))
    np.testing.assert_allclose(found, slow_pool(both, [0.7, 1.6]), rtol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


def test_weights_make_the_labels_most_likely():
    both, _ = opinions(1)
    rng = np.random.default_rng(2)
    truth = slow_pool(both, [1.2, 0.3])
    given = np.array([rng.choice(3, p=row) for row in truth])

    def loss(weights):
        pooled = slow_pool(both, np.abs(weights))
        return -sum(math.log(pooled[i, g]) for i, g in enumerate(given)) / len(given)

    expected = minimize(loss, [0.5, 0.5], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-10}).x
    np.testing.assert_allclose(fit_pool(both, given), expected, atol=2e-3)


def test_what_contradicts_the_labels_has_no_weight_and_certainty_has_an_end():
    right = np.array([[0.9, 0.1], [0.1, 0.9]] * 5)
    given = np.array([0, 1] * 5)
    np.testing.assert_allclose(fit_pool([right, right[:, ::-1]], given), [MOST_WEIGHT, 0], atol=1e-6)


def test_the_head_is_a_weighted_regression_on_the_other_folds():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(60, 4)).astype(np.float32)
    given = np.where(rng.random(60) < 0.1, -1, (features[:, 0] > 0).astype(int) + (features[:, 1] > 0.5))
    fold = np.where(given < 0, 3, np.arange(60) % 3)
    weights = rng.random((60, 4)).astype(np.float32)
    probs = cross_fitted_head(features, given, fold, 3, 4, weights)
    for own in range(4):
        train = (fold != own) & (fold < 3)
        model = LogisticRegression(tol=1e-8, max_iter=2000)
        model.fit(features[train].astype(float), given[train], sample_weight=weights[train, own])
        expected = model.predict_proba(features[fold == own].astype(float))
        np.testing.assert_allclose(probs[fold == own][:, :3], expected, atol=5e-3)
    assert not probs[:, 3].any()


def test_the_head_is_sure_of_the_only_class_it_has_seen():
    features = np.arange(4, dtype=np.float32)[:, None]
    probs = cross_fitted_head(features, np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), 2, 2, np.ones((4, 3)))
    assert probs.tolist() == [[0, 1], [0, 1], [1, 0], [1, 0]]


@pytest.mark.parametrize("count", [1, 40])
def test_many_values_are_fitted_by_some_rows(monkeypatch, count):
    both, given = opinions(4)
    monkeypatch.setattr("noisycorrect.features.pool.MOST_VALUES", 3 * count)
    some = np.linspace(0, 79, count).astype(int)
    expected = fit_pool([one[some] for one in both], given[some])
    np.testing.assert_allclose(fit_pool(both, given), expected, atol=1e-6)
