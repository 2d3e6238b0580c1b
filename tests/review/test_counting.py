"""Labels beside evidence, against loops over samples."""

from math import ceil

import numpy as np
import pytest

from noisycorrect.review import counting
from noisycorrect.review.counting import Beside, counted, likely_rate, set_aside, surest_by_class, surest_contradicted


def made(seed, count=97, classes=4):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(classes, 0.6), count).round(2)  # rounded: some are equally sure
    return rng.integers(0, classes, count), probs / probs.sum(1, keepdims=True)


def test_blocks_are_one_whole(monkeypatch):
    labels, probs = made(0)
    whole = Beside.of(labels, probs)
    assert whole.suggested.tolist() == probs.argmax(1).tolist()
    np.testing.assert_allclose(whole.own, [row[label] for row, label in zip(probs, labels, strict=True)])
    np.testing.assert_allclose(whole.certainty, probs.max(1))
    monkeypatch.setattr(counting, "VALUES_AT_ONCE", 12)
    parts = Beside.of(labels, probs)
    for name in ("given", "suggested", "own", "certainty"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize("seed", range(5))
def test_the_surest_are_a_fifth_and_their_equals(seed):
    labels, probs = made(seed)
    least = sorted(probs.max(1))[-ceil(len(labels) / 5)]
    surest = [i for i in range(len(labels)) if max(probs[i]) >= least]
    wrong = [i for i in surest if probs[i].argmax() != labels[i]]
    assert surest_contradicted(Beside.of(labels, probs)) == (len(wrong), len(surest))
    total = 0.0
    for k in range(4):
        own = [i for i in range(len(labels)) if probs[i].argmax() == k]
        least = sorted(max(probs[i]) for i in own)[-ceil(len(own) / 5)]
        surest = [i for i in own if max(probs[i]) >= least]
        total += len(own) / len(labels) * sum(labels[i] != k for i in surest) / len(surest)
    assert surest_by_class(Beside.of(labels, probs)) == pytest.approx(total)
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = Beside.of(labels[order], probs[order])
    assert surest_contradicted(shuffled) == surest_contradicted(Beside.of(labels, probs))
    assert surest_by_class(shuffled) == pytest.approx(total)


def test_errors_of_some_classes_alone_are_found_class_by_class():
    """The surest of all are of the class without errors."""
    true = np.arange(400) % 2
    given = np.where((true == 1) & (np.arange(400) % 5 == 1), 0, true)
    probs = np.where(true[:, None] == [0, 1], np.where(true == 1, 0.8, 0.99)[:, None], np.nan)
    probs = np.where(np.isnan(probs), 1 - np.nanmax(probs, 1, keepdims=True), probs)
    found = Beside.of(given, probs)
    assert surest_contradicted(found) == (0, 200)
    assert surest_by_class(found) == pytest.approx((given != true).mean())


def test_a_class_is_set_aside_if_it_is_hardly_predicted():
    joint = np.array([[90, 0, 5, 0], [10, 2, 0, 0], [12, 0, 3, 0], [1, 0, 0, 0]])  # [given, most probable]
    # Class 1: 12 labels, 2 predictions. Class 2: 15 and 8. Class 3: one label alone may well be wrong.
    assert set_aside(joint).tolist() == [False, True, False, False]
    joint[3, 0] = 2
    assert set_aside(joint).tolist() == [False, True, False, True]
    assert not set_aside(np.array([[0, 50], [0, 0]])).any()  # no label would be left


def test_many_classes_are_counted_sparsely(monkeypatch):
    labels, probs = made(1)
    dense = counted(Beside.of(labels, probs))
    monkeypatch.setattr(counting, "DENSE_CLASSES", 3)
    sparse = counted(Beside.of(labels, probs))
    assert np.array_equal(sparse.joint.toarray(), dense.joint)
    assert np.array_equal(set_aside(sparse.joint), set_aside(dense.joint))
    assert np.array_equal(sparse.units, dense.units)
    assert sparse.surest == dense.surest
    assert likely_rate(labels, lambda rows: probs[rows], 4) is None


def test_the_rate_before_is_of_the_same_labels():
    given = np.array([0] * 8 + [1] * 4)
    now, before = np.eye(2)[[0] * 12], np.eye(2)[[0] * 6 + [1] * 6]
    assert counted(Beside.of(given, now), None, Beside.of(given, before)).rates == (0.25,)  # class 1 is set aside
