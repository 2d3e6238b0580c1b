"""What tasks share whose model returns logits: running it, a loss, scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.data.batches import Batch
from noisycorrect.labels import LabelKind
from noisycorrect.labels.codec import codec_named
from noisycorrect.support import distributed
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError


class LogitsTask(ABC):
    """A task whose model returns one tensor of logits; a subclass is a :class:`~noisycorrect.task.Task`.

    Attributes are those of a task. A subclass says how logits become a loss, probabilities and metrics, and what given
    labels are.

    Parameters
    ----------
    num_classes : int
        K, at least 2.

    Raises
    ------
    InvalidInputError
        If there are fewer than two classes.
    """

    kind: type[LabelKind]
    codec = "float32"
    main_metric = "accuracy"
    prediction_passes = 1
    frame: Any = None

    def __init__(self, num_classes: int) -> None:
        self.num_classes = whole_number("num_classes", num_classes, least=2)

    def identity(self) -> dict[str, Any]:
        """Return plain values that a run and the run that resumes it must share."""
        return {"num_classes": self.num_classes}

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """Return the model's output for a batch; a floating input is taken to the dtype of the parameters."""
        wanted = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
        inputs = batch.input
        if isinstance(inputs, Tensor) and inputs.is_floating_point() and wanted is not None:
            inputs = inputs.to(wanted)  # numpy's arrays are float64 where nobody asked for it
        return model(inputs)

    def check_output(self, output: Any, batch: Batch) -> None:
        """Raise an InvalidInputError unless `output` are logits of the batch: neither another shape nor probabilities.

        Probabilities sum to 1 over the classes.
        """
        logits = self.logits(output, batch)
        sums = logits.float().sum(1)
        rounding = 1e-3 if logits.dtype in (torch.float32, torch.float64) else 2e-2
        if logits.min() >= 0 and torch.allclose(sums, torch.ones_like(sums), atol=rounding):
            got = "probabilities: rows >= 0 that sum to 1"
            raise InvalidInputError("logits", got=got, fix="drop the model's last Softmax")

    def logits(self, output: Any, batch: Batch | None) -> Tensor:
        """Return the logits (B, K, ...) of an output, or raise an InvalidInputError; of no batch its length is any."""
        rows = "N" if batch is None else str(len(batch))
        shape = tuple(output.shape) if isinstance(output, Tensor) else None
        if shape is None or len(shape) != 2 or shape[1] != self.num_classes or (batch and shape[0] != len(batch)):
            raise InvalidInputError(
                f"logits of shape ({rows}, {self.num_classes})",
                got=type(output).__name__ if shape is None else f"shape {shape}",
                fix="make num_classes= and the model's last layer agree",
            )
        return output  # type: ignore[no-any-return]

    def evidence(self, batch: Batch) -> Tensor | None:
        """Return the decoded evidence of a batch, float32 (B, K, ...); None before the first generation."""
        return None if batch.evidence is None else codec_named(self.codec).decode(batch.evidence)

    @abstractmethod
    def probs(self, output: Any) -> Tensor:
        """Return class probabilities, float32 (B, K, ...)."""

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the model's class probabilities for a batch, float32 (B, K, ...)."""
        return self.probs(self.forward(model, batch))


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Return the cross-entropy to soft targets: :math:`-\sum_k t_k \log softmax(z)_k`, mean over what is labelled.

    Parameters
    ----------
    logits : Tensor, shape (N, K, ...)
        Unnormalised scores; half precision is taken to float32, float64 stays.
    targets : Tensor, shape (N, K, ...)
        Probabilities over dimension 1; zeros there are a sample, or a place in it, without a label: it does not count.

    Returns
    -------
    Tensor, scalar
        0 (with a gradient of 0) if nothing is labelled.

    Examples
    --------
    >>> soft_cross_entropy(torch.zeros(2, 4), torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0] * 4])).exp()
    tensor(4.)
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = -(targets * F.log_softmax(wide, dim=1)).sum(1)
    labeled = (targets.sum(1) > 0).sum()
    return losses.sum() / labeled.clamp(min=1)


class ClassMetrics:
    """Accuracy, class-averaged accuracy and mean negative log-likelihood, from sums.

    Examples
    --------
    >>> metrics = ClassMetrics(2)
    >>> metrics.update(torch.tensor([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]]), torch.tensor([0, 1, -1]))
    >>> metrics.compute()["accuracy"]
    1.0
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.float64)  # [label, predicted]
        self.nll = torch.zeros((), dtype=torch.float64)

    def update(self, probs: Tensor, labels: Tensor) -> None:
        """Take in predictions (n, K, ...) and labels (n, ...); negative labels are left out."""
        labels = labels.to(probs.device).long()
        known = labels >= 0
        probs, labels = probs.movedim(1, -1)[known], labels[known]
        if len(labels) and int(labels.max()) >= self.num_classes:
            raise InvalidInputError(
                f"labels in 0..{self.num_classes - 1}", got=str(int(labels.max())), fix="correct the evaluation labels"
            )
        pairs = labels * self.num_classes + probs.argmax(1)
        counts = torch.bincount(pairs, minlength=self.num_classes**2).reshape(self.num_classes, -1)
        self.confusion += counts.cpu()
        likelihood = probs.gather(1, labels[:, None]).clamp(min=torch.finfo(torch.float32).tiny)
        self.nll -= likelihood.log().sum().cpu()

    def reduce(self) -> None:
        """Add up over all ranks."""
        self.confusion = distributed.all_reduce_sum(self.confusion)
        self.nll = distributed.all_reduce_sum(self.nll)

    def class_support(self) -> Tensor:
        """Return the number of labels of each class, float64 (K,)."""
        return self.confusion.sum(1)

    def class_recall(self) -> Tensor:
        """Return the share of each class's labels that were predicted, float64 (K,); NaN for a class without labels."""
        return self.confusion.diagonal() / self.confusion.sum(1)

    def compute(self) -> dict[str, float]:
        """Return ``accuracy``, ``mean_accuracy`` (over the classes present), both in [0, 1], and ``nll`` (nats)."""
        support, correct = self.confusion.sum(1), self.confusion.diagonal()
        present = support > 0
        return {
            "accuracy": float(correct.sum() / support.sum()),
            "mean_accuracy": float((correct[present] / support[present]).mean()),
            "nll": float(self.nll / support.sum()),
        }
