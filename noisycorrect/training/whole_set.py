"""What is computed batch by batch, of the whole training set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from noisycorrect.data.batches import Batch
from noisycorrect.support import distributed


def of_all_samples(
    rows_of: Callable[[Iterator[Batch]], Iterable[Tensor]], batches: Iterable[Batch], *, ordered: bool
) -> Tensor:
    """Return a row a sample of the whole set, in order, from all ranks, (N, ...), on the CPU; collective.

    Parameters
    ----------
    rows_of : callable
        ``rows_of(batches)`` -> rows of each batch, (B, ...).
    batches : iterable of Batch
        This rank's shard.
    ordered : bool
        Whether they come in the order of their positions.
    """
    places: list[Tensor] = []

    def noted() -> Iterator[Batch]:
        for batch in batches:
            places.append(batch.index.cpu())
            yield batch

    parts = [part.cpu() for part in rows_of(noted())]
    shard = torch.cat(parts) if parts else None
    if shard is not None and not ordered:
        shard = shard[torch.cat(places).argsort()]
    shards = distributed.all_gather_objects(shard)
    return torch.cat([shard for shard in shards if shard is not None])
