"""Correction of the votes of several annotators: held-out evidence and votes, combined by Bayes' rule."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.correction.cross_fitting import CrossFitting
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.data.consensus import STRENGTH, dawid_skene
from noisycorrect.data.votes import Votes
from noisycorrect.labels.trust import Trust
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError

ITERATIONS = 20  # of expectation maximisation an epoch: the next one goes on where the evidence is better


class VoteCorrection(CrossFitting):
    r"""Refined labels from all votes on an item and from the network that has seen none of them.

    The items are divided into two halves, each with a network of its own, and evidence about an item comes from the
    other half's network, as in :class:`~noisycorrect.CrossFitting`. Once an epoch,
    :func:`~noisycorrect.dawid_skene` combines it with the votes: every annotator's confusion matrix, and how far the
    evidence is to be believed, are estimated anew. From the start of correction on, the posterior is what the item's
    own network learns; before, the shares of the votes are. An item without a vote teaches nothing before that.

    The whole is the expectation maximisation of Raykar et al. 2010, "Learning From Crowds", with two differences: a
    training epoch instead of a fit in each M-step, and held-out instead of fitted probabilities, so that a network
    cannot confirm the votes that it has learnt by heart.

    Parameters
    ----------
    votes : Votes
        On the samples of the training set, in order.
    momentum, start, input_dropout, keep : float or int
        See :class:`~noisycorrect.CrossFitting`.
    strength : float
        See :func:`~noisycorrect.dawid_skene`.

    Raises
    ------
    InvalidInputError
        If an argument is out of range; when a run starts, if votes and samples, or classes, are not equally many.

    Examples
    --------
    >>> VoteCorrection(Votes.from_table([[0, 1], [1, 1]])).identity()["begin"]
    0.1
    """

    def __init__(
        self,
        votes: Votes,
        *,
        momentum: float = 0.7,
        start: float = 0.1,
        strength: float = STRENGTH,
        input_dropout: float = 0.0,
        keep: int | None = 2,
    ) -> None:
        super().__init__(
            momentum=momentum, start=start, trust="none", input_dropout=input_dropout, keep=keep, storage="float32"
        )
        self.votes = votes
        self.strength = finite_number("strength", strength, above=1e-3, fix="4 is the default")
        columns = (votes.item, votes.annotator, votes.label)
        self.digest = hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()[:16]

    def identity(self) -> dict[str, Any]:
        """Return plain values that a run and the run that resumes it must share; there is one way to hold evidence."""
        return {name: value for name, value in super().identity().items() if name != "storage"}

    def start(self, setup: Setup) -> None:
        """Make the evidence, divide the samples, and begin with the shares of the votes."""
        classes = setup.task.num_classes
        if (setup.length, classes) != (self.votes.num_items, self.votes.num_classes):
            got = f"{setup.length} samples, {classes} classes; {self.votes}"
            raise InvalidInputError(
                "votes on the samples of the training set", got=got, fix="pass votes of these items"
            )
        counts = self.votes.counts()
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        self.posterior = torch.from_numpy(shares).float().to(setup.device)
        super().start(setup)

    def fit_trust(self) -> None:
        """Combine evidence and votes."""
        if self.correcting:
            evidence = self.evidence[:].double().cpu().numpy()
            found = dawid_skene(self.votes, evidence, strength=self.strength, iterations=ITERATIONS)
            self.posterior = torch.from_numpy(found.probs).float().to(self.evidence.device)

    def trust_in(self, given: Tensor, evidence: Tensor, rows: Tensor | slice) -> Tensor:
        """Return zeros (n,): what the votes say is in the posterior already."""
        return torch.zeros(len(given), device=given.device, dtype=torch.float32)

    def aim(self, batch: Batch, evidence: Tensor) -> None:
        """Give a batch the posterior as its target."""
        batch.evidence = self.posterior[batch.index]
        batch.trust = Trust(torch.zeros_like(batch.trust.weight))

    def usable(self, evidence: Tensor, rows: Tensor | slice) -> Tensor:
        """Return the posterior, but the evidence of an item without votes before correction has begun."""
        posterior = self.posterior[rows]
        return torch.where(posterior.sum(1, keepdim=True) == 0, evidence, posterior)
