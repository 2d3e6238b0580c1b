"""Votes: the labels that several annotators gave to the same items, not every one to every item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from torch import Tensor

from noisycorrect.labels.refine import UNLABELED
from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError


class Votes:
    """Labels of several annotators, one entry a vote.

    Made by :meth:`from_table` of a table with a row an item and a column an annotator, or by :meth:`from_rows` of a
    list with a row a vote. The constructor takes indices that are known to be right.

    Parameters
    ----------
    item, annotator, label : array-like of int, shape (V,)
        Of each vote: which item it is about, 0..N-1; who gave it, 0..A-1; its class, 0..K-1.
    num_items : int
        N. An item may have no vote.
    classes : sequence
        K names of classes, at least 2.
    annotators : sequence
        A names of annotators, at least 1. An annotator may have given no vote.

    Attributes
    ----------
    item, annotator, label : ndarray of int64, shape (V,)
        As passed, ordered by item, then annotator.
    classes, annotators : tuple
        Names.

    Raises
    ------
    InvalidInputError
        If arrays differ in length, an index is out of range, or there is no vote.

    Examples
    --------
    >>> votes = Votes([0, 0, 2], [0, 1, 1], [1, 1, 0], num_items=3, classes=["cat", "dog"], annotators=["Ann", "Bo"])
    >>> print(votes)
    3 votes of 2 annotators on 3 items, 2 classes; 1 item has no vote
    >>> votes.majority()
    array([ 1, -1,  0])
    """

    def __init__(
        self,
        item: Any,
        annotator: Any,
        label: Any,
        *,
        num_items: int,
        classes: Sequence[Any],
        annotators: Sequence[Any],
    ) -> None:
        self.num_items = whole_number("num_items", num_items, least=1)
        self.classes, self.annotators = tuple(classes), tuple(annotators)
        if not np.size(label):
            raise InvalidInputError("at least one vote", got="none", fix="check how gaps are spelled: None, NaN or -1")
        if len(self.classes) < 2 or not self.annotators:
            got = f"{len(self.classes)} classes, {len(self.annotators)} annotators"
            raise InvalidInputError("two classes and one annotator at least", got=got, fix="name them all")
        columns = (
            _indices("item", item, self.num_items),
            _indices("annotator", annotator, len(self.annotators)),
            _indices("label", label, len(self.classes)),
        )
        lengths = [len(column) for column in columns]
        if len(set(lengths)) > 1:
            got = "{} items, {} annotators, {} labels".format(*lengths)
            raise InvalidInputError("an item, an annotator and a label of each vote", got=got, fix="pass whole columns")
        order = np.lexsort(columns[1::-1])
        self.item, self.annotator, self.label = (column[order] for column in columns)

    @classmethod
    @door(own=True)
    def from_table(cls, labels: Any, *, classes: Sequence[Any] | None = None) -> Self:
        """Return the votes of a table with gaps.

        Parameters
        ----------
        labels : array-like or DataFrame, shape (N, A)
            A row an item, a column an annotator. A gap is None, NaN, an empty text, masked, or -1 unless `classes` has
            it. Whole numbers are class indices unless `classes` names them; a data frame's columns name the annotators.
        classes : sequence, optional
            Names of the classes, in their order; a vote must be one of them. Default: for whole numbers
            0..K-1, K being the greatest one and 1; else all that occur, sorted.

        Raises
        ------
        InvalidInputError
            If the table has not two dimensions, or a vote is none of the classes.

        Examples
        --------
        >>> votes = Votes.from_table([["dog", "dog", None], [None, "cat", "dog"]])
        >>> votes.classes, votes.label
        (('cat', 'dog'), array([1, 1, 0, 1]))
        >>> Votes.from_table(np.array([[0, -1], [2, 1]])).table()
        array([[ 0, -1],
               [ 2,  1]])
        """
        names = getattr(labels, "columns", None)
        table = _objects(labels)
        if table.ndim != 2 or not table.size:
            fix = "pass a row an item and a column an annotator; a list with a row a vote goes to Votes.from_rows"
            raise InvalidInputError("labels of shape (N, A)", got=f"shape {table.shape}", fix=fix)
        item, annotator = np.nonzero(~_gaps(table, classes))
        codes, found = _coded(table[item, annotator], classes, "labels", lambda vote: f"item {item[vote]}")
        annotators = range(table.shape[1]) if names is None else list(names)
        return cls(item, annotator, codes, num_items=len(table), classes=found, annotators=annotators)

    @classmethod
    def from_rows(
        cls,
        item: Any,
        annotator: Any,
        label: Any,
        *,
        num_items: int | None = None,
        classes: Sequence[Any] | None = None,
        annotators: Sequence[Any] | None = None,
    ) -> Self:
        """Return the votes of a list with a row a vote; rows without a label are passed over.

        Parameters
        ----------
        item : array-like of int, shape (V,)
            Position of the item in the data set.
        annotator : array-like, shape (V,)
            Who gave the vote: names, or numbers. One who votes twice on an item counts twice.
        label : array-like, shape (V,)
            The votes, as in :meth:`from_table`.
        num_items : int, optional
            N. Default: as many as there must be.
        classes, annotators : sequence, optional
            Names. Default: as in :meth:`from_table`; all annotators that occur, sorted.

        Raises
        ------
        InvalidInputError
            If columns differ in length, an item is no position, or a name is none of those passed.

        Examples
        --------
        >>> votes = Votes.from_rows([0, 0, 1], ["bo", "ann", "bo"], ["cat", "dog", "dog"])
        >>> votes.annotators, votes.table()
        (('ann', 'bo'), array([[ 1,  0],
               [-1,  1]]))
        """
        columns = [_objects(column) for column in (item, annotator, label)]
        if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
            got = "shapes " + ", ".join(str(column.shape) for column in columns)
            raise InvalidInputError("item, annotator and label of one shape (V,)", got=got, fix="pass whole columns")
        kept = ~_gaps(columns[2], classes)
        places, people, texts = (column[kept] for column in columns)
        if _gaps(people).any():
            fix = "leave out the votes of nobody, or give them a name"
            raise InvalidInputError("an annotator of each vote", got=f"{_gaps(people).sum()} without", fix=fix)
        where = np.flatnonzero(kept)
        codes, found = _coded(texts, classes, "labels", lambda vote: f"row {where[vote]}")
        who, known = _coded(people, annotators, "annotators", lambda vote: f"row {where[vote]}", spread=False)
        items = _whole(places, "item")
        count = int(items.max(initial=0)) + 1 if num_items is None else num_items
        return cls(items, who, codes, num_items=count, classes=found, annotators=known)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def num_annotators(self) -> int:
        """A."""
        return len(self.annotators)

    @property
    def votes_of_items(self) -> np.ndarray:
        """How many votes each item has, int64 (N,)."""
        return np.bincount(self.item, minlength=self.num_items)

    @property
    def votes_of_annotators(self) -> np.ndarray:
        """How many votes each annotator has given, int64 (A,)."""
        return np.bincount(self.annotator, minlength=self.num_annotators)

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return f"<Votes: {self}>"

    def __str__(self) -> str:
        bare, idle = (int((count == 0).sum()) for count in (self.votes_of_items, self.votes_of_annotators))
        lacks = [f"{_many(bare, 'item')} {'has' if bare == 1 else 'have'} no vote"] if bare else []
        lacks += [f"{_many(idle, 'annotator')} gave none"] if idle else []
        text = f"{_many(len(self), 'vote')} of {_many(self.num_annotators, 'annotator')} on"
        text += f" {_many(self.num_items, 'item')}, {self.num_classes} classes"
        return "; ".join([text, *lacks])

    def counts(self) -> np.ndarray:
        """Return how many votes each class of each item has, float64 (N, K)."""
        place = self.item * self.num_classes + self.label
        counted = np.bincount(place, minlength=self.num_items * self.num_classes)
        return counted.reshape(self.num_items, self.num_classes).astype(np.float64)

    def majority(self) -> np.ndarray:
        """Return the class of each item with most votes, int64 (N,); -1 for an item without a vote.

        Of classes with equally many votes, the one that has more votes over all items; else the first.

        Examples
        --------
        >>> Votes.from_table([[1, 0, -1], [1, 1, 0], [-1, -1, -1]]).majority()
        array([ 1,  1, -1])
        """
        counts = self.counts()
        often = counts.sum(0) / (len(self) + 1)  # below 1: it only decides between equals
        return np.where(counts.any(1), (counts + often).argmax(1), UNLABELED)

    def table(self) -> np.ndarray:
        """Return the votes as class indices, int64 (N, A), -1 for a gap; of several votes of one, the last."""
        table = np.full((self.num_items, self.num_annotators), UNLABELED)
        table[self.item, self.annotator] = self.label
        return table

    def subset(self, items: Any) -> Votes:
        """Return the votes on some items, numbered anew in the order of `items`.

        Parameters
        ----------
        items : array-like, shape (M,)
            Positions, each at most once, or a mask (N,).

        Raises
        ------
        InvalidInputError
            If a position is out of range or repeated, or there is no vote on these items.

        Examples
        --------
        >>> Votes.from_table([[1, 0], [1, 1], [-1, 0]]).subset([2, 0]).table()
        array([[-1,  0],
               [ 1,  0]])
        """
        chosen = np.asarray(items)
        if chosen.dtype == bool and chosen.shape == (self.num_items,):
            chosen = np.flatnonzero(chosen)
        chosen = _indices("items", chosen, self.num_items)
        place = np.full(self.num_items, -1)
        place[chosen] = np.arange(len(chosen))
        if np.unique(chosen).size < len(chosen):
            raise InvalidInputError("each item once", got="repeated positions", fix="leave the repetitions out")
        kept = place[self.item] >= 0
        return Votes(
            place[self.item[kept]],
            self.annotator[kept],
            self.label[kept],
            num_items=max(1, len(chosen)),
            classes=self.classes,
            annotators=self.annotators,
        )


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def _objects(values: Any) -> np.ndarray:
    """Return an array of Python objects; what is masked becomes None."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    if isinstance(values, np.ma.MaskedArray):
        table = np.array(values.data, dtype=object)
        table[np.ma.getmaskarray(values)] = None
        return table
    if hasattr(values, "to_numpy"):  # pandas, polars
        values = values.to_numpy()
    try:
        return np.array(values, dtype=object)
    except ValueError as error:
        raise InvalidInputError("rows of one length", got=str(error), fix="fill the gaps with None") from error


