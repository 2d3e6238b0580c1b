"""Batches that know their index, given label, trust and evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from noisycorrect.cycle.feed import map_tensors, tensors_in
from noisycorrect.data.datasets import ArrayDataset, MapStyleDataset, checked_weights, item_of
from noisycorrect.data.items import WEIGHT_KEYS, collated, split_fields
from noisycorrect.data.streams import ID_KEYS, Roll, StreamedDataset, without_id
from noisycorrect.labels import SoftLabelStore, Trust
from noisycorrect.labels.given import one_class
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.support.errors import InvalidInputError, StaleGenerationError
from noisycorrect.support.rank_rows import RankRows
from noisycorrect.support.rng import SeededReads, derived_seed, seeded

Collate = Callable[[list[Any]], Any]


@dataclass
class Batch:
    """What a task's loss sees.

    Attributes
    ----------
    index : Tensor, shape (B,), int64
        Positions in the data set.
    input : Any
        What the model is called with: a tensor, or tensors in tuples and dicts.
    given : Tensor, shape (B, ...)
        Given labels.
    trust : Trust
        In the given labels.
    evidence : Tensor or None
        Evidence as the store's codec keeps it; None at generation 0.
    generation : int
        Generation that trust and evidence belong to.
    extra : dict
        Further fields of the data set's items (a crop's geometry, say).
    share : float
        What the mean loss of the batch counts: below 1 if some of its labels are held out of the loss.
    weight : Tensor, shape (B,), or None
        What each sample counts in the loss, >= 0; None is 1 for all.
    rows : RankRows or None
        Which rows of a batch over all ranks these are; None is all.
    """

    index: Tensor
    input: Any
    given: Tensor
    trust: Trust
    evidence: Tensor | None = None
    generation: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0
    weight: Tensor | None = None
    rows: RankRows | None = None

    @property
    def whole(self) -> RankRows:
        """Which rows of the whole batch, over all ranks, these are."""
        return RankRows(len(self)) if self.rows is None else self.rows

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Batch:
        """Return the batch on a device."""
        return map_tensors(self, lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; called by DataLoader."""
        return map_tensors(self, lambda tensor: tensor.pin_memory() if tensor.device.type == "cpu" else tensor)


def are_vectors(inputs: Any) -> bool:
    """Return whether a batch's inputs are floating vectors, (B, F): no token ids, no images.

    Examples
    --------
    >>> are_vectors(torch.zeros(2, 3)), are_vectors(torch.zeros(2, 3, dtype=torch.int64))
    (True, False)
    """
    return isinstance(inputs, Tensor) and inputs.dim() == 2 and inputs.is_floating_point()


