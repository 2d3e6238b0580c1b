"""A crop a person, to train on and to correct, and the way back into the whole picture."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.refine import most_probable
from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.progress import samples_progress
from noisycorrect_seg.datasets.source import HasNoItems, ParsingSource, SourceView, instances_of
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.instances.boxes import Window, boxes_of, checked_margin, window_around
from noisycorrect_seg.instances.merging import Claim, merged
from noisycorrect_seg.masks import ignore_index, mask_dtype


class Place(NamedTuple):
    """Where a crop lies.

    Attributes
    ----------
    picture : int
        Position in the source.
    number : int
        Of the person, in the picture's instance map.
    window : Window
        The part of the picture.
    """

    picture: int
    number: int
    window: Window


class PersonCrops(HasNoItems):
    """The people of a source's pictures, each in a crop of their own: a `ParsingSource`.

    A crop is the box around a person's pixels with a margin, as :func:`~noisycorrect_seg.parse_people` cuts it. In its
    mask other people are background, so that a network learns to leave them out; parts that are nobody's are ignored,
    for they may be the person's. :func:`put_back` brings corrected crops into the pictures.

    Parameters
    ----------
    source : InstanceSource
        Pictures with masks and instance maps; all maps are read once, now. Pictures without a mask or without people
        have no crops.
    margin : float
        On each side, as a share of the box's longer side.
    least : int
        People of fewer pixels have no crop.
    progress : bool
        Show a bar on a terminal.

    Attributes
    ----------
    places : list of Place
        Where each crop lies, picture by picture.
    classes : Classes
        The source's.

    Raises
    ------
    InvalidInputError
        If the source does not know whose a pixel is, a map is not of its picture's size, or there are no people.

    Examples
    --------
    >>> from noisycorrect_seg.datasets.scenes import SyntheticScenes
    >>> crops = PersonCrops(SyntheticScenes(2, people=(2, 2), size=(64, 96)))
    >>> len(crops), crops.name(3), crops.mask(3).shape == crops.places[3].window.shape
    (4, 'train_000001_02', True)
    """

    def __init__(self, source: ParsingSource, *, margin: float = 0.1, least: int = 1, progress: bool = True) -> None:
        self.source = source
        self.classes = source.classes
        self.margin = checked_margin(margin)
        self.least = whole_number("least", least, least=1)
        self.places: list[Place] = []
        with samples_progress(enabled=progress) as bar:
            for picture in bar.track(range(len(source)), description="looking for people"):
                self.places += self._places_in(picture)
        if not self.places:
            raise InvalidInputError(
                f"people of at least {self.least} pixels in {len(source)} pictures",
                got="none",
                fix="instance maps are 0 where a pixel is nobody's, and count people from 1",
            )

    def _places_in(self, picture: int) -> Iterator[Place]:
        instances, mask = instances_of(self.source, picture), self.source.mask(picture)
        if mask is None:
            return
        self._check(picture, instances, mask)
        sizes = np.bincount(instances[instances > 0].ravel())
        for number, box in zip(*boxes_of(instances), strict=True):
            if sizes[number] >= self.least:
                shape = instances.shape[0], instances.shape[1]
                yield Place(picture, int(number), window_around(box, shape, self.margin))

    def _check(self, picture: int, instances: np.ndarray, mask: np.ndarray) -> None:
        if instances.shape != mask.shape or instances.dtype.kind not in "iu" or instances.min() < 0:
            raise InvalidInputError(
                f"an instance map of whole numbers >= 0, of its mask's {mask.shape[0]} x {mask.shape[1]} pixels",
                got=f"{instances.dtype} of shape {instances.shape} for {self.source.name(picture)}",
                fix="correct the source",
            )

    def __len__(self) -> int:
        return len(self.places)

    def image(self, index: int) -> np.ndarray:
        """Return a crop, RGB uint8 (h, w, 3)."""
        place = self.places[index]
        return self.source.image(place.picture)[place.window.slices].copy()

    def mask(self, index: int) -> np.ndarray:
        """Return the person's mask in the crop, (h, w): other people are background, nobody's parts ignored.

        uint8, or uint16 of more than 255 classes.
        """
        place = self.places[index]
        mask = self.source.mask(place.picture)
        assert mask is not None
        instances = instances_of(self.source, place.picture)[place.window.slices]
        number = len(self.classes)
        nothing = ignore_index(number)
        own = mask[place.window.slices].astype(np.promote_types(mask.dtype, mask_dtype(number)))
        own[(instances > 0) & (instances != place.number) & (own != nothing)] = 0
        own[(instances == 0) & (own > 0)] = nothing
        return own

    def name(self, index: int) -> str:
        """Return the picture's name with the person's number behind it."""
        place = self.places[index]
        return f"{self.source.name(place.picture)}_{place.number:02d}"

    def of_picture(self, picture: int) -> list[int]:
        """Return the positions of a picture's crops."""
        first, end = (
            side(self.places, picture, key=lambda place: place.picture) for side in (bisect_left, bisect_right)
        )
        return list(range(first, end))


