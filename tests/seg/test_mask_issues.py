"""Which masks to look at: against a slow loop, and on masks whose errors are known."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from noisycorrect import SoftLabelStore, find_label_issues
from noisycorrect.review.issues import label_quality
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.refined import given_on_evidence
from noisycorrect_seg.review import mask_quality, mask_quality_score, reviewed

K, FRAME = 4, (21, 17)


def made(count=12, seed=0):
    """Return a store of masks of several sizes, every third of them damaged, and which ones were."""
    rng = np.random.default_rng(seed)
    masks, probs, damaged = [], [], np.arange(count) % 3 == 0
    for index in range(count):
        shape = (int(rng.integers(12, 40)), int(rng.integers(12, 40)))
        clean = np.zeros(shape, np.uint8)
        clean[shape[0] // 4 : -shape[0] // 4, shape[1] // 4 : -shape[1] // 4] = 1 + index % (K - 1)
        evidence = np.stack([given_on_evidence(clean, (11, 9), FRAME) == k for k in range(K)]).astype(np.float32)
        evidence = 0.9 * evidence + 0.1 / K + 0.9 / K * (evidence.sum(0) == 0)
        given = clean.copy()
        given[:2] = 255
        if damaged[index]:
            given[clean > 0] = 1 + (index + 1) % (K - 1)
        masks.append(given)
        probs.append(evidence / evidence.sum(0))
    masks.append(None)
    probs.append(np.full_like(probs[0], 1 / K))
    store = SoftLabelStore.create(None, masks, K, kind="segmentation", frame=FRAME)
    with store.new_generation() as writer:
        writer.write(range(len(masks)), torch.from_numpy(np.stack(probs)))
    return store, damaged


def test_issues_of_masks_are_those_of_a_slow_loop():
    store, _ = made()
    expected = {}
    for index in np.flatnonzero(store.labeled).tolist():
        evidence = store.evidence(index)[0].double().numpy()
        given = given_on_evidence(store.given(index)[0], evidence.shape[1:], FRAME)
        qualities, pairs, known = [], {}, 0
        for y, x in np.ndindex(given.shape):
            if given[y, x] == 255:
                continue
            known += 1
            qualities.append(evidence[given[y, x], y, x])
            best = int(evidence[:, y, x].argmax())
            if best != given[y, x]:
                pairs[int(given[y, x]), best] = pairs.get((int(given[y, x]), best), 0) + 1
        weights = np.exp((1 - np.array(qualities)) / 0.1)
        if pairs:
            pair = max(sorted(pairs), key=pairs.get)
            score = (qualities * weights).sum() / weights.sum()
            expected[index] = (*pair, pytest.approx(score, abs=1e-5), pytest.approx(sum(pairs.values()) / known))
    found = find_label_issues(store)
    assert {issue.index: (issue.given, issue.suggested, issue.score, issue.share) for issue in found} == expected
    assert [issue.score for issue in found] == sorted(issue.score for issue in found)
    assert find_label_issues(store, top=2) == found[:2]


def test_pairs_are_those_of_a_count_of_all_of_any_number_of_classes():
    generator = torch.Generator().manual_seed(0)
    given = torch.randint(0, 3, (20, 4, 4), generator=generator)
    evidence = torch.rand(20, 3, 4, 4, generator=generator)
    pairs = reviewed(given, evidence, "self-confidence")[0]
    joint = (given * 3 + evidence.argmax(1)).flatten(1)
    off = [torch.bincount(own[own % 4 != 0], minlength=9).argmax() for own in joint]  # 0, 4, 8 are agreement
    assert pairs.tolist() == [[int(pair) // 3, int(pair) % 3] for pair in off]
    many = torch.zeros(1, 100_000, 1, 1)  # a count of all pairs would take 80 GB
    many[0, 99_999] = 1
    assert reviewed(torch.full((1, 1, 1), 7), many, "self-confidence")[0].tolist() == [[7, 99_999]]


def test_the_quality_of_nothing_is_unknown():
    assert np.isnan(list(mask_quality(np.zeros((3, 3))).values())).all()


def test_damaged_masks_come_first():
    store, damaged = made(count=30, seed=1)
    scores = np.ones(len(damaged))
    for issue in find_label_issues(store):
        scores[issue.index] = issue.score
        if damaged[issue.index]:
            assert issue.suggested == 1 + issue.index % (K - 1)
    assert roc_auc_score(damaged, 1 - scores) == 1


def test_memory_is_bounded_by_a_few_masks(monkeypatch):
    store, _ = made()
    whole = find_label_issues(store)
    monkeypatch.setattr("noisycorrect.labels.kind.VALUES_AT_ONCE", 1)
    assert find_label_issues(store) == whole


def test_nothing_is_wrong_with_what_has_no_label():
    assert label_quality(torch.tensor([[255, -1]]), torch.zeros(1, 2, 2)).tolist() == [[1, 1]]
    assert mask_quality_score(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bool)).tolist() == [1]


def test_given_on_evidence_is_a_slow_nearest_lookup():
    rng = np.random.default_rng(0)
    for shape in ((5, 9), (30, 8), (1, 1)):
        given = rng.integers(0, K, shape).astype(np.uint8)
        whole = given_on_evidence(given, (7, 6), None)
        for y, x in np.ndindex(7, 6):
            at = [
                int(np.floor(p * (side - 1) / (cells - 1) + 0.5))
                for p, side, cells in zip((y, x), shape, (7, 6), strict=True)
            ]
            assert whole[y, x] == given[tuple(at)]
    assert (given_on_evidence(np.zeros((0, 0), np.uint8), (2, 2), None) == 255).all()


def test_masks_without_evidence_are_refused():
    store = SoftLabelStore.create(None, [np.zeros((2, 2), np.uint8)], K, kind="segmentation")
    with pytest.raises(InvalidInputError, match="evidence about the labels"):
        find_label_issues(store)


def test_a_single_place_of_evidence_is_compared_with_the_middle_of_its_mask():
    given = np.array([[1, 2, 3]], np.uint8)
    assert given_on_evidence(given, (1, 1), None).tolist() == [[2]]
    assert given_on_evidence(given, (1, 1), (9, 9)).tolist() == [[2]]
