"""From features and the votes of several annotators to labels, without training a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from noisycorrect.data.consensus import Consensus, dawid_skene
from noisycorrect.data.votes import Votes
from noisycorrect.features.head import SoftHead
from noisycorrect.features.inputs import Features, prepared_features, stratified_folds
from noisycorrect.features.neighbors import held_out_neighbors, vote
from noisycorrect.features.pool import fit_pool, log_linear_pool
from noisycorrect.labels.given import checked_labels
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError

# Chosen on generated tickets, seeds 100 to 104: how far labels are decided relative to the shares of the classes.
CLASS_POWER = 0.75
LEAST_PROB = 1e-6  # of a class in the evidence


@dataclass(frozen=True, eq=False)
class VoteEvidence:
    """What features and votes say together; made by :func:`consensus_from_features`.

    Attributes
    ----------
    consensus : Consensus
        Posterior of the items' classes, and the annotators' confusion matrices.
    evidence : ndarray, shape (N, K), float32
        What the features alone say: class probabilities from models that have not seen the votes on the item.
    """

    consensus: Consensus
    evidence: np.ndarray = field(repr=False)

    @property
    def probs(self) -> np.ndarray:
        """Probability of each class of each item, given votes and features, float64 (N, K)."""
        return self.consensus.probs

    @property
    def labels(self) -> np.ndarray:
        r"""Label of each item, int64 (N,), of one without a vote, too: there the features decide.

        :math:`\arg\max_k p_{ik} / \pi_k^{0.75}`; see :func:`decided`.
        """
        return decided(self.probs, self.probs.mean(0))


def decided(probs: np.ndarray, shares: np.ndarray, power: float = CLASS_POWER) -> np.ndarray:
    r"""Return :math:`\arg\max_k p_{ik} / \pi_k^{\tau}`, int64 (N,): a class is not left out for being rare.

    Logit adjustment (Menon et al. 2021, "Long-tail learning via logit adjustment", Eq. 9); a class without a share is
    never chosen.

    Parameters
    ----------
    probs : ndarray, shape (N, K)
        Probabilities.
    shares : ndarray, shape (K,)
        :math:`\pi`, share of each class.
    power : float
        :math:`\tau`, in [0, 1].

    Examples
    --------
    >>> decided(np.array([[0.6, 0.4]]), np.array([0.9, 0.1])).tolist()
    [1]
    """
    relative = probs * np.where(shares > 0, np.maximum(shares, np.finfo(float).tiny) ** -power, 0)
    return np.asarray(relative.argmax(1))


def consensus_from_features(
    features: Any,
    votes: Votes,
    *,
    known: Any = None,
    neighbors: int = 30,
    folds: int = 5,
    rounds: int = 2,
    seed: int = 0,
    on_round: Callable[[int], None] | None = None,
) -> VoteEvidence:
    r"""Estimate the classes of items from their features and the votes on them, and the annotators with them.

    Expectation maximisation as in Raykar et al. 2010, "Learning From Crowds", with held-out instead of fitted
    probabilities, as in :func:`~noisycorrect.fit_votes`, and no network:

    1. Begin with :func:`~noisycorrect.dawid_skene` of the votes alone, or their shares if nobody votes twice.
    2. Nearest neighbours and a logistic regression learn the posterior in all folds but one, and say of that fold what
       they expect; their opinions are pooled with powers that they earn
       (:func:`~noisycorrect.features.pool.log_linear_pool`).
    3. The votes calibrate this evidence, and :func:`~noisycorrect.dawid_skene` makes a new posterior of both. Go on
       with 2.

    Parameters
    ----------
    features : array-like or scipy.sparse matrix, shape (N, F)
        As for :func:`~noisycorrect.evidence_from_features`.
    votes : Votes
        On these items, in order; one annotator is enough: then his confusion matrix is the noise of the labels.
    known : array-like of int, shape (N,), optional
        Classes that are certain, because somebody has checked them; -1 for the others. Their posterior is 1.
    neighbors : int
        k, at least 0; 0 leaves the neighbours out, whose search takes time quadratic in the items.
    folds, rounds : int
        At least 2; at least 1.
    seed : int
        Of the division into folds.
    on_round : callable, optional
        Is told after each round how many are done.

    Returns
    -------
    VoteEvidence

    Raises
    ------
    InvalidInputError
        If features are not finite, do not vary or are not as many as the items, all votes name one class, or a number
        is out of range.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = np.repeat([0, 1], 60)
    >>> features = rng.normal(size=(120, 4)) + 2 * truth[:, None]
    >>> wrong = rng.random((120, 2)) < [0.1, 0.4]
    >>> found = consensus_from_features(features, Votes.from_table(np.where(wrong, 1 - truth[:, None], truth[:, None])))
    >>> bool((found.labels == truth).mean() > 0.95), found.consensus.accuracy.round(1)
    (True, array([0.9, 0.6]))
    """
    k, folds = whole_number("neighbors", neighbors, least=0), whole_number("folds", folds, least=2)
    rounds = whole_number("rounds", rounds, least=1)
    rows = prepared_features(features)
    if rows.shape[0] != votes.num_items:
        fix = "pass one row of features an item, in the order of the votes"
        raise InvalidInputError(f"features of {votes.num_items} items", got=f"{rows.shape[0]} rows", fix=fix)
    majority = votes.majority()
    if len(np.unique(majority[majority != UNLABELED])) < 2:
        raise InvalidInputError("votes for two classes", got="one class alone", fix="pass votes that tell items apart")
    fold = stratified_folds(majority, folds, np.random.default_rng(whole_number("seed", seed, least=0)))
    opinions = _Opinions(rows, fold, folds, k, votes.num_classes)
    twice = bool((votes.votes_of_items > 1).any())
    certain = checked_labels(np.full(votes.num_items, UNLABELED) if known is None else known, votes.num_classes)
    posterior = _certain(dawid_skene(votes).probs if twice else _shares(votes), certain)
    for number in range(1, rounds + 1):
        evidence = opinions.of(posterior)
        found = dawid_skene(votes, evidence)
        posterior = _certain(found.probs, certain)
        if on_round is not None:
            on_round(number)
    return VoteEvidence(replace(found, probs=posterior, prior=posterior.mean(0)), evidence)


def _certain(posterior: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return a posterior with 1 at the classes that are certain."""
    rows = np.flatnonzero(known != UNLABELED)
    changed = posterior.copy()
    changed[rows] = 0
    changed[rows, known[rows]] = 1
    return changed


