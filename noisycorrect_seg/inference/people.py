"""Parsing pictures of several people: each from a crop of their own, put together into one picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, warn_caller, what_was_got
from noisycorrect.support.modules import evaluating
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.inference.calling import as_module, meant_by, shown_to
from noisycorrect_seg.inference.frames import foreground_on_image, labels_on_image, probs_on_image, way_back
from noisycorrect_seg.inference.images import any_image, picture_of
from noisycorrect_seg.inference.parse import Recipe, canonical_crops, crop_logits
from noisycorrect_seg.inference.running import forward_context, on_device
from noisycorrect_seg.inference.visualise import overlay, save_mask, save_picture
from noisycorrect_seg.inputs import Normalisation
from noisycorrect_seg.instances.boxes import (
    Boxes,
    Window,
    checked_boxes,
    checked_margin,
    what_is_wrong,
    window_around,
)
from noisycorrect_seg.instances.merging import Claim, merged, nearness

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MARGIN = 0.1
DEPTH = 0.1
BYTE = 255
SHOWN = 3  # boxes that a warning names
OUTLINE = (255, 255, 255)
CATEGORIES, HUMANS = "Category_ids", "Human_ids"  # folders of results, called as CIHP calls its own

Detector = Callable[[np.ndarray], Any]


@dataclass(frozen=True, eq=False)
class Person:
    """A person in a picture.

    Attributes
    ----------
    number : int
        In the instance map, from 1.
    index : int
        Position of their box among those given, from 0.
    box : ndarray, shape (4,), float64
        Left, top, right and bottom edge, as given.
    box_score : float
        The box's own score, 1.0 where none came with it.
    score : float
        The box's score times the mean probability, over the person's pixels, that they are a person's; in [0, 1], 0
        for a person without pixels.
    window : Window
        The part of the picture that the network was shown.
    labels : ndarray, shape (h, w), uint8
        What the network says of the window, other people's claims aside.
    probs : ndarray, shape (K, h, w), float16, or None
        Class probabilities in the window, if they were asked for.
    """

    number: int
    index: int
    box: NDArray[np.float64]
    box_score: float
    score: float
    window: Window
    labels: NDArray[np.uint8] = field(repr=False)
    probs: NDArray[np.float16] | None = field(repr=False)
    _picture: tuple[NDArray[np.int32], NDArray[np.uint8]] = field(repr=False)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which pixels of the picture are the person's, (H, W)."""
        return np.asarray(self._picture[0] == self.number)

    @property
    def classes(self) -> NDArray[np.uint8]:
        """The classes of the person's pixels, uint8 (H, W); 0 elsewhere."""
        return np.where(self.mask, self._picture[1], np.uint8(0))


