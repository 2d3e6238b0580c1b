"""Sequence labelling as a kind of labels: one class a token, sequences of lengths of their own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.findings import LabelReview, NoiseCounts
from noisycorrect.labels.given import as_array, checked_num_classes
from noisycorrect.labels.kind import KINDS, EvidenceReader, LabelKind, LabelReader
from noisycorrect.labels.refine import UNLABELED, blend_classes
from noisycorrect.labels.trust import Trust
from noisycorrect.review.parts import counted_parts, most_doubtful
from noisycorrect.support.errors import InvalidInputError

IGNORED = -100  # PyTorch's ignore_index


def checked_sequences(labels: Any, num_classes: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as one int64 array (P,), and the length of each sequence, or raise an InvalidInputError.

    Examples
    --------
    >>> checked_sequences([[0, 1], [-100]], 2, "labels")
    (array([   0,    1, -100]), array([2, 1]))
    """
    checked_num_classes(num_classes)
    fix = f"pass classes in 0..{num_classes - 1} for each token, {IGNORED} for one to ignore"
    if not hasattr(labels, "__len__") or not len(labels):
        raise InvalidInputError(f"{name} of at least one sequence", got=type(labels).__name__, fix=fix)
    sequences = [as_array(each, name) for each in labels]
    for index, each in enumerate(sequences):
        if each.ndim != 1 or each.dtype.kind not in "iu" or not len(each):
            got = f"{each.dtype} of shape {each.shape} at index {index}"
            raise InvalidInputError(f"{name} to be sequences of whole numbers", got=got, fix=fix)
    flat, lengths = np.concatenate(sequences).astype(np.int64), np.array([len(each) for each in sequences])
    wrong = np.flatnonzero(((flat < UNLABELED) | (flat >= num_classes)) & (flat != IGNORED))
    if len(wrong):
        got = f"{flat[wrong[0]]} at index {np.searchsorted(np.cumsum(lengths), wrong[0], 'right')}"
        raise InvalidInputError(f"{name} in 0..{num_classes - 1}", got=got, fix=fix)
    return flat, lengths


def refined_tokens(given: Tensor, evidence: Tensor, trust: Trust) -> Tensor:
    """Return trust x given + (1 - trust) x evidence, float (N, K, L), of padded labels.

    Parameters
    ----------
    given : Tensor, shape (N, L), int64
        0..K-1; -1 for an unknown token, which has the evidence alone, and -100 for an ignored one: zeros.
    evidence : Tensor, shape (N, K, L), floating
        Zeros before the first generation.
    trust : Trust
        In the labels of each sequence.

    Examples
    --------
    >>> refined_tokens(torch.tensor([[0, -1, -100]]), torch.full((1, 2, 3), 0.5), Trust(torch.tensor([0.5])))
    tensor([[[0.7500, 0.5000, 0.0000],
             [0.2500, 0.5000, 0.0000]]])
    """
    blended = blend_classes(given, evidence, trust.of(given, evidence))
    return torch.where((given == UNLABELED).unsqueeze(1), evidence, blended)


