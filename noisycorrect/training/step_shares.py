"""How much each batch's mean loss counts in the step that it is a part of."""

from __future__ import annotations

from torch import Tensor

from noisycorrect.data.batches import ShardedBatches
from noisycorrect.labels import SoftLabelStore
from noisycorrect.support import distributed


class StepShares:
    """Of each batch of an epoch: over how many labels its mean loss is, and their share of all that make a step.

    A step is made of `accumulated` batches on every rank. Shares are times the ranks: a mean over the ranks, summed
    over the batches of a step, is then the mean over all labels in these.

    Parameters
    ----------
    store : SoftLabelStore
        Says which labels are learnt.
    batches : ShardedBatches
        Of the epoch.
    accumulated : int
        Batches that make a step.
    couples : bool
        Whether each rank's loss is that of the whole batch, its gradient a part.
    learns_unlabeled : bool or None
        Whether samples without a label are learnt; None if it depends on whether there is evidence.
    """

    def __init__(
        self,
        store: SoftLabelStore,
        batches: ShardedBatches,
        accumulated: int,
        *,
        couples: bool,
        learns_unlabeled: bool | None,
    ) -> None:
        self._kind, self._batches, self._accumulated, self._couples = store.kind, batches, accumulated, couples
        self._all = (
            store.generation > 0 if learns_unlabeled is None else learns_unlabeled
        )  # evidence labels every sample
        self._in_step = 0

    def of(self, number: int, index: Tensor) -> tuple[int, float]:
        """Return labels and share of the batch of that number, whose rows on this rank have these positions, (B,)."""
        labeled = self._kind.learnt(index.numpy(), evidence=self._all)
        ranks = distributed.world_size()
        if ranks * self._accumulated == 1:
            return labeled, 1.0
        if number % self._accumulated == 0:
            last = min(number + self._accumulated, len(self._batches))
            self._in_step = sum(self._learnt(n) for n in range(number, last))
        own = self._learnt(number) if self._couples else labeled
        return labeled, own * ranks / max(1, self._in_step)

    def _learnt(self, number: int) -> int:
        """Return the labels of a batch on all ranks."""
        return self._kind.learnt(self._batches.batch(number).numpy(), evidence=self._all)
