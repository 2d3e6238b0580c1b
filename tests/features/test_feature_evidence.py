"""Evidence from features: what it finds, that it has not seen the label, and what it refuses."""

import warnings

import numpy as np
import pytest
from scipy import sparse

import noisycorrect
from noisycorrect import InvalidInputError, evidence_from_features, find_label_issues
from noisycorrect.features.evidence import CLASS_POWER, CLEAR_MARGIN
from noisycorrect.features.inputs import prepared_features, stratified_folds
from noisycorrect.review.issues import detection_scores
from noisycorrect.review.noise_rate import estimate_noise


def blobs(count=240, classes=4, wrong=0.2, seed=0):
    """Return features, clean labels, labels of which a share is wrong."""
    rng = np.random.default_rng(seed)
    clean = np.arange(count) % classes
    features = rng.normal(size=(count, 6)) + 3 * rng.normal(size=(classes, 6))[clean]
    given = clean.copy()
    some = rng.permutation(count)[: int(wrong * count)]
    given[some] = (clean[some] + rng.integers(1, classes, len(some))) % classes
    return features, clean, given


def test_wrong_labels_are_found_and_replaced():
    features, clean, given = blobs()
    found = evidence_from_features(features, given)
    scores = detection_scores(found.label_quality(), given != clean)
    assert scores["auroc"] > 0.98
    assert (found.labels == clean).mean() > 0.97
    issues = found.issues()
    assert {issue.index for issue in issues} == set(np.flatnonzero(found.labels != given))
    assert all(issue.suggested == found.labels[issue.index] != issue.given == given[issue.index] for issue in issues)
    assert [issue.score for issue in issues] == sorted(issue.score for issue in issues)
    assert found.issues(3) == issues[:3]
    np.testing.assert_allclose(found.probs.sum(1), 1, rtol=1e-5)
    assert noisycorrect.evidence_from_features is evidence_from_features


def test_the_estimate_is_that_of_evidence_that_has_not_seen_the_labels():
    features, _, given = blobs(60, 2)
    given[0] = -1
    found = evidence_from_features(features, given)
    estimate = estimate_noise(given, found.probs, held_out=True)
    assert found.estimate_noise().to_json() == estimate.to_json()
    assert found.verdict() == estimate.verdict(["0", "1"])


def test_no_label_has_a_part_in_the_evidence_about_itself():
    """But for the two weights of the pool, which are those of all labels."""
    features, _, given = blobs(80, 3)
    # One division for both, so that it is the label alone that changes.
    fold = stratified_folds(given, 5, np.random.default_rng(0))
    other = given.copy()
    other[7] = (given[7] + 1) % 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("noisycorrect.features.evidence.stratified_folds", lambda *_: fold)
        patch.setattr("noisycorrect.features.evidence._counts", lambda *_: np.full(3, 27))
        one, two = (evidence_from_features(features, labels) for labels in (given, other))
    assert np.array_equal(one.neighbor_probs[7], two.neighbor_probs[7])
    assert np.array_equal(one.head_probs[7], two.head_probs[7])
    same = fold == fold[7]
    assert np.array_equal(one.neighbor_probs[same], two.neighbor_probs[same])
    assert not np.array_equal(one.neighbor_probs, two.neighbor_probs)


def test_cleaned_labels_are_those_of_a_slow_loop():
    features, _, given = blobs(wrong=0.4, seed=3)
    given[5] = -1
    found = evidence_from_features(features, given)
    counts = np.bincount(given[given >= 0])
    for i, row in enumerate(found.probs.astype(float)):
        relative = [p / n**CLASS_POWER for p, n in zip(row, counts, strict=True)]
        relative = [value / sum(relative) for value in relative]
        best = int(np.argmax(relative))
        clear = i == 5 or max(relative) - relative[given[i]] > CLEAR_MARGIN
        assert found.labels[i] == (best if clear else given[i])


