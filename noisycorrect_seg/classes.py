"""Class lists of the parsing data sets: names, left/right pairs, colours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, unknown_name, warn_caller
from noisycorrect_seg.colours import class_colours
from noisycorrect_seg.colours import voc_palette as voc_palette  # from here, too
from noisycorrect_seg.masks import MOST_CLASSES, ignore_index, mask_dtype

SIDES = {"left": "right", "right": "left"}
_NOTHING = {"background", "bg", "backdrop", "null", "void", "none", "nothing", "empty", "unlabeled", "unlabelled"}


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Parameters
    ----------
    name : str
        Name of the list.
    names : tuple of str
        One a class, background first; K of them, 2..65535.
    flip_pairs : tuple of (int, int)
        Classes that a mirror swaps, such as left and right arm.

    Raises
    ------
    InvalidInputError
        If there are fewer than 2 or more than 65,535 names, or a pair names a class twice or one that does not exist.

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
        _check_count(len(self.names))
        paired = [number for pair in self.flip_pairs for number in pair]
        if len(set(paired)) < len(paired) or any(not 0 <= number < len(self.names) for number in paired):
            raise InvalidInputError(
                f"flip pairs of different classes in 0..{len(self.names) - 1}",
                got=str(self.flip_pairs),
                fix="name each class in at most one pair",
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
    def background(self) -> int | None:
        """Class of what is nothing: 0, or None if the name of class 0 says that it is a thing like the others.

        Examples
        --------
        >>> named_classes("own", ["Background", "person"]).background, named_classes("own", ["sky", "sea"]).background
        (0, None)
        """
        return 0 if is_background(self.names[0]) else None

    @property
    def palette(self) -> np.ndarray:
        """Colours of all values of a mask, uint8 (256, 3), or (65536, 3) for more than 255 classes; RGB.

        The colour map of Pascal VOC, but that of a flip pair the left class is warm and the right one cool, and class 0
        is black only where it is the background; see :func:`noisycorrect_seg.colours.class_colours`.
        """
        return palette_of_names(self.names, self.flip_pairs)

    def swap(self, mask: np.ndarray) -> np.ndarray:
        """Return a copy of a mask (H, W) with the classes of each flip pair exchanged; ignored pixels stay.

        Examples
        --------
        >>> Classes("arms", ("background", "left", "right"), ((1, 2),)).swap(np.array([[0, 1, 255]], np.uint8)).tolist()
        [[0, 2, 255]]
        """
        table = np.arange(ignore_index(len(self.names)) + 1, dtype=mask_dtype(len(self.names)))
        table[: len(self.names)] = self.flip_index
        swapped: np.ndarray = table[mask]
        return swapped


def is_background(name: str) -> bool:
    """Return whether class 0 of this name is the background; one without a name, such as ``"0"``, is taken for it.

    Examples
    --------
    >>> [is_background(name) for name in ("_background_", "0", "class 0", "sky")]
    [True, True, True, False]
    """
    spelling = spelling_of(name)
    return not spelling or spelling in _NOTHING or re.fullmatch(r"(class )?0+", spelling) is not None


def palette_of_names(names: Sequence[str], pairs: Iterable[tuple[int, int]] | None = None) -> np.ndarray:
    """Return the colours of classes, uint8 (256, 3), as :attr:`Classes.palette`; without pairs, by the names' sides.

    Examples
    --------
    >>> palette_of_names(["background", "left arm", "right arm"])[:3].tolist()
    [[0, 0, 0], [255, 208, 20], [67, 20, 255]]
    """
    if pairs is None:
        pairs = pairs_of_names(names)
    sides = [(one, other) if "right" not in spelling_of(names[one]) else (other, one) for one, other in pairs]
    return class_colours(len(names), sides, background=not names or is_background(names[0]))


@door(own=True)
def classes_named(name: str | Classes | Sequence[str]) -> Classes:
    """Return a class list: by its name, as it is, or of names.

    Lists with names are ``"lip"``, ``"atr"``, ``"pascal"``, ``"cihp"``, ``"mhp"`` (version 2), ``"mhp-v1"``, ``"ccp"``
    and, of drawn people, ``"people"``.
    Of names those that differ only in left and right are exchanged by a mirror; pass :class:`Classes` for other pairs.

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
    if not isinstance(name, Sequence):
        raise InvalidInputError(
            "classes: the name of a list, Classes, or names", got=repr(name), fix='pass ["background", "head", ...]'
        )
    return named_classes("own", [str(each) for each in name])


def named_classes(
    name: str, names: Sequence[str], pairs: Sequence[tuple[str, str]] | None = None, *, where: str = "the classes"
) -> Classes:
    """Return a class list from names and pairs of names; without pairs, those that differ in left and right.

    Raises
    ------
    InvalidInputError
        If a name stands twice, or a pair names no class.

    Examples
    --------
    >>> named_classes("own", ["background", "Left-arm", "Right-arm"]).flip_pairs
    ((1, 2),)
    """
    _check_count(len(names))  # before pairs are looked for, which takes a second of 100,000 names
    number = {name: index for index, name in enumerate(names)}
    if len(number) < len(names):
        twice = next(name for index, name in enumerate(names) if number[name] != index)
        raise InvalidInputError(f"different names in {where}", got=f"{twice!r} twice", fix="rename one")
    unknown = [name for pair in pairs or () for name in pair if name not in number]
    if unknown:
        raise InvalidInputError(
            f"flip pairs of classes in {where}", got=repr(unknown[0]), fix=f"the classes are {', '.join(names)}"
        )
    if pairs is None:
        pairs = left_right_pairs(names)
    return Classes(name, tuple(names), tuple((number[one], number[other]) for one, other in pairs))


