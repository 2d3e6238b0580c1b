"""Class labels: one class a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.findings import LabelReview, NoiseCounts
from noisycorrect.labels.given import checked_labels
from noisycorrect.labels.kind import KINDS, EvidenceReader, LabelKind
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.review.counting import Beside, counted, likely_rate
from noisycorrect.review.issues import label_quality


class ClassLabels(LabelKind):
    """One class a sample.

    Parameters
    ----------
    given : array-like of int, shape (N,)
        0..`num_classes` - 1, or -1 for a sample without a label.
    num_classes : int
        K, at least 2.
    frame : None
        Class labels have none.

    Raises
    ------
    InvalidInputError
        If the labels are no whole numbers in range, the array is not one-dimensional, or it is empty.

    Examples
    --------
    >>> labels = ClassLabels([0, 2, -1], num_classes=3)
    >>> labels.labeled.tolist()
    [True, True, False]
    """

    name = "classification"
    stacked = True

    @classmethod
    def checked(cls, labels: Any, num_classes: int, name: str) -> np.ndarray:
        """Return labels as a new int64 array (N,), or raise an InvalidInputError."""
        return checked_labels(labels, num_classes, name=name)

    @property
    def class_indices(self) -> np.ndarray:
        """All given labels, int64 (N,), read-only; -1 for none."""
        return self.array

    @classmethod
    def no_label(cls, num_classes: int) -> int:
        """Return -1."""
        return UNLABELED

    def first_evidence(self, count: int) -> Tensor:
        """Return zeros (n, K)."""
        return torch.zeros(count, self.num_classes, dtype=torch.float32)

    def review(self, rows: np.ndarray, evidence: Tensor, score: str) -> LabelReview:
        """Return what the evidence says of some labelled samples."""
        given, suggested = self.array[rows], evidence.argmax(1).numpy()
        quality = label_quality(torch.from_numpy(given), evidence, score=score).numpy()
        contradicted = suggested != given
        return LabelReview(rows, given, suggested, quality, contradicted.astype(np.float64), contradicted)

    def noise(self, evidence: EvidenceReader, earlier: EvidenceReader | None) -> NoiseCounts:
        """Return how given labels and evidence differ.

        The interval also reaches to the rate of the generation before: one that still falls is a model that memorises,
        one that still rises a model that learns.
        """
        rows = np.flatnonzero(self.labeled)
        likelihood = likely_rate(self.array[rows], lambda some: evidence(rows[some]).numpy(), self.num_classes)
        return counted(self._beside(evidence), likelihood, None if earlier is None else self._beside(earlier))

    def _beside(self, evidence: EvidenceReader) -> Beside:
        """Return the given labels beside the evidence about them, read some at a time."""
        blocks = ((self.array[rows], probs.numpy()) for rows, probs in self.labeled_blocks(evidence))
        return Beside.joined(blocks, self.num_classes)


KINDS.register(ClassLabels.name, ClassLabels)
