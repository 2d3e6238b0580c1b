"""Find the files of a data set: folders under any of their usual names, id files, images and masks of one stem."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.datasets.images import IMAGE_SUFFIXES, MASK_SUFFIXES

SPLITS = ("train", "val")


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


def listing(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return the files of a folder and its subfolders by stem, ``"sub/stem"`` in a subfolder, sorted; no hidden ones.

    Raises
    ------
    InvalidInputError
        If two files differ only in their suffix.
    """
    found: dict[str, Path] = {}
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inner = Path(place).relative_to(folder).as_posix()
        for file in files:
            stem, suffix = os.path.splitext(file)  # noqa: PTH122 - thousands of Path objects are slow
            if file.startswith(".") or suffix.lower() not in suffixes:
                continue
            key = stem if inner == "." else f"{inner}/{stem}"
            if key in found:
                raise InvalidInputError(
                    "one file a stem", got=f"{found[key]} and {file}", fix="remove one of the two, or rename it"
                )
            found[key] = Path(place, file)
    return dict(sorted(found.items()))


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
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError("an id file of one name a line", got=f"{path}: {error}", fix="restore it") from error
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
        raise InvalidInputError(
            f"an image for every name in {ids}",
            got=f"none for {missing[0]!r} ({len(missing)} of {len(names)} missing)",
            fix="restore the images, or take the names out of the file",
        )
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
    known, listed = set(names), read_ids(other)
    taken = {name if name in known else PurePosixPath(name).name for name in listed}
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
    images, masks = listing(image_folder, IMAGE_SUFFIXES), listing(mask_folder, MASK_SUFFIXES)
    if not images:
        raise InvalidInputError(
            f"images ({', '.join(IMAGE_SUFFIXES)}) in {image_folder}", got="none", fix="check the data set's root"
        )
    if images.keys().isdisjoint(masks):
        got = f"{next(iter(images))!r} and {next(iter(masks))!r}" if masks else f"no masks in {mask_folder}"
        raise InvalidInputError(
            f"masks ({', '.join(MASK_SUFFIXES)}) named as their images", got=got, fix="rename one of the two"
        )
    return images, masks


def masks_for(names: Sequence[str], masks: Mapping[str, Path], folder: Path) -> list[Path]:
    """Return the mask of each name.

    Raises
    ------
    InvalidInputError
        If one has none.
    """
    missing = [name for name in names if name not in masks]
    if missing:
        raise InvalidInputError(
            f"a mask for every image in {folder}",
            got=f"none for {missing[0]!r} ({len(missing)} of {len(names)} missing)",
            fix="restore the masks, or list the images that have one in an id file",
        )
    return [masks[name] for name in names]
