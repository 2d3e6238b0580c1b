"""Label quality, ranking and scores of detection: against slow loops, cleanlab, and what they refuse."""

import numpy as np
import pytest
import torch

from noisycorrect import SoftLabelStore, find_label_issues
from noisycorrect.result import CorrectionResult
from noisycorrect.review.issues import SCORES, detection_scores, label_quality, review_labels, sample_quality
from noisycorrect.support.errors import InvalidInputError

K, N = 4, 60


def made(seed=0):
    rng = np.random.default_rng(seed)
    given = rng.integers(-1, K, N)
    return given, rng.dirichlet(np.full(K, 0.5), N).astype(np.float32)


def stored(given, probs):
    store = SoftLabelStore.create(None, given, K)
    with store.new_generation() as writer:
        writer.write(range(len(given)), torch.from_numpy(probs))
    return store


def slow_quality(label, row, score):
    if label < 0:
        return 1.0
    if score == "self-confidence":
        return row[label]
    return (row[label] - max(p for k, p in enumerate(row) if k != label) + 1) / 2


@pytest.mark.parametrize("score", SCORES)
def test_quality_is_that_of_a_slow_loop(score):
    given, probs = made()
    expected = [slow_quality(int(g), row.astype(float).tolist(), score) for g, row in zip(given, probs, strict=True)]
    found = label_quality(torch.from_numpy(given), torch.from_numpy(probs), score=score)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(sample_quality(stored(given, probs), score=score), expected, atol=1e-6)
    maps = torch.from_numpy(probs).T.reshape(1, K, 6, 10)
    grid = label_quality(torch.from_numpy(given).reshape(1, 6, 10), maps, score=score)
    np.testing.assert_allclose(grid.flatten().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("score", "theirs"), [("self-confidence", "self_confidence"), ("margin", "normalized_margin")])
def test_quality_is_that_of_cleanlab(score, theirs):
    rank = pytest.importorskip("cleanlab.rank")
    given, probs = made()
    given, probs = given[given >= 0], probs[given >= 0]
    ours = label_quality(torch.from_numpy(given), torch.from_numpy(probs), score=score)
    expected = rank.get_label_quality_scores(given, probs, method=theirs, adjust_pred_probs=False)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("score", SCORES)
def test_issues_are_the_contradicted_labels_by_rising_quality(score):
    given, probs = made(1)
    store = stored(given, probs)
    expected = []
    for index in range(N):
        best = max(range(K), key=lambda k: probs[index, k])
        if given[index] >= 0 and best != given[index]:
            quality = np.float32(slow_quality(int(given[index]), probs[index].tolist(), score))
            expected.append((quality, index, int(given[index]), best))
    found = find_label_issues(store, score=score)
    assert [(i.index, i.given, i.suggested, i.share) for i in found] == [(*e[1:], 1.0) for e in sorted(expected)]
    assert [i.score for i in found] == pytest.approx([e[0] for e in sorted(expected)])
    assert find_label_issues(store, top=3, score=score) == found[:3]
    assert find_label_issues(store, top=0) == []


def test_the_scores_rank_apart():
    given = np.zeros(2, np.int64)
    probs = np.array([[0.3, 0.7, 0, 0], [0.2, 0.3, 0.25, 0.25]], np.float32)
    store = stored(given, probs)
    assert [issue.index for issue in find_label_issues(store)] == [1, 0]
    assert [issue.index for issue in find_label_issues(store, score="margin")] == [0, 1]


def test_a_review_leaves_out_the_unlabelled():
    given, probs = made(2)
    review = review_labels(stored(given, probs))
    assert np.array_equal(review.index, np.flatnonzero(given >= 0))
    assert np.array_equal(review.given, given[given >= 0])
    assert np.array_equal(review.suggested, probs[given >= 0].argmax(1))
    assert np.array_equal(review.contradicted, review.given != review.suggested)
    assert np.array_equal(review.share, review.contradicted.astype(float))


def test_quality_of_masks_is_one_without_labels():
    masks = [np.zeros((2, 2), np.uint8), None, np.full((2, 2), 255, np.uint8)]
    store = SoftLabelStore.create(None, masks, 2, kind="segmentation")
    with store.new_generation() as writer:
        writer.write(range(3), torch.tensor([0.25, 0.75])[None, :, None, None].expand(3, 2, 2, 2).contiguous())
    quality = sample_quality(store)
    assert quality[0] == pytest.approx(0.25, abs=0.01)
    assert quality[1:].tolist() == [1, 1]
    assert sample_quality(store, score="margin")[0] == pytest.approx(0.25, abs=0.01)
    empty = SoftLabelStore.create(None, [None], 2, kind="segmentation")
    with empty.new_generation() as writer:
        writer.write([0], torch.full((1, 2, 2, 2), 0.5))
    assert find_label_issues(empty) == []
    assert sample_quality(empty).tolist() == [1]


def test_a_result_says_the_same():
    given, probs = made(3)
    store = stored(given, probs)
    result = CorrectionResult(torch.nn.Identity(), store, [], 0)
    assert np.array_equal(result.label_quality(score="margin"), sample_quality(store, score="margin"))
    assert result.find_label_issues(2, score="margin") == find_label_issues(store, top=2, score="margin")
    names = ["ant", "bee", "cat", "dog"]
    assert result.verdict(names) == result.estimate_noise().verdict(names)
    assert result.estimate_noise(0.5).level == 0.5
    assert result.estimate_noise().contradicted == len(result.find_label_issues())


def test_detection_scores_are_pairs_and_precisions():
    rng = np.random.default_rng(0)
    changed = rng.random(40) < 0.3
    quality = np.where(changed, rng.random(40) * 0.7, rng.random(40))
    wrong, right = quality[changed], quality[~changed]
    pairs = [float(w < r) + 0.5 * float(w == r) for w in wrong for r in right]
    order = sorted(range(40), key=lambda index: quality[index])
    precisions, hits = [], 0
    for place, index in enumerate(order, start=1):
        if changed[index]:
            hits += 1
            precisions.append(hits / place)
    first = order[: int(changed.sum())]
    found = detection_scores(quality, changed)
    assert found == {
        "auroc": pytest.approx(sum(pairs) / len(pairs)),
        "average_precision": pytest.approx(sum(precisions) / len(precisions)),
        "precision_at_errors": pytest.approx(sum(changed[first]) / len(first)),
    }


@pytest.mark.parametrize(
    ("quality", "changed", "message"),
    [
        ([0.1, 0.2], [True, True], "right and wrong labels; got 2 wrong of 2"),
        ([0.1, 0.2], [False, False], "got 0 wrong"),
        ([0.1], [True, False], "shapes"),
        ([0.1, np.nan], [True, False], "finite"),
        ([0.1, 0.2], [1, 0], "int64"),
    ],
)
def test_what_detection_refuses(quality, changed, message):
    with pytest.raises(InvalidInputError, match=message):
        detection_scores(quality, changed)


def test_an_unknown_score_names_the_nearest():
    store = stored(*made())
    for ask in (find_label_issues, review_labels, sample_quality):
        with pytest.raises(InvalidInputError, match="did you mean 'margin'"):
            ask(store, score="margins")
    with pytest.raises(InvalidInputError, match="known score"):
        label_quality(torch.tensor([0]), torch.ones(1, 2) / 2, score="entropy")
    with pytest.raises(InvalidInputError, match="top >= 0"):
        find_label_issues(store, top=-1)
    with pytest.raises(InvalidInputError, match="evidence about the labels"):
        sample_quality(SoftLabelStore.create(None, [0, 1], 2))
