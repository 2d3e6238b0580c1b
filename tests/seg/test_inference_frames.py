"""From an image into the network's frame and back."""

import numpy as np
import pytest
import torch

from noisycorrect_seg.datasets.crops import normalise
from noisycorrect_seg.geometry.crops import three_point_matrix
from noisycorrect_seg.geometry.frame import letterbox
from noisycorrect_seg.inference import frames
from noisycorrect_seg.inference.frames import labels_on_image, probs_on_image, way_back
from noisycorrect_seg.inference.parse import canonical_crops
from noisycorrect_seg.inputs import BGR


def held(at, side):
    """Return a position, at the border if it lies up to half a pixel outside."""
    if -0.5 <= at < 0:
        return 0.0
    return float(side - 1) if side - 1 < at <= side - 0.5 else at


def slow_on_image(logits, matrix, shape):
    """Bilinear at each pixel of the image, 0 further than half a pixel outside, float64 (K, H, W)."""
    channels, height, width = logits.shape
    result = np.zeros((channels, *shape))
    for j in range(shape[0]):
        for i in range(shape[1]):
            x, y = (held(at, side) for at, side in zip(matrix @ (i, j, 1), (width, height), strict=True))
            left, top = int(np.floor(x)), int(np.floor(y))
            for row, by in ((top, 1 - (y - top)), (top + 1, y - top)):
                for column, ax in ((left, 1 - (x - left)), (left + 1, x - left)):
                    if 0 <= row < height and 0 <= column < width:
                        result[:, j, i] += ax * by * logits[:, row, column]
    return result


@pytest.mark.parametrize("shape", [(7, 9), (40, 23), (1, 1), (1, 30), (12, 1)])
@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("values", [1, 60, 10**9])  # strips of one row, of a few, of all
def test_maps_on_an_image_are_a_bilinear_look_up(shape, official, values, monkeypatch):
    monkeypatch.setattr(frames, "CPU_STRIP_VALUES", values)
    logits = torch.randn(5, 12, 17, generator=torch.Generator().manual_seed(0))
    matrix = way_back(shape, (12, 17), official_centres=official)
    expected = slow_on_image(logits.double().numpy(), matrix, shape)
    exponents = np.exp(expected - expected.max(0))
    assert np.abs(probs_on_image(logits, matrix, shape) - exponents / exponents.sum(0)).max() < 1e-6
    labels = labels_on_image(logits, matrix, shape)
    assert labels.dtype == np.uint8
    top = np.sort(expected, axis=0)
    clear = top[-1] - top[-2] > 1e-5
    assert np.array_equal(labels[clear], expected.argmax(0)[clear])
    assert clear.mean() > 0.9


@pytest.mark.parametrize("shape", [(1000, 300), (300, 1000), (30, 20), (70, 500), (2, 1)])
@pytest.mark.parametrize("size", [(64, 512), (512, 64), (10, 30), (2, 40), (48, 48)])
def test_a_map_that_is_the_same_everywhere_is_so_up_to_the_borders(shape, size):
    """By hand: 1 / (1 + e^-6)."""
    logits = torch.tensor([6.0, 0.0])[:, None, None].expand(2, *size).contiguous()
    probs = probs_on_image(logits, way_back(shape, size), shape)
    assert np.abs(probs[0] - 0.9975274).max() < 1e-6


def test_the_published_evaluators_half_pixel():
    """By hand: a frame of 7 x 7, numbered columns. Image pixels of 4 x 4 lie at 0, 2, 4, 6; cut centres add 1."""
    assert way_back((4, 4), (7, 7)).tolist() == [[2, 0, 0], [0, 2, 0]]
    assert way_back((4, 4), (7, 7), official_centres=True).tolist() == [[2, 0, 1], [0, 2, 1]]
    # Where w - 1 and h - 1 are even nothing is lost.
    assert np.array_equal(way_back((5, 3), (7, 7), official_centres=True), letterbox((5, 3), (7, 7)))
    # Only the odd one of the two moves: w - 1 = 3 and h - 1 = 2; zoom 6/3.
    moved = way_back((3, 4), (7, 7), official_centres=True) - letterbox((3, 4), (7, 7))
    assert moved.tolist() == [[0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("shape", [(300, 201), (200, 301), (473, 473), (50, 61)])
def test_cut_centres_are_those_of_the_published_point_pairs(shape):
    """The evaluator builds its matrix from the centre as int32; ours adds the lost half pixel."""
    height, width = shape
    centre = (int((width - 1) / 2), int((height - 1) / 2))
    published = three_point_matrix(centre, max(width - 1, height - 1), (473, 473))
    assert np.abs(way_back(shape, (473, 473), official_centres=True) - published).max() < 1e-3
    if (width - 1) % 2 or (height - 1) % 2:
        assert np.abs(way_back(shape, (473, 473)) - published).max() > 0.4


def test_input_is_normalised_bgr():
    """By hand: mean (0.406, 0.456, 0.485), std (0.225, 0.224, 0.229), blue first."""
    pixel = torch.tensor([[[[51, 102, 204]]]], dtype=torch.uint8)  # RGB .2, .4, .8
    expected = [(0.8 - 0.406) / 0.225, (0.4 - 0.456) / 0.224, (0.2 - 0.485) / 0.229]
    assert BGR(pixel).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_input_is_that_of_training_bit_for_bit():
    crops = np.random.default_rng(0).integers(256, size=(3, 20, 30, 3)).astype(np.uint8)
    assert torch.equal(BGR(torch.from_numpy(crops)), torch.stack([normalise(crop) for crop in crops]))


def test_crops_hold_the_whole_image_on_black():
    image = np.full((5, 9, 3), 200, np.uint8)
    before = image.copy()
    crops, shapes = canonical_crops([image, image[:, :5]], (17, 17))
    assert shapes == [(5, 9), (5, 5)]
    rows = np.flatnonzero((crops[0] == 200).all((1, 2)))
    assert rows.tolist() == list(range(4, 13))  # zoom 2: 9 rows in the middle of 17
    assert (crops[0][[0, 1, 2, 14, 15, 16]] == 0).all()
    assert (crops[1] == 200).all()
    assert np.array_equal(image, before)
