"""Which classes of a list are garments, limbs and the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.class_maps.concepts import concepts_of
from noisycorrect_seg.class_maps.maps import mask_of
from noisycorrect_seg.classes import KNOWN, Classes, classes_named, known_list, spelling_of
from noisycorrect_seg.inference import Parsing
from noisycorrect_seg.inference.people import PeopleParsing, Person

Mask = NDArray[np.uint8]
Region = NDArray[np.bool_]


@dataclass(frozen=True)
class Garment:
    """A kind of garment for try-on.

    Attributes
    ----------
    worn : tuple of str
        What of this kind people wear: concepts of :data:`noisycorrect_seg.class_maps.CONCEPTS`. This is cut out.
    hidden : tuple of str
        What a new one of this kind takes the place of, beside these.
    arms, legs : bool
        Whether it can cover them: then they are hidden up to hands and feet, bare or not, lest the length of sleeves
        and legs be given away.
    """

    worn: tuple[str, ...]
    hidden: tuple[str, ...]
    arms: bool = False
    legs: bool = False


GARMENTS: Mapping[str, Garment] = {
    "upper": Garment(("top", "coat"), ("dress", "robe", "jumpsuit", "torso skin"), arms=True),
    "lower": Garment(("pants", "shorts", "skirt", "other lower"), ("dress", "robe", "jumpsuit", "belt"), legs=True),
    "dress": Garment(
        ("dress", "robe", "jumpsuit"),
        ("top", "coat", "pants", "shorts", "skirt", "other lower", "belt", "torso skin"),
        arms=True,
        legs=True,
    ),
}
"""What can be tried on, by name. An old dress makes way for a new top: what is left of it would be another garment."""

_SIDES = ("left", "right")
_ARMS, _LEGS = (tuple(f"{side} {limb}" for side in _SIDES) for limb in ("arm", "leg"))
# Of lists that name parts of bodies whatever they wear.
_PARTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "pascal": {"arm": ("Upper Arms", "Lower Arms"), "leg": ("Lower Legs",)}
}


def chosen(mask: Any, classes: str | Classes | Sequence[str] | None) -> tuple[Mask, Classes, NDArray[Any] | None]:
    """Return mask, classes and probabilities of what a caller passed: a mask or Person and the classes, or a Parsing.

    Raises
    ------
    InvalidInputError
        If it is no mask of these classes, nothing is known of what these are, or it is a picture of several people.

    Examples
    --------
    >>> chosen([[0, 5]], "lip")[1].name
    'lip'
    """
    probs = None
    if isinstance(mask, Parsing):
        mask, classes, probs = mask.labels, mask.classes if classes is None else classes, mask.probs
    if isinstance(mask, PeopleParsing):
        raise InvalidInputError(
            "the mask of one person",
            got=f"a PeopleParsing of {len(mask.people)} people",
            fix="pass them one by one: for person in found.people, pass person, classes=found.class_list",
        )
    if isinstance(mask, Person):
        mask = mask.classes
    if classes is None:
        raise InvalidInputError(
            "classes of the mask",
            got="none",
            fix="pass classes='lip', or what parse_image returns; of a Person classes=found.class_list",
        )
    given = classes_named(classes)
    known = known_list(given)
    if known is None:
        raise InvalidInputError(
            f"a mask in the classes {', '.join(map(repr, KNOWN))}",
            got=f"the list {given.name!r}",
            fix='translate it first: translate(mask, classes, "lip", changes={...}).mask',
        )
    return mask_of(mask, known), known, probs


def garment_named(name: Any) -> Garment:
    """Return a kind of garment; an unknown one is an InvalidInputError that proposes the nearest."""
    if not isinstance(name, str) or name not in GARMENTS:
        raise unknown_name("garment", name, GARMENTS)
    return GARMENTS[name]


def main_concept(classes: Classes, number: int) -> str:
    """Return what a class is first of all.

    Examples
    --------
    >>> main_concept(KNOWN["people"], 7), main_concept(KNOWN["ccp"], 2)
    ('dress', 'face')
    """
    return concepts_of(classes.name, classes.names[number])[0]


def classes_of(classes: Classes, concepts: Iterable[str]) -> list[int]:
    """Return the classes of a list that are first of all one of some concepts.

    Examples
    --------
    >>> classes_of(KNOWN["atr"], ("top", "coat")), classes_of(KNOWN["pascal"], ("top",))
    ([4], [2])
    """
    wanted = set(concepts)
    return [number for number in range(len(classes)) if main_concept(classes, number) in wanted]


def limb_classes(classes: Classes, limb: str) -> list[int]:
    """Return the classes that are arms (``"arm"``) or legs (``"leg"``); none of a list that has one class for skin.

    Examples
    --------
    >>> limb_classes(KNOWN["lip"], "arm"), limb_classes(KNOWN["pascal"], "leg"), limb_classes(KNOWN["ccp"], "arm")
    ([14, 15], [6], [])
    """
    parts = _PARTS.get(classes.name, {}).get(limb)
    if parts is not None:
        return [classes.names.index(name) for name in parts]
    return classes_of(classes, _ARMS if limb == "arm" else _LEGS)


def named_classes_of(classes: Classes, names: str | Sequence[str]) -> list[int]:
    """Return class numbers of names, whatever their case and separators.

    Raises
    ------
    InvalidInputError
        If one is unknown; the nearest is proposed.

    Examples
    --------
    >>> named_classes_of(KNOWN["lip"], ["upper clothes", "Scarf"])
    [5, 11]
    """
    spelled = {spelling_of(name): number for number, name in enumerate(classes.names)}
    found = []
    for name in [names] if isinstance(names, str) else names:
        if spelling_of(str(name)) not in spelled:
            raise unknown_name(f"class of {classes.name!r}", name, classes.names)
        found.append(spelled[spelling_of(str(name))])
    return found


def present(mask: Mask, classes: Classes) -> list[str]:
    """Return the names of the classes that are in a mask."""
    counts = np.bincount(mask.ravel(), minlength=256)
    return [name for name, count in zip(classes.names, counts, strict=False) if count]