@door(own=True)
def put_back(crops: PersonCrops, labels: SoftLabelStore, *, generation: int | None = None) -> CorrectedPeople:
    """Return the pictures of crops that were corrected, with whole masks again.

    Parameters
    ----------
    crops : PersonCrops
        What was trained on.
    labels : SoftLabelStore
        The result's ``labels``: one sample a crop.
    generation : int, optional
        Which labels; default: the current ones; 0 gives the source's own masks back.

    Returns
    -------
    CorrectedPeople

    Raises
    ------
    InvalidInputError
        If there is not one sample a crop.
    """
    return CorrectedPeople(crops, labels, generation=generation)


class CorrectedPeople(SourceView):
    r"""The pictures of :class:`PersonCrops` with corrected masks: an `InstanceSource`; see :func:`put_back`.

    Every pixel of a picture has one class and at most one person again:

    - it goes to the person whose crop's refined label is the least background there (the given label has its part in
      the refined one, so a person's given pixel changes hands only where the evidence of two crops says so); of equal
      ones to its given person, then to the one with the lower number;
    - it becomes background where no crop claims it and a crop shows it;
    - it stays as given where no crop shows it, where the given label is ignored, where a part is nobody's, and where it
      is of a person who has no crop.

    Whose an ignored pixel is stays, too. Crops are read and put together when a mask is asked for.

    Parameters
    ----------
    crops, labels, generation
        See :func:`put_back`.
    """

    def __init__(self, crops: PersonCrops, labels: SoftLabelStore, *, generation: int | None = None) -> None:
        if len(labels) != len(crops):
            raise InvalidInputError(
                f"labels of {len(crops)} crops", got=f"{len(labels)} samples", fix="pass the crops that were trained on"
            )
        super().__init__(crops.source)
        self.crops, self.labels, self.generation = crops, labels, generation
        self._kept: tuple[int, np.ndarray, np.ndarray] | None = None

    def mask(self, index: int) -> np.ndarray | None:
        """Return the corrected mask, uint8 or uint16 (H, W); None where there was none."""
        return None if self.source.mask(index) is None else self._picture(index)[0].copy()

    def instances(self, index: int) -> np.ndarray:
        """Return whose each pixel is after correction, int32 (H, W)."""
        return super().instances(index) if self.source.mask(index) is None else self._picture(index)[1].copy()

    def _picture(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self._kept is None or self._kept[0] != index:
            rows = self.crops.of_picture(index)
            refined = (self.labels.refined(row, generation=self.generation)[0].numpy() for row in rows)
            given = self.source.mask(index)
            assert given is not None
            places = [self.crops.places[row] for row in rows]
            self._kept = index, *assembled(given, instances_of(self.source, index), places, refined)
        return self._kept[1], self._kept[2]


def assembled(
    given: np.ndarray, instances: np.ndarray, places: Sequence[Place], refined: Any
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Put refined masks of a picture's crops together; the rules are those of :class:`CorrectedPeople`.

    Parameters
    ----------
    given, instances : ndarray, shape (H, W)
        The picture's given mask and instance map.
    places : sequence of Place
        Where its crops lie.
    refined : iterable of ndarray, shape (K, h, w), float32
        A refined mask a crop; taken one at a time.

    Returns
    -------
    mask : ndarray, shape (H, W), uint8, or uint16 of more than 255 classes
    instances : ndarray, shape (H, W), int32

    Examples
    --------
    >>> given, whose = np.array([[1, 1, 0]], np.uint8), np.array([[4, 4, 0]], np.int32)
    >>> refined = np.array([[[0.1, 0.9, 0.3]], [[0.9, 0.1, 0.7]]], np.float32)  # (2 classes, 1 row, 3 columns)
    >>> assembled(given, whose, [Place(0, 4, Window(0, 0, 1, 3))], [refined])
    (array([[1, 0, 1]], dtype=uint8), array([[4, 0, 4]], dtype=int32))
    """
    shape: Size = given.shape[0], given.shape[1]
    shown = np.zeros(shape, bool)
    numbers = [0]

    def claims() -> Iterator[Claim]:
        # Twice each: given persons first, so that they keep what is claimed equally.
        for own in (True, False):
            for place, probs in zip(places, kept, strict=True):
                shown[place.window.slices] = True
                numbers.append(place.number)
                theirs = (instances[place.window.slices] == place.number) == own
                yield Claim(place.window, np.where(theirs, probs[0], np.uint8(0)), probs[1])

    kept, nothing = [], -1  # without crops all stays
    for place, probs in zip(places, refined, strict=True):
        nothing, inside = ignore_index(len(probs)), place.window.slices
        own = np.where(instances[inside] == place.number, given[inside], 0).astype(np.int64)
        classes = most_probable(torch.from_numpy(probs)[None], torch.from_numpy(own)[None])[0].numpy()
        kept.append((classes.astype(mask_dtype(len(probs))), 1 - probs[0]))
    winners, mask, _ = merged(shape, claims())
    whose = np.array(numbers, np.int32)[winners]
    cropless = ~np.isin(instances, [0, *numbers])
    stays = ~shown | (given == nothing) | ((instances == 0) & (given > 0)) | cropless
    return np.where(stays, given, mask), np.where(stays, instances, whose).astype(np.int32)
