"""What the features of rows say of their labels, votes included: the labels, their quality, how many are wrong."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.data.votes import Votes
from noisycorrect.features.evidence import evidence_from_features
from noisycorrect.features.head import SoftHead
from noisycorrect.features.inputs import prepared_features, stratified_folds
from noisycorrect.features.vote_evidence import consensus_from_features
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.review.noise_estimate import NoiseEstimate
from noisycorrect.review.noise_rate import estimate_noise
from noisycorrect.support.errors import CheckpointError
from noisycorrect.support.files import replace_atomically
from noisycorrect.support.untrusted import UNREADABLE, check_unpacked, parsed_json

EVIDENCE = "evidence.npz"
NEIGHBORS, MOST_WITH_NEIGHBORS = 30, 150_000  # rows from which on a search that is quadratic in them takes too long
FEWEST_FOR_VALIDATION = 200
_VALIDATED_SHARE, _VALIDATION_ROWS = 5, 10_000


@dataclass(eq=False)
class Evidence:
    """What is known of N rows.

    Attributes
    ----------
    probs : ndarray, shape (N, K), float32
        Probability of each class, votes included where there are several.
    labels : ndarray, shape (N,), int64
        Corrected labels.
    held_out : ndarray, shape (N, K), float32
        Probabilities from models that have not seen the label of the row.
    annotators : list of dict
        See :meth:`noisycorrect.Consensus.annotators`; empty without votes.
    soft : bool
        Whether `probs`, rather than `labels`, are what a network should learn: they have seen the votes.
    unseen : bool
        Whether the models behind `held_out` have indeed not seen the labels.
    """

    probs: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    annotators: list[dict[str, Any]]
    soft: bool = True
    unseen: bool = True

    @property
    def targets(self) -> np.ndarray:
        """What a network should learn, float32 (N, K)."""
        return self.probs if self.soft else np.eye(self.probs.shape[1], dtype=np.float32)[self.labels]

    def shares(self, *labels: np.ndarray) -> np.ndarray:
        """Return the share of each class, float64 (K,): 0 if none of the `labels`, int64, is of it.

        Of such a class nothing is known, and beside a share that is all but 0 any row could be of it.
        """
        known = np.isin(np.arange(self.probs.shape[1]), np.concatenate(labels))
        return np.asarray(np.where(known, self.probs.mean(0, dtype=np.float64), 0))

    def with_known(self, known: np.ndarray) -> Evidence:
        """Return the same, but certain where somebody has checked the label; `known` is int64 (N,), -1 elsewhere."""
        checked = np.flatnonzero(known != UNLABELED)
        probs, labels = self.probs.copy(), self.labels.copy()
        probs[checked], labels[checked] = 0, known[checked]
        probs[checked, known[checked]] = 1
        return replace(self, probs=probs, labels=labels)

    def quality(self, given: np.ndarray) -> np.ndarray:
        """Return the probability of each given label, float32 (N,), 1 where there is none to doubt."""
        own = np.take_along_axis(self.probs, np.maximum(given, 0)[:, None], 1)[:, 0]
        return np.where(given == UNLABELED, 1, np.clip(own, 0, 1)).astype(np.float32)

    def noise(self, given: np.ndarray) -> NoiseEstimate:
        """Estimate how many given labels are wrong, from evidence that has not seen them if there is any."""
        return estimate_noise(given, self.held_out, held_out=self.unseen)


def evidence_of(
    matrix: Any,
    given: np.ndarray,
    votes: Votes | None,
    known: np.ndarray,
    classes: int,
    seed: int,
    on_round: Callable[[int], None] | None = None,
) -> Evidence:
    """Ask features which labels are wrong.

    Parameters
    ----------
    matrix : ndarray or CSR array, shape (N, F)
        Features.
    given : ndarray of int64, shape (N,)
        Given labels, -1 for none.
    votes : Votes or None
        Of several annotators.
    known : ndarray of int64, shape (N,)
        Labels that somebody has checked, -1 for the others.
    classes : int
        K; a class may have no label.
    seed : int
        Of the folds.
    on_round : callable, optional
        See :func:`~noisycorrect.features.vote_evidence.consensus_from_features`.
    """
    checked = known != UNLABELED
    many = len(given) > MOST_WITH_NEIGHBORS
    believed = np.where(checked, known, given)
    if votes is not None or many:
        asked = Votes.from_table(believed[:, None], classes=range(classes)) if votes is None else votes
        k = 0 if many else NEIGHBORS
        found = consensus_from_features(matrix, asked, known=known, neighbors=k, seed=seed, on_round=on_round)
        annotators = [] if votes is None else found.consensus.annotators()
        probs = found.probs.astype(np.float32)
        return Evidence(probs, found.labels, found.evidence, annotators).with_known(known)
    with warnings.catch_warnings():
        # Classes of one label are told once, with the other notes.
        warnings.filterwarnings("ignore", "one label alone of")
        single = evidence_from_features(matrix, believed, class_names=range(classes), seed=seed)
    return Evidence(single.probs, single.labels, single.probs, [], soft=False).with_known(known)


def validated(
    matrix: Any, given: np.ndarray, votes: Votes | None, known: np.ndarray, classes: int, seed: int
) -> dict[str, float | int]:
    """Measure what correction buys, on a fifth of the given labels that nothing is learnt from.

    A logistic regression learns the given labels of the others, another one their corrected labels. Of more than
    10,000 rows so many are taken. The labels that both are measured against are as wrong as all: what differs counts.

    Returns
    -------
    dict
        ``val_accuracy_before``, ``val_accuracy_after``, ``val_labels``; empty where labels are too few.
    """
    labeled = np.flatnonzero(given != UNLABELED)
    if len(labeled) < FEWEST_FOR_VALIDATION:
        return {}
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(labeled)[:_VALIDATION_ROWS])
    fold = stratified_folds(given[chosen], _VALIDATED_SHARE, rng)
    train, held_out = chosen[fold > 0], chosen[fold == 0]
    if len(np.unique(given[train])) < 2 or not len(held_out):
        return {}
    rows = prepared_features(matrix[chosen])
    own = None if votes is None else votes.subset(train)
    found = evidence_of(matrix[train], given[train], own, known[train], classes, seed)
    before, after = np.eye(classes)[given[train]], np.eye(classes)[found.labels]
    inner, outer = rows[np.flatnonzero(fold > 0)], rows[np.flatnonzero(fold == 0)]
    right = [
        float((SoftHead(classes).fit(inner, target).probs(outer).argmax(1) == given[held_out]).mean())
        for target in (before, after)
    ]
    return {"val_accuracy_before": right[0], "val_accuracy_after": right[1], "val_labels": len(held_out)}


def save_evidence(path: Path, evidence: Evidence, figures: dict[str, Any]) -> None:
    """Write evidence, so that a run that is killed later goes on from it."""
    plain = json.dumps({"annotators": evidence.annotators, "soft": evidence.soft, "figures": figures})
    with replace_atomically(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {
            name: value for name, value in asdict(evidence).items() if isinstance(value, np.ndarray)
        }
        np.savez(file, plain=np.frombuffer(plain.encode(), np.uint8), **arrays)


def load_evidence(path: Path) -> tuple[Evidence, dict[str, Any]]:
    """Return what :func:`save_evidence` wrote.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    """
    try:
        check_unpacked(path, "evidence")
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            plain = parsed_json(file["plain"].tobytes())
            found = Evidence(file["probs"], file["labels"], file["held_out"], plain["annotators"], plain["soft"])
            return found, plain["figures"]
    except UNREADABLE as error:
        raise CheckpointError(
            f"evidence in {path}", got=str(error), fix=f"delete {path.name}: it is made anew"
        ) from error
