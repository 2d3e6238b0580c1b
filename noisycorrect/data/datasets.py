"""What users have (data sets, arrays, loaders) as map-style data sets, and the labels in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
    default_convert,
)

from noisycorrect.cycle.feed import INPUT_KEYS, map_tensors
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import seeded

LABEL_KEYS = ("label", "given", "y", "target")


class MapStyleDataset(Protocol):
    """A data set with a length and items by position."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return the item at a position: ``(input, label)``, ``(input, label, index)`` or a dict."""
        ...


class ArrayDataset(Dataset[Any]):
    """Inputs and labels that lie in memory as arrays; whole batches are indexed at once.

    Parameters
    ----------
    inputs : array-like, shape (N, ...)
        Inputs; a tensor or array is not copied.
    labels : array-like, shape (N,)
        Labels.

    Examples
    --------
    >>> data = ArrayDataset(np.zeros((4, 2), np.float32), [0, 1, 0, 1])
    >>> data.batch([1, 3])
    (tensor([[0., 0.],
            [0., 0.]]), tensor([1, 1]))
    """

    def __init__(self, inputs: Any, labels: Any) -> None:
        self.inputs = torch.as_tensor(inputs)
        if not isinstance(labels, Tensor) and np.asarray(labels).dtype.kind not in "biuf":
            raise InvalidInputError(
                "labels to be whole numbers",
                got=f"{np.asarray(labels).dtype}",
                fix="number the classes from 0, with sklearn.preprocessing.LabelEncoder for instance",
            )
        self.labels = torch.as_tensor(labels)
        if len(self.inputs) != len(self.labels):
            raise InvalidInputError(
                "as many labels as inputs",
                got=f"{len(self.labels)} labels, {len(self.inputs)} inputs",
                fix="pass arrays of one length",
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.labels[index]

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the inputs and labels at some positions."""
        return self.inputs[indices], self.labels[indices]


class WithUnlabeled(Dataset[Any]):
    """A labelled data set followed by inputs without labels, which get the label `missing`."""

    def __init__(self, labeled: MapStyleDataset, unlabeled: MapStyleDataset, missing: Any) -> None:
        self.labeled = labeled
        self.unlabeled = unlabeled
        self.missing = missing

    def __len__(self) -> int:
        return len(self.labeled) + len(self.unlabeled)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index < len(self.labeled):
            inputs, label, _, extra = split_fields(self.labeled[index])
            if extra:
                raise InvalidInputError(
                    "items of an input and a label together with unlabeled=",
                    got=f"further fields {sorted(extra)}",
                    fix="leave them out, or put all samples into one data set, some without a label",
                )
            # Numbers of all sorts make one batch, and so do arrays.
            return inputs, int(label) if np.ndim(label) == 0 else torch.as_tensor(label)
        missing = self.missing if np.ndim(self.missing) == 0 else torch.as_tensor(self.missing)
        return input_of(self.unlabeled[index - len(self.labeled)]), missing


def input_of(item: Any) -> Any:
    """Return the input of an item that may have a label or none: the first of a tuple, a field of a dict, or the item.

    Examples
    --------
    >>> input_of((1, 2)), input_of({"image": 1}), input_of(1)
    (1, 1, 1)
    """
    if isinstance(item, Mapping):
        item = next((item[key] for key in INPUT_KEYS if key in item), item)
    return item[0] if isinstance(item, (tuple, list)) else item


def join_unlabeled(labeled: MapStyleDataset, unlabeled: Any, missing: Any) -> MapStyleDataset:
    """Return a labelled data set followed by inputs without labels; arrays stay arrays.

    `missing` is the label of a sample that has none: see :meth:`LabelKind.no_label
    <noisycorrect.labels.LabelKind.no_label>`.
    """
    if isinstance(labeled, ArrayDataset) and isinstance(unlabeled, (Tensor, np.ndarray)):
        more = torch.as_tensor(unlabeled)
        if more.is_floating_point() != labeled.inputs.is_floating_point():
            raise InvalidInputError(
                f"unlabeled inputs of dtype {labeled.inputs.dtype}, as the labelled ones",
                got=str(more.dtype),
                fix="prepare them as the labelled ones",
            )
        if more.shape[1:] != labeled.inputs.shape[1:]:
            raise InvalidInputError(
                f"unlabeled inputs of shape (N, {', '.join(map(str, labeled.inputs.shape[1:]))})",
                got=str(tuple(more.shape)),
                fix="prepare them as the labelled ones",
            )
        labels = labeled.labels if labeled.labels.is_floating_point() else labeled.labels.long()
        none = torch.as_tensor(missing, dtype=labels.dtype).expand(len(more), *labels.shape[1:])
        more = more.to(labeled.inputs.dtype)
        return ArrayDataset(torch.cat([labeled.inputs, more]), torch.cat([labels, none]))
    return WithUnlabeled(labeled, unlabeled, missing)


def as_dataset(data: Any, name: str) -> MapStyleDataset:
    """Return a map-style data set from what a user passed.

    Parameters
    ----------
    data : Dataset, (inputs, labels) pair of arrays, TensorDataset, or DataLoader
        Only a DataLoader's dataset is used. The loader has to visit every sample once, in order or shuffled: the
        corrector has to know each sample's index.
    name : str
        What messages call it.

    Raises
    ------
    InvalidInputError
        If it has no length or no items, is empty, or is a loader that hides the index.
    """
    if isinstance(data, DataLoader):
        data = _dataset_of_loader(data, name)
    if type(data) is TensorDataset and len(data.tensors) == 2:
        data = tuple(data.tensors)
    if isinstance(data, (Tensor, np.ndarray)):
        raise InvalidInputError(
            f"{name} to be a pair (inputs, labels) or a data set",
            got=f"one {type(data).__name__}",
            fix="pass both in a tuple: fit((inputs, labels))",
        )
    if isinstance(data, tuple) and len(data) == 2:
        data = ArrayDataset(*data)
    if isinstance(data, IterableDataset) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise InvalidInputError(
            f"{name} to be a map-style data set (__len__ and __getitem__) or a pair of arrays",
            got=type(data).__name__,
            fix="labels are kept by position: wrap the samples in a Dataset, or pass (inputs, labels)",
        )
    if len(data) == 0:
        raise InvalidInputError(f"{name} with at least one sample", got="an empty data set", fix="check its path")
    return data  # type: ignore[no-any-return]


def _dataset_of_loader(loader: DataLoader[Any], name: str) -> Any:
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    visits_all = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler and not sampler.replacement and len(sampler) == len(sampler.data_source)
    )
    visits_all = visits_all and len(sampler) == len(loader.dataset)  # type: ignore[arg-type]
    own = type(loader.batch_sampler) not in (BatchSampler, type(None)) or not visits_all
    if own or loader.collate_fn not in (default_collate, default_convert):
        got = type(sampler).__name__ if own else "a collate_fn of its own"
        raise InvalidInputError(
            f"{name} to be a data set, or a DataLoader that only shuffles",
            got=f"a DataLoader with {got}, from whose batches the index cannot be known",
            fix="pass the data set itself; batch_size=, num_workers= and collate_fn= go to SelfCorrector",
        )
    return loader.dataset


def split_fields(batch: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return (input, label, index or None, extra) of an item or a batch: ``(x, y)``, ``(x, y, index)`` or a dict.

    Raises
    ------
    InvalidInputError
        If it is neither.

    Examples
    --------
    >>> split_fields({"image": 1, "label": 2, "index": 3, "matrix": 4})
    (1, 2, 3, {'matrix': 4})
    """
    if isinstance(batch, Mapping):
        fields = dict(batch)
        inputs = [key for key in INPUT_KEYS if key in fields]
        labels = [key for key in LABEL_KEYS if key in fields]
        if len(inputs) == 1 and len(labels) == 1:
            return fields.pop(inputs[0]), fields.pop(labels[0]), fields.pop("index", None), fields
        got = f"a dict with keys {sorted(map(str, fields))}"
    elif isinstance(batch, (tuple, list)) and len(batch) in (2, 3):
        return batch[0], batch[1], batch[2] if len(batch) == 3 else None, {}
    else:
        got = type(batch).__name__ + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else "")
    raise InvalidInputError(
        f"(input, label), (input, label, index) or a dict with one of {INPUT_KEYS} and one of {LABEL_KEYS}",
        got=got,
        fix="change what the data set's __getitem__ returns",
    )