def _gaps(values: np.ndarray, names: Sequence[Any] | None = None) -> np.ndarray:
    """Return where there is no vote, bool; -1 among the names of classes is a vote."""
    found = np.asarray(np.frompyfunc(_is_gap, 1, 1)(values), dtype=bool)
    if names is not None and any(_is_unlabeled(name) for name in names):
        found &= ~np.asarray(np.frompyfunc(_is_unlabeled, 1, 1)(values), dtype=bool)
    return found


def _is_gap(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # pandas' own, which it need not have loaded
        return True
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, bool | np.bool_):
        return False
    try:
        return math.isnan(value) or value == UNLABELED
    except TypeError:
        return False


def _is_unlabeled(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and bool(value == UNLABELED)


def _indices(name: str, values: Any, length: int) -> np.ndarray:
    found = _whole(_objects(values), name)
    wrong = np.flatnonzero((found < 0) | (found >= length))
    if found.ndim != 1 or len(wrong):
        got = f"{found[wrong[0]]} at {wrong[0]}" if found.ndim == 1 else f"shape {found.shape}"
        raise InvalidInputError(f"{name} in 0..{length - 1}, shape (V,)", got=got, fix="count from 0")
    return found


def _whole(values: np.ndarray, name: str) -> np.ndarray:
    """Return whole numbers as int64; floats that are whole count, as a gap makes floats of a column of numbers."""
    if not _are_whole(values):
        got = f"values such as {values.flat[0]!r}"
        raise InvalidInputError(f"{name} to be whole numbers", got=got, fix="pass positions in the data set")
    return values.astype(np.float64).astype(np.int64)


def _are_whole(values: np.ndarray) -> bool:
    kinds = {type(value) for value in values.flat}
    if not all(issubclass(kind, int | float | np.number) and kind is not bool for kind in kinds):
        return False
    numbers = values.astype(np.float64)
    return bool(np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all())


def _coded(
    values: np.ndarray, names: Sequence[Any] | None, what: str, where: Any, *, spread: bool = True
) -> tuple[np.ndarray, Sequence[Any]]:
    """Return positions of values among names, and the names: those that occur, or 0..K-1 (`spread`) of numbers."""
    if names is None and spread and len(values) and _are_whole(values):
        codes = _whole(values, what)
        if codes.min() < 0:
            vote = int(codes.argmin())
            got = f"{codes[vote]} of {where(vote)}"
            raise InvalidInputError(f"{what} from 0 on, or {UNLABELED} for a gap", got=got, fix="count classes from 0")
        return codes, range(max(2, int(codes.max()) + 1))
    if names is None:
        try:
            names = sorted(set(values.tolist()))
        except TypeError as error:
            fix = f"pass {'classes' if spread else 'annotators'}=, their names"
            raise InvalidInputError(f"{what} of one type", got=str(error), fix=fix) from error
    place = {name: code for code, name in enumerate(names)}
    if len(place) < len(names):
        raise InvalidInputError("each name once", got=repr(list(names)), fix="leave the repetitions out")
    codes = np.array([place.get(value, -1) for value in values.tolist()], dtype=np.int64)
    strange = np.flatnonzero(codes < 0)
    if len(strange):
        got = f"{values[strange[0]]!r} of {where(strange[0])}"
        got += f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        listed = ", ".join(repr(name) for name in list(names)[:8])
        raise InvalidInputError(f"{what} among {listed}", got=got, fix="correct them, or add the missing names")
    return codes, names
