"""Labels of many parts (pixels, tokens, entries) beside the evidence: how many differ, and which is most doubtful."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.findings import LabelReview, NoiseCounts
from noisycorrect.labels.kind import EvidenceReader, LabelKind
from noisycorrect.labels.refine import within
from noisycorrect.review.intervals import SpreadOverSamples
from noisycorrect.review.issues import label_quality
from noisycorrect.support.errors import InvalidInputError

COUNTS_AT_ONCE = 2**21  # 16 MB of int64


def counted_parts(blocks: Iterable[tuple[Tensor, Tensor]], num_classes: int, parts: str) -> NoiseCounts:
    """Return how the parts of given labels and evidence differ over a whole set.

    The parts of one sample are alike, so sampling error is that of whole samples
    (:class:`~noisycorrect.review.intervals.SpreadOverSamples`). There is no reading by ``likelihood``, whose model of
    the noise is one of independent labels.

    Parameters
    ----------
    blocks : iterable of (Tensor, Tensor)
        Given labels, int64 (n, ...), in which anything but 0..K-1 is left out, and evidence about them, (n, K, ...).
    num_classes : int
        K.
    parts : str
        What messages call the parts.

    Raises
    ------
    InvalidInputError
        If no part is labelled.

    Examples
    --------
    >>> evidence = torch.tensor([[[0.9, 0.2, 0.2], [0.1, 0.8, 0.8]]])
    >>> counted_parts([(torch.tensor([[0, 0, -1]]), evidence)], 2, "tokens").joint
    array([[1., 1.],
           [0., 0.]])
    """
    cells = num_classes**2
    spread = SpreadOverSamples(num_classes)
    own, certain = np.zeros(num_classes), 0.0
    for given, evidence in blocks:
        known = (given >= 0) & (given < num_classes)
        quality = evidence.gather(1, (given * known).unsqueeze(1)).squeeze(1)[known].double()
        own += torch.bincount(given[known], weights=quality, minlength=num_classes).numpy()
        certain += float(evidence.amax(1)[known].double().sum())
        pairs = torch.where(known, given * num_classes + evidence.argmax(1), cells).flatten(1)
        for some in torch.split(pairs, max(1, COUNTS_AT_ONCE // (cells + 1))):
            spread.add(_counts(some, cells).reshape(-1, num_classes, num_classes))
    if not spread.joint.any():
        raise InvalidInputError(f"labelled {parts}", got="none", fix=f"pass labels that say something of their {parts}")
    certainty = certain / float(spread.joint.sum())
    return NoiseCounts(spread.joint, own, certainty, spread.holders, errors=spread.errors())


def _counts(cells: Tensor, number: int) -> np.ndarray:
    """Return how often each of so many cells occurs in each row, int64 (n, number); the cell after them is none."""
    rows = torch.arange(len(cells)).unsqueeze(1) * (number + 1)
    counts = torch.bincount((rows + cells).flatten(), minlength=len(cells) * (number + 1))
    return counts.reshape(len(cells), -1)[:, :number].numpy()


def most_doubtful(given: Tensor, evidence: Tensor, score: str) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
    """Return the most doubtful part of each label and its classes, the label's quality, and what is contradicted of it.

    The quality of a label is that of its worst part (Wang & Mueller 2022, "Detecting Label Errors in Token
    Classification Data", worst-token score).

    Parameters
    ----------
    given : Tensor, shape (N, P), int64
        Anything but 0..K-1 is no label.
    evidence : Tensor, shape (N, K, P)
        In [0, 1].
    score : str
        See :func:`~noisycorrect.review.issues.label_quality`.

    Returns
    -------
    place : Tensor, shape (N,), int64
        The part of least quality, among the contradicted ones if there are any.
    classes : Tensor, shape (2, N), int64
        Its given class, and the most probable one.
    quality : ndarray of float32, shape (N,)
        In [0, 1].
    share : ndarray of float64, shape (N,)
        Share of the labelled parts that the evidence gives another class.

    Examples
    --------
    >>> evidence = torch.tensor([[[0.6, 0.1], [0.4, 0.9]]])
    >>> place, classes, quality, share = most_doubtful(torch.tensor([[0, 0]]), evidence, "self-confidence")
    >>> place.tolist(), classes.tolist(), share.tolist()
    ([1], [[0], [1]], [0.5])
    """
    known = (given >= 0) & (given < evidence.shape[1])
    quality = label_quality(given, evidence, score=score)
    suggested = evidence.argmax(1)
    wrong = known & (suggested != given)
    share = wrong.sum(1).double() / known.sum(1).clamp(min=1)
    place = (quality - 2 * wrong.float() + 2 * (~known).float()).argmin(1)
    classes = torch.stack([given, suggested]).gather(2, place.expand(2, -1).unsqueeze(2)).squeeze(2)
    return place, classes, quality.amin(1).float().numpy(), share.numpy()


class LabelsOfParts(LabelKind):
    """A kind whose labels consist of many parts, each of one class: how they are reviewed and their noise is counted.

    Attributes
    ----------
    names : tuple of str
        What messages call the classes of a part, if these are not the K classes of the kind.
    """

    parts: ClassVar[str]
    names: ClassVar[tuple[str, ...]] = ()

    def beside(self, rows: np.ndarray, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """Return given labels and evidence (n, K, ...) about them, part by part; here it ends where padded labels do.

        Returns
        -------
        given : Tensor, shape (n, ...), int64
            Class of each part; anything but a class is no label.
        evidence : Tensor, shape (n, classes of a part, ...)
            In [0, 1].
        """
        given = self.tensor(rows)
        return given, within(evidence, given)

    def review(self, rows: np.ndarray, evidence: Tensor, score: str) -> LabelReview:
        """Return what the evidence says of some labels, each named by its most doubtful part."""
        place, classes, quality, share = most_doubtful(*self.beside(rows, evidence), score)
        given, suggested = self.named(place, classes).numpy()
        return LabelReview(rows, given, suggested, quality, share, share > 0)

    def named(self, place: Tensor, classes: Tensor) -> Tensor:
        """Return what a review names, (2, n), of the most doubtful part (n,) and its given and most probable class."""
        return classes

    def noise(self, evidence: EvidenceReader, earlier: EvidenceReader | None) -> NoiseCounts:
        """Return how the parts of given labels and evidence differ; the generation before is left out."""
        blocks = (self.beside(rows, own) for rows, own in self.labeled_blocks(evidence))
        classes = len(self.names) or self.num_classes
        counts = counted_parts(blocks, classes, self.parts)
        return dataclasses.replace(counts, names=self.names)
