"""One's own data: a folder of images, a folder of masks, a file of class names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisycorrect.support.checks import checked_path
from noisycorrect.support.errors import InvalidInputError, unknown_name, warn_caller
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets.class_file import NAMES, as_classes
from noisycorrect_seg.datasets.colours import ColourTable, is_colour_file, read_colour_file
from noisycorrect_seg.datasets.images import IMAGE_SUFFIXES, MASK_SUFFIXES, palette_of, read_colours, read_mask
from noisycorrect_seg.datasets.layout import (
    SPLITS,
    Ends,
    Listing,
    checked_split,
    divided,
    find_if_any,
    left_out,
    listed,
    masks_for,
    opposite,
    read_ids,
    select,
    warn_of_left_out,
)
from noisycorrect_seg.datasets.layouts import FolderLayout, check_alone, layout_named
from noisycorrect_seg.datasets.palettes import check_agreement
from noisycorrect_seg.datasets.source import FileSource
from noisycorrect_seg.masks import IGNORE_INDEX, WIDE_IGNORE_INDEX

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

    Of more than 255 classes masks are grey files of 16 bits, and 65535 is ignored.

    Parameters
    ----------
    root : Path or str, optional
        The folder. May be left out if `images`, `masks` and `classes` are given.
    images, masks : Path or str, optional
        The folders of images and masks, if they are elsewhere than in `root`; one folder may hold both, if their names
        tell them apart.
    classes : Path, str, Classes or sequence of str
        A classes file, the name of a known list such as ``"lip"``, or names. Left out: ``classes.txt`` or
        ``classes.json`` in `root`, or the names in `colours`, in their order.
    split : str, optional
        ``"train"`` or ``"val"``; left out: all images.
    unlabeled : str
        What to do with images without a mask: ``"error"``, ``"skip"`` them, or ``"keep"`` them without a given label.
    values : mapping of int to int, optional
        Class of a stored value, where they differ: ``{255: 1}`` for masks of 0 and 255. Other values stay.
    colours : mapping, sequence, Path or str, optional
        For masks of colours: ``{(128, 64, 128): "road", ...}``, a colour a class, a file of names and colours
        (:func:`noisycorrect_seg.datasets.read_colour_file`), or ``"voc"``.
    mask_suffix, image_suffix : str
        What the stems of masks, or of images, end with beside what they share: ``mask_suffix="_mask"`` for ``a.jpg``
        and ``a_mask.png``. Files without it are none.
    mask_size : {"image", "scaled"}
        ``"scaled"`` admits masks that show their images at another size, such as half of it.
    channels : {"rgb", "grey", "stored"}
        What images are read as; ``"stored"`` is all that a file holds: 16 bits, floats, any number of channels, also of
        TIFF and ``.npy``. Networks then need a :class:`~noisycorrect_seg.Normalisation` of their own.
    layout : {"cityscapes", "ade20k", "voc"}, optional
        `root` is one of these, as it is released: places, splits, classes and the meaning of stored values follow;
        `images`, `masks` and suffixes are not passed beside it.
    orientation : str
        See :class:`noisycorrect_seg.datasets.FileSource`.
    links : bool
        Follow links in these folders that lead out of them; the folders may be links themselves in any case.

    Attributes
    ----------
    left_out : dict of str to int
        How many files are not used, by what they are: masks without an image, images without a mask, files of other
        suffixes, hidden ones. There is a warning of what was not asked for.
    mask_suffix : str
        What the stems of masks end with; empty if they are called as their images.

    Raises
    ------
    InvalidInputError
        If a folder or the classes file is missing, images lack masks, a link leads out of a folder; or masks hold only
        0 and 255, which would all be ignored, or a palette whose colours contradict its indices (pass ``values={}`` if
        the stored values are meant). When a mask is read: if it has a colour that is not in the table, or another size
        than its image.
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
        colours: Mapping[Any, Any] | Sequence[Any] | Path | str | None = None,
        mask_suffix: str = "",
        image_suffix: str = "",
        mask_size: str = "image",
        channels: str = "rgb",
        layout: str | None = None,
        orientation: str = "auto",
        links: bool = False,
    ) -> None:
        checked_split(split, whole=True)
        if unlabeled not in UNLABELED:
            raise unknown_name("way with unlabelled images", unlabeled, UNLABELED)
        if root is None and images is None:
            raise InvalidInputError("root= or images=", got="neither", fix="pass the folder of your data")
        if values is not None and colours is not None:
            fix = "of masks of colours, pass colours= alone"
            raise InvalidInputError("values= or colours=", got="both", fix=fix)
        for name, folder in (("root", root), ("images", images), ("masks", masks)):
            if folder is not None:
                checked_path(folder, name)
        home = Path(images).parent if root is None else Path(root)  # type: ignore[arg-type]  # one of the two is there
        if layout is None:
            ends = Ends.of(image_suffix, mask_suffix)
            places = _own_places(home, images, masks, ends, split=split, bare=unlabeled == "keep")
        else:
            released = layout_named(layout)
            check_alone(layout, images=images, masks=masks, mask_suffix=mask_suffix, image_suffix=image_suffix)
            places = _released_places(released, home, split)
            values = released.values if values is None and colours is None else values
            classes = released.own_classes(places.home, layout) if classes is None else classes
        more = (".npy",) if channels == "stored" else ()
        of_images, of_masks = _listed(places, more, links=links)
        image_files, mask_files = of_images.files, of_masks.files
        self.left_out = left_out(of_images, of_masks)
        if not image_files:
            raise InvalidInputError(
                f"images ({', '.join(IMAGE_SUFFIXES)}) in {places.images}",
                got=", ".join(["none", *(f"{count} {what}" for what, count in self.left_out.items())]),
                fix="check the path",
            )
        names = _names(places, image_files, mask_files, split)
        if layout is not None:  # masks of all splits lie in one folder
            self.left_out.pop("masks without an image", None)
        unused = dict(self.left_out)
        if unlabeled == "skip":
            bare = sum(name not in mask_files for name in names)
            self.left_out |= {"images without a mask": bare} if bare else {}
            names = [name for name in names if name in mask_files]
        found: Sequence[Path | None]
        if unlabeled == "keep":
            found = [mask_files.get(name) for name in names]
        else:
            found = masks_for(names, mask_files, places.masks or places.images, end=places.ends.mask)
        named, self._colours = _classes_and_colours(classes, colours, places.home)
        self._table = _value_table(values)
        self._largest = max(values or {}, default=0)
        self.mask_suffix = places.ends.mask
        self._indices = values is not None  # whoever says what stored values mean means the indices of a palette
        options = {"orientation": orientation, "channels": channels, "mask_size": mask_size}
        super().__init__(named, names, [image_files[name] for name in names], found, **options)
        if values is None and colours is None:
            self._check_masks()
        warn_of_left_out(unused, len(self), places.home)

    def __repr__(self) -> str:
        more = "".join(f"; left out: {count} {what}" for what, count in self.left_out.items())
        return f"Folder({len(self)} images of {len(self.classes)} classes{more})"

    def _decode(self, path: str) -> np.ndarray:
        if self._colours is not None:
            return self._colours.indices(read_colours(path), path)
        wide = self._table is not None or len(self.classes) > IGNORE_INDEX
        mask = read_mask(path, indices=self._indices, wide=wide)
        return mask if self._table is None else self._table.take(mask)

    def _check_masks(self) -> None:
        """Raise if some of the masks seem to mean foreground by 255, or number their palettes each for itself."""
        masks = [path for path in self._masks if path is not None]
        picks = np.linspace(0, len(masks) - 1, min(LOOKED_AT, len(masks))).astype(int).tolist()
        values = {masks[pick]: set(np.unique(self._decode(masks[pick])).tolist()) for pick in picks}
        if len(self.classes) <= IGNORE_INDEX:
            _check_255(values)
        files = (masks[pick] for pick in picks if not masks[pick].lower().endswith(".npy"))
        palettes = ((path, palette_of(path)) for path in files)
        check_agreement((path, colours) for path, colours in palettes if colours)


def _check_255(values: Mapping[str, set[int]]) -> None:
    """Raise if masks hold only 0 and 255; warn if some do, and others classes without 255: two exports in one folder.

    `values` are those of each mask.
    """
    two = {0, IGNORE_INDEX}
    if set().union(*values.values()) == two:
        raise InvalidInputError(
            "masks of class numbers, where 255 is ignored",
            got=f"only 0 and 255 in {len(values)} masks, such as {next(iter(values))}",
            fix="pass values={255: 1} if 255 means class 1, or values={} if nothing but 0 is labelled",
        )
    alone = [path for path, own in values.items() if own == two]
    ignoring = any(IGNORE_INDEX in own and own - two for own in values.values())
    if len(alone) > 1 and not ignoring:
        warn_caller(
            f"expected masks of class numbers, where 255 is ignored; got only 0 and 255 in {len(alone)} of"
            f" {len(values)} masks looked at, such as {' and '.join(alone[:2])}, and no 255 beside the classes of the"
            " others; to fix: pass values={255: 1} if 255 means class 1, or values={} if it is ignored"
        )


class _Places(NamedTuple):
    """Where images and masks are looked for.

    Attributes
    ----------
    home : Path
        Where class and id files are.
    images : Path
        Folder of the images.
    masks : Path or None
        Folder of the masks; None if there are none.
    own : bool
        Whether the folder of images holds only those of the split.
    ends : Ends
        What stems end with.
    ids : Path or None
        The split's list, if it has one by the layout.
    masked : bool
        Whether images without a mask are passed over: those of other tasks.
    """

    home: Path
    images: Path
    masks: Path | None
    own: bool
    ends: Ends
    ids: Path | None = None
    masked: bool = False


def _own_places(
    home: Path, images: Path | str | None, masks: Path | str | None, ends: Ends, *, split: str | None, bare: bool
) -> _Places:
    """Return where images and masks of one's own are; `bare`: there may be no masks."""
    if ends.mask and images is None and masks is None and not _anywhere(home, "images"):
        images = masks = home  # one folder holds both
    image_folder, own = _place(home, images, "images", split)
    mask_folder = None if bare and _missing(home, masks, "masks") else _place(home, masks, "masks", split)[0]
    return _Places(home, image_folder, mask_folder, own, ends)


