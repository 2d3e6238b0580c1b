"""Composing a refined mask from a crisp given mask and smooth evidence at lower resolution."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.labels.frame import Size, letterbox
from noisycorrect.labels.given import IGNORE_INDEX
from noisycorrect.refine import blend, label_trust, one_hot


def refined_mask(
    given: np.ndarray,
    evidence: Tensor | None,
    trust: float,
    num_classes: int,
    *,
    frame: Size | None = None,
    class_trust: Tensor | None = None,
) -> Tensor:
    """Return the refined mask of one sample (SCHP, Eq. 7, pixel by pixel).

    Parameters
    ----------
    given : ndarray, shape (H, W), uint8
        Given mask, 255 = ignored; shape (0, 0) for a sample without one.
    evidence : Tensor, shape (K, h, w), or None
        Mean prediction; brought onto the mask by :func:`evidence_on_mask`. None before the first generation.
    trust : float
        Weight on the given mask, in [0, 1].
    num_classes : int
        K.
    frame : (int, int), optional
        See :func:`evidence_on_mask`.
    class_trust : Tensor, shape (K,), optional
        Least weight on given pixels of each class.

    Returns
    -------
    Tensor, shape (K, H, W), float32
        Zero at ignored pixels, and everywhere if there is neither mask nor evidence.

    Examples
    --------
    >>> given = np.array([[0, 1, 255]], np.uint8)
    >>> refined_mask(given, torch.full((2, 1, 1), 0.5), trust=0.5, num_classes=2)[1]
    tensor([[0.2500, 0.7500, 0.0000]])
    """
    if not given.size:
        return torch.zeros(num_classes, 0, 0) if evidence is None else evidence
    labels = torch.from_numpy(given.astype(np.int64))[None]
    onehot = one_hot(labels, num_classes).permute(0, 3, 1, 2)
    if evidence is None:
        return onehot[0]
    resampled = evidence_on_mask(evidence, given.shape, frame)[None]
    refined = blend(onehot, resampled, label_trust(torch.tensor([trust]), class_trust, labels))
    return (refined * (labels != IGNORE_INDEX).unsqueeze(1))[0]


def evidence_on_mask(evidence: Tensor, shape: tuple[int, ...], frame: Size | None) -> Tensor:
    """Return evidence resampled to the pixels of a mask, bilinear, corners aligned.

    Parameters
    ----------
    evidence : Tensor, shape (K, h, w)
        Evidence over the canonical frame, corner to corner.
    shape : (int, int)
        Height and width of the mask.
    frame : (int, int) or None
        Height and width of the canonical frame, which holds the mask in its middle; None: the mask is the frame.

    Returns
    -------
    Tensor, shape (K, H, W), float32

    Examples
    --------
    >>> evidence_on_mask(torch.tensor([[[0.0, 1.0]]]), (1, 3), None)
    tensor([[[0.0000, 0.5000, 1.0000]]])
    >>> evidence_on_mask(torch.eye(3)[None], (1, 2), (3, 3))  # a row of two pixels in the middle of the frame
    tensor([[[0., 0.]]])
    """
    height, width = shape
    if frame is None:
        return F.interpolate(evidence[None], size=(height, width), mode="bilinear", align_corners=True)[0]
    matrix = letterbox((height, width), frame)
    scale = 2 / (np.array(frame[::-1]) - 1)  # grid_sample counts -1..1 from corner to corner
    x = (matrix[0, 0] * np.arange(width) + matrix[0, 2]) * scale[0] - 1
    y = (matrix[1, 1] * np.arange(height) + matrix[1, 2]) * scale[1] - 1
    grid = torch.from_numpy(np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)).float()
    return F.grid_sample(evidence[None], grid[None], mode="bilinear", padding_mode="border", align_corners=True)[0]


def given_on_evidence(given: np.ndarray, shape: tuple[int, ...], frame: Size | None) -> np.ndarray:
    """Return a given mask at the positions of its evidence, nearest pixel; the inverse of :func:`evidence_on_mask`.

    Parameters
    ----------
    given : ndarray, shape (H, W), uint8
        Given mask; shape (0, 0) for a sample without one.
    shape : (int, int)
        Height and width of the evidence.
    frame : (int, int) or None
        See :func:`evidence_on_mask`.

    Returns
    -------
    ndarray, shape (h, w), uint8
        255 where the mask ignores, and outside of it.

    Examples
    --------
    >>> given_on_evidence(np.array([[1, 2, 0]], np.uint8), (3, 3), (3, 3)).tolist()
    [[255, 255, 255], [1, 2, 0], [255, 255, 255]]
    """
    if not given.size:
        return np.full(shape, IGNORE_INDEX, np.uint8)
    # One zoom and one shift an axis: rows and columns are looked up apart.
    sides = given.shape[:2]
    matrix = np.eye(2, 3) if frame is None else letterbox((sides[0], sides[1]), frame)
    picks = []
    for axis, (cells, side) in enumerate(zip(shape, sides, strict=True)):
        span = (side if frame is None else frame[axis]) - 1
        row = 1 - axis  # the matrix has x first
        at = (np.linspace(0, span, cells) - matrix[row, 2]) / matrix[row, row]
        nearest = np.floor(at + 0.5).astype(int)
        picks.append(np.where((nearest >= 0) & (nearest < side), nearest, -1))
    rows, columns = picks
    found: np.ndarray = given[np.ix_(rows.clip(0), columns.clip(0))]
    return np.where((rows[:, None] < 0) | (columns[None, :] < 0), np.uint8(IGNORE_INDEX), found)
