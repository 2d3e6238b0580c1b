"""The masks of a run, one at a time: given, in the end, and what regions they have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from noisycorrect.export import ExportOptions, RunLabels
from noisycorrect.export.label_studio import image_address
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.progress import samples_progress
from noisycorrect_seg.kind import MaskLabels
from noisycorrect_seg.sessions import final_masks


@dataclass(frozen=True, eq=False)
class RunMask:
    """The mask of a sample.

    Attributes
    ----------
    index : int
        Position in the run.
    stem : str
        Name in names of files, with ``/`` between folders.
    mask : ndarray, shape (H, W), uint8, or uint16 of more than 255 classes
        In the end: 0..K-1, the dtype's largest number where nothing is known.
    given, corrected : ndarray of the same kind, or None
        What the annotator drew, and what the run made of it.
    decided : bool
        Whether somebody has decided about it.
    """

    index: int
    stem: str
    mask: np.ndarray
    given: np.ndarray | None
    corrected: np.ndarray
    decided: bool


def run_masks(labels: RunLabels) -> Iterator[RunMask]:
    """Yield the masks of a run; samples of which nothing is known, not even a size, are left out."""
    store, kind = labels.store, labels.store.kind if labels.store is not None else None
    if store is None or not isinstance(kind, MaskLabels):
        raise InvalidInputError("a run with a label store of masks", got="none", fix="restore labels/ from a copy")
    stems = [checked_stem(labels.stem(index)) for index in range(len(labels))]
    reviewed = iter(final_masks(labels.folder)) if labels.items else None
    with samples_progress() as progress:
        for index in progress.track(range(len(labels)), description="exporting"):
            if reviewed is None:
                (mask,), decided = store.labels(index, generation=labels.generation), False
            else:
                _, mask, decided = next(reviewed)
            if not mask.size:
                continue
            given = kind.mask(index) if kind.labeled[index] else None
            corrected = store.labels(index)[0] if decided else mask
            yield RunMask(index, stems[index], mask, given, corrected, decided)


def checked_stem(stem: str) -> str:
    """Return a name that stays inside its folder, or raise an InvalidInputError.

    Examples
    --------
    >>> checked_stem("a/b")
    'a/b'
    >>> checked_stem("../b")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected names of samples that can be files in a folder; got '../b';
    to fix: pass --names
    """
    parts = stem.replace("\\", "/").split("/")
    if not all(parts) or {".", ".."} & set(parts) or ":" in parts[0] or "\0" in stem:
        raise InvalidInputError("names of samples that can be files in a folder", got=repr(stem), fix="pass --names")
    return "/".join(parts)


def regions(mask: np.ndarray, num_classes: int, *, background: bool) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each class that a mask has, with its pixels, bool (H, W); class 0 if the background counts.

    Examples
    --------
    >>> [(number, int(pixels.sum())) for number, pixels in regions(np.array([[0, 2, 2, 255]]), 3, background=False)]
    [(2, 2)]
    """
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=num_classes)[:num_classes])
    for number in present.tolist():
        if number or background:
            yield number, mask == number


def image_name(labels: RunLabels, found: RunMask, options: ExportOptions) -> str:
    """Return the name of a mask's image file: as the run knows it, else the stem with the caller's suffix."""
    if labels.image_files is not None:
        return labels.image_files[found.index]
    return f"{found.stem}{options.suffix}"


def image_path(labels: RunLabels, found: RunMask, options: ExportOptions) -> str:
    """Return where a label tool finds a mask's image."""
    return image_address(image_name(labels, found, options), options)
