"""CCP, "Clothing Co-Parsing" (Yang, Luo and Lin, CVPR 2014): 1,004 fashion photos with masks of 59 tags."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.io

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.untrusted import check_regular
from noisycorrect_seg.classes import CCP as CLASSES
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets.images import IMAGE_SUFFIXES
from noisycorrect_seg.datasets.layout import (
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
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.masks import IGNORE_INDEX

# Tag numbers 0..58, as in the data set's label_list.mat.
TAG_NAMES = (
    "null accessories bag belt blazer blouse bodysuit boots bra bracelet cape cardigan clogs coat dress earrings flats "
    "glasses gloves hair hat heels hoodie intimate jacket jeans jumper leggings loafers necklace panties pants pumps "
    "purse ring romper sandals scarf shirt shoes shorts skin skirt sneakers socks stockings suit sunglasses sweater "
    "sweatshirt swimwear t-shirt tie tights top vest wallet watch wedges"
)
TAGS = tuple(TAG_NAMES.split())
GROUPING: Mapping[str, tuple[str, ...]] = {
    "background": ("null",),
    "hair": ("hair",),
    "skin": ("skin",),
    "headwear": ("hat",),
    "eyewear": ("glasses", "sunglasses"),
    "upper_clothes": (
        *("blouse", "bra", "hoodie", "intimate", "jumper", "shirt"),
        *("sweater", "sweatshirt", "t-shirt", "tights", "top", "vest"),
    ),
    "outerwear": ("blazer", "cape", "cardigan", "coat", "jacket", "suit"),
    "dress": ("bodysuit", "dress", "romper", "swimwear"),
    "skirt": ("skirt",),
    "pants": ("jeans", "leggings", "pants"),
    "shorts": ("panties", "shorts"),
    "legwear": ("socks", "stockings"),
    "shoes": ("boots", "clogs", "flats", "heels", "loafers", "pumps", "sandals", "shoes", "sneakers", "wedges"),
    "bag": ("bag", "purse", "wallet"),
    "belt": ("belt",),
    "scarf": ("scarf",),
    "accessories": ("accessories", "bracelet", "earrings", "gloves", "necklace", "ring", "tie", "watch"),
}
# Six photos were published twice: one of a pair in val would be known from train.
TWINS = (
    *("0594", "0722", "0183", "0730", "0907", "0990"),
    *("0078", "0984", "0692", "0732", "0197", "0671"),
)
VAL_EVERY = 7
MOST_PIXELS, LARGEST_FILE = 2**27, 2**28  # bytes; what is compressed is read into memory whole


class CCP(FileSource):
    """CCP as it is published, its 59 tags grouped into 17 classes.

    Below `root`: ``photos/*.jpg`` and ``annotations/pixel-level/*.mat`` of the same stem (the variable
    ``groundtruth``, tag numbers); the tags' names from ``label_list.mat``, if it is there. Photos without a mask are
    left out; :attr:`left_out` counts them. ``train_id.txt`` and ``val_id.txt`` say the split; with one of them the
    other split is the rest; without either, every 7th photo in sorted order is val, photos that were published twice
    not counted.

    Parameters
    ----------
    root : Path or str
        The folder.
    split : str or None
        ``"train"``, ``"val"``, or None for all.
    grouping : mapping of str to sequence of str
        Names of tags by the class that they become, background first; every tag in exactly one.

    Raises
    ------
    InvalidInputError
        If a folder is missing, or a photo or mask of an id file, or the grouping forgets or repeats a tag.
    """

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        grouping: Mapping[str, Sequence[str]] = GROUPING,
    ) -> None:
        checked_split(split, whole=True)
        mask_folder = find(root, ["annotations/pixel-level"], kind="folder")
        masks = listing(mask_folder, (".mat",))
        photos = listing(find(root, ["photos"], kind="folder"), IMAGE_SUFFIXES)
        names = [name for name in photos if name in masks]
        #: How many photos have no mask: most of the published ones have none.
        self.left_out = {"photos without a mask": len(photos) - len(names)}
        if not names:
            got = f"{len(photos)} photos and {len(masks)} masks without a common name"
            raise InvalidInputError(f"photos with masks below {root}", got=got, fix="check the data set's root")
        ids = None if split is None else find_if_any(root, [f"{split}_id.txt"], kind="file")
        if ids is not None:
            names = select(read_ids(ids), photos, ids=ids)
        elif split is not None:
            other = find_if_any(root, [f"{opposite(split)}_id.txt"], kind="file")
            names = divided(names, split, other=other, every=VAL_EVERY, never=TWINS)
        labels = find_if_any(root, ["label_list.mat"], kind="file")
        self._table = group_table(TAGS if labels is None else read_tags(labels), grouping)
        self._tags = int((self._table != IGNORE_INDEX).sum())
        classes = CLASSES if grouping is GROUPING else Classes("ccp", tuple(grouping))
        super().__init__(classes, names, [photos[name] for name in names], masks_for(names, masks, mask_folder))

    def _decode(self, path: str) -> np.ndarray:
        tags = _variable(path, "groundtruth")
        up_to = f" up to {tags.max()}" if tags.size and tags.dtype.kind in "iuf" else ""
        if tags.ndim != 2 or not tags.size or tags.dtype.kind not in "iu" or tags.min() < 0 or tags.max() >= self._tags:
            raise InvalidInputError(
                f"tag numbers 0..{self._tags - 1}, (H, W), in {path}",
                got=f"{tags.dtype} {tags.shape}{up_to}",
                fix="restore the file",
            )
        return self._table.take(tags)

    def _mask_shape(self, path: str) -> Size:
        height, width = self._decode(path).shape
        return height, width


def group_table(tags: Sequence[str], grouping: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Return the class of each tag number, uint8 (256,); 255 from the number of tags on.

    Raises
    ------
    InvalidInputError
        If a tag is in no class or in two, or the grouping names one that does not exist.

    Examples
    --------
    >>> group_table(["null", "boots", "heels"], {"background": ["null"], "shoes": ["boots", "heels"]})[:4].tolist()
    [0, 1, 1, 255]
    """
    grouped = [tag for members in grouping.values() for tag in members]
    wrong = [tag for tag in tags if grouped.count(tag) != 1] + [tag for tag in grouped if tag not in tags]
    if wrong:
        raise InvalidInputError(
            "a grouping with every tag of the data set in one class",
            got=f"{wrong[0]!r} in {grouped.count(wrong[0])} classes"
            + ("" if wrong[0] in tags else ", which is no tag"),
            fix=f"the tags are {', '.join(tags)}",
        )
    number = {tag: number for number, members in enumerate(grouping.values()) for tag in members}
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[: len(tags)] = [number[tag] for tag in tags]
    return table


def read_tags(path: Path) -> list[str]:
    """Return the names of the tags in a ``label_list.mat``, in the order of their numbers."""
    cells = _variable(str(path), "label_list", most=IGNORE_INDEX).ravel().tolist()
    return [str(cell[0]) if len(cell) else "" for cell in cells]


def _variable(path: str, name: str, most: int = MOST_PIXELS) -> np.ndarray:
    """Return a variable of a MATLAB file; its header must not declare more entries than `most`."""
    check_regular(path, "a MATLAB file")
    try:
        if Path(path).stat().st_size > LARGEST_FILE:
            raise ValueError(f"{Path(path).stat().st_size:,} bytes")
        declared = {own: shape for own, shape, _ in scipy.io.whosmat(path)}
        if math.prod(declared[name]) > most:
            raise ValueError(f"{name} of shape {declared[name]}")
        return np.asarray(scipy.io.loadmat(path, variable_names=[name])[name])
    # scipy's readers raise nearly anything on damaged files; which one does not matter here.
    except Exception as error:
        raise InvalidInputError(
            f"a MATLAB file (up to version 7) with the variable {name!r}",
            got=f"{path}: {type(error).__name__} {error}",
            fix="the file is damaged: replace or remove it",
        ) from error
