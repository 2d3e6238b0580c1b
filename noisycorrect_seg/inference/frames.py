"""From an image into the network's frame, and from the network's frame back onto the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from noisycorrect_seg.geometry.frame import Size, letterbox
from noisycorrect_seg.masks import mask_dtype

# Strips that stay in a core's cache are twice as fast; a GPU wants few large ones.
CPU_STRIP_VALUES, GPU_STRIP_VALUES = 2**17, 2**25


def way_back(shape: Size, size: Size, *, official_centres: bool = False) -> np.ndarray:
    """Return the matrix, float64 (2, 3), by which a map in the network's frame is looked up for an image's pixels.

    Parameters
    ----------
    shape, size : (int, int)
        Height and width of the image, and of the network's frame.
    official_centres : bool
        The published evaluator keeps the box's centre ((w - 1)/2, (h - 1)/2) as whole numbers, cut off, and looks the
        map up around that: half a pixel of the image too far right (down) whenever w - 1 (h - 1) is odd.

    Examples
    --------
    >>> way_back((3, 4), (7, 7)).tolist()
    [[2.0, 0.0, 0.0], [0.0, 2.0, 1.0]]
    >>> way_back((3, 4), (7, 7), official_centres=True).tolist()  # 1.5 became 1: half a pixel, zoomed by 2
    [[2.0, 0.0, 1.0], [0.0, 2.0, 1.0]]
    """
    matrix = letterbox(shape, size)
    if official_centres:
        lost = np.array([(shape[1] - 1) % 2, (shape[0] - 1) % 2]) / 2
        matrix[:, 2] += matrix[:, :2] @ lost
    return matrix


def labels_on_image(logits: Tensor, matrix: np.ndarray, shape: Size) -> np.ndarray:
    """Return the class with the largest logit at each pixel of an image: resampled first, chosen then.

    Parameters
    ----------
    logits : Tensor, shape (K, H, W), float32
        In the network's frame.
    matrix : ndarray, shape (2, 3)
        From the image's pixels to the frame's; a zoom and a shift, as of :func:`way_back`.
    shape : (int, int)
        Height and width of the image.

    Returns
    -------
    ndarray, shape `shape`, uint8, or uint16 of more than 255 classes
        Bilinear. In a frame wider than high, the first and last rows of a tall image lie up to half a pixel outside:
        what does has the logits of the frame's border. Further outside each logit is 0. OpenCV's warp, which the
        published extractor uses, mixes in 0 already there, and cuts positions to 1/32 pixel; this one does neither.

    Examples
    --------
    >>> logits = torch.tensor([[[3.0, 0.0]], [[0.0, 2.0]]])  # equal at 3/5 of the way
    >>> labels_on_image(logits, np.array([[0.25, 0, 0], [0, 1, 0]]), (1, 5)).tolist()
    [[0, 0, 0, 1, 1]]
    """
    dtype = mask_dtype(len(logits))
    narrow = torch.uint8 if dtype == np.uint8 else torch.int32
    return _strips(logits, matrix, shape, lambda part: part.max(0).indices.to(narrow), narrow).astype(dtype, copy=False)


def probs_on_image(logits: Tensor, matrix: np.ndarray, shape: Size) -> np.ndarray:
    """Return the softmax of logits resampled as by :func:`labels_on_image`, float32 (K, *shape).

    Examples
    --------
    >>> probs_on_image(torch.zeros(4, 2, 2), np.array([[1.0, 0, 0], [0, 1, 0]]), (1, 1)).ravel().tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    return _strips(logits, matrix, shape, lambda part: part.softmax(0), torch.float32, len(logits))


def foreground_on_image(logits: Tensor, matrix: np.ndarray, shape: Size) -> np.ndarray:
    """Return the probability that a pixel is no background, 1 - P(class 0) of :func:`probs_on_image`, float32 `shape`.

    Examples
    --------
    >>> foreground_on_image(torch.zeros(4, 2, 2), np.array([[1.0, 0, 0], [0, 1, 0]]), (1, 1)).ravel().tolist()
    [0.75]
    """
    return _strips(logits, matrix, shape, lambda part: 1 - part.softmax(0)[0], torch.float32)


def _strips(
    logits: Tensor,
    matrix: np.ndarray,
    shape: Size,
    finish: Callable[[Tensor], Tensor],
    dtype: torch.dtype,
    *channels: int,
) -> np.ndarray:
    result = torch.empty(*channels, *shape, dtype=dtype)
    for rows, part in _resampled(logits, matrix, shape):
        result[..., rows, :] = finish(part).to("cpu")
    array: np.ndarray = result.numpy()
    return array


def _resampled(maps: Tensor, matrix: np.ndarray, shape: Size) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of the image with the maps on them, (K, rows, w); see :func:`labels_on_image`.

    A zoom with a shift separates: first down the rows, then along them.
    """
    assert matrix[0, 1] == matrix[1, 0] == 0
    height, width = shape
    across = _taps(matrix[0, 0] * np.arange(width) + matrix[0, 2], maps.shape[2], maps.device)
    down = _taps(matrix[1, 1] * np.arange(height) + matrix[1, 2], maps.shape[1], maps.device)
    budget = CPU_STRIP_VALUES if maps.device.type == "cpu" else GPU_STRIP_VALUES
    step = max(1, budget // (len(maps) * width))
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        part = _between(maps, [tap[rows] for tap in down], 1)
        yield rows, _between(part, across, 2)


def _taps(positions: np.ndarray, length: int, device: torch.device) -> list[Tensor]:
    """Return, for positions along an axis, the indices of the two neighbours and their weights, 0 for one outside.

    A position up to half a pixel outside is the border.
    """
    near = (positions >= -0.5) & (positions <= length - 0.5)
    positions = np.where(near, positions.clip(0, length - 1), positions)
    first = np.floor(positions)
    taps = []
    for index, weight in ((first, 1 - (positions - first)), (first + 1, positions - first)):
        weight = np.where((index >= 0) & (index < length), weight, 0).astype(np.float32)
        index = index.clip(0, length - 1).astype(np.int64)
        taps += [torch.from_numpy(index).to(device), torch.from_numpy(weight).to(device)]
    return taps


def _between(maps: Tensor, taps: list[Tensor], dim: int) -> Tensor:
    first, weight, second, other = taps
    shape = [-1 if axis == dim else 1 for axis in range(3)]
    mixed = maps.index_select(dim, first).mul_(weight.view(shape))
    return mixed.addcmul_(maps.index_select(dim, second), other.view(shape))
