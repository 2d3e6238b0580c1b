"""Correction by evidence that is there before training begins: of features, of votes, of another model."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.correction.in_training import EvidenceInTraining
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.labels.trust import Trust
from noisycorrect.support.errors import InvalidInputError


class KnownEvidence(EvidenceInTraining):
    """Refined labels from known probabilities: they are what is learnt, from the first step on, and what is published.

    The given labels have their part in the probabilities, or none: they have no trust here.

    Parameters
    ----------
    probs : array-like, shape (N, K)
        Class probabilities of the training samples, in order: what is published.
    targets : array-like, shape (N, K), optional
        What is learnt. Default: `probs`.
    held_out : array-like of bool, shape (N,), optional
        Which given labels the probabilities have not seen. Default: none.
    input_dropout, keep : float, int or None
        See :class:`~noisycorrect.OnlineCorrection`.

    Raises
    ------
    InvalidInputError
        If the rows are no probabilities; when a run starts, if samples or classes are not equally many.

    Examples
    --------
    >>> KnownEvidence([[0.9, 0.1], [0.2, 0.8]]).identity()["name"]
    'KnownEvidence'
    """

    begin = 0.0

    def __init__(
        self, probs: Any, *, targets: Any = None, held_out: Any = None, input_dropout: float = 0.0, keep: int | None = 2
    ) -> None:
        super().__init__(momentum=0.0, trust="none", input_dropout=input_dropout, keep=keep)
        self.probs = _checked(probs)
        self.targets = self.probs if targets is None else _checked(targets)
        if self.targets.shape != self.probs.shape:
            got = f"{tuple(self.targets.shape)}"
            raise InvalidInputError(f"targets of shape {tuple(self.probs.shape)}", got=got, fix="pass a row a sample")
        self.seen = None if held_out is None else ~np.asarray(held_out, bool)
        self.digest = hashlib.sha256(self.probs.numpy().tobytes() + self.targets.numpy().tobytes()).hexdigest()[:16]

    def start(self, setup: Setup) -> None:
        """Take the probabilities as the evidence."""
        if tuple(self.probs.shape) != (setup.length, setup.task.num_classes):
            got = f"probabilities of shape {tuple(self.probs.shape)}"
            expected = f"probabilities of {setup.length} samples and {setup.task.num_classes} classes"
            raise InvalidInputError(expected, got=got, fix="pass a row a training sample and a column a class")
        super().start(setup)
        self.evidence = self.probs.to(setup.device).clone()
        self.lessons = self.targets.to(setup.device)

    def memory(self) -> dict[str, Tensor]:
        """Return nothing: the evidence is known."""
        return {}

    def fit_trust(self) -> None:
        """Do nothing: there is no trust to fit."""

    def trust_in(self, given: Tensor, evidence: Tensor, rows: Tensor | slice) -> Tensor:
        """Return zeros (n,)."""
        return torch.zeros(len(given), device=given.device, dtype=torch.float32)

    def in_step(self, model: nn.Module, batch: Batch) -> tuple[Any, Batch]:
        """Run the model on a batch, whose targets are the evidence."""
        batch.input = self.dropped(batch.input, batch)
        batch.evidence = self.lessons[batch.index]
        batch.trust = Trust(torch.zeros_like(batch.trust.weight))
        return self.setup.task.forward(model, batch), batch

    def unseen(self) -> np.ndarray | None:
        """Return which labels the probabilities have not seen, bool (N,)."""
        return None if self.seen is None else ~self.seen


def _checked(probs: Any) -> Tensor:
    values = np.asarray(probs, dtype=np.float32).copy()  # the memory of a tensor moves when it is sent to a worker
    if values.ndim != 2 or not (np.isfinite(values).all() and (values >= 0).all()):
        got = f"shape {values.shape}" if values.ndim != 2 else "negative or non-finite values"
        raise InvalidInputError("probabilities (N, K)", got=got, fix="pass a row of probabilities a sample")
    if not np.allclose(values.sum(1), 1, atol=1e-3):
        raise InvalidInputError("probabilities (N, K)", got="rows that do not sum to 1", fix="divide each by its sum")
    return torch.from_numpy(values)
