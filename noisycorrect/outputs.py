"""What tasks share whose model returns logits: running it, a loss, scores."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.cycle.feed import in_dtype_of
from noisycorrect.data.batches import Batch
from noisycorrect.labels import LabelKind
from noisycorrect.labels.codec import codec_named
from noisycorrect.labels.refine import within
from noisycorrect.support import distributed
from noisycorrect.support.calling import KeywordInputs, called, logits_of
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.task import Metrics

SoftLoss = Callable[..., Tensor]  # (logits, targets) -> scalar; one with `weight` also takes weights


def soft_cross_entropy(logits: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Return the cross-entropy to soft targets: :math:`-\sum_k t_k \log softmax(z)_k`, mean over what is labelled.

    Parameters
    ----------
    logits : Tensor, shape (N, K, ...)
        Unnormalised scores; half precision is taken to float32, float64 stays.
    targets : Tensor, shape (N, K, ...)
        Probabilities over dimension 1; zeros there are a sample, or a place in it, without a label: it does not count.
    weight : Tensor, shape (N, K, ...) or one that fits it, optional
        :math:`w \ge 0` in :math:`-\sum_k w_k t_k \log softmax(z)_k`. The mean is over as many as without weights.

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
    parts = targets if weight is None else weight * targets
    losses = -(parts * F.log_softmax(wide, dim=1)).sum(1)
    labeled = (targets.sum(1) > 0).sum()
    return losses.sum() / labeled.clamp(min=1)


class LogitsTask:
    """A task whose model returns one tensor of logits; a subclass is a :class:`~noisycorrect.task.Task`.

    Attributes are those of a task. A subclass names its kind of labels. What else is here is for one class of K a label
    (or a part of it): the kind's refined labels, a loss against them, softmax, accuracy.

    Parameters
    ----------
    num_classes : int
        K, at least 2.
    loss : callable
        ``loss(logits, targets)`` with soft targets (N, K, ...) -> scalar; kept as ``.soft_loss``.

    Raises
    ------
    InvalidInputError
        If there are fewer than two classes.
    """

    kind: type[LabelKind]
    codec = "float32"
    weighs = True
    wants_logits = True
    main_metric = "accuracy"
    prediction_passes = 1
    frame: Any = None

    def __init__(self, num_classes: int, loss: SoftLoss = soft_cross_entropy) -> None:
        self.num_classes = whole_number("num_classes", num_classes, least=2)
        self.soft_loss = loss

    def identity(self) -> dict[str, Any]:
        """Return plain values that a run and the run that resumes it must share."""
        return {"num_classes": self.num_classes}

    def check_given(self, given: Any, *, training: bool = True) -> None:
        """Raise an InvalidInputError unless `given` are labels of the task's kind."""
        self.kind.checked(given, self.num_classes, "labels" if training else "validation labels")

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """Return the logits that a model gives of a batch; a floating input is taken to the dtype of the parameters.

        See :func:`~noisycorrect.support.calling.called` and :func:`~noisycorrect.support.calling.logits_of` for how it
        is called, and what it may answer.
        """
        inputs = batch.input
        if isinstance(inputs, (Tensor, KeywordInputs)):
            inputs = in_dtype_of(model, inputs)
        return logits_of(called(model, inputs))

    def check_output(self, output: Any, batch: Batch) -> None:
        """Raise an InvalidInputError unless `output` are logits of the batch: neither another shape nor probabilities.

        Probabilities sum to 1 over the classes, or, of independent ones, are all in (0, 1).
        """
        logits = self.logits(output, batch)
        if self.kind.independent:
            if 0 < logits.min() < logits.max() < 1:
                fix = "drop the model's last Sigmoid"
                raise InvalidInputError("logits", got="values in (0, 1) alone, as probabilities are", fix=fix)
            return
        sums = logits.float().sum(1)
        rounding = 1e-3 if logits.dtype in (torch.float32, torch.float64) else 2e-2
        if logits.min() >= 0 and torch.allclose(sums, torch.ones_like(sums), atol=rounding):
            got = "probabilities: rows >= 0 that sum to 1"
            raise InvalidInputError("logits", got=got, fix="drop the model's last Softmax")

    def logits(self, output: Any, batch: Batch | None) -> Tensor:
        """Return the logits (B, K, ...) of an output, or raise an InvalidInputError; of no batch its length is any."""
        wanted = ("N" if batch is None else len(batch), self.num_classes)
        return checked_shape(output, wanted, fix="make num_classes= and the model's last layer agree")

    def evidence(self, batch: Batch) -> Tensor | None:
        """Return the decoded evidence of a batch, float32 (B, K, ...); None before the first generation."""
        return None if batch.evidence is None else codec_named(self.codec).decode(batch.evidence)

    def targets(self, batch: Batch) -> Tensor:
        """Return the batch's refined labels, float32 (B, K, ...) (SCHP, Eq. 7)."""
        return self.kind.compose(batch.given.long(), self.evidence(batch), batch.trust, self.num_classes)

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the mean loss of an output against the batch's refined labels, over what has a label or evidence."""
        logits, targets, weight = self.logits(output, batch), self.targets(batch), self.weights(batch)
        if weight is None:
            return self.soft_loss(logits, targets)
        if not takes_weight(self.soft_loss):
            raise InvalidInputError(
                "a loss that takes weights, loss(logits, targets, weight=weight)",
                got=getattr(self.soft_loss, "__qualname__", type(self.soft_loss).__qualname__),
                fix="give it an argument weight that multiplies the targets, (N, K) or (N, 1); or leave weights out",
            )
        return self.soft_loss(logits, targets, weight=weight.reshape(*weight.shape, *[1] * (targets.dim() - 2)))

    def weights(self, batch: Batch) -> Tensor | None:
        """Return what the targets of a batch count, (B, 1): the weights of its samples; None is 1 for all."""
        return None if batch.weight is None else batch.weight.unsqueeze(1)

    def probs(self, output: Any) -> Tensor:
        """Return class probabilities, float32 (B, K, ...)."""
        logits = self.logits(output, None).float()
        return logits.sigmoid() if self.kind.independent else logits.softmax(1)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the model's class probabilities for a batch, float32 (B, K, ...)."""
        return self.probs(self.forward(model, batch))

    def metrics(self) -> Metrics:
        """Return fresh metrics: accuracy, mean_accuracy, nll."""
        return ClassMetrics(self.num_classes)


