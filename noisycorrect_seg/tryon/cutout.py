"""Garments cut out of photos, with soft edges."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from noisycorrect.support.arrays import as_array
from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.classes import Classes, spelling_of
from noisycorrect_seg.inference.visualise import save_picture
from noisycorrect_seg.tryon.agnostic import checked_colour, fitting_photo
from noisycorrect_seg.tryon.garments import GARMENTS, Mask, Region, chosen, classes_of, named_classes_of, present

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class CutOut:
    """A garment on its own.

    Attributes
    ----------
    rgba : ndarray, shape (h, w, 4), uint8
        Red, green, blue, not multiplied by alpha; alpha 0 is outside, where the colours are 0, too: nothing else of the
        photo is in it.
    box : (int, int, int, int)
        Where it was in the photo: left, top, right, bottom, the last two excluded, as Pillow's ``crop`` takes it.
    """

    rgba: NDArray[np.uint8] = field(repr=False)
    box: Box

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as a PNG with transparency, atomically."""
        save_picture(path, Image.fromarray(self.rgba), "PNG")

    def on(self, colour: int | Sequence[int] = 255) -> NDArray[np.uint8]:
        """Return it on a plain ground, uint8 (h, w, 3): shops show garments on white.

        Parameters
        ----------
        colour : int or three of them
            Grey, or red, green and blue, 0..255.

        Raises
        ------
        InvalidInputError
            If it is no such colour.

        Examples
        --------
        >>> CutOut(np.array([[[200, 0, 0, 255], [0, 0, 0, 0]]], np.uint8), (0, 0, 2, 1)).on(255).tolist()
        [[[200, 0, 0], [255, 255, 255]]]
        """
        ground = checked_colour("colour", colour, fix="255 is white").astype(np.float32)
        alpha = self.rgba[..., 3:].astype(np.float32) / 255
        mixed = alpha * self.rgba[..., :3] + (1 - alpha) * ground
        return np.asarray(np.rint(mixed), np.uint8)


@door
def cut_out(
    photo: Any,
    mask: Any,
    garment: str | Sequence[str],
    *,
    classes: str | Classes | None = None,
    probs: Any = None,
    edge: int = 3,
    margin: int = 0,
) -> CutOut:
    """Return a garment of a photo with alpha.

    Parameters
    ----------
    photo : path-like, PIL.Image.Image, or ndarray
        See :func:`~noisycorrect_seg.inference.images.any_image`.
    mask : array-like of int, shape (H, W), Parsing or Person
        Class indices, or what :func:`~noisycorrect_seg.parse_image` returned; or one of the
        ``people`` of :func:`~noisycorrect_seg.parse_people`, whose classes are its ``class_list``.
    garment : str or sequence of str
        ``"upper"`` (tops, coats), ``"lower"`` (trousers, skirts) or ``"dress"`` (dresses, jumpsuits); or classes.
    classes : str or Classes
        One of the lists with names; of a Parsing its own.
    probs : array-like, float, shape (K, H, W), optional
        Class probabilities; of a Parsing its own, if it has them. Then alpha is, near the outline, how probable the
        garment is; else the outline is hard.
    edge : int
        Pixels to each side of the outline where alpha may be soft.
    margin : int
        Pixels around the garment in the box.

    Raises
    ------
    InvalidInputError
        If a name is unknown, photo, mask and probabilities do not belong together, or nobody wears such a garment: then
        the message says what there is.

    Examples
    --------
    >>> from noisycorrect_seg import SyntheticPeople
    >>> people = SyntheticPeople(1, size=(128, 96))
    >>> top = cut_out(people.image(0), people.mask(0), "upper", classes="lip")
    >>> left, upper, right, lower = top.box
    >>> top.rgba.shape == (lower - upper, right - left, 4)
    True
    """
    labels, known, own = chosen(mask, classes)
    wanted = _wanted(garment, known)
    inside = np.isin(labels, wanted)
    if not inside.any():
        raise _absent(garment, wanted, labels, known)
    edge, margin = whole_number("edge", edge, least=0), whole_number("margin", margin, least=0)
    pixels = fitting_photo(photo, labels.shape)
    alpha = inside.astype(np.float64)
    probs = own if probs is None else probs
    if probs is not None and edge:
        alpha = _soft(inside, _probability(probs, wanted, known, labels), edge)
    alpha = np.rint(255 * alpha).astype(np.uint8)
    if not alpha.any():
        raise InvalidInputError(
            f"probabilities that belong to the mask, for {garment!r}",
            got="none above 0 where the mask shows it",
            fix="pass mask and probs of one parse_image(..., probs=True)",
        )
    # Beside the outline a photo's pixels hold the colours of both sides: the nearest of the garment's own are taken.
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    colours = np.where((alpha > 0)[..., None], pixels[tuple(nearest)], 0)
    box = _box(alpha > 0, margin)
    left, top, right, bottom = box
    return CutOut(np.dstack([colours, alpha]).astype(np.uint8)[top:bottom, left:right], box)


