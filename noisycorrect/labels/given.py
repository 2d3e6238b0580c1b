"""Given labels as a label store keeps them: read once, never written again."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import Tensor

from noisycorrect.labels.mapped import MappedArray
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.support.errors import InvalidInputError, StoreError

IGNORE_INDEX = 255
MOST_MASK_CLASSES = 255  # a mask is kept as uint8, and 255 is ignored
LEVEL = 6  # of zlib


class ClassLabels:
    """One class a sample.

    Parameters
    ----------
    labels : array-like of int, shape (N,)
        0..`num_classes` - 1, or -1 for a sample without a label.
    num_classes : int
        K, at least 2.

    Raises
    ------
    InvalidInputError
        If the labels are no whole numbers in range, the array is not one-dimensional, or it is empty.

    Examples
    --------
    >>> labels = ClassLabels([0, 2, -1], num_classes=3)
    >>> labels.labeled.tolist()
    [True, True, False]
    """

    kind = "classification"

    def __init__(self, labels: Any, num_classes: int) -> None:
        self.array = checked_labels(labels, num_classes).copy()
        self.array.flags.writeable = False
        self.labeled: np.ndarray = self.array != UNLABELED
        self.labeled.flags.writeable = False
        digest = hashlib.sha256(f"{self.kind} {len(self.array)} {num_classes}".encode())
        digest.update(self.array.tobytes())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.array)

    def save(self, file: h5py.File) -> None:
        """Write the labels as int64 data set ``given``."""
        file.create_dataset("given", data=self.array)

    @classmethod
    def load(cls, file: h5py.File, num_classes: int) -> ClassLabels:
        """Read what :meth:`save` wrote."""
        return cls(file["given"][()], num_classes)


class MaskLabels:
    """One mask a sample, of any size, held compressed.

    Parameters
    ----------
    masks : iterable of array-like of int, shape (H, W), or None
        0..`num_classes` - 1, or 255 for a pixel to ignore. None is a sample without a label. Read one at a time.
    num_classes : int
        K, 2..255.

    Raises
    ------
    InvalidInputError
        If a mask is not two-dimensional or holds another value; the message names the sample.

    Examples
    --------
    >>> masks = MaskLabels([np.zeros((2, 3), np.uint8), None], num_classes=4)
    >>> masks.mask(0).shape, masks.labeled.tolist()
    ((2, 3), [True, False])
    """

    kind = "segmentation"

    def __init__(self, masks: Iterable[Any], num_classes: int) -> None:
        blobs, shapes = [], []

        def keep(array: np.ndarray) -> None:
            blobs.append(zlib.compress(array.tobytes(), LEVEL))
            shapes.append(array.shape)

        fingerprint, _ = mask_fingerprint(masks, num_classes, also=keep)
        ends = np.cumsum([len(blob) for blob in blobs])
        self._set(np.frombuffer(b"".join(blobs), np.uint8), ends, np.array(shapes, np.int64), fingerprint)

    def _set(self, compressed: np.ndarray | MappedArray, ends: np.ndarray, shapes: np.ndarray, digest: str) -> None:
        self._compressed = compressed  # all masks, one after the other
        self._ends = ends
        self.shapes = shapes
        self.labeled: np.ndarray = shapes.prod(1) > 0
        self.labeled.flags.writeable = False
        self.fingerprint = digest

    def __len__(self) -> int:
        return len(self._ends)

    def mask(self, index: int) -> np.ndarray:
        """Return a copy of the mask of a sample, uint8 (H, W); (0, 0) for a sample without a label."""
        start = self._ends[index - 1] if index else 0
        try:
            pixels = zlib.decompress(self._compressed[start : self._ends[index]].tobytes())
            return np.frombuffer(pixels, np.uint8).reshape(self.shapes[index]).copy()
        except (OSError, ValueError, zlib.error) as error:
            raise StoreError(
                f"the given mask of sample {index}", got=str(error), fix="restore the store's given.h5 from a copy"
            ) from error

    def save(self, file: h5py.File) -> None:
        """Write the compressed masks one after the other, with their ends and shapes."""
        file.create_dataset("compressed", data=self._compressed[:])
        file.create_dataset("ends", data=self._ends)
        file.create_dataset("shapes", data=self.shapes)
        file.attrs["fingerprint"] = self.fingerprint

    @classmethod
    def load(cls, file: h5py.File, num_classes: int) -> MaskLabels:
        """Map what :meth:`save` wrote; the masks stay on disk."""
        self = cls.__new__(cls)
        compressed = MappedArray(file.filename, "compressed")
        self._set(compressed, file["ends"][()], file["shapes"][()], str(file.attrs["fingerprint"]))
        return self


def load_given(path: Path, kind: str, num_classes: int) -> ClassLabels | MaskLabels:
    """Read the given labels of a store."""
    with h5py.File(path, "r", locking=False) as file:
        loader = ClassLabels if kind == ClassLabels.kind else MaskLabels
        return loader.load(file, num_classes)


def checked_labels(labels: Any, num_classes: int, *, name: str = "labels") -> np.ndarray:
    """Return class labels as an int64 array, or raise.

    Parameters
    ----------
    labels : array-like, shape (N,)
        Whole numbers in -1..`num_classes` - 1; -1 is unlabelled.
    num_classes : int
        K, at least 2.
    name : str
        What the message calls them.

    Raises
    ------
    InvalidInputError
        If they are not so.

    Examples
    --------
    >>> checked_labels([0, 10], num_classes=10)
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected labels in 0..9 (or -1: unlabelled); got 10 at index 1; to
    fix: correct the label or pass num_classes=11
    """
    checked_num_classes(num_classes)
    array = as_array(labels, name)
    if array.ndim != 1 or not len(array):
        raise InvalidInputError(
            f"{name} of shape (N,), N >= 1",
            got=f"shape {array.shape}",
            fix="pass one class index a sample; of several annotators' labels take the most frequent one",
        )
    if not np.issubdtype(array.dtype, np.integer):
        detail = "" if array.dtype.kind != "f" or np.isfinite(array).all() else " with NaN or infinity"
        raise InvalidInputError(
            f"{name} to be whole numbers", got=f"{array.dtype}{detail}", fix="pass int64 class indices"
        )
    wrong = np.flatnonzero((array < UNLABELED) | (array >= num_classes))
    if len(wrong):
        worst = int(array.max())
        fix = f"correct the label or pass num_classes={worst + 1}" if worst >= num_classes else "count classes from 0"
        if array.min() == 1 and worst == num_classes:
            fix = "the labels seem to start at 1: subtract 1"
        raise InvalidInputError(
            f"{name} in 0..{num_classes - 1} (or {UNLABELED}: unlabelled)",
            got=f"{array[wrong[0]]} at index {wrong[0]}",
            fix=fix,
        )
    return array.astype(np.int64)


def mask_fingerprint(
    masks: Iterable[Any], num_classes: int, *, also: Callable[[np.ndarray], object] | None = None
) -> tuple[str, int]:
    """Check masks one at a time, and return their fingerprint and their number; see :class:`MaskLabels`.

    Parameters
    ----------
    masks, num_classes
        As for :class:`MaskLabels`.
    also : callable, optional
        Gets each mask in turn, uint8 (H, W); (0, 0) for None.
    """
    checked_num_classes(num_classes, at_most=MOST_MASK_CLASSES)
    digest = hashlib.sha256(f"{MaskLabels.kind} {num_classes}".encode())
    count = 0
    for index, mask in enumerate(masks):
        array = np.zeros((0, 0), np.uint8) if mask is None else checked_mask(mask, num_classes, index)
        digest.update(f"{array.shape}".encode())
        digest.update(array.tobytes())
        if also is not None:
            also(array)
        count += 1
    if not count:
        raise InvalidInputError("at least one mask", got="none", fix="check the data set's folder")
    return digest.hexdigest(), count


def checked_num_classes(num_classes: Any, at_most: int | None = None) -> int:
    """Return the number of classes as an int, or raise.

    Examples
    --------
    >>> checked_num_classes(np.int64(3))
    3
    """
    if not isinstance(num_classes, (int, np.integer)) or num_classes < 2:
        raise InvalidInputError("num_classes >= 2", got=repr(num_classes), fix="pass the number of classes")
    if at_most is not None and num_classes > at_most:
        raise InvalidInputError(
            f"num_classes <= {at_most} for masks", got=repr(num_classes), fix="masks are kept as 8-bit class indices"
        )
    return int(num_classes)


def as_array(values: Any, name: str) -> np.ndarray:
    """Return a tensor, array or sequence as an array; a read-only array makes no warning.

    Raises
    ------
    InvalidInputError
        If a sequence's items have different shapes.
    """
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{name} as an array of numbers", got=str(error), fix="pass one array") from error


def checked_mask(mask: Any, num_classes: int, index: int) -> np.ndarray:
    """Return a mask as a uint8 array (H, W), or raise; see :class:`MaskLabels`."""
    array = as_array(mask, f"a mask at index {index}")
    if array.ndim != 2 or not array.size or not np.issubdtype(array.dtype, np.integer):
        raise InvalidInputError(
            "masks of whole numbers, shape (H, W)",
            got=f"{array.dtype} of shape {array.shape} at index {index}",
            fix="store class indices, not colours",
        )
    wrong = (array < 0) | ((array >= num_classes) & (array != IGNORE_INDEX))
    if wrong.any():
        raise InvalidInputError(
            f"mask values 0..{num_classes - 1} or {IGNORE_INDEX}",
            got=f"{array[wrong].max()} at index {index}",
            fix="correct the mask or num_classes",
        )
    return array.astype(np.uint8)
