"""One's own data: a folder of images, a folder of masks, a file of class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets.class_file import NAMES, as_classes
from noisycorrect_seg.datasets.images import IMAGE_SUFFIXES, MASK_SUFFIXES, read_mask
from noisycorrect_seg.datasets.layout import (
    SPLITS,
    checked_split,
    divided,
    find,
    find_if_any,
    listing,
    masks_for,
    opposite,
    read_ids,
    select,
)
from noisycorrect_seg.datasets.source import FileSource
from noisycorrect_seg.masks import IGNORE_INDEX

UNLABELED = ("error", "keep", "skip")
VAL_EVERY = 10
LOOKED_AT = 16  # masks, when a Folder is made


class Folder(FileSource):
    """Images and masks of one's own, matched by stem.

    ::

        people/
            images/0001.jpg ...       any of .jpg .jpeg .png .bmp .webp .tif .tiff, also in subfolders
            masks/0001.png ...        class numbers, palette or grey; 255 is ignored
            classes.txt               one name a line; see noisycorrect_seg.datasets.read_classes
            train.txt, val.txt        optional: the stems of each split, one a line (or train_id.txt, val_id.txt)

    A split may also be a folder: ``images/train/`` and ``masks/train/``, or ``train/images/`` and ``train/masks/``.
    With a list of one split the other is the rest. With neither lists nor folders, every tenth image in sorted order
    is val.

    Parameters
    ----------
    root : Path or str, optional
        The folder. May be left out if `images`, `masks` and `classes` are given.
    images, masks : Path or str, optional
        The folders of images and masks, if they are elsewhere than in `root`.
    classes : Path, str, Classes or sequence of str, optional
        A classes file, the name of a known list such as ``"lip"``, or names. Left out: ``classes.txt`` or
        ``classes.json`` in `root`.
    split : str, optional
        ``"train"`` or ``"val"``; left out: all images.
    unlabeled : str
        What to do with images without a mask: ``"error"``, ``"skip"`` them, or ``"keep"`` them without a given label.
    values : mapping of int to int, optional
        Class of a stored value, where they differ: ``{255: 1}`` for masks of 0 and 255. Other values stay.
    orientation : str
        See :class:`noisycorrect_seg.datasets.FileSource`.

    Raises
    ------
    InvalidInputError
        If a folder or the classes file is missing, images lack masks, or masks hold only 0 and 255, which would all
        be ignored (pass ``values={}`` if that is meant).
    """

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        images: Path | str | None = None,
        masks: Path | str | None = None,
        classes: Path | str | Classes | Sequence[str] | None = None,
        split: str | None = None,
        unlabeled: str = "error",
        values: Mapping[int, int] | None = None,
        orientation: str = "auto",
    ) -> None:
        checked_split(split, whole=True)
        if unlabeled not in UNLABELED:
            raise unknown_name("way with unlabelled images", unlabeled, UNLABELED)
        if root is None and images is None:
            raise InvalidInputError("root= or images=", got="neither", fix="pass the folder of your data")
        home = Path(images).parent if root is None else Path(root)  # type: ignore[arg-type]  # one of the two is there
        image_folder, own = _place(home, images, "images", split)
        keep = unlabeled == "keep"
        mask_folder = None if keep and _missing(home, masks, "masks") else _place(home, masks, "masks", split)[0]
        image_files = listing(image_folder, IMAGE_SUFFIXES)
        mask_files = {} if mask_folder is None else listing(mask_folder, MASK_SUFFIXES)
        if not image_files:
            raise InvalidInputError(
                f"images ({', '.join(IMAGE_SUFFIXES)}) in {image_folder}", got="none", fix="check the path"
            )
        names = list(image_files)
        if split is not None and not own:
            names = _side(home, image_files, split)
        if unlabeled == "skip":
            names = [name for name in names if name in mask_files]
        found: Sequence[Path | None]
        if keep:
            found = [mask_files.get(name) for name in names]
        else:
            found = masks_for(names, mask_files, mask_folder or image_folder)
        self._table = _value_table(values)
        listed = as_classes(find(home, NAMES, kind="file") if classes is None else classes)
        super().__init__(listed, names, [image_files[name] for name in names], found, orientation=orientation)
        if values is None:
            self._check_ignored()

    def _decode(self, path: str) -> np.ndarray:
        mask = read_mask(path)
        return mask if self._table is None else self._table.take(mask)

    def _check_ignored(self) -> None:
        """Raise if the masks seem to mean foreground by 255."""
        masks = [path for path in self._masks if path is not None]
        picks = np.linspace(0, len(masks) - 1, min(LOOKED_AT, len(masks))).astype(int).tolist()
        seen = [set(np.unique(read_mask(masks[pick])).tolist()) for pick in picks]
        if seen and set().union(*seen) == {0, IGNORE_INDEX}:
            raise InvalidInputError(
                "masks of class numbers, where 255 is ignored",
                got=f"only 0 and 255 in {len(seen)} masks, such as {masks[picks[0]]}",
                fix="pass values={255: 1} if 255 means class 1, or values={} if nothing but 0 is labelled",
            )


def _place(home: Path, given: Path | str | None, kind: str, split: str | None) -> tuple[Path, bool]:
    """Return the folder of images or masks, and whether it holds only the split's."""
    whole = home / kind if given is None else Path(given)

    def folder_of(side: str) -> Path | None:
        candidates = [whole / side] if given is not None else [whole / side, home / side / kind]
        return next((folder for folder in candidates if folder.is_dir()), None)

    if split is not None:
        own = folder_of(split)
        if own is not None:
            return own, True
        other = folder_of(opposite(split))
        if other is not None:
            raise InvalidInputError(
                f"a folder of {split} {kind}", got=f"only {other}", fix="add it, or leave split out"
            )
    if not whole.is_dir():
        raise InvalidInputError(f"a folder of {kind}", got=f"no folder {whole}", fix=f"pass root= or {kind}=")
    return whole, False


def _missing(home: Path, given: Path | str | None, kind: str) -> bool:
    """Return whether there is no folder of that kind at all."""
    if given is not None:
        return False
    return not any((home / place).is_dir() for place in (kind, *(f"{side}/{kind}" for side in SPLITS)))


def _side(root: Path, images: Mapping[str, Path], split: str) -> list[str]:
    """Return the split's names: from its list, from the other one's, or by position."""

    def listed(side: str) -> Path | None:
        return find_if_any(root, [f"{side}_id.txt", f"{side}.txt"], kind="file")

    ids = listed(split)
    if ids is not None:
        try:
            return select(read_ids(ids, whole_lines=True), images, ids=ids)
        except InvalidInputError:  # lines of an image and its mask, as in LIP's lists
            return select(read_ids(ids), images, ids=ids)
    return divided(list(images), split, other=listed(opposite(split)), every=VAL_EVERY)


def _value_table(values: Mapping[int, int] | None) -> np.ndarray | None:
    if not values:
        return None
    if not all(0 <= number <= IGNORE_INDEX for pair in values.items() for number in pair):
        raise InvalidInputError(
            f"values that map 0..{IGNORE_INDEX} to classes",
            got=str(dict(values)),
            fix="masks are read as 8-bit numbers",
        )
    table = np.arange(256, dtype=np.uint8)
    table[list(values)] = list(values.values())
    return table
