"""Masks as a kind of labels: a class index a pixel."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.findings import LabelReview
from noisycorrect.labels.given import checked_num_classes
from noisycorrect.labels.kind import KINDS, EvidenceReader, LabelReader
from noisycorrect.labels.mapped import MappedArray
from noisycorrect.labels.regions import RegionView
from noisycorrect.labels.trust import Trust
from noisycorrect.review.parts import LabelsOfParts
from noisycorrect.support.errors import InvalidInputError, StoreError
from noisycorrect.support.progress import samples_progress
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.geometry.refined import given_on_evidence, refined_labels, refined_mask
from noisycorrect_seg.masks import IGNORE_INDEX, MOST_CLASSES, checked_mask, ignore_index, mask_dtype
from noisycorrect_seg.review import mask_quality, reviewed

if TYPE_CHECKING:
    import h5py

LEVEL = 6  # of zlib


class MaskLabels(LabelsOfParts):
    """One mask a sample, of any size, held compressed.

    Parameters
    ----------
    given : iterable of array-like of int, shape (H, W), or None
        0..`num_classes` - 1, or 255 for a pixel to ignore; of more than 255 classes, 65535. None is a sample without a
        label. Read one at a time.
    num_classes : int
        K, 2..65535. Masks of more than 255 classes are kept as uint16.
    frame : (int, int), optional
        Height and width of the canonical frame that predictions are made in, with the whole image in its middle
        (:func:`~noisycorrect_seg.geometry.frame.letterbox`). None: predictions cover their mask corner to corner.

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

    name = "segmentation"
    codec = "sqrt-uint6-floor"
    predictions = "(n, K, h, w)"
    parts = "pixels"
    unlabeled = IGNORE_INDEX
    on_disk = ("compressed",)
    compared = 512  # refining a mask takes tens of ms at full size; a cycle of a large set cannot pay that for each

    def __init__(self, given: Iterable[Any], num_classes: int, *, frame: Size | None = None) -> None:
        blobs, shapes = [], []

        def keep(array: np.ndarray) -> None:
            blobs.append(zlib.compress(array.tobytes(), LEVEL))
            shapes.append(array.shape)

        frame = self.checked_frame(frame)
        fingerprint, _ = self.fingerprint_of(given, num_classes, also=keep)
        ends = np.cumsum([len(blob) for blob in blobs])
        compressed = np.frombuffer(b"".join(blobs), np.uint8)
        self._set(compressed, ends, np.array(shapes, np.int64), fingerprint, int(num_classes), frame)

    def _set(
        self,
        compressed: np.ndarray | MappedArray,
        ends: np.ndarray,
        shapes: np.ndarray,
        fingerprint: str,
        num_classes: int,
        frame: Size | None,
    ) -> None:
        self._compressed = compressed  # all masks, one after the other
        self._ends = ends
        self.shapes = shapes
        self.labeled = shapes.prod(1) > 0
        self.labeled.flags.writeable = False
        self.fingerprint = fingerprint
        self.num_classes = num_classes
        self.dtype = mask_dtype(num_classes)
        self.unlabeled = ignore_index(num_classes)
        self.largest = num_classes * int(shapes.prod(1).max())
        self.frame = frame

    # ---------------------------------------------------------------- given masks

    def mask(self, index: int) -> np.ndarray:
        """Return a copy of the mask of a sample, uint8 or uint16 (H, W); (0, 0) for a sample without a label."""
        start = self._ends[index - 1] if index else 0
        try:
            # No more than the mask has, whatever the bytes unpack to.
            unpacked = zlib.decompressobj()
            most = int(self.shapes[index].prod()) * self.dtype.itemsize + 1
            pixels = unpacked.decompress(self._compressed[start : self._ends[index]].tobytes(), most)
            if not unpacked.eof:  # its checksum has not been reached
                raise ValueError("more or fewer pixels than the mask has")
            return np.frombuffer(pixels, self.dtype).reshape(self.shapes[index]).copy()
        except (OSError, ValueError, zlib.error) as error:
            raise StoreError(
                f"the given mask of sample {index}", got=str(error), fix="restore the store's given.h5 from a copy"
            ) from error

    def take(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return a copy of each mask, uint8 or uint16 (H, W); (0, 0) for a sample without a label."""
        return [self.mask(row) for row in rows.tolist()]

    def learnt(self, rows: np.ndarray, *, evidence: bool) -> int:
        """Return how many masks a mean loss is over."""
        return len(rows) if evidence else int(self.labeled[rows].sum())

    def save(self, file: h5py.File) -> None:
        """Write the compressed masks one after the other, with their ends and shapes."""
        file.create_dataset("compressed", data=self._compressed[:])
        file.create_dataset("ends", data=self._ends)
        file.create_dataset("shapes", data=self.shapes)
        file.attrs["fingerprint"] = self.fingerprint

    @classmethod
    def load(cls, file: h5py.File, num_classes: int, *, frame: Any = None) -> MaskLabels:
        """Map what :meth:`save` wrote; the masks stay on disk."""
        self = cls.__new__(cls)
        compressed = MappedArray(file.filename, "compressed")
        ends, shapes, fingerprint = file["ends"][()], file["shapes"][()], str(file.attrs["fingerprint"])
        fits = shapes.dtype == np.int64 and shapes.shape == (len(ends), 2) and len(ends) and (shapes >= 0).all()
        if not fits or (np.diff(ends, prepend=0) < 0).any() or ends[-1] != len(file["compressed"]):
            raise OSError("masks whose places or sizes do not fit each other")
        self._set(compressed, ends, shapes, fingerprint, num_classes, cls.checked_frame(frame))
        return self

    @classmethod
    def fingerprint_of(
        cls, given: Iterable[Any], num_classes: int, *, also: Callable[[np.ndarray], object] | None = None
    ) -> tuple[str, int]:
        """Check masks one at a time, and return their fingerprint and their number.

        `also`, if given, gets each mask in turn, uint8 or uint16 (H, W); (0, 0) for None.
        """
        if checked_num_classes(num_classes) > MOST_CLASSES:
            fix = "masks are kept as 16-bit class indices at most"
            raise InvalidInputError(f"num_classes <= {MOST_CLASSES} for masks", got=repr(num_classes), fix=fix)
        digest = hashlib.sha256(f"{cls.name} {num_classes}".encode())
        count = 0
        for index, mask in enumerate(given):
            array = (
                np.zeros((0, 0), mask_dtype(num_classes)) if mask is None else checked_mask(mask, num_classes, index)
            )
            digest.update(f"{array.shape}".encode())
            digest.update(array.tobytes())
            if also is not None:
                also(array)
            count += 1
        if not count:
            raise InvalidInputError("at least one mask", got="none", fix="check the data set's folder")
        return digest.hexdigest(), count

    @classmethod
    def no_label(cls, num_classes: int) -> Any:
        """Raise an InvalidInputError: an image without a mask is one of a data set that knows its crops."""
        raise InvalidInputError(
            "images without masks beside a ParsingDataset, which makes the same crops of them",
            got="unlabeled= beside another data set",
            fix="pass ParsingDataset(source, size); or put them into your data set without a label: None in `given`",
        )

    @classmethod
    def checked_frame(cls, frame: Any) -> Size | None:
        """Return height and width of the canonical frame, or raise an InvalidInputError."""
        if frame is None:
            return None
        two = isinstance(frame, (tuple, list)) and len(frame) == 2
        if not two or not all(isinstance(side, (int, np.integer)) and side >= 2 for side in frame):
            raise InvalidInputError(
                "frame=(height, width), whole numbers >= 2", got=repr(frame), fix="pass the size of the network's input"
            )
        return int(frame[0]), int(frame[1])

    # ---------------------------------------------------------------- refined masks

    def refined(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> list[Tensor]:
        """Return refined masks, float32 (K, H, W); see :func:`~noisycorrect_seg.geometry.refined.refined_mask`."""
        return [
            refined_mask(self.mask(row), maps, own, self.num_classes, frame=self.frame)
            for row, maps, own in self._each(rows, evidence, trust)
        ]

    def labels(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> list[np.ndarray]:
        """Return the most probable class of each pixel, uint8 or uint16 (H, W); ignored pixels stay ignored."""
        return [
            refined_labels(self.mask(row), maps, own, frame=self.frame)
            for row, maps, own in self._each(rows, evidence, trust)
        ]

    def _each(
        self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust
    ) -> Iterator[tuple[int, Tensor | None, Trust]]:
        """Yield position, evidence (K, h, w) and trust of one sample after the other."""
        for place, row in enumerate(rows.tolist()):
            own = trust.some(torch.tensor([place]))
            # A label that nothing argues with is the given one: its evidence need not be read.
            maps = None if evidence is None or own.whole else evidence(rows[place : place + 1])[0]
            yield row, maps, own

    # ---------------------------------------------------------------- comparing

    def beside(self, rows: np.ndarray, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """Return given masks at the resolution of the evidence, int64 (n, h, w), K or more where they ignore; and it.

        Whatever the evidence blurs near borders counts as disagreement.
        """
        size = tuple(evidence.shape[2:])
        masks = [given_on_evidence(mask, size, self.frame) for mask in self.take(rows)]
        return torch.from_numpy(np.stack(masks)).long(), evidence

    def review(self, rows: np.ndarray, evidence: Tensor, score: str) -> LabelReview:
        """Return what the evidence says of some masks, at its resolution."""
        pairs, quality, share = reviewed(*self.beside(rows, evidence), score)
        return LabelReview(rows, pairs[:, 0], pairs[:, 1], quality, share, share > 0)

    def quality(self, labels: LabelReader, clean: Any) -> dict[str, float]:
        """Return ``label_accuracy`` (of pixels) and ``label_mean_iou`` of masks beside clean ones, in [0, 1]."""
        return mask_quality(self.confusion(labels, clean))

    def confusion(self, labels: LabelReader, clean: Sequence[Any]) -> np.ndarray:
        """Return how clean pixels are labelled: float64 (K, K), [clean class, found class]; see `mask_confusion`."""
        classes = self.num_classes
        confusion = np.zeros(classes * classes)
        for index, found in self._read_labelled(labels):
            truth = checked_mask(clean[index], classes, index).astype(np.int64)
            if found.shape != truth.shape:
                raise InvalidInputError(
                    f"a clean mask of shape {found.shape}, as the given one",
                    got=f"{truth.shape} at index {index}",
                    fix="pass the clean masks in the images' own frame",
                )
            known = (truth < classes) & (found < classes)
            confusion += np.bincount(truth[known] * classes + found[known], minlength=classes * classes)
        return confusion.reshape(classes, classes)

    def _read_labelled(self, labels: LabelReader) -> Iterator[tuple[int, np.ndarray]]:
        """Yield position and label of each sample that has a given mask, read as many at once as fit into memory."""
        for block in self.blocks():
            rows = block[self.labeled[block]]
            if len(rows):
                yield from zip(rows.tolist(), labels(rows), strict=True)

    # ---------------------------------------------------------------- looking at masks

    def region_view(self, given: LabelReader, corrected: LabelReader) -> RegionView:
        """Return how a person looks at masks and decides about them region by region.

        Raises
        ------
        InvalidInputError
            If Pillow is not installed.
        """
        try:
            from noisycorrect_seg.sessions import MaskRegions
        except ImportError as error:
            raise InvalidInputError("the package pillow", got="none", fix="pip install pillow") from error
        return MaskRegions(given, corrected, self.num_classes)

    # ---------------------------------------------------------------- plain files

    def export(self, folder: Path, labels: LabelReader, refined: LabelReader | None) -> int:
        """Write each mask as a grey PNG of class indices, named by its position; ignored pixels stay ignored.

        Of more than 255 classes it has 16 bits.
        """
        if refined is not None:
            fix = "read them with SoftLabelStore.open(...).refined(index)"
            raise InvalidInputError("--probs with class labels", got="masks", fix=fix)
        try:
            from PIL import Image
        except ImportError as error:
            raise InvalidInputError("the package pillow", got="none", fix="pip install pillow") from error
        width = max(6, len(str(len(self) - 1)))
        written = 0
        with samples_progress() as progress:
            for index in progress.track(range(len(self)), description="exporting"):
                (mask,) = labels(np.array([index]))
                if mask.size:  # nothing is known of an unlabelled sample before the first cycle
                    Image.fromarray(mask).save(folder / f"{index:0{width}}.png")
                    written += 1
        return written


KINDS.register(MaskLabels.name, MaskLabels)


def mask_confusion(store: SoftLabelStore, clean: Sequence[Any], *, generation: int | None = None) -> np.ndarray:
    """Return how clean pixels are labelled by the refined masks: float64 (K, K), [clean class, refined class].

    Parameters
    ----------
    store : SoftLabelStore
        Masks.
    clean : sequence of array-like of int, shape (H, W)
        True masks of the size of the given ones; 255 (65535 of more than 255 classes) is not compared, nor are pixels
        that the given mask ignores, nor samples without a given mask, whose refined one has no size of its own.
    generation : int, optional
        Which labels; default: the current ones; 0 the given ones.

    Raises
    ------
    InvalidInputError
        If the store holds no masks, or a clean mask has another size or value.

    Examples
    --------
    >>> store = SoftLabelStore.create(None, [np.array([[0, 1, 1]], np.uint8)], 2, kind=MaskLabels)
    >>> mask_confusion(store, [np.array([[0, 0, 255]], np.uint8)]).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    if not isinstance(store.kind, MaskLabels):
        raise InvalidInputError("a store of masks", got=store.kind.name, fix="compare its labels() with the clean ones")
    return store.kind.confusion(lambda rows: store.labels(rows, generation=generation), clean)
