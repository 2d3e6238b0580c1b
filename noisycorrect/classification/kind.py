"""Class labels: one class a sample."""

from __future__ import annotations

import hashlib
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.findings import LabelReview, NoiseCounts
from noisycorrect.labels.given import checked_labels
from noisycorrect.labels.kind import KINDS, EvidenceReader, LabelKind
from noisycorrect.labels.refine import UNLABELED, blend, one_hot
from noisycorrect.labels.trust import Trust
from noisycorrect.review.issues import label_quality
from noisycorrect.review.noise_rate import contradicted_rate, counted


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

    def __init__(self, given: Any, num_classes: int, *, frame: Any = None) -> None:
        self.frame = self.checked_frame(frame)
        self.array: np.ndarray = checked_labels(given, num_classes).copy()
        self.array.flags.writeable = False
        self.num_classes = int(num_classes)
        self.labeled = self.array != UNLABELED
        self.labeled.flags.writeable = False
        digest = hashlib.sha256(f"{self.name} {len(self.array)} {num_classes}".encode())
        digest.update(self.array.tobytes())
        self.fingerprint = digest.hexdigest()

    def save(self, file: h5py.File) -> None:
        """Write the labels as int64 data set ``given``."""
        file.create_dataset("given", data=self.array)

    @classmethod
    def load(cls, file: h5py.File, num_classes: int, *, frame: Any = None) -> ClassLabels:
        """Read what :meth:`save` wrote."""
        return cls(file["given"][()], num_classes, frame=frame)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return given labels, int64 (n,)."""
        return np.take(self.array, rows)

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
        return torch.zeros(count, self.num_classes)

    def refined(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> Tensor:
        """Return refined labels, float32 (n, K); zero for an unlabelled sample before the first generation."""
        given = torch.from_numpy(self.array[rows])
        probs = self.first_evidence(len(rows)) if evidence is None else evidence(rows)
        return blend(one_hot(given, self.num_classes), probs, trust.of(given, probs))

    @classmethod
    def checked_clean(cls, labels: Any, num_classes: int, length: int, name: str) -> np.ndarray:
        """Return clean labels as an int64 array (N,), or raise an InvalidInputError."""
        array = checked_labels(labels, num_classes, name=name)
        super().checked_clean(array, num_classes, length, name)
        return array

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
        given = self.array[rows]
        rates = [contradicted_rate(given, read(rows).numpy()) for read in (earlier, evidence) if read is not None]
        return counted(given, evidence(rows).numpy().astype(np.float64), rates=tuple(rates))


KINDS.register(ClassLabels.name, ClassLabels)