def _check_count(count: int) -> None:
    if not 2 <= count <= MOST_CLASSES:
        raise InvalidInputError(
            f"2..{MOST_CLASSES} classes",
            got=str(count),
            fix='a binary mask has two classes, such as ("background", "road")'
            if count < 2
            else "masks are 16-bit class indices at most",
        )


def left_right_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of names that differ only in ``left`` and ``right`` (or the words ``l`` and ``r``).

    Case, separators and numbers in front do not count. There is a warning of a side without a counterpart.

    Examples
    --------
    >>> left_right_pairs(["background", "left_shoe", "bright", "right_shoe"])
    [('left_shoe', 'right_shoe')]
    """
    spellings = list(map(spelling_of, names))
    pairs = _pairs(names, spellings)
    paired = {name for pair in pairs for name in pair}
    for name, spelling in zip(names, spellings, strict=True):
        if name not in paired and len(name.strip()) > 1 and re.search(r"(^|\W)(left|right)(\W|$)", spelling):
            warn_caller(
                f"class {name!r} has no counterpart on the other side: mirrored images keep it; name its partner in a"
                " flip line or in Classes(flip_pairs=)"
            )
    return pairs


def pairs_of_names(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return the numbers of what :func:`left_right_pairs` finds, without a word of a side without a counterpart.

    Examples
    --------
    >>> pairs_of_names(["background", "left_shoe", "right_shoe", "left_glove"])
    ((1, 2),)
    """
    number = {name: index for index, name in enumerate(names)}
    return tuple((number[one], number[other]) for one, other in _pairs(names, list(map(spelling_of, names))))


def _pairs(names: Sequence[str], spellings: Sequence[str]) -> list[tuple[str, str]]:
    known = dict(zip(spellings, names, strict=True))
    place = {name: index for index, name in enumerate(names)}
    pairs = []
    for name, spelling in zip(names, spellings, strict=True):
        mirrored = re.sub("left|right", lambda side: SIDES[side.group()], spelling)
        other = known.get(mirrored)
        if other is not None and place[name] < place[other]:
            pairs.append((name, other))
    return pairs


def spelling_of(name: str) -> str:
    """Return a name in lower case, without a number in front, its words apart by one space, sides written out.

    Examples
    --------
    >>> spelling_of("3: Arm_(L)")
    'arm left'
    """
    words = re.split(r"[\W_]+", re.sub(r"^\W*\d+\W+", "", name.lower()))
    return " ".join({"l": "left", "r": "right"}.get(word, word) for word in words if word)


_PEOPLE = (
    "Background, Hat, Hair, Glove, Sunglasses, Upper-clothes, Dress, Coat, Socks, Pants, Jumpsuits, Scarf, Skirt, "
    "Face, Left-arm, Right-arm, Left-leg, Right-leg, Left-shoe, Right-shoe"
)
_NAMES = {
    "lip": _PEOPLE,
    "cihp": _PEOPLE.replace("Jumpsuits", "Torso-skin"),
    "atr": "Background, Hat, Hair, Sunglasses, Upper-clothes, Skirt, Pants, Dress, Belt, Left-shoe, Right-shoe, Face, "
    "Left-leg, Right-leg, Left-arm, Right-arm, Bag, Scarf",
    "pascal": "Background, Head, Torso, Upper Arms, Lower Arms, Upper Legs, Lower Legs",
    "ccp": "background, hair, skin, headwear, eyewear, upper_clothes, outerwear, dress, skirt, pants, shorts, legwear, "
    "shoes, bag, belt, scarf, accessories",
    "mhp": "Background, Cap/hat, Helmet, Face, Hair, Left-arm, Right-arm, Left-hand, Right-hand, Protector, "
    "Bikini/bra, Jacket/windbreaker/hoodie, Tee-shirt, Polo-shirt, Sweater, Singlet, Torso-skin, Pants, "
    "Shorts/swim-shorts, Skirt, Stockings, Socks, Left-boot, Right-boot, Left-shoe, Right-shoe, Left-highheel, "
    "Right-highheel, Left-sandal, Right-sandal, Left-leg, Right-leg, Left-foot, Right-foot, Coat, Dress, Robe, "
    "Jumpsuit, Other-full-body-clothes, Headwear, Backpack, Ball, Bats, Belt, Bottle, Carrybag, Cases, Sunglasses, "
    "Eyewear, Glove, Scarf, Umbrella, Wallet/purse, Watch, Wristband, Tie, Other-accessary, Other-upper-body-clothes, "
    "Other-lower-body-clothes",
    "mhp-v1": "Background, Hat, Hair, Sunglasses, Upper-clothes, Skirt, Pants, Dress, Belt, Left-shoe, Right-shoe, "
    "Face, Left-leg, Right-leg, Left-arm, Right-arm, Bag, Scarf, Torso-skin",
    "people": "background, hat, hair, face, top, coat, trousers, dress, arms, legs, shoes",
}
KNOWN = {name: named_classes(name, names.split(", ")) for name, names in _NAMES.items()}


def known_list(classes: Classes) -> Classes | None:
    """Return the list with a name that has the same classes in the same order, whatever it is called; None if none has.

    Case and separators of the names do not count.

    Examples
    --------
    >>> known_list(named_classes("own", ["background", *KNOWN["lip"].names[1:]])).name
    'lip'
    >>> known_list(named_classes("lip", ["background", "shirt"]))
    """
    fitting = [each for each in KNOWN.values() if len(each) == len(classes)]
    spellings = [spelling_of(name) for name in classes.names] if fitting else []
    return next((each for each in fitting if [spelling_of(name) for name in each.names] == spellings), None)


LIP, ATR, PASCAL, CCP, PEOPLE = (KNOWN[name] for name in ("lip", "atr", "pascal", "ccp", "people"))