def _shares(votes: Votes) -> np.ndarray:
    """Return the shares of the votes on each item, with one vote more for the classes as they are frequent."""
    counts = votes.counts()
    shares = counts + counts.sum(0) / counts.sum()
    return np.asarray(shares / shares.sum(1, keepdims=True))


class _Opinions:
    """Neighbours and a head for each fold, which go on from where they were a round ago."""

    def __init__(self, rows: Features, fold: np.ndarray, folds: int, neighbors: int, classes: int) -> None:
        self.rows, self.fold, self.folds, self.classes = rows, fold, folds, classes
        sizes = np.bincount(fold, minlength=folds)[:folds]
        k = min(neighbors, int(sizes.sum() - sizes.max()))
        self.around = held_out_neighbors(rows, fold, folds, k) if k else None
        self.heads = {int(own): SoftHead(classes) for own in np.unique(fold)}

    def of(self, posterior: np.ndarray) -> np.ndarray:
        """Return held-out probabilities (N, K), given what the others' classes are believed to be."""
        probs = np.zeros(posterior.shape, np.float32)
        for own, head in self.heads.items():
            train, held_out = np.flatnonzero((self.fold != own) & (self.fold < self.folds)), self.fold == own
            probs[held_out] = head.fit(self.rows[train], posterior[train]).probs(self.rows[np.flatnonzero(held_out)])
        believed = posterior.argmax(1)
        known = self.fold < self.folds
        said = [probs]
        if self.around is not None:
            prior = posterior[known].mean(0)
            said.append(vote(self.around, believed, posterior.max(1)[self.around], prior))
        weights = fit_pool([opinion[known] for opinion in said], believed[known])
        pooled = np.maximum(log_linear_pool(said, weights), LEAST_PROB)
        return np.asarray(pooled / pooled.sum(1, keepdims=True), np.float32)