@dataclass(frozen=True, eq=False)
class PeopleParsing:
    """What a model says of a picture of people.

    Attributes
    ----------
    instances : ndarray, shape (H, W), int32
        Whose each pixel is: 0 nobody's, else the number of one of `people`.
    classes : ndarray, shape (H, W), uint8
        The class of each pixel, 0..K-1; 0 where it is nobody's.
    people : list of Person
        In the order of their boxes; ``people[i].number`` is i + 1. Somebody who is hidden by others has no pixels.
    class_list : Classes
        K names and their palette.
    skipped : dict of int to str
        Position of each box that could not be used -> why, and what to do.

    Examples
    --------
    >>> from noisycorrect_seg.classes import LIP
    >>> print(PeopleParsing(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.uint8), [], LIP))
    nobody: pass boxes of the people, or a detector that finds them at a lower score
    """

    instances: NDArray[np.int32] = field(repr=False)
    classes: NDArray[np.uint8] = field(repr=False)
    people: list[Person]
    class_list: Classes
    skipped: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.people:
            start = "nobody: pass boxes of the people, or a detector that finds them at a lower score"
        else:
            hidden = sum(not person.score for person in self.people)
            start = f"{len(self.people)} people" + (f", {hidden} of them hidden by others" if hidden else "")
        return "; ".join([start, *(f"box {index} {reason}" for index, reason in self.skipped.items())])

    @property
    def boxes(self) -> Boxes:
        """The people's boxes, float64 (n, 4)."""
        return np.array([person.box for person in self.people], np.float64).reshape(-1, 4)

    @property
    def scores(self) -> dict[int, float]:
        """The people's scores by their number: what :class:`~noisycorrect_seg.PeopleMetrics` takes."""
        return {person.number: person.score for person in self.people}

    def save_pngs(self, folder: str | os.PathLike[str], stem: str) -> None:
        """Write ``Category_ids/STEM.png`` and ``Human_ids/STEM.png``, as CIHP has them, each atomically.

        Parameters
        ----------
        folder : path-like
            Made if there is none, as are the two folders in it.
        stem : str
            Name of both files. Human ids are 8-bit up to 255 people, else 16-bit.
        """
        from PIL import Image

        places = [Path(folder) / kind for kind in (CATEGORIES, HUMANS)]
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        save_mask(places[0] / f"{stem}.png", self.classes, self.class_list)
        whose = self.instances.astype(np.uint8 if len(self.people) <= BYTE else np.uint16)
        save_picture(places[1] / f"{stem}.png", Image.fromarray(whose), "PNG")

    def overlay(self, image: Any, alpha: float = 0.5) -> Picture:
        """Return the image with the classes' colours over it and a white line around each person.

        Parameters
        ----------
        image : path-like, PIL.Image.Image, or ndarray
            The image that was parsed.
        alpha : float
            Weight of the colours, in [0, 1].
        """
        from PIL import Image

        shown = overlay(picture_of(image), self.classes, self.class_list, alpha)
        shown[_outlines(self.instances)] = OUTLINE
        return Image.fromarray(shown)


