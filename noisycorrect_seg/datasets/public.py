"""The public data sets whose masks are image files: one table of layouts, one reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.datasets.images import MASK_SUFFIXES, read_mask
from noisycorrect_seg.datasets.layout import (
    checked_split,
    divided,
    find,
    find_if_any,
    images_and_masks,
    listing,
    masks_for,
    opposite,
    read_ids,
    select,
)
from noisycorrect_seg.datasets.source import FileSource


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps its files, below its root.

    In paths, ``{split}`` is ``train`` or ``val`` and ``{home}`` the split's folder, if there is one. Of several
    candidates the first that exists counts.

    Parameters
    ----------
    classes : Classes
        The classes of its masks.
    images, masks, ids : tuple of str
        Candidates for the folder of images, the folder of masks, and the split's id file.
    homes : mapping of str to tuple of str
        Candidates for the folder of each split; empty where splits have none.
    unlisted : str
        What a folder without an id file means, unless it is called ``{split}_images``: ``"all"`` of its images,
        ``"divided"`` by the other split's id file or by position, or ``"refused"``.
    every : int
        If divided by position, every n-th image in sorted order is val.
    """

    classes: Classes
    images: tuple[str, ...]
    masks: tuple[str, ...]
    ids: tuple[str, ...]
    homes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unlisted: str = "all"
    every: int = 1


def _below(places: tuple[str, ...], *names: str) -> tuple[str, ...]:
    return tuple(place + name for place in places for name in names)


# The archives hold one folder each, and unpacking one into a folder of its own name doubles it.
_LIP_IMAGES = ("", "TrainVal_images/", "TrainVal_images/TrainVal_images/")
_LIP_MASKS = ("", "TrainVal_parsing_annotations/", "TrainVal_parsing_annotations/TrainVal_parsing_annotations/")
_ATR = ("", "humanparsing/")
_CIHP = ("", "instance-level_human_parsing/", "instance-level_human_parsing/instance-level_human_parsing/")
_PASCAL = ("", "pascal_person_part/")
_VOC = ("JPEGImages", "VOCdevkit/VOC2010/JPEGImages", "VOCdevkit/VOC2012/JPEGImages", "VOC2010/JPEGImages")
_PASCAL_LISTS = ("pascal_person_part_trainval_list/", "ImageSets/SegmentationPersonPart/", "")

PEOPLE = "Human_ids"  # CIHP's folder of instance maps

LAYOUTS: Mapping[str, Layout] = {
    "lip": Layout(
        classes_named("lip"),
        images=_below(_LIP_IMAGES, "{split}_images"),
        masks=_below(_LIP_MASKS, "{split}_segmentations"),
        ids=_below(_LIP_IMAGES + _LIP_MASKS[1:], "{split}_id.txt"),
    ),
    "atr": Layout(
        classes_named("atr"),
        images=_below(_ATR, "{split}_images", "JPEGImages"),
        masks=_below(_ATR, "{split}_segmentations", "SegmentationClassAug"),
        ids=_below(_ATR, "{split}_id.txt", "{split}.txt"),
        unlisted="divided",
        every=25,  # 708 of 17,706; the papers hold out 700, and did not publish which
    ),
    "cihp": Layout(
        classes_named("cihp"),
        images=("{home}/Images",),
        masks=("{home}/Category_ids", "{home}/Categories"),
        ids=("{home}/{split}_id.txt", *_below(_CIHP, "{split}_id.txt")),
        homes={
            "train": _below(_CIHP, "Training", "train", "Train"),
            "val": _below(_CIHP, "Validation", "val", "Val"),
        },
    ),
    "pascal": Layout(
        classes_named("pascal"),
        images=("{split}_images", *_VOC, *_below(_PASCAL[1:], *_VOC)),
        masks=_below(
            _PASCAL, "{split}_segmentations", "pascal_person_part_gt", "SegmentationPart", "SegmentationPersonPart"
        ),
        ids=_below(_below(_PASCAL, *_PASCAL_LISTS), "{split}_id.txt", "{split}.txt"),
        unlisted="refused",
    ),
}


class PublicSource(FileSource):
    """A split of a data set of the table; :class:`LIP`, :class:`ATR`, :class:`CIHP`, :class:`PascalPersonPart`.

    Parameters
    ----------
    root : Path or str
        The data set's folder.
    split : str
        ``"train"`` or ``"val"``.

    Raises
    ------
    InvalidInputError
        If a folder is missing, or an image or a mask, or a list without which there is no split.
    """

    layout: ClassVar[Layout]

    def __init__(self, root: Path | str, split: str = "train") -> None:
        checked_split(split)
        layout, home = self.layout, ""
        if layout.homes:
            home = find(root, layout.homes[split], kind="folder").relative_to(root).as_posix()

        def paths(templates: tuple[str, ...], side: str = split) -> list[str]:
            return [template.format(split=side, home=home) for template in templates]

        image_folder = find(root, paths(layout.images), kind="folder")
        mask_folder = find(root, paths(layout.masks), kind="folder")
        images, masks = images_and_masks(image_folder, mask_folder)
        ids = find_if_any(root, paths(layout.ids), kind="file")
        if ids is not None:
            names = select(read_ids(ids), images, ids=ids)
        elif layout.unlisted == "all" or image_folder.name == f"{split}_images":
            names = list(images)
        elif layout.unlisted == "divided":
            other = find_if_any(root, paths(layout.ids, opposite(split)), kind="file")
            names = divided(list(images), split, other=other, every=layout.every)
        else:
            one, other_one = paths(layout.ids)[:2]
            raise InvalidInputError(
                f"the list of {split} images, {other_one} or {Path(one).name}",
                got=f"none below {root}",
                fix="restore it",
            )
        super().__init__(layout.classes, names, [images[name] for name in names], masks_for(names, masks, mask_folder))


