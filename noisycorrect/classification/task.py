"""Classification: one class a sample, any model that returns logits (N, K)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.classification.kind import ClassLabels
from noisycorrect.data.batches import Batch
from noisycorrect.labels import LabelKind
from noisycorrect.labels.given import checked_labels
from noisycorrect.labels.refine import blend, one_hot
from noisycorrect.outputs import ClassMetrics, LogitsTask, soft_cross_entropy
from noisycorrect.support.errors import InvalidInputError

SoftLoss = Callable[[Tensor, Tensor], Tensor]  # (logits, targets) -> scalar


class Classification(LogitsTask):
    """The classification task.

    Parameters
    ----------
    num_classes : int
        K, at least 2; the model returns logits of shape (N, K).
    loss : callable
        ``loss(logits, targets)`` with soft targets (N, K) -> scalar.
    allow_empty_classes : bool
        Accept a training set in which some class has no sample.

    Raises
    ------
    InvalidInputError
        If there are fewer than two classes.

    Examples
    --------
    >>> task = Classification(num_classes=3)
    >>> task.probs(torch.zeros(1, 3))
    tensor([[0.3333, 0.3333, 0.3333]])
    """

    kind: type[LabelKind] = ClassLabels

    def __init__(
        self, num_classes: int, loss: SoftLoss = soft_cross_entropy, *, allow_empty_classes: bool = False
    ) -> None:
        super().__init__(num_classes)
        self.soft_loss = loss
        self.allow_empty_classes = allow_empty_classes

    def identity(self) -> dict[str, Any]:
        """Return what a run and the run that resumes it must share: of a loss, its name."""
        name = getattr(self.soft_loss, "__qualname__", type(self.soft_loss).__qualname__)
        return {"num_classes": self.num_classes, "loss": f"{self.soft_loss.__module__}.{name}"}

    def check_given(self, given: Any, *, training: bool = True) -> None:
        """Raise an InvalidInputError unless `given` are class labels, (N,), and (for training) every class has one."""
        labels = checked_labels(given, self.num_classes, name="labels" if training else "validation labels")
        missing = np.setdiff1d(np.arange(self.num_classes), labels)
        if len(missing) and training and not self.allow_empty_classes:
            raise InvalidInputError(
                f"labels of each of {self.num_classes} classes",
                got=f"none of class {missing[0]}"
                + (f" ({len(missing)} classes are empty)" if len(missing) > 1 else ""),
                fix="correct num_classes, or pass task=Classification(num_classes, allow_empty_classes=True)",
            )

    def targets(self, batch: Batch) -> Tensor:
        """Return the batch's refined labels, float32 (B, K) (SCHP, Eq. 7)."""
        given = one_hot(batch.given.long(), self.num_classes)
        evidence = self.evidence(batch)
        evidence = torch.zeros_like(given) if evidence is None else evidence
        return blend(given, evidence, batch.trust.of(batch.given, evidence))

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the loss of logits (B, K) against the batch's refined labels."""
        return self.soft_loss(self.logits(output, batch), self.targets(batch))

    def probs(self, output: Tensor) -> Tensor:
        """Return softmax probabilities, float32 (B, K)."""
        return self.logits(output, None).float().softmax(1)

    def metrics(self) -> ClassMetrics:
        """Return fresh metrics: accuracy, mean_accuracy, nll."""
        return ClassMetrics(self.num_classes)