def _wanted(garment: str | Sequence[str], classes: Classes) -> list[int]:
    if isinstance(garment, str) and garment in GARMENTS:
        wanted = classes_of(classes, GARMENTS[garment].worn)
        if not wanted:
            raise InvalidInputError(
                f"a garment that {classes.name!r} has a class for", got=repr(garment), fix=", ".join(classes.names)
            )
        return wanted
    if isinstance(garment, str) and spelling_of(garment) not in map(spelling_of, classes.names):
        raise unknown_name("garment or class", garment, [*GARMENTS, *classes.names])
    wanted = named_classes_of(classes, garment)
    if not wanted:
        raise InvalidInputError("a garment, or some classes", got=repr(garment), fix="pass 'upper', for example")
    return wanted


def _absent(garment: str | Sequence[str], wanted: Sequence[int], labels: Mask, classes: Classes) -> InvalidInputError:
    there = present(labels, classes)
    others = [name for name, kind in GARMENTS.items() if np.isin(labels, classes_of(classes, kind.worn)).any()]
    hint = f"did you mean {' or '.join(map(repr, others))}? " if others else ""
    return InvalidInputError(
        f"a mask with {' or '.join(classes.names[number] for number in wanted)}, for {garment!r}",
        got=f"one of {', '.join(there) or 'unknown pixels alone'}",
        fix=f"{hint}see whether the mask is of these classes ({classes.name!r})",
    )


def _probability(probs: Any, wanted: Sequence[int], classes: Classes, labels: Mask) -> NDArray[np.float64]:
    array = as_array(probs, "probs")
    if array.shape != (len(classes), *labels.shape) or array.dtype.kind != "f":
        raise InvalidInputError(
            f"probabilities of shape {(len(classes), *labels.shape)}",
            got=f"{array.dtype} of shape {array.shape}",
            fix="pass parse_image(..., probs=True).probs of this photo",
        )
    total = array[list(wanted)].sum(0, dtype=np.float64)
    if not (np.isfinite(total).all() and total.min() >= -1e-3 and total.max() <= 1 + 1e-3):
        raise InvalidInputError("probabilities in 0..1", got=f"{total.min():.3g}..{total.max():.3g}", fix="not logits")
    return np.asarray(total.clip(0, 1))


def _soft(inside: Region, probability: NDArray[np.float64], edge: int) -> NDArray[np.float64]:
    """Return alpha: the probability within `edge` pixels of the outline, 1 and 0 beyond."""
    deep = ndimage.distance_transform_edt(inside)
    far = ndimage.distance_transform_edt(~inside)
    return np.where(deep > edge, 1.0, np.where(far > edge, 0.0, probability))


def _box(region: Region, margin: int) -> Box:
    """Return left, top, right and bottom of a region, grown, inside the image."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    height, width = region.shape
    return (
        int(max(columns[0] - margin, 0)),
        int(max(rows[0] - margin, 0)),
        int(min(columns[-1] + 1 + margin, width)),
        int(min(rows[-1] + 1 + margin, height)),
    )
