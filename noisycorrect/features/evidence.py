"""From features and labels to issues, a noise rate and cleaned labels, without training a network."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from noisycorrect.features.head import cross_fitted_head
from noisycorrect.features.inputs import prepared_features, prepared_labels, stratified_folds
from noisycorrect.features.neighbors import class_relative, held_out_neighbors, vote, voter_quality
from noisycorrect.features.pool import fit_pool, log_linear_pool
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.review.issues import LabelIssue, ranked_issues, review_probs
from noisycorrect.review.noise_estimate import NoiseEstimate
from noisycorrect.review.noise_rate import estimate_noise
from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError

CLASS_POWER = 0.75  # how far evidence of a class counts relative to the class's share, where labels are replaced
CLEAR_MARGIN = 0.3  # by which another class must lead


@dataclass(frozen=True, eq=False)
class FeatureEvidence:
    """What features say of the labels; made by :func:`evidence_from_features`.

    Attributes
    ----------
    given : ndarray, shape (N,), int64
        Given labels as numbers of classes; -1 for none.
    class_names : tuple
        K names, in the order of the columns of `probs`.
    probs : ndarray, shape (N, K), float32
        The evidence: held-out class probabilities, of neighbours and head together; rows sum to 1.
    neighbor_probs, head_probs : ndarray, shape (N, K), float32
        What each of the two says.
    pool_weights : ndarray, shape (2,), float64
        Power of neighbours and of head in the evidence, earned on the given labels: which of them knows these classes.
    """

    given: np.ndarray
    class_names: tuple[Any, ...]
    probs: np.ndarray
    neighbor_probs: np.ndarray
    head_probs: np.ndarray
    pool_weights: np.ndarray

    @property
    def judged(self) -> np.ndarray:
        """Which labels there is evidence about, bool (N,): those of a class that another sample has, too."""
        return _judged(self.given, len(self.class_names))

    @property
    def labels(self) -> np.ndarray:
        r"""Cleaned labels, int64 (N,): a given label stands unless another class leads it clearly; -1 gets a class.

        The lead is that of class-relative evidence :math:`r_{ik} \propto p_{ik} / \pi_k^{0.75}`, with the share
        :math:`\pi_k` of class k among the given labels, so that a rare class is not outvoted for being rare (Menon et
        al. 2021, "Long-tail learning via logit adjustment", Eq. 9 with :math:`\tau = 0.75`). It has to be above 0.3,
        so that labels stand where features cannot tell classes apart.
        """
        relative = self._class_relative()
        best = relative.argmax(1)
        own = np.take_along_axis(relative, np.maximum(self.given, 0)[:, None], 1)[:, 0]
        stands = (relative.max(1) - own <= CLEAR_MARGIN) | ~self.judged
        return np.where(stands & (self.given != UNLABELED), self.given, best)

    def label_quality(self, *, score: str = "margin") -> np.ndarray:
        """Return the quality of each label, float32 (N,), in [0, 1]; low is suspicious, 1 where nothing is judged.

        Parameters and errors are those of :func:`noisycorrect.review.issues.label_quality`.
        """
        review = review_probs(self._reviewed(), self.probs, score=score)
        quality = np.ones(len(self.given), np.float32)
        quality[review.index] = review.quality
        return quality

    def issues(self, top: int | None = None, *, score: str = "margin") -> list[LabelIssue]:
        """Return the given labels that :attr:`labels` changes, by rising quality.

        Fewer than :func:`noisycorrect.find_label_issues` finds with `probs`, which returns each label that is not the
        most probable class, by whatever lead: much of that is doubt of the features, and most labels of a rare class.

        Parameters
        ----------
        top : int, optional
            At most so many. Default: all.
        score : {"self-confidence", "margin"}
            What to rank by; see :func:`noisycorrect.review.issues.label_quality`.

        Raises
        ------
        InvalidInputError
            If `top` is negative, or the score is unknown.
        """
        review = review_probs(self._reviewed(), self.probs, score=score)
        cleaned = self.labels[review.index]
        changed = cleaned != review.given
        return ranked_issues(replace(review, suggested=cleaned, contradicted=changed, share=changed.astype(float)), top)

    def estimate_noise(self, level: float = 0.95) -> NoiseEstimate:
        """Estimate the noise of the labels, from evidence that has not seen them.

        See :func:`noisycorrect.review.noise_rate.estimate_noise`, held out; `level` is that of the intervals.
        """
        return estimate_noise(self._reviewed(), self.probs, level=level, held_out=True)

    def verdict(self) -> str:
        """Return the estimate in one paragraph."""
        return self.estimate_noise().verdict([str(name) for name in self.class_names])

    def _class_relative(self) -> np.ndarray:
        """Return the evidence relative to the share of each class, float64 (N, K); a class without labels has none."""
        counts = _counts(self.given, len(self.class_names))
        relative = self.probs * np.where(counts > 0, np.maximum(counts, 1.0) ** -CLASS_POWER, 0)
        return np.asarray(relative / relative.sum(1, keepdims=True))

    def _reviewed(self) -> np.ndarray:
        return np.where(self.judged, self.given, UNLABELED)


@door(own=True)
def evidence_from_features(
    features: Any,
    labels: Any,
    *,
    class_names: Sequence[Any] | None = None,
    neighbors: int = 30,
    folds: int = 5,
    seed: int = 0,
) -> FeatureEvidence:
    """Ask features that you have (embeddings, tf-idf, columns of a table) which labels are wrong.

    No network is trained: minutes for 50,000 samples of 512 features on two cores, in bounded memory (blocks; no N x N
    matrix). Two opinions are held out from the label they are about, and pooled:

    1. The labels of the nearest neighbours in other folds, by cosine (k of them; each votes with its own quality, which
       is what its own neighbours say of its label).
    2. A logistic regression on the other folds, in which each label counts by the same quality, relative to its class.
    3. Their product of powers, the powers being those that make the given labels most likely: where classes are no
       neighbourhoods the head decides, where they are no half-spaces the neighbours do.

    Good features make good evidence: embeddings of a pretrained network find more than raw pixels do.

    Parameters
    ----------
    features : array-like or scipy.sparse matrix, shape (N, F)
        Numbers. Dense columns are standardised, sparse rows normalised; further axes are flattened.
    labels : array-like, shape (N,)
        Whole numbers from 0 on, or names; -1 or None for a sample without a label, which gets evidence, too.
    class_names : sequence, optional
        Name of each class. Default: the numbers, or the names found, sorted.
    neighbors : int, default 30
        k, at least 1; fewer where a fold leaves fewer.
    folds : int, default 5
        At least 2. Classes are divided evenly among them.
    seed : int, default 0
        Of the division. The same seed gives the same evidence.

    Returns
    -------
    FeatureEvidence

    Raises
    ------
    InvalidInputError
        If features are not finite or do not vary, labels do not match them or are of one class alone, or a number is
        out of range.

    Warns
    -----
    UserWarning
        If a class has one label alone: nothing else can speak for or against it, and it stays as it is.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> clean = np.repeat(["ant", "bee"], 50)
    >>> features = rng.normal(size=(100, 8)) + 2 * (clean == "bee")[:, None]
    >>> given = clean.copy()
    >>> given[[3, 70]] = ["bee", "ant"]
    >>> found = evidence_from_features(features, given)
    >>> [issue.index for issue in found.issues()]
    [3, 70]
    >>> found.class_names[found.labels[70]]
    'bee'
    """
    k = whole_number("neighbors", neighbors, least=1)
    folds = whole_number("folds", folds, least=2)
    rng = np.random.default_rng(whole_number("seed", seed, least=0))
    rows = prepared_features(features)
    given, names = prepared_labels(labels, rows.shape[0], class_names)
    judged = _judged(given, len(names))
    if not judged.any():
        raise InvalidInputError(
            "two labels of one class at least",
            got=f"{(given != UNLABELED).sum()} labels of {len(names)} classes",
            fix="pass class labels, not numbers of samples or measured values",
        )
    _warn_of_single(given, names)
    fold = stratified_folds(given, folds, rng)
    around, head = _opinions(rows, given, fold, folds, k, len(names))
    weights = fit_pool([around[judged], head[judged]], given[judged])
    return FeatureEvidence(given, names, log_linear_pool([around, head], weights), around, head, weights)


def _opinions(
    rows: Any, given: np.ndarray, fold: np.ndarray, folds: int, k: int, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return held-out probabilities (N, K) of neighbours and of head."""
    counts = _counts(given, classes)
    prior = counts / counts.sum()
    sizes = np.bincount(fold, minlength=folds)[:folds]
    found = held_out_neighbors(rows, fold, folds, min(k, int(sizes.sum() - sizes.max())))
    quality = voter_quality(found, given, fold, folds, prior)
    around = vote(found, given, quality[found, fold[:, None]], prior)
    weights = class_relative(quality, given, fold, classes)
    return around, cross_fitted_head(rows, given, fold, folds, classes, weights)


def _counts(given: np.ndarray, classes: int) -> np.ndarray:
    """Return how many labels each class has, int64 (K,)."""
    return np.bincount(given[given != UNLABELED], minlength=classes)


def _judged(given: np.ndarray, classes: int) -> np.ndarray:
    counts = _counts(given, classes)
    return np.asarray((given != UNLABELED) & (counts[given] > 1))


def _warn_of_single(given: np.ndarray, names: Sequence[Any]) -> None:
    counts = _counts(given, len(names))
    single = [str(names[place]) for place in np.flatnonzero(counts == 1).tolist()]
    if single:
        warnings.warn(
            f"one label alone of {', '.join(single[:5])}{' and others' if len(single) > 5 else ''}: nothing can speak"
            " for or against it, so it is not judged; label more of this class, or leave it out",
            stacklevel=3,
        )
