"""What users have (data sets, arrays, loaders) as map-style data sets, and the labels in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
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

from noisycorrect.data.forms import as_inputs, count_of, joined, rows_of
from noisycorrect.data.items import LABEL_KEYS, WEIGHT_KEYS, input_of, present, split_fields, weight_among
from noisycorrect.data.streams import StreamedDataset
from noisycorrect.data.wrapped import unwrapped
from noisycorrect.labels.given import NUMBER_THEM, one_class
from noisycorrect.support.arrays import as_array, is_array, is_frame
from noisycorrect.support.calling import KeywordInputs
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import seeded


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
    inputs : array-like, sparse matrix, table, or mapping of arrays, shape (N, ...)
        See :func:`~noisycorrect.data.forms.as_inputs`; a tensor or array is not copied.
    labels : array-like, shape (N, ...)
        Labels; of a column (N, 1) or one-hot ones the run makes class numbers.
    sample_weight : array-like, shape (N,), optional
        What each sample counts in the loss.

    Raises
    ------
    InvalidInputError
        If there are not equally many of them, or something is no number.

    Examples
    --------
    >>> data = ArrayDataset(np.zeros((4, 2), np.float32), [0, 1, 0, 1])
    >>> data.batch([1, 3])
    (tensor([[0., 0.],
            [0., 0.]]), tensor([1, 1]))
    """

    def __init__(self, inputs: Any, labels: Any, sample_weight: Any = None) -> None:
        self.inputs = as_inputs(inputs)
        self.labels = _labels_as_tensor(labels)
        count = len(self.labels) if self.labels.dim() else 1
        if not self.labels.dim() or len(self) != count:
            raise InvalidInputError(
                "as many labels as inputs",
                got=f"{count} labels, {len(self)} inputs",
                fix="pass arrays of one length",
            )
        self.sample_weight = None if sample_weight is None else checked_weights(sample_weight, len(self))

    def __len__(self) -> int:
        return count_of(self.inputs)

    def __getitem__(self, index: int) -> tuple[Any, Tensor]:
        return rows_of(self.inputs, index), self.labels[index]

    def batch(self, indices: Sequence[int]) -> tuple[Any, Tensor]:
        """Return the inputs and labels at some positions."""
        return rows_of(self.inputs, indices), self.labels[indices]


def _labels_as_tensor(labels: Any) -> Tensor:
    if isinstance(labels, Tensor):
        return labels.detach()
    array = as_array(labels, "labels")
    if array.dtype.kind not in "biuf":
        text = array.dtype.kind in "US" or any(isinstance(each, str) for each in array.flat)
        raise InvalidInputError(
            "labels to be whole numbers",
            got=f"{array.dtype}",
            fix=NUMBER_THEM
            if text or not array.size
            else "pass numbers, and -1 for a sample without a label: labels.fillna(-1) of pandas",
        )
    return torch.as_tensor(as_inputs(array, "labels"))


def checked_weights(weights: Any, length: int) -> Tensor:
    """Return the weights of samples as float32 (N,).

    Raises
    ------
    InvalidInputError
        If they are not N finite numbers >= 0.

    Examples
    --------
    >>> checked_weights([1, 0.5], 2)
    tensor([1.0000, 0.5000])
    """
    array = as_array(weights, "sample_weight")
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.shape != (length,) or array.dtype.kind not in "biuf":
        got, fix = f"{array.dtype} of shape {array.shape}", "pass one number a sample, in the order of the data set"
        raise InvalidInputError(f"sample_weight of shape ({length},)", got=got, fix=fix)
    wrong = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if len(wrong):
        got = f"{array[wrong[0]]} at index {wrong[0]}"
        raise InvalidInputError("finite weights >= 0", got=got, fix="pass 0 for a sample that is not to be learnt")
    return torch.from_numpy(array.astype(np.float32))


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
            if isinstance(inputs, KeywordInputs):  # beside named inputs there are texts and ids, of which nobody asks
                extra = {key: extra[key] for key in WEIGHT_KEYS if key in extra}
            if extra:
                raise InvalidInputError(
                    "items of an input and a label together with unlabeled=",
                    got=f"further fields {sorted(extra)}",
                    fix="leave them out, or put all samples into one data set, some with the label -1",
                )
            # Numbers of all sorts make one batch, and so do arrays.
            if np.ndim(label) == 1 and np.ndim(self.missing) == 0:  # one-hot, or in a column
                label = one_class(torch.as_tensor(label).unsqueeze(0))[0]
            return inputs, int(label) if np.ndim(label) == 0 else torch.as_tensor(label)
        missing = self.missing if np.ndim(self.missing) == 0 else torch.as_tensor(self.missing)
        return input_of(self.unlabeled[index - len(self.labeled)]), missing


