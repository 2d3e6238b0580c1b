"""Sequence labelling as a kind of labels: one class a token, sequences of lengths of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.given import checked_num_classes
from noisycorrect.labels.kind import KINDS
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.review.parts import LabelsOfParts
from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError

if TYPE_CHECKING:
    import h5py

IGNORED = -100  # PyTorch's ignore_index


class TokenLabels(LabelsOfParts):
    """One class a token.

    Parameters
    ----------
    given : sequence of array-like of int, shape (L_i,)
        0..`num_classes` - 1; -1 for a token whose label is unknown, -100 for one to ignore.
    num_classes : int
        K, at least 2.

    Raises
    ------
    InvalidInputError
        If a sequence is empty or holds another value; the message names it.

    Examples
    --------
    >>> TokenLabels([[0, 2, 1], [1, -100], [-1]], num_classes=3).labeled.tolist()
    [True, True, False]
    """

    name = parts = "tokens"
    predictions = "(n, K, L)"

    def __init__(self, given: Any, num_classes: int, *, frame: Any = None) -> None:
        sequences = self.checked(given, num_classes, "labels")
        self.flat, self.lengths = np.concatenate(sequences), np.array([len(each) for each in sequences])
        self._starts = np.cumsum(self.lengths) - self.lengths
        labeled = np.logical_or.reduceat(self.flat >= 0, self._starts)
        self._hold(labeled, num_classes, frame, given=self.flat, lengths=self.lengths)
        self.largest *= int(self.lengths.max())

    @classmethod
    def checked(cls, labels: Any, num_classes: int, name: str) -> list[np.ndarray]:
        """Return labels as a list of int64 arrays (L_i,), or raise an InvalidInputError."""
        checked_num_classes(num_classes)
        fix = f"pass classes in 0..{num_classes - 1} for each token, {IGNORED} for one to ignore"
        sequences = [as_array(each, name) for each in super().checked(labels, num_classes, name)]
        if not sequences:
            raise InvalidInputError(f"{name} of at least one sequence", got="none", fix=fix)
        for index, each in enumerate(sequences):
            if each.ndim != 1 or each.dtype.kind not in "iu" or not len(each):
                got = f"{each.dtype} of shape {each.shape} at index {index}"
                raise InvalidInputError(f"{name} to be sequences of whole numbers", got=got, fix=fix)
            wrong = each[((each < UNLABELED) | (each >= num_classes)) & (each != IGNORED)]
            if len(wrong):
                raise InvalidInputError(f"{name} in 0..{num_classes - 1}", got=f"{wrong[0]} at index {index}", fix=fix)
        return [each.astype(np.int64) for each in sequences]

    def tensor(self, rows: np.ndarray) -> Tensor:
        """Return given labels at positions (n,), int64 (n, L), -100 after the end of each; as long as the longest."""
        lengths = self.lengths[rows, None]
        places = np.arange(lengths.max(initial=1))
        index = np.minimum(self._starts[rows, None] + places, len(self.flat) - 1)
        return torch.from_numpy(np.where(places < lengths, self.flat[index], IGNORED))

    def split(self, values: Any, rows: np.ndarray) -> list[Any]:
        """Return (n, ..., L) as n arrays or tensors, each as long as its sequence."""
        return [each[..., :length] for each, length in zip(values, self.lengths[rows].tolist(), strict=True)]

    @classmethod
    def load(cls, file: h5py.File, num_classes: int, *, frame: Any = None) -> TokenLabels:
        """Read what :meth:`save` wrote."""
        return cls(np.split(file["given"][()], np.cumsum(file["lengths"][()])[:-1]), num_classes, frame=frame)

    def check_predictions(self, probs: Tensor) -> None:
        """Raise an InvalidInputError unless predictions are probabilities (n, K, L) as long as the longest sequence."""
        super().check_predictions(probs)
        if probs.shape[2] < (longest := self.lengths.max()):
            raise InvalidInputError(f"predictions of {longest} tokens", got=str(probs.shape[2]), fix="pad them to it")


KINDS.register(TokenLabels.name, TokenLabels)
