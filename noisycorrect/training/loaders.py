"""The batches of a run: for training, for predictions in the canonical frame, for validation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from torch.utils.data import DataLoader

from noisycorrect.data.batches import Batch, LabelView, ShardedBatches, StreamLoader, end_workers, make_loader
from noisycorrect.data.datasets import MapStyleDataset
from noisycorrect.data.streams import StreamedDataset
from noisycorrect.labels import SoftLabelStore
from noisycorrect.support import distributed
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import derived_seed
from noisycorrect.training.finite import rows_not_finite
from noisycorrect.training.run_data import RunData

Loader: TypeAlias = "DataLoader[Any] | StreamLoader | list[Batch]"


class RunLoaders:
    """Makes the loaders of one run, for this rank.

    Parameters
    ----------
    data : RunData
        Data sets.
    store : SoftLabelStore
        Where the labels of training batches come from.
    batch_size : int
        Samples in a training batch, over all ranks.
    seed : int
        The run's.
    num_workers : int
        Processes that load.
    pinned : bool
        Whether batches are read into page-locked memory.
    least : int
        Samples that a rank needs to train on a batch.
    """

    def __init__(
        self,
        data: RunData,
        store: SoftLabelStore,
        *,
        batch_size: int,
        seed: int,
        num_workers: int,
        pinned: bool,
        least: int = 2,
    ) -> None:
        self.data = data
        self.store = store
        self.seed = seed
        self.num_workers = num_workers
        self.pinned = pinned
        self.prediction_batch = 2 * batch_size  # without gradients twice as many samples take less memory
        self._train_view = LabelView(
            data.train, store, seed=seed, collate_fn=data.collate_fn, sample_weight=data.sample_weight
        )
        self.train_batches = self._sharded(len(data.train), batch_size, seed, full=False, least=least)
        self._train = self._loader(self._train_view, self.train_batches)

    def train(self, epoch: int) -> Loader:
        """Return the training batches of an epoch (0-based).

        Raises
        ------
        InvalidInputError
            If the data set has another length than at the start of the run.
        """
        self.check_lengths()
        self._train_view.set_epoch(epoch)
        self.train_batches.set_epoch(epoch)
        return self._train

    def close(self) -> None:
        """End the workers that read training batches."""
        end_workers(self._train)

    def check_lengths(self) -> None:
        """Raise an InvalidInputError if a data set has another length than at the start of the run."""
        data, length = self.data, len(self.store)
        sets = [("training", data.train, length), ("canonical", data.canonical, length)]
        if data.val is not None:
            sets.append(("validation", data.val, len(data.val_given)))
        for name, each, expected in sets:
            if len(each) != expected:
                raise InvalidInputError(
                    f"a {name} set of {expected} samples, as at the start of the run",
                    got=str(len(each)),
                    fix="the data set must not grow or shrink during a run",
                )

    def for_statistics(self, data: MapStyleDataset, epoch: int) -> Loader:
        """Return all samples of a data set after so many epochs, in an order and augmentation that no epoch has."""
        seed = derived_seed(self.seed, "samples for statistics")
        batches = self._sharded(len(data), self.prediction_batch, seed, full=True)
        batches.set_epoch(epoch)
        view = self._view(data, seed)
        view.set_epoch(epoch)
        return self._loader(view, batches)

    def canonical(self) -> Loader:
        """Return this rank's shard of the training set in its canonical frame, in order."""
        return self._loader(self._view(self.data.canonical), self.in_order(len(self.data.canonical)))

    def validation(self) -> Loader | None:
        """Return this rank's shard of the validation set, in order; None without one."""
        view = self._val_view()
        return None if view is None else self._loader(view, self.in_order(len(view)))

    def first(self) -> Iterator[tuple[str, Loader, Loader]]:
        """Yield what is rehearsed of the training and the validation set, in the canonical frame.

        The name of the set; a loader of one batch, evenly spaced; and one of a sample whose input is not finite, if
        the set lies in memory and has one.
        """
        for name, view in (("training", self._view(self.data.canonical)), ("validation", self._val_view())):
            if view is not None:
                rows = np.linspace(0, len(view) - 1, min(len(view), self.prediction_batch)).astype(int).tolist()
                if isinstance(view.data, StreamedDataset):
                    yield name, [view.of_items(next(view.data.chunks(len(rows), 0, view.seed)))], []
                    continue
                bad = [[row] for row in itertools.islice(rows_not_finite(view.data), 1)]
                # Read by a worker if there are any, so that no open file is shared with the workers to come.
                yield name, make_loader(view, [rows], min(1, self.num_workers)), make_loader(view, bad, 0)

    def in_order(self, length: int) -> list[list[int]]:
        """Return the batches of this rank's contiguous shard."""
        shard, step = distributed.shard(length), self.prediction_batch
        return [list(shard[start : start + step]) for start in range(0, len(shard), step)]

    def _sharded(self, length: int, batch_size: int, seed: int, *, full: bool, least: int = 2) -> ShardedBatches:
        rank, ranks = distributed.rank(), distributed.world_size()
        return ShardedBatches(length, batch_size, rank=rank, world_size=ranks, seed=seed, full=full, least=least)

    def _view(self, data: MapStyleDataset, seed: int | None = None) -> LabelView:
        expected = self.store.kind.class_indices
        seed = derived_seed(self.seed, "predicted samples") if seed is None else seed
        return LabelView(data, None, seed=seed, collate_fn=self.data.collate_fn, expected=expected)

    def _val_view(self) -> LabelView | None:
        data = self.data
        if data.val is None:
            return None
        given = None if self.store.kind.parts is not None else np.asarray(data.val_given)
        expected = given if given is not None and given.ndim == 1 and given.dtype != object else None
        seed = derived_seed(self.seed, "validation samples")
        return LabelView(data.val, None, seed=seed, collate_fn=data.collate_fn, expected=expected)

    def _loader(self, view: LabelView, batches: Any) -> Loader:
        if isinstance(view.data, StreamedDataset):
            size = batches.batch_size if isinstance(batches, ShardedBatches) else self.prediction_batch
            return StreamLoader(view, size, len(batches), self.num_workers, pin_memory=self.pinned)
        return make_loader(view, batches, self.num_workers, pin_memory=self.pinned)
