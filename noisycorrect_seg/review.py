"""How good masks are: beside the evidence about their pixels, and beside clean masks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from noisycorrect.review.issues import label_quality
from noisycorrect_seg.geometry.maps import winners

SOFTMIN_TEMPERATURE = 0.1


def mask_quality_score(pixel_quality: Tensor, known: Tensor) -> Tensor:
    r"""Return one quality a mask: :math:`\sum_i s_i w_i`, :math:`w = softmax((1 - s) / 0.1)` over the labelled pixels.

    A soft minimum: a small region with a bad label counts although most pixels are good (Lad & Mueller 2023,
    "Estimating label quality and errors in semantic segmentation data via any model", softmin score).

    Parameters
    ----------
    pixel_quality : Tensor, shape (N, ...)
        Label quality of each pixel, in [0, 1].
    known : Tensor, shape (N, ...), bool
        Which pixels have a label.

    Returns
    -------
    Tensor, shape (N,), float32
        In [0, 1]; 1 for a mask without a labelled pixel.

    Examples
    --------
    >>> mask_quality_score(torch.tensor([[1.0, 0.0], [0.9, 0.9]]), torch.ones(2, 2, dtype=torch.bool))
    tensor([4.5398e-05, 9.0000e-01])
    """
    quality, known = pixel_quality.flatten(1), known.flatten(1)
    weights = torch.where(known, (1 - quality) / SOFTMIN_TEMPERATURE, -torch.inf).softmax(1)
    return torch.where(known.any(1), (quality * weights.nan_to_num(0)).sum(1), 1.0)


def reviewed(given: Tensor, evidence: Tensor, score: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the evidence says of some masks: the pair to name, quality and contradicted share.

    Parameters
    ----------
    given : Tensor, shape (N, h, w), int64
        Given masks at the evidence's resolution; 255, or another number from K on, where they ignore.
    evidence : Tensor, shape (N, K, h, w)
        In [0, 1].
    score : str
        See :func:`~noisycorrect.review.issues.label_quality`; a mask's is the soft minimum over its pixels.

    Returns
    -------
    pairs : ndarray of int64, shape (N, 2)
        Given and suggested class of most contradicted pixels; without one the most frequent class, twice, or -1.
    quality : ndarray of float32, shape (N,)
        In [0, 1].
    share : ndarray of float64, shape (N,)
        Share of the labelled pixels that the evidence gives another class.

    Examples
    --------
    >>> pairs, _, share = reviewed(torch.tensor([[[0, 1]]]), torch.tensor([[[[0.1, 0.2]], [[0.9, 0.8]]]]), "margin")
    >>> pairs.tolist(), share.tolist()
    ([[0, 1]], [0.5])
    """
    classes = evidence.shape[1]
    known, suggested = given < classes, winners(evidence)
    quality = mask_quality_score(label_quality(given, evidence, score=score), known)
    contradicted = known & (suggested != given)
    shares = contradicted.flatten(1).sum(1).float() / known.flatten(1).sum(1).clamp(min=1)
    named = torch.where(contradicted.flatten(1).any(1)[:, None, None], contradicted, known)
    pairs = [_most_frequent(p[n], classes) for p, n in zip(given * classes + suggested, named, strict=True)]
    return np.array(pairs), quality.numpy(), shares.numpy().astype(np.float64)


def _most_frequent(pairs: Tensor, classes: int) -> tuple[int, int]:
    """Return the most frequent (given, suggested) of `pairs`, which are given * K + suggested."""
    if not len(pairs):
        return -1, -1
    found, counts = torch.unique(pairs, return_counts=True)
    return divmod(int(found[counts.argmax()]), classes)


def mask_quality(confusion: np.ndarray) -> dict[str, float]:
    """Return ``label_accuracy`` and ``label_mean_iou`` (over the classes that occur) of a confusion matrix, in [0, 1].

    Both are NaN where nothing was counted.

    Examples
    --------
    >>> mask_quality(np.array([[3.0, 1.0], [0.0, 4.0]]))
    {'label_accuracy': 0.875, 'label_mean_iou': 0.775}
    """
    hits = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - hits
    if not union.any():
        return {"label_accuracy": np.nan, "label_mean_iou": np.nan}
    return {
        "label_accuracy": float(hits.sum() / confusion.sum()),
        "label_mean_iou": float((hits[union > 0] / union[union > 0]).mean()),
    }
