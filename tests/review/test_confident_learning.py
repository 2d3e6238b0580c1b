"""Confident learning against loops over the formulas of Northcutt et al. 2021."""

import numpy as np
import pytest
import torch
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from noisycorrect import noise
from noisycorrect.review.confident_learning import (
    METHODS,
    calibrated_joint,
    class_thresholds,
    confident_joint,
    estimated_noise_matrix,
    find_errors,
)
from noisycorrect.support.errors import InvalidInputError


def draw(count, classes, seed, levels=None):
    """Labels and probabilities; with few `levels` there are equal ones."""
    generator = np.random.default_rng(seed)
    scores = generator.random((count, classes)) if levels is None else generator.integers(1, levels, (count, classes))
    given = generator.integers(0, classes, count)
    scores = scores + 0.7 * np.eye(classes)[given]
    return given, scores / scores.sum(1, keepdims=True)


def thresholds(given, probs):
    """Eq. 2."""
    found = []
    for j in range(probs.shape[1]):
        own = [probs[i, j] for i in range(len(given)) if given[i] == j]
        found.append(sum(own) / len(own) if own else np.inf)
    return found


def confident_class(given, probs, i):
    limits = thresholds(given, probs)
    reached = [j for j in range(probs.shape[1]) if probs[i, j] >= limits[j] * (1 - 1e-9)]  # but for rounding
    return max(reached, key=lambda j: probs[i, j]) if reached else None  # the earliest of equal ones


def joint_counts(given, probs):
    """Eq. 1."""
    counts = np.zeros((probs.shape[1],) * 2, int)
    for i in range(len(given)):
        j = confident_class(given, probs, i)
        if j is not None:
            counts[given[i], j] += 1
    return counts


def joint_distribution(given, probs):
    """Eq. 3."""
    counts, classes = joint_counts(given, probs), probs.shape[1]
    joint = np.zeros((classes, classes))
    for i in range(classes):
        size = sum(label == i for label in given)
        for j in range(classes):
            share = counts[i, j] / counts[i].sum() if counts[i].sum() else float(i == j)
            joint[i, j] = share * size
    return joint / joint.sum()


def pruned_by_class(given, probs):
    """Method 3 of section 3.2."""
    joint, wrong = joint_distribution(given, probs) * len(given), np.zeros(len(given), bool)
    for i in range(probs.shape[1]):
        members = sorted((r for r in range(len(given)) if given[r] == i), key=lambda r: probs[r, i])
        wrong[members[: round(sum(joint[i, j] for j in range(probs.shape[1]) if j != i))]] = True
    return wrong


def pruned_by_noise_rate(given, probs):
    """Method 4 of section 3.2."""
    joint, wrong = joint_distribution(given, probs) * len(given), np.zeros(len(given), bool)
    for i in range(probs.shape[1]):
        for j in range(probs.shape[1]):
            if i != j:
                members = [r for r in range(len(given)) if given[r] == i]
                members.sort(key=lambda r: probs[r, i] - probs[r, j])
                wrong[members[: round(joint[i, j])]] = True
    return wrong


