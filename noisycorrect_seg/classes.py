"""Class lists of the parsing data sets: names, left/right pairs, colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from noisycorrect.errors import InvalidInputError, unknown_name


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Parameters
    ----------
    name : str
        Name of the list.
    names : tuple of str
        One a class, background first; K of them, 2..255.
    flip_pairs : tuple of (int, int)
        Classes that a mirror swaps, such as left and right arm.

    Raises
    ------
    InvalidInputError
        If there are fewer than 2 or more than 255 names, or a pair names a class twice or one that does not exist.

    Examples
    --------
    >>> arms = Classes("arms", ("background", "left", "right"), ((1, 2),))
    >>> arms.flip_index.tolist(), len(arms)
    ([0, 2, 1], 3)
    """

    name: str
    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= len(self.names) <= 255:
            raise InvalidInputError("2..255 classes", got=str(len(self.names)), mend="masks are 8-bit class indices")
        paired = [number for pair in self.flip_pairs for number in pair]
        if len(set(paired)) < len(paired) or any(not 0 <= number < len(self.names) for number in paired):
            raise InvalidInputError(
                f"flip pairs of different classes in 0..{len(self.names) - 1}",
                got=str(self.flip_pairs),
                mend="name each class in at most one pair",
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def flip_index(self) -> np.ndarray:
        """Class that each class becomes in a mirror, int64 (K,); its own inverse."""
        index = np.arange(len(self.names))
        for one, other in self.flip_pairs:
            index[[one, other]] = other, one
        return index

    @property
    def palette(self) -> np.ndarray:
        """Colours, uint8 (256, 3), RGB: the bit-interleaving colour map of Pascal VOC."""
        return voc_palette()

    def swap(self, mask: np.ndarray) -> np.ndarray:
        """Return a copy of a mask, uint8 (H, W), with the classes of each flip pair exchanged; 255 stays.

        Examples
        --------
        >>> Classes("arms", ("background", "left", "right"), ((1, 2),)).swap(np.array([[0, 1, 255]], np.uint8)).tolist()
        [[0, 2, 255]]
        """
        table = np.arange(256, dtype=np.uint8)
        table[: len(self.names)] = self.flip_index
        swapped: np.ndarray = table[mask]
        return swapped


def voc_palette(count: int = 256) -> np.ndarray:
    """Return the Pascal VOC colour map, uint8 (count, 3): an index's bits dealt out to red, green and blue in turn.

    Examples
    --------
    >>> voc_palette(4).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    colours = np.zeros((count, 3), np.uint8)
    index = np.arange(count)
    for level in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> (3 * level + channel)) & 1).astype(np.uint8) << (7 - level)
    return colours


LIP = Classes(
    "lip",
    (
        "Background",
        "Hat",
        "Hair",
        "Glove",
        "Sunglasses",
        "Upper-clothes",
        "Dress",
        "Coat",
        "Socks",
        "Pants",
        "Jumpsuits",
        "Scarf",
        "Skirt",
        "Face",
        "Left-arm",
        "Right-arm",
        "Left-leg",
        "Right-leg",
        "Left-shoe",
        "Right-shoe",
    ),
    ((14, 15), (16, 17), (18, 19)),
)
ATR = Classes(
    "atr",
    (
        "Background",
        "Hat",
        "Hair",
        "Sunglasses",
        "Upper-clothes",
        "Skirt",
        "Pants",
        "Dress",
        "Belt",
        "Left-shoe",
        "Right-shoe",
        "Face",
        "Left-leg",
        "Right-leg",
        "Left-arm",
        "Right-arm",
        "Bag",
        "Scarf",
    ),
    ((9, 10), (12, 13), (14, 15)),
)
PASCAL = Classes("pascal", ("Background", "Head", "Torso", "Upper Arms", "Lower Arms", "Upper Legs", "Lower Legs"))
CCP = Classes(
    "ccp",
    (
        "background",
        "hair",
        "skin",
        "headwear",
        "eyewear",
        "upper_clothes",
        "outerwear",
        "dress",
        "skirt",
        "pants",
        "shorts",
        "legwear",
        "shoes",
        "bag",
        "belt",
        "scarf",
        "accessories",
    ),
)
CIHP = Classes("cihp", LIP.names, LIP.flip_pairs)
KNOWN = {classes.name: classes for classes in (LIP, ATR, PASCAL, CIHP, CCP)}


def classes_named(name: str | Classes | Sequence[str]) -> Classes:
    """Return a class list: by name (``"lip"``, ``"atr"``, ``"pascal"``, ``"cihp"``, ``"ccp"``), as it is, or of names.

    Raises
    ------
    InvalidInputError
        If the name is unknown.

    Examples
    --------
    >>> len(classes_named("lip")), len(classes_named(["background", "person"]))
    (20, 2)
    """
    if isinstance(name, Classes):
        return name
    if isinstance(name, str):
        if name not in KNOWN:
            raise unknown_name("class list", name, KNOWN)
        return KNOWN[name]
    return Classes("own", tuple(map(str, name)))
