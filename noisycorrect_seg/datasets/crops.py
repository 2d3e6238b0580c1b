"""Training crops of a source, with what it takes to bring evidence of the canonical frame into them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset
from torch.utils.data import Subset as TorchSubset

from noisycorrect.labels import SoftLabelStore
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets.joined import Joined, channels_of, mask_suffix_of, positions, unlabeled_source
from noisycorrect_seg.datasets.source import Cached, ParsingSource, Subset, checked_source, image_file
from noisycorrect_seg.datasets.tiles import tile_of
from noisycorrect_seg.geometry.crops import (
    Augmentation,
    compose,
    crop_matrix,
    draw_augmentation,
    image_extent,
    invert,
)
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.geometry.maps import checked_size, winners
from noisycorrect_seg.geometry.refined import evidence_on_mask
from noisycorrect_seg.geometry.warp import warp_image, warp_mask
from noisycorrect_seg.inputs import BGR, Normalisation, normalisation_named, plain_normalisation
from noisycorrect_seg.masks import ignore_index, mask_dtype


@door(own=True)
def normalise(image: np.ndarray) -> Tensor:
    """Return an image as networks take it: float32 (3, H, W), blue first, ``(value / 255 - mean) / std``.

    Parameters
    ----------
    image : ndarray, shape (H, W, 3), uint8
        RGB.

    Raises
    ------
    InvalidInputError
        If it is of another shape or dtype.

    Examples
    --------
    >>> normalise(np.full((1, 1, 3), 255, np.uint8)).ravel()
    tensor([2.6400, 2.4286, 2.2489])
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InvalidInputError(
            "an RGB image (H, W, 3) of uint8", got=f"{image.dtype} of shape {image.shape}", fix="convert it first"
        )
    return BGR.of_image(image)


@door(own=True)
def denormalise(images: Tensor) -> np.ndarray:
    """Return normalised images as pictures: RGB uint8 (..., H, W, 3), the inverse of :func:`normalise`.

    Parameters
    ----------
    images : Tensor, shape (..., 3, H, W)
        Blue first; on any device.

    Examples
    --------
    >>> picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    >>> bool((denormalise(normalise(picture)) == picture).all())
    True
    """
    return np.ascontiguousarray(BGR.back(images).round().clip(0, 255).astype(np.uint8))


