"""Several sources as one, and sources without masks: what a training set is put together from."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import ConcatDataset
from torch.utils.data import Subset as TorchSubset

from noisycorrect.support.errors import InvalidInputError, warn_caller
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.datasets.images import IMAGE_SUFFIXES, picture_channels
from noisycorrect_seg.datasets.layout import listed, seeming_masks
from noisycorrect_seg.datasets.layouts import without_masks
from noisycorrect_seg.datasets.source import (
    CHANNELS,
    FileSource,
    HasNoItems,
    ParsingSource,
    SourceView,
    Subset,
    image_file,
    instances_of,
)
from noisycorrect_seg.masks import checked_mask, ignore_index, mask_dtype


class Remapped(SourceView):
    """A source whose masks are brought to another list of classes, by the names of the classes.

    Parameters
    ----------
    source : ParsingSource
        Kept as ``.source``.
    classes : Classes
        The classes that the masks are to have.
    rename : mapping of str to str or None, optional
        What a class of the source is called there; None ignores its pixels. Default: as it is called.

    Raises
    ------
    InvalidInputError
        If a class has no counterpart; when a mask is read, if it holds another value than the source's classes.

    Examples
    --------
    >>> from noisycorrect_seg.datasets import SyntheticPeople
    >>> people = SyntheticPeople(1, size=(32, 32))
    >>> names = {name: "person" for name in people.classes.names} | {"Background": "background"}
    >>> np.unique(Remapped(people, Classes("own", ("background", "person")), rename=names).mask(0)).tolist()
    [0, 1]
    """

    def __init__(
        self, source: ParsingSource, classes: Classes, *, rename: Mapping[str, str | None] | None = None
    ) -> None:
        super().__init__(source)
        called = {name: (rename or {}).get(name, name) for name in source.classes.names}
        missing = [name for name, other in called.items() if other is not None and other not in classes.names]
        if missing:
            raise InvalidInputError(
                f"each class of {source.classes.name!r} among {', '.join(classes.names[:10])}",
                got=f"{missing[0]!r} ({len(missing)} without a counterpart)",
                fix=f'pass rename={{"{missing[0]}": "{classes.names[-1]}"}}, or None as the name to ignore its pixels',
            )
        nothing = ignore_index(len(classes))
        self._table = np.full(ignore_index(len(source.classes)) + 1, nothing, mask_dtype(len(classes)))
        for number, other in enumerate(called.values()):
            if other is not None:
                self._table[number] = classes.names.index(other)
        self.classes = classes

    def mask(self, index: int) -> np.ndarray | None:
        """Return the given mask in the classes asked for, uint8 or uint16 (H, W), or None."""
        mask = self.source.mask(index)
        return None if mask is None else self._table.take(checked_mask(mask, len(self.source.classes), index))


class Joined(SourceView):
    """Sources one after the other, as one; all of the same classes.

    Parameters
    ----------
    sources : sequence of ParsingSource
        At least one, kept as ``.sources``.

    Raises
    ------
    InvalidInputError
        If there is none, or their classes differ: :class:`Remapped` brings them to one list.

    Examples
    --------
    >>> from noisycorrect_seg.datasets import SyntheticPeople
    >>> both = Joined([SyntheticPeople(2, size=(32, 32)), SyntheticPeople(3, size=(32, 32), split="val")])
    >>> len(both), both.name(0), both.name(2)
    (5, 'train_000000', 'val_000000')
    """

    def __init__(self, sources: Sequence[ParsingSource]) -> None:
        self.sources = list(sources)
        if not self.sources:
            raise InvalidInputError("at least one source", got="none", fix="pass Joined([first, second])")
        super().__init__(self.sources[0])
        for place, source in enumerate(self.sources):
            if (source.classes.names, source.classes.flip_pairs) != (self.classes.names, self.classes.flip_pairs):
                raise InvalidInputError(
                    f"sources of the classes {', '.join(self.classes.names[:10])}",
                    got=f"{', '.join(source.classes.names[:10])} in source {place}",
                    fix="bring it to these classes: noisycorrect_seg.datasets.Remapped(source, classes, rename=...)",
                )
        self._ends = list(accumulate(len(source) for source in self.sources))

    def __len__(self) -> int:
        return self._ends[-1]

    def _at(self, index: int) -> tuple[ParsingSource, int]:
        part = bisect_right(self._ends, index)
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} samples")
        return self.sources[part], index - (self._ends[part - 1] if part else 0)

    def image(self, index: int) -> np.ndarray:
        """Return an image, (H, W, C)."""
        source, own = self._at(index)
        return source.image(own)

    def mask(self, index: int) -> np.ndarray | None:
        """Return its given mask, uint8 or uint16 (H, W), or None."""
        source, own = self._at(index)
        return source.mask(own)

    def name(self, index: int) -> str:
        """Return its name."""
        source, own = self._at(index)
        return source.name(own)

    def instances(self, index: int) -> np.ndarray:
        """Return whose each pixel is, int32 (H, W), if its source knows."""
        return instances_of(*self._at(index))

    def image_file(self, index: int) -> str | None:
        """Return the name of its image file; None if there is none."""
        source, own = self._at(index)
        return image_file(source, own)


class Unlabeled(SourceView):
    """A source without its masks.

    Examples
    --------
    >>> from noisycorrect_seg.datasets import SyntheticPeople
    >>> Unlabeled(SyntheticPeople(2, size=(32, 32))).mask(1) is None
    True
    """

    def mask(self, index: int) -> np.ndarray | None:
        """Return None."""
        return None


class Pictures(HasNoItems):
    """Images in memory, with or without masks.

    Parameters
    ----------
    images : sequence of ndarray, shape (H, W), (H, W, 3) or (H, W, C)
        Of any sizes; RGB of uint8, or what a :class:`~noisycorrect_seg.Normalisation` takes.
    classes : str, Classes, or sequence of str
        K classes.
    masks : sequence of ndarray of int, shape (H, W), or None, optional
        0..K-1, 255 (65535 of more than 255 classes) where nothing is known; None of an image without one. Default: of
        none.

    Raises
    ------
    InvalidInputError
        If there are more or fewer masks than images, or the classes are unknown; when a mask is read, if it is none of
        these classes.

    Examples
    --------
    >>> image, mask = np.zeros((4, 5, 3), np.uint8), np.ones((4, 5), np.int64)
    >>> pictures = Pictures([image, image], ["ground", "field"], [mask, None])
    >>> pictures.name(0), pictures.mask(0).dtype, pictures.mask(1)
    ('000000', dtype('uint8'), None)
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        classes: str | Classes | Sequence[str],
        masks: Sequence[np.ndarray | None] | None = None,
    ) -> None:
        if masks is not None and len(masks) != len(images):
            raise InvalidInputError(f"{len(images)} masks, one an image", got=str(len(masks)), fix="None is no mask")
        self.images, self.classes, self.masks = images, classes_named(classes), masks

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        """Return an image."""
        return np.array(self.images[index])

    def mask(self, index: int) -> np.ndarray | None:
        """Return its given mask, uint8 or uint16 (H, W), or None."""
        mask = None if self.masks is None else self.masks[index]
        return None if mask is None else checked_mask(mask, len(self.classes), index)

    def name(self, index: int) -> str:
        """Return a name made of the position."""
        return f"{'unlabeled_' * (self.masks is None)}{index:06}"


