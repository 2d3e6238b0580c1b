"""Which labels to look at: a quality score for each, and a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.findings import LabelReview
from noisycorrect.labels.given import checked_labels
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.review.confident_learning import check_sums
from noisycorrect.review.counting import VALUES_AT_ONCE
from noisycorrect.review.noise_rate import check_has_evidence
from noisycorrect.support.arrays import as_array, is_missing, numbers_or_gaps
from noisycorrect.support.door import door
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


@door(own=True)
def find_label_issues(
    labels: SoftLabelStore | Any,
    probs: Any = None,
    *,
    top: int | None = None,
    score: str = "self-confidence",
    class_names: Sequence[str] | None = None,
) -> list[LabelIssue]:
    """Return the labels that are not the evidence's most probable class, the most suspicious first.

    Evidence is that of a run, in its label store, or class probabilities that somebody already has.

    **Probabilities should be held out**: each row from a model that was not trained on that row's label, as in
    cross-validation (train on four fifths, predict the fifth that was left out, five times; scikit-learn's
    ``cross_val_predict(model, X, y, method="predict_proba")``). A model's probabilities for its own training samples
    lean towards the labels that it has learnt: it agrees with the errors that it has memorised, and they are not found.
    Evidence of a run comes from a model that was trained on these labels; if ``agreement`` in its history is near 1
    where many labels are wrong, train for fewer epochs.

    Some labels are compared at a time (masks at the resolution of their evidence): memory does not grow with the data
    set.

    Parameters
    ----------
    labels : SoftLabelStore, or array-like of shape (N,)
        A store with at least one generation of evidence; or given labels, whole numbers in 0..K-1 or -1 for none, or
        names out of `class_names`.
    probs : array-like, shape (N, K), optional
        Class probabilities, in [0, 1], rows summing to 1, column k of class k; with labels only, a store has its own.
    top : int, optional
        At most so many. Default: all.
    score : {"self-confidence", "margin"}
        What to rank by; see :func:`label_quality`. The labels found are the same.
    class_names : sequence of str, optional
        Name of each column of `probs`, for labels that are names. Issues have the numbers of the columns.

    Returns
    -------
    list of LabelIssue
        By rising score; equal scores by index.

    Raises
    ------
    InvalidInputError
        If the store holds no evidence yet, labels and probabilities do not match or are none, `top` is negative, or the
        score is unknown.

    Examples
    --------
    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]
    >>> find_label_issues([0, 1, 1, -1], probs)
    [LabelIssue(index=1, given=1, suggested=0, score=0.2..., share=1.0)]
    >>> [issue.index for issue in find_label_issues(["cat", "dog", "dog", "dog"], probs, class_names=["cat", "dog"])]
    [1, 3]
    """
    if isinstance(labels, SoftLabelStore):
        if probs is not None or class_names is not None:
            raise InvalidInputError(
                "a label store alone, which holds its evidence",
                got="a store and probs or class_names",
                fix="pass find_label_issues(store), or find_label_issues(labels, probs)",
            )
        return ranked_issues(review_labels(labels, score=score), top)
    return ranked_issues(review_probs(labels, probs, score=score, class_names=class_names), top)


def ranked_issues(review: LabelReview, top: int | None = None) -> list[LabelIssue]:
    """Return the contradicted labels of a review by rising quality, equal ones by index; at most `top` of them.

    Raises
    ------
    InvalidInputError
        If `top` is negative.
    """
    if top is not None and top < 0:
        raise InvalidInputError("top >= 0 or None", got=repr(top), fix="pass how many issues to return")
    chosen = np.flatnonzero(review.contradicted)
    chosen = chosen[np.lexsort((review.index[chosen], review.quality[chosen]))][:top]
    columns = (review.index, review.given, review.suggested, review.quality, review.share)
    return [LabelIssue(*row) for row in zip(*(column[chosen].tolist() for column in columns), strict=True)]


def review_probs(
    labels: Any, probs: Any, *, score: str = "self-confidence", class_names: Sequence[str] | None = None
) -> LabelReview:
    """Return what probabilities say of every labelled sample; see :func:`find_label_issues` for what they should be.

    Parameters
    ----------
    labels : array-like, shape (N,)
        Whole numbers in 0..K-1, -1 for none; or names out of `class_names`.
    probs : array-like, shape (N, K)
        Class probabilities.
    score : {"self-confidence", "margin"}
        Which label quality; see :func:`label_quality`.
    class_names : sequence of str, optional
        Name of each column.

    Raises
    ------
    InvalidInputError
        If shapes do not match, a label is no class, a value is no probability, or the score is unknown.

    Examples
    --------
    >>> review_probs([0, -1, 0], [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]]).quality
    array([0.75, 0.25], dtype=float32)
    """
    if score not in SCORES:
        raise unknown_name("score", score, SCORES)
    values = _probability_table(probs)
    given = numbered_labels(labels, values.shape[1], class_names)
    if len(given) != len(values):
        raise InvalidInputError(
            f"as many labels as the {len(values)} rows of probs",
            got=f"{len(given)} labels",
            fix="pass labels and probabilities of the same samples, in the same order",
        )
    parts, step = [], max(1, VALUES_AT_ONCE // values.shape[1])
    for start in range(0, len(values), step):
        some = np.asarray(values[start : start + step], np.float64)
        check_sums(some)
        own = given[start : start + len(some)]
        rows = np.flatnonzero(own >= 0)
        evidence, known = torch.from_numpy(some[rows]), own[rows]
        quality = label_quality(torch.from_numpy(known), evidence, score=score).float().numpy()
        suggested = some[rows].argmax(1)
        wrong = suggested != known
        parts.append(LabelReview(rows + start, known, suggested, quality, wrong.astype(np.float64), wrong))
    return LabelReview.joined(parts)


def numbered_labels(labels: Any, num_classes: int, class_names: Sequence[str] | None = None) -> np.ndarray:
    """Return labels as int64 (N,): whole numbers as they are, names by their place in `class_names`; -1 for none.

    Raises
    ------
    InvalidInputError
        If a label is no class, or the names are not as many as the classes.

    Examples
    --------
    >>> numbered_labels(["b", "a", None], 2, ["a", "b"])
    array([ 1,  0, -1])
    """
    if class_names is not None and (isinstance(class_names, str) or len(class_names) != num_classes):
        raise InvalidInputError(f"{num_classes} class names", got=repr(class_names), fix="pass one name a column")
    array = as_array(labels, "labels")
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if class_names is None or all(isinstance(name, str) for name in class_names):
        array = whole_or_names(array)
    if array.ndim != 1 or array.dtype.kind not in "OUS":
        return checked_labels(array, num_classes)
    if class_names is None:
        raise InvalidInputError(
            "labels to be whole numbers, or class_names as well",
            got=f"{array.dtype}",
            fix="pass class_names=[...], the name of each column of probs in its order",
        )
    places = {name: place for place, name in enumerate(class_names)} | {None: UNLABELED}
    found = [places.get(None if is_missing(name) else name) for name in array.tolist()]
    if None in found:
        index = found.index(None)
        raise InvalidInputError(
            "labels out of class_names, or None (or NaN) for no label",
            got=f"{array[index]!r} at index {index}",
            fix=f"correct the label or its spelling; the names are {list(class_names)}",
        )
    return np.array(found, np.int64)


def whole_or_names(labels: np.ndarray) -> np.ndarray:
    """Return labels (N,) that came as objects as int64, -1 for what is missing, if the others are whole numbers.

    Examples
    --------
    >>> whole_or_names(np.array([1, -1, None], dtype=object)).tolist()
    [1, -1, -1]
    >>> whole_or_names(np.array(["b", None], dtype=object)).tolist()
    ['b', None]
    """
    if labels.dtype != object or labels.ndim != 1:
        return labels
    numbers = numbers_or_gaps(labels)
    if numbers.dtype == object:
        return labels
    numbers = np.where(np.isnan(numbers), UNLABELED, numbers)
    return numbers.astype(np.int64) if np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all() else labels


def _probability_table(probs: Any) -> np.ndarray:
    if probs is None:
        raise InvalidInputError(
            "class probabilities of the same samples",
            got="labels alone",
            fix="pass find_label_issues(labels, probs), or a SoftLabelStore with evidence",
        )
    values = as_array(probs, "probs")
    if values.ndim == 2 and values.shape[1] >= 2 and values.dtype.kind in "fiub":
        return values
    fix = "pass one row of K >= 2 class probabilities a sample"
    if values.ndim == 1 or values.shape[1:] == (1,):
        fix += "; of two classes with the second one's probability p alone, pass np.column_stack([1 - p, p])"
    raise InvalidInputError("probs (N, K), K >= 2", got=f"{values.dtype} of shape {values.shape}", fix=fix)


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
