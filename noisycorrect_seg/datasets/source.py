"""What a data set of people is made from: a source of images, masks and class names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets.images import check_classes, image_shape, read_channels, read_mask
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.masks import IGNORE_INDEX, mask_dtype

ORIENTATIONS = ("auto", "stored", "upright")
CHANNELS = ("rgb", "grey", "stored")
MASK_SIZES = ("image", "scaled")


@runtime_checkable
class ParsingSource(Protocol):
    """Images with masks of classes, by position. Anything with these five members is one."""

    @property
    def classes(self) -> Classes:
        """The classes that the masks' values number."""
        ...

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def image(self, index: int, /) -> np.ndarray:
        """Return an image, RGB uint8 (H, W, 3), or (H, W, C) of any number of channels; the caller's own copy."""
        ...

    def mask(self, index: int, /) -> np.ndarray | None:
        """Return its given mask, uint8 (H, W), 0..K-1 or 255 to ignore; None where there is none. The caller's own.

        Of more than 255 classes it is uint16, and 65535 is ignored.
        """
        ...

    def name(self, index: int, /) -> str:
        """Return what the sample is called, in messages and in file names."""
        ...


@runtime_checkable
class InstanceSource(ParsingSource, Protocol):
    """A source that says whose each pixel is, too."""

    def instances(self, index: int, /) -> np.ndarray:
        """Return whose each pixel is, int32 (H, W): 0 nobody's, other numbers a person's; the caller's own copy."""
        ...


class HasNoItems:
    """What is no data set for training says so, when it is taken for one: also inside torch's ``Subset``."""

    def __getitem__(self, index: Any) -> Any:
        """Raise an InvalidInputError that says how a data set is made."""
        raise InvalidInputError(
            "a data set of crops",
            got=f"{type(self).__name__}, a source: it has images, not items",
            fix="pass ParsingDataset(source, size); torch's Subset and ConcatDataset are made of that",
        )


def instances_of(source: ParsingSource, index: int) -> np.ndarray:
    """Return whose each pixel of a sample is, int32 (H, W).

    Raises
    ------
    InvalidInputError
        If the source does not know.
    """
    read = getattr(source, "instances", None)
    if read is None:
        raise InvalidInputError(
            "a source that says whose each pixel is, by instances(i)",
            got=type(source).__name__,
            fix="pass CIHP, MHP or SyntheticScenes, or add the method: int (H, W), 0 where it is nobody's",
        )
    found: np.ndarray = read(index)
    return found


