"""Reviewing masks: the regions in which given and corrected masks differ, and the masks that decisions lead to."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.kind import LabelReader
from noisycorrect.labels.regions import RegionView
from noisycorrect.review.session import Cleaning, Reviewed, read_decisions, read_items, store_items, write_items
from noisycorrect.saved.details import Details
from noisycorrect.support.errors import InvalidInputError, warn_caller
from noisycorrect_seg.classes import is_background, palette_of_names
from noisycorrect_seg.colours import class_colours
from noisycorrect_seg.datasets.shown import jpeg, own_picture, photo_at, png
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.masks import ignore_index, ignored_by

LABELS = "labels"
MOST_REGIONS = 40  # that a person is asked about one by one; the rest are decided about together
LEAST_SHARE = 2e-4  # of an image's pixels; smaller differences, mostly along borders, are decided about together
REST = -1  # the id of all of those
KEPT = 16  # masks held ready
OPACITY = 0.55
TOUCHING = np.ones((3, 3), bool)  # pixels that touch at a corner are of one region


@dataclass(frozen=True)
class Region:
    """Pixels that touch each other, to which correction gives one class in place of another.

    Attributes
    ----------
    id : int
        Place of its first pixel, row by row; -1 for all small differences together.
    given, suggested : int
        Class indices; -1 for several.
    pixels : int
        How many.
    box : tuple of int
        Left, top, right, bottom; the last two are outside of it.
    """

    id: int
    given: int
    suggested: int
    pixels: int
    box: tuple[int, int, int, int]


def differing_regions(
    given: np.ndarray, corrected: np.ndarray, *, most: int = MOST_REGIONS, least_share: float = LEAST_SHARE
) -> tuple[np.ndarray, list[Region]]:
    """Return where and how two masks differ: connected components (8-connectivity) of each pair of classes.

    Parameters
    ----------
    given, corrected : ndarray, shape (H, W), uint8 or uint16
        Masks of one size; what one of them ignores is no difference.
    most : int
        At most so many regions beside the one of all small differences.
    least_share : float
        Regions of a smaller share of the pixels are small.

    Returns
    -------
    places : ndarray, shape (H, W), int32
        Place of each pixel's region in the list; -1 where the masks agree.
    regions : list of Region
        The largest first, small differences last.

    Examples
    --------
    >>> given, corrected = np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)
    >>> corrected[1:3, :2], corrected[3, 5] = 1, 2
    >>> places, regions = differing_regions(given, corrected)
    >>> [(region.given, region.suggested, region.pixels) for region in regions], places[1].tolist()
    ([(0, 1, 4), (0, 2, 1)], [0, 0, -1, -1, -1, -1])
    """
    nothing = ignored_by(given)
    differs = (given != corrected) & (given != nothing) & (corrected != nothing)
    pairs = np.where(differs, given.astype(np.int64) * (nothing + 1) + corrected, -1)
    numbers = np.zeros(given.shape, np.int32)
    found: list[Region] = []
    for pair in np.unique(pairs[differs]).tolist():
        labelled, count = ndimage.label(pairs == pair, TOUCHING)
        for number, (rows, columns) in enumerate(ndimage.find_objects(labelled), 1):
            inside = labelled[rows, columns] == number
            first = int(np.flatnonzero(inside[0])[0]) + columns.start + rows.start * given.shape[1]
            box = (columns.start, rows.start, columns.stop, rows.stop)
            before, after = divmod(pair, nothing + 1)
            found.append(Region(first, before, after, int(inside.sum()), box))
        numbers[labelled > 0] = labelled[labelled > 0] + len(found) - count
    order = sorted(range(len(found)), key=lambda place: (-found[place].pixels, found[place].id))
    large = [place for place in order if found[place].pixels >= max(1, least_share * given.size)][:most]
    small = order[len(large) :]
    if len(small) == 1:  # there is nothing to join
        large, small = order, []
    rank = np.full(len(found) + 1, len(large), np.int32)
    rank[0] = -1
    rank[np.array(large, int) + 1] = np.arange(len(large))
    regions = [found[place] for place in large]
    if small:
        boxes = np.array([found[place].box for place in small])
        box = (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())
        regions.append(Region(REST, -1, -1, sum(found[place].pixels for place in small), box))
    places: np.ndarray = rank[numbers]
    return places, regions


@dataclass(frozen=True)
class _Masks:
    """A sample's masks and their regions; `digest` says whether a decision was about the same ones.

    `drawn` is the size of the given mask, None without one.
    """

    given: np.ndarray
    corrected: np.ndarray
    places: np.ndarray
    regions: list[Region]
    digest: int
    drawn: Size | None

    @property
    def size(self) -> Size:
        return self.given.shape[0], self.given.shape[1]


class MaskRegions(RegionView):
    """Masks under review.

    Parameters
    ----------
    given, corrected : callable
        Masks at positions, a list of uint8 or uint16 (H, W).
    num_classes : int
        K.

    Examples
    --------
    >>> given, corrected = np.zeros((2, 3), np.uint8), np.array([[0, 1, 1], [0, 0, 0]], np.uint8)
    >>> view = MaskRegions(lambda rows: [given], lambda rows: [corrected], num_classes=2)
    >>> view.regions(0)["regions"]
    [{'id': 1, 'given': 0, 'suggested': 1, 'pixels': 2, 'box': [1, 0, 3, 1]}]
    >>> view.decided(0, view.checked(0, {"accepted": [], "rejected": [1]})).tolist()
    [[0, 0, 0], [0, 0, 0]]
    """

    def __init__(self, given: LabelReader, corrected: LabelReader, num_classes: int) -> None:
        self._num_classes = num_classes
        self._nothing = ignore_index(num_classes)
        self._hidden, self._palette = [0, self._nothing], class_colours(num_classes)
        self.colours = self._palette[:num_classes].tolist()
        self._given, self._corrected = given, corrected
        self._lock = threading.Lock()  # HDF5 files are read by one thread at a time
        self._held = lru_cache(KEPT)(self._read)

    def name_classes(self, names: Sequence[str]) -> None:
        """Take the colours that the classes' names ask for; see :class:`~noisycorrect.labels.regions.RegionView`."""
        self._palette = palette_of_names(names)
        self._hidden = [0, self._nothing] if is_background(names[0]) else [self._nothing]
        self.colours = self._palette[: self._num_classes].tolist()

    def _clear(self, mask: np.ndarray) -> np.ndarray:
        """Return where an overlay shows the picture alone: background and ignored pixels."""
        return np.isin(mask, self._hidden)

    def _over(self, picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        mixed = (1 - OPACITY) * picture + OPACITY * self._palette[mask]
        over: np.ndarray = np.where(self._clear(mask)[..., None], picture, mixed).astype(np.uint8)
        return over

    def _read(self, row: int) -> _Masks:
        rows = np.array([row])
        with self._lock:
            (given,), (corrected,) = self._given(rows), self._corrected(rows)
        drawn = (given.shape[0], given.shape[1]) if given.size else None
        if drawn is None:
            given = np.full(corrected.shape, ignored_by(corrected), corrected.dtype)
        places, regions = differing_regions(given, corrected)
        digest = zlib.crc32(corrected.tobytes(), zlib.crc32(given.tobytes()))
        return _Masks(given, corrected, places, regions, digest, drawn)

    def regions(self, row: int) -> dict[str, Any]:
        """Return size and regions of a sample; see :class:`~noisycorrect.labels.regions.RegionView`."""
        masks = self._held(row)
        plain = [
            {"id": r.id, "given": r.given, "suggested": r.suggested, "pixels": r.pixels, "box": list(r.box)}
            for r in masks.regions
        ]
        return {"size": list(masks.given.shape), "regions": plain}

    def layer(self, row: int, name: str) -> bytes:
        """Return a layer as PNG; see :class:`~noisycorrect.labels.regions.RegionView`."""
        masks = self._held(row)
        if name == "regions":
            place = masks.places + 1
            return png(np.stack([place >> 16, place >> 8 & 255, place & 255], 2).astype(np.uint8))
        if name not in ("given", "corrected"):
            raise InvalidInputError('a layer "given", "corrected" or "regions"', got=repr(name), fix="reload the page")
        mask = masks.given if name == "given" else masks.corrected
        return png(np.dstack([self._palette[mask], np.where(self._clear(mask), 0, 255).astype(np.uint8)]))

    def picture(self, row: int, image: Path) -> bytes | None:
        """Return what a browser cannot show, or would turn, as JPEG.

        See :class:`~noisycorrect.labels.regions.RegionView`.
        """
        masks = self._held(row)
        return own_picture(image, masks.size, masks.drawn)

    def checked(self, row: int, regions: Mapping[str, Any]) -> dict[str, Any]:
        """Return a decision as the journal keeps it; see :class:`~noisycorrect.labels.regions.RegionView`."""
        masks = self._held(row)
        known = sorted(region.id for region in masks.regions)
        accepted, rejected = (regions.get(name, []) for name in ("accepted", "rejected"))
        lists = isinstance(accepted, list) and isinstance(rejected, list)
        if not lists or not all(type(each) is int for each in [*accepted, *rejected]):
            raise InvalidInputError("lists of accepted and rejected regions", got=repr(regions), fix="reload the page")
        if sorted([*accepted, *rejected]) != known:
            expected, got = f"each of the {len(known)} regions in one list", f"{len(accepted)} and {len(rejected)}"
            raise InvalidInputError(expected, got=got, fix="reload the page: the masks have changed")
        return {"accepted": accepted, "rejected": rejected, "digest": masks.digest}

    def decided(self, row: int, regions: Mapping[str, Any] | None) -> np.ndarray | None:
        """Return the mask that a decision leads to, uint8 (H, W): the given one with accepted regions corrected.

        Parameters
        ----------
        row : int
            The sample's position.
        regions : mapping or None
            What :meth:`checked` returned; None keeps the given mask.

        Returns
        -------
        ndarray or None
            None if the decision was about other masks than these.
        """
        masks = self._held(row)
        if regions is None:
            return masks.given
        if regions.get("digest") != masks.digest:
            return None
        if (masks.given == ignored_by(masks.given)).all():
            return masks.corrected
        accepted = np.array([region.id in regions["accepted"] for region in masks.regions] + [False])
        mixed: np.ndarray = np.where(accepted[masks.places], masks.corrected, masks.given)  # -1 is the last: False
        return mixed

    def corrected(self, row: int) -> np.ndarray:
        """Return the corrected mask of a sample, uint8 (H, W)."""
        return self._held(row).corrected

    def panels(self, row: int, image: Path | None, *, side: int) -> list[tuple[str, bytes]]:
        """Return given and corrected mask over the image; see :class:`~noisycorrect.labels.regions.RegionView`."""
        masks = self._held(row)
        below = photo_at(image, masks.size, masks.drawn)
        return [
            (name, jpeg(self._over(below, mask), side))
            for name, mask in (("given", masks.given), ("corrected", masks.corrected))
        ]


def final_masks(run_dir: str | os.PathLike[str]) -> Iterator[tuple[str, np.ndarray, bool]]:
    """Yield id, mask and whether somebody decided, of each item of a cleaning run of masks, in order.

    A decision about regions gives the given mask with the accepted regions corrected; one to keep, the given mask;
    where nobody decided it is the corrected one. A decision about other masks than the run has now (it has gone on
    since) counts as none.

    Raises
    ------
    StoreError
        If the folder is no cleaning run's, or a file of it is damaged.
    InvalidInputError
        If its labels are no masks.
    """
    _, items = read_items(run_dir)
    store = SoftLabelStore.open(Path(run_dir) / LABELS)
    view = store.kind.region_view(lambda rows: store.given(rows), lambda rows: store.labels(rows))
    if not isinstance(view, MaskRegions) or len(items) != len(store):
        got = f"{len(store)} labels of {store.kind.name}, {len(items)} items"
        raise InvalidInputError(f"a cleaning run of masks in {run_dir}", got=got, fix="use final_labels for others")
    decided = Reviewed(read_decisions(run_dir)).in_force()
    for row, item in enumerate(items):
        decision = decided.get(item.id)
        mask = None
        if decision is not None and decision.decides:
            mask = view.decided(row, decision.regions if decision.action == "accept" else None)
        yield item.id, view.corrected(row) if mask is None else mask, mask is not None


def write_mask_items(
    run_dir: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    *,
    ids: Sequence[str] | None = None,
    images: Sequence[str | os.PathLike[str]] | None = None,
    source: str = "",
    **header: Any,
) -> int:
    """Make a run with masks ready for ``noisycorrect review``, and return how many items it has.

    Parameters
    ----------
    run_dir : path-like
        The folder of a run whose label store, in ``labels``, holds masks and evidence about them.
    classes : sequence of str, optional
        K names. Default: those that the run knows.
    ids : sequence of str, optional
        N names of the samples, in the order of the store. Default: those that the run knows, else positions.
    images : sequence of path-like, optional
        Their pictures; absolute, or relative to the run folder. There is a warning if some do not exist.
    source : str
        Where they come from. Default: the run folder.
    **header
        More of :class:`~noisycorrect.review.session.Cleaning`.

    Raises
    ------
    InvalidInputError
        If something is not N or K, the run knows other classes or ids, or its images in another order, nobody says what
        the classes are called, or there is no evidence yet.
    """
    folder = Path(run_dir)
    store = SoftLabelStore.open(folder / LABELS)
    known = Details.read(folder) or Details(store.kind.name, store.num_classes)
    names = _agreed("classes", classes, known.class_names)
    if names is None:
        raise InvalidInputError("classes=", got=f"none, and {folder} does not say", fix="pass one name a class")
    samples = known.sample_names
    if samples and len(set(samples)) < len(samples):  # one that comes twice in the data has ids of its own here
        samples = None
    ids = _agreed("ids", ids, samples)
    paths = None if images is None else [os.fspath(path) for path in images]
    files = [Path(path).name for path in paths or ()]
    own = [Path(file).name for file in known.image_files or ()]
    if sorted(files) == sorted(own):
        _agreed("images", files, own)
    about = Cleaning(kind="mask", classes=names, source=source or str(run_dir), label="masks", **header)
    count = write_items(folder, about, store_items(store, names, ids=ids, images=paths))
    missing = [path for path in paths or () if not (folder / path).is_file()]
    if missing:
        told = ", ".join(missing[:3])
        warn_caller(f"{len(missing)} of {count} images do not exist, such as {told}: paths are relative to {folder}")
    return count


def _agreed(name: str, given: Sequence[str] | None, known: Sequence[str] | None) -> Sequence[str] | None:
    """Return names as they are given, else as the run knows them; an InvalidInputError if it knows others."""
    if given is None or known is None:
        return known if given is None else given
    for place, (said, own) in enumerate(zip(given, known, strict=False)):  # how many there are, others check
        if str(said) != own:
            expected = f"{name} as the run knows them, {own!r} at position {place}"
            raise InvalidInputError(expected, got=repr(said), fix=f"leave {name}= out, or pass them in its order")
    return given