def join_unlabeled(labeled: MapStyleDataset, unlabeled: Any, missing: Any) -> MapStyleDataset:
    """Return a labelled data set followed by inputs without labels; arrays stay arrays.

    `missing` is the label of a sample that has none: see :meth:`LabelKind.no_label
    <noisycorrect.labels.LabelKind.no_label>`.

    Raises
    ------
    InvalidInputError
        If one of them is read in passes.
    """
    if isinstance(labeled, StreamedDataset) or _is_stream(unlabeled):
        raise InvalidInputError(
            "all samples in one data set, if it is read in passes",
            got="unlabeled= beside a streaming set",
            fix=f"put them into it, with the label {missing!r}",
        )
    if isinstance(labeled, ArrayDataset) and (is_array(unlabeled) or isinstance(unlabeled, Mapping)):
        more = as_inputs(input_of(unlabeled) if isinstance(unlabeled, Mapping) else unlabeled, "unlabeled")
        labels = labeled.labels if labeled.labels.is_floating_point() else labeled.labels.long()
        none = torch.as_tensor(missing, dtype=labels.dtype).expand(count_of(more), *labels.shape[1:])
        weights = labeled.sample_weight
        if weights is not None:
            weights = torch.cat([weights, torch.ones(count_of(more), dtype=torch.float32)])
        return ArrayDataset(joined(labeled.inputs, more), torch.cat([labels, none]), weights)
    if isinstance(unlabeled, Mapping) and all(isinstance(key, str) for key in unlabeled):
        inputs = as_inputs(input_of(unlabeled), "unlabeled")
        unlabeled = ArrayDataset(
            inputs, torch.zeros(count_of(inputs), dtype=torch.float32)
        )  # of whose items the inputs are taken
    if is_array(unlabeled):
        unlabeled = as_inputs(unlabeled, "unlabeled")
    return WithUnlabeled(labeled, unlabeled, missing)


def as_dataset(data: Any, name: str) -> MapStyleDataset:
    """Return a map-style data set from what a user passed.

    Parameters
    ----------
    data : Dataset, (inputs, labels) pair of arrays, TensorDataset, DataLoader, or IterableDataset
        Only a DataLoader's dataset is used. The loader has to visit every sample once, in order or shuffled: the
        corrector has to know each sample's index. Items of an IterableDataset have to carry an id
        (:class:`~noisycorrect.data.streams.StreamedDataset`).
    name : str
        What messages call it.

    Raises
    ------
    InvalidInputError
        If it has no length or no items, is empty, is a loader that hides the index, or hides the given labels of a
        data set inside (torch's Subset and ConcatDataset do not: :func:`~noisycorrect.data.wrapped.unwrapped`).
    """
    if isinstance(data, (str, bytes, os.PathLike)):
        raise InvalidInputError(
            f"{name} to be a data set or a pair of arrays",
            got=f"the text {data!r}",
            fix="read the file first: fit((inputs, labels)); `noisycorrect clean` reads tables and folders itself",
        )
    if isinstance(data, DataLoader):
        data = _dataset_of_loader(data, name)
    if type(data) is TensorDataset and len(data.tensors) == 2:
        data = tuple(data.tensors)
    if is_array(data):
        raise InvalidInputError(
            f"{name} to be a pair (inputs, labels) or a data set",
            got=f"one {type(data).__name__}",
            fix="pass both in a tuple: fit((frame[features], frame['label']))"
            if is_frame(data)
            else "pass both in a tuple: fit((inputs, labels))",
        )
    if isinstance(data, Mapping) and data and all(isinstance(key, str) for key in data):
        return _of_mapping(data, name)
    if isinstance(data, (tuple, list)) and len(data) > 2 and all(map(is_array, data)):
        raise InvalidInputError(
            f"{name} to be a pair (inputs, labels)",
            got=f"{len(data)} arrays",
            fix="pass fit((inputs, labels)); weights go to fit(sample_weight=), several inputs into a dict by name",
        )
    if _is_pair(data):
        data = ArrayDataset(*data)
    if _is_stream(data):
        return StreamedDataset(data, name)
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise InvalidInputError(
            f"{name} to be a map-style data set (__len__ and __getitem__) or a pair of arrays",
            got=type(data).__name__,
            fix="labels are kept by position: wrap the samples in a Dataset, or pass (inputs, labels)",
        )
    try:
        length = len(data)
    except (TypeError, ValueError) as error:
        fix = "return a whole number from __len__: labels are kept by position"
        raise InvalidInputError(f"{name} with a length", got=str(error), fix=fix) from error
    if length == 0:
        raise InvalidInputError(f"{name} with at least one sample", got="an empty data set", fix="check its path")
    return unwrapped(data, name)  # type: ignore[no-any-return]


