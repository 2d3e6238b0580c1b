"""Noise from a transition matrix: exact counts, independent draws, and the matrices themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from noisycorrect.classification import noise
from noisycorrect.classification.noise.sampling import draw_labels, draw_rows, exact_count, largest_remainder
from noisycorrect.support.errors import InvalidInputError

rates = st.floats(0.0, 1.0, allow_nan=False)
quick = settings(max_examples=60, deadline=None)

# A draw outside these bounds happens in less than one of 10^9 runs of a right implementation.
TAIL = 1e-9


def within_binomial(count: int, size: int, probability: float) -> bool:
    return bool(binom.ppf(TAIL / 2, size, probability) <= count <= binom.isf(TAIL / 2, size, probability))


@st.composite
def label_sets(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    num_classes = draw(st.integers(2, 12))
    size = draw(st.integers(1, 200))
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).integers(0, num_classes, size), num_classes


@quick
@given(label_sets(), rates, st.booleans(), st.integers(0, 100))
def test_exact_symmetric_counts(labels: Any, rate: float, inclusive: bool, seed: int) -> None:
    right, num_classes = labels
    result = noise.Symmetric(rate, inclusive).apply(right, num_classes=num_classes, seed=seed)
    true_rate = rate * (1 - 1 / num_classes) if inclusive else rate
    for label in range(num_classes):
        members = right == label
        changed = int(result.changed[members].sum())
        assert abs(changed - true_rate * members.sum()) <= 0.5 + 1e-6
        targets = np.bincount(result.labels[members], minlength=num_classes)
        targets = np.delete(targets, label)
        assert targets.max() - targets.min() <= 1  # all wrong classes are alike


@quick
@given(label_sets(), rates, st.integers(0, 100))
def test_exact_pairflip_counts(labels: Any, rate: float, seed: int) -> None:
    right, num_classes = labels
    result = noise.PairFlip(rate).apply(right, num_classes=num_classes, seed=seed)
    for label in range(num_classes):
        members = right == label
        assert abs(int(result.changed[members].sum()) - rate * members.sum()) <= 0.5 + 1e-6
    assert np.array_equal(result.labels[result.changed], (right[result.changed] + 1) % num_classes)


@quick
@given(label_sets(), st.integers(0, 1000))
def test_exact_counts_of_any_matrix_lie_within_one_of_their_share(labels: Any, seed: int) -> None:
    right, num_classes = labels
    rng = np.random.default_rng(seed)
    matrix = rng.dirichlet(np.full(num_classes, 0.3), num_classes)
    result = noise.ClassConditional(matrix).apply(right, num_classes=num_classes, seed=seed)
    for label in range(num_classes):
        members = right == label
        counts = np.bincount(result.labels[members], minlength=num_classes)
        away = matrix[label].sum() - matrix[label, label]
        assert abs(counts[label] - (1 - away) * members.sum()) <= 0.5 + 1e-6
        flips = members.sum() - counts[label]
        expected = matrix[label] / away * flips if away else np.zeros(num_classes)
        expected[label] = counts[label]
        assert (np.abs(counts - expected) < 1 + 1e-6).all()


@quick
@given(rates, st.integers(2, 8), st.booleans(), st.integers(0, 2**32 - 1))
def test_bernoulli_rate_is_binomial(rate: float, num_classes: int, inclusive: bool, seed: int) -> None:
    right = np.zeros(500, dtype=np.int64)
    model = noise.Symmetric(rate, inclusive, sampling="bernoulli")
    result = model.apply(right, num_classes=num_classes, seed=seed)
    true_rate = rate * (1 - 1 / num_classes) if inclusive else rate
    assert within_binomial(int(result.changed.sum()), 500, true_rate)
    for target in range(1, num_classes):
        assert within_binomial(int((result.labels == target).sum()), 500, true_rate / (num_classes - 1))


def test_bernoulli_counts_vary_where_exact_ones_do_not() -> None:
    right = np.zeros(200, dtype=np.int64)
    for sampling, varies in (("exact", False), ("bernoulli", True)):
        model = noise.parse(f"symmetric:0.3:sampling={sampling}")
        counts = {int(model.apply(right, num_classes=4, seed=seed).changed.sum()) for seed in range(20)}
        assert (len(counts) > 1) == varies


def test_who_changes_is_random_in_exact_sampling() -> None:
    runs = 600
    right = np.repeat([0, 1], 10)
    model = noise.Symmetric(0.4)
    results = [model.apply(right, num_classes=4, seed=seed) for seed in range(runs)]
    for often in np.sum([result.changed for result in results], axis=0):
        assert within_binomial(int(often), runs, 0.4)
    # Class 0 gives 4 labels to 3 classes of equal remainders: the class that gets the fourth must be anyone.
    favoured = [int(np.bincount(result.labels[:10], minlength=4)[1:].argmax()) for result in results]
    for target in range(3):
        assert within_binomial(favoured.count(target), runs, 1 / 3)


@pytest.mark.parametrize(
    ("share", "size", "count"),
    [(0.05, 10, 0), (0.15, 10, 2), (0.25, 10, 2), (0.35, 10, 4), (0.145, 100, 14), (0.575, 100, 58), (1.0, 7, 7)],
)
def test_halves_are_rounded_to_even_as_on_paper(share: float, size: int, count: int) -> None:
    assert exact_count(share, size) == count
    right = np.zeros(size, dtype=np.int64)
    assert noise.Symmetric(share).apply(right, num_classes=10, seed=0).changed.sum() == count


@quick
@given(st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any), st.integers(0, 500), st.integers(0, 99))
def test_largest_remainder_divides_all_and_each_within_one(weights: list[int], count: int, seed: int) -> None:
    shares = np.array(weights) / sum(weights)
    parts = largest_remainder(shares, count, np.random.default_rng(seed))
    assert parts.sum() == count
    assert (np.abs(parts - shares * count) < 1 + 1e-6).all()
    assert (parts[shares == 0] == 0).all()


@quick
@example([0.0, 1.0], 0.0)
@example([0.5, 0.0, 0.5], 0.5)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda p: sum(p) > 1e-3), st.floats(0, 1))
def test_a_class_of_probability_zero_is_never_drawn(weights: list[float], uniform: float) -> None:
    probs = np.array([weights]) / sum(weights)
    draws = np.array([0.0, min(uniform, np.nextafter(1.0, 0.0)), np.nextafter(1.0, 0.0)])
    single = draw_rows(probs, draws)
    assert (probs[0, single] > 0).all()
    assert np.array_equal(single, draw_rows(np.repeat(probs, 3, axis=0), draws))


def test_draw_rows_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    probs, uniform = rng.dirichlet(np.ones(5), 200), rng.random(200)
    expected = []
    for row, u in zip(probs, uniform, strict=True):
        label, total = 0, row[0]
        while u >= total:
            label += 1
            total += row[label]
        expected.append(label)
    assert draw_rows(probs, uniform).tolist() == expected


def test_expected_matrices() -> None:
    np.testing.assert_allclose(
        noise.Symmetric(0.3).expected_transition(4), np.full((4, 4), 0.1) + 0.6 * np.eye(4), rtol=1e-14
    )
    np.testing.assert_allclose(
        noise.Symmetric(0.4, inclusive=True).expected_transition(4), np.full((4, 4), 0.1) + 0.6 * np.eye(4), rtol=1e-14
    )
    np.testing.assert_allclose(
        noise.PairFlip(0.2).expected_transition(3), [[0.8, 0.2, 0.0], [0.0, 0.8, 0.2], [0.2, 0.0, 0.8]], rtol=1e-14
    )
    cifar = noise.Asymmetric(0.4).expected_transition(10)
    assert {(int(i), int(j)) for i, j in np.argwhere(cifar == 0.4)} == {(9, 1), (2, 0), (4, 7), (3, 5), (5, 3)}
    np.testing.assert_allclose(cifar.sum(axis=1), 1.0)
    assert (noise.Symmetric(1.0).expected_transition(7) >= 0).all()


def test_the_traps_of_the_table() -> None:
    right = np.repeat(np.arange(10), 100)
    assert noise.Symmetric(0.5, inclusive=True).apply(right, num_classes=10, seed=0).rate == 0.45
    assert noise.Symmetric(0.5).apply(right, num_classes=10, seed=0).rate == 0.5
    assert noise.Asymmetric(0.4).apply(right, num_classes=10, seed=0).rate == 0.2


def test_the_expected_matrix_is_on_record_and_nobodys_alias() -> None:
    matrix = np.array([[0.9, 0.1], [0.2, 0.8]])
    model = noise.ClassConditional(matrix)
    matrix[:] = 0.5
    record = model.apply([0, 1], num_classes=2, seed=0).details["expected_transition"]
    assert record.tolist() == [[0.9, 0.1], [0.2, 0.8]]
    record[:] = 0.5
    assert model.expected_transition(2).tolist() == [[0.9, 0.1], [0.2, 0.8]]


def test_asymmetric_keeps_its_own_mapping() -> None:
    mapping = {0: 1}
    model = noise.Asymmetric(1.0, mapping)
    mapping[1] = 0
    assert model.apply([0, 1], num_classes=2, seed=0).labels.tolist() == [1, 1]


def test_draw_labels_leaves_a_class_that_stays() -> None:
    matrix = np.array([[1.0, 0.0], [1.0, 0.0]])
    for sampling in ("exact", "bernoulli"):
        drawn = draw_labels(np.array([0, 1, 1]), matrix, sampling, np.random.default_rng(0))
        assert drawn.tolist() == [0, 0, 0]


@pytest.mark.parametrize("build", [noise.Symmetric, noise.PairFlip, noise.Asymmetric, noise.InstanceDependent])
@pytest.mark.parametrize("rate", [-0.1, 1.1, 40, float("nan"), float("inf"), "0.4", None, True])
def test_bad_rates(build: Any, rate: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"expected a noise rate .*; to fix: "):
        build(rate)


def test_a_rate_in_per_cent_is_told_so() -> None:
    with pytest.raises(InvalidInputError, match=r"in \[0, 1\]; got 40; to fix: rates are shares: 40 % is 0.4"):
        noise.Symmetric(40)


COLUMNS = np.array([[0.9, 0.3], [0.1, 0.7]])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (COLUMNS, "column-stochastic matrix as cleanlab writes it: transpose it"),
        ([[0.5, 0.4], [0.2, 0.8]], r"row-stochastic .* got a sum of 0.9 in row 0; to fix: divide each row by its sum"),
        ([[1.1, -0.1], [0.2, 0.8]], "got 1.1 at row 0, column 0"),
        ([[0.5, 0.5], [float("nan"), 1.0]], "got nan at row 1, column 0"),
        ([[0.5, 0.5]], r"shape \(K, K\), K >= 2; got shape \(1, 2\)"),
        ([[1.0]], r"got shape \(1, 1\)"),
        ([["a", "b"], ["c", "d"]], "numeric transition matrix"),
        ([[0.5, 0.5], [1.0]], "ragged"),
    ],
)
def test_bad_matrices(matrix: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        noise.ClassConditional(matrix)


def test_the_transpose_of_cleanlabs_matrix_is_accepted() -> None:
    assert noise.ClassConditional(COLUMNS.T).expected_transition(2).tolist() == COLUMNS.T.tolist()


def test_a_matrix_or_mapping_of_other_classes() -> None:
    with pytest.raises(InvalidInputError, match=r"a transition matrix of 3 classes; got shape \(2, 2\)"):
        noise.ClassConditional(COLUMNS.T).apply([0, 1], num_classes=3, seed=0)
    with pytest.raises(InvalidInputError, match=r"between classes 0\.\.4; got class 9; .* the default is CIFAR-10's"):
        noise.Asymmetric(0.4).apply([0, 1], num_classes=5, seed=0)


@pytest.mark.parametrize("mapping", [{}, [(0, 1)], {0: 0}, {0: -1}, {0.5: 1}, {"a": 1}])
def test_bad_mappings(mapping: Any) -> None:
    with pytest.raises(InvalidInputError, match="a mapping of "):
        noise.Asymmetric(0.4, mapping)


def test_unknown_sampling() -> None:
    with pytest.raises(InvalidInputError, match="known sampling; got 'bernouli'; to fix: did you mean 'bernoulli'"):
        noise.Symmetric(0.4, sampling="bernouli")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="inclusive to be True or False; got 'false'"):
        noise.Symmetric(0.4, inclusive="false")  # type: ignore[arg-type]
