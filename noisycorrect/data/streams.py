"""Data sets that can only be read in passes, as the rest of a run knows them: by length and position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from noisycorrect.data.items import split_fields
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import seeded

ID_KEYS = ("id", "index")
CARRY = "make items (input, label, id) or dicts with an id: a whole number or a text, the same in every pass"


class StreamedDataset(Dataset[Any]):
    """A data set that is read in passes: its items carry ids, by which labels are kept.

    A first pass learns ids and labels. Positions are the places of the sorted ids, so that later passes may come in any
    order; what carries an id that the first pass had not, or twice in a pass, or not at all, is refused.

    Parameters
    ----------
    stream : iterable
        Each ``iter(stream)`` begins a pass over the same items. A method ``set_epoch`` is told the epoch before.
    name : str
        What messages call it.

    Attributes
    ----------
    ids : ndarray, shape (N,)
        Sorted: int64 or text.
    given : list
        Labels, by position.

    Raises
    ------
    InvalidInputError
        If it cannot be read twice, or an item has no id, or one that came before.

    Examples
    --------
    >>> data = StreamedDataset([(0.5, 1, "b"), (0.25, 0, "a")], "train")
    >>> data.ids.tolist(), data.given, data[0]
    (['a', 'b'], [0, 1], (0.25, 0, 'a'))
    """

    def __init__(self, stream: Iterable[Any], name: str) -> None:
        self.stream = stream
        self.name = name
        if iter(stream) is stream:
            raise InvalidInputError(
                f"{name} to be a data set that can be read again",
                got=f"{type(stream).__name__}, which is read once",
                fix="wrap it in an IterableDataset whose __iter__ begins anew",
            )
        ids: list[Any] = []
        labels: list[Any] = []
        for item in self._pass(0):
            ids.append(id_of(item, name))
            label = split_fields(item)[1]
            labels.append(label.numpy() if isinstance(label, Tensor) else label)
        if not ids:
            raise InvalidInputError(f"{name} with at least one sample", got="an empty data set", fix="check its path")
        self.ids, order = _sorted(ids, name)
        self.given = [labels[place] for place in order]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sample_names(self) -> list[str] | None:
        """What the samples are called: their ids, unless these are their positions."""
        if self.ids.dtype.kind == "i" and np.array_equal(self.ids, np.arange(len(self))):
            return None
        return list(map(str, self.ids.tolist()))

    @property
    def digest(self) -> str:
        """Digest of the ids."""
        return hashlib.sha256(repr(self.ids.dtype).encode() + self.ids.tobytes()).hexdigest()[:16]

    def positions(self, items: Sequence[Any]) -> np.ndarray:
        """Return the positions of some items, int64 (n,), by their ids.

        Raises
        ------
        InvalidInputError
            If the first pass had no such id.
        """
        ids = [id_of(item, self.name) for item in items]
        wanted = np.array(ids)
        unlike = wanted.dtype.kind != self.ids.dtype.kind
        places = np.zeros(len(ids), np.int64) if unlike else np.searchsorted(self.ids, wanted).clip(max=len(self) - 1)
        unknown = np.flatnonzero(np.full(len(ids), unlike) | (self.ids[places] != wanted))
        if len(unknown):
            raise InvalidInputError(
                f"the {len(self):,} ids of the first pass over {self.name} in every pass",
                got=f"{ids[unknown[0]]!r}",
                fix="give a sample the id that it always has, and leave the set as it is during a run",
            )
        return places

    def chunks(self, size: int, epoch: int, seed: int) -> Iterator[list[Any]]:
        """Yield the items of a pass, `size` at a time, in its own order.

        Before the pass begins torch, numpy and random are seeded from (seed, epoch), and before each chunk from (seed,
        epoch, chunk): the order of a set that shuffles itself is another one in each epoch, and the same with workers.
        """
        with seeded(seed, "order of a pass", epoch):
            items = self._pass(epoch)
        number = 0
        while True:
            with seeded(seed, "augmentation", epoch, number):
                chunk = list(islice(items, size))
            if not chunk:
                return
            yield chunk
            number += 1

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the items at some positions: a pass over the set, up to the last of them."""
        wanted = {int(index): None for index in indices}
        found: dict[int, Any] = {}
        for item in self._pass(0):
            place = int(self.positions([item])[0])
            if place in wanted:
                found.setdefault(place, item)
                if len(found) == len(wanted):
                    break
        missing = [index for index in wanted if index not in found]
        if missing:
            raise _missing(self, missing[0], len(missing))
        return [found[int(index)] for index in indices]

    def _pass(self, epoch: int) -> Iterator[Any]:
        if callable(getattr(self.stream, "set_epoch", None)):
            self.stream.set_epoch(epoch)  # type: ignore[attr-defined]
        return iter(self.stream)


