"""Composing a refined mask from a crisp given mask and smooth evidence at lower resolution."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.refine import blend, most_probable, one_hot
from noisycorrect.labels.trust import Trust
from noisycorrect_seg.geometry.coupling import area_means, axes_of, composed, coupled, own_share
from noisycorrect_seg.geometry.frame import Size, letterbox
from noisycorrect_seg.masks import ignored_by, mask_dtype

VALUES_AT_ONCE = 2**21  # 8 MB of float32: stays in the cache, whatever the size of the mask


def refined_mask(
    given: np.ndarray,
    evidence: Tensor | None,
    trust: Trust,
    num_classes: int,
    *,
    frame: Size | None = None,
) -> Tensor:
    """Return the refined mask of one sample: SCHP's Eq. 7 pixel by pixel, or by the coupling of mask and evidence.

    With ``trust.coupled`` the mask keeps its own detail where it agrees with the evidence at the evidence's resolution;
    see :mod:`noisycorrect_seg.geometry.coupling`.

    Parameters
    ----------
    given : ndarray, shape (H, W), uint8 or uint16
        Given mask, the dtype's largest number = ignored; shape (0, 0) for a sample without one.
    evidence : Tensor, shape (K, h, w), or None
        Mean prediction; brought onto the mask by :func:`evidence_on_mask`. None before the first generation.
    trust : Trust
        In the one given mask.
    num_classes : int
        K.
    frame : (int, int), optional
        See :func:`evidence_on_mask`.

    Returns
    -------
    Tensor, shape (K, H, W), float32
        Zero at ignored pixels, and everywhere if there is neither mask nor evidence.

    Examples
    --------
    >>> given = np.array([[0, 1, 255]], np.uint8)
    >>> refined_mask(given, torch.full((2, 1, 1), 0.5), Trust(torch.tensor([0.5])), num_classes=2)[1]
    tensor([[0.2500, 0.7500, 0.0000]])
    """
    if not given.size:
        return (
            torch.zeros(num_classes, 0, 0, dtype=torch.float32) if evidence is None else trust.scaled(evidence[None])[0]
        )
    labels = torch.from_numpy(given.astype(np.int64))[None]
    if evidence is None:
        return one_hot(labels, num_classes).permute(0, 3, 1, 2)[0]
    return _Composer(given, evidence, trust, frame).rows(slice(0, len(given)))[0]


def refined_labels(
    given: np.ndarray,
    evidence: Tensor | None,
    trust: Trust,
    *,
    frame: Size | None = None,
) -> np.ndarray:
    """Return the most probable class of each pixel of :func:`refined_mask`, without making all of it.

    Of equally probable classes it is the given one.

    Parameters
    ----------
    given, evidence, trust, frame
        As for :func:`refined_mask`.

    Returns
    -------
    ndarray, shape (H, W), uint8 or uint16
        Ignored pixels stay so. Of a sample without a mask: the evidence's own size.

    Examples
    --------
    >>> given = np.array([[0, 1, 255]], np.uint8)
    >>> refined_labels(given, torch.tensor([[[0.1]], [[0.9]]]), Trust(torch.tensor([0.25]))).tolist()
    [[1, 1, 255]]
    """
    if evidence is None:
        return given.copy()
    if not given.size:
        return trust.scaled(evidence[None])[0].argmax(0).numpy().astype(mask_dtype(len(evidence)))
    labels = given.copy()
    step = max(1, VALUES_AT_ONCE // (len(evidence) * given.shape[1]))
    composer = _Composer(given, evidence, trust, frame)
    doubted = composer.doubted_rows()
    for start in range(doubted.start, doubted.stop, step):
        rows = slice(start, min(start + step, doubted.stop))
        own = torch.from_numpy(given[rows].astype(np.int64))[None]
        labels[rows] = most_probable(composer.rows(rows), own)[0].numpy()
    nothing = ignored_by(given)
    labels[given == nothing] = nothing
    return labels


class _Composer:
    """Refines a mask some rows at a time, by SCHP's Eq. 7 or by the coupling of mask and evidence."""

    def __init__(self, given: np.ndarray, evidence: Tensor, trust: Trust, frame: Size | None) -> None:
        evidence = trust.scaled(evidence[None])[0]
        self.given, self.evidence, self.trust, self.frame = given, evidence, trust, frame
        if trust.coupled:
            self.axes = axes_of(given.shape, (evidence.shape[1], evidence.shape[2]), frame)
            labels = torch.from_numpy(given.astype(np.int64))[None]
            self.coupling = coupled(area_means(labels, self.axes, len(evidence)), evidence[None])

    def doubted_rows(self) -> range:
        """Return the rows of the mask from the first to the last in which a label weighs less than 1."""
        trust = self.trust
        if trust.rule is not None or trust.parts is None or not bool((trust.weight == 1).all()):
            return range(len(self.given))
        found = (self._on_mask(trust.parts, slice(None))[0, 0] < 1).any(1).nonzero().flatten()
        return range(int(found[0]), int(found[-1]) + 1) if len(found) else range(0)

    def rows(self, rows: slice) -> Tensor:
        """Return refined labels of some rows of the mask, float32 (1, K, rows, W)."""
        labels = torch.from_numpy(self.given[rows].astype(np.int64))[None]
        if not self.trust.coupled or self.trust.rule is not None:
            evidence = self._on_mask(self.evidence, rows)
        trust = self.trust
        if trust.parts is not None:
            trust = dataclasses.replace(trust, parts=self._on_mask(trust.parts, rows)[0])
        weight = trust.of(labels, None if trust.rule is None else evidence)
        if not trust.coupled:
            return blend(labels, evidence, weight)
        own = own_share(labels, self.coupling, (self.axes[0].some(rows), self.axes[1]))
        return composed(labels, own, self._on_mask(self.coupling.excess[0], rows), weight)

    def _on_mask(self, maps: Tensor, rows: slice) -> Tensor:
        return evidence_on_mask(maps, self.given.shape, self.frame, rows)[None]


