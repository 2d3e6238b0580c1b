"""Which labels to look at: a quality score for each, and a ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.findings import LabelReview
from noisycorrect.review.noise_rate import check_has_evidence
from noisycorrect.support.errors import InvalidInputError, unknown_name

SCORES = ("self-confidence", "margin")


@dataclass(frozen=True)
class LabelIssue:
    """A label that the evidence speaks against.

    Attributes
    ----------
    index : int
        Position in the data set.
    given, suggested : int
        The given label, and the most probable class of the evidence. Of a label of many parts: the pair that its kind
        puts first, of a mask that of most contradicted pixels, of a sequence that of the most doubtful token. Of labels
        that are there or not: k and -1 if label k should not be there, -1 and k if it is missing.
    score : float
        Label quality in [0, 1]: the evidence's probability of the given label; of many parts the least one, of a mask
        the soft minimum over its pixels. Low is suspicious.
    share : float
        Share of the labelled parts (pixels of a mask) that the evidence gives another class; 1 for a class label.
    """

    index: int
    given: int
    suggested: int
    score: float
    share: float = 1.0


def label_quality(given: Tensor, evidence: Tensor, *, score: str = "self-confidence") -> Tensor:
    r"""Return how far the evidence supports each given label.

    ``"self-confidence"``
        :math:`e_g`, the evidence's probability of the given label g (Northcutt et al. 2021).
    ``"margin"``
        :math:`\frac12 (e_g - \max_{k \ne g} e_k + 1)`, the normalised margin to the most probable other class (Kuan &
        Mueller 2022, "Model-agnostic label quality scoring to detect real-world label errors").

    Parameters
    ----------
    given : Tensor, shape (N, ...), int64
        0..K-1; anything else is unlabelled or ignored.
    evidence : Tensor, shape (N, K, ...)
        Mean prediction.
    score : {"self-confidence", "margin"}
        See above.

    Returns
    -------
    Tensor, shape (N, ...), float32
        In [0, 1]; 1 where there is no label to doubt.

    Raises
    ------
    InvalidInputError
        If the score is unknown.

    Examples
    --------
    >>> evidence = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    >>> label_quality(torch.tensor([0, 1, -1]), evidence)
    tensor([0.9000, 0.1000, 1.0000])
    >>> label_quality(torch.tensor([0, 1, -1]), torch.tensor([[0.5, 0.3, 0.2]]).expand(3, 3), score="margin")
    tensor([0.6000, 0.4000, 1.0000])
    """
    if score not in SCORES:
        raise unknown_name("score", score, SCORES)
    known = (given >= 0) & (given < evidence.shape[1])
    place = (given * known).unsqueeze(1)
    quality = evidence.gather(1, place)
    if score == "margin":
        quality = (quality - evidence.scatter(1, place, -torch.inf).amax(1, keepdim=True) + 1) / 2
    return torch.where(known, quality.squeeze(1), 1.0)


def find_label_issues(
    store: SoftLabelStore, *, top: int | None = None, score: str = "self-confidence"
) -> list[LabelIssue]:
    """Return the labels that are not the evidence's most probable class, the most suspicious first.

    Evidence comes from a model that was trained on these labels: one that has memorised them finds fewer of their
    errors. If ``agreement`` in the history is near 1 where many labels are wrong, train for fewer epochs. Some labels
    are compared at a time (masks at the resolution of their evidence): memory does not grow with the data set.

    Parameters
    ----------
    store : SoftLabelStore
        Labels with at least one generation of evidence.
    top : int, optional
        At most so many. Default: all.
    score : {"self-confidence", "margin"}
        What to rank by; see :func:`label_quality`. The labels found are the same.

    Returns
    -------
    list of LabelIssue
        By rising score; equal scores by index.

    Raises
    ------
    InvalidInputError
        If the store holds no evidence yet, `top` is negative, or the score is unknown.
    """
    if top is not None and top < 0:
        raise InvalidInputError("top >= 0 or None", got=repr(top), fix="pass how many issues to return")
    review = review_labels(store, score=score)
    chosen = np.flatnonzero(review.contradicted)
    chosen = chosen[np.lexsort((review.index[chosen], review.quality[chosen]))][:top]
    columns = (review.index, review.given, review.suggested, review.quality, review.share)
    return [LabelIssue(*row) for row in zip(*(column[chosen].tolist() for column in columns), strict=True)]


def review_labels(store: SoftLabelStore, *, score: str = "self-confidence") -> LabelReview:
    """Return what the evidence says of every labelled sample.

    Parameters
    ----------
    store : SoftLabelStore
        Labels with at least one generation of evidence.
    score : {"self-confidence", "margin"}
        Which label quality; see :func:`label_quality`. A mask's is the soft minimum over its pixels.

    Raises
    ------
    InvalidInputError
        If the store holds no evidence yet, or the score is unknown.

    Examples
    --------
    >>> store = SoftLabelStore.create(None, [0, 1, -1], 2)
    >>> with store.new_generation() as writer:
    ...     writer.write(range(3), torch.tensor([[0.75, 0.25], [0.75, 0.25], [0.5, 0.5]]))
    >>> found = review_labels(store)
    >>> found.index.tolist(), found.quality.tolist(), found.contradicted.tolist()
    ([0, 1], [0.75, 0.25], [False, True])
    """
    check_has_evidence(store)
    if score not in SCORES:
        raise unknown_name("score", score, SCORES)
    kind = store.kind
    return LabelReview.joined(
        [kind.review(rows, evidence, score) for rows, evidence in kind.labeled_blocks(store.evidence)]
    )


def sample_quality(store: SoftLabelStore, *, score: str = "self-confidence") -> np.ndarray:
    """Return the label quality of every sample of a store, float32 (N,): 1 for a sample without a label.

    Parameters, errors and scores are those of :func:`review_labels`.
    """
    review = review_labels(store, score=score)
    quality = np.ones(len(store), np.float32)
    quality[review.index] = review.quality
    return quality


def detection_scores(quality: Any, changed: Any) -> dict[str, float]:
    """Return how well low quality finds wrong labels.

    Parameters
    ----------
    quality : array-like, shape (N,)
        Label quality, low for suspicious labels.
    changed : array-like of bool, shape (N,)
        Which labels are wrong.

    Returns
    -------
    dict
        ``auroc``, the chance that a wrong label has less quality than a right one; ``average_precision``, the mean
        precision over the wrong labels from the least quality on; ``precision_at_errors``, the precision of the E
        samples of least quality if E labels are wrong. All in [0, 1].

    Raises
    ------
    InvalidInputError
        If shapes do not match, a quality is not finite, or no label, or each, is wrong.

    Examples
    --------
    >>> detection_scores([0.1, 0.9, 0.3, 0.8], [True, False, False, True])["auroc"]
    0.75
    """
    # Imported here: scikit-learn takes a second to import.
    from sklearn.metrics import average_precision_score, roc_auc_score

    values, wrong = np.asarray(quality, np.float64), np.asarray(changed)
    if values.ndim != 1 or wrong.shape != values.shape or wrong.dtype != bool or not np.isfinite(values).all():
        raise InvalidInputError(
            "finite quality (N,) and bool changed (N,)",
            got=f"shapes {values.shape} and {wrong.shape}, {wrong.dtype}",
            fix="pass label_quality() and given != clean",
        )
    errors = int(wrong.sum())
    if errors in (0, len(wrong)):
        raise InvalidInputError("right and wrong labels", got=f"{errors} wrong of {len(wrong)}", fix="inject noise")
    return {
        "auroc": float(roc_auc_score(wrong, -values)),
        "average_precision": float(average_precision_score(wrong, -values)),
        "precision_at_errors": float(wrong[np.argsort(values, kind="stable")[:errors]].mean()),
    }
