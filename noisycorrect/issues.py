"""Which labels to look at: a quality score for each, and a ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from noisycorrect.errors import InvalidInputError
from noisycorrect.labels import ClassLabels, SoftLabelStore
from noisycorrect.labels.compare import row_blocks


@dataclass(frozen=True)
class LabelIssue:
    """A label that the evidence speaks against.

    Attributes
    ----------
    index : int
        Position in the data set.
    given, suggested : int
        The given label, and the most probable class of the evidence.
    score : float
        Label quality in [0, 1]: the evidence's probability of the given label. Low is suspicious.
    """

    index: int
    given: int
    suggested: int
    score: float


def label_quality(given: Tensor, evidence: Tensor) -> Tensor:
    """Return the evidence's probability of the given label ("self-confidence", Northcutt et al. 2021).

    Parameters
    ----------
    given : Tensor, shape (N,), int64
        0..K-1, or -1: unlabelled.
    evidence : Tensor, shape (N, K)
        Mean prediction.

    Returns
    -------
    Tensor, shape (N,), float32
        In [0, 1]; 1 where there is no label to doubt.

    Examples
    --------
    >>> label_quality(torch.tensor([0, 1, -1]), torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]]))
    tensor([0.9000, 0.1000, 1.0000])
    """
    quality = evidence.gather(1, given.clamp(min=0).unsqueeze(1)).squeeze(1)
    return torch.where(given >= 0, quality, 1.0)


def find_label_issues(store: SoftLabelStore, *, top: int | None = None) -> list[LabelIssue]:
    """Return the labels that are not the evidence's most probable class, the most suspicious first.

    Evidence comes from a model that was trained on these labels: one that has memorised them finds fewer of their
    errors. If ``agreement`` in the history is near 1 where many labels are wrong, train for fewer epochs.

    Parameters
    ----------
    store : SoftLabelStore
        Class labels with at least one generation of evidence.
    top : int, optional
        At most so many. Default: all.

    Returns
    -------
    list of LabelIssue
        By rising score; equal scores by index.

    Raises
    ------
    InvalidInputError
        If the store holds no evidence yet, or masks, or `top` is negative.
    """
    if store.kind != ClassLabels.kind:
        raise InvalidInputError(
            "a store of class labels", got=f"one of {store.kind}", mend="ranking masks is not built yet"
        )
    if store.generation == 0:
        raise InvalidInputError(
            "evidence from at least one correction cycle",
            got="generation 0",
            mend="fit with cycles >= 1 and refine=True",
        )
    if top is not None and top < 0:
        raise InvalidInputError("top >= 0 or None", got=repr(top), mend="pass how many issues to return")
    quality, suggested = np.empty(len(store), np.float32), np.empty(len(store), np.int64)
    for rows in row_blocks(store):
        evidence = store.evidence(rows)
        quality[rows] = label_quality(torch.from_numpy(store.given(rows).copy()), evidence).numpy()
        suggested[rows] = evidence.argmax(1).numpy()
    given = store.given()
    candidates = np.flatnonzero(store.labeled & (suggested != given))
    ranked = candidates[np.argsort(quality[candidates], kind="stable")][:top]
    return [LabelIssue(int(i), int(given[i]), int(suggested[i]), float(quality[i])) for i in ranked]
