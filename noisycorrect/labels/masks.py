"""Composing a refined mask from a crisp given mask and smooth evidence at lower resolution."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.labels.given import IGNORE_INDEX
from noisycorrect.refine import blend, one_hot


def refined_mask(given: np.ndarray, evidence: Tensor | None, trust: float, num_classes: int) -> Tensor:
    """Return the refined mask of one sample (SCHP, Eq. 7, pixel by pixel).

    Parameters
    ----------
    given : ndarray, shape (H, W), uint8
        Given mask, 255 = ignored; shape (0, 0) for a sample without one.
    evidence : Tensor, shape (K, h, w), or None
        Mean prediction; resized to (H, W) (bilinear, corners aligned). None before the first generation.
    trust : float
        Weight on the given mask, in [0, 1].
    num_classes : int
        K.

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
    labels = torch.from_numpy(given.astype(np.int64))
    onehot = one_hot(labels, num_classes).permute(2, 0, 1)[None]
    if evidence is None:
        return onehot[0]
    resized = F.interpolate(evidence[None], size=given.shape, mode="bilinear", align_corners=True)
    refined = blend(onehot, resized, torch.tensor([trust]))[0]
    return refined * (labels != IGNORE_INDEX)
