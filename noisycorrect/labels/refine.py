"""Blending given labels with evidence (SCHP, Eq. 7): pure functions on tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from noisycorrect.support.errors import InvalidInputError

UNLABELED = -1


def blend(labels: Tensor, evidence: Tensor, trust: Tensor) -> Tensor:
    r"""Return the refined labels: :math:`t\,y + (1 - t)\,e`, y being the label's class alone.

    With trust :math:`t = 1/(m+1)` and evidence the mean of the m predictions so far this is SCHP's Eq. 7, unrolled:
    :math:`\hat y_m = \frac{m}{m+1} \hat y_{m-1} + \frac{1}{m+1} p_m
    = \frac{1}{m+1} y + \frac{m}{m+1} \frac1m \sum_{k=1}^m p_k`.

    Parameters
    ----------
    labels : Tensor, shape (N, ...), int64
        Given labels; what is outside 0..K-1 is ignored.
    evidence : Tensor, shape (N, K, ...), floating
        Mean prediction; zeros before the first generation.
    trust : Tensor, shape (N,) or (N, ...)
        Weight on the given label, in [0, 1]; one a sample, or one a pixel
        (:meth:`Trust.of <noisycorrect.labels.trust.Trust.of>`).

    Returns
    -------
    Tensor, shape (N, K, ...)
        Refined labels, summing to 1 where the evidence does; zero at ignored labels.

    Examples
    --------
    >>> blend(torch.tensor([[0, 255]]), torch.full((1, 2, 2), 0.5), torch.tensor([0.5]))
    tensor([[[0.7500, 0.0000],
             [0.2500, 0.0000]]])
    """
    known = (labels >= 0) & (labels < evidence.shape[1])
    weight = trust.reshape(len(trust), *[1] * (labels.dim() - 1)) if trust.dim() == 1 else trust
    weight = weight.to(evidence.dtype).expand(labels.shape)
    refined = evidence * (1 - weight).unsqueeze(1)
    refined.scatter_add_(1, (labels * known).unsqueeze(1), weight.unsqueeze(1))
    return refined.masked_fill_(~known.unsqueeze(1), 0)


def most_probable(refined: Tensor, given: Tensor) -> Tensor:
    """Return the most probable class of refined labels, int64 (N, ...); of equally probable ones the given one.

    Evidence that is wholly sure of another class weighs as much as a label that is half trusted, as all are after the
    first cycle: what speaks for neither changes no label.

    Parameters
    ----------
    refined : Tensor, shape (N, K, ...)
        As of :func:`blend`.
    given : Tensor, shape (N, ...), int64
        Given labels; what is outside 0..K-1 is none: of equally probable classes it has the first.

    Examples
    --------
    >>> most_probable(torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.8, 0.2]]), torch.tensor([1, -1, 1]))
    tensor([1, 0, 0])
    """
    highest, found = refined.max(1)
    known = (given >= 0) & (given < refined.shape[1])
    own = refined.gather(1, (given * known).unsqueeze(1)).squeeze(1)
    return torch.where(known & (own >= highest), given, found)


def within(values: Tensor, labels: Tensor) -> Tensor:
    """Return values (N, K, ...) as far as padded labels (N, ...) reach.

    Examples
    --------
    >>> within(torch.zeros(4, 3, 9), torch.zeros(4, 7)).shape
    torch.Size([4, 3, 7])
    """
    ends: list[Any] = [slice(end) for end in labels.shape[1:]]
    return values[(..., *ends)]


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Return labels as float32 probabilities; -1 (unlabelled) becomes a row of zeros.

    Parameters
    ----------
    labels : Tensor, shape (N,), integer
        In -1..`num_classes` - 1.

    Returns
    -------
    Tensor, shape (N, K), float32

    Examples
    --------
    >>> one_hot(torch.tensor([1, -1]), 2)
    tensor([[0., 1.],
            [0., 0.]])
    """
    return (labels.unsqueeze(-1) == torch.arange(num_classes, device=labels.device)).float()


