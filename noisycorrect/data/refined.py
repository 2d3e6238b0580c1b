"""A data set whose labels are the refined ones of a label store: for training loops that are not ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from noisycorrect.data.datasets import MapStyleDataset, as_dataset
from noisycorrect.labels import SoftLabelStore
from noisycorrect.support.errors import InvalidInputError

# Of a dict the first group that has any is meant; the second holds the names of Hugging Face.
_LABEL_KEYS = (("label", "given", "y", "target"), ("labels", "label_ids", "targets"))


class RefinedDataset(Dataset[Any]):
    """The items of a data set with refined labels, float32 (K,), in the place of the given ones (SCHP, Eq. 7).

    The labels are those of the store's current generation whenever an item is read, by workers too: nothing has to be
    made anew when a cycle has ended. Before the first generation they are the given labels, one-hot.

    Parameters
    ----------
    data : Dataset, or pair of arrays
        As for :meth:`SelfCorrector.fit <noisycorrect.SelfCorrector.fit>`: items are tuples whose second entry is the
        label, or dicts with a ``label``, ``given``, ``y``, ``target`` or ``labels``. All else in them stays as it is.
    store : SoftLabelStore, optional
        Of class labels, or of multi-label ones (an unknown entry is NaN before the first generation), as many as there
        are items. May be set later, before an item is read.

    Raises
    ------
    InvalidInputError
        If the store has another length, or its labels have sizes of their own (masks, tokens): what augmentation does
        to an input it would have to do to them.

    Examples
    --------
    >>> import torch
    >>> store = SoftLabelStore.create(None, given=[0, 1], num_classes=2)
    >>> refined = RefinedDataset((torch.zeros(2, 3), torch.tensor([0, 1])), store)
    >>> with store.new_generation() as writer:
    ...     writer.write([0, 1], torch.tensor([[0.2, 0.8], [0.0, 1.0]]))
    >>> refined[0]
    (tensor([0., 0., 0.]), tensor([0.6000, 0.4000]))
    """

    def __init__(self, data: Any, store: SoftLabelStore | None = None) -> None:
        self.data: MapStyleDataset = as_dataset(data, "data")
        self._store: SoftLabelStore | None = None
        if store is not None:
            self.store = store

    @property
    def store(self) -> SoftLabelStore:
        """Where the labels come from.

        Raises
        ------
        InvalidInputError
            When it is asked for before it was set.
        """
        if self._store is None:
            raise InvalidInputError(
                "a label store to read refined labels from",
                got="none yet",
                fix="pass store=; of a callback's data set, read no items before the training has begun",
            )
        return self._store

    @store.setter
    def store(self, store: SoftLabelStore) -> None:
        if not store.kind.stacked:
            fix = "train with SelfCorrector, whose tasks turn and pad labels as inputs are turned and padded"
            raise InvalidInputError("labels of one size", got=f"labels of {store.kind.parts}", fix=fix)
        if len(store) != len(self.data):
            fix = "use the data set that the store was made for, in the same order"
            raise InvalidInputError(f"a data set of {len(store)} items", got=str(len(self.data)), fix=fix)
        self._store = store

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the items at some positions; what a DataLoader reads a batch by."""
        positions = [range(len(self))[int(index)] for index in indices]
        labels = self.store.refined(positions)
        if hasattr(self.data, "__getitems__"):
            items = self.data.__getitems__(positions)
        else:
            items = [self.data[position] for position in positions]
        return [_with_label(item, label) for item, label in zip(items, labels, strict=True)]


def _with_label(item: Any, label: Tensor) -> Any:
    label = label.clone()  # else a worker sends the whole batch's with each
    if isinstance(item, Mapping):
        keys: list[str] = next((found for group in _LABEL_KEYS if (found := [key for key in group if key in item])), [])
        if len(keys) == 1:
            return {**item, keys[0]: label}
    elif isinstance(item, tuple | list) and len(item) >= 2:
        fields = [item[0], label, *item[2:]]
        return type(item)(*fields) if hasattr(item, "_fields") else type(item)(fields)
    got = f"a dict with keys {sorted(map(str, item))}" if isinstance(item, Mapping) else type(item).__name__
    expected = f"items that are tuples of an input and a label, or dicts with one of {sum(_LABEL_KEYS, ())}"
    raise InvalidInputError(expected, got=got, fix="change what the data set's __getitem__ returns")