def _released_places(released: FolderLayout, root: Path, split: str | None) -> _Places:
    """Return where images and masks of a public data set are."""
    home = released.home(root)
    images, masks = (home / released.folder(kind, split) for kind in ("images", "masks"))
    for folder in (images, masks):
        if not folder.is_dir():
            raise InvalidInputError(f"the folder {folder}", got="none", fix="unpack the data set whole")
    ends = Ends.of(released.image_suffix, released.mask_suffix)
    return _Places(home, images, masks, True, ends, released.id_file(home, split), bool(released.lists))


def _listed(places: _Places, more: tuple[str, ...], *, links: bool) -> tuple[Listing, Listing]:
    """Return what there is of images and masks by the stem that they share; `more`: further suffixes of both."""
    images = listed(places.images, (*IMAGE_SUFFIXES, *more), links=links)
    masks = Listing({}, Counter(), 0)
    if places.masks is not None:
        masks = listed(places.masks, (*MASK_SUFFIXES, *more), links=links)
    return places.ends.parted(images, masks, one_folder=places.images == places.masks)


def _names(places: _Places, images: Mapping[str, Path], masks: Mapping[str, Path], split: str | None) -> list[str]:
    """Return the names of a split, in order."""
    if places.ids is not None:
        return select(read_ids(places.ids), images, ids=places.ids)
    if places.masked:
        return [name for name in images if name in masks]
    return list(images) if split is None or places.own else _side(places.home, images, split)


