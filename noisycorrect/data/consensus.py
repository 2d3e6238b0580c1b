"""What several annotators mean together: Dawid and Skene's expectation maximisation, with or without a model.

A. P. Dawid and A. M. Skene 1979, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm": each
annotator has a confusion matrix, and given the true class the votes on an item are independent. V. C. Raykar et al.
2010, "Learning From Crowds": a classifier's probability of the item takes the place of the class prior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from noisycorrect.data.votes import Votes
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError

STRENGTH = 4.0  # votes of prior knowledge in each row of a confusion matrix
BIAS_VARIANCE = 1.0  # of the Gaussian prior of what is added to a class's log-evidence
FLOOR = 1e-6  # evidence below it says no more
_STEPS = 10  # of the optimiser of the calibration, in each M-step
_TEMPERATURES = (0.05, 20.0)  # between which the exponent of the evidence is looked for

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Consensus:
    """The outcome of :func:`dawid_skene`.

    Attributes
    ----------
    votes : Votes
        What it is about.
    probs : ndarray of float64, shape (N, K)
        Posterior probability of each class of each item; of an item without a vote, what the prior says.
    confusion : ndarray of float64, shape (A, K, K)
        ``confusion[a, k, l]`` is the probability that annotator a votes l if the class is k; rows sum to 1.
    prior : ndarray of float64, shape (K,)
        Share of each class: mean of `probs`.
    objective : tuple of float
        Log-posterior density of the parameters after each iteration, up to a constant; it never falls.
    temperature : float
        Exponent of the evidence; 1 without evidence.
    bias : ndarray of float64, shape (K,)
        What is added to each class's log-evidence (without evidence: the logarithm of the class prior).
    """

    votes: Votes
    probs: Array = field(repr=False)
    confusion: Array = field(repr=False)
    prior: Array
    objective: tuple[float, ...] = field(repr=False, default=())
    temperature: float = 1.0
    bias: Array | None = field(repr=False, default=None)

    @property
    def labels(self) -> Array:
        """Most probable class of each item, int64 (N,); -1 for an item without a vote."""
        return np.where(self.votes.votes_of_items > 0, self.probs.argmax(1), UNLABELED)

    @property
    def vote_quality(self) -> Array:
        """Probability that each vote is right, float64 (V,); low is suspicious."""
        return np.asarray(self.probs[self.votes.item, self.votes.label])

    @property
    def accuracy(self) -> Array:
        """Probability that a vote of each annotator is right, classes as frequent as `prior`, float64 (A,).

        NaN for one who gave no vote.
        """
        right = np.diagonal(self.confusion, axis1=1, axis2=2) @ self.prior
        return np.where(self.votes.votes_of_annotators > 0, right, np.nan)

    def annotators(self) -> list[dict[str, Any]]:
        """Return one record an annotator, the least accurate first.

        It has ``annotator`` (the name), ``votes``, ``accuracy``, and ``classes``, the accuracy by class name. Who gave
        no vote comes last, with NaN.
        """
        counts = self.votes.votes_of_annotators
        records = [
            {
                "annotator": name,
                "votes": int(counts[a]),
                "accuracy": float(self.accuracy[a]),
                "classes": dict(zip(self.votes.classes, np.diagonal(self.confusion[a]).tolist(), strict=True))
                if counts[a]
                else dict.fromkeys(self.votes.classes, math.nan),
            }
            for a, name in enumerate(self.votes.annotators)
        ]
        return sorted(records, key=lambda record: (record["votes"] == 0, record["accuracy"]))


@door(own=True)
def dawid_skene(
    votes: Votes,
    evidence: Any = None,
    *,
    strength: float = STRENGTH,
    iterations: int = 100,
    tolerance: float = 1e-6,
) -> Consensus:
    r"""Estimate true classes and the annotators' confusion matrices from each other.

    With :math:`\pi^a_{kl}` the probability that annotator a calls class k l, and :math:`\rho_{ik}` the prior of item i:

    - E-step: :math:`q_{ik} \propto \rho_{ik} \prod_{(a, l)} \pi^a_{kl}` over the votes on i (Dawid & Skene, Eq. 2.5);
    - M-step: :math:`\pi^a_{kl} \propto \alpha_{kl} - 1 + \sum_i q_{ik} n^a_{il}` (Eq. 2.3, with a Dirichlet prior).

    Without evidence :math:`\rho_{ik}` is the share of class k (Eq. 2.4, with one item more of each class). With it,
    :math:`\rho_i = \mathrm{softmax}(t \log e_i + b)` (Raykar et al. 2010, Eq. 11, and Platt scaling); temperature t and
    bias b are estimated in the M-step. So the votes themselves say how much a model's probabilities are worth and which
    classes it neglects. The evidence of an item must not have been learnt from the votes on it: else they count twice.

    The Dirichlet prior is worth `strength` votes in each row of a matrix, and its mean is an annotator who is right
    with probability r and wrong evenly; r is what the agreement of all votes in pairs says,
    :math:`r^2 + (1-r)^2/(K-1)`. It keeps alive the classes of which an annotator has seen few, and makes an annotator
    of few votes an average one.

    Parameters
    ----------
    votes : Votes
        At least one; an item may have none, and gets its prior.
    evidence : array-like, shape (N, K), optional
        Class probabilities of the items.
    strength : float
        > 0; see above.
    iterations : int
        At most so many, at least 1.
    tolerance : float
        Stop when the objective rises by less than this share of itself.

    Returns
    -------
    Consensus

    Raises
    ------
    InvalidInputError
        If an argument is out of range, the evidence is no table of probabilities, or, without evidence, no item has
        votes of two annotators: then nothing tells the annotators from each other.

    Examples
    --------
    >>> votes = Votes.from_table([[0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 1, 0], [0, 0, 1]])
    >>> found = dawid_skene(votes)
    >>> found.labels, found.accuracy.round(2)
    (array([0, 1, 0, 1, 1, 0]), array([0.77, 0.77, 0.54]))
    """
    finite_number("strength", strength, above=1e-3, fix="4 is the default")
    rounds = whole_number("iterations", iterations, least=1)
    model = _Model(votes, strength)
    log_evidence = None if evidence is None else _checked_evidence(evidence, votes)
    if log_evidence is None and not (votes.votes_of_items > 1).any():
        fix = "pass evidence=, the probabilities of a model that was trained without the votes on the item"
        raise InvalidInputError("items with two votes at least", got="one vote an item at most", fix=fix)
    prior = _ItemPrior(log_evidence, votes.num_classes)
    post, trace = prior.first(votes), []
    for _ in range(rounds):
        log_confusion = model.maximise(post)
        prior.maximise(post)
        post, likelihood = model.expect(log_confusion, prior.log)
        trace.append(likelihood + model.log_density(log_confusion) + prior.log_density())
        if len(trace) > 1 and trace[-1] - trace[-2] <= tolerance * abs(trace[-1]):
            break
    confusion = np.exp(log_confusion)
    return Consensus(votes, post, confusion, post.mean(0), tuple(trace), prior.temperature, prior.bias)


def consensus_of(votes: Votes, probs: Any, *, strength: float = STRENGTH) -> Consensus:
    """Return what given posterior probabilities (N, K) say of the annotators: one M-step of :func:`dawid_skene`."""
    post = np.exp(_checked_evidence(probs, votes))
    return Consensus(votes, post, np.exp(_Model(votes, strength).maximise(post)), post.mean(0))


class _Model:
    """The votes as a sparse matrix, one column an (annotator, class) pair: both steps are products with it."""

    def __init__(self, votes: Votes, strength: float) -> None:
        import scipy.sparse as sp  # here: it takes a while to import, as scipy.optimize does

        self.shape = (votes.num_annotators, votes.num_classes, votes.num_classes)
        column = votes.annotator * votes.num_classes + votes.label
        size = (votes.num_items, votes.num_annotators * votes.num_classes)
        self.votes = sp.csr_array((np.ones(len(votes)), (votes.item, column)), shape=size)
        self.transposed = self.votes.T.tocsr()
        self.extra = strength * average_confusion(votes)  # alpha - 1, (K, K)

    def maximise(self, post: Array) -> Array:
        """Return the logarithm of the confusion matrices, (A, K, K) [annotator, true, vote]."""
        counts = (self.transposed @ post).reshape(self.shape).transpose(0, 2, 1) + self.extra
        return np.asarray(np.log(counts) - np.log(counts.sum(2, keepdims=True)))

    def expect(self, log_confusion: Array, log_prior: Array) -> tuple[Array, float]:
        """Return the posterior (N, K), and the log-likelihood of all votes."""
        from scipy.special import logsumexp

        by_column = log_confusion.transpose(0, 2, 1).reshape(-1, self.shape[1])
        joint = self.votes @ by_column + log_prior
        evidence = logsumexp(joint, axis=1, keepdims=True)
        return np.exp(joint - evidence), float(evidence.sum())

    def log_density(self, log_confusion: Array) -> float:
        """Return the log-density of the Dirichlet prior, up to a constant."""
        return float((self.extra * log_confusion).sum())


class _ItemPrior:
    """Prior of each item's class: the share of the class, or calibrated evidence."""

    def __init__(self, log_evidence: Array | None, classes: int) -> None:
        self.log_evidence = log_evidence
        self.temperature, self.bias = 1.0, np.full(classes, -math.log(classes))
        if log_evidence is not None:
            self.bias = np.zeros(classes)

    @property
    def log(self) -> Array:
        """Its logarithm, (N, K) or (1, K)."""
        if self.log_evidence is None:
            return self.bias[None]
        from scipy.special import log_softmax

        return np.asarray(log_softmax(self.temperature * self.log_evidence + self.bias, axis=1))

    def first(self, votes: Votes) -> Array:
        """Return where the iteration starts: shares of votes, with a vote spread over all classes, times evidence."""
        counts = votes.counts()
        shares = (counts + counts.sum(0) / counts.sum()) * np.exp(self.log)
        return np.asarray(shares / shares.sum(1, keepdims=True))

    def maximise(self, post: Array) -> None:
        """Estimate class shares, or temperature and bias."""
        if self.log_evidence is None:
            shares = post.sum(0) + 1
            self.bias = np.log(shares / shares.sum())
            return
        from scipy.optimize import minimize
        from scipy.special import logsumexp

        log_evidence = self.log_evidence
        inner, totals = float((post * log_evidence).sum()), post.sum(0)

        def cost(values: Array) -> tuple[float, Array]:
            scores = values[0] * log_evidence + values[1:]
            norm = logsumexp(scores, axis=1, keepdims=True)
            probs = np.exp(scores - norm)
            loss = norm.sum() - values[0] * inner - totals @ values[1:] + values[1:] @ values[1:] / (2 * BIAS_VARIANCE)
            slopes = probs.sum(0) - totals + values[1:] / BIAS_VARIANCE
            return float(loss), np.concatenate([[(probs * log_evidence).sum() - inner], slopes])

        bounds = [_TEMPERATURES, *[(None, None)] * len(self.bias)]
        start = np.concatenate([[self.temperature], self.bias])
        found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS})
        self.temperature, self.bias = float(found.x[0]), found.x[1:]

    def log_density(self) -> float:
        """Return the log-density of the prior of its parameters, up to a constant."""
        if self.log_evidence is None:
            return float(self.bias.sum())
        return float(-(self.bias @ self.bias) / (2 * BIAS_VARIANCE))