class GivenMasks(Sequence[Any]):
    """The given masks of a source, each in its image's own frame, read when they are asked for.

    Parameters
    ----------
    source : ParsingSource
        The source.
    size : (int, int), optional
        Height and width of the crops that the data set makes of it.
    """

    def __init__(self, source: ParsingSource, size: Size | None = None) -> None:
        self.source = source
        self.size = size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> Any:
        """Return the mask at a position, uint8 or uint16 (H, W), or None; a list of them for a slice."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = int(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"index {number} of {len(self)} masks")
        return self.source.mask(number % len(self))

    def __iter__(self) -> Iterator[np.ndarray | None]:
        return (self.source.mask(index) for index in range(len(self)))


class ParsingDataset(Dataset[dict[str, Tensor]]):
    """Crops of a source for training and prediction.

    An item is a dict:

    - ``image``: float32 (C, H, W), normalised; black (0) before normalising where there is no image;
    - ``given``: uint8 (H, W), the given mask in the crop, left and right exchanged in a mirrored one; 255 where there
      is no image, and everywhere if the sample has no mask. Of more than 255 classes int32, and 65535;
    - ``matrix``: float32 (2, 3), affine, from the crop's pixels (x, y) to those of the canonical crop, the mirror
      included;
    - ``mirror``: bool ();
    - ``extent``: float32 (4,), left, top, right and bottom edge of the image in the canonical crop: where a sample
      without a mask can be learnt from its evidence.

    The canonical crop is the one without augmentation: the whole image, letterboxed. The image is interpolated
    bilinearly, the mask to the nearest pixel, both as in OpenCV 4, on which the published networks were trained.

    Parameters
    ----------
    source : ParsingSource
        Images and masks.
    size : (int, int)
        Height H and width W of the crops. The paper: (473, 473) for LIP.
    augment : bool
        Draw each crop's scale, angle and mirror from torch's global generator, which a loader seeds.
    scale_factor, rotation_factor, rotation_prob, mirror_prob : float
        How strongly; see :func:`noisycorrect_seg.geometry.crops.draw_augmentation`. The defaults are the published
        ones.
    normalisation : {"bgr", "rgb"} or Normalisation
        How values become the network's input, and how many channels there are; the names are ImageNet's constants for
        RGB images, the first for networks that take blue first, as A-CE2P. For others:
        :class:`~noisycorrect_seg.Normalisation`.
    cache : bool
        Keep the decoded images and masks in memory: :class:`noisycorrect_seg.datasets.Cached`.

    Attributes
    ----------
    given : GivenMasks
        The given masks in the images' own frame, read when they are asked for: what a label store keeps.

    Raises
    ------
    InvalidInputError
        If the source is empty, the size below 2 x 2, or a strength out of range; and when an item is read, if a mask is
        not of its image's size.
    """

    def __init__(
        self,
        source: ParsingSource,
        size: Size = (473, 473),
        *,
        augment: bool = False,
        scale_factor: float = 0.25,
        rotation_factor: float = 30.0,
        rotation_prob: float = 0.6,
        mirror_prob: float = 0.5,
        normalisation: str | Normalisation = "bgr",
        cache: bool = False,
    ) -> None:
        _check(source, size, scale_factor, rotation_factor, rotation_prob, mirror_prob)
        self.source = Cached(source) if cache and not isinstance(source, Cached) else source
        self.size = (int(size[0]), int(size[1]))
        self.augment = augment
        self.strengths = {
            "scale_factor": scale_factor,
            "rotation_factor": rotation_factor,
            "rotation_prob": rotation_prob,
            "mirror_prob": mirror_prob,
        }
        self.normalisation = normalisation_named(normalisation)
        self.given = GivenMasks(self.source, self.size)

    @classmethod
    def of(cls, data: Any) -> ParsingDataset:
        """Return torch's ``Subset`` or ``ConcatDataset`` of such data sets as one, with all that one can do.

        Parameters
        ----------
        data : ParsingDataset, Subset, or ConcatDataset
            Also a part of :func:`~torch.utils.data.random_split`, and wrappers of wrappers. Data sets that are joined
            have the same crops: size, augmentation, normalisation.

        Raises
        ------
        InvalidInputError
            If it is something else, or joined data sets differ in their crops or classes.

        Examples
        --------
        >>> from torch.utils.data import random_split
        >>> from noisycorrect_seg.datasets import SyntheticPeople
        >>> data = ParsingDataset(SyntheticPeople(5, size=(32, 32)), (32, 32))
        >>> part = ParsingDataset.of(random_split(data, [3, 2])[0])
        >>> len(part), len(part.with_unlabeled([np.zeros((40, 30, 3), np.uint8)]))
        (3, 4)
        """
        if type(data) is TorchSubset:
            inner = cls.of(data.dataset)
            return inner._of(Subset(inner.source, positions(data, len(inner))))
        if type(data) is ConcatDataset:
            parts = [cls.of(part) for part in data.datasets]
            differing = next((part for part in parts if part._crops != parts[0]._crops), None)
            if differing is not None:
                raise InvalidInputError(
                    f"data sets of the same crops, {parts[0]._crops}",
                    got=f"{differing._crops}",
                    fix="join the sources: ParsingDataset(Joined([first, second]), size), Joined of"
                    " noisycorrect_seg.datasets",
                )
            return parts[0]._of(Joined([part.source for part in parts]))
        if isinstance(data, ParsingDataset):
            return data
        raise InvalidInputError(
            "a ParsingDataset, or torch's Subset or ConcatDataset of some",
            got=type(data).__name__,
            fix="pass the data set that was trained on",
        )

    @property
    def _crops(self) -> tuple[Any, ...]:
        return self.size, self.augment, *self.strengths.values(), self.normalisation

    @property
    def classes(self) -> Classes:
        """The source's classes."""
        return self.source.classes

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.source.classes)

    def canonical(self) -> ParsingDataset:
        """Return the same samples without augmentation, from the same source."""
        same = copy.copy(self)
        same.augment = False
        return same

    def with_unlabeled(self, unlabeled: Any) -> ParsingDataset:
        """Return the same samples followed by others without masks, under the same augmentation.

        Parameters
        ----------
        unlabeled : path-like, ParsingSource, ParsingDataset, or sequence
            See :func:`noisycorrect_seg.datasets.unlabeled_source`: a folder of images, image files, arrays, a source
            whose masks do not count, or torch's ``Subset`` or ``ConcatDataset`` of these.

        Examples
        --------
        >>> from noisycorrect_seg.datasets import SyntheticPeople
        >>> data = ParsingDataset(SyntheticPeople(2, size=(32, 32)), (32, 32))
        >>> more = data.with_unlabeled([np.zeros((40, 30, 3), np.uint8)])
        >>> len(more), more.given[2] is None
        (3, True)
        """
        options = {"channels": channels_of(self.source), "mask_suffix": mask_suffix_of(self.source)}
        others = unlabeled_source(unlabeled, self.classes, **options)
        return self._of(Joined([self.source, others]))

    def mask_of(self, labels: SoftLabelStore, index: int) -> np.ndarray:
        """Return a sample's mask as it is in the end, at its image's size, also of a sample without a given one.

        Parameters
        ----------
        labels : SoftLabelStore
            The labels of a run on these samples: ``result.labels``.
        index : int
            Position of the sample.

        Returns
        -------
        ndarray, shape (H, W), uint8 or uint16
            What its evidence says of a sample without a mask, which a store keeps in the canonical frame; all ignored
            before there is evidence.

        Raises
        ------
        InvalidInputError
            If the labels are those of other samples.
        """
        if len(labels) != len(self):
            fix = (
                "of a run with unlabeled=, ask the data set that with_unlabeled returns; of a run on torch's Subset or"
                " ConcatDataset, ParsingDataset.of it"
            )
            raise InvalidInputError(f"labels of {len(self)} samples", got=str(len(labels)), fix=fix)
        if self.source.mask(index) is not None:
            corrected: np.ndarray = labels.labels(index)[0]
            return corrected
        shape, maps = self.source.image(index).shape[:2], labels.refined(index)[0]
        if not maps.numel():
            return np.full(shape, ignore_index(self.num_classes), mask_dtype(self.num_classes))
        found = winners(evidence_on_mask(maps, shape, self.size)[None])[0].numpy()
        return found.astype(mask_dtype(self.num_classes))

    @property
    def input_record(self) -> dict[str, Any]:
        """What a network trained on these crops is shown, as plain JSON values; a run keeps it with its names."""
        tile = tile_of(self.source)
        tiles = {} if tile is None else {"tile": list(tile)}
        return {"size": list(self.size), "normalisation": plain_normalisation(self.normalisation), **tiles}

    def _of(self, source: ParsingSource) -> ParsingDataset:
        same = copy.copy(self)
        same.source = source
        same.given = GivenMasks(source, self.size)
        return same

    @property
    def sample_names(self) -> list[str]:
        """What the source calls its samples: stems of files."""
        return [self.source.name(index) for index in range(len(self.source))]

    @property
    def image_files(self) -> list[str] | None:
        """Names of the source's image files, if it reads files."""
        found = [image_file(self.source, index) for index in range(len(self.source))]
        return None if None in found else [str(name) for name in found]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        drawn = draw_augmentation(**self.strengths) if self.augment else Augmentation()
        return self.item(index, drawn)

    def item(self, index: int, augmentation: Augmentation) -> dict[str, Tensor]:
        """Return the item of a sample under a given augmentation."""
        image, mask = self.source.image(index), self.source.mask(index)
        image = self.normalisation.check(image, self.source.name(index))
        shape = image.shape[0], image.shape[1]
        if mask is not None and mask.shape != shape:
            raise InvalidInputError(
                f"a mask of its image's {shape[0]} x {shape[1]} pixels (height x width)",
                got=f"{mask.shape} for {self.source.name(index)}",
                fix="correct the source",
            )
        scale, angle, mirror = augmentation
        # The picture is mirrored first and then warped, as published: the other way round, ties would fall otherwise.
        matrix = crop_matrix(shape, self.size, scale=scale, angle=angle)
        if mirror:
            image, mask = image[:, ::-1], None if mask is None else mask[:, ::-1]
        crop = warp_image(image, matrix, self.size)
        nothing = ignore_index(self.num_classes)
        if mask is None:
            given = np.full(self.size, nothing, mask_dtype(self.num_classes))
        else:
            # A source may keep masks of many classes as bytes, which have no number for what lies outside.
            wide = np.promote_types(mask.dtype, mask_dtype(self.num_classes))
            given = warp_mask(mask.astype(wide, copy=False), matrix, self.size, border=nothing)
        if mirror and self.classes.flip_pairs:
            given = self.classes.swap(given)
        to_image = invert(crop_matrix(shape, self.size, scale=scale, angle=angle, mirror=mirror))
        canonical = crop_matrix(shape, self.size)
        return {
            "image": self.normalisation.of_image(crop),
            # torch has few operations on uint16.
            "given": torch.from_numpy(given if given.dtype == np.uint8 else given.astype(np.int32)),
            "matrix": torch.from_numpy(compose(canonical, to_image).astype(np.float32)),
            "mirror": torch.tensor(mirror),
            "extent": torch.from_numpy(image_extent(canonical, shape).astype(np.float32)),
        }


def _check(
    source: ParsingSource,
    size: Size,
    scale_factor: float,
    rotation_factor: float,
    rotation_prob: float,
    mirror_prob: float,
) -> None:
    if not len(checked_source(source)):
        raise InvalidInputError("a source with at least one sample", got="an empty one", fix="check its path")
    checked_size(size)
    if not (0 <= scale_factor < 1 and rotation_factor >= 0 and 0 <= rotation_prob <= 1 and 0 <= mirror_prob <= 1):
        raise InvalidInputError(
            "a scale factor in [0, 1), a rotation factor of at least 0 and probabilities in [0, 1]",
            got=f"{scale_factor}, {rotation_factor}, {rotation_prob} and {mirror_prob}",
            fix="the published ones are 0.25, 30, 0.6 and 0.5",
        )