def read_given(data: MapStyleDataset, num_workers: int = 0) -> Any:
    """Return the labels of all samples, in order.

    Taken from the data set's ``given`` where it has one such sequence of its length: masks in the images' own frame,
    read when they are asked for. Else from its ``targets`` or ``labels`` (each batch is compared with them later); else
    every item is read once, in `num_workers` processes.
    """
    if isinstance(data, WithUnlabeled):
        return [*read_given(data.labeled, num_workers), *[data.missing] * len(data.unlabeled)]
    given = getattr(data, "given", None)
    if isinstance(given, Sequence) and len(given) == len(data):
        return given
    for name in ("targets", "labels"):
        labels = getattr(data, name, None)
        if isinstance(labels, (list, tuple, np.ndarray, Tensor)) and len(labels) == len(data):
            picks = np.linspace(0, len(data) - 1, min(8, len(data))).astype(int).tolist()
            read = [] if isinstance(data, ArrayDataset) else _read_labels(data, picks, min(1, num_workers))
            if all(np.ndim(own) == 0 and own == labels[index] for index, own in zip(picks, read, strict=False)):
                return labels
    return _read_labels(data, list(range(len(data))), num_workers)


def _read_labels(data: MapStyleDataset, indices: list[int], num_workers: int) -> list[Any]:
    """Return the labels of some items; read by workers if there are any, so that no open file is shared with them."""
    batches = [indices[start : start + 64] for start in range(0, len(indices), 64)]
    with seeded(0, "reading labels"):
        loader = DataLoader(
            _Whole(data),
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=_labels_of,
            generator=torch.Generator(),
        )
        return [label for labels in loader for label in labels]