@door
def parse_people(
    model: nn.Module,
    image: Any,
    boxes: Any = None,
    detector: Detector | None = None,
    *,
    scores: Any = None,
    classes: str | Classes | Sequence[str] | None = None,
    size: Size | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    normalisation: str | Normalisation | None = None,
    margin: float = MARGIN,
    depth: float = DEPTH,
    min_score: float = 0.0,
    batch_size: int = 8,
    device: str | torch.device = "auto",
    precision: str = "float32",
    probs: bool = False,
) -> PeopleParsing:
    r"""Parse a picture of several people, each in a crop of their own.

    A crop is the person's box and a margin, parsed as :func:`~noisycorrect_seg.parse_image` parses a picture. The model
    has to leave other people out: train it on :class:`~noisycorrect_seg.datasets.PersonCrops`. Where several people
    claim a pixel, it goes to the one with the largest

    .. math:: s_p \, (1 - P_p(\text{background})) + d \, n_p,

    with the box's score s, the class probabilities P of the crop, the weight d = `depth`, and the nearness n: the
    place of the box's lower edge, 0 at the picture's top and 1 at its bottom.

    A box that cannot be used does not cost the others: it is left out with a warning, and stands in ``.skipped``.

    Parameters
    ----------
    model : nn.Module
        See :func:`~noisycorrect_seg.parse_image`, as for `image`, `classes`, `size`, `scales`, `flip`,
        `normalisation`, `device` and `precision`.
    boxes : array-like, shape (n, 4) or (n, 5), optional
        Left, top, right and bottom edge of each person in the image's pixels, and a score in [0, 1] behind; cut at the
        image's edges.
    detector : callable or object, optional
        Instead of boxes: is called with the image, RGB uint8 (H, W, 3), or its ``detect`` is, and returns boxes as
        above, ``(boxes, scores)``, or a dict of ``boxes`` and ``scores``. See
        :class:`~noisycorrect_seg.PersonDetector`.
    scores : array-like, shape (n,), optional
        Of the boxes.
    margin : float
        What a crop has around the box on each side, as a share of its longer side; the network was trained with the
        same.
    depth : float
        d; 0 ignores depth.
    min_score : float
        Boxes of a lower score are left out.
    batch_size : int
        People in one forward pass; with `flip` their mirrors come on top.
    probs : bool
        Keep class probabilities of the crops, too: 2 K bytes a pixel of each.

    Returns
    -------
    PeopleParsing

    Raises
    ------
    InvalidInputError
        If an argument is out of range, there are both boxes and detector or neither, or boxes are of another shape or
        shares of the picture, all in 0..1.

    Examples
    --------
    >>> pixels = np.zeros((40, 60, 3), np.uint8)
    >>> model, kinds = nn.Conv2d(3, 2, 1), ["background", "person"]
    >>> found = parse_people(model, pixels, [[5, 0, 25, 40], [30, 0, 50, 40]], classes=kinds, size=(32, 32))
    >>> found.instances.shape, [person.index for person in found.people]
    ((40, 60), [0, 1])
    """
    model = as_module(model)
    recipe = Recipe(*meant_by(model, classes, size), scales, flip, normalisation=shown_to(model, normalisation))
    pixels = any_image(image, recipe.normalisation)
    margin, weight, least = checked_tuning(margin, depth, min_score)
    step = whole_number("batch_size", batch_size, least=1)
    found, ranks = _boxes(pixels, boxes, scores, detector)
    chosen, skipped = _usable(found, ranks, (pixels.shape[0], pixels.shape[1]), least)
    windows = [window_around(found[index], (pixels.shape[0], pixels.shape[1]), margin) for index in chosen]
    near = weight * nearness(found[chosen, 3].tolist(), pixels.shape[0])
    parts: list[_Part] = []

    def claims() -> Iterator[Claim]:
        for part in _parsed(model, pixels, windows, recipe, step, device, precision, probs):
            place = len(parts)
            parts.append(part._replace(foreground=None))  # needed once: people are many, pictures large
            assert part.foreground is not None
            yield Claim(windows[place], part.labels, np.float32(ranks[chosen[place]]) * part.foreground + near[place])

    instances, labels, strength = merged((pixels.shape[0], pixels.shape[1]), claims())
    means = _mean_strength(instances, strength, len(chosen))
    people = [
        Person(
            place + 1,
            index,
            found[index],
            float(ranks[index]),
            float(np.clip(means[place] - near[place], 0.0, ranks[index])),
            windows[place],
            parts[place].labels,
            parts[place].probs,
            (instances, labels),
        )
        for place, index in enumerate(chosen)
    ]
    return PeopleParsing(instances, labels, people, recipe.classes, skipped)


def checked_tuning(margin: float, depth: float, min_score: float) -> tuple[float, float, float]:
    """Return margin, depth and lowest score, or raise an InvalidInputError.

    Examples
    --------
    >>> checked_tuning(MARGIN, DEPTH, 0)
    (0.1, 0.1, 0.0)
    """
    return (
        checked_margin(margin),
        finite_number("depth", depth, above=0, fix="0.1 decides near ties, 0 ignores depth"),
        finite_number("min_score", min_score, above=0, below=1, fix="0 takes all boxes"),
    )


class _Part(NamedTuple):
    """What a network says of a window: classes, probability of a person, and all probabilities if asked for."""

    labels: NDArray[np.uint8]
    foreground: NDArray[np.float32] | None
    probs: NDArray[np.float16] | None