def test_the_same_seed_is_the_same_evidence_and_order_of_the_caller_stays():
    features, _, given = blobs()
    before = features.copy(), given.copy()
    one, two, other = (evidence_from_features(features, given, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.probs, two.probs)
    assert not np.array_equal(one.probs, other.probs)
    assert np.array_equal(features, before[0])
    assert np.array_equal(given, before[1])


def test_scale_and_shift_of_a_feature_change_nothing_much():
    features, _, given = blobs()
    scaled = features * [1, 1e3, 1e-3, 7, 1, 50] + [0, 1e5, 0, -3, 0, 1]
    one, two = evidence_from_features(features, given), evidence_from_features(scaled, given)
    np.testing.assert_allclose(one.probs, two.probs, atol=0.02)


def test_labels_that_are_names_and_samples_without_one():
    features, clean, given = blobs(160, 2)
    names = np.array(["cat", "dog"], object)
    labels = names[given]
    labels[:10] = None
    found = evidence_from_features(features, labels)
    assert found.class_names == ("cat", "dog")
    assert found.given[:10].tolist() == [-1] * 10
    assert (found.labels[:10] == clean[:10]).mean() >= 0.9
    assert found.label_quality()[:10].tolist() == [1] * 10
    assert not {issue.index for issue in found.issues()} & set(range(10))
    turned = evidence_from_features(features, labels, class_names=["dog", "cat"])
    assert np.array_equal(turned.given, np.where(found.given < 0, -1, 1 - found.given))


@pytest.mark.parametrize(
    "gaps", [lambda y: y.astype(object), lambda y: [None if k < 0 else int(k) for k in y], lambda y: [*map(float, y)]]
)
def test_whole_numbers_among_objects_are_no_names(gaps):
    features, _, given = blobs(160, 2)
    given[::6] = -1
    found, reference = (evidence_from_features(features, labels) for labels in (gaps(given), given))
    assert found.class_names == reference.class_names == (0, 1)
    assert np.array_equal(found.given, given)
    assert np.array_equal(found.probs, reference.probs)
    named = evidence_from_features(features, gaps(given), class_names=["cat", "dog"])
    assert np.array_equal(named.given, given)
    assert find_label_issues(gaps(given), found.probs) == find_label_issues(given, found.probs)


def test_whole_numbers_that_are_names_among_class_names_are_read_as_such():
    labels = np.array([3, 5, None] * 4, object)
    found = evidence_from_features(np.arange(24.0).reshape(12, 2), labels, class_names=[3, 5])
    assert found.given.tolist() == [0, 1, -1] * 4


def test_sparse_text_works_as_dense_rows_of_length_one_do():
    rng = np.random.default_rng(0)
    clean = np.arange(120) % 2
    words = rng.poisson(0.3 + 0.8 * (np.arange(30) // 15 == clean[:, None]))
    words[words.sum(1) == 0, 0] = 1
    given = np.where(rng.random(120) < 0.15, 1 - clean, clean)
    for kind in (sparse.csr_matrix, sparse.coo_array, sparse.csc_array):
        found = evidence_from_features(kind(words.astype(float)), given)
        assert detection_scores(found.label_quality(), given != clean)["auroc"] > 0.9
    rows = prepared_features(sparse.csr_matrix(words))
    np.testing.assert_allclose(rows.toarray(), words / np.linalg.norm(words, axis=1, keepdims=True), rtol=1e-5)


def test_rare_classes_are_judged_and_single_labels_stand():
    features, _, given = blobs(200, 3, wrong=0)
    rng = np.random.default_rng(5)
    rare = rng.normal(size=(4, 6)) + 40
    features = np.concatenate([features, rare[:3], rare[3:]])
    given = np.concatenate([given, [3, 3, 3], [4]])
    with pytest.warns(UserWarning, match="one label alone of 4: nothing can speak for"):
        found = evidence_from_features(features, given)
    assert found.labels[-1] == 4
    assert found.label_quality()[-1] == 1
    assert found.judged.tolist() == [True] * 203 + [False]
    # Fewer members than folds, far from everything: their own class is likelier than any other's share would say.
    assert found.labels[200:203].tolist() == [3, 3, 3]


def test_duplicates_and_constant_columns():
    features, clean, given = blobs(120, 3)
    features = np.concatenate([np.repeat(features, 2, 0), np.full((240, 2), 1e6)], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evidence_from_features(features, np.repeat(given, 2))
    assert np.isfinite(found.probs).all()
    assert (found.labels == np.repeat(clean, 2)).mean() > 0.95


def test_few_samples_and_more_neighbors_than_there_are():
    found = evidence_from_features([[0.0], [0.1], [5.0], [5.1]], [0, 0, 1, 1], folds=9)
    assert found.probs.shape == (4, 2)
    assert found.labels.tolist() == [0, 0, 1, 1]


def test_folds_are_even_in_every_class():
    given = np.random.default_rng(0).choice([-1, 0, 1, 2], 301, p=[0.1, 0.7, 0.15, 0.05])
    fold = stratified_folds(given, 5, np.random.default_rng(1))
    assert (fold[given < 0] == 5).all()
    for k in range(3):
        sizes = np.bincount(fold[given == k], minlength=5)
        assert sizes.max() - sizes.min() <= 1
    sizes = np.bincount(fold[given >= 0], minlength=5)
    assert sizes.max() - sizes.min() <= 1


BAD = [
    ([[0.0, np.nan], [1, 2]], [0, 1], r"expected finite features; got nan at row 0, column 1; to fix: fill in"),
    ([[0.0, 1], [np.inf, 2]], [0, 1], r"got inf at row 1, column 0"),
    (sparse.csr_array([[0.0, 1], [np.nan, 2]]), [0, 1], r"got nan at row 1, column 0"),
    ([[3.0, 1], [3, 1]], [0, 1], r"expected features that vary; got equal rows alone"),
    (sparse.csr_array((2, 3)), [0, 1], r"got zeros alone"),
    ([1.0, 2.0], [0, 1], r"expected features \(N, F\) of numbers.*shape \(2,\)"),
    ([["a"], ["b"]], [0, 1], r"expected features \(N, F\) of numbers"),
    ([[0.0], [1.0]], [0, 1, 1], r"one label for each of the 2 rows of features; got shape \(3,\)"),
    ([[0.0], [1.0]], [0, 0], r"labels of at least two classes; got one class alone"),
    ([[0.0], [1.0]], [-1, -1], r"labels of at least two classes; got no label at all"),
    ([[0.0], [1.0]], [None, None], r"labels of at least two classes; got no label at all"),
    ([[0.0], [1.0]], [0.5, 1], r"labels to be whole numbers"),
    ([[0.0], [1.0]], [1, 2**40], r"num_classes <= 16,777,216; got 1099511627777; .*number them from 0"),
    ([[0.0], [1.0], [2.0]], [0, 1, -2], r"labels in 0..1 \(or -1: unlabelled\); got -2 at index 2"),
    ([[0.0], [1.0]], [0, 1], r"two labels of one class at least; got 2 labels of 2 classes"),
]


@pytest.mark.parametrize(("features", "labels", "message"), BAD)
def test_bad_input_is_named(features, labels, message):
    with pytest.raises(InvalidInputError, match=message):
        evidence_from_features(features, labels)


@pytest.mark.parametrize("wrong", [{"neighbors": 0}, {"folds": 1}, {"seed": -1}, {"class_names": ["a"]}])
def test_bad_options_are_named(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong)).replace("class_names", "classes|class names")):
        evidence_from_features([[0.0], [0.5], [1.0]], [0, 0, 1], **wrong)