def _is_stream(data: Any) -> bool:
    """Return whether data can only be read in passes."""
    if isinstance(data, (IterableDataset, StreamedDataset)):
        return not isinstance(data, StreamedDataset)
    return hasattr(data, "__iter__") and not hasattr(data, "__getitem__") and not isinstance(data, (set, frozenset))


def _is_pair(data: Any) -> bool:
    """Return whether data are a pair (inputs, labels) and not a list of two items."""
    if isinstance(data, tuple):
        return len(data) == 2
    return (
        isinstance(data, list)
        and len(data) == 2
        and (is_array(data[0]) or isinstance(data[0], Mapping))
        and (is_array(data[1]) or not isinstance(data[1], (tuple, Mapping)))
    )


def _of_mapping(data: Mapping[str, Any], name: str) -> MapStyleDataset:
    """Return the data set of arrays by name."""
    expected = f"{name} to be one data set, or arrays by name: an input and a label"
    got = f"a dict with keys {sorted(data)}"
    fix = 'pass {"x": inputs, "y": labels}; of several data sets pass one: fit(data["train"], data["test"])'
    try:
        inputs, labels, _, extra = split_fields(data)
    except InvalidInputError as error:
        raise InvalidInputError(expected, got=got, fix=fix) from error
    if isinstance(labels, (Dataset, Mapping)) or isinstance(inputs, Dataset):
        raise InvalidInputError(expected, got=got, fix=fix)
    return ArrayDataset(inputs, labels, weight_among(extra))


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


def read_given(data: MapStyleDataset, num_workers: int = 0) -> Any:
    """Return the labels of all samples, in order.

    Taken from the data set's ``given`` where it has one such sequence of its length: masks in the images' own frame,
    read when they are asked for. Else from its ``targets`` or ``labels`` (each batch is compared with them later); else
    every item is read once, in `num_workers` processes.
    """
    if isinstance(data, WithUnlabeled):
        given = read_given(data.labeled, num_workers)
        one = np.ndim(data.missing) == 0 and np.ndim(given[0]) == 1
        missing = np.full(len(given[0]), data.missing) if one else data.missing
        return [*given, *[missing] * len(data.unlabeled)]
    given = getattr(data, "given", None)
    if isinstance(given, Sequence) and len(given) == len(data):
        return given
    for labels in _known_labels(data):
        if len(labels) == len(data):
            picks = np.linspace(0, len(data) - 1, min(8, len(data))).astype(int).tolist()
            read = [] if isinstance(data, ArrayDataset) else _read_labels(data, picks, min(1, num_workers))
            if all(np.ndim(own) == 0 and own == labels[index] for index, own in zip(picks, read, strict=False)):
                return labels
    return _read_labels(data, list(range(len(data))), num_workers)


def _known_labels(data: Any) -> Iterator[Any]:
    """Yield what may be the labels of all samples: attributes, or the column of a table such as Hugging Face's."""
    for name in ("targets", "labels"):
        labels = getattr(data, name, None)
        if isinstance(labels, (list, tuple, np.ndarray, Tensor)):
            yield labels
        elif hasattr(labels, "to_numpy"):
            yield as_array(labels, "labels")
    column = present(dict.fromkeys(getattr(data, "column_names", None) or ()), LABEL_KEYS)
    if len(column) == 1:
        yield list(data[column[0]])


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


def item_of(data: MapStyleDataset, index: int) -> Any:
    """Return an item of a data set.

    Raises
    ------
    InvalidInputError
        If it has fewer items than its length says.
    """
    try:
        return data[index]
    except IndexError as error:
        raise InvalidInputError(
            f"a data set of {len(data)} items, as its len() says",
            got=f"an IndexError at item {index}: {error}",
            fix="let __len__ return the number of items that __getitem__ has",
        ) from error


class _Whole(Dataset[Any]):
    """A map-style data set as torch's loader wants it typed."""

    def __init__(self, data: MapStyleDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return item_of(self.data, index)


def _labels_of(items: list[Any]) -> list[Any]:
    # As arrays: each tensor from a worker would hold a file descriptor, and thousands of labels run out of them.
    labels = [split_fields(item)[1] for item in items]
    return [label.numpy() if isinstance(label, Tensor) else label for label in labels]
