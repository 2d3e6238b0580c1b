"""What a run says of the given labels: corrected labels, issues, the rate of wrong ones; as tables, with names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from noisycorrect.classification.votes import VotesResult
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.result import CorrectionResult
from noisycorrect.review.issues import review_labels, review_probs
from noisycorrect.review.noise_estimate import NoiseEstimate
from noisycorrect.review.noise_rate import estimate_noise


@dataclass(frozen=True)
class Findings:
    """What is found about N given labels.

    Attributes
    ----------
    given, corrected, suggested : ndarray of int64, shape (N,)
        Label before and after; most probable class of the evidence. -1 for no given label.
    quality : ndarray of float64, shape (N,)
        Label quality; 1 where there is no label to doubt.
    wrong : ndarray of bool, shape (N,)
        Whether the evidence gives the label another class.
    probs : ndarray of float64, shape (N, K)
        Refined labels.
    noise : NoiseEstimate
        Of the given labels.
    """

    given: np.ndarray
    corrected: np.ndarray
    suggested: np.ndarray
    quality: np.ndarray
    wrong: np.ndarray
    probs: np.ndarray
    noise: NoiseEstimate

    @classmethod
    def of_run(cls, run: CorrectionResult, given: np.ndarray, predicted: Callable[[], np.ndarray]) -> Findings:
        """Return what a run on one label a sample found.

        A recipe that corrects nothing leaves no evidence: then its model's probabilities of the training samples,
        float64 (N, K), which `predicted` returns, say what is suspicious, and labels stay as they are where there are
        any.
        """
        store = run.labels
        if store.generation:
            review, noise = review_labels(store), run.estimate_noise()
            probs, corrected = store.refined().double().numpy(), np.asarray(store.labels())
            evidence = store.evidence().numpy()
        else:
            evidence = predicted()
            review, noise = review_probs(given, evidence), estimate_noise(given, evidence)
            known = given != UNLABELED
            probs = np.where(known[:, None], np.eye(evidence.shape[1])[given], evidence)
            corrected = np.where(known, given, evidence.argmax(1))
        suggested, quality = evidence.argmax(1), np.ones(len(given))
        wrong = np.zeros(len(given), bool)
        suggested[review.index], quality[review.index] = review.suggested, review.quality
        wrong[review.index] = review.contradicted
        return cls(given, corrected, suggested, quality, wrong, probs, noise)

    @classmethod
    def of_votes(cls, result: VotesResult) -> Findings:
        """Return what a run on the labels of several annotators found about their majority.

        Its rate of wrong ones is what the posterior expects, 1 less its mean probability of the majority votes: unlike
        a model's evidence, the posterior is of the class given input and votes.
        """
        given, labels, probs = result.consensus.votes.majority(), result.labels, result.probs
        quality = np.take_along_axis(probs, given.clip(0)[:, None], 1)[:, 0]
        known = given != UNLABELED
        noise, expected = result.correction.estimate_noise(), float(1 - quality[known].mean())
        low, high = noise.interval
        noise = replace(noise, rate=expected, interval=(min(low, expected), max(high, expected)))
        return cls(given, labels, labels, np.where(known, quality, 1.0), known & (labels != given), probs, noise)

    def named(self, classes: np.ndarray) -> NoiseEstimate:
        """Return the estimate with the names of the classes in its verdict."""
        return replace(self.noise, names=tuple(map(str, classes)))

    def issues(self, classes: np.ndarray, index: Any) -> Any:
        """Return the table of all labels, in the order of the samples; see :func:`table`."""
        columns = {
            "is_label_issue": self.wrong,
            "label_quality": self.quality,
            "given_label": names_of(self.given, classes),
            "predicted_label": names_of(self.suggested, classes),
        }
        return table(columns, index)


def table(columns: Mapping[str, np.ndarray], index: Any = None) -> Any:
    """Return columns as a DataFrame, or as a NumPy record array where pandas is not installed.

    Examples
    --------
    >>> found = table({"is_label_issue": np.array([True, False]), "label_quality": np.array([0.1, 0.9])})
    >>> found["label_quality"].tolist()
    [0.1, 0.9]
    """
    try:
        import pandas as pd
    except ImportError:
        fields: list[Any] = [(name, column.dtype) for name, column in columns.items()]
        return np.rec.fromarrays(list(columns.values()), dtype=fields)
    return pd.DataFrame(dict(columns), index=index)


def names_of(codes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the names of class indices (N,): objects, None where the index is -1, if there is such a one.

    Examples
    --------
    >>> names_of(np.array([1, -1]), np.array(["cat", "dog"])).tolist()
    ['dog', None]
    """
    gap = codes == UNLABELED
    if not gap.any():
        return np.asarray(classes[codes])
    names = classes.astype(object)[codes]
    names[gap] = None
    return np.asarray(names)