class FileSource(HasNoItems):
    """Images and masks in files, decoded when they are asked for; the readers of this folder are made from it.

    A file is checked when it is read: damaged or cut-off files, masks of another size than their image and values out
    of range raise an :class:`InvalidInputError` that names the file.

    Parameters
    ----------
    classes : Classes
        The classes.
    names : sequence of str
        One a sample.
    images : sequence of Path
        An image file a sample.
    masks : sequence of Path or None
        A mask file a sample; None for a sample without.
    orientation : str
        What to do with an image whose EXIF tag says it is stored on its side. ``"stored"``: take the pixels as they
        are stored. ``"upright"``: turn them. ``"auto"``: whichever has the mask's size, upright where there is no mask;
        where both have it, an error. Pillow turns TIFFs as it decodes them: they are always upright.
    channels : {"rgb", "grey", "stored"}
        What images are read as: RGB of uint8, one channel of uint8, or all that the files hold, (H, W, C) of their own
        dtype. See :func:`noisycorrect_seg.datasets.images.read_channels`.
    mask_size : {"image", "scaled"}
        Masks have their images' size, or one of the same shape, such as half of it: then they are brought to the
        images' size, each pixel from the nearest.

    Raises
    ------
    InvalidInputError
        If there is no sample, or an option is unknown.
    """

    _largest = 0  # stored value that stands for a class, where values are mapped

    def __init__(
        self,
        classes: Classes,
        names: Sequence[str],
        images: Sequence[Path],
        masks: Sequence[Path | None],
        *,
        orientation: str = "auto",
        channels: str = "rgb",
        mask_size: str = "image",
    ) -> None:
        if orientation not in ORIENTATIONS:
            raise unknown_name("orientation", orientation, ORIENTATIONS)
        if channels not in CHANNELS:
            raise unknown_name("way to read channels", channels, CHANNELS)
        if mask_size not in MASK_SIZES:
            raise unknown_name("size of masks", mask_size, MASK_SIZES)
        if not names:
            raise InvalidInputError("at least one sample", got="none", fix="check the folder and the split")
        assert len(names) == len(images) == len(masks)
        self.classes = classes
        self.orientation = orientation
        self.channels = channels
        self.mask_size = mask_size
        self._names = list(names)
        self._images = [str(path) for path in images]
        self._masks = [None if path is None else str(path) for path in masks]
        self._places: dict[int, tuple[Size, bool]] = {}  # what _placed found: a header is read once

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """Return the sample's name: its file's, without suffix."""
        return self._names[index]

    def image_file(self, index: int) -> str:
        """Return the sample's name with the suffix of its image file."""
        return f"{self._names[index]}{Path(self._images[index]).suffix}"

    @property
    def image_paths(self) -> list[Path]:
        """Where the images lie, absolute, one a sample."""
        return [Path(path).absolute() for path in self._images]

    def image(self, index: int) -> np.ndarray:
        """Return the image, RGB uint8 (H, W, 3), or as :attr:`channels` says."""
        return read_channels(self._images[index], self.channels, upright=self._placed(index)[1])

    def mask(self, index: int) -> np.ndarray | None:
        """Return the given mask, uint8 or uint16 (H, W), or None."""
        path = self._masks[index]
        if path is None:
            return None
        mask = check_classes(self._decode(path), len(self.classes), path, largest=self._largest)
        mask = mask.astype(self._dtype, copy=False)
        shape, drawn = self._placed(index)[0], (mask.shape[0], mask.shape[1])
        if drawn == shape:
            return mask
        if self._fits(drawn, shape):
            rows, columns = (_nearest(few, many) for few, many in zip(drawn, shape, strict=True))
            scaled: np.ndarray = mask[np.ix_(rows, columns)]
            return scaled
        alike = same_aspect(drawn, shape)
        raise InvalidInputError(
            f"a mask of its image's {shape[0]} x {shape[1]} pixels (height x width)",
            got=f"{drawn[0]} x {drawn[1]} in {path}",
            fix=f"the image is {self._images[index]}: export the mask at its size"
            + (', or pass mask_size="scaled" if it shows the same at another size' if alike else ""),
        )

    def image_size(self, index: int) -> Size:
        """Return height and width of the image, from its header."""
        return self._placed(index)[0]

    def _decode(self, path: str) -> np.ndarray:
        """Return the class numbers of a mask file, uint8 or uint16 (H, W)."""
        return read_mask(path, wide=len(self.classes) > IGNORE_INDEX)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return mask_dtype(len(self.classes))

    def _fits(self, drawn: Size, shape: Size) -> bool:
        """Return whether a mask of a size can be that of an image."""
        return drawn == shape or (self.mask_size == "scaled" and same_aspect(drawn, shape))

    def _mask_shape(self, path: str) -> Size:
        return image_shape(path)[0]

    def _placed(self, index: int) -> tuple[Size, bool]:
        """Return the shape of an image as this source gives it, and whether its EXIF orientation is applied."""
        if index not in self._places:
            self._places[index] = self._place(index)
        return self._places[index]

    def _place(self, index: int) -> tuple[Size, bool]:
        shape, orientation = image_shape(self._images[index], stored=self.channels == "stored")
        if orientation == 1 or self.orientation == "stored":
            return shape, False
        turned = shape[::-1] if orientation >= 5 else shape
        mask = self._masks[index]
        if self.orientation == "upright" or mask is None:
            return turned, True
        drawn = self._mask_shape(mask)
        if turned == shape and self._fits(drawn, shape):
            raise InvalidInputError(
                "an upright image",
                got=f"EXIF orientation {orientation} in {self._images[index]}, and a mask that fits it either way",
                fix="turn the pixels and drop the tag; or say orientation='stored' or 'upright', as the masks are",
            )
        return (turned, True) if self._fits(drawn, turned) else (shape, False)


def same_aspect(drawn: Size, shape: Size) -> bool:
    """Return whether a mask shows the whole of an image at another size: one zoom, to the nearest pixel.

    Examples
    --------
    >>> same_aspect((240, 320), (480, 640)), same_aspect((240, 320), (480, 600))
    (True, False)
    """
    return abs(shape[0] * drawn[1] / shape[1] - drawn[0]) < 1 or abs(shape[1] * drawn[0] / shape[0] - drawn[1]) < 1


def _nearest(few: int, many: int) -> np.ndarray:
    """Return the pixel of `few` along an axis under the centre of each of `many`, int64 (many,)."""
    return ((2 * np.arange(many) + 1) * few) // (2 * many)


def image_file(source: ParsingSource, index: int) -> str | None:
    """Return the name of a sample's image file; None if the source reads no files."""
    named = getattr(source, "image_file", None)
    return None if named is None else named(index)


