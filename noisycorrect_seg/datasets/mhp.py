"""MHP: several people a picture, a mask file a person."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from noisycorrect.support.errors import InvalidInputError, warn_caller
from noisycorrect_seg.classes import classes_named
from noisycorrect_seg.datasets.images import IMAGE_SUFFIXES, LOSSLESS, MASK_SUFFIXES, check_classes, opened
from noisycorrect_seg.datasets.layout import checked_split, find, find_if_any, listing, nearest_name, read_ids, select
from noisycorrect_seg.datasets.source import FileSource

_OF_PERSON = re.compile(r"(.+)_(\d+)_(\d+)")  # picture, how many people, which of them
_HOMES = ("", "LV-MHP-v2/", "LV-MHP-v1/", "LV-MHP-v2/LV-MHP-v2/", "LV-MHP-v1/LV-MHP-v1/")
_LISTS = {"train": ("list/train.txt", "train_list.txt"), "val": ("list/val.txt", "test_list.txt", "val_list.txt")}


class MHP(FileSource):
    """MHP, "Multi-Human Parsing" (Li et al., 2017; version 2: Zhao et al., ACM MM 2018), with whose each pixel is.

    Both versions as they are released, below `root` or the archive's folder in it (``LV-MHP-v2/``, ``LV-MHP-v1/``):

    - version 2, 25,403 images of 2 to 26 people, 59 classes: ``{split}/images/``, ``{split}/parsing_annos/``, and
      ``list/{split}.txt``;
    - version 1, 4,980 images, 19 classes: ``images/``, ``annotations/``, ``train_list.txt`` and ``test_list.txt``,
      which is val here.

    A person's mask is a file, ``PICTURE_PEOPLE_NUMBER.png``; of colour files the red channel holds the class. Where
    masks overlap, the smaller person lies above, so that nobody is covered whole. Without a list every image is taken.
    There is a warning of pictures with fewer masks, or more, than their names say people: who has none is background.

    Parameters
    ----------
    root : Path or str
        The data set's folder.
    split : str
        ``"train"`` or ``"val"``.

    Raises
    ------
    InvalidInputError
        If a folder, an image or all masks of an image are missing.
    """

    def __init__(self, root: Path | str, split: str = "train") -> None:
        checked_split(split)
        images = find(root, _places(f"{split}/images", "images"), kind="folder")
        second = images.parent.name == split
        home = images.parent.parent if second else images.parent
        masks = find(images.parent, ["parsing_annos" if second else "annotations"], kind="folder")
        files, self._people = listing(images, IMAGE_SUFFIXES), _people(listing(masks, MASK_SUFFIXES), masks)
        ids = find_if_any(home, _LISTS[split], kind="file")
        names = list(files) if ids is None else select(read_ids(ids), files, ids=ids)
        missing = [name for name in names if name not in self._people]
        if missing:
            near = nearest_name(missing[0], self._people)
            raise InvalidInputError(
                f"masks PICTURE_PEOPLE_NUMBER.png for every image in {masks}",
                got=f"none for {missing[0]!r} ({len(missing)} of {len(names)} missing)"
                + (f"; the nearest is of {near!r}" if near else ""),
                fix="restore the masks, or list the images that have some",
            )
        self._warn_of_lost(names, masks)
        classes = classes_named("mhp" if second else "mhp-v1")
        # The first person's file stands for all where sizes are compared.
        super().__init__(classes, names, [files[name] for name in names], [self._people[name][0] for name in names])

    def _warn_of_lost(self, names: Sequence[str], folder: Path) -> None:
        """Warn of pictures whose masks are not as many as their names say people."""
        counts = {name: (len(self._people[name]), {_said(path) for path in self._people[name]}) for name in names}
        odd = {name: (found, said) for name, (found, said) in counts.items() if said != {found}}
        if odd:
            name, (found, said) = next(iter(odd.items()))
            warn_caller(
                f"expected a mask PICTURE_PEOPLE_NUMBER.png for each of the PEOPLE in {folder}; got {len(odd):,} of"
                f" {len(names):,} pictures with other numbers of masks, such as {name!r} with {found} of"
                f" {' or '.join(map(str, sorted(said)))}; people without one are background; to fix: restore the"
                " released masks, or take these pictures out of the list"
            )

    def mask(self, index: int) -> np.ndarray:
        """Return the mask of all people, uint8 (H, W)."""
        return self._painted(index)[0]

    def instances(self, index: int) -> np.ndarray:
        """Return whose each pixel is, int32 (H, W): 1 for the first of its files by their numbers."""
        return self._painted(index)[1]

    def _painted(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        shape = self._placed(index)[0]
        own = [self._read(path, shape) for path in self._people[self._names[index]]]
        mask, instances = np.zeros(shape, np.uint8), np.zeros(shape, np.int32)
        for place in np.argsort([-np.count_nonzero(each) for each in own], kind="stable").tolist():
            pixels = own[place] > 0
            mask[pixels], instances[pixels] = own[place][pixels], place + 1
        return mask, instances

    def _read(self, path: Path, shape: tuple[int, int]) -> np.ndarray:
        with opened(path) as image:
            if image.format not in LOSSLESS:
                raise InvalidInputError(
                    "a mask in a lossless format", got=f"the {image.format} {path}", fix="restore the released file"
                )
            values = np.array(image)
        values = values[:, :, 0] if values.ndim == 3 else values
        if values.shape != shape:
            raise InvalidInputError(
                f"a mask of its image's {shape[0]} x {shape[1]} pixels (height x width)",
                got=f"{values.shape[0]} x {values.shape[1]} in {path}",
                fix="restore the released file",
            )
        return check_classes(values, len(self.classes), path).astype(np.uint8)


def _places(*names: str) -> list[str]:
    return [home + name for name in names for home in _HOMES]


def _people(masks: Mapping[str, Path], folder: Path) -> dict[str, Sequence[Path]]:
    """Return the mask files of each picture, by the people's numbers."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for stem, path in masks.items():
        match = _OF_PERSON.fullmatch(stem)
        if match is None:
            raise InvalidInputError(
                f"masks PICTURE_PEOPLE_NUMBER.png in {folder}", got=path.name, fix="restore the released files"
            )
        found.setdefault(match[1], []).append((int(match[3]), path))
    return {name: [path for _, path in sorted(paths)] for name, paths in found.items()}


def _said(path: Path) -> int:
    """Return how many people a picture shows, as the name of one of its masks says."""
    match = _OF_PERSON.fullmatch(path.stem)
    assert match is not None
    return int(match[2])