def _classes_and_colours(classes: Any, colours: Any, home: Path) -> tuple[Classes, ColourTable | None]:
    """Return the classes, and the table of the masks' colours if they have some."""
    names = None
    if is_colour_file(colours):
        names, found = read_colour_file(Path(colours))
        colours = dict(zip(found, names, strict=True))
    if names is None and isinstance(colours, Mapping) and all(isinstance(each, str) for each in colours.values()):
        names = None if find_if_any(home, NAMES, kind="file") else list(dict.fromkeys(colours.values()))
    if classes is None:
        classes = find_if_any(home, NAMES, kind="file") if names is None else names
        if classes is None:
            raise InvalidInputError(
                f"classes=, or the file {' or '.join(NAMES)}",
                got=f"neither, and none of them below {home}",
                fix='pass classes=["background", "road", ...] in the order of their numbers',
            )
    named = as_classes(classes)
    return named, None if colours is None else ColourTable.of(colours, named)


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
        fix = f"pass root= or {kind}=; where one folder holds images and masks, mask_suffix= tells them apart"
        raise InvalidInputError(f"a folder of {kind}", got=f"no folder {whole}", fix=fix)
    return whole, False


def _anywhere(home: Path, kind: str) -> bool:
    return not _missing(home, None, kind)


def _missing(home: Path, given: Path | str | None, kind: str) -> bool:
    """Return whether there is no folder of that kind at all."""
    if given is not None:
        return False
    return not any((home / place).is_dir() for place in (kind, *(f"{side}/{kind}" for side in SPLITS)))


def _side(root: Path, images: Mapping[str, Path], split: str) -> list[str]:
    """Return the split's names: from its list, from the other one's, or by position."""

    def list_of(side: str) -> Path | None:
        return find_if_any(root, [f"{side}_id.txt", f"{side}.txt"], kind="file")

    ids, other = list_of(split), list_of(opposite(split))
    if ids is None:
        return divided(list(images), split, other=other, every=VAL_EVERY)
    try:
        names = select(read_ids(ids, whole_lines=True), images, ids=ids)
    except InvalidInputError:  # lines of an image and its mask, as in LIP's lists
        names = select(read_ids(ids), images, ids=ids)
    if split == "val" and other is not None:  # said once, not of both
        both = len(names) - len(divided(names, split, other=other, every=VAL_EVERY))
        if both:
            warn_caller(
                f"expected each name in one list; got {both:,} of the {len(names):,} in {ids} in {other}, too: scores"
                " on them are no scores on new images; to fix: take them out of one list"
            )
    return names


def _value_table(values: Mapping[int, int] | None) -> np.ndarray | None:
    """Return the class of every value that a mask can store, (65536,); None if they are the same."""
    if not values:
        return None
    given: Any = values
    pairs = list(given.items()) if isinstance(given, Mapping) else [(given, given)]
    whole = all(isinstance(number, (int, np.integer)) for pair in pairs for number in pair)
    if not whole or not all(0 <= number <= WIDE_IGNORE_INDEX for pair in pairs for number in pair):
        raise InvalidInputError(
            f"values that map 0..{WIDE_IGNORE_INDEX} to classes",
            got=repr(dict(values) if isinstance(given, Mapping) else given)[:200],
            fix="masks are read as numbers of 8 or 16 bits: values={255: 1}",
        )
    table = np.arange(WIDE_IGNORE_INDEX + 1, dtype=np.uint16)
    table[list(values)] = list(values.values())
    return table