def evidence_on_mask(evidence: Tensor, shape: tuple[int, ...], frame: Size | None, rows: slice = slice(None)) -> Tensor:
    """Return evidence resampled to the pixels of a mask, bilinear, corners aligned.

    Parameters
    ----------
    evidence : Tensor, shape (K, h, w)
        Evidence over the canonical frame, corner to corner.
    shape : (int, int)
        Height and width of the mask.
    frame : (int, int) or None
        Height and width of the canonical frame, which holds the mask in its middle; None: the mask is the frame.
    rows : slice
        Which rows of the mask. Default: all.

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
    # One zoom and one shift an axis: rows are interpolated first, then columns.
    matrix = np.eye(2, 3) if frame is None else letterbox((shape[0], shape[1]), frame)
    for axis, (side, cells, picked) in enumerate(zip(shape, evidence.shape[1:], (rows, slice(None)), strict=True)):
        if frame is None:
            at = np.linspace(0, cells - 1, side)
        else:
            row = 1 - axis  # the matrix has x first
            at = (matrix[row, row] * np.arange(side) + matrix[row, 2]) * (cells - 1) / (frame[axis] - 1)
        evidence = _interpolated(evidence, 1 + axis, at[picked].clip(0, cells - 1))
    return evidence


def _interpolated(values: Tensor, axis: int, at: np.ndarray) -> Tensor:
    """Return values at fractional positions along an axis, linearly."""
    low = np.minimum(at.astype(int), max(values.shape[axis] - 2, 0))
    high = np.minimum(low + 1, values.shape[axis] - 1)
    weight = torch.from_numpy((at - low).astype(np.float32)).reshape(-1, *[1] * (values.dim() - 1 - axis))
    first = values.index_select(axis, torch.from_numpy(low))
    return first.lerp_(values.index_select(axis, torch.from_numpy(high)), weight)


def given_on_evidence(given: np.ndarray, shape: tuple[int, ...], frame: Size | None) -> np.ndarray:
    """Return a given mask at the positions of its evidence, nearest pixel; the inverse of :func:`evidence_on_mask`.

    Parameters
    ----------
    given : ndarray, shape (H, W), uint8 or uint16
        Given mask; shape (0, 0) for a sample without one.
    shape : (int, int)
        Height and width of the evidence.
    frame : (int, int) or None
        See :func:`evidence_on_mask`.

    Returns
    -------
    ndarray, shape (h, w), of the mask's dtype
        Its largest number where the mask ignores, and outside of it.

    Examples
    --------
    >>> given_on_evidence(np.array([[1, 2, 0]], np.uint8), (3, 3), (3, 3)).tolist()
    [[255, 255, 255], [1, 2, 0], [255, 255, 255]]
    """
    if not given.size:
        return np.full(shape, ignored_by(given), given.dtype)
    # One zoom and one shift an axis: rows and columns are looked up apart.
    sides = given.shape[:2]
    matrix = np.eye(2, 3) if frame is None else letterbox((sides[0], sides[1]), frame)
    picks = []
    for axis, (cells, side) in enumerate(zip(shape, sides, strict=True)):
        span = (side if frame is None else frame[axis]) - 1
        row = 1 - axis  # the matrix has x first
        places = np.linspace(0, span, cells) if cells > 1 else np.array([span / 2])
        at = (places - matrix[row, 2]) / matrix[row, row]
        nearest = np.floor(at + 0.5).astype(int)
        picks.append(np.where((nearest >= 0) & (nearest < side), nearest, -1))
    rows, columns = picks
    found: np.ndarray = given[np.ix_(rows.clip(0), columns.clip(0))]
    return np.where((rows[:, None] < 0) | (columns[None, :] < 0), given.dtype.type(ignored_by(given)), found)
