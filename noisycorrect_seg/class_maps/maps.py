"""Maps from the classes of one data set to those of another."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noisycorrect.support.arrays import as_array
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.class_maps.concepts import CONCEPTS, LISTS, concepts_of
from noisycorrect_seg.classes import KNOWN, Classes, classes_named, known_list, spelling_of
from noisycorrect_seg.masks import ignore_index, mask_dtype

Probs = TypeVar("Probs", NDArray[Any], Tensor)
Changes = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, eq=False)
class ClassMap:
    """Where the classes of one list go in another.

    A class goes to one class of the target, several may go to the same one, or it is *undecided*: it covers what is
    under several classes there, and which of them a pixel belongs to cannot be known from the mask. Undecided pixels
    become 255, and an undecided class's probability is shared out equally, for lack of a better guess.

    Parameters
    ----------
    source, target : Classes
        K and L classes.
    shares : ndarray, shape (K, L), float
        What share of a class's probability goes to each; rows sum to 1.

    Raises
    ------
    InvalidInputError
        If the shares are none.

    Examples
    --------
    >>> to_lip = class_map("atr", "lip")
    >>> to_lip.apply(np.array([[0, 4, 8]], np.uint8)).tolist()  # background, upper clothes, belt
    [[0, 5, 255]]
    >>> to_lip.undecided
    {'Belt': ('Upper-clothes', 'Pants')}
    >>> to_lip.merged
    {'Background': ('Background', 'Bag')}
    """

    source: Classes
    target: Classes
    shares: NDArray[np.float64]

    def __post_init__(self) -> None:
        shares = np.array(self.shares, np.float64)
        shape = (len(self.source), len(self.target))
        if shares.shape != shape or not (shares >= 0).all() or not np.allclose(shares.sum(1), 1, atol=1e-9):
            raise InvalidInputError(
                f"shares of shape {shape}, each row with sum 1",
                got=f"shape {shares.shape}" if shares.shape != shape else "other sums or shares below 0",
                fix="a row is a class of the source, a column one of the target; class_map makes them from names",
            )
        shares.flags.writeable = False
        object.__setattr__(self, "shares", shares)

    @functools.cached_property
    def table(self) -> NDArray[Any]:
        """The class that each index becomes, uint8 (256,); 255 of undecided classes and from K on.

        (65536,) of a source of more than 255 classes; uint16 and 65535 of a target of more.
        """
        most = len(self.target)
        table = np.full(ignore_index(len(self.source)) + 1, ignore_index(most), mask_dtype(most))
        decided = (self.shares > 0).sum(1) == 1
        table[: len(self.source)][decided] = self.shares.argmax(1)[decided]
        return table

    @property
    def merged(self) -> dict[str, tuple[str, ...]]:
        """Classes of the target in which several classes of the source can no longer be told apart."""
        return {name: sources for name, sources in self._sources().items() if len(sources) > 1}

    @property
    def undecided(self) -> dict[str, tuple[str, ...]]:
        """Classes of the source whose pixels become 255, and which classes of the target they might be."""
        return {
            name: tuple(self.target.names[number] for number in np.flatnonzero(row))
            for name, row in zip(self.source.names, self.shares, strict=True)
            if np.count_nonzero(row) > 1
        }

    @property
    def kept(self) -> dict[str, str]:
        """Classes of the source that are a class of the target, which holds no other: nothing of them is lost."""
        return {sources[0]: name for name, sources in self._sources().items() if len(sources) == 1}

    def _sources(self) -> dict[str, tuple[str, ...]]:
        """Return the decided classes of the source by what they become."""
        table = self.table[: len(self.source)]
        return {
            name: tuple(self.source.names[k] for k in np.flatnonzero(table == number))
            for number, name in enumerate(self.target.names)
            if (table == number).any()
        }

    def apply(self, mask: Any) -> NDArray[Any]:
        """Return a mask in the classes of the target.

        Parameters
        ----------
        mask : array-like of int, shape (H, W)
            0..K-1, or 255 (65535 of more than 255 classes) where nothing is known, which stays so.

        Raises
        ------
        InvalidInputError
            If it is no mask of the source's classes.
        """
        return np.asarray(self.table[mask_of(mask, self.source)])

    def probabilities(self, probs: Probs) -> Probs:
        """Return probabilities in the classes of the target: those of merged classes are added up.

        Parameters
        ----------
        probs : ndarray or Tensor, float, shape (K, H, W) or (N, K, H, W)
            Sums over K stay what they are.

        Returns
        -------
        ndarray or Tensor, shape (L, H, W) or (N, L, H, W)
            Of the same kind, type and device.

        Raises
        ------
        InvalidInputError
            If it has another number of classes, or is no floating-point array.

        Examples
        --------
        >>> class_map("people", "lip").probabilities(torch.eye(11)[8].view(11, 1, 1)).flatten()[[14, 15]]  # arms
        tensor([0.5000, 0.5000])
        """
        tensor = probs if isinstance(probs, Tensor) else torch.tensor(np.asarray(probs))
        if tensor.dim() not in (3, 4) or tensor.shape[-3] != len(self.source) or not tensor.is_floating_point():
            raise InvalidInputError(
                f"probabilities of shape ({len(self.source)}, H, W) or (N, {len(self.source)}, H, W)",
                got=f"{tensor.dtype} of shape {tuple(tensor.shape)}",
                fix=f"they have to be of the classes {self.source.name!r}; apply() takes masks",
            )
        # float16 is added up in float32, as much as the CPU can anyway.
        kind = torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else tensor.dtype
        shares = torch.tensor(self.shares, dtype=kind, device=tensor.device)
        mapped = torch.einsum("...khw,kl->...lhw", tensor.to(kind), shares).to(tensor.dtype)
        return mapped if isinstance(probs, Tensor) else mapped.numpy()

    def then(self, other: ClassMap) -> ClassMap:
        """Return the map that does this one, then another.

        It can decide more than the two in turn: what is undecided between, but comes to the same in the end, is
        decided.

        Raises
        ------
        InvalidInputError
            If the other does not start where this one ends.

        Examples
        --------
        >>> both = class_map("people", "lip").then(class_map("lip", "people"))
        >>> both.undecided  # coats were kept apart, dresses and skirts are one class again
        {}
        """
        if other.source.names != self.target.names:
            raise InvalidInputError(
                f"a map from {self.target.name!r}", got=f"one from {other.source.name!r}", fix="exchange the two maps"
            )
        return ClassMap(self.source, other.target, self.shares @ other.shares)

    def __str__(self) -> str:
        kept, merged, undecided = self.kept, self.merged, self.undecided
        lines = [f"{self.source.name} -> {self.target.name}: {len(kept)} of {len(self.source)} classes stay themselves"]
        lines += [f"  merged in {name}: {', '.join(sources)}" for name, sources in merged.items()]
        lines += [f"  undecided {name}: {', '.join(targets)}" for name, targets in undecided.items()]
        return "\n".join(lines)


@door
def class_map(
    source: str | Classes | Sequence[str], target: str | Classes | Sequence[str], changes: Changes | None = None
) -> ClassMap:
    """Return the map from one class list to another.

    Those of ``"lip"``, ``"cihp"``, ``"atr"``, ``"pascal"``, ``"ccp"``, ``"mhp"``, ``"mhp-v1"`` and ``"people"`` follow
    from one table, which docs/tryon.md shows; so do lists of the same names as one of these. In other lists classes of
    the same name belong together, whatever their case and separators; the others have to stand in `changes`.

    Parameters
    ----------
    source, target : str, Classes, or sequence of str
        As :func:`~noisycorrect_seg.classes.classes_named` takes them.
    changes : mapping of str to str or sequence of str, optional
        Classes of the source that shall become other ones than in the table: a class, or several that they are
        undecided between.

    Raises
    ------
    InvalidInputError
        If a name is unknown, or a class of an own list is nowhere.

    Examples
    --------
    >>> print(class_map("atr", "lip", {"Belt": "Pants"}))
    atr -> lip: 14 of 18 classes stay themselves
      merged in Background: Background, Bag
      merged in Pants: Pants, Belt
    """
    one, other = classes_named(source), classes_named(target)
    changed = _checked(changes, one, other)
    tables = known_list(one), known_list(other)
    shares = np.zeros((len(one), len(other)))
    for row, name in zip(shares, one.names, strict=True):
        held = changed.get(name) or _held(name, one, other, *tables)
        if not held:
            raise InvalidInputError(
                f"a class of {other.name!r} for each class of {one.name!r}",
                got=f"none for {name!r}",
                fix=f"pass changes={{{name!r}: ...}} with one or some of {', '.join(other.names)}",
            )
        row[[other.names.index(each) for each in held]] = 1 / len(held)
    return ClassMap(one, other, shares)


def _held(name: str, one: Classes, other: Classes, known: Classes | None, target: Classes | None) -> list[str]:
    """Return the classes of a list that hold what a class of another is, by the table or by their names.

    `known` and `target` are the lists of the table that these two are, if they are.
    """
    number = one.names.index(name)
    if one.names == other.names:
        return [name]
    if known is not None and known is target:
        return [other.names[number]]
    if known is not None and target is not None:
        concepts = concepts_of(known.name, known.names[number])
        holders = (holder for concept in concepts for holder in CONCEPTS[concept][target.name])
        return list(dict.fromkeys(other.names[target.names.index(holder.name)] for holder in holders))
    return [each for each in other.names if spelling_of(each) == spelling_of(name)]


def _checked(changes: Any, one: Classes, other: Classes) -> dict[str, list[str]]:
    """Return what changes say, by class of the source; raise an InvalidInputError if a name is unknown."""
    fix = f"pass changes={{{one.names[-1]!r}: {other.names[-1]!r}}}, for example"
    if not isinstance(changes, (Mapping, type(None))):
        raise InvalidInputError("changes: names by names", got=type(changes).__name__, fix=fix)
    checked = {}
    for name, held in (changes or {}).items():
        if not isinstance(held, (str, list, tuple)) or not held:
            raise InvalidInputError("changes: a class, or some", got=f"{held!r} for {name!r}", fix=fix)
        checked[name] = list(dict.fromkeys([held] if isinstance(held, str) else map(str, held)))
        _known([name], one)
        _known(checked[name], other)
    return checked


def _known(names: Iterable[str], classes: Classes) -> None:
    for name in names:
        if name not in classes.names:
            raise unknown_name(f"class of {classes.name!r}", name, classes.names)


def mask_of(mask: Any, classes: Classes) -> NDArray[Any]:
    """Return a mask as uint8 (H, W), uint16 of more than 255 classes; or raise an InvalidInputError naming the list.

    Examples
    --------
    >>> mask_of([[0, 255]], classes_named("lip")).dtype
    dtype('uint8')
    """
    array = as_array(mask, "the mask")
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iu":
        raise InvalidInputError(
            f"a mask of the classes {classes.name!r}: whole numbers, shape (H, W)",
            got=f"{array.dtype} of shape {array.shape}",
            fix="pass class indices, not colours or probabilities",
        )
    nothing = ignore_index(len(classes))
    wrong = array[(array != nothing) & ((array < 0) | (array >= len(classes)))]
    if len(wrong):
        fitting = [name for name in LISTS if wrong.min() >= 0 and wrong.max() < len(KNOWN[name])]
        raise InvalidInputError(
            f"a mask of the classes {classes.name!r}: 0..{len(classes) - 1}, or {nothing}",
            got=str(wrong[0]),
            fix=f"did you mean classes {' or '.join(map(repr, fitting))}?" if fitting else "pass class indices",
        )
    return array.astype(mask_dtype(len(classes)))
