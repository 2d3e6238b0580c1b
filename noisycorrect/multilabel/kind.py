"""Multi-label: of K labels each is there or not."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.findings import LabelReview, NoiseCounts
from noisycorrect.labels.given import as_array, checked_num_classes
from noisycorrect.labels.kind import KINDS, EvidenceReader, LabelKind
from noisycorrect.labels.refine import check_probs
from noisycorrect.labels.trust import Trust
from noisycorrect.review.parts import counted_parts, most_doubtful
from noisycorrect.support.errors import InvalidInputError


def checked_entries(labels: Any, num_classes: int, name: str) -> np.ndarray:
    """Return labels as a new int64 array (N, K) of 0, 1 and -1, or raise an InvalidInputError.

    Examples
    --------
    >>> checked_entries([[1.0, 0.0]], 2, "labels")
    array([[1, 0]])
    """
    checked_num_classes(num_classes)
    array = as_array(labels, name)
    if array.ndim != 2 or array.shape[1] != num_classes or not len(array):
        fix = "pass a row of 0 and 1 for each sample, one column a label"
        raise InvalidInputError(f"{name} of shape (N, {num_classes})", got=f"shape {array.shape}", fix=fix)
    wrong = np.argwhere(~np.isin(array, (-1, 0, 1)))
    if len(wrong):
        row, column = wrong[0]
        got, fix = f"{array[row, column]} at index {row}, label {column}", "round probabilities at 0.5"
        raise InvalidInputError(f"{name} of 0 and 1 (or -1: unknown)", got=got, fix=fix)
    return array.astype(np.int64)


def two_classes(evidence: Tensor) -> Tensor:
    """Return evidence (n, K) as that of K labels of two classes, absent and present, (n, 2, K)."""
    return torch.stack([1 - evidence, evidence], 1)


def refined_entries(given: Tensor, evidence: Tensor | None, trust: Trust) -> Tensor:
    """Return trust x given + (1 - trust) x evidence; an unknown label is the evidence's, NaN while there is none.

    Parameters
    ----------
    given : Tensor, shape (N, K)
        0, 1, or -1 for unknown.
    evidence : Tensor, shape (N, K), floating, or None
        Probability of each label.
    trust : Trust
        Its floor holds for label k, whether it is given as there or not.

    Examples
    --------
    >>> trust = Trust(torch.tensor([0.75]))
    >>> refined_entries(torch.tensor([[1, 0, -1]]), torch.tensor([[0.5, 0.5, 0.5]]), trust)
    tensor([[0.8750, 0.1250, 0.5000]])
    """
    known = given >= 0
    if evidence is None:
        return torch.where(known, given.float(), torch.nan)
    weight = dataclasses.replace(trust, floor=None).of(given, two_classes(evidence))
    weight = weight.unsqueeze(1) if weight.dim() == 1 else weight
    weight = (weight if trust.floor is None else torch.maximum(weight, trust.floor)) * known
    return weight * given + (1 - weight) * evidence


class MultiLabels(LabelKind):
    """K labels a sample, each there or not.

    Parameters
    ----------
    given : array-like of numbers, shape (N, K)
        1 for a label that is there, 0 for one that is not, -1 where that is unknown.
    num_classes : int
        K, at least 2.
    frame : None
        There is none.

    Raises
    ------
    InvalidInputError
        If another value is among them, or the array has another shape or is empty.

    Examples
    --------
    >>> MultiLabels([[1, 0, 1], [-1, -1, -1]], num_classes=3).labeled.tolist()
    [True, False]
    """

    name = "multilabel"
    parts = "entries"
    stacked = True
    codecs = ("float32",)

    def __init__(self, given: Any, num_classes: int, *, frame: Any = None) -> None:
        self.frame = self.checked_frame(frame)
        self.array = checked_entries(given, num_classes, "labels")
        self.num_classes = int(num_classes)
        self.labeled = np.asarray((self.array >= 0).any(1))
        self.array.flags.writeable = self.labeled.flags.writeable = False
        digest = hashlib.sha256(f"{self.name} {self.array.shape}".encode())
        digest.update(self.array.tobytes())
        self.fingerprint = digest.hexdigest()

    @classmethod
    def checked_clean(cls, labels: Any, num_classes: int, length: int, name: str) -> np.ndarray:
        """Return clean labels as an int64 array (N, K), or raise an InvalidInputError."""
        array = checked_entries(labels, num_classes, name)
        super().checked_clean(array, num_classes, length, name)
        return array

    def save(self, file: h5py.File) -> None:
        """Write the labels as int8 data set ``given``."""
        file.create_dataset("given", data=self.array.astype(np.int8))

    @classmethod
    def load(cls, file: h5py.File, num_classes: int, *, frame: Any = None) -> MultiLabels:
        """Read what :meth:`save` wrote."""
        return cls(file["given"][()], num_classes, frame=frame)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return given labels, int64 (n, K)."""
        return np.take(self.array, rows, 0)

    @classmethod
    def no_label(cls, num_classes: int) -> np.ndarray:
        """Return K unknown labels."""
        return np.full(num_classes, -1)

    def learnt(self, rows: np.ndarray, *, evidence: bool) -> int:
        """Return how many labels are known; all of them once there is evidence."""
        return len(rows) * self.num_classes if evidence else int((self.array[rows] >= 0).sum())

    def check_predictions(self, probs: Tensor) -> None:
        """Raise an InvalidInputError unless predictions are finite, in [0, 1], and of shape (n, K)."""
        check_probs(probs, self.num_classes, independent=True)
        self.check_dimensions(probs)

    def refined(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> Tensor:
        """Return the probability of each label, float32 (n, K); see :func:`refined_entries`."""
        given = torch.from_numpy(self.array[rows])
        return refined_entries(given, None if evidence is None else evidence(rows), trust)

    def labels(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> np.ndarray:
        """Return which labels are there, int64 (n, K); -1 where that is unknown before the first generation."""
        refined = self.refined(rows, evidence, trust)
        return torch.where(refined.isnan(), -1, (refined > 0.5).long()).numpy()

    def review(self, rows: np.ndarray, evidence: Tensor, score: str) -> LabelReview:
        """Return what the evidence says of some samples.

        Named are the numbers of labels: given k and suggested -1 says that the most doubtful label is k, which is given
        and which the evidence denies; given -1 and suggested k that k is missing.
        """
        given = torch.from_numpy(self.array[rows])
        place, classes, quality, share = most_doubtful(given, two_classes(evidence), score)
        found, suggested = torch.where(classes == 1, place, -1).numpy()
        return LabelReview(rows, found, suggested, quality, share, share > 0)

    def noise(self, evidence: EvidenceReader, earlier: EvidenceReader | None) -> NoiseCounts:
        """Return how the entries of given labels and evidence differ: absent and present, over all labels."""
        blocks = ((torch.from_numpy(self.array[rows]), two_classes(own)) for rows, own in self.labeled_blocks(evidence))
        counts = counted_parts(blocks, 2, int(self.labeled.sum()), self.parts)
        return dataclasses.replace(counts, names=("absent", "present"))


KINDS.register(MultiLabels.name, MultiLabels)
