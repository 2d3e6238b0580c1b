"""Cross-entropy of maps, with hard labels or with soft targets, over the pixels that count."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.losses.targets import Targets, check_maps, targets_like, widen
from noisycorrect_seg.masks import IGNORE_INDEX


@door(own=True)
def cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int = IGNORE_INDEX, *, class_weights: Tensor | None = None
) -> Tensor:
    r"""Return the mean cross-entropy over the valid pixels.

    .. math:: -\frac{\sum_i \sum_k w_k\, t_{ik} \log p_{ik}}{\sum_i \sum_k w_k\, t_{ik}}, \qquad p_i = softmax(z_i) .

    With one-hot targets this is torch's weighted mean. The published code divides by the number of pixels times the
    number of classes when targets are soft, so that this term shrinks twentyfold when correction starts; here it does
    not. (Its divergence from the target differs from this cross-entropy by the entropy of the target, a constant.)

    Parameters
    ----------
    logits : Tensor, shape (N, K, H, W)
        Scores :math:`z`; half precision is computed in float32.
    targets : Tensor
        Hard labels, integer (N, H, W), 0..K-1 or `ignore_index`; or soft targets, floating (N, K, H, W), with columns
        of zeros at ignored pixels. Soft targets get no gradient.
    ignore_index : int
        Hard label of a pixel to leave out.
    class_weights : Tensor, shape (K,), optional
        :math:`w_k \ge 0`; all 1 by default.

    Returns
    -------
    Tensor, scalar
        At least 0, float32 (float64 for float64 `logits`); 0, with a gradient of zeros, if no pixel is valid.

    Raises
    ------
    InvalidInputError
        If shapes, labels or weights are not as above.

    Examples
    --------
    >>> logits = torch.zeros(1, 4, 1, 2)
    >>> cross_entropy(logits, torch.tensor([[[3, 255]]]))  # log 4
    tensor(1.3863)
    >>> cross_entropy(logits, torch.full((1, 4, 1, 2), 0.25))
    tensor(1.3863)
    """
    check_maps(logits, "logits")
    checked = targets_like(targets, logits, ignore_index)
    weights = check_weights(class_weights, logits.shape[1])
    return cross_entropy_of(widen(logits).log_softmax(1), checked, weights)


def cross_entropy_of(log_probs: Tensor, targets: Targets, class_weights: Tensor | None = None) -> Tensor:
    """Return :func:`cross_entropy` of log-probabilities and targets that are checked already."""
    weights = None if class_weights is None else class_weights.to(log_probs)
    if targets.soft is None:
        labels = targets.labels
        total = F.nll_loss(log_probs, labels, weights, ignore_index=targets.ignore_index, reduction="sum")
        if weights is None:
            return total / targets.count.clamp(min=1)
        mass = weights[labels.where(targets.valid, 0)].where(targets.valid, 0).sum()
    else:
        soft = targets.soft.to(log_probs.dtype)
        if weights is not None:
            soft = soft * weights[:, None, None]
        total = -torch.dot(soft.flatten(), log_probs.flatten())  # no map of products is made
        if weights is None:
            return total / targets.count.clamp(min=1)
        mass = soft.sum()
    return total / mass.where(mass > 0, 1)


def check_weights(class_weights: Tensor | None, num_classes: int) -> Tensor | None:
    """Return the weights as they are, or raise.

    Raises
    ------
    InvalidInputError
        Unless they are None, or K finite numbers of at least 0 that are not all 0.
    """
    if class_weights is None:
        return None
    shape = tuple(class_weights.shape)
    if shape != (num_classes,) or not bool(((class_weights >= 0) & class_weights.isfinite()).all()):
        raise InvalidInputError(
            f"{num_classes} finite class weights of at least 0", got=f"{class_weights.tolist()}", fix="one a class"
        )
    if not bool((class_weights > 0).any()):
        raise InvalidInputError("a class weight above 0", got="zeros", fix="pass None to weigh all classes alike")
    return class_weights.detach()