def channels_of(source: Any) -> str:
    """Return what a source's files are read as; see :class:`~noisycorrect_seg.datasets.FileSource`.

    Examples
    --------
    >>> from noisycorrect_seg.datasets import SyntheticPeople
    >>> channels_of(SyntheticPeople(1, size=(32, 32)))
    'rgb'
    """
    own = getattr(source, "channels", None)
    if isinstance(own, str) and own in CHANNELS:
        return own
    inner = getattr(source, "source", None) or next(iter(getattr(source, "sources", ())), None)
    return "rgb" if inner is None else channels_of(inner)


def mask_suffix_of(source: Any) -> str:
    """Return what tells a source's masks from images in one folder; empty if nothing is known of it.

    Examples
    --------
    >>> from noisycorrect_seg.datasets import SyntheticPeople
    >>> mask_suffix_of(SyntheticPeople(1, size=(32, 32)))
    ''
    """
    own = getattr(source, "mask_suffix", None)
    if isinstance(own, str):
        return own
    inner = getattr(source, "source", None)
    several = getattr(source, "sources", None) or ([] if inner is None else [inner])
    return next(filter(None, map(mask_suffix_of, several)), "")


def positions(subset: TorchSubset[Any], length: int) -> list[int]:
    """Return where the samples of torch's ``Subset`` lie in what it is a part of, of `length`, counted from 0.

    Examples
    --------
    >>> positions(TorchSubset("abc", [2, -3]), 3)
    [2, 0]
    """
    return [int(index) % length if -length <= int(index) < 0 else int(index) for index in subset.indices]


