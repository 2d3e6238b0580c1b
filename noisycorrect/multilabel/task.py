"""Multi-label classification: any model that returns logits (N, K), one a label."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.data.batches import Batch
from noisycorrect.labels import LabelKind
from noisycorrect.multilabel.kind import MultiLabels, checked_entries, refined_entries
from noisycorrect.outputs import LogitsTask
from noisycorrect.support import distributed
from noisycorrect.support.errors import InvalidInputError


def soft_binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Return the mean of :math:`-t \log \sigma(z) - (1 - t) \log (1 - \sigma(z))` over the known labels; 0 of none.

    Parameters
    ----------
    logits : Tensor, shape (N, K)
        Unnormalised scores.
    targets : Tensor, shape (N, K)
        Probabilities; NaN is unknown.

    Examples
    --------
    >>> soft_binary_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.3, torch.nan]])).exp()
    tensor(2.)
    """
    wide, known = logits.to(torch.promote_types(logits.dtype, torch.float32)), ~targets.isnan()
    losses = F.binary_cross_entropy_with_logits(wide, torch.where(known, targets, 0).to(wide.dtype), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


class MultiLabel(LogitsTask):
    """The multi-label task: binary cross-entropy of K independent labels.

    Parameters
    ----------
    num_classes : int
        K, at least 2; the model returns logits of shape (N, K).

    Examples
    --------
    >>> MultiLabel(num_classes=3).probs(torch.zeros(1, 3))
    tensor([[0.5000, 0.5000, 0.5000]])
    """

    kind: type[LabelKind] = MultiLabels

    def check_given(self, given: Any, *, training: bool = True) -> None:
        """Raise an InvalidInputError unless `given` are rows of 0, 1 and -1, (N, K)."""
        checked_entries(given, self.num_classes, "labels" if training else "validation labels")

    def check_output(self, output: Any, batch: Batch) -> None:
        """Raise an InvalidInputError unless `output` are logits (B, K): neither another shape nor probabilities."""
        logits = self.logits(output, batch)
        if 0 < logits.min() < logits.max() < 1:
            fix = "drop the model's last Sigmoid"
            raise InvalidInputError("logits", got="values in (0, 1) alone, as probabilities are", fix=fix)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss of logits (B, K) over the known entries of the batch's refined labels (SCHP, Eq. 7)."""
        targets = refined_entries(batch.given.long(), self.evidence(batch), batch.trust)
        return soft_binary_cross_entropy(self.logits(output, batch), targets)

    def probs(self, output: Tensor) -> Tensor:
        """Return the probability of each label, float32 (B, K)."""
        return self.logits(output, None).float().sigmoid()

    def metrics(self) -> MultiLabelMetrics:
        """Return fresh metrics: accuracy, macro_f1, nll."""
        return MultiLabelMetrics(self.num_classes)


class MultiLabelMetrics:
    """Accuracy over the known entries, F1 averaged over the labels that occur, and mean negative log-likelihood.

    Examples
    --------
    >>> metrics = MultiLabelMetrics(2)
    >>> metrics.update(torch.tensor([[0.9, 0.2], [0.6, 0.5]]), torch.tensor([[1, 0], [0, -1]]))
    >>> {name: round(value, 3) for name, value in metrics.compute().items()}
    {'accuracy': 0.667, 'macro_f1': 0.667, 'nll': 0.415}
    """

    def __init__(self, num_classes: int) -> None:
        self.sums = torch.zeros(5, num_classes, dtype=torch.float64)  # known, right, found, present, found and present
        self.nll = torch.zeros((), dtype=torch.float64)

    def update(self, probs: Tensor, labels: Tensor) -> None:
        """Take in predictions (n, K) and labels (n, K); negative labels are left out."""
        labels = labels.to(probs.device)
        known, present, found = labels >= 0, labels > 0, probs > 0.5
        counted = (known, known & (found == present), known & found, present, found & present)
        self.sums += torch.stack([each.sum(0) for each in counted]).cpu()
        own = torch.where(present, probs, 1 - probs)[known].clamp(min=torch.finfo(torch.float32).tiny)
        self.nll -= own.log().sum().cpu()

    def reduce(self) -> None:
        """Add up over all ranks."""
        self.sums, self.nll = distributed.all_reduce_sum(self.sums), distributed.all_reduce_sum(self.nll)

    def class_support(self) -> Tensor:
        """Return the number of known entries of each label, float64 (K,)."""
        return self.sums[0]

    def class_recall(self) -> Tensor:
        """Return the share of samples with each label for which it was found, float64 (K,); NaN for none."""
        return self.sums[4] / self.sums[3]

    def compute(self) -> dict[str, float]:
        """Return ``accuracy`` and ``macro_f1``, at a threshold of 0.5, both in [0, 1], and ``nll`` (nats an entry)."""
        known, right, found, present, hits = self.sums
        occurs = found + present > 0
        f1 = (2 * hits / (found + present))[occurs].mean() if known.any() else torch.tensor(torch.nan)
        return {
            "accuracy": float(right.sum() / known.sum()),
            "macro_f1": float(f1),
            "nll": float(self.nll / known.sum()),
        }
