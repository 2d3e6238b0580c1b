"""Issues of probabilities that people already have: as a store's, and what is refused."""

import numpy as np
import pytest
import torch

from noisycorrect import InvalidInputError, SoftLabelStore, find_label_issues
from noisycorrect.review import issues
from noisycorrect.review.issues import SCORES, review_labels, review_probs

K, N = 4, 60


def made(seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(-1, K, N), rng.dirichlet(np.full(K, 0.5), N).astype(np.float32)


def stored(given, probs):
    store = SoftLabelStore.create(None, given, K)
    with store.new_generation() as writer:
        writer.write(range(len(given)), torch.from_numpy(probs))
    return store


@pytest.mark.parametrize("block", [1, 50, 2**20])
@pytest.mark.parametrize("score", SCORES)
def test_probabilities_and_a_store_of_them_say_the_same(monkeypatch, block, score):
    monkeypatch.setattr(issues, "VALUES_AT_ONCE", block)
    given, probs = made()
    store = stored(given, probs)
    found = find_label_issues(given, probs, score=score)
    expected = find_label_issues(store, score=score)
    assert [(i.index, i.given, i.suggested, i.share) for i in found] == [
        (i.index, i.given, i.suggested, i.share) for i in expected
    ]
    assert [i.score for i in found] == pytest.approx([i.score for i in expected])
    assert find_label_issues(given, probs, top=2, score=score) == found[:2]
    own, theirs = review_probs(given, probs, score=score), review_labels(store, score=score)
    assert np.array_equal(own.index, theirs.index)
    assert np.array_equal(own.contradicted, theirs.contradicted)
    np.testing.assert_allclose(own.quality, theirs.quality, atol=1e-6)


def test_any_array_will_do():
    given, probs = made(1)
    expected = find_label_issues(given, probs)
    for labels, table in (
        (given.tolist(), probs.tolist()),
        (torch.from_numpy(given), torch.from_numpy(probs)),
        (given.astype(np.int8), probs.astype(np.float64)),
    ):
        assert [i.index for i in find_label_issues(labels, table)] == [i.index for i in expected]
    assert find_label_issues(np.full(N, -1), probs) == []


def test_labels_may_be_names_of_columns():
    given, probs = made(2)
    names = ["wasp", "ant", "bee", "cat"]
    labels = [None if label < 0 else names[label] for label in given]
    assert find_label_issues(labels, probs, class_names=names) == find_label_issues(given, probs)
    labels[3] = "wosp"
    with pytest.raises(InvalidInputError, match="labels out of class_names.*got 'wosp' at index 3"):
        find_label_issues(labels, probs, class_names=names)
    with pytest.raises(InvalidInputError, match="whole numbers, or class_names as well"):
        find_label_issues(labels, probs)


BAD = [
    (lambda g, p: (g, p[:-1]), r"as many labels as the 59 rows of probs; got 60 labels"),
    (lambda g, p: (g, np.log(p)), r"probabilities in \[0, 1\] that sum to 1; got values from -.*softmax"),
    (lambda g, p: (g, 3 * p), r"probabilities in \[0, 1\] that sum to 1.*sums to 3"),
    (lambda g, p: (g, np.where(p == p.max(), np.nan, p)), r"got NaN"),
    (lambda g, p: (g, p[:, 0]), r"probs \(N, K\), K >= 2; got float32 of shape \(60,\).*column_stack"),
    (lambda g, p: (g, p[:, :1]), r"probs \(N, K\), K >= 2.*column_stack"),
    (lambda g, p: (g, p.astype(str)), r"probs \(N, K\), K >= 2; got <U"),
    (lambda g, p: (g + 1, p), r"labels in 0..3 \(or -1: unlabelled\); got 4"),
    (lambda g, p: (np.eye(K)[g][:, :3], p), r"labels of shape \(N,\)"),
    (lambda g, p: (g, None), r"class probabilities of the same samples; got labels alone"),
    (lambda g, p: (stored(g, p), p), r"a label store alone"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_named(change, message):
    with pytest.raises(InvalidInputError, match=message):
        find_label_issues(*change(*made(3)))


def test_bad_options_are_named():
    given, probs = made(4)
    with pytest.raises(InvalidInputError, match="top >= 0"):
        find_label_issues(given, probs, top=-1)
    with pytest.raises(InvalidInputError, match="margn"):
        find_label_issues(given, probs, score="margn")
    with pytest.raises(InvalidInputError, match="4 class names"):
        find_label_issues(given, probs, class_names=["a", "b"])
