"""The Task protocol: what the core has to know of an output and a label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

from noisycorrect.data.batches import Batch
from noisycorrect.labels import LabelKind
from noisycorrect.support.register import Register


class Metrics(Protocol):
    """Streaming metrics. All state is sums, so that ranks merge by adding (:meth:`reduce`)."""

    def update(self, probs: Tensor, labels: Tensor) -> None:
        """Take in predictions, (n, K, ...) in [0, 1], and labels, (n, ...); unlabelled ones are left out."""
        ...

    def reduce(self) -> None:
        """Add up the state over all ranks."""
        ...

    def compute(self) -> dict[str, float]:
        """Return the metrics by name; NaN where nothing was seen."""
        ...

    def class_recall(self) -> Tensor:
        """Return the share of each class's labels that were predicted, (K,); NaN for a class without labels."""
        ...


class Task(Protocol):
    """Adapter that knows what a model's output means. Adding a task touches no other file of the core.

    Attributes
    ----------
    num_classes : int
        K.
    kind : subclass of LabelKind
        What given labels are made of.
    codec : str
        Codec of the evidence.
    main_metric : str
        The metric of :meth:`metrics` whose value on the given labels is the history's ``agreement``.
    prediction_passes : int
        Forward passes that :meth:`predict` takes a sample.
    weighs : bool
        Whether :meth:`loss` counts each sample with the batch's ``weight``; a task without the attribute does not.
    wants_logits : bool
        Whether a model that ends with a Sigmoid or Softmax is refused; by a task without the attribute it is not.
    frame : Any
        What the kind has to know of how predictions are made (of masks the size of the canonical frame); None for most.
    input_record : dict or None
        What a saved result has to say of the task's inputs beside the names of classes, as plain JSON values; a task
        without the attribute says nothing.
    """

    num_classes: int
    kind: type[LabelKind]
    codec: str
    main_metric: str
    prediction_passes: int
    frame: Any

    def identity(self) -> dict[str, Any]:
        """Return plain values that a run and the run that resumes it must share: classes, losses, sizes."""
        ...

    def check_given(self, given: Any, *, training: bool = True) -> None:
        """Raise an InvalidInputError if no model can be trained on, or measured against, these given labels."""
        ...

    def check_output(self, output: Any, batch: Batch) -> None:
        """Raise an InvalidInputError if a model's first output is not what :meth:`loss` wants."""
        ...

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """Return the model's output for a batch."""
        ...

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the mean loss, a scalar, against the batch's refined labels."""
        ...

    def probs(self, output: Any) -> Tensor:
        """Return class probabilities, float32 (B, K, ...)."""
        ...

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return a model's class probabilities for a batch in the canonical frame, float32 (B, K, ...)."""
        ...

    def metrics(self) -> Metrics:
        """Return fresh metrics."""
        ...


TASKS: Register[Callable[[int], Task]] = Register(
    "task", group="noisycorrect.tasks", accepts=callable, expected="callable with the number of classes"
)
"""Tasks by name: each makes its task from the number of classes."""
