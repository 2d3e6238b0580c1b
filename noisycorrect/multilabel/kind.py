"""Multi-label: of K labels each is there or not."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.given import checked_num_classes
from noisycorrect.labels.kind import KINDS, EvidenceReader
from noisycorrect.labels.trust import Trust
from noisycorrect.review.parts import LabelsOfParts
from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError


class MultiLabels(LabelsOfParts):
    """K labels a sample, each there or not.

    Parameters
    ----------
    given : array-like of numbers, shape (N, K)
        1 for a label that is there, 0 for one that is not, -1 where that is unknown.
    num_classes : int
        K, at least 2.

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
    names = ("absent", "present")
    stacked = independent = True
    codecs = ("float32",)

    @classmethod
    def checked(cls, labels: Any, num_classes: int, name: str) -> np.ndarray:
        """Return labels as a new int64 array (N, K) of 0, 1 and -1, or raise an InvalidInputError."""
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

    @classmethod
    def no_label(cls, num_classes: int) -> np.ndarray:
        """Return K unknown labels."""
        return np.full(num_classes, -1)

    @classmethod
    def compose(cls, given: Tensor, evidence: Tensor | None, trust: Trust, num_classes: int) -> Tensor:
        """Return the probability of each label (n, K): the evidence's if it is unknown, NaN while there is none.

        The floor of a trust holds for label k, whether it is given as there or not.

        Examples
        --------
        >>> given, trust = torch.tensor([[1, 0, -1]]), Trust(torch.tensor([0.75]))
        >>> MultiLabels.compose(given, torch.tensor([[0.5, 0.5, 0.5]]), trust, num_classes=3)
        tensor([[0.8750, 0.1250, 0.5000]])
        """
        known = given >= 0
        if evidence is None:
            return torch.where(known, given.float(), torch.nan)
        weight = dataclasses.replace(trust, floor=None).of(given, torch.stack([1 - evidence, evidence], 1))
        weight = weight.unsqueeze(1) if weight.dim() == 1 else weight
        weight = (weight if trust.floor is None else torch.maximum(weight, trust.floor)) * known
        return weight * given + (1 - weight) * evidence

    def labels(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> np.ndarray:
        """Return which labels are there, int64 (n, K); -1 where that is unknown before the first generation.

        One that is there as probably as not is as given.
        """
        given, refined = self._composed(rows, evidence, trust)
        there = (refined > 0.5) | ((refined == 0.5) & (given > 0))
        return torch.where(refined.isnan(), -1, there.long()).numpy()

    def beside(self, rows: np.ndarray, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """Return given labels, int64 (n, K), and evidence of their absence and presence, (n, 2, K)."""
        return self.tensor(rows), torch.stack([1 - evidence, evidence], 1)

    def named(self, place: Tensor, classes: Tensor) -> Tensor:
        """Return label k and -1 where k is given and the evidence denies it; -1 and k where k is missing."""
        return torch.where(classes == 1, place, -1)


KINDS.register(MultiLabels.name, MultiLabels)
