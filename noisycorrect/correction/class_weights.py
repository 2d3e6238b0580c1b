"""Class weights and evidence: what a network trained with weights predicts, and what it has seen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def unweighted(task: Any, probs: Tensor) -> Tensor:
    r"""Return predictions as they would be if no class had counted more than another: :math:`\propto p_k / c_k`.

    A network trained with class weights :math:`c_k` estimates :math:`c_k P(k \mid x) / \sum_j c_j P(j \mid x)` (Elkan
    2001, "The Foundations of Cost-Sensitive Learning", Theorem 2). As evidence about labels that would be a bias
    towards the rare ones: corrected labels, and all that is estimated of them, would have too many.

    Parameters
    ----------
    task : Task
        Its ``class_weight``, (K,) >= 0, if it has any. What weighs 0 was not learnt, and stays as it is.
    probs : Tensor, shape (n, K, ...)
        Class probabilities.

    Returns
    -------
    Tensor, shape (n, K, ...)
        Themselves, if nothing is weighed.

    Examples
    --------
    >>> from noisycorrect import Classification
    >>> unweighted(Classification(2, class_weight=[1.0, 3.0]), torch.tensor([[0.25, 0.75]]))
    tensor([[0.5000, 0.5000]])
    """
    weights = _weights(task, probs)
    return probs if weights is None else _normalised(probs / weights)


def weighted(task: Any, probs: Tensor) -> Tensor:
    r"""Return probabilities as a network trained with the task's class weights says them: :math:`\propto c_k p_k`.

    The inverse of :func:`unweighted`.

    Examples
    --------
    >>> from noisycorrect import Classification
    >>> weighted(Classification(2, class_weight=[1.0, 3.0]), torch.tensor([[0.5, 0.5]]))
    tensor([[0.2500, 0.7500]])
    """
    weights = _weights(task, probs)
    return probs if weights is None else _normalised(probs * weights)


def _weights(task: Any, probs: Tensor) -> Tensor | None:
    found = getattr(task, "class_weight", None)
    if found is None or bool((found == 1).all()):
        return None
    weights = torch.where(found > 0, found, 1.0).to(probs.device, probs.dtype)
    return weights.reshape(1, -1, *[1] * (probs.dim() - 2))


def _normalised(probs: Tensor) -> Tensor:
    return probs / probs.sum(1, keepdim=True).clamp(min=torch.finfo(probs.dtype).tiny)
