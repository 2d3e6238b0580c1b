"""Segmentation metrics against float64 loops, scikit-learn, and two processes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score
from spawn import run_processes

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import scores as module
from noisycorrect_seg.geometry.boundary import boundary_counts, boundary_iou
from noisycorrect_seg.scores import SegmentationMetrics, confusion_matrix, iou_from_confusion, recall_from_confusion


def maps(count=3, classes=5, size=(7, 9), ignored=0.1, seed=0):
    """Return predictions and labels, uint8 (N, H, W); labels have ignored pixels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=(count, *size)).astype(np.uint8)
    pred = np.where(rng.random(labels.shape) < 0.5, labels, rng.integers(classes, size=labels.shape)).astype(np.uint8)
    labels[rng.random(labels.shape) < ignored] = 255
    return torch.from_numpy(pred), torch.from_numpy(labels)


def slow_scores(confusion):
    """Both conventions, class by class in float64."""
    classes = len(confusion)
    iou, recall, published_iou, published_recall = [], [], 0.0, 0.0
    for k in range(classes):
        hits, support, predicted = confusion[k, k], confusion[k].sum(), confusion[:, k].sum()
        union = support + predicted - hits
        if union > 0:
            iou.append(hits / union)
        if support > 0:
            recall.append(hits / support)
        published_iou += hits / max(1.0, union) / classes
        published_recall += hits / max(1.0, support) / classes
    return {
        "pixel_accuracy": np.trace(confusion) / confusion.sum(),
        "mean_accuracy": np.mean(recall),
        "mean_iou": np.mean(iou),
        "published_mean_accuracy": published_recall,
        "published_mean_iou": published_iou,
    }


@settings(max_examples=40, deadline=None)
@given(classes=st.integers(2, 20), ignored=st.sampled_from([0.0, 0.3]), seed=st.integers(0, 2**20))
def test_scores_against_scikit_learn_and_a_loop(classes, ignored, seed):
    pred, labels = maps(classes=classes, ignored=ignored, size=(3, 5), seed=seed)  # many classes are absent
    metrics = SegmentationMetrics(classes)
    for one_pred, one_label in zip(pred, labels, strict=True):
        metrics.update(one_pred[None], one_label[None])
    known = (labels != 255).numpy()
    truth, found = labels.numpy()[known], pred.numpy()[known]
    expected = sklearn_confusion(truth, found, labels=range(classes)).astype(float)
    assert np.array_equal(metrics.confusion.numpy(), expected)
    assert metrics.scalars() == pytest.approx(slow_scores(expected), rel=1e-12)
    occurs = np.union1d(truth, found)
    scores = jaccard_score(truth, found, labels=occurs, average=None)
    iou = metrics.compute()["iou"]
    assert iou.dtype is torch.float64
    assert iou[occurs.tolist()].tolist() == pytest.approx(scores.tolist(), rel=1e-12)
    assert set(np.flatnonzero(iou.isnan().numpy())) == set(range(classes)) - set(occurs.tolist())


