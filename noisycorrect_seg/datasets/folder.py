"""One's own data: a folder of images, a folder of masks, a file of class names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.support.checks import checked_path
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets.class_file import NAMES, as_classes
from noisycorrect_seg.datasets.images import IMAGE_SUFFIXES, MASK_SUFFIXES, palette_of, read_mask
from noisycorrect_seg.datasets.layout import (
    SPLITS,
    Listing,
    checked_split,
    divided,
    find,
    find_if_any,
    left_out,
    listed,
    masks_for,
    opposite,
    read_ids,
    select,
    warn_of_left_out,
)
from noisycorrect_seg.datasets.palettes import check_agreement
from noisycorrect_seg.datasets.source import FileSource
from noisycorrect_seg.masks import IGNORE_INDEX

UNLABELED = ("error", "keep", "skip")
VAL_EVERY = 10
LOOKED_AT = 16  # masks, when a Folder is made


class Folder(FileSource):
    """Images and masks of one's own, matched by stem.

    ::

        people/
            images/0001.jpg ...       JPEG, PNG, TIFF, WebP, BMP, GIF, ... (IMAGE_SUFFIXES), also in subfolders
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
    links : bool
        Follow links in these folders that lead out of them; the folders may be links themselves in any case.

    Attributes
    ----------
    left_out : dict of str to int
        How many files are not used, by what they are: masks without an image, images without a mask, files of other
        suffixes, hidden ones. There is a warning of what was not asked for.

    Raises
    ------
    InvalidInputError
        If a folder or the classes file is missing, images lack masks, a link leads out of a folder; or masks hold only
        0 and 255, which would all be ignored, or a palette whose colours contradict its indices (pass ``values={}`` if
        the stored values are meant).
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
        links: bool = False,
    ) -> None:
        checked_split(split, whole=True)
        if unlabeled not in UNLABELED:
            raise unknown_name("way with unlabelled images", unlabeled, UNLABELED)
        if root is None and images is None:
            raise InvalidInputError("root= or images=", got="neither", fix="pass the folder of your data")
        for name, folder in (("root", root), ("images", images), ("masks", masks)):
            if folder is not None:
                checked_path(folder, name)
        home = Path(images).parent if root is None else Path(root)  # type: ignore[arg-type]  # one of the two is there
        image_folder, own = _place(home, images, "images", split)
        keep = unlabeled == "keep"
        mask_folder = None if keep and _missing(home, masks, "masks") else _place(home, masks, "masks", split)[0]
        of_images = listed(image_folder, IMAGE_SUFFIXES, links=links)
        of_masks = Listing({}, Counter(), 0) if mask_folder is None else listed(mask_folder, MASK_SUFFIXES, links=links)
        image_files, mask_files = of_images.files, of_masks.files
        self.left_out = left_out(of_images, of_masks)
        if not image_files:
            raise InvalidInputError(
                f"images ({', '.join(IMAGE_SUFFIXES)}) in {image_folder}",
                got=", ".join(["none", *(f"{count} {what}" for what, count in self.left_out.items())]),
                fix="check the path",
            )
        names = list(image_files)
        if split is not None and not own:
            names = _side(home, image_files, split)
        unused = dict(self.left_out)
        if unlabeled == "skip":
            bare = sum(name not in mask_files for name in names)
            self.left_out |= {"images without a mask": bare} if bare else {}
            names = [name for name in names if name in mask_files]
        found: Sequence[Path | None]
        if keep:
            found = [mask_files.get(name) for name in names]
        else:
            found = masks_for(names, mask_files, mask_folder or image_folder)
        self._table = _value_table(values)
        self._indices = values is not None  # whoever says what stored values mean means the indices of a palette
        named = as_classes(find(home, NAMES, kind="file") if classes is None else classes)
        super().__init__(named, names, [image_files[name] for name in names], found, orientation=orientation)
        if values is None:
            self._check_masks()
        warn_of_left_out(unused, len(self), home)

    def __repr__(self) -> str:
        more = "".join(f"; left out: {count} {what}" for what, count in self.left_out.items())
        return f"Folder({len(self)} images of {len(self.classes)} classes{more})"

    def _decode(self, path: str) -> np.ndarray:
        mask = read_mask(path, indices=self._indices)
        return mask if self._table is None else self._table.take(mask)

    def _check_masks(self) -> None:
        """Raise if some of the masks seem to mean foreground by 255, or number their palettes each for itself."""
        masks = [path for path in self._masks if path is not None]
        picks = np.linspace(0, len(masks) - 1, min(LOOKED_AT, len(masks))).astype(int).tolist()
        seen = [set(np.unique(read_mask(masks[pick])).tolist()) for pick in picks]
        if seen and set().union(*seen) == {0, IGNORE_INDEX}:
            raise InvalidInputError(
                "masks of class numbers, where 255 is ignored",
                got=f"only 0 and 255 in {len(seen)} masks, such as {masks[picks[0]]}",
                fix="pass values={255: 1} if 255 means class 1, or values={} if nothing but 0 is labelled",
            )
        palettes = ((masks[pick], palette_of(masks[pick])) for pick in picks)
        check_agreement((path, colours) for path, colours in palettes if colours)


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

    def list_of(side: str) -> Path | None:
        return find_if_any(root, [f"{side}_id.txt", f"{side}.txt"], kind="file")

    ids = list_of(split)
    if ids is not None:
        try:
            return select(read_ids(ids, whole_lines=True), images, ids=ids)
        except InvalidInputError:  # lines of an image and its mask, as in LIP's lists
            return select(read_ids(ids), images, ids=ids)
    return divided(list(images), split, other=list_of(opposite(split)), every=VAL_EVERY)


def _value_table(values: Mapping[int, int] | None) -> np.ndarray | None:
    if not values:
        return None
    given: Any = values
    pairs = list(given.items()) if isinstance(given, Mapping) else [(given, given)]
    whole = all(isinstance(number, (int, np.integer)) for pair in pairs for number in pair)
    if not whole or not all(0 <= number <= IGNORE_INDEX for pair in pairs for number in pair):
        raise InvalidInputError(
            f"values that map 0..{IGNORE_INDEX} to classes",
            got=repr(dict(values) if isinstance(given, Mapping) else given),
            fix="masks are read as 8-bit numbers: values={255: 1}",
        )
    table = np.arange(256, dtype=np.uint8)
    table[list(values)] = list(values.values())
    return table
