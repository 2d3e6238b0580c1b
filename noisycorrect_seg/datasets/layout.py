"""Find the files of a data set: folders under any of their usual names, id files, images and masks of one stem."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from noisycorrect.support.errors import InvalidInputError, unknown_name, warn_caller
from noisycorrect.support.untrusted import check_regular
from noisycorrect_seg.datasets.images import IMAGE_SUFFIXES, MASK_SUFFIXES

SPLITS = ("train", "val")
# Suffixes of what lies beside data and is none: not counted as left out.
NO_DATA = frozenset({"", ".txt", ".md", ".rst", ".json", ".csv", ".xml", ".html", ".yaml", ".yml", ".db", ".ini",
                     ".log", ".lnk", ".pdf", ".py", ".sh", ".part", ".tmp"})  # fmt: skip
MOST_COMPARED = 20_000  # names, for the nearest one
LONGEST_NAME = 255  # of a file, on most disks
LARGEST_LIST = 2**28  # bytes of an id file


def checked_split(split: str | None, *, whole: bool = False) -> None:
    """Raise unless `split` is ``"train"`` or ``"val"``, or None where `whole` sets are possible."""
    if split not in SPLITS and not (whole and split is None):
        raise unknown_name("split", split, SPLITS)


def find(root: Path | str, candidates: Iterable[str], *, kind: str) -> Path:
    """Return the first of some paths below a root that exists, as `kind`: ``"folder"`` or ``"file"``.

    Raises
    ------
    InvalidInputError
        If none does; the message lists where was looked.
    """
    tried = list(candidates)
    found = find_if_any(root, tried, kind=kind)
    if found is None:
        where = f"{root} does not exist" if not Path(root).is_dir() else f"none of them below {root}"
        raise InvalidInputError(f"the {kind} {' or '.join(tried)}", got=where, fix="check the data set's root")
    return found


def find_if_any(root: Path | str, candidates: Iterable[str], *, kind: str) -> Path | None:
    """Return the first of some paths below a root that exists, or None."""
    for candidate in candidates:
        path = Path(root) / candidate
        if path.is_dir() if kind == "folder" else path.is_file():
            return path
    return None


@dataclass
class Listing:
    """The files of a folder that are of use, and what else lies there.

    Attributes
    ----------
    files : dict of str to Path
        By stem, ``"sub/stem"`` in a subfolder, composed (Unicode's form NFC), sorted.
    others : Counter of str
        Files that look like data, by their suffix, which is none of those asked for.
    hidden : int
        Files of these suffixes whose names begin with a dot, but for what macOS leaves beside others (``._a.jpg``).
    """

    files: dict[str, Path]
    others: Counter[str]
    hidden: int


def listing(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return the files of a folder as :func:`listed` does, without what else lies there."""
    return listed(folder, suffixes).files


def listed(folder: Path, suffixes: Sequence[str], *, links: bool = False) -> Listing:
    """Return the files of a folder and its subfolders by stem, and count what is passed over.

    Names are compared in their composed form: macOS and some archives take letters and accents apart.

    Parameters
    ----------
    folder : Path
        The folder; it may be a link itself.
    suffixes : sequence of str
        Of the files that are wanted, in lower case.
    links : bool
        Follow links that lead out of the folder.

    Raises
    ------
    InvalidInputError
        If two files differ only in their suffix, or a link leads out of the folder.
    """
    found: dict[str, Path] = {}
    others: Counter[str] = Counter()
    hidden, home, seen = 0, os.path.realpath(folder), set()
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        seen.add(os.path.realpath(place))
        for name in [*folders]:
            inside = os.path.join(place, name)  # noqa: PTH118 - thousands of Path objects are slow
            if os.path.islink(inside):  # noqa: PTH114
                _check_inside(inside, home, links)
                if os.path.realpath(inside) in seen:  # a link to a folder above it
                    folders.remove(name)
        inner = Path(place).relative_to(folder).as_posix()
        for file in files:
            stem, suffix = os.path.splitext(file)  # noqa: PTH122
            if suffix.lower() not in suffixes:
                others[suffix.lower()] += not file.startswith(".") and suffix.lower() not in NO_DATA
                continue
            if file.startswith("."):
                hidden += not file.startswith("._")  # macOS writes these beside every file
                continue
            whole = os.path.join(place, file)  # noqa: PTH118
            if os.path.islink(whole):  # noqa: PTH114
                _check_inside(whole, home, links)
            key = unicodedata.normalize("NFC", stem if inner == "." else f"{inner}/{stem}")
            if key in found:
                raise InvalidInputError(
                    "one file a stem", got=f"{found[key]} and {file}", fix="remove one of the two, or rename it"
                )
            found[key] = Path(whole)
    return Listing(dict(sorted(found.items())), +others, hidden)


@dataclass(frozen=True)
class Ends:
    """What the stems of images and of masks end with, beside what they share.

    Examples
    --------
    >>> Ends.of("", "*_mask.png")
    Ends(image='', mask='_mask')
    """

    image: str
    mask: str

    @classmethod
    def of(cls, image: str, mask: str) -> Ends:
        """Return checked ends; ``"*_mask.png"`` is ``"_mask"``."""
        found = []
        for name, end in (("image_suffix", image), ("mask_suffix", mask)):
            if not isinstance(end, str) or "/" in end or "*" in end[1:]:
                fix = 'pass mask_suffix="_mask" for a.jpg and a_mask.png'
                raise InvalidInputError(f"{name}, the end of names of files", got=repr(end), fix=fix)
            stem, suffix = os.path.splitext(end.removeprefix("*"))  # noqa: PTH122
            found.append(stem if suffix.lower() in IMAGE_SUFFIXES else stem + suffix)
        return cls(*found)

    def parted(self, images: Listing, masks: Listing, *, one_folder: bool) -> tuple[Listing, Listing]:
        """Return what is an image and what is a mask, by the stem that they share.

        Raises
        ------
        InvalidInputError
            If one folder holds both, and nothing tells them apart.
        """
        if not (self.image or self.mask):
            if one_folder:
                fix = 'pass mask_suffix=, such as "_mask" for a.jpg and a_mask.png'
                raise InvalidInputError("a folder of images and one of masks", got="one folder", fix=fix)
            return images, masks
        pictures, drawn = images.files, masks.files
        if one_folder and self.mask:
            pictures = {key: path for key, path in pictures.items() if not key.endswith(self.mask)}
        elif one_folder:
            drawn = {key: path for key, path in drawn.items() if not key.endswith(self.image)}
        none: Counter[str] = Counter()
        return (
            Listing(_ending(pictures, self.image), none if one_folder else images.others, images.hidden),
            Listing(_ending(drawn, self.mask), none if one_folder else masks.others, masks.hidden),
        )


def _ending(files: Mapping[str, Path], end: str) -> dict[str, Path]:
    return {key.removesuffix(end): path for key, path in files.items() if key.endswith(end)}


def _check_inside(path: str, home: str, links: bool) -> None:
    target = os.path.realpath(path)
    if not links and os.path.commonpath([target, home]) != home:
        raise InvalidInputError(
            f"links within {home}",
            got=f"{path}, which leads to {target}",
            fix="copy the file, or pass links=True to Folder if you made the links yourself",
        )


def left_out(images: Listing, masks: Listing) -> dict[str, int]:
    """Return what of two folders is used by nothing, by what it is called in messages; nothing of which there is none.

    Examples
    --------
    >>> left_out(Listing({"a": Path("a.jpg")}, Counter({".heic": 2}), 0), Listing({"b": Path("b.png")}, Counter(), 0))
    {'masks without an image': 1, '.heic files among the images': 2}
    """
    counts = {"masks without an image": len(masks.files.keys() - images.files.keys())}
    for what, found in (("images", images), ("masks", masks)):
        for suffix, count in sorted(found.others.items()):
            counts[f"{suffix or 'nameless'} files among the {what}"] = count
        counts[f"hidden files among the {what}"] = found.hidden
    return {what: count for what, count in counts.items() if count}


def warn_of_left_out(counts: Mapping[str, int], used: int, where: Path | str) -> None:
    """Warn of what a folder holds and nothing is made of, if there is any."""
    if counts:
        listed_counts = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        warn_caller(
            f"{where}: {used:,} images are used; left out: {listed_counts}. To fix: convert or rename these, or move"
            f" them away. Images end in {' '.join(IMAGE_SUFFIXES)}, masks in {' '.join(MASK_SUFFIXES)}",
            UserWarning,
        )


def suffix_of_half(stems: Iterable[str]) -> str | None:
    """Return what at least half of some names have behind another one's, so that they may be masks; None if nothing.

    It has a letter in it, for copies are numbered; that of a single name does not begin with one.

    Examples
    --------
    >>> suffix_of_half(["a", "a_mask", "b", "b_mask"])
    '_mask'
    >>> suffix_of_half(["1", "10", "2"]), suffix_of_half(["a", "as"]), suffix_of_half(["a", "b_mask"])
    (None, None, None)
    """
    known = set(stems)
    parts = ((stem[:end], stem[end:]) for stem in known for end in range(1, len(stem)))
    ends = Counter(end for start, end in parts if start in known and any(map(str.isalpha, end)))
    end, count = max(ends.items(), key=lambda each: each[1], default=("", 0))
    return end if 2 * count >= len(known) > 0 and (count > 1 or not end[:1].isalnum()) and end else None


def seeming_masks(photos: Iterable[Path], fix: str) -> str | None:
    """Return a message if at least half of what is taken for photos seems to be their masks.

    Examples
    --------
    >>> print(seeming_masks([Path("a.jpg"), Path("a_mask.png")], "move them away"))
    1 of 2 photos are named as another one with '_mask' behind, such as a_mask.png, and seem to be masks; they are
    taken for photos. To fix: move them away
    """
    stems = {str(path.with_suffix("")): path for path in photos}
    end = suffix_of_half(stems)
    if end is None:
        return None
    found = [path for stem, path in stems.items() if stem.endswith(end) and stem.removesuffix(end) in stems]
    return (
        f"{len(found):,} of {len(stems):,} photos are named as another one with {end!r} behind, such as {found[0]}, and"
        f" seem to be masks; they are taken for photos. To fix: {fix}"
    )


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is most like another one: but for its case, with more behind it, or nearly the same.

    Examples
    --------
    >>> nearest_name("IMG_1", ["img_1", "x"]), nearest_name("a", ["a_mask", "b_mask"]), nearest_name("a", ["b"])
    ('img_1', 'a_mask', None)
    """
    if len(name) > LONGEST_NAME:
        return None
    known = list(names)
    folded = name.casefold()
    alike = next((each for each in known if each.casefold() == folded), None)
    longer = (
        each for each in known if each.casefold().startswith(folded) and not each[len(name) : len(name) + 1].isalnum()
    )
    alike = alike or min(longer, key=len, default=None)
    near = difflib.get_close_matches(name, known[:MOST_COMPARED], n=1)
    return alike or (near[0] if near else None)


def read_ids(path: Path, *, whole_lines: bool = False) -> list[str]:
    """Return the names in an id file: the first word of each line, without an image's suffix or a leading slash.

    Parameters
    ----------
    path : Path
        The file.
    whole_lines : bool
        A line is a name, spaces and all.

    Raises
    ------
    InvalidInputError
        If the file names nothing or is no text.
    """
    check_regular(path, "an id file of one name a line")
    try:
        if path.stat().st_size > LARGEST_LIST:
            raise ValueError(f"{path.stat().st_size:,} bytes")
        text = unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InvalidInputError("an id file of one name a line", got=f"{path}: {error}", fix="restore it") from error
    # No splitlines: names may hold what Unicode counts as a line's end.
    lines = re.split(r"\r\n|\r|\n", text)
    words = [(line.strip() if whole_lines else line.split()[0]).lstrip("/") for line in lines if line.strip()]
    if not words:
        raise InvalidInputError("an id file of one name a line", got=f"{path} without any", fix="restore it")
    return [_without_suffix(word) for word in words]


def _without_suffix(word: str) -> str:
    path = PurePosixPath(word)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else word


def select(names: Sequence[str], images: Mapping[str, Path], *, ids: Path) -> list[str]:
    """Return the keys of images that an id file names, in its order; a name with folders may stand for its last part.

    Raises
    ------
    InvalidInputError
        If there is no image of a name.
    """
    keys = [name if name in images else PurePosixPath(name).name for name in names]
    missing = [name for name, key in zip(names, keys, strict=True) if key not in images]
    if missing:
        near = nearest_name(missing[0], images)
        raise InvalidInputError(
            f"an image for every name in {ids}",
            got=f"none for {missing[0][:LONGEST_NAME]!r} ({len(missing)} of {len(names)} missing)"
            + (f"; the nearest is {near!r}" if near else ""),
            fix="restore the images, or take the names out of the file",
        )
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise InvalidInputError(f"each name once in {ids}", got=f"{twice[0]!r} again", fix="take the name out once")
    return keys


def held_out(names: Iterable[str], split: str, *, every: int, never: Iterable[str] = ()) -> list[str]:
    """Return one side of a split by position, the same on every machine: in sorted order every n-th name is val.

    Parameters
    ----------
    names : iterable of str
        All names.
    split : str
        ``"train"`` or ``"val"``.
    every : int
        n: the n-th, 2n-th, ... name are val.
    never : iterable of str
        Names that stay in train, and are not counted.

    Examples
    --------
    >>> held_out("abcdef", "val", every=3), held_out("abcdef", "train", every=3)
    (['c', 'f'], ['a', 'b', 'd', 'e'])
    """
    names, kept = sorted(names), set(never)
    val = set([name for name in names if name not in kept][every - 1 :: every])
    return [name for name in names if (name in val) == (split == "val")]


def divided(
    names: Sequence[str], split: str, *, other: Path | None, every: int, never: Iterable[str] = ()
) -> list[str]:
    """Return a split's names where it has no id file: those that the other split's does not name, or by position.

    Parameters
    ----------
    names : sequence of str
        All names.
    split : str
        ``"train"`` or ``"val"``.
    other : Path or None
        The other split's id file, if there is one.
    every, never
        Else, as for :func:`held_out`.
    """
    if other is None:
        return held_out(names, split, every=every, never=never)
    known = set(names)
    lines = zip(read_ids(other, whole_lines=True), read_ids(other), strict=True)
    forms = ((line, PurePosixPath(line).name, word, PurePosixPath(word).name) for line, word in lines)
    taken = {next((form for form in each if form in known), None) for each in forms}
    return [name for name in names if name not in taken]


def opposite(split: str) -> str:
    """Return ``"val"`` of ``"train"`` and the other way round."""
    return SPLITS[1 - SPLITS.index(split)]


def images_and_masks(image_folder: Path, mask_folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the images and the masks of two folders by stem.

    Raises
    ------
    InvalidInputError
        If there are no images, or no mask has an image's stem.
    """
    of_images, of_masks = listed(image_folder, IMAGE_SUFFIXES), listed(mask_folder, MASK_SUFFIXES)
    images, masks = of_images.files, of_masks.files
    if not images:
        raise InvalidInputError(
            f"images ({', '.join(IMAGE_SUFFIXES)}) in {image_folder}", got="none", fix="check the data set's root"
        )
    if images.keys().isdisjoint(masks):
        got = f"{next(iter(images))!r} and {next(iter(masks))!r}" if masks else f"no masks in {mask_folder}"
        raise InvalidInputError(
            f"masks ({', '.join(MASK_SUFFIXES)}) named as their images", got=got, fix="rename one of the two"
        )
    counts = left_out(of_images, of_masks)
    # Of one split's images and all masks, as VOC has them, most masks have none.
    counts.pop("masks without an image", None)
    warn_of_left_out(counts, len(images), image_folder)
    return images, masks


def masks_for(names: Sequence[str], masks: Mapping[str, Path], folder: Path, *, end: str = "") -> list[Path]:
    """Return the mask of each name; `end` is what the stems of its files have behind it.

    Raises
    ------
    InvalidInputError
        If one has none.
    """
    missing = [name for name in names if name not in masks]
    if missing:
        got = f"none for {missing[0]!r} ({len(missing)} of {len(names)} missing)"
        fix = "name masks as their images, restore them, or list the images that have one in an id file"
        near, other = nearest_name(missing[0], masks), _other_file(folder / f"{missing[0]}{end}")
        if other is not None:
            got += f"; there is {other}, of a kind that is no mask"
            fix = "export masks as PNG, for JPEG and its like change class numbers"
            fix = 'save masks as PNG, or pass channels="stored"' if other.endswith(".npy") else fix
        elif near:
            got += f"; the nearest mask is {near!r}"
        raise InvalidInputError(f"a mask for every image in {folder}", got=got, fix=fix)
    return [masks[name] for name in names]


def _other_file(wanted: Path) -> str | None:
    """Return the name of a file that is called as wanted, whatever its suffix; None if there is none."""
    files = sorted(path.name for path in wanted.parent.glob("*") if path.is_file())
    return next((file for file in files if unicodedata.normalize("NFC", Path(file).stem) == wanted.name), None)
