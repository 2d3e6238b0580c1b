"""Classification: one class a sample, any model that returns logits (N, K)."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.classification.kind import ClassLabels
from noisycorrect.data.batches import Batch
from noisycorrect.labels import LabelKind
from noisycorrect.labels.codec import codec_named
from noisycorrect.outputs import LogitsTask, SoftLoss, soft_cross_entropy, takes_weight
from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError, unknown_name

# Of classes that a recipe weighs. On the arena's development half weights gained nothing where the largest class had
# less than twice the labels of the smallest.
MOST_WEIGHT, LEAST_RATIO = 10.0, 2.0


class Classification(LogitsTask):
    r"""The classification task.

    Parameters
    ----------
    num_classes : int
        K, at least 2; the model returns logits of shape (N, K).
    loss : callable
        ``loss(logits, targets)`` with soft targets (N, K) -> scalar.
    allow_empty_classes : bool
        Accept a training set in which some class has no sample.
    class_weight : array-like, shape (K,), or "balanced", optional
        :math:`c_k \ge 0` in the loss :math:`-\sum_k c_k t_k \log p_k` of a target t; so a label that is corrected
        counts by the class that it is corrected to. ``"balanced"``: :math:`N / (K n_k)` of the given labels of the
        training set, 0 for a class without any. Default: the recipe's, which with ``"robust"`` counts rare classes
        more; ones count all alike. Predictions lean to what counts more; evidence about labels does not
        (:func:`~noisycorrect.correction.class_weights.unweighted`).
    codec : str
        How the label store keeps evidence on disk: ``"float32"``, 4 bytes a probability; ``"scaled-float16"``, 2;
        ``"sqrt-uint8"``, 1, for few classes (docs/scale.md has the errors).

    Raises
    ------
    InvalidInputError
        If there are fewer than two classes, no such codec, or one that cannot hold so many classes.

    Examples
    --------
    >>> import torch
    >>> task = Classification(num_classes=3)
    >>> task.probs(torch.zeros(1, 3))
    tensor([[0.3333, 0.3333, 0.3333]])
    """

    kind: type[LabelKind] = ClassLabels

    def __init__(
        self,
        num_classes: int,
        loss: SoftLoss = soft_cross_entropy,
        *,
        allow_empty_classes: bool = False,
        class_weight: Any = None,
        codec: str = "float32",
    ) -> None:
        super().__init__(num_classes, loss)
        self.codec = _checked_codec(codec, self.num_classes)
        self.allow_empty_classes = allow_empty_classes
        self.balanced = isinstance(class_weight, str)
        if self.balanced and class_weight != "balanced":
            raise unknown_name("class_weight", class_weight, ["balanced"])
        self.class_weight = None if class_weight is None else _checked_class_weight(class_weight, self.num_classes)

    def identity(self) -> dict[str, Any]:
        """Return what a run and the run that resumes it must share: of a loss, its name."""
        name = getattr(self.soft_loss, "__qualname__", type(self.soft_loss).__qualname__)
        weights = {} if self.class_weight is None else {"class_weight": _told(self.class_weight)}
        return {"num_classes": self.num_classes, "loss": f"{self.soft_loss.__module__}.{name}", **weights}

    def weights(self, batch: Batch) -> Tensor | None:
        """Return what the targets of a batch count, (B, 1) or (B, K): sample's weight times class's; None is 1."""
        weight = super().weights(batch)
        if self.class_weight is None:
            return weight
        own = self.class_weight.to(batch.given.device)
        return own.unsqueeze(0) if weight is None else weight * own

    def balanced_by(self, given: Any) -> Classification:
        """Return the task with classes that count by how few labels they have, if these differ enough.

        Parameters
        ----------
        given : array-like of int, shape (N,)
            Labels; -1 for none.

        Returns
        -------
        Classification
            A copy with the weights of :func:`balanced_weights`, K being the classes that have labels, but none above
            10: a class of a handful of labels would be all that a batch learns. Itself if no class has twice the labels
            of another one, or if the loss has no argument for weights.

        Examples
        --------
        >>> Classification(2).balanced_by([0] * 99 + [1]).class_weight
        tensor([ 0.5051, 10.0000])
        """
        weights = balanced_weights(self.kind.checked(given, self.num_classes, "labels"), self.num_classes)
        there = weights[weights > 0]
        if not takes_weight(self.soft_loss) or not len(there) or there.max() < LEAST_RATIO * there.min():
            return self
        found = copy.copy(self)
        found.class_weight = (weights * (self.num_classes / len(there))).clamp(max=MOST_WEIGHT)
        return found

    def check_given(self, given: Any, *, training: bool = True) -> None:
        """Raise an InvalidInputError unless `given` are class labels, (N,), and (for training) every class has one."""
        labels = self.kind.checked(given, self.num_classes, "labels" if training else "validation labels")
        if training and self.balanced:
            self.class_weight = balanced_weights(labels, self.num_classes)
        missing = np.setdiff1d(np.arange(self.num_classes), labels)
        if len(missing) and training and not self.allow_empty_classes:
            raise InvalidInputError(
                f"labels of each of {self.num_classes} classes",
                got=f"none of class {missing[0]}"
                + (f" ({len(missing)} classes are empty)" if len(missing) > 1 else ""),
                fix="correct num_classes, or pass task=Classification(num_classes, allow_empty_classes=True)",
            )


def balanced_weights(labels: np.ndarray, num_classes: int) -> Tensor:
    """Return N / (K n_k) for each class k, float32 (K,), with its n_k of N labels; 0 for a class without any.

    As scikit-learn's ``class_weight="balanced"`` (King and Zeng 2001, "Logistic Regression in Rare Events Data").

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        -1 for none.
    num_classes : int
        K.

    Examples
    --------
    >>> balanced_weights(np.array([0, 0, 0, 1]), 2)
    tensor([0.6667, 2.0000])
    """
    counts = np.bincount(labels[labels >= 0], minlength=num_classes)
    weights = np.where(counts > 0, counts.sum() / (num_classes * np.maximum(counts, 1)), 0)
    return torch.from_numpy(weights).float()


def _told(weights: Tensor) -> list[float] | str:
    """Return weights as plain values: themselves, or of many a digest."""
    if len(weights) <= 100:
        found: list[float] = weights.tolist()
        return found
    return hashlib.sha256(weights.numpy().tobytes()).hexdigest()[:16]


def _checked_codec(name: str, num_classes: int) -> str:
    codec = codec_named(name)
    if math.isinf(codec.max_error(num_classes)):
        raise InvalidInputError(
            f"a codec for {num_classes:,} classes, whose probabilities may be below its steps",
            got=repr(name),
            fix='pass codec="scaled-float16"',
        )
    return codec.name


def _checked_class_weight(weights: Any, num_classes: int) -> Tensor:
    if isinstance(weights, str):
        return torch.ones(num_classes, dtype=torch.float32)  # until the labels are known
    if isinstance(weights, Mapping):
        weights = [weights.get(label, 1.0) for label in range(num_classes)]
    array = as_array(weights, "class_weight")
    if array.shape != (num_classes,) or array.dtype.kind not in "biuf" or not (np.isfinite(array) & (array >= 0)).all():
        raise InvalidInputError(
            f"class_weight of {num_classes} finite numbers >= 0",
            got=f"{array.dtype} of shape {array.shape}" if array.shape != (num_classes,) else str(array.tolist()),
            fix='pass one number a class, or "balanced"',
        )
    return torch.from_numpy(array.astype(np.float32))
