"""Pictures of people in which a garment, and all that would give it away, is painted over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.inference.images import any_image
from noisycorrect_seg.masks import IGNORE_INDEX
from noisycorrect_seg.tryon.garments import (
    GARMENTS,
    Garment,
    Mask,
    Region,
    chosen,
    classes_of,
    garment_named,
    limb_classes,
    main_concept,
    named_classes_of,
    present,
)
from noisycorrect_seg.tryon.limbs import limb_ends

SHAPES = ("outline", "hull", "box")
_HEAD = ("hat", "headgear", "hair", "face", "eyewear")
_UPPER = ("top", "coat", "dress", "robe", "jumpsuit", "torso skin")
_LOWER = ("pants", "shorts", "skirt", "other lower", "dress", "robe", "jumpsuit")
# What a limb ends in where it is a class of its own: MHP has hands and feet.
_HANDS, _SHOES = ("glove", "left hand", "right hand"), ("left shoe", "right shoe", "left foot", "right foot")
_SIDES = {"left", "right"}
_MARGIN = 0.02  # of the height of what is seen of the person: 20 of 1,024 pixels, as for VITON-HD


@dataclass(frozen=True, eq=False)
class Agnostic:
    """Where a new garment may be painted, and what stays.

    Attributes
    ----------
    mask : ndarray, shape (H, W), bool
        What is painted over.
    kept : ndarray, shape (H, W), bool
        Pixels of the person that stay: face, hair, what is worn elsewhere, hands, feet. Never in `mask`.
    hands, feet : ndarray, shape (H, W), bool
        Those found by the shape of arms and legs; gloves and shoes are classes of their own.
    """

    mask: Region = field(repr=False)
    kept: Region = field(repr=False)
    hands: Region = field(repr=False)
    feet: Region = field(repr=False)

    def image(self, photo: Any, fill: int | Sequence[int] = 128) -> NDArray[np.uint8]:
        """Return a photo with `mask` painted over, uint8 (H, W, 3).

        Parameters
        ----------
        photo : path-like, PIL.Image.Image, or ndarray
            The photo that the mask belongs to; see :func:`~noisycorrect_seg.inference.images.any_image`.
        fill : int or three of them
            Grey, or red, green and blue, 0..255.

        Raises
        ------
        InvalidInputError
            If the photo has another size than the mask.
        """
        colour = checked_colour("fill", fill, fix="128 is common")
        pixels = fitting_photo(photo, self.mask.shape).copy()
        pixels[self.mask] = colour
        return pixels


@door
def agnostic_mask(
    mask: Any,
    garment: str,
    *,
    classes: str | Classes | None = None,
    shape: str = "outline",
    margin: int | None = None,
    keep: Sequence[str] = (),
    replace: Sequence[str] = (),
) -> Agnostic:
    """Return what has to be painted over before a garment can be tried on, and what must not be.

    As in the preprocessing of VITON-HD (Choi et al., CVPR 2021), the old garment goes and so do the limbs that the new
    one may cover, so that nothing tells how long sleeves were. There hands are found by the joints of a pose network;
    here by the shape of the limbs, :func:`~noisycorrect_seg.tryon.limbs.limb_ends`, so that a mask is enough.

    Parameters
    ----------
    mask : array-like of int, shape (H, W), Parsing or Person
        Class indices of one person, or what :func:`~noisycorrect_seg.parse_image` returned; or one of the
        ``people`` of :func:`~noisycorrect_seg.parse_people`, whose classes are its ``class_list``.
    garment : {"upper", "lower", "dress"}
        What will be tried on; see :data:`GARMENTS`.
    classes : str or Classes
        One of the lists with names; of a Parsing its own.
    shape : {"outline", "hull", "box"}
        What is painted over: the old garment and limbs with a margin; all between them, too; their box.
    margin : int, optional
        Pixels around them. Default: 2 % of the person's height in the image.
    keep, replace : sequence of str
        Classes that shall stay, or go, other than usual; such as ``replace=["Scarf"]``.

    Returns
    -------
    Agnostic
        All pixels of the classes that go are in its mask but hands and feet; no pixel of another class of the person
        is, whatever shape and margin.

    Raises
    ------
    InvalidInputError
        If it is no mask of these classes, a name is unknown, or there is nothing to replace.

    Examples
    --------
    >>> from noisycorrect_seg import SyntheticPeople
    >>> people = SyntheticPeople(1, size=(128, 96))
    >>> agnostic = agnostic_mask(people.mask(0), "upper", classes=people.classes)
    >>> face, top = (people.mask(0) == people.classes.names.index(name) for name in ("Face", "Upper-clothes"))
    >>> bool(agnostic.mask[top].all()), bool(agnostic.mask[face].any())
    (True, False)
    >>> agnostic.image(people.image(0)).shape
    (128, 96, 3)
    """
    labels, known, _ = chosen(mask, classes)
    kind = garment_named(garment)
    if shape not in SHAPES:
        raise unknown_name("shape", shape, SHAPES)
    going = _going(kind, known, keep, replace)
    gone = np.isin(labels, going)
    hands = _hands(labels, known) & gone if kind.arms else np.zeros(labels.shape, bool)
    feet = _feet(labels, known) & gone if kind.legs else np.zeros(labels.shape, bool)
    gone &= ~(hands | feet)
    if not gone.any():
        raise InvalidInputError(
            f"a mask with {' or '.join(known.names[number] for number in going)}, for {garment!r}",
            got=f"one of {', '.join(present(labels, known)) or 'unknown pixels alone'}",
            fix=f"pass the mask of a person who wears one, or another garment than {garment!r}: {', '.join(GARMENTS)}",
        )
    person = (labels != 0) & (labels != IGNORE_INDEX)
    kept = person & ~gone
    if margin is None:
        margin = max(1, round(_MARGIN * np.ptp(np.flatnonzero(person.any(1)))))
    grown = _grown(_shaped(gone, shape), whole_number("margin", margin, least=0))
    return Agnostic(grown & ~kept, kept, hands, feet)


def _going(kind: Garment, classes: Classes, keep: Sequence[str], replace: Sequence[str]) -> list[int]:
    """Return the classes that go."""
    going = set(classes_of(classes, kind.worn + kind.hidden))
    if kind.arms:
        going |= set(limb_classes(classes, "arm"))
    if kind.legs:
        going |= set(limb_classes(classes, "leg")) | set(classes_of(classes, ["hosiery"]))
    going |= set(named_classes_of(classes, replace))
    going -= set(named_classes_of(classes, keep))
    return sorted(going - {0})


def _hands(labels: Mask, classes: Classes) -> Region:
    """Return the hands of bare and clothed arms; none of arms that end in a glove."""
    limbs = limb_classes(classes, "arm")
    head = np.isin(labels, classes_of(classes, _HEAD))
    body = np.isin(labels, classes_of(classes, _UPPER))
    gloves = np.isin(labels, classes_of(classes, _HANDS))
    return limb_ends(labels, limbs, body, gloves, centre=_neck(head, body, labels), sided=_sided(classes, limbs))


def _feet(labels: Mask, classes: Classes) -> Region:
    """Return the feet of legs, and in socks, of which the shoe is nowhere to be seen."""
    limbs, socks = limb_classes(classes, "leg"), classes_of(classes, ["hosiery"])
    head = np.isin(labels, classes_of(classes, _HEAD))
    body = np.isin(labels, classes_of(classes, _LOWER))
    shod = {main_concept(classes, number).split()[0] for number in classes_of(classes, _SHOES) if number in labels}
    sided = _sided(classes, limbs)
    bare = [number for number in limbs if not shod & ({main_concept(classes, number).split()[0]} if sided else _SIDES)]
    middle = _middle(head if head.any() else body, labels)
    covered = np.isin(labels, socks)
    feet = limb_ends(labels, bare, body, covered, centre=middle, sided=sided, cut=True)
    if not shod:
        on = body | np.isin(labels, limbs)
        middle = np.array([middle[0], _middle(covered, labels)[1]])
        feet |= limb_ends(labels, socks, on & ~covered, on & False, centre=middle, sided=False, cut=True)
    return feet


def _sided(classes: Classes, limbs: Sequence[int]) -> bool:
    """Return whether left and right limbs are classes of their own."""
    return len({main_concept(classes, number) for number in limbs}) > 1


def _neck(head: Region, body: Region, labels: Mask) -> NDArray[np.float64]:
    """Return the middle of where garments touch the head; else of the garments' upper border."""
    touching = body & ndimage.binary_dilation(head, iterations=3)
    if touching.any():
        return _middle(touching, labels)
    top = np.zeros_like(body)
    rows = np.flatnonzero(body.any(1))
    top[rows[:1]] = body[rows[:1]]
    return _middle(top, labels)