def _boxes(pixels: np.ndarray, boxes: Any, scores: Any, detector: Any) -> tuple[Boxes, NDArray[np.float64]]:
    if (boxes is None) == (detector is None):
        raise InvalidInputError(
            "boxes=, or detector= to find them",
            got="neither" if boxes is None else "both",
            fix="pass boxes of your own, a function that returns some, or noisycorrect_seg.train_detector(...);"
            " parse_image parses a picture of one person",
        )
    if detector is None:
        return checked_boxes(boxes, scores)
    detect = getattr(detector, "detect", detector)
    if not callable(detect):
        raise InvalidInputError(
            "a detector: a function of an image, or an object with detect(image)",
            got=type(detector).__name__,
            fix="noisycorrect_seg.train_detector() makes one",
        )
    found = detect(pixels)
    if isinstance(found, Mapping):
        found = found.get("boxes"), found.get("scores")
    try:
        if isinstance(found, tuple) and len(found) == 2:
            return checked_boxes(*found)
        return checked_boxes(found)
    except InvalidInputError as error:
        raise InvalidInputError(
            "a detector that returns boxes (n, 4) or (n, 5) in pixels, (boxes, scores), or a dict of both",
            got=what_was_got(error),
            fix="wrap it in a function that returns the people's boxes alone, and shares times width and height",
        ) from error


def _usable(boxes: Boxes, scores: NDArray[np.float64], shape: Size, least: float) -> tuple[list[int], dict[int, str]]:
    """Return which boxes can be used, and why others cannot; warn of these, and of a picture without any."""
    reasons = {index: what_is_wrong(box, scores[index], shape) for index, box in enumerate(boxes)}
    skipped = {index: reason for index, reason in reasons.items() if reason is not None}
    chosen = [index for index, reason in reasons.items() if reason is None and scores[index] >= least]
    if skipped:
        listed = "; ".join(f"box {index} {reason}" for index, reason in list(skipped.items())[:SHOWN])
        more = f"; and {len(skipped) - SHOWN} more, see .skipped" if len(skipped) > SHOWN else ""
        warn_caller(f"{len(skipped)} of {len(boxes)} boxes are left out, the others are parsed: {listed}{more}")
    elif not chosen:
        which = f"none of {len(boxes)} boxes has a score of {least:g} or more" if len(boxes) else "there is no box"
        warn_caller(f"nobody to parse: {which}; pass boxes of the people, or lower the detector's or min_score=")
    return chosen, skipped


def _parsed(
    model: nn.Module,
    pixels: np.ndarray,
    windows: Sequence[Window],
    recipe: Recipe,
    step: int,
    device: str | torch.device,
    precision: str,
    probs: bool,
) -> Iterator[_Part]:
    """Yield what a model says of windows of a picture, some in a batch."""
    if not windows:
        return
    with on_device(model, device) as place, evaluating(model):
        for start in range(0, len(windows), step):
            crops, shapes = canonical_crops(
                [pixels[each.slices] for each in windows[start : start + step]], recipe.size, recipe.normalisation
            )
            logits = crop_logits(model, crops, recipe, device=place, precision=precision)
            for each, shape in zip(logits, shapes, strict=True):
                with forward_context(place, precision):
                    back = way_back(shape, recipe.size)
                    kept = probs_on_image(each, back, shape).astype(np.float16) if probs else None
                    part = _Part(labels_on_image(each, back, shape), foreground_on_image(each, back, shape), kept)
                yield part


def _mean_strength(instances: NDArray[np.int32], strength: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """Return the mean strength of each person's pixels, (count,); minus infinity for a person without any."""
    taken = instances > 0
    sizes = np.bincount(instances[taken], minlength=count + 1)[1:]
    sums = np.bincount(instances[taken], strength[taken].astype(np.float64), minlength=count + 1)[1:]
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), -np.inf)


def _outlines(instances: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which pixels of people lie beside a pixel that is not theirs."""
    lines = np.zeros(instances.shape, bool)
    down, across = instances[1:] != instances[:-1], instances[:, 1:] != instances[:, :-1]
    lines[1:] |= down
    lines[:-1] |= down
    lines[:, 1:] |= across
    lines[:, :-1] |= across
    return np.asarray(lines & (instances > 0))
