"""Correction: the part of a recipe that turns predictions into refined labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor, nn

from noisycorrect.correction.part import RunPart
from noisycorrect.data.batches import Batch
from noisycorrect.labels import SoftLabelStore
from noisycorrect.support.checks import whole_number
from noisycorrect.task import Metrics, Task

Predictions = Iterator[tuple[Tensor, Tensor, Tensor]]  # (index (n,), given (n, ...), probs (n, K, ...))


class CycleEnd(Protocol):
    """What a correction may use of a run when a cycle has ended.

    Attributes
    ----------
    store : SoftLabelStore
        Where the next generation of labels goes.
    stopped : bool
        Whether the run ends here because somebody stopped it.
    """

    store: SoftLabelStore
    stopped: bool

    @property
    def task(self) -> Task:
        """What an output means."""
        ...

    @property
    def cycle(self) -> int:
        """The cycle that has ended; 0 is the initial phase."""
        ...

    def predictions(self) -> Predictions:
        """Yield what the run's model predicts now of this rank's shard of the training set, in order."""
        ...

    def shard(self) -> Iterator[Tensor]:
        """Yield the positions of this rank's shard, int64 (n,), as many at once as are predicted at once."""
        ...


class Correction(RunPart):
    """How predictions become refined labels; this one leaves the given labels as they are.

    A run calls :meth:`in_step` for each batch, before the loss, and :meth:`at_cycle_end` after each cycle.

    Attributes
    ----------
    predicts : bool
        Whether the end of a cycle predicts the whole training set, one forward pass a sample (or the task's
        ``prediction_passes``).
    compares : bool
        Whether samples are compared by their inputs, if these are vectors.
    step_passes : float
        Forward passes a sample in a step, beside those of training.
    teaches : bool
        Whether a step has evidence that an objective may learn from (:class:`~noisycorrect.EarlyLearning`).
    weight : float
        What a step's loss counts: the number of networks if each learns from its own part of a batch.
    networks : int
        Networks that are trained.
    learns_unlabeled : bool or None
        Whether the loss is a mean over unlabelled samples, too: ranks weigh their means by what these are over. None:
        from the first generation of labels on.
    evidence_rule : str
        How the label store accumulates what a generation writes; see :meth:`~noisycorrect.SoftLabelStore.create`.
    momentum : float or None
        Weight of the past in exponential evidence.
    keep : int or None
        Generations of labels that stay on disk, at least 2; None keeps all.
    """

    predicts = False
    compares = False
    step_passes = 0.0
    teaches = False
    weight = 1.0
    networks = 1
    learns_unlabeled: bool | None = None
    evidence_rule = "mean"
    momentum: float | None = None
    keep: int | None = 2

    def set_features(self, epoch: int, epochs: int) -> int:
        """Return how often an epoch (0-based) of so many asks for features of the whole training set.

        Each time costs a forward pass a sample, unless inputs are vectors and their own features.
        """
        return 0

    def in_step(self, model: nn.Module, batch: Batch) -> tuple[Any, Batch]:
        """Run the model on a batch; return its output, and the batch with the trust and evidence of its targets."""
        return self.setup.task.forward(model, batch), batch

    def at_cycle_end(self, end: CycleEnd) -> Metrics | None:
        """Publish the next generation of labels; return how far its predictions agree with the given labels, or None.

        None says that nothing was published.
        """
        return None

    def identity(self) -> dict[str, Any]:
        """Return plain values that a run and the run that resumes it must share; what stays on disk is none."""
        return {name: value for name, value in super().identity().items() if name != "keep"}


def checked_keep(keep: int | None) -> int | None:
    """Return the number of generations to keep, or raise."""
    return None if keep is None else whole_number("keep", keep, least=2)


def publish(writer: Any, predictions: Predictions, metrics: Metrics) -> Metrics:
    """Write predictions into a generation, and measure how far they agree with the given labels, over all ranks."""
    for index, given, probs in predictions:
        metrics.update(probs, given)
        writer.write(index, probs)
    metrics.reduce()
    return metrics