def _middle(region: Region, labels: Mask) -> NDArray[np.float64]:
    places = np.argwhere(region if region.any() else labels != 0)
    return np.asarray(places.mean(0)) if len(places) else np.zeros(2)


def _shaped(region: Region, shape: str) -> Region:
    """Return a region, or its convex hull or box."""
    places = np.argwhere(region)
    if shape == "outline":
        return region
    (top, left), (low, right) = places.min(0), places.max(0)
    full = np.zeros_like(region)
    window = full[top : low + 1, left : right + 1]
    window[:] = True
    if shape == "hull":
        try:
            planes = ConvexHull(places).equations
        except QhullError:  # all in one line, which is its own hull but for gaps
            return region | full if min(window.shape) == 1 else region
        y, x = np.mgrid[top : low + 1, left : right + 1]
        for down, across, offset in planes:
            window &= down * y + across * x + offset <= 1e-6
    return full


def _grown(region: Region, margin: int) -> Region:
    """Return a region with all pixels at most `margin` from it."""
    return np.asarray(ndimage.distance_transform_edt(~region) <= margin) if margin else region


def checked_colour(name: str, colour: int | Sequence[int], *, fix: str) -> NDArray[Any]:
    """Return a colour as three whole numbers, or raise an InvalidInputError."""
    found = np.broadcast_to(np.asarray(colour), (3,)) if np.size(colour) in (1, 3) else np.array([-1])
    if found.dtype.kind not in "iu" or found.min() < 0 or found.max() > 255:
        raise InvalidInputError(f"{name}: a grey, or red, green and blue, 0..255", got=repr(colour), fix=fix)
    return found


def fitting_photo(photo: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a photo as RGB, uint8 (H, W, 3), or raise an InvalidInputError if it is of another size than a mask."""
    pixels = any_image(photo)
    if pixels.shape[:2] != shape:
        raise InvalidInputError(
            f"a photo of {shape[0]} x {shape[1]} pixels (height x width), as its mask",
            got=f"{pixels.shape[0]} x {pixels.shape[1]}",
            fix="pass the photo that was parsed, or parse this one",
        )
    return pixels
