"""Classification: one class a sample, any model that returns logits (N, K)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.classification.kind import ClassLabels
from noisycorrect.data.batches import Batch
from noisycorrect.labels import LabelKind
from noisycorrect.labels.codec import codec_named
from noisycorrect.labels.given import checked_labels
from noisycorrect.labels.refine import blend, one_hot
from noisycorrect.outputs import ClassMetrics, model_output, soft_cross_entropy
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError

SoftLoss = Callable[[Tensor, Tensor], Tensor]  # (logits, targets) -> scalar


class Classification:
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
    codec = "float32"
    main_metric = "accuracy"
    prediction_passes = 1
    frame: Any = None

    def __init__(
        self, num_classes: int, loss: SoftLoss = soft_cross_entropy, *, allow_empty_classes: bool = False
    ) -> None:
        self.num_classes = whole_number("num_classes", num_classes, least=2)
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

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """Return the model's logits for a batch; a floating input is taken to the dtype of the parameters."""
        return model_output(model, batch.input)

    def check_output(self, output: Any, batch: Batch) -> None:
        """Raise an InvalidInputError unless `output` are logits (B, K): neither another shape nor probabilities."""
        self._check(output, batch)
        sums = output.float().sum(1)
        rounding = 1e-3 if output.dtype in (torch.float32, torch.float64) else 2e-2
        if output.min() >= 0 and torch.allclose(sums, torch.ones_like(sums), atol=rounding):
            raise InvalidInputError(
                "logits", got="probabilities: rows >= 0 that sum to 1", fix="drop the model's last Softmax"
            )

    def targets(self, batch: Batch) -> Tensor:
        """Return the batch's refined labels, float32 (B, K) (SCHP, Eq. 7)."""
        given = one_hot(batch.given.long(), self.num_classes)
        evidence = torch.zeros_like(given) if batch.evidence is None else codec_named(self.codec).decode(batch.evidence)
        return blend(given, evidence, batch.trust.of(batch.given, evidence))

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the loss of logits (B, K) against the batch's refined labels."""
        self._check(output, batch)
        return self.soft_loss(output, self.targets(batch))

    def probs(self, output: Tensor) -> Tensor:
        """Return softmax probabilities, float32 (B, K)."""
        self._check(output, None)
        return output.float().softmax(1)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the model's class probabilities for a batch, float32 (B, K)."""
        return self.probs(self.forward(model, batch))

    def metrics(self) -> ClassMetrics:
        """Return fresh metrics: accuracy, mean_accuracy, nll."""
        return ClassMetrics(self.num_classes)

    def _check(self, output: Any, batch: Batch | None) -> None:
        rows = "N" if batch is None else str(len(batch))
        shape = tuple(output.shape) if isinstance(output, Tensor) else None
        if shape is None or len(shape) != 2 or shape[1] != self.num_classes or (batch and shape[0] != len(batch)):
            raise InvalidInputError(
                f"logits of shape ({rows}, {self.num_classes})",
                got=type(output).__name__ if shape is None else f"shape {shape}",
                fix="make num_classes= and the model's last layer agree",
            )