class Roll:
    """Sees to it that a pass has each sample once.

    Examples
    --------
    >>> roll = Roll(StreamedDataset([(0.5, 1, 7), (0.25, 0, 3)], "train"))
    >>> roll.note(np.array([1]))
    >>> roll.note(np.array([1]))
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected each id once in a pass over train; got 7 again; to fix: give
    every sample an id of its own, and let a pass have each sample once
    """

    def __init__(self, data: StreamedDataset) -> None:
        self.data = data
        self.seen = np.zeros(len(data), bool)

    def note(self, positions: np.ndarray) -> None:
        """Take down some samples; raise an InvalidInputError if one was there."""
        values, counts = np.unique(positions, return_counts=True)
        again = values[self.seen[values] | (counts > 1)]
        if len(again):
            raise _again(self.data.ids[again[0]], self.data.name)
        self.seen[values] = True

    def finish(self) -> None:
        """Raise an InvalidInputError if a sample is missing at the end of a pass."""
        missing = np.flatnonzero(~self.seen)
        if len(missing):
            raise _missing(self.data, int(missing[0]), len(missing))


def id_of(item: Any, name: str) -> int | str:
    """Return the id of an item: the third element of a tuple, or ``id`` or ``index`` of a dict.

    Raises
    ------
    InvalidInputError
        If it has none, or one that is neither a whole number nor a text.

    Examples
    --------
    >>> id_of((0.5, 1, "a.jpg"), "train"), id_of({"x": 0.5, "y": 1, "id": 7}, "train")
    ('a.jpg', 7)
    """
    found: Any = None
    if isinstance(item, Mapping):
        found = next((item[key] for key in ID_KEYS if key in item), None)
    elif isinstance(item, (tuple, list)) and len(item) > 2:
        found = item[2]
    if isinstance(found, (Tensor, np.ndarray, np.generic)) and found.ndim == 0:
        found = found.item()
    if isinstance(found, bool) or not isinstance(found, (int, str)):
        got = "none" if found is None else f"{found!r}"[:80]
        raise InvalidInputError(f"an id in each item of {name}, which has no positions", got=got, fix=CARRY)
    return found


def without_id(item: Any) -> Any:
    """Return an item without what tells its place: input and label, or the other fields of a dict.

    Examples
    --------
    >>> without_id((0.5, 1, 7)), without_id({"x": 0.5, "y": 1, "id": 7})
    ((0.5, 1), {'x': 0.5, 'y': 1})
    """
    if isinstance(item, Mapping):
        return {key: value for key, value in item.items() if key not in ID_KEYS}
    return tuple(item[:2])


def _sorted(ids: list[Any], name: str) -> tuple[np.ndarray, list[int]]:
    kinds = {type(each) for each in ids}
    if len(kinds) > 1:
        first = next(each for each in ids if type(each) is not type(ids[0]))
        raise InvalidInputError(f"ids of {name} that are all numbers, or all texts", got=f"{first!r}", fix=CARRY)
    try:
        array = np.array(ids, np.int64) if kinds == {int} else np.array(ids)
    except OverflowError as error:
        raise InvalidInputError(f"ids of {name} below 2^63", got=str(error), fix=CARRY) from error
    order = np.argsort(array, kind="stable")
    array = array[order]
    again = np.flatnonzero(array[1:] == array[:-1])
    if len(again):
        raise _again(array[again[0]], name)
    return array, order.tolist()


def _again(found: Any, name: str) -> InvalidInputError:
    fix = "give every sample an id of its own, and let a pass have each sample once"
    return InvalidInputError(f"each id once in a pass over {name}", got=f"{found} again", fix=fix)


def _missing(data: StreamedDataset, index: int, count: int) -> InvalidInputError:
    return InvalidInputError(
        f"the {len(data):,} samples of the first pass over {data.name} in every pass",
        got=f"none of id {data.ids[index]}" + (f", and {count - 1:,} others are missing" if count > 1 else ""),
        fix="leave the set as it is during a run; with workers of its own, let it give all samples to the first",
    )
