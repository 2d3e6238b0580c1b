"""How far a given label may be trusted, judged by the evidence about its own sample: pure functions."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor


def agreement_trust(labels: Tensor, evidence: Tensor) -> Tensor:
    r"""Return the evidence's probability of each given label, :math:`e_{y}`: the share of trust that it has earned.

    A label that the evidence shares keeps its weight, one that it contradicts gives way: blended with this trust the
    target of a wrong label is nearly the evidence alone, that of a right one nearly the label.

    Parameters
    ----------
    labels : Tensor, shape (N, ...), integer
        Given labels; what is outside 0..K-1 (unlabelled, ignored) has trust 1: there is nothing to doubt.
    evidence : Tensor, shape (N, K, ...), floating
        Evidence, in [0, 1].

    Returns
    -------
    Tensor, shape (N, ...)
        In [0, 1].

    Examples
    --------
    >>> agreement_trust(torch.tensor([1, -1]), torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    tensor([0.2500, 1.0000])
    """
    labels = labels.long()
    known = (labels >= 0) & (labels < evidence.shape[1])
    return torch.where(known, evidence.gather(1, (labels * known).unsqueeze(1)).squeeze(1), 1.0)


def confident_trust(labels: Tensor, evidence: Tensor, threshold: float = 0.9) -> Tensor:
    """Return 0 for each label that the evidence contradicts with a probability of at least `threshold`, 1 for others.

    The most careful rule: it takes nothing from a label unless another class is all but certain, so it neither slows
    down learning nor lets a class fade that the network has not learnt (ADELE, Liu et al. 2022, corrects by it).

    Parameters
    ----------
    labels : Tensor, shape (N, ...), integer
        Given labels; what is outside 0..K-1 (unlabelled, ignored) has trust 1.
    evidence : Tensor, shape (N, K, ...), floating
        Evidence, in [0, 1].
    threshold : float
        In (0.5, 1].

    Returns
    -------
    Tensor, shape (N, ...)
        0 or 1.

    Examples
    --------
    >>> confident_trust(torch.tensor([0, 0]), torch.tensor([[0.05, 0.95], [0.2, 0.8]]))
    tensor([0., 1.])
    """
    highest, suggested = evidence.max(1)
    known = (labels >= 0) & (labels < evidence.shape[1])
    return (~(known & (suggested != labels) & (highest >= threshold))).to(evidence.dtype)


def relative_trust(labels: Tensor, evidence: Tensor) -> Tensor:
    r"""Return how probable each given label is beside the most probable class, :math:`e_y / \max_k e_k`.

    Evidence that is not sure of anything yet doubts no label much, where :func:`agreement_trust` would take weight even
    from right ones and slow learning down.

    Parameters
    ----------
    labels : Tensor, shape (N, ...), integer
        Given labels; what is outside 0..K-1 (unlabelled, ignored) has trust 1.
    evidence : Tensor, shape (N, K, ...), floating
        Evidence, in [0, 1].

    Returns
    -------
    Tensor, shape (N, ...)
        In [0, 1]; 1 where the label is the evidence's own.

    Examples
    --------
    >>> relative_trust(torch.tensor([0, 1]), torch.tensor([[0.4, 0.2, 0.4], [0.4, 0.2, 0.4]]))
    tensor([1.0000, 0.5000])
    """
    highest = evidence.amax(1)
    return torch.where(highest > 0, agreement_trust(labels, evidence) / highest.clamp(min=1e-12), 1.0).clamp(max=1)


def class_agreement(given: Tensor, evidence: Tensor) -> Tensor:
    r"""Return the mean agreement of the labels of each class: confident learning's thresholds.

    :math:`c_k = \frac{1}{|\{i: y_i = k\}|} \sum_{i: y_i = k} e_{ik}` (Northcutt et al. 2021, "Confident learning").

    Parameters
    ----------
    given : Tensor, shape (N,), int64
        0..K-1, or -1 for an unlabelled sample, which does not count.
    evidence : Tensor, shape (N, K)
        In [0, 1].

    Returns
    -------
    Tensor, shape (K,)
        In [0, 1]; 0 for a class without labels.

    Examples
    --------
    >>> class_agreement(torch.tensor([0, 0, -1]), torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]]))
    tensor([0.6000, 0.0000])
    """
    known = given >= 0
    sums = evidence.new_zeros(evidence.shape[1])
    sums.index_add_(0, given[known], agreement_trust(given, evidence)[known])
    return sums / torch.bincount(given[known], minlength=len(sums)).clamp(min=1)


def class_relative_trust(labels: Tensor, evidence: Tensor, agreement: Tensor) -> Tensor:
    r"""Return how much the evidence agrees with each label beside others of its class, :math:`\min(1, e_y / c_y)`.

    A label that the evidence shares as much as it does on average for its class is trusted wholly; so classes that the
    network has not learnt, or that are hard, are not argued away.

    Parameters
    ----------
    labels : Tensor, shape (N, ...), integer
        Given labels; what is outside 0..K-1 (unlabelled, ignored) has trust 1.
    evidence : Tensor, shape (N, K, ...)
        In [0, 1].
    agreement : Tensor, shape (K,)
        :func:`class_agreement`.

    Returns
    -------
    Tensor, shape (N, ...)
        In [0, 1].

    Examples
    --------
    >>> class_relative_trust(torch.tensor([0, 0]), torch.tensor([[0.9, 0.1], [0.3, 0.7]]), torch.tensor([0.6, 0.0]))
    tensor([1.0000, 0.5000])
    """
    labels = labels.long()
    known = (labels >= 0) & (labels < len(agreement))
    average = agreement[labels * known]
    trust = torch.where(average > 0, agreement_trust(labels, evidence) / average.clamp(min=1e-12), 1.0)
    return torch.where(known, trust.clamp(max=1), 1.0)


class QualityMixture(NamedTuple):
    r"""Two groups of labels, good and bad: a mixture of two normals of their losses under the evidence.

    Arazo et al. 2019 and DivideMix (Li et al. 2020, sec. 3.1) split samples by a two-component mixture of their losses;
    the loss of a label under the evidence is minus the logarithm of its quality. The losses are scaled to [0, 1] by
    `low` and `spread`; the first component is the one of lower mean.

    Attributes
    ----------
    weights, means, variances : tuple of float
        One entry a component.
    low, spread : float
        Smallest loss, and the distance to the largest; a spread of 0 says that all are alike, and all are trusted.

    Examples
    --------
    >>> mixture = QualityMixture.fit(torch.tensor([0.99, 0.98, 0.97, 0.99, 0.01, 0.02]))
    >>> mixture.trust(torch.tensor([0.98, 0.03])).round()
    tensor([1., 0.])
    """

    weights: tuple[float, float] = (1.0, 0.0)
    means: tuple[float, float] = (0.0, 1.0)
    variances: tuple[float, float] = (1.0, 1.0)
    low: float = 0.0
    spread: float = 0.0

    @classmethod
    def fit(cls, quality: Tensor) -> QualityMixture:
        """Return the mixture of label qualities (N,), in [0, 1], as scikit-learn's GaussianMixture finds it."""
        losses = _losses(quality).numpy()
        spread = float(losses.max() - losses.min()) if losses.size else 0.0
        if spread < 1e-9:
            return cls()
        scaled = ((losses - losses.min()) / spread).reshape(-1, 1)
        start = np.quantile(scaled, [0.1, 0.9]).reshape(2, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a rough split is enough, and no fault of the caller
            fitted = GaussianMixture(2, max_iter=50, reg_covar=5e-4, means_init=start, random_state=0).fit(scaled)
        good, bad = fitted.means_[:, 0].argsort()

        def pair(values: np.ndarray) -> tuple[float, float]:
            return float(values[good].item()), float(values[bad].item())

        weights, means, variances = map(pair, (fitted.weights_, fitted.means_, fitted.covariances_))
        return cls(weights, means, variances, low=float(losses.min()), spread=spread)

    def trust(self, quality: Tensor) -> Tensor:
        """Return the posterior of the good group, float32 (N,), for label qualities (N,); never rises with the loss."""
        if not self.spread:
            return torch.ones_like(quality, dtype=torch.float32)
        scaled = (_losses(quality) - self.low) / self.spread
        # Far below the mean of a narrow good group the wide bad one would win: best labels are not to be doubted.
        scaled = scaled.clamp(min=self.means[0]).unsqueeze(-1)
        weights, means, variances = (scaled.new_tensor(values) for values in self[:3])
        log_density = weights.log() - 0.5 * variances.log() - 0.5 * (scaled - means) ** 2 / variances
        return log_density.softmax(-1)[..., 0].float().to(quality.device)


def _losses(quality: Tensor) -> Tensor:
    return -quality.detach().cpu().double().clamp(min=1e-6).log()  # not every device has float64


def estimated_transition(given: Tensor, evidence: Tensor, *, smoothing: float = 1.0) -> Tensor:
    r"""Return the transition matrix that evidence and given labels suggest.

    :math:`T_{kj} \propto \sum_{i: y_i = j} e_{ik}`: each sample counts for class k as far as the evidence says so.

    Parameters
    ----------
    given : Tensor, shape (N,), int64
        0..K-1, or -1 for an unlabelled sample, which does not count.
    evidence : Tensor, shape (N, K), floating
        In [0, 1].
    smoothing : float
        Added to every count, > 0, so that no entry is 0.

    Returns
    -------
    Tensor, shape (K, K), dtype of `evidence`
        Row k: how the samples of class k are labelled; rows sum to 1.

    Examples
    --------
    >>> estimated_transition(torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    tensor([[0.5000, 0.5000],
            [0.3333, 0.6667]])
    """
    known = given >= 0
    classes = evidence.shape[1]
    counts = torch.zeros(classes, classes, dtype=evidence.dtype, device=evidence.device)
    counts.index_add_(0, given[known], evidence[known])  # [given, class]
    counts = counts.T + smoothing
    return counts / counts.sum(1, keepdim=True)


def posterior_trust(given: Tensor, evidence: Tensor, transition: Tensor) -> Tensor:
    r"""Return the chance that a given label is right, calibrated by how classes are confused.

    Bayes' rule with the evidence as the prior of the true class and the transition matrix as the likelihood of the
    given label: :math:`e_y T_{yy} / \sum_k e_k T_{ky}`. Where the labels are good (T near the identity) moderate
    evidence is not enough to doubt one; where class k is often given as y, a little is.

    Parameters
    ----------
    given : Tensor, shape (N,), int64
        0..K-1, or -1 for an unlabelled sample, whose trust is 1.
    evidence : Tensor, shape (N, K)
        In [0, 1].
    transition : Tensor, shape (K, K)
        Row k: how class k is labelled.

    Returns
    -------
    Tensor, shape (N,)
        In [0, 1].

    Examples
    --------
    >>> transition = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    >>> posterior_trust(torch.tensor([0, 1]), torch.full((2, 2), 0.5), transition)
    tensor([0.7500, 0.8750])
    """
    known = given >= 0
    joint = evidence * transition.T[given * known]
    mass = joint.sum(1)
    chance = joint.gather(1, (given * known).unsqueeze(1)).squeeze(1) / mass.clamp(min=1e-12)
    return torch.where(known & (mass > 0), chance, 1.0)