class _Whole(Dataset[Any]):
    """A map-style data set as torch's loader wants it typed."""

    def __init__(self, data: MapStyleDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return self.data[index]


def _labels_of(items: list[Any]) -> list[Any]:
    # As arrays: each tensor from a worker would hold a file descriptor, and thousands of labels run out of them.
    labels = [split_fields(item)[1] for item in items]
    return [label.numpy() if isinstance(label, Tensor) else label for label in labels]


def is_augmented(data: MapStyleDataset, num_workers: int = 0) -> bool:
    """Return whether the first item differs from one reading to the next."""
    if isinstance(data, ArrayDataset):
        return False
    readings = list(
        DataLoader(_Readings(data), batch_size=None, num_workers=min(1, num_workers), generator=torch.Generator())
    )
    one, other = readings
    return len(one) != len(other) or not all(map(_same, one, other))


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())  # NaN is NaN


class _Readings(Dataset[Any]):
    """Two readings of the first item's input, under different seeds, as lists of tensors."""

    def __init__(self, data: MapStyleDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return 2

    def __getitem__(self, attempt: int) -> list[Tensor]:
        tensors: list[Tensor] = []

        def note(tensor: Tensor) -> Tensor:
            tensors.append(tensor)
            return tensor

        with seeded(0, "reading twice", attempt):
            item: Any = default_convert(split_fields(self.data[0])[0])  # type: ignore[no-untyped-call]
        map_tensors(item, note)
        return tensors
