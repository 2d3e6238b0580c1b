"""Classification: one class a sample, any model that returns logits (N, K)."""

from __future__ import annotations

from typing import Any

import numpy as np

from noisycorrect.classification.kind import ClassLabels
from noisycorrect.labels import LabelKind
from noisycorrect.outputs import LogitsTask, SoftLoss, soft_cross_entropy
from noisycorrect.support.errors import InvalidInputError


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
    >>> import torch
    >>> task = Classification(num_classes=3)
    >>> task.probs(torch.zeros(1, 3))
    tensor([[0.3333, 0.3333, 0.3333]])
    """

    kind: type[LabelKind] = ClassLabels

    def __init__(
        self, num_classes: int, loss: SoftLoss = soft_cross_entropy, *, allow_empty_classes: bool = False
    ) -> None:
        super().__init__(num_classes, loss)
        self.allow_empty_classes = allow_empty_classes

    def identity(self) -> dict[str, Any]:
        """Return what a run and the run that resumes it must share: of a loss, its name."""
        name = getattr(self.soft_loss, "__qualname__", type(self.soft_loss).__qualname__)
        return {"num_classes": self.num_classes, "loss": f"{self.soft_loss.__module__}.{name}"}

    def check_given(self, given: Any, *, training: bool = True) -> None:
        """Raise an InvalidInputError unless `given` are class labels, (N,), and (for training) every class has one."""
        labels = self.kind.checked(given, self.num_classes, "labels" if training else "validation labels")
        missing = np.setdiff1d(np.arange(self.num_classes), labels)
        if len(missing) and training and not self.allow_empty_classes:
            raise InvalidInputError(
                f"labels of each of {self.num_classes} classes",
                got=f"none of class {missing[0]}"
                + (f" ({len(missing)} classes are empty)" if len(missing) > 1 else ""),
                fix="correct num_classes, or pass task=Classification(num_classes, allow_empty_classes=True)",
            )