ORACLES = {
    "prune-by-class": pruned_by_class,
    "prune-by-noise-rate": pruned_by_noise_rate,
    "both": lambda given, probs: pruned_by_class(given, probs) & pruned_by_noise_rate(given, probs),
    "confident-joint": lambda given, probs: np.array(
        [confident_class(given, probs, i) not in (None, given[i]) for i in range(len(given))]
    ),
}
CASES = [(40, 3, 0), (90, 5, 1), (7, 4, 2), (200, 2, 3), (1, 3, 4)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_thresholds_and_joints_are_their_formulas(case):
    given, probs = draw(*case)
    np.testing.assert_allclose(class_thresholds(given, probs), thresholds(given, probs), rtol=1e-12)
    assert np.array_equal(confident_joint(given, probs), joint_counts(given, probs))
    np.testing.assert_allclose(calibrated_joint(given, probs), joint_distribution(given, probs), rtol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_errors_are_those_of_the_loops(method, case):
    given, probs = draw(*case)
    found = find_errors(given, probs, method)
    assert found.dtype == bool
    assert np.array_equal(found, ORACLES[method](given, probs))


@settings(max_examples=30, deadline=None)
@examples(seed=st.integers(0, 10_000), count=st.integers(1, 25), classes=st.integers(2, 4))
def test_counts_are_kept_whatever_the_probabilities(seed, count, classes):
    given, probs = draw(count, classes, seed, levels=4)
    counts = confident_joint(given, probs)
    assert np.array_equal(counts, joint_counts(given, probs))
    joint = calibrated_joint(given, probs)
    np.testing.assert_allclose(joint.sum(1), np.bincount(given, minlength=classes) / count)
    off_diagonal = np.rint(joint * count)
    np.fill_diagonal(off_diagonal, 0)
    assert find_errors(given, probs).sum() <= off_diagonal.sum()
    assert find_errors(given, probs, "confident-joint").sum() == counts.sum() - np.trace(counts)


@pytest.mark.parametrize(("count", "value"), [(3, 0.8), (7, 0.7), (1000, 0.55)])
def test_equal_probabilities_reach_their_own_mean(count, value):
    own = [[value, 1 - value]] * count
    probs = np.array([*own, *(row[::-1] for row in own), [value + 0.05, 0.95 - value]])
    given = np.repeat([0, 1], [count, count + 1])
    assert confident_joint(given, probs).tolist() == [[count, 0], [1, count]]
    assert np.flatnonzero(find_errors(given, probs)).tolist() == [2 * count]
    assert calibrated_joint(given, probs)[0, 0] == count / (2 * count + 1)


def test_injected_errors_are_found_and_their_matrix_estimated():
    generator = np.random.default_rng(0)
    clean = np.repeat(np.arange(4), 500)
    noisy = noise.PairFlip(0.3).apply(clean, num_classes=4, seed=0)
    scores = 3 * np.eye(4)[clean] + generator.normal(0, 0.5, (2000, 4))
    probs = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    wrong = noisy.labels != clean
    for method in METHODS:
        assert (find_errors(noisy.labels, probs, method) == wrong).mean() > 0.97, method
    matrix = estimated_noise_matrix(calibrated_joint(noisy.labels, probs))
    np.testing.assert_allclose(matrix, 0.7 * np.eye(4) + 0.3 * np.roll(np.eye(4), 1, axis=1), atol=0.03)


def test_the_noise_matrix_divides_by_the_true_class():
    joint = np.random.default_rng(0).random((3, 3))
    found = estimated_noise_matrix(joint)
    for true in range(3):
        for given in range(3):
            assert found[true, given] == pytest.approx(joint[given, true] / sum(joint[:, true]))
    assert estimated_noise_matrix([[0.5, 0.0], [0.5, 0.0]]).tolist() == [[0.5, 0.5], [0.0, 1.0]]


def test_a_class_without_labels_is_never_suggested():
    probs = np.array([[0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])
    given = np.array([0, 0, 0])
    assert class_thresholds(given, probs)[1:].tolist() == [np.inf, np.inf]
    assert confident_joint(given, probs).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert not find_errors(given, probs).any()
    joint = calibrated_joint(given, probs)
    assert joint.sum() == pytest.approx(1)
    assert estimated_noise_matrix(joint)[1].tolist() == [0, 1, 0]


def test_tensors_lists_and_float32_are_taken():
    given, probs = draw(30, 3, 5)
    expected = find_errors(given, np.float32(probs))
    assert expected.any()
    assert np.array_equal(find_errors(torch.from_numpy(given), torch.from_numpy(np.float32(probs))), expected)
    assert np.array_equal(find_errors(given.tolist(), np.float32(probs).tolist()), expected)


def test_inputs_are_left_as_they_are():
    given, probs = draw(30, 3, 6)
    before = given.copy(), probs.copy()
    find_errors(given, probs, "both")
    assert np.array_equal(given, before[0])
    assert np.array_equal(probs, before[1])


@pytest.mark.parametrize("function", [class_thresholds, confident_joint, calibrated_joint, find_errors])
@pytest.mark.parametrize(
    ("given", "probs", "message"),
    [
        ([0, 1], [[0.5, 0.5]], "as many labels as the 1 rows"),
        ([0], [0.5, 0.5], r"probabilities \(N, K\), K >= 2; got shape \(2,\)"),
        ([2], [[0.5, 0.5]], "labels in 0..1"),
        ([-1, 0], [[0.5, 0.5]] * 2, "a label for every sample; got -1"),
        ([0.5], [[0.5, 0.5]], "whole numbers"),
        ([0], [[2.0, 3.0]], "probabilities in"),
        ([0], [[-0.5, 1.5]], "probabilities in"),
        ([0], [[np.nan, 1.0]], "got NaN"),
    ],
)
def test_bad_input_is_refused(function, given, probs, message):
    with pytest.raises(InvalidInputError, match=message):
        function(given, probs)


def test_other_bad_input_is_refused():
    with pytest.raises(InvalidInputError, match="did you mean 'prune-by-class'"):
        find_errors([0, 1], [[0.5, 0.5]] * 2, "prune-by-clas")
    for joint in ([[0.5, 0.5]], [[-0.1, 0.5], [0.3, 0.3]], [[np.nan, 0.5], [0.3, 0.2]]):
        with pytest.raises(InvalidInputError, match="a joint"):
            estimated_noise_matrix(joint)


def test_many_classes_say_the_same_sparsely(monkeypatch):
    given, probs = draw(60, 5, 3)
    counts, joint = confident_joint(given, probs), calibrated_joint(given, probs)
    matrix = estimated_noise_matrix(joint)
    monkeypatch.setattr("noisycorrect.review.confident_learning.MATRIX_CLASSES", 4)
    monkeypatch.setattr("noisycorrect.review.confident_learning.VALUES_AT_ONCE", 35)
    assert np.array_equal(confident_joint(given, probs).toarray(), counts)
    found = calibrated_joint(given, probs)
    np.testing.assert_array_equal(found.toarray(), joint)
    np.testing.assert_allclose(estimated_noise_matrix(found).toarray(), matrix, rtol=1e-12)


def test_errors_among_more_classes_than_matrices_have_room_for():
    """40,000 classes: a matrix of all pairs would be 12.8 GB."""
    given = np.array([0, 0, 0, 0, 39_999, 39_999])
    probs = np.zeros((6, 40_000), np.float32)
    probs[[0, 1, 2], 0], probs[3, 39_999], probs[[4, 5], 39_999] = 1, 1, 1
    assert find_errors(given, probs).tolist() == [False, False, False, True, False, False]
    assert calibrated_joint(given, probs)[0, 39_999] == pytest.approx(1 / 6)