def takes_weight(loss: SoftLoss) -> bool:
    """Return whether a loss has an argument `weight`.

    Examples
    --------
    >>> takes_weight(soft_cross_entropy), takes_weight(lambda logits, targets: 0)
    (True, False)
    """
    try:
        return "weight" in inspect.signature(loss).parameters
    except (TypeError, ValueError):
        return False


def checked_shape(output: Any, wanted: tuple[int | str, ...], *, fix: str) -> Tensor:
    """Return an output if it is a tensor of a shape, in which a name is any size, or raise an InvalidInputError.

    Examples
    --------
    >>> checked_shape(torch.zeros(2, 3), ("N", 3), fix="").shape
    torch.Size([2, 3])
    """
    shape = tuple(output.shape) if isinstance(output, Tensor) else ()
    if len(shape) != len(wanted) or any(
        size != own for size, own in zip(wanted, shape, strict=True) if not isinstance(size, str)
    ):
        got = f"shape {shape}" if isinstance(output, Tensor) else type(output).__name__
        raise InvalidInputError(f"logits of shape ({', '.join(map(str, wanted))})", got=got, fix=fix)
    return output  # type: ignore[no-any-return]


class SummedMetrics:
    """What metrics from sums share: `counts`, float64 of a shape, and the negative log-likelihood, in nats."""

    def __init__(self, *shape: int) -> None:
        self.counts = torch.zeros(shape, dtype=torch.float64)
        self.nll = torch.zeros((), dtype=torch.float64)

    def add(self, counts: Tensor, probs: Tensor) -> None:
        """Add counts, and the probabilities of what is labelled."""
        self.counts += counts.cpu()
        self.nll -= probs.clamp(min=torch.finfo(torch.float32).tiny).log().sum().cpu()

    def reduce(self) -> None:
        """Add up over all ranks."""
        self.counts, self.nll = distributed.all_reduce_sum(self.counts), distributed.all_reduce_sum(self.nll)


class ClassMetrics(SummedMetrics):
    """Accuracy, class-averaged accuracy and mean negative log-likelihood.

    Examples
    --------
    >>> metrics = ClassMetrics(2)
    >>> metrics.update(torch.tensor([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]]), torch.tensor([0, 1, -1]))
    >>> metrics.compute()["accuracy"]
    1.0
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(2, num_classes)  # labels of each class, and how many of them were predicted: linear in K

    def update(self, probs: Tensor, labels: Tensor) -> None:
        """Take in predictions (n, K, ...) and labels (n, ...); negative labels are left out, as is what has none."""
        labels = labels.to(probs.device).long()
        known, classes = labels >= 0, self.counts.shape[1]
        probs = within(probs, labels).movedim(1, -1)[known]
        labels = labels[known]
        if len(labels) and int(labels.max()) >= classes:
            got, fix = str(int(labels.max())), "correct the evaluation labels"
            raise InvalidInputError(f"labels in 0..{classes - 1}", got=got, fix=fix)
        right = labels[probs.argmax(1) == labels]
        counts = torch.stack([torch.bincount(each, minlength=classes) for each in (labels, right)])
        self.add(counts, probs.gather(1, labels[:, None]))

    def class_recall(self) -> Tensor:
        """Return the share of each class's labels that were predicted, float64 (K,); NaN for a class without labels."""
        return self.counts[1] / self.counts[0]

    def compute(self) -> dict[str, float]:
        """Return ``accuracy``, ``mean_accuracy`` (over the classes present), both in [0, 1], and ``nll`` (nats)."""
        support, correct = self.counts
        present = support > 0
        return {
            "accuracy": float(correct.sum() / support.sum()),
            "mean_accuracy": float((correct[present] / support[present]).mean()),
            "nll": float(self.nll / support.sum()),
        }