def test_absent_classes_in_both_conventions():
    """By hand: class 2 is only predicted, class 3 is nowhere."""
    metrics = SegmentationMetrics(4)
    metrics.update(torch.tensor([[0, 0, 2, 1]]), torch.tensor([[0, 0, 0, 1]]))
    scores = metrics.compute()
    assert scores["iou"][:3].tolist() == [2 / 3, 1.0, 0.0]
    assert math.isnan(scores["iou"][3])
    assert scores["mean_iou"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores["published_mean_iou"] == pytest.approx((2 / 3 + 1) / 4)
    assert scores["mean_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["published_mean_accuracy"] == pytest.approx((2 / 3 + 1) / 4)
    recall = metrics.class_recall()
    assert recall[:2].tolist() == [2 / 3, 1.0]
    assert recall[2:].isnan().all()


def test_nothing_seen_is_nan():
    metrics = SegmentationMetrics(3, boundary_width=1)
    metrics.update(torch.zeros(2, 4, 4, dtype=torch.int64), torch.full((2, 4, 4), 255, dtype=torch.uint8))
    metrics.update(torch.zeros(0, 4, 4, dtype=torch.int64), torch.zeros(0, 4, 4, dtype=torch.uint8))
    metrics.update(torch.zeros(0, 3, 4, 4), torch.zeros(0, 4, 4, dtype=torch.uint8))
    scores = metrics.compute()
    assert metrics.confusion.sum() == 0
    assert all(math.isnan(value) for value in metrics.scalars().values())
    assert scores["iou"].isnan().all()
    assert scores["boundary_iou"].isnan().all()


def slow_winners(scores, size):
    """Bilinear with aligned corners, pixel by pixel in float64, then the largest."""
    classes, (h, w), (height, width) = len(scores), scores.shape[1:], size
    result = np.zeros(size, np.int64)
    for y in range(height):
        for x in range(width):
            v = y * (h - 1) / (height - 1)
            u = x * (w - 1) / (width - 1)
            top, left = min(int(v), h - 2), min(int(u), w - 2)
            b, a = v - top, u - left
            values = [
                (1 - b) * ((1 - a) * scores[k, top, left] + a * scores[k, top, left + 1])
                + b * ((1 - a) * scores[k, top + 1, left] + a * scores[k, top + 1, left + 1])
                for k in range(classes)
            ]
            result[y, x] = int(np.argmax(values))
    return result


def test_scores_are_resized_with_corners_aligned_before_the_largest_wins():
    scores = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    _, labels = maps(2, classes=4, size=(13, 17))
    by_scores, by_index = SegmentationMetrics(4), SegmentationMetrics(4)
    by_scores.update(scores, labels)
    pred = np.stack([slow_winners(one.double().numpy(), (13, 17)) for one in scores])
    by_index.update(pred, labels)
    assert torch.equal(by_scores.confusion, by_index.confusion)


def test_scores_of_a_large_batch_are_resized_in_parts(monkeypatch):
    scores = torch.randn(5, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    _, labels = maps(5, classes=4, size=(13, 17))
    whole, parts = SegmentationMetrics(4), SegmentationMetrics(4)
    whole.update(scores, labels)
    monkeypatch.setattr(module, "SCORES_AT_ONCE", 2 * 4 * 13 * 17)
    parts.update(scores, labels)
    assert torch.equal(whole.confusion, parts.confusion)


def test_one_image_and_every_form_of_input():
    pred, labels = maps(1, classes=3)
    expected = confusion_matrix(pred, labels, 3).double()
    onehot = torch.nn.functional.one_hot(pred.long(), 3).permute(0, 3, 1, 2)
    read_only = labels[0].numpy().copy()
    read_only.flags.writeable = False
    forms = [
        (pred, labels),
        (pred[0], labels[0]),
        (pred[0].numpy(), read_only),
        (np.ascontiguousarray(pred[0].numpy()[:, ::-1])[:, ::-1], np.ascontiguousarray(read_only[::-1])[::-1]),
        (pred.numpy().astype(">u2"), labels.numpy().astype(">i4")),
        (onehot.numpy().astype(">f4"), labels),
        (pred.int(), labels.long()),
        (onehot.float(), labels),
        (onehot.float(), labels[0]),
        (onehot[0].double(), labels[0]),
        (onehot.to(torch.bfloat16), labels),
        (onehot.float().requires_grad_(), labels),
    ]
    for each_pred, each_labels in forms:
        metrics = SegmentationMetrics(3)
        metrics.update(each_pred, each_labels)
        assert torch.equal(metrics.confusion, expected)


def test_counts_stay_exact_beyond_float32():
    metrics = SegmentationMetrics(2)
    metrics.confusion[0, 0] = 2**53 - 2
    metrics.update(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64))
    assert metrics.confusion[0, 0].item() == 2**53 - 1


def test_boundary_figures_come_when_asked_for():
    pred, labels = maps(3, classes=4, size=(20, 21))
    assert "mean_boundary_iou" not in SegmentationMetrics(4).compute()
    metrics = SegmentationMetrics(4, boundary_width=2)
    for each in range(3):
        metrics.update(pred[each], labels[each])
    expected = boundary_iou(boundary_counts(pred, labels, 4, width=2))
    scores = metrics.compute()
    assert torch.equal(scores["boundary_iou"], expected)
    assert scores["mean_boundary_iou"] == expected.mean().item()
    assert 0 < scores["mean_boundary_iou"] < 1
    assert set(metrics.scalars()) == set(scores) - {"iou", "boundary_iou"}


def streamed(boundary_width):
    metrics = SegmentationMetrics(6, boundary_width=boundary_width)
    pred, labels = maps(5, classes=6, size=(12, 13))
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else None
    for each in range(5):
        if rank is None or each % 2 == rank:
            metrics.update(pred[each], labels[each])
    metrics.reduce()
    return metrics.confusion, metrics.compute()


def test_two_ranks_sum_to_one(tmp_path):
    alone, scores = streamed(1)
    for confusion, other in run_processes(streamed, 2, tmp_path, 1):
        assert torch.equal(confusion, alone)
        assert other.keys() == scores.keys()
        for name, value in scores.items():
            torch.testing.assert_close(torch.as_tensor(other[name]), torch.as_tensor(value), rtol=0, atol=0)


def test_pure_functions_take_whole_numbers():
    counts = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert iou_from_confusion(counts)[:2].tolist() == [0.75, 0.8]
    assert recall_from_confusion(counts)[:2].tolist() == [0.75, 1.0]


# ---------------------------------------------------------------- invalid input


def test_classes_out_of_range_are_named_and_nothing_is_counted():
    metrics = SegmentationMetrics(3, boundary_width=1)
    zeros = torch.zeros(1, 2, dtype=torch.int64)
    with pytest.raises(InvalidInputError, match=r"labels in 0..2; got 7; to fix: correct the labels"):
        metrics.update(zeros, torch.tensor([[0, 7]]))
    with pytest.raises(InvalidInputError, match=r"labels in 0..2; got -1"):
        metrics.update(zeros, torch.tensor([[0, -1]]))
    with pytest.raises(InvalidInputError, match=r"predictions in 0..2; got 3"):
        metrics.update(torch.tensor([[0, 3]]), zeros)
    with pytest.raises(InvalidInputError, match=r"predictions in 0..2; got 255"):
        metrics.update(torch.tensor([[0, 255]], dtype=torch.uint8), zeros)
    assert metrics.confusion.sum() == 0
    metrics.update(torch.tensor([[0, 99]]), torch.tensor([[0, 255]]))  # nobody looks where the label is ignored
    assert metrics.confusion.sum() == 1


def test_a_negative_ignore_index_is_not_255_in_disguise():
    metrics = SegmentationMetrics(3, ignore_index=-1)
    metrics.update(torch.tensor([[0, 0]]), torch.tensor([[0, -1]]))
    assert metrics.confusion.sum() == 1
    with pytest.raises(InvalidInputError, match=r"labels in 0..2; got 255"):
        metrics.update(torch.tensor([[0, 0]]), torch.tensor([[0, 255]], dtype=torch.uint8))


def test_shapes_and_values_that_do_not_fit():
    metrics = SegmentationMetrics(3)
    labels = torch.zeros(2, 4, 4, dtype=torch.uint8)
    with pytest.raises(InvalidInputError, match=r"labels' shape \(2, 4, 4\); got \(2, 4, 5\)"):
        metrics.update(torch.zeros(2, 4, 5, dtype=torch.uint8), labels)
    with pytest.raises(InvalidInputError, match=r"scores of shape \(2, 3, h, w\); got \(2, 4, 2, 2\)"):
        metrics.update(torch.zeros(2, 4, 2, 2), labels)
    with pytest.raises(InvalidInputError, match=r"scores of shape \(2, 3, h, w\); got \(3, 2, 2\)"):
        metrics.update(torch.zeros(3, 2, 2), labels)
    with pytest.raises(InvalidInputError, match="finite scores"):
        metrics.update(torch.full((2, 3, 2, 2), math.nan), labels)
    with pytest.raises(InvalidInputError, match=r"labels as whole numbers.*float32"):
        metrics.update(torch.zeros(2, 4, 4), labels.float())
    with pytest.raises(InvalidInputError, match=r"predictions as numbers; got <U1"):
        metrics.update(["a"], labels)
    assert metrics.confusion.sum() == 0


def test_arguments_out_of_range():
    with pytest.raises(InvalidInputError, match="num_classes to be a whole number >= 2; got 1"):
        SegmentationMetrics(1)
    with pytest.raises(InvalidInputError, match=r"ignore_index outside 0..19; got 0"):
        SegmentationMetrics(20, ignore_index=0)
    with pytest.raises(InvalidInputError, match=r"outside 0..299; got 255; to fix: 65535 is common"):
        SegmentationMetrics(300)
    with pytest.raises(InvalidInputError, match="boundary_width"):
        SegmentationMetrics(20, boundary_width=0)
    with pytest.raises(InvalidInputError, match="none of 300 classes; got 255"):
        confusion_matrix(torch.tensor([255]), torch.tensor([255]), 300)
