"""Which labels to look at: a quality score for each, and a ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from noisycorrect.errors import InvalidInputError
from noisycorrect.labels import ClassLabels, SoftLabelStore
from noisycorrect.labels.compare import VALUES_AT_ONCE, row_blocks
from noisycorrect.labels.masks import given_on_evidence

SOFTMIN_TEMPERATURE = 0.1


@dataclass(frozen=True)
class LabelIssue:
    """A label that the evidence speaks against.

    Attributes
    ----------
    index : int
        Position in the data set.
    given, suggested : int
        The given label, and the most probable class of the evidence. Of a mask: the pair that most of its contradicted
        pixels have.
    score : float
        Label quality in [0, 1]: the evidence's probability of the given label; of a mask, the soft minimum over its
        pixels. Low is suspicious.
    share : float
        Share of the labelled pixels of a mask that the evidence gives another class; 1 for a class label.
    """

    index: int
    given: int
    suggested: int
    score: float
    share: float = 1.0


def label_quality(given: Tensor, evidence: Tensor) -> Tensor:
    """Return the evidence's probability of the given label ("self-confidence", Northcutt et al. 2021).

    Parameters
    ----------
    given : Tensor, shape (N, ...), int64
        0..K-1; anything else is unlabelled or ignored.
    evidence : Tensor, shape (N, K, ...)
        Mean prediction.

    Returns
    -------
    Tensor, shape (N, ...), float32
        In [0, 1]; 1 where there is no label to doubt.

    Examples
    --------
    >>> label_quality(torch.tensor([0, 1, -1]), torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]]))
    tensor([0.9000, 0.1000, 1.0000])
    """
    known = (given >= 0) & (given < evidence.shape[1])
    quality = evidence.gather(1, (given * known).unsqueeze(1)).squeeze(1)
    return torch.where(known, quality, 1.0)


def mask_quality_score(pixel_quality: Tensor, known: Tensor) -> Tensor:
    r"""Return one quality a mask: :math:`\sum_i s_i w_i`, :math:`w = softmax((1 - s) / 0.1)` over the labelled pixels.

    A soft minimum: a small region with a bad label counts although most pixels are good (Lad & Mueller 2023,
    "Estimating label quality and errors in semantic segmentation data via any model", softmin score).

    Parameters
    ----------
    pixel_quality : Tensor, shape (N, ...)
        Label quality of each pixel, in [0, 1].
    known : Tensor, shape (N, ...), bool
        Which pixels have a label.

    Returns
    -------
    Tensor, shape (N,), float32
        In [0, 1]; 1 for a mask without a labelled pixel.

    Examples
    --------
    >>> mask_quality_score(torch.tensor([[1.0, 0.0], [0.9, 0.9]]), torch.ones(2, 2, dtype=torch.bool))
    tensor([4.5398e-05, 9.0000e-01])
    """
    quality, known = pixel_quality.flatten(1), known.flatten(1)
    weights = torch.where(known, (1 - quality) / SOFTMIN_TEMPERATURE, -torch.inf).softmax(1)
    return torch.where(known.any(1), (quality * weights.nan_to_num(0)).sum(1), 1.0)


def find_label_issues(store: SoftLabelStore, *, top: int | None = None) -> list[LabelIssue]:
    """Return the labels that are not the evidence's most probable class, the most suspicious first.

    Evidence comes from a model that was trained on these labels: one that has memorised them finds fewer of their
    errors. If ``agreement`` in the history is near 1 where many labels are wrong, train for fewer epochs. Masks are
    compared at the resolution of their evidence, some at a time: memory does not grow with the data set.

    Parameters
    ----------
    store : SoftLabelStore
        Labels with at least one generation of evidence.
    top : int, optional
        At most so many. Default: all.

    Returns
    -------
    list of LabelIssue
        By rising score; equal scores by index.

    Raises
    ------
    InvalidInputError
        If the store holds no evidence yet, or `top` is negative.
    """
    if store.generation == 0:
        raise InvalidInputError(
            "evidence from at least one correction cycle",
            got="generation 0",
            mend="fit with cycles >= 1 and refine=True",
        )
    if top is not None and top < 0:
        raise InvalidInputError("top >= 0 or None", got=repr(top), mend="pass how many issues to return")
    found = _class_issues(store) if store.kind == ClassLabels.kind else _mask_issues(store)
    return sorted(found, key=lambda issue: (issue.score, issue.index))[:top]


def _class_issues(store: SoftLabelStore) -> list[LabelIssue]:
    quality, suggested = np.empty(len(store), np.float32), np.empty(len(store), np.int64)
    for rows in row_blocks(store):
        evidence = store.evidence(rows)
        quality[rows] = label_quality(torch.from_numpy(store.given(rows).copy()), evidence).numpy()
        suggested[rows] = evidence.argmax(1).numpy()
    given = store.given()
    contradicted = np.flatnonzero(store.labeled & (suggested != given))
    return [LabelIssue(int(i), int(given[i]), int(suggested[i]), float(quality[i])) for i in contradicted]


def _mask_issues(store: SoftLabelStore) -> list[LabelIssue]:
    classes, issues = store.num_classes, []
    rows = np.flatnonzero(store.labeled)
    step = max(1, VALUES_AT_ONCE // (store.evidence(rows[:1]).numel() or 1)) if len(rows) else 1
    for start in range(0, len(rows), step):
        indices = rows[start : start + step]
        evidence = store.evidence(indices)
        masks = [given_on_evidence(mask, evidence.shape[2:], store.frame) for mask in store.given(indices)]
        given = torch.from_numpy(np.stack(masks)).long()
        known, suggested = given < classes, evidence.argmax(1)
        scores = mask_quality_score(label_quality(given, evidence), known)
        contradicted = known & (suggested != given)
        pairs = given * classes + suggested
        shares = contradicted.flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
        for row in contradicted.flatten(1).any(1).nonzero().flatten().tolist():
            pair = int(torch.bincount(pairs[row][contradicted[row]], minlength=classes * classes).argmax())
            issue = LabelIssue(
                int(indices[row]), pair // classes, pair % classes, float(scores[row]), float(shares[row])
            )
            issues.append(issue)
    return issues