def checked_source(source: Any) -> ParsingSource:
    """Return a source, or raise an InvalidInputError that says what one is."""
    if isinstance(source, ParsingSource):
        return source
    raise InvalidInputError(
        "a source with image(i), mask(i), name(i), classes and a length",
        got=type(source).__name__,
        fix="see noisycorrect_seg.datasets.ParsingSource; of images and masks in memory pass Pictures",
    )


class SourceView(HasNoItems):
    """A source that passes on what another one has; the base of those that change a part of it.

    Parameters
    ----------
    source : ParsingSource
        Kept as ``.source``.

    Attributes
    ----------
    classes : Classes
        The source's, unless a subclass sets its own.

    Examples
    --------
    >>> from noisycorrect_seg.datasets import SyntheticPeople
    >>> class Unlabeled(SourceView):
    ...     def mask(self, index): return None
    >>> people = Unlabeled(SyntheticPeople(3, size=(32, 32)))
    >>> len(people), people.name(2), people.mask(2)
    (3, 'train_000002', None)
    """

    def __init__(self, source: ParsingSource) -> None:
        self.source = checked_source(source)
        self.classes = source.classes

    def __len__(self) -> int:
        return len(self.source)

    def image(self, index: int) -> np.ndarray:
        """Return an image, RGB uint8 (H, W, 3)."""
        return self.source.image(index)

    def mask(self, index: int) -> np.ndarray | None:
        """Return its given mask, uint8 (H, W), or None."""
        return self.source.mask(index)

    def name(self, index: int) -> str:
        """Return its name."""
        return self.source.name(index)

    def instances(self, index: int) -> np.ndarray:
        """Return whose each pixel is, int32 (H, W), if the source knows."""
        return instances_of(self.source, index)

    def image_file(self, index: int) -> str | None:
        """Return the name of its image file; None if there is none."""
        return image_file(self.source, index)


class Subset(SourceView):
    """Some samples of a source, in a given order.

    Parameters
    ----------
    source : ParsingSource
        Kept as ``.source``.
    indices : sequence of int
        Positions in it, kept as ``.indices``; a position may stand more than once.

    Raises
    ------
    InvalidInputError
        If there are none, or one is out of range.
    """

    def __init__(self, source: ParsingSource, indices: Sequence[int]) -> None:
        super().__init__(source)
        self.indices = [int(index) for index in indices]
        if not self.indices or not 0 <= min(self.indices) <= max(self.indices) < len(source):
            raise InvalidInputError(
                f"at least one position in 0..{len(source) - 1}",
                got=f"{len(self.indices)} of them, up to {max(self.indices, default=None)}",
                fix="count positions from 0",
            )

    def __len__(self) -> int:
        return len(self.indices)

    def image(self, index: int) -> np.ndarray:
        """Return an image, RGB uint8 (H, W, 3)."""
        return self.source.image(self.indices[index])

    def mask(self, index: int) -> np.ndarray | None:
        """Return its given mask, uint8 (H, W), or None."""
        return self.source.mask(self.indices[index])

    def name(self, index: int) -> str:
        """Return its name."""
        return self.source.name(self.indices[index])

    def instances(self, index: int) -> np.ndarray:
        """Return whose each pixel is, int32 (H, W), if the source knows."""
        return instances_of(self.source, self.indices[index])

    def image_file(self, index: int) -> str | None:
        """Return the name of its image file; None if there is none."""
        return image_file(self.source, self.indices[index])


class Cached(SourceView):
    """A source whose decoded images and masks stay in memory, uint8, once they were read.

    A worker process keeps its own copy of what it reads; :meth:`load` before the workers start shares one among them
    (where processes are forked).

    Parameters
    ----------
    source : ParsingSource
        Read at most once a sample and process.
    """

    def __init__(self, source: ParsingSource) -> None:
        super().__init__(source)
        self._kept: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}

    def image(self, index: int) -> np.ndarray:
        """Return an image, RGB uint8 (H, W, 3)."""
        return self._pair(index)[0].copy()

    def mask(self, index: int) -> np.ndarray | None:
        """Return its given mask, uint8 (H, W), or None."""
        mask = self._pair(index)[1]
        return None if mask is None else mask.copy()

    def load(self) -> Cached:
        """Read everything now; return self."""
        for index in range(len(self)):
            self._pair(index)
        return self

    def _pair(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        if index not in self._kept:
            self._kept[index] = self.source.image(index), self.source.mask(index)
        return self._kept[index]
