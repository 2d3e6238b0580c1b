"""Layouts of public data sets, as they are released, for Folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.untrusted import check_regular
from noisycorrect_seg.classes import Classes, named_classes
from noisycorrect_seg.datasets.layout import find, find_if_any

# https://github.com/mcordts/cityscapesScripts, labels.py: id -> trainId of the 19 classes that are evaluated.
_TRAIN_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_CITYSCAPES = (
    "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, person, rider,"
    " car, truck, bus, train, motorcycle, bicycle"
)
_VOC = (
    "background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, motorbike,"
    " person, pottedplant, sheep, sofa, train, tvmonitor"
)


@dataclass(frozen=True)
class FolderLayout:
    """Where a public data set has its files, and what its masks hold.

    Attributes
    ----------
    images, masks : str
        Folders below the data set's own; a folder a split lies in them.
    splits : mapping of str to str
        What the folder of each split is called; empty if splits are lists.
    image_suffix, mask_suffix : str
        What stems end with, beside what images and masks have in common.
    lists : str
        Where a split's list lies, ``{split}`` for its name; empty without.
    homes : tuple of str
        Below what is unpacked, where `images` and `masks` may be.
    values : mapping of int to int
        Class of a stored value; 255 is ignored.
    classes : Classes or None
        None: they are read from `class_file`.
    class_file : str
        A table with a column ``Name``, as ADE20K has it.
    """

    images: str
    masks: str
    splits: Mapping[str, str] = field(default_factory=dict)
    image_suffix: str = ""
    mask_suffix: str = ""
    lists: str = ""
    homes: tuple[str, ...] = ("",)
    values: Mapping[int, int] = field(default_factory=dict)
    classes: Classes | None = None
    class_file: str = ""

    def home(self, root: Path) -> Path:
        """Return the folder that holds images and masks, or raise an InvalidInputError."""
        places = [f"{home}{self.images}" for home in self.homes]
        found = find(root, places, kind="folder").relative_to(root).as_posix()
        return root / self.homes[places.index(found)]

    def folder(self, kind: str, split: str | None) -> str:
        """Return the folder of images or masks of a split, below :meth:`home`; of all, if it is None."""
        whole = self.images if kind == "images" else self.masks
        return f"{whole}/{self.splits[split]}" if split is not None and self.splits else whole

    def id_file(self, home: Path, split: str | None) -> Path | None:
        """Return the list of a split, of all images with masks if `split` is None; None without lists."""
        if not self.lists:
            return None
        place = self.lists.format(split="trainval" if split is None else split)
        return find_if_any(home, [place], kind="file") if split is None else find(home, [place], kind="file")

    def own_classes(self, home: Path, name: str) -> Classes:
        """Return the classes, or raise an InvalidInputError if their file is missing."""
        if self.classes is not None:
            return self.classes
        path = find_if_any(home, [self.class_file], kind="file")
        if path is None:
            raise InvalidInputError(
                f"{self.class_file} beside images and masks", got=f"none in {home}", fix=f"restore it, or pass the"
                f" {max(self.values.values(), key=lambda number: number % 255) + 1} names as classes="
            )  # fmt: skip
        check_regular(path, "a table of classes")
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        column = rows[0].index("Name") if rows and "Name" in rows[0] else -1
        names = [row[column].split(",")[0].strip() for row in rows[1:]]
        return named_classes(name, _different(names), [], where=str(path))


def _different(names: list[str]) -> list[str]:
    """Return names, a number behind those that stand a second time (ADE20K has two sorts of ``screen``)."""
    seen, different = Counter[str](), []
    for name in names:
        seen[name] += 1
        different.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return different


LAYOUTS: Mapping[str, FolderLayout] = {
    "cityscapes": FolderLayout(
        "leftImg8bit",
        "gtFine",
        splits={"train": "train", "val": "val"},
        image_suffix="_leftImg8bit",
        mask_suffix="_gtFine_labelIds",
        values={**dict.fromkeys(range(256), 255), **{value: place for place, value in enumerate(_TRAIN_IDS)}},
        classes=named_classes("cityscapes", _CITYSCAPES.split(", "), []),
    ),
    "ade20k": FolderLayout(
        "images",
        "annotations",
        splits={"train": "training", "val": "validation"},
        homes=("", "ADEChallengeData2016/"),
        values={0: 255, **{value: value - 1 for value in range(1, 151)}},
        class_file="objectInfo150.txt",
    ),
    "voc": FolderLayout(
        "JPEGImages",
        "SegmentationClass",
        lists="ImageSets/Segmentation/{split}.txt",
        homes=("", "VOC2012/", "VOCdevkit/VOC2012/", "VOC2007/", "VOCdevkit/VOC2007/"),
        classes=named_classes("voc", _VOC.split(", "), []),
    ),
}


def layout_named(name: str) -> FolderLayout:
    """Return a layout, or raise an InvalidInputError.

    Examples
    --------
    >>> layout_named("voc").folder("masks", "train")
    'SegmentationClass'
    """
    if name not in LAYOUTS:
        raise unknown_name("layout", name, LAYOUTS)
    return LAYOUTS[name]


def check_alone(layout: str, **places: Any) -> None:
    """Raise an InvalidInputError if a caller passes places beside a layout, which says them: they would not be read.

    Examples
    --------
    >>> check_alone("voc", images=None, mask_suffix="")
    """
    given = [f"{name}={value}" for name, value in places.items() if value not in (None, "")]
    if given:
        raise InvalidInputError(
            f"layout={layout!r} alone, which says where images and masks are",
            got=f"{', '.join(given)} beside it",
            fix="for masks of your own leave layout= out, and pass images=, masks=, classes= and values=",
        )


def without_masks(files: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files of a folder, by stem, without those in folders of masks that stand beside their images.

    Examples
    --------
    >>> list(without_masks({"images/a": Path("images/a.jpg"), "masks/a": Path("masks/a.png"), "b": Path("b.jpg")}))
    ['images/a', 'b']
    """
    pairs = {("images", "masks"), *((each.images, each.masks) for each in LAYOUTS.values())}
    parents = {key: set(PurePosixPath(key).parents) for key in files}
    folders = set().union(*parents.values())
    homes = {folder.parent for folder in folders}
    drawn = {home / masks for home in homes for images, masks in pairs if {home / images, home / masks} <= folders}
    return {key: path for key, path in files.items() if drawn.isdisjoint(parents[key])}
