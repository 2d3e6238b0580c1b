"""What a run computes of the whole training set when a cycle ends: statistics, predictions, features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.correction.base import Predictions
from noisycorrect.correction.class_weights import unweighted
from noisycorrect.cycle.recalibrate import recalibrate_batchnorm
from noisycorrect.data.batches import Batch
from noisycorrect.data.forms import SparseRows
from noisycorrect.data.streams import StreamedDataset
from noisycorrect.support import distributed
from noisycorrect.support.rng import seeded
from noisycorrect.training.features import WIDE, features_of, projection
from noisycorrect.training.finite import check_finite
from noisycorrect.training.loaders import RunLoaders
from noisycorrect.training.run_state import RunState


class OverWholeSet(RunState):
    """A run's passes over the whole training set, in its canonical frame or, for statistics, also augmented."""

    loaders: RunLoaders
    _recalibrated: int  # epochs done when the average was last given statistics

    def recalibrate(self) -> None:
        """Estimate the average's BatchNorm statistics on the training samples, where anything is done with it."""
        average, validated = self.recipe.average, self.data.val is not None
        if average is None or not self.recipe.uses_average(cycle=self.cycle, last=self.done, validated=validated):
            return
        self._recalibrated = self.epoch
        augmented = average.recalibration.inputs == "augmented"
        data = self.data.train if augmented else self.data.canonical
        # Shuffled: sorted data misleads the one-pass estimate.
        loader = self.loaders.for_statistics(data, self.epoch)

        def forward(model: nn.Module, batch: Batch) -> Any:
            batch = self.engine.to_device(batch)
            if augmented and self.engine.augment is not None:
                # Seeded by batch: every pass of the exact method must see the same inputs.
                first = int(batch.index[0])
                with seeded(self.seed, "augment for statistics", self.epoch, first, device=self.engine.device):
                    batch.input = self.engine.augment(batch.input)
            return self.task.forward(model, batch)

        with self.engine.autocast():
            recalibrate_batchnorm(
                self.model,
                loader,
                method=average.recalibration.method,
                max_samples=average.recalibration.samples,
                forward=forward,
                skip=self.modes.resting,
            )

    def predict(self, model: nn.Module) -> Tensor:
        """Return a model's class probabilities of the whole training set, float32 (N, K, ...), on the device."""
        return self._of_all(
            lambda batches: (unweighted(self.task, probs) for _, probs in self.engine.predict(model, batches))
        )

    def features(self) -> Tensor:
        """Return what the samples of the training set can be compared by, float32 (N, F), on the device.

        Of a sparse matrix of many columns, a random projection.
        """
        inputs = getattr(self.data.canonical, "inputs", None)
        wide = isinstance(inputs, SparseRows) and inputs.shape[1] > WIDE
        projected = projection(inputs.shape[1], self.seed) if wide and inputs is not None else None
        return self._of_all(lambda batches: features_of(self.model, self.engine, batches, projected=projected))

    def _of_all(self, rows_of: Callable[[Iterator[Batch]], Iterable[Tensor]]) -> Tensor:
        ordered = not isinstance(self.data.canonical, StreamedDataset)
        return of_all_samples(rows_of, self.loaders.canonical(), ordered=ordered).to(self.engine.device)

    def predictions(self) -> Predictions:
        """Yield (index, given, probs) of this rank's shard, predicted now by :attr:`model`."""
        for batch, probs in self.engine.predict(self.model, self.loaders.canonical()):
            check_finite("training", batch, probs)
            yield batch.index, batch.given, unweighted(self.task, probs)

    def shard(self) -> Iterator[Tensor]:
        """Yield the positions of this rank's shard, as many at once as are predicted at once."""
        yield from map(torch.tensor, self.loaders.in_order(len(self.store)))


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
