"""LabelKind: what labels are made of, and everything in the core that depends on it."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.findings import LabelReview, NoiseCounts
from noisycorrect.labels.refine import UNLABELED, blend, check_probs, most_probable, within
from noisycorrect.labels.regions import RegionView
from noisycorrect.labels.trust import Trust
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.register import Register

if TYPE_CHECKING:
    import h5py

VALUES_AT_ONCE = 2**23  # 32 MB of float32

EvidenceReader = Callable[[np.ndarray], Tensor]  # positions (n,) -> evidence, float32 (n, K, ...)
LabelReader = Callable[[np.ndarray], Any]  # positions (n,) -> labels of these samples, refined or the most probable


class LabelKind(ABC):
    """The given labels of one data set, held unalterably, and what can be done with labels of their kind.

    A label store, the review of labels and the command line ask it for whatever depends on what labels are made of. A
    new kind is a subclass in a file of its own, announced by ``KINDS.register(name, cls)`` and, so that it is found
    without an import, by an entry point of the group ``noisycorrect.kinds``. Given labels that make one array, of class
    indices, take :meth:`checked`, :meth:`review` and :meth:`noise`; other labels define what they do otherwise.

    Attributes
    ----------
    name : str
        What stores call the kind; in their files.
    codec : str
        How evidence is stored unless told otherwise.
    predictions : str
        Shape of predictions, as messages write it; its commas count the dimensions.
    parts : str or None
        What a label consists of, in the plural (``"pixels"``). None: a label is one class.
    unlabeled : int
        What stands in labels where there is none.
    stacked : bool
        Whether the labels of all samples make one array, and batches carry its rows.
    codecs : tuple of str
        Names of the codecs that can hold the evidence; empty for all. One that lets classes sum to 1 is not for
        probabilities that are independent.
    independent : bool
        Whether a label consists of K that are there or not, so that probabilities do not sum to 1.
    on_disk : tuple of str
        Data sets of the given labels' file that :meth:`load` leaves there, to be read, and checked, label by label.
    compared : int or None
        At most so many samples, evenly spaced, tell how many labels have changed. None: all.
    num_classes : int
        K.
    largest : int
        How many values the refined label of a sample has at most.
    frame : Any
        What the kind has to know of how predictions are made, as plain JSON values; None for most kinds.
    array : ndarray of int64, shape (N, ...)
        The given labels, read-only; a kind whose labels make no one array has none.
    labeled : ndarray of bool, shape (N,)
        Which samples have a given label; read-only.
    fingerprint : str
        Digest of labels, their order and K.

    Parameters
    ----------
    given : Any
        Given labels of all samples, in order.
    num_classes : int
        K.
    frame : Any
        See above.

    Raises
    ------
    InvalidInputError
        If they are no labels of this kind.
    """

    name: ClassVar[str]
    codec: ClassVar[str] = "float32"
    predictions: ClassVar[str] = "(n, K)"
    parts: ClassVar[str | None] = None
    unlabeled: int = UNLABELED
    stacked: ClassVar[bool] = False
    codecs: ClassVar[tuple[str, ...]] = ()
    independent: ClassVar[bool] = False
    on_disk: ClassVar[tuple[str, ...]] = ()
    compared: ClassVar[int | None] = None

    num_classes: int
    largest: int
    frame: Any
    array: np.ndarray
    labeled: np.ndarray
    fingerprint: str

    def __init__(self, given: Any, num_classes: int, *, frame: Any = None) -> None:
        self.array = self.checked(given, num_classes, "labels")
        labeled = np.asarray((self.array >= 0).reshape(len(self.array), -1).any(1))
        self._hold(labeled, num_classes, frame, given=self.array)

    def _hold(self, labeled: np.ndarray, num_classes: int, frame: Any, **arrays: np.ndarray) -> None:
        """Set what every kind has; the arrays say all about the labels, and cannot be written to from now on."""
        self.labeled, self.num_classes, self.largest = labeled, int(num_classes), int(num_classes)
        self.frame = self.checked_frame(frame)
        digest = hashlib.sha256(f"{self.name} {len(labeled)} {num_classes}".encode())
        for array in arrays.values():
            digest.update(array.tobytes())
        self.fingerprint = digest.hexdigest()
        for array in (labeled, *arrays.values()):
            array.flags.writeable = False
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self.labeled)

    # ---------------------------------------------------------------- given labels

    @classmethod
    def checked(cls, labels: Any, num_classes: int, name: str) -> Any:
        """Return labels in the form in which they are held and compared, or raise an InvalidInputError.

        Here any sequence, whose items are checked when they are read. `name` is what messages call it.
        """
        if not hasattr(labels, "__len__") or not hasattr(labels, "__getitem__"):
            raise InvalidInputError(
                f"{name} to be a sequence of labels", got=type(labels).__name__, fix="pass a list, one label a sample"
            )
        return labels

    @classmethod
    def checked_clean(cls, labels: Any, num_classes: int, length: int, name: str) -> Any:
        """Return clean labels that can be compared with `length` refined ones, or raise an InvalidInputError."""
        checked = cls.checked(labels, num_classes, name)
        if len(checked) != length:
            got, fix = str(len(checked)), "pass one label a sample"
            raise InvalidInputError(f"{name} for {length} samples", got=got, fix=fix)
        return checked

    def save(self, file: h5py.File) -> None:
        """Write the given labels into a new file."""
        for name, array in self._arrays.items():
            file.create_dataset(name, data=array)

    @classmethod
    def load(cls, file: h5py.File, num_classes: int, *, frame: Any = None) -> LabelKind:
        """Read what :meth:`save` wrote; what is large may stay on disk.

        An OSError, KeyError or InvalidInputError says that the file is damaged.
        """
        return cls(file["given"][()], num_classes, frame=frame)

    def tensor(self, rows: np.ndarray) -> Tensor:
        """Return the given labels at positions (n,) as a new tensor, int64 (n, ...), padded if need be."""
        return torch.from_numpy(self.array[rows])

    def split(self, values: Any, rows: np.ndarray) -> Any:
        """Return an array or tensor (n, ...) of values of some samples; a list without the padding, if there is any."""
        return values

    def take(self, rows: np.ndarray) -> Any:
        """Return a copy of the given labels at positions (n,)."""
        return self.split(self.tensor(rows).numpy(), rows)

    def learnt(self, rows: np.ndarray, *, evidence: bool) -> int:
        """Return how many labels of the samples at positions (n,) a mean loss is over.

        Those that are known; the unknown ones too once there is `evidence`, which labels every sample.
        """
        return int((self.tensor(rows) >= (self.unlabeled if evidence else 0)).sum())

    @property
    def class_indices(self) -> np.ndarray | None:
        """All given labels as int64 (N,), :attr:`unlabeled` for none; None unless a label is one class."""
        return None

    @classmethod
    def fingerprint_of(cls, given: Any, num_classes: int) -> tuple[str, int]:
        """Check given labels, and return their fingerprint and their number."""
        labels = cls(given, num_classes)
        return labels.fingerprint, len(labels)

    @classmethod
    def checked_frame(cls, frame: Any) -> Any:
        """Return a frame as plain values, or raise an InvalidInputError. This kind has none."""
        if frame is not None:
            raise InvalidInputError(f"no frame for labels of {cls.name}", got=repr(frame), fix="leave frame= out")

    @classmethod
    def no_label(cls, num_classes: int) -> Any:
        """Return the given label of a sample that has none, as items of a data set carry it.

        Raises
        ------
        InvalidInputError
            If inputs alone cannot be joined to labels of this kind.
        """
        raise InvalidInputError(
            f"all samples of {cls.name} in one data set",
            got="unlabeled inputs beside it",
            fix="put them into the data set, without a label",
        )

    # ---------------------------------------------------------------- refined labels

    def check_predictions(self, probs: Tensor) -> None:
        """Raise an InvalidInputError unless predictions are finite, in [0, 1], and sum to 1, if they have to."""
        check_probs(probs, self.num_classes, independent=self.independent)
        self.check_dimensions(probs)

    def check_dimensions(self, probs: Tensor) -> None:
        """Raise an InvalidInputError unless predictions have as many dimensions as :attr:`predictions` says."""
        if probs.dim() != self.predictions.count(",") + 1:
            raise InvalidInputError(
                f"predictions of shape {self.predictions}",
                got=str(tuple(probs.shape)),
                fix=f"this store is one for {self.name}",
            )

    def first_evidence(self, count: int) -> Tensor | None:
        """Return the evidence about `count` samples before anything was predicted; None if it has no shape yet."""
        return None

    @classmethod
    def compose(cls, given: Tensor, evidence: Tensor | None, trust: Trust, num_classes: int) -> Tensor:
        """Return trust x given + (1 - trust) x evidence, float (n, K, ...), on the labels' device (SCHP, Eq. 7).

        Parameters
        ----------
        given : Tensor, shape (n, ...), int64
            0..K-1; -1 for an unknown label, which has the evidence alone; zeros stand where it is anything else.
        evidence : Tensor, shape (n, K, ...), floating, or None
            None before the first generation. What lies past the end of padded labels is left out.
        trust : Trust
            In the labels of each sample.
        num_classes : int
            K.

        Examples
        --------
        >>> given, trust = torch.tensor([[0, -1, -100]]), Trust(torch.tensor([0.5]))
        >>> LabelKind.compose(given, torch.full((1, 2, 4), 0.5), trust, num_classes=2)
        tensor([[[0.7500, 0.5000, 0.0000],
                 [0.2500, 0.5000, 0.0000]]])
        """
        if evidence is None:
            evidence = torch.zeros(len(given), num_classes, *given.shape[1:], device=given.device, dtype=torch.float32)
        evidence = within(evidence, given)
        blended = blend(given, evidence, trust.of(given, evidence))
        return torch.where((given == UNLABELED).unsqueeze(1), evidence, blended)

    def _composed(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> tuple[Tensor, Tensor]:
        given = self.tensor(rows)
        return given, self.compose(given, None if evidence is None else evidence(rows), trust, self.num_classes)

    def refined(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> Any:
        """Return refined labels; see :meth:`compose`.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            Positions.
        evidence : callable, or None
            Evidence at positions; None before the first generation. A kind of large labels reads them one by one.
        trust : Trust
            Of these samples.

        Returns
        -------
        Tensor, shape (n, K, ...), or list of n Tensors
            Float32; zero where nothing is known or the given label ignores; NaN instead where 0 is a label.
        """
        return self.split(self._composed(rows, evidence, trust)[1], rows)

    def labels(self, rows: np.ndarray, evidence: EvidenceReader | None, trust: Trust) -> Any:
        """Return the most probable class of the refined labels; the given label, below 0, where nothing is known.

        Of equally probable classes it is the given one.

        Parameters are those of :meth:`refined`.

        Returns
        -------
        ndarray, shape (n, ...), or list of n ndarrays
            Integer.
        """
        given, refined = self._composed(rows, evidence, trust)
        found = torch.where(refined.sum(1) > 0, most_probable(refined, given), given.clamp(max=self.unlabeled))
        return self.split(found.numpy(), rows)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the positions of all samples, in order, as many at once as refined labels fit into memory."""
        step = max(1, VALUES_AT_ONCE // max(1, self.largest))
        for start in range(0, len(self), step):
            yield np.arange(start, min(start + step, len(self)))

    # ---------------------------------------------------------------- comparing

    def labeled_blocks(self, evidence: EvidenceReader) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield positions (n,) and evidence (n, K, ...) of all labelled samples, as many at once as fit into memory."""
        rows = np.flatnonzero(self.labeled)
        step = max(1, VALUES_AT_ONCE // max(1, evidence(rows[:1]).numel())) if len(rows) else 1
        for start in range(0, len(rows), step):
            yield rows[start : start + step], evidence(rows[start : start + step])

    def quality(self, labels: LabelReader, clean: Any) -> dict[str, float]:
        """Return how good labels are beside clean ones, by name, in [0, 1]; ``label_accuracy`` is one of the names.

        What has no clean label, or is ignored, is not compared; NaN if nothing is.

        Parameters
        ----------
        labels : callable
            Hard labels at positions.
        clean : Any
            What :meth:`checked_clean` returned.

        Raises
        ------
        InvalidInputError
            If a clean label has another length than the given one.
        """
        equal = total = 0
        for rows in self.blocks():
            found: Any = labels(rows)
            truth: Any = [clean[row] for row in rows.tolist()] if isinstance(found, list) else np.asarray(clean)[rows]
            if isinstance(found, list):
                for row, one, own in zip(rows.tolist(), found, truth, strict=True):
                    if len(one) != len(own):
                        expected, fix = f"{len(one)} clean labels at index {row}", "pass one for each that is given"
                        raise InvalidInputError(expected, got=str(len(own)), fix=fix)
                found, truth = np.concatenate(found), np.concatenate(truth)
            known = (truth >= 0) & (found >= self.unlabeled)
            equal += int((found == truth)[known].sum())
            total += int(known.sum())
        return {"label_accuracy": equal / total if total else math.nan}

    @abstractmethod
    def review(self, rows: np.ndarray, evidence: Tensor, score: str) -> LabelReview:
        """Return what the evidence says of some labelled samples.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            Their positions.
        evidence : Tensor, shape (n, K, ...)
            Evidence about them.
        score : str
            Which label quality; see :func:`~noisycorrect.review.issues.label_quality`.
        """

    @abstractmethod
    def noise(self, evidence: EvidenceReader, earlier: EvidenceReader | None) -> NoiseCounts:
        """Return how given labels and evidence differ.

        Parameters
        ----------
        evidence : callable
            Evidence at positions.
        earlier : callable, or None
            That of the generation before, if it is kept.

        Raises
        ------
        InvalidInputError
            If there is nothing to compare.
        """

    # ---------------------------------------------------------------- looking at labels

    def region_view(self, given: LabelReader, corrected: LabelReader) -> RegionView | None:
        """Return how a person looks at labels of this kind and decides about them region by region.

        None, as here, if a label is decided about as a whole.

        Parameters
        ----------
        given, corrected : callable
            Hard labels at positions.
        """
        return None

    # ---------------------------------------------------------------- plain files

    def export(self, folder: Path, labels: LabelReader, refined: LabelReader | None) -> int:
        """Write labels into an empty folder, and return how many.

        ``labels.npy`` holds the most probable classes, and ``probs.npy`` the refined labels, float32. Labels of lengths
        of their own stand one after the other, probabilities as (P, K), and ``lengths.npy`` tells where each ends:
        ``np.split(labels, lengths.cumsum()[:-1])``.

        Parameters
        ----------
        folder : Path
            The folder.
        labels, refined : callable
            Hard and refined labels at positions; None for `refined` leaves ``probs.npy`` out.

        Raises
        ------
        InvalidInputError
            If refined labels of this kind are no such array.
        """
        blocks = [labels(rows) for rows in self.blocks()]
        if ragged := isinstance(blocks[0], list):
            blocks = [label for block in blocks for label in block]
            np.save(folder / "lengths.npy", np.array([len(label) for label in blocks]))
        np.save(folder / "labels.npy", np.concatenate(blocks))
        if refined is not None and ragged:
            probs = [label.T for rows in self.blocks() for label in refined(rows)]
            np.save(folder / "probs.npy", torch.cat(probs).numpy())
        elif refined is not None:
            shape = (len(self), *refined(np.arange(1)).shape[1:])
            _save_rows(folder / "probs.npy", shape, (refined(rows).numpy() for rows in self.blocks()))
        return len(self)


def _save_rows(path: Path, shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> None:
    """Write float32 blocks as one .npy file: by plain writes, since a full disk ends a memory map in a SIGBUS."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, np.float32).data)


KINDS: Register[type[LabelKind]] = Register(
    "kind of labels",
    group="noisycorrect.kinds",
    accepts=lambda thing: isinstance(thing, type) and issubclass(thing, LabelKind),
    expected="a subclass of LabelKind",
)