class LIP(PublicSource):
    """LIP, "Look into Person" (Gong et al., CVPR 2017): people cut out of COCO, 30,462 to train on, 20 classes.

    In the layout of the published SCHP code, or as it is released. Below `root`: images in ``{split}_images/``, masks
    of the same stem in ``{split}_segmentations/``, and ``{split}_id.txt``; each also below the released
    ``TrainVal_images/`` and ``TrainVal_parsing_annotations/``. Without an id file every image of the folder is taken.
    Arguments and errors are those of :class:`PublicSource`.
    """

    layout = LAYOUTS["lip"]


class ATR(PublicSource):
    """ATR (Liang et al., ICCV 2015): 17,706 fashion photos of one person each, 18 classes.

    Below `root` or a released ``humanparsing/`` in it: images in ``JPEGImages/``, masks of the same stem in
    ``SegmentationClassAug/``, and ``{split}_id.txt`` or ``{split}.txt``. The release has no id files: without any,
    every 25th image in sorted order is val and the others are train; with one, the other split is the rest. In LIP's
    layout: ``{split}_images/`` and ``{split}_segmentations/``, every image unless there is an id file. Arguments and
    errors are those of :class:`PublicSource`.
    """

    layout = LAYOUTS["atr"]


class CIHP(PublicSource):
    """CIHP (Gong et al., ECCV 2018): several people an image, 28,280 images to train on, 20 classes.

    The classes are LIP's, but class 10 is skin of the torso where LIP has jumpsuits. Whose each pixel is, is read from
    ``Human_ids/``, where it is there. Below `root` or a released ``instance-level_human_parsing/`` in it, in
    ``Training/`` or ``Validation/``: images in ``Images/``, masks of the same stem in ``Category_ids/`` (or
    ``Categories/``, where it holds class numbers and not colours), and ``train_id.txt`` or ``val_id.txt`` there or in
    `root`. Without an id file every image is taken. Arguments and errors are those of :class:`PublicSource`.
    """

    layout = LAYOUTS["cihp"]

    def __init__(self, root: Path | str, split: str = "train") -> None:
        super().__init__(root, split)
        home = find(root, self.layout.homes[split], kind="folder")
        self._home = str(home)
        folder = find_if_any(home, (PEOPLE,), kind="folder")
        self._people = (
            {} if folder is None else {stem: str(path) for stem, path in listing(folder, MASK_SUFFIXES).items()}
        )

    def instances(self, index: int) -> np.ndarray:
        """Return whose each pixel is, int32 (H, W): 0 nobody's.

        Raises
        ------
        InvalidInputError
            If there is no file for the image, or it is of another size.
        """
        name = self.name(index)
        if name not in self._people:
            raise InvalidInputError(
                f"{PEOPLE}/{name}.png in {self._home}", got="none", fix="unpack the data set's human ids there"
            )
        people, shape = read_mask(self._people[name], indices=True), self._placed(index)[0]
        if people.shape != shape:
            raise InvalidInputError(
                f"human ids of their image's {shape[0]} x {shape[1]} pixels (height x width)",
                got=f"{people.shape[0]} x {people.shape[1]} in {self._people[name]}",
                fix="restore the released file",
            )
        return people.astype(np.int32)


class PascalPersonPart(PublicSource):
    """Pascal-Person-Part (Chen et al., CVPR 2014): 3,533 images of Pascal VOC 2010, six body parts.

    As DeepLab's authors released it beside Pascal VOC, or in LIP's layout. Below `root`: images in VOC's
    ``JPEGImages/`` (also below ``VOCdevkit/VOC2010/``); masks of the same stem in ``pascal_person_part_gt/``,
    ``SegmentationPart/`` or ``SegmentationPersonPart/``; and the split's ``train.txt`` or ``val.txt`` in
    ``pascal_person_part_trainval_list/``, or ``{split}_id.txt``; the masks and lists also below
    ``pascal_person_part/``. In LIP's layout: ``{split}_images/`` and ``{split}_segmentations/``, every image unless
    there is an id file. Arguments and errors are those of :class:`PublicSource`.
    """

    layout = LAYOUTS["pascal"]