def mean_evidence(evidence: Tensor, probs: Tensor, count: int) -> Tensor:
    """Return the mean of `count` predictions and one more: the evidence that Eq. 7 needs.

    Parameters
    ----------
    evidence : Tensor
        Mean of the first `count` predictions (any value if `count` is 0).
    probs : Tensor
        The next prediction, same shape, in [0, 1].
    count : int
        Predictions so far, >= 0.

    Examples
    --------
    >>> mean_evidence(torch.tensor([0.4, 0.6]), torch.tensor([1.0, 0.0]), count=2)
    tensor([0.6000, 0.4000])
    """
    return probs if count == 0 else evidence + (probs - evidence) / (count + 1)


def exponential_evidence(evidence: Tensor, probs: Tensor, count: int, momentum: float) -> Tensor:
    """Return the exponential average of predictions, `momentum` being the weight of the past; the first is copied.

    Examples
    --------
    >>> exponential_evidence(torch.tensor([0.4, 0.6]), torch.tensor([1.0, 0.0]), count=2, momentum=0.5)
    tensor([0.7000, 0.3000])
    """
    return probs if count == 0 else momentum * evidence + (1 - momentum) * probs


def align_to_prior(evidence: Tensor, frequency: Tensor, prior: Tensor) -> Tensor:
    r"""Return evidence with another class prior: :math:`e_k \pi_k / f_k`, normalised ("distribution alignment").

    With f the mean evidence over the data set and :math:`\pi` the frequencies of the given labels, a class that the
    evidence gives too rarely is raised, one that it gives too often lowered (Berthelot et al. 2020, "ReMixMatch",
    sec. 3.1).

    Parameters
    ----------
    evidence : Tensor, shape (N, K)
        In [0, 1].
    frequency : Tensor, shape (K,)
        Mean of all evidence.
    prior : Tensor, shape (K,)
        Frequencies to have instead, >= 0.

    Returns
    -------
    Tensor, shape (N, K)
        Rows sum to 1.

    Examples
    --------
    >>> align_to_prior(torch.tensor([[0.5, 0.5]]), torch.tensor([0.75, 0.25]), torch.tensor([0.5, 0.5]))
    tensor([[0.2500, 0.7500]])
    """
    aligned = evidence * (prior / frequency.clamp(min=1e-6))
    return aligned / aligned.sum(1, keepdim=True).clamp(min=1e-12)


def check_probs(probs: Tensor, num_classes: int, *, independent: bool = False) -> None:
    """Raise unless `probs` are finite class probabilities of shape (N, K, ...), each in [0, 1] and summing to 1.

    Those of `independent` classes need not sum to anything.

    Raises
    ------
    InvalidInputError
        On another shape, a NaN, or rows that are no probabilities (tolerance 1e-3 on the sum).
    """
    if probs.dim() < 2 or probs.shape[1] != num_classes:
        raise InvalidInputError(
            f"probabilities of shape (N, {num_classes}, ...)",
            got=f"shape {tuple(probs.shape)}",
            fix="num_classes must be the number of the model's outputs",
        )
    if not torch.isfinite(probs).all():
        raise InvalidInputError(
            "finite probabilities", got="NaN or infinity", fix="lower the learning rate or clip gradients"
        )
    if independent and probs.numel() and (probs.min() < 0 or probs.max() > 1):
        got = f"values from {probs.min():.3g} to {probs.max():.3g}"
        raise InvalidInputError("probabilities in [0, 1]", got=got, fix="apply sigmoid to logits first")
    if not independent and probs.numel() and (probs.min() < 0 or ((probs.sum(1) - 1).abs() > 1e-3).any()):
        raise InvalidInputError(
            "probabilities in [0, 1] that sum to 1",
            got=f"values from {probs.min():.3g}, sums from {probs.sum(1).min():.3g} to {probs.sum(1).max():.3g}",
            fix="apply softmax to logits first",
        )
