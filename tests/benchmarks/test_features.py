"""HOG features against loops written from the definition, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmarks.lab.features import hog_features
from noisycorrect.support.errors import InvalidInputError


def oracle(image: np.ndarray) -> np.ndarray:
    """Return the features of one image (C, H, W), pixel by pixel (Dalal & Triggs 2005, sec. 6)."""
    channels, height, width = image.shape
    rows, columns = height // 8, width // 8
    cells = np.zeros((rows, columns, 9))
    for y in range(height):
        for x in range(width):
            gradients = []
            for channel in range(channels):
                plane = image[channel]
                right = plane[y, min(x + 1, width - 1)] - plane[y, max(x - 1, 0)]
                down = plane[min(y + 1, height - 1), x] - plane[max(y - 1, 0), x]
                gradients.append((math.hypot(right, down), right, down))
            magnitude, right, down = max(gradients, key=lambda gradient: gradient[0])
            degrees = math.degrees(math.atan2(down, right)) % 180
            for k in range(9):
                distance = abs(degrees - (10 + 20 * k))
                distance = min(distance, 180 - distance)
                cells[y // 8, x // 8, k] += magnitude * max(0.0, 1 - distance / 20) / 64
    features = np.zeros((9, 4, rows - 1, columns - 1))
    for row in range(rows - 1):
        for column in range(columns - 1):
            block = np.array([cells[row + i, column + j, k] for k in range(9) for i in (0, 1) for j in (0, 1)])
            block = block / math.sqrt((block**2).sum() + 1e-12)
            block = np.minimum(block, 0.2)
            block = block / math.sqrt((block**2).sum() + 1e-12)
            features[:, :, row, column] = block.reshape(9, 4)
    colours = [
        image[channel, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].mean()
        for channel in range(channels)
        for row in range(rows)
        for column in range(columns)
    ]
    return np.concatenate([features.ravel(), colours])


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 16, 24)])
def test_features_are_those_of_the_definition(shape: tuple[int, ...]) -> None:
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    found = hog_features(images)
    expected = np.stack([oracle(image) for image in images.double().numpy()])
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)


def test_features_of_many_images_are_those_of_each() -> None:
    images = torch.rand(1101, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(hog_features(images)[[0, 500, 1100]], hog_features(images[[0, 500, 1100]]))


def test_a_flat_image_has_no_gradients() -> None:
    features = hog_features(torch.full((1, 3, 32, 32), 0.25))
    assert not features[:, :324].any()
    assert torch.equal(features[:, 324:], torch.full((1, 48), 0.25))


@pytest.mark.parametrize("shape", [(2, 3, 30, 32), (2, 3, 8, 8), (3, 32, 32)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="multiples of 8"):
        hog_features(torch.zeros(shape))