def average_confusion(votes: Votes) -> Array:
    """Return the confusion matrix (K, K) of an annotator who is right as often as votes agree in pairs.

    Two who are right with probability r, and else wrong evenly, agree with probability :math:`r^2 + (1-r)^2/(K-1)`.
    Where no item has two votes, r is halfway between chance and 1; it is at most .99 and no less than chance.

    Examples
    --------
    >>> average_confusion(Votes.from_table([[0, 0], [1, 1], [1, 0]]))
    array([[0.78867513, 0.21132487],
           [0.21132487, 0.78867513]])
    """
    classes, counts = votes.num_classes, votes.counts()
    totals = counts.sum(1)
    pairs, chance = (totals * (totals - 1)).sum(), 1 / classes
    right = (1 + chance) / 2
    if pairs:
        agreement = (counts * (counts - 1)).sum() / pairs
        # The larger root of K r^2 - 2 r + 1 - (K - 1) agreement = 0.
        right = (1 + math.sqrt(max(0.0, 1 - classes * (1 - (classes - 1) * agreement)))) / classes
    right = min(max(right, chance), 0.99)
    matrix = np.full((classes, classes), (1 - right) / (classes - 1))
    np.fill_diagonal(matrix, right)
    return matrix


def _checked_evidence(evidence: Any, votes: Votes) -> Array:
    """Return the logarithm of the evidence, no less than that of `FLOOR`."""
    probs = np.asarray(evidence, dtype=np.float64)
    shape = (votes.num_items, votes.num_classes)
    usable = probs.shape == shape and bool((probs >= 0).all()) and bool((np.abs(probs.sum(1) - 1) < 1e-3).all())
    if not usable:
        got = f"shape {probs.shape}" if probs.shape != shape else "rows that are negative, NaN or do not sum to 1"
        raise InvalidInputError(f"probabilities of shape {shape}", got=got, fix="pass a row of probabilities an item")
    probs = np.maximum(probs, FLOOR)
    return np.asarray(np.log(probs / probs.sum(1, keepdims=True)))