class LabelView(Dataset[Any]):
    """A data set as batches with index, trust and evidence; safe under fork, spawn and persistent workers.

    Before an item is read that draws random numbers, torch, numpy and random are seeded from (seed, epoch, index): an
    augmentation draws the same whatever the number of workers and ranks, and in a resumed run.

    Parameters
    ----------
    data : MapStyleDataset
        Items; see :func:`split_fields`.
    store : SoftLabelStore, optional
        Where trust and evidence come from; without one the given labels are trusted wholly.
    seed : int
        Seed of the run, >= 0.
    collate_fn : callable, optional
        Makes a batch of a list of items; default: torch's.
    expected : ndarray of int, shape (N,), optional
        Class labels that the items must carry; -1 is not compared. Default: the store's given labels, if each is one
        class: masks that were cropped or turned cannot be compared. A copy is kept of what does not own its memory:
        that of a tensor moves when it is sent to a worker.
    sample_weight : Tensor, shape (N,), optional
        What each sample counts in the loss. Default: what its item says under ``sample_weight`` or ``weight``.
    """

    def __init__(
        self,
        data: MapStyleDataset,
        store: SoftLabelStore | None,
        *,
        seed: int,
        collate_fn: Collate | None = None,
        expected: np.ndarray | None = None,
        sample_weight: Tensor | None = None,
    ) -> None:
        self.data = data
        self.store = store
        expected = store.kind.class_indices if expected is None and store is not None else expected
        self.expected = expected if expected is None or expected.flags.owndata else expected.copy()
        self.sample_weight = sample_weight
        self.seed = seed
        self.collate_fn = collate_fn
        self._reads = SeededReads(seed, "augmentation")
        self._epoch = torch.zeros(1, dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # persistent workers must see it change

    def __len__(self) -> int:
        return len(self.data)

    @property
    def epoch(self) -> int:
        """The epoch that the next batches belong to."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch (>= 0) the next batches belong to."""
        self._epoch.fill_(epoch)

    def __getitems__(self, indices: list[int]) -> Batch:
        return self._made(indices, *self._read(indices))

    def of_items(self, items: list[Any]) -> Batch:
        """Return a batch of items that a streaming set has read; see :class:`~noisycorrect.data.streams`."""
        assert isinstance(self.data, StreamedDataset)
        indices = self.data.positions(items).tolist()
        if self.collate_fn is None:
            return self._made(indices, *collated([without_id(item) for item in items]))
        inputs, given, _, extra = split_fields(self.collate_fn(items), len(items))
        return self._made(indices, inputs, given, None, {key: extra[key] for key in extra if key not in ID_KEYS})

    def _made(self, indices: list[int], inputs: Any, given: Any, own_index: Any, extra: dict[str, Any]) -> Batch:
        index = torch.tensor(indices)
        if isinstance(self.data, StreamedDataset):
            own_index = None  # it is the sample's id
        if own_index is not None and not torch.equal(torch.as_tensor(own_index).reshape(-1).long(), index):
            raise InvalidInputError(
                f"items to carry their position as index ({indices[:3]}...)",
                got=f"{torch.as_tensor(own_index).reshape(-1)[:3].tolist()}...",
                fix="leave the third element out of the items if it is something else (right labels go to"
                " fit(clean_labels=)), or pass the whole data set instead of a subset",
            )
        given = torch.as_tensor(given)
        if self.expected is not None:
            given = one_class(given)
            self._check_given(given, indices)
        weight = self._weights(indices, extra)
        if self.store is None:
            return Batch(
                index, inputs, given, Trust(torch.ones(len(indices), dtype=torch.float32)), extra=extra, weight=weight
            )
        generation = self.store.generation
        rows = np.asarray(indices)
        evidence = torch.from_numpy(self.store.code(rows, generation=generation)) if generation else None
        trust = self.store.trust(rows, generation=generation)
        return Batch(index, inputs, given, trust, evidence, generation, extra, weight=weight)

    def _read(self, indices: list[int]) -> tuple[Any, Any, Any, dict[str, Any]]:
        if isinstance(self.data, ArrayDataset) and self.collate_fn is None:
            return *self.data.batch(indices), None, {}
        items = self._reads(self._items, indices, int(self._epoch))
        if self.collate_fn is None:
            return collated(items)
        with seeded(self.seed, "collation", int(self._epoch), indices[0]):
            return _checked_batch(split_fields(self.collate_fn(items), len(indices)), len(indices))

    def _items(self, indices: list[int]) -> list[Any]:
        if hasattr(self.data, "__getitems__"):
            return list(self.data.__getitems__(indices))
        return [item_of(self.data, index) for index in indices]

    def _weights(self, indices: list[int], extra: dict[str, Any]) -> Tensor | None:
        """Return what the samples of a batch count, float32 (B,), or None: all alike."""
        if self.sample_weight is not None:
            return self.sample_weight[indices]
        own = [extra.pop(key) for key in WEIGHT_KEYS if key in extra]
        return checked_weights(own[0], len(indices)) if own else None

    def _check_given(self, given: Tensor, indices: list[int]) -> None:
        assert self.expected is not None
        expected, found = self.expected[indices], given.numpy()
        wrong = np.flatnonzero((expected != found) & (expected != UNLABELED))
        if len(wrong):
            row = int(wrong[0])
            raise InvalidInputError(
                f"label {expected[row]} at index {indices[row]}, as at the start of the run",
                got=str(found[row]),
                fix="a data set, its `targets` or `labels` and its canonical view must give the same label at the same"
                " position, in every epoch",
            )


def _checked_batch(fields: tuple[Any, Any, Any, dict[str, Any]], size: int) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return the fields of a batch that a collate_fn made, or raise if it left samples out or added some."""
    counts = {}
    for name, value in (("inputs", fields[0]), ("labels", fields[1])):
        tensors = tensors_in(value)
        first = tensors[0] if tensors else value
        if isinstance(first, Tensor) and not first.dim():
            counts[name] = 0
        elif hasattr(first, "__len__"):
            counts[name] = len(first)
    wrong = [f"{count} {name}" for name, count in counts.items() if count != size]
    if wrong or "labels" not in counts:
        raise InvalidInputError(
            f"a collate_fn that returns all {size} samples of a batch, in order",
            got=", ".join(wrong) or f"labels of type {type(fields[1]).__name__}",
            fix="let it drop nothing: labels are kept by position; leave samples out of the data set instead",
        )
    return fields


class ShardedBatches(Sampler[list[int]]):
    """Lists of positions: the whole data set once an epoch, each batch divided among the ranks, none padded.

    All ranks draw the same order, so that the global batches do not depend on the number of ranks.

    Parameters
    ----------
    length, batch_size : int
        Samples in all, and in a batch over all ranks.
    rank, world_size : int
        This rank's share is ``batch[rank::world_size]``.
    seed : int
        Seed of the order, >= 0.
    shuffle, full : bool
        Shuffle; and keep a last batch that leaves a rank with too few samples.
    least : int
        Samples that a rank needs of a last batch unless `full`; the batch needs two in any case. BatchNorm cannot train
        on one sample, nor a collective wait for none.

    Examples
    --------
    >>> list(ShardedBatches(5, 2, shuffle=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        full: bool = True,
        least: int = 2,
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0
        self._shuffled: tuple[int, Tensor] | None = None  # the order of an epoch, drawn once
        rest = length % batch_size
        whole = length // batch_size
        self._batches = whole + int(rest > 0 and (full or not whole or rest >= max(2, least * world_size)))

    @property
    def samples(self) -> int:
        """Samples of an epoch, over all ranks."""
        return min(self._batches * self.batch_size, self.length)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch (>= 0) the next order is for."""
        self.epoch = epoch

    def batch(self, number: int) -> Tensor:
        """Return the positions of a whole batch, over all ranks."""
        return self._order()[number * self.batch_size : (number + 1) * self.batch_size]

    def _order(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.length)
        if self._shuffled is None or self._shuffled[0] != self.epoch:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "order of samples", self.epoch))
            self._shuffled = self.epoch, torch.randperm(self.length, generator=generator)
        return self._shuffled[1]

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order()
        for number in range(self._batches):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield batch[self.rank :: self.world_size].tolist()


def make_loader(
    view: LabelView, batches: Sampler[list[int]] | list[list[int]], num_workers: int, *, pin_memory: bool = False
) -> DataLoader[Any]:
    """Return a DataLoader whose batches are the view's :class:`Batch` objects."""
    return DataLoader(
        view,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_as_it_is,  # the view collates
        persistent_workers=num_workers > 0,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else DataLoader draws its workers' seed from the caller's global state
    )


def end_workers(loader: Any) -> None:
    """End the workers that a DataLoader keeps from one pass to the next, if it has any.

    Those of a loader that the garbage collector finds in a circle are waited for in vain, five seconds each, before
    torch kills them: the queue that would tell them to end is gone by then.
    """
    iterator: Any = getattr(loader, "_iterator", None)
    if hasattr(iterator, "_shutdown_workers"):
        iterator._shutdown_workers()
        loader._iterator = None


class _Pass(IterableDataset[Any]):
    """The batches of one pass over a streaming set."""

    def __init__(self, view: LabelView, size: int) -> None:
        self.view = view
        self.size = size

    def __iter__(self) -> Iterator[Batch]:
        assert isinstance(self.view.data, StreamedDataset)
        for items in self.view.data.chunks(self.size, self.view.epoch, self.view.seed):
            yield self.view.of_items(items)


class StreamLoader:
    """Batches of a streaming set, in its own order, each sample once: others are refused.

    Parameters
    ----------
    view : LabelView
        Of a :class:`~noisycorrect.data.streams.StreamedDataset`.
    size, count : int
        Samples in a batch, and batches: what is left after so many is read, and left out.
    num_workers : int
        0 reads in this process, any other number in one beside it: the order has to be the set's.
    pin_memory : bool
        Whether batches are read into page-locked memory.

    Examples
    --------
    >>> data = StreamedDataset([(torch.tensor([float(k)]), k % 2, 10 - k) for k in range(5)], "train")
    >>> [batch.index.tolist() for batch in StreamLoader(LabelView(data, None, seed=0), 2, 3)]
    [[4, 3], [2, 1], [0]]
    """

    def __init__(
        self, view: LabelView, size: int, count: int, num_workers: int = 0, *, pin_memory: bool = False
    ) -> None:
        self.view, self.size, self.count = view, size, count
        self.num_workers, self.pin_memory = min(1, num_workers), pin_memory

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        assert isinstance(self.view.data, StreamedDataset)
        roll = Roll(self.view.data)
        loader = DataLoader(
            _Pass(self.view, self.size),
            batch_size=None,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            generator=torch.Generator(),
        )
        for number, batch in enumerate(loader):
            roll.note(batch.index.numpy())
            if number < self.count:
                yield batch
        roll.finish()


def _as_it_is(batch: Any) -> Any:
    return batch


def check_generation(batch: Batch, generation: int) -> None:
    """Raise a StaleGenerationError unless a batch carries labels of the current generation."""
    if batch.generation != generation:
        raise StaleGenerationError(
            f"a batch of label generation {generation}",
            got=f"generation {batch.generation}",
            fix="call refresh() on the worker's store; a plainly pickled copy does not notice new generations",
        )