class TokenLabels(LabelKind):
    """One class a token.

    Parameters
    ----------
    given : sequence of array-like of int, shape (L_i,)
        0..`num_classes` - 1; -1 for a token whose label is unknown, -100 for one to ignore.
    num_classes : int
        K, at least 2.
    frame : None
        There is none.

    Raises
    ------
    InvalidInputError
        If a sequence is empty or holds another value; the message names it.

    Examples
    --------
    >>> labels = TokenLabels([[0, 2, 1], [1, -100], [-1]], num_classes=3)
    >>> labels.lengths.tolist(), labels.labeled.tolist()
    ([3, 2, 1], [True, True, False])
    """

    name = "tokens"
    predictions = "(n, K, L)"
    parts = "tokens"

    def __init__(self, given: Any, num_classes: int, *, frame: Any = None) -> None:
        self.frame = self.checked_frame(frame)
        self.flat, self.lengths = checked_sequences(given, num_classes, "labels")
        self._starts = np.cumsum(self.lengths) - self.lengths
        self.num_classes = int(num_classes)
        self.labeled = np.logical_or.reduceat(self.flat >= 0, self._starts)
        self.labeled.flags.writeable = False
        digest = hashlib.sha256(f"{self.name} {num_classes}".encode())
        digest.update(self.lengths.tobytes() + self.flat.tobytes())
        self.fingerprint = digest.hexdigest()

    @classmethod
    def checked_clean(cls, labels: Any, num_classes: int, length: int, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return clean labels as one int64 array and their lengths, or raise an InvalidInputError."""
        return checked_sequences(super().checked_clean(labels, num_classes, length, name), num_classes, name)

    def _split(self, values: Any, rows: np.ndarray) -> list[Any]:
        """Return (n, ..., L) as n arrays or tensors, each as long as its sequence."""
        return [each[..., :length] for each, length in zip(values, self.lengths[rows].tolist(), strict=True)]

    def padded(self, rows: np.ndarray, length: int | None = None) -> Tensor:
        """Return given labels at positions (n,), int64 (n, L), -100 after the end of each; as long as the longest."""
        lengths = self.lengths[rows]
        places = np.arange(lengths.max(initial=1) if length is None else length)
        index = self._starts[rows][:, None] + places
        inside = places < lengths[:, None]
        return torch.from_numpy(np.where(inside, self.flat[np.where(inside, index, 0)], IGNORED))

    def save(self, file: h5py.File) -> None:
        """Write the labels one sequence after the other, with their lengths."""
        file.create_dataset("given", data=self.flat)
        file.create_dataset("lengths", data=self.lengths)

    @classmethod
    def load(cls, file: h5py.File, num_classes: int, *, frame: Any = None) -> TokenLabels:
        """Read what :meth:`save` wrote."""
        sequences = np.split(file["given"][()], np.cumsum(file["lengths"][()])[:-1])
        return cls(sequences, num_classes, frame=frame)

    def take(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return given labels, int64 (L_i,)."""
        return self._split(self.padded(rows).numpy(), rows)

    def learnt(self, rows: np.ndarray, *, evidence: bool) -> int:
        """Return how many tokens are known; all that are not ignored once there is evidence."""
        return int((self.padded(rows) >= (UNLABELED if evidence else 0)).sum())

    def check_predictions(self, probs: Tensor) -> None:
        """Raise an InvalidInputError unless predictions are probabilities (n, K, L) as long as the longest sequence."""
        super().check_predictions(probs)
        if probs.shape[2] < (longest := self.lengths.max()):
            fix = "pad predictions to the longest sequence, with any probabilities"
            raise InvalidInputError(f"predictions of {longest} tokens", got=str(probs.shape[2]), fix=fix)

    def _composed(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> tuple[Tensor, Tensor]:
        given = self.padded(rows)
        probs = torch.zeros(len(rows), self.num_classes, given.shape[1]) if evidence is None else evidence(rows)
        return given, refined_tokens(given, probs[..., : given.shape[1]], trust)

    def refined(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> list[Tensor]:
        """Return refined labels, float32 (K, L_i); see :func:`refined_tokens`."""
        return self._split(self._composed(rows, evidence, trust)[1], rows)

    def labels(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> list[np.ndarray]:
        """Return the most probable class of each token, int64 (L_i,); -1 where nothing is known, -100 where ignored."""
        given, refined = self._composed(rows, evidence, trust)
        return self._split(torch.where(refined.sum(1) > 0, refined.argmax(1), given).numpy(), rows)

    @property
    def largest(self) -> int:
        """How many values the refined labels of the longest sequence have."""
        return self.num_classes * int(self.lengths.max())

    def quality(self, labels: LabelReader, clean: Any) -> dict[str, float]:
        """Return ``label_accuracy``, the share of tokens that are labelled as in `clean`; ignored ones left out."""
        truth, lengths = clean
        if not np.array_equal(lengths, self.lengths):
            index = int(np.flatnonzero(lengths != self.lengths)[0])
            expected, got = f"{self.lengths[index]} clean labels at index {index}", str(lengths[index])
            raise InvalidInputError(expected, got=got, fix=f"pass a class, or {IGNORED}, for each token")
        found = np.concatenate([each for rows in self.blocks() for each in labels(rows)])
        known = (truth >= 0) & (self.flat != IGNORED)
        return {"label_accuracy": float((found == truth)[known].mean()) if known.any() else float("nan")}

    def review(self, rows: np.ndarray, evidence: Tensor, score: str) -> LabelReview:
        """Return what the evidence says of some sequences; the pair of classes is that of the most doubtful token."""
        given = self.padded(rows, evidence.shape[2])
        _, classes, quality, share = most_doubtful(given, evidence, score)
        found, suggested = classes.numpy()
        return LabelReview(rows, found, suggested, quality, share, share > 0)

    def noise(self, evidence: EvidenceReader, earlier: EvidenceReader | None) -> NoiseCounts:
        """Return how the tokens of given labels and evidence differ."""
        blocks = ((self.padded(rows, own.shape[2]), own) for rows, own in self.labeled_blocks(evidence))
        return counted_parts(blocks, self.num_classes, int(self.labeled.sum()), self.parts)

    def export(self, folder: Path, labels: LabelReader, refined: LabelReader | None) -> int:
        """Write ``labels.npy``, the classes of one sequence after the other, ``lengths.npy``, and ``probs.npy`` (P, K).

        ``np.split(labels, lengths.cumsum()[:-1])`` takes the sequences apart.
        """
        np.save(folder / "labels.npy", np.concatenate([each for rows in self.blocks() for each in labels(rows)]))
        np.save(folder / "lengths.npy", self.lengths)
        if refined is not None:
            probs = [each.T for rows in self.blocks() for each in refined(rows)]
            np.save(folder / "probs.npy", torch.cat(probs).numpy())
        return len(self)


KINDS.register(TokenLabels.name, TokenLabels)
