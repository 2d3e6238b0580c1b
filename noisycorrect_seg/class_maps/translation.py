"""Masks in the classes of another data set, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisycorrect.support.door import door
from noisycorrect_seg.class_maps.maps import Changes, ClassMap, class_map, mask_of
from noisycorrect_seg.classes import Classes


@dataclass(frozen=True, eq=False)
class Translation:
    """A mask in other classes.

    Attributes
    ----------
    mask : ndarray, shape (H, W), uint8, or uint16 of more than 255 classes
        In the classes of the target; 255 (65535 of more than 255 classes) where nothing was known, or the class is
        undecided.
    undecided : dict of str to int
        Classes of the source whose pixels became 255, and how many these are.
    merged : dict of str to tuple of str
        Classes of the target in which several classes of this mask can no longer be told apart.
    map : ClassMap
        How each class is mapped, whether it is in this mask or not.
    """

    mask: NDArray[Any] = field(repr=False)
    undecided: dict[str, int]
    merged: dict[str, tuple[str, ...]]
    map: ClassMap = field(repr=False)

    def __str__(self) -> str:
        lost = [f"{count:,} pixels of {name} are unknown" for name, count in self.undecided.items()]
        lost += [f"{' and '.join(names)} became {name}" for name, names in self.merged.items()]
        return f"{self.map.source.name} -> {self.map.target.name}: {'; '.join(lost) or 'nothing is lost'}"


@door
def translate(
    mask: Any,
    source: str | Classes | Sequence[str],
    target: str | Classes | Sequence[str],
    changes: Changes | None = None,
) -> Translation:
    """Return a mask in the classes of another data set, and what was lost.

    Parameters
    ----------
    mask : array-like of int, shape (H, W)
        Class indices of the source, or 255.
    source, target, changes
        As for :func:`class_map`.

    Raises
    ------
    InvalidInputError
        If it is no mask of the source's classes, or a name is unknown.

    Examples
    --------
    >>> translated = translate([[0, 4, 8]], "atr", "lip")  # background, upper clothes, belt
    >>> print(translated, translated.mask.tolist())
    atr -> lip: 1 pixels of Belt are unknown [[0, 5, 255]]
    """
    mapping = class_map(source, target, changes)
    array = mask_of(mask, mapping.source)
    counts = np.bincount(array.ravel(), minlength=256)
    there = {name: int(count) for name, count in zip(mapping.source.names, counts, strict=False) if count}
    merged = {name: tuple(one for one in names if one in there) for name, names in mapping.merged.items()}
    return Translation(
        mapping.apply(array),
        {name: there[name] for name in mapping.undecided if name in there},
        {name: names for name, names in merged.items() if len(names) > 1},
        mapping,
    )
