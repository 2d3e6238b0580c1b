"""Multi-label classification: any model that returns logits (N, K), one a label."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.labels import LabelKind
from noisycorrect.multilabel.kind import MultiLabels
from noisycorrect.outputs import LogitsTask, SummedMetrics


def soft_binary_cross_entropy(logits: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Return the mean of :math:`-t \log \sigma(z) - (1 - t) \log (1 - \sigma(z))` over the known labels; 0 of none.

    Parameters
    ----------
    logits, targets : Tensor, shape (N, K)
        Unnormalised scores, and probabilities; NaN is unknown.
    weight : Tensor, shape (N, K) or one that fits it, optional
        What each loss counts, >= 0; the mean is over as many as without.

    Examples
    --------
    >>> soft_binary_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.3, torch.nan]])).exp()
    tensor(2.)
    """
    wide, known = logits.to(torch.promote_types(logits.dtype, torch.float32)), ~targets.isnan()
    losses = F.binary_cross_entropy_with_logits(wide, torch.where(known, targets, 0).to(wide.dtype), reduction="none")
    losses = losses if weight is None else weight * losses
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

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, soft_binary_cross_entropy)

    def metrics(self) -> MultiLabelMetrics:
        """Return fresh metrics: accuracy, macro_f1, nll."""
        return MultiLabelMetrics(self.num_classes)


class MultiLabelMetrics(SummedMetrics):
    """Accuracy over the known entries, F1 averaged over the labels that occur, and mean negative log-likelihood.

    Examples
    --------
    >>> metrics = MultiLabelMetrics(2)
    >>> metrics.update(torch.tensor([[0.9, 0.2], [0.6, 0.5]]), torch.tensor([[1, 0], [0, -1]]))
    >>> {name: round(value, 3) for name, value in metrics.compute().items()}
    {'accuracy': 0.667, 'macro_f1': 0.667, 'nll': 0.415}
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(5, num_classes)  # known, right, found, present, found and present

    def update(self, probs: Tensor, labels: Tensor) -> None:
        """Take in predictions (n, K) and labels (n, K); negative labels are left out."""
        labels = labels.to(probs.device)
        known, present, found = labels >= 0, labels > 0, probs > 0.5
        counted = torch.stack([known, known & (found == present), known & found, present, found & present])
        self.add(counted.sum(1), torch.where(present, probs, 1 - probs)[known])

    def class_recall(self) -> Tensor:
        """Return the share of samples with each label for which it was found, float64 (K,); NaN for none."""
        return self.counts[4] / self.counts[3]

    def compute(self) -> dict[str, float]:
        """Return ``accuracy`` and ``macro_f1``, at a threshold of 0.5, both in [0, 1], and ``nll`` (nats an entry)."""
        known, right, found, present, hits = self.counts
        occurs = found + present > 0
        f1 = (2 * hits / (found + present))[occurs].mean() if known.any() else torch.nan
        scores = {"accuracy": right.sum() / known.sum(), "macro_f1": f1, "nll": self.nll / known.sum()}
        return {name: float(value) for name, value in scores.items()}