def unlabeled_source(given: Any, classes: Classes, *, channels: str = "rgb", mask_suffix: str = "") -> ParsingSource:
    """Return the source of what users pass as images without masks.

    Parameters
    ----------
    given : ParsingSource, data set with a ``source``, path-like, or sequence
        A source, whose masks do not count; a folder of images; image files; PIL images; or arrays (H, W, C). Also
        torch's ``Subset`` (:func:`~torch.utils.data.random_split` returns such) or ``ConcatDataset`` of any of these.
    classes : Classes
        The classes that a model gives them.
    channels : str
        What files are read as; see :class:`~noisycorrect_seg.datasets.FileSource`.
    mask_suffix : str
        Files of a folder whose stems end so are masks, and left out, as are those in a folder ``masks`` that stands
        beside one of ``images``. Without, there is a warning if half of a folder's files seem to be masks.

    Raises
    ------
    InvalidInputError
        If it is none of these, or there is no image.
    """
    if type(given) is TorchSubset:
        inner = unlabeled_source(given.dataset, classes, channels=channels, mask_suffix=mask_suffix)
        return Subset(inner, positions(given, len(inner)))
    if type(given) is ConcatDataset:
        options = {"channels": channels, "mask_suffix": mask_suffix}
        return Joined([unlabeled_source(part, classes, **options) for part in given.datasets])
    given = getattr(given, "source", given) if not isinstance(given, ParsingSource) else given
    if isinstance(given, ParsingSource):
        own = Unlabeled(given)
        own.classes = classes
        return own
    suffixes = (*IMAGE_SUFFIXES, ".npy") if channels == "stored" else IMAGE_SUFFIXES
    if isinstance(given, (str, os.PathLike)):
        if not Path(given).is_dir():
            raise InvalidInputError("a folder of images", got=f"no folder {os.fspath(given)}", fix="check the path")
        files = without_masks(listed(Path(given), suffixes).files)
        if mask_suffix:
            files = {key: path for key, path in files.items() if not key.endswith(mask_suffix)}
        if not files:
            fix = f"images end in {' '.join(suffixes)}"
            fix += f", and not in {mask_suffix!r}, as the masks of the labelled ones" if mask_suffix else ""
            raise InvalidInputError(f"images in {os.fspath(given)}", got="none", fix=fix)
        said = seeming_masks(files.values(), "move masks into a folder of their own, or pass a list of the images")
        if said is not None:
            warn_caller(said)
        names, paths = list(files), list(files.values())
        return FileSource(classes, names, paths, [None] * len(names), channels=channels)
    items = list(given) if isinstance(given, (Sequence, np.ndarray)) else []
    if items and all(isinstance(each, (str, os.PathLike)) for each in items):
        paths = [Path(each) for each in items]
        return FileSource(classes, [path.stem for path in paths], paths, [None] * len(paths), channels=channels)
    if items and all(isinstance(each, Image.Image) for each in items):
        items = [picture_channels(each, channels, "an image in memory", upright=True) for each in items]
    if items and all(isinstance(each, np.ndarray) and each.ndim in (2, 3) for each in items):
        return Pictures(items, classes)
    raise InvalidInputError(
        "images without masks: a folder, files, PIL images, arrays (H, W, C), a source or a data set of one",
        got=f"{type(given).__name__} of {type(items[0]).__name__ if items else 'nothing'}"
        if isinstance(given, (Sequence, np.ndarray))
        else type(given).__name__,
        fix='pass unlabeled="folder/of/images"; of tensors (C, H, W) arrays: image.permute(1, 2, 0).numpy()',
    )
