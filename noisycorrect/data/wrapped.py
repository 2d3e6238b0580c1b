"""Data sets inside other ones: what they say of themselves is said of the part, or the whole, that is asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, final

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from noisycorrect.support.arrays import is_array
from noisycorrect.support.errors import InvalidInputError

PER_SAMPLE = ("sample_names", "image_files")  # what a data set may say of its samples, beside `given`
LOOKED_INTO = 100  # longer lists are of values
PER_SET = ("classes", "num_classes", "input_record")
FIX = "pass the data set itself, torch's Subset or ConcatDataset of it, or forward its `given` and `canonical()`"


def unwrapped(data: Any, name: str) -> Any:
    """Return a data set that still has what torch's ``Subset`` and ``ConcatDataset`` hide of the ones that they hold.

    A data set may have its labels in ``given``, in a frame of their own, and say by ``canonical()`` what its samples
    are without augmentation. Behind a wrapper these would be lost, and labels would be read from augmented items.
    :func:`torch.utils.data.random_split` returns subsets; wrappers of wrappers are followed.

    Parameters
    ----------
    data : Any
        What a user passed.
    name : str
        What messages call it.

    Raises
    ------
    InvalidInputError
        If another wrapper hides them, or only some of the data sets joined have them.

    Examples
    --------
    >>> class Own:
    ...     given = ["a", "b", "c"]
    ...     def __len__(self): return 3
    ...     def __getitem__(self, index): return index, "augmented"
    >>> both = unwrapped(ConcatDataset([Subset(Own(), [2, 0]), Own()]), "train")
    >>> list(both.given), both[0]
    (['c', 'a', 'a', 'b', 'c'], (2, 'augmented'))
    """
    if type(data) is Subset:
        return _selected(unwrapped(data.dataset, name), data)
    if type(data) is ConcatDataset:
        return _joined([unwrapped(part, name) for part in data.datasets], data, name)
    if not _has_given(data) and _hides(data, set()):
        got = f"a {type(data).__name__} around one, from whose items they cannot be had"
        raise InvalidInputError(
            f"{name} with the given labels and the canonical frame of its data set", got=got, fix=FIX
        )
    return data


def _has_given(data: Any) -> bool:
    return isinstance(getattr(data, "given", None), Sequence)


def _hides(data: Any, seen: set[int]) -> bool:
    """Return whether a data set keeps one with given labels of its own, however deep, and does not have them itself."""
    if id(data) in seen or not _holds_items(data):
        return False
    seen.add(id(data))
    for value in list(getattr(data, "__dict__", {}).values()):
        inner = value if isinstance(value, (list, tuple)) and len(value) < LOOKED_INTO else (value,)
        if any(_holds_items(each) and (_has_frame(each) or _hides(each, seen)) for each in inner):
            return True
    return False


def _has_frame(data: Any) -> bool:
    """Return whether labels are of another frame than items: a class's number is the same in any."""
    if not _has_given(data) or not len(data.given):
        return False
    return callable(getattr(data, "canonical", None)) or np.ndim(data.given[0]) > 0


def _holds_items(data: Any) -> bool:
    own = isinstance(data, (Sequence, Mapping)) or is_array(data)  # values, not data sets
    return not own and hasattr(type(data), "__getitem__") and hasattr(type(data), "__len__")


def _selected(inner: Any, data: Subset[Any]) -> Any:
    says_more = _has_given(inner) or callable(getattr(inner, "canonical", None))
    return _Selected(inner, data.indices) if says_more else data


def _joined(parts: list[Any], data: ConcatDataset[Any], name: str) -> Any:
    given = [_has_given(part) for part in parts]
    if any(given) != all(given):
        one = parts[given.index(False)]
        got = f"one of {type(one).__name__}, which has none, beside {sum(given)} that do"
        fix = "join data sets of one kind"
        raise InvalidInputError(f"{name} of data sets with given labels of their own", got=got, fix=fix)
    return _Joined(parts) if any(given) or all(callable(getattr(part, "canonical", None)) for part in parts) else data


