"""Boundary IoU against erosion, pixel by pixel."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.boundary import (
    PAPER_WIDTH,
    BoundaryCounts,
    boundary_counts,
    boundary_distance,
    boundary_iou,
    near_boundary,
)

K = 4


def blobs(shape, seed, ignored=0.0):
    """Return a label map of smooth regions, with some ignored pixels."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(K, *shape)), (0, 2, 2))
    labels = fields.argmax(0).astype(np.uint8)
    labels[rng.random(shape) < ignored] = 255
    return labels


def eroded_boundary(mask, distance):
    """Return mask minus its erosion by d steps of 3 x 3, the world outside being no mask: the authors' definition."""
    padded = np.pad(mask, 1)
    inner = ndimage.binary_erosion(padded, np.ones((3, 3)), iterations=min(distance, 99))[1:-1, 1:-1]
    return mask & ~inner


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 7, 8, 40, 10**6])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (23, 31), (32, 17)])
def test_near_boundary_is_mask_minus_erosion_for_every_class(shape, distance):
    labels = blobs(shape, seed=distance)
    expected = np.zeros(shape, bool)
    for number in range(K):
        expected |= eroded_boundary(labels == number, distance)
    found = near_boundary(torch.from_numpy(labels)[None], distance)
    assert np.array_equal(found[0].numpy(), expected)


def slow_near_boundary(labels, distance):
    """Look at every neighbour of every pixel; ignored ones make no outline."""
    height, width = labels.shape
    near = np.zeros(labels.shape, bool)
    for y in range(height):
        for x in range(width):
            inside = distance <= y < height - distance and distance <= x < width - distance
            window = labels[max(0, y - distance) : y + distance + 1, max(0, x - distance) : x + distance + 1]
            differs = bool(((window != labels[y, x]) & (window != 255)).any())
            near[y, x] = labels[y, x] != 255 and (differs or not inside)
    return near


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    distance=st.integers(1, 5),
    ignored=st.sampled_from([0.0, 0.2, 1.0]),
    seed=st.integers(0, 2**20),
)
def test_counts_with_ignored_pixels_against_a_loop(shape, distance, ignored, seed):
    labels, pred = blobs(shape, seed, ignored), blobs(shape, seed + 1)
    near_labels = slow_near_boundary(labels, distance)
    near_pred = slow_near_boundary(np.where(labels == 255, np.uint8(255), pred), distance)
    counts = boundary_counts(torch.from_numpy(pred)[None], torch.from_numpy(labels)[None], K, width=distance)
    for number in range(K):
        both = near_labels & near_pred & (labels == number) & (pred == number)
        assert counts.both[number] == both.sum()
        assert counts.labels[number] == (near_labels & (labels == number)).sum()
        assert counts.pred[number] == (near_pred & (pred == number)).sum()


def test_a_square_moved_by_one_pixel():
    """By hand: rings of 20 pixels; of each, the 5 shared columns of the top and bottom rows are in both."""
    labels, pred = torch.zeros(1, 12, 12, dtype=torch.uint8), torch.zeros(1, 12, 12, dtype=torch.uint8)
    labels[0, 3:9, 3:9] = 1
    pred[0, 3:9, 4:10] = 1
    counts = boundary_counts(pred, labels, 2, width=1)
    assert (counts.labels[1], counts.pred[1], counts.both[1]) == (20, 20, 10)
    assert boundary_iou(counts)[1].item() == 10 / 30


def test_a_perfect_map_scores_one_and_an_absent_class_nothing():
    labels = torch.from_numpy(blobs((20, 30), seed=5, ignored=0.1))[None]
    counts = boundary_counts(torch.where(labels == 255, 0, labels), labels, K + 1, width=2)
    scores = boundary_iou(counts)
    assert scores[:K].tolist() == [1.0] * K
    assert math.isnan(scores[K])


def test_arguments_are_left_as_they_were():
    labels, pred = torch.from_numpy(blobs((9, 9), 1, 0.3))[None], torch.from_numpy(blobs((9, 9), 2))[None]
    before = labels.clone(), pred.clone()
    boundary_counts(pred, labels, K, width=2)
    assert torch.equal(labels, before[0])
    assert torch.equal(pred, before[1])


def test_sums_of_images_are_the_images_together():
    labels = torch.from_numpy(np.stack([blobs((15, 11), seed) for seed in range(3)]))
    pred = labels.flip(0)
    whole = boundary_counts(pred, labels, K, width=PAPER_WIDTH)
    parts = [boundary_counts(pred[i : i + 1], labels[i : i + 1], K, width=PAPER_WIDTH) for i in range(3)]
    for name in BoundaryCounts._fields:
        assert torch.equal(getattr(whole, name), sum(getattr(part, name) for part in parts))


def test_distance_is_pixels_or_a_share_of_the_diagonal():
    assert boundary_distance(PAPER_WIDTH, 300, 400) == 10
    assert boundary_distance(PAPER_WIDTH, 3, 4) == 1  # at least one pixel
    assert boundary_distance(5, 3, 4) == 5
    assert boundary_distance(np.float64(0.5), 3, 4) == 2  # 2.5 rounds to even, as in the authors' code
    for width in (0, -1, 1.5, math.nan, math.inf, True, "paper"):
        with pytest.raises(InvalidInputError, match=r"boundary_width as a whole number of pixels >= 1, or a share"):
            boundary_distance(width, 10, 10)