@final
class Rows(Sequence[Any]):
    """Some positions of sequences that follow one another, read when they are asked for.

    Parameters
    ----------
    parts : sequence of sequences
        Kept as ``.parts``.
    indices : sequence of int, optional
        Positions in their whole. Default: all, in order.

    Examples
    --------
    >>> rows = Rows([["a", "b"], ["c"]], [2, 0])
    >>> list(rows), rows[-1], rows[:1]
    (['c', 'a'], 'a', ['c'])
    """

    def __init__(self, parts: Sequence[Sequence[Any]], indices: Sequence[int] | None = None) -> None:
        self.parts = tuple(parts)
        self._ends = list(accumulate(len(part) for part in self.parts))
        whole = self._ends[-1]
        self._indices = range(whole) if indices is None else [int(index) % whole for index in indices]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self._read(self._indices[index])

    def __iter__(self) -> Iterator[Any]:
        return (self._read(index) for index in self._indices)

    def _read(self, index: int) -> Any:
        part = bisect_right(self._ends, index)
        return self.parts[part][index - (self._ends[part - 1] if part else 0)]


class _Says:
    """What data sets say of their samples, of those here; set where all of them say it."""

    given: Rows
    canonical: Callable[[], Any]
    with_unlabeled: Callable[[Any], Any]

    def _take_over(
        self, parts: Sequence[Any], indices: Sequence[int] | None, again: Callable[[list[Any]], Any]
    ) -> None:
        if all(_has_given(part) for part in parts):
            self.given = Rows([part.given for part in parts], indices)
        if all(callable(getattr(part, "canonical", None)) for part in parts):
            self.canonical = _Canonical(parts, again)
        if all(callable(getattr(part, "with_unlabeled", None)) for part in parts):
            self.with_unlabeled = _WithUnlabeled(parts, again)
        for name in PER_SAMPLE:
            found: list[Any] = [getattr(part, name, None) for part in parts]
            if all(value is not None for value in found):
                setattr(self, name, list(Rows(found, indices)))
        for name in PER_SET:
            found = [getattr(part, name, None) for part in parts]
            if found[0] is not None and all(value == found[0] for value in found):
                setattr(self, name, found[0])


@final
class _Canonical:
    """Makes the same samples without augmentation; an object, so that data sets can be sent to workers."""

    def __init__(self, parts: Sequence[Any], again: Callable[[list[Any]], Any]) -> None:
        self.parts, self.again = list(parts), again

    def __call__(self) -> Any:
        """Return them."""
        return self.again([part.canonical() for part in self.parts])


@final
class _WithUnlabeled:
    """Makes the same samples followed by others without labels, if the data sets inside know what these are."""

    def __init__(self, parts: Sequence[Any], again: Callable[[list[Any]], Any]) -> None:
        self.parts, self.again = list(parts), again

    def __call__(self, unlabeled: Any) -> Any:
        """Return them; the last of several data sets reads the others, as it reads its own."""
        return self.again([*self.parts[:-1], self.parts[-1].with_unlabeled(unlabeled)])


@final
class _Again:
    """Selects the same positions of another data set."""

    def __init__(self, indices: Sequence[int], length: int) -> None:
        self.indices, self.length = indices, length

    def __call__(self, parts: list[Any]) -> Any:
        """Return them, and what the data set has now behind the samples that it had."""
        more = range(self.length, len(parts[0]))
        indices = [int(index) % self.length for index in self.indices] if more else self.indices
        return _Selected(parts[0], [*indices, *more] if more else indices)


@final
class _Selected(Subset[Any], _Says):
    """Some samples of a data set."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        super().__init__(dataset, indices)
        self._take_over([dataset], indices, _Again(indices, len(dataset)))


@final
class _Joined(ConcatDataset[Any], _Says):
    """Data sets one after the other."""

    def __init__(self, datasets: list[Any]) -> None:
        super().__init__(datasets)
        self._take_over(datasets, None, _Joined)
