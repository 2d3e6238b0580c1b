"""Reading a label store: given labels, evidence, trust, and refined labels composed of them (SCHP, Eq. 7)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.codec import Codec, codec_named
from noisycorrect.labels.generation import SMALL, GenerationReader
from noisycorrect.labels.hdf5 import DAMAGED, contents_digest, opened
from noisycorrect.labels.header import Header
from noisycorrect.labels.kind import KINDS, EvidenceReader, LabelKind
from noisycorrect.labels.manifest import Manifest
from noisycorrect.labels.rules import paper_trust
from noisycorrect.labels.trust import Trust
from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError, StaleGenerationError, StoreError

GIVEN = "given.h5"

Indices = int | slice | Sequence[int] | np.ndarray | Tensor | None


class ReadableLabels:
    """The reading half of :class:`~noisycorrect.SoftLabelStore`."""

    def __init__(self, folder: str | os.PathLike[str], *, writable: bool = False, opened_at: int | None = None) -> None:
        self.folder = Path(folder).absolute()  # so that it survives a change of the working directory
        self.writable = writable
        self._release: Callable[[], None] | None = None  # of a writer: what lets another process write
        self._holder = -1
        self._manifest = Manifest.load(self.folder)
        if writable:
            self._hold()
            self._manifest = Manifest.load(self.folder)
        self._kind = self.load_given()
        self._readers: dict[int, GenerationReader] = {}
        # Workers hold a copy of this object but share this tensor, by fork or by torch's own pickling.
        self._published = torch.tensor([self._manifest.revision])
        self._published.share_memory_()  # type: ignore[no-untyped-call]
        reader = self._reader(self._manifest.current if opened_at is None else opened_at)
        if reader is not None:
            reader.check_whole(self.kind.check_predictions, limit=SMALL)

    @classmethod
    def unopened(cls, folder: str | os.PathLike[str], manifest: Manifest) -> ReadableLabels:
        """Return a store of which nothing has been read but its manifest: for whoever looks for damages."""
        self = cls.__new__(cls)
        self.folder, self.writable, self._manifest, self._readers = Path(folder).absolute(), False, manifest, {}
        return self

    def load_given(self, *, whole: bool = False) -> LabelKind:
        """Return the given labels; of a small file, or of the `whole` one, every bit is checked.

        Raises
        ------
        StoreError
            If they are damaged, or another store's.
        """
        path, manifest = self.folder / GIVEN, self._manifest
        kind, proof = KINDS[manifest.kind], manifest.proofs.get(GIVEN)
        try:
            if proof is not None:
                proof.check_bytes(path, limit=math.inf if whole else SMALL)
            with opened(path) as file:
                if manifest.run and file.attrs.get("run") != manifest.run:
                    raise OSError(f"those of another run, {file.attrs.get('run')!r}")
                if proof is not None and contents_digest(file, without=kind.on_disk) != proof.contents:
                    raise OSError("what its digest in the manifest does not fit")
                given = kind.load(file, manifest.num_classes, frame=manifest.frame)
        except DAMAGED as error:
            fix = (
                "restore them from a copy, or write them anew from the data set: SoftLabelStore.restore_given(folder, "
            )
            fix += 'labels), or fit(..., resume="last-whole") of a run'
            raise StoreError(f"given labels in {path}", got=str(error), fix=fix) from error
        self._check_fingerprint(given.fingerprint, f"in {path}")
        if len(given) != len(self):
            raise StoreError(f"{len(self)} given labels in {path}", got=str(len(given)), fix="restore it from a copy")
        return given

    def _hold(self) -> None:
        """Keep other processes from writing; a store that can be written to does it."""

    def check_given(self, given: Any, num_classes: int | None = None) -> None:
        """Raise a StoreError unless `given` (and `num_classes`) are what this store was made for."""
        if num_classes not in (None, self.num_classes):
            raise StoreError(
                f"a label store of {num_classes} classes at {self.folder}",
                got=f"one of {self.num_classes}",
                fix="pass the same num_classes as before, or a new run folder",
            )
        fingerprint, length = self.kind.fingerprint_of(given, self.num_classes)
        self._check_fingerprint(fingerprint, f"in the data set of {length} samples")

    def _check_fingerprint(self, fingerprint: str, where: str) -> None:
        if fingerprint != self._manifest.fingerprint:
            raise StoreError(
                f"the {len(self)} given labels of the store in {self.folder} "
                f"(fingerprint {self._manifest.fingerprint[:12]})",
                got=f"fingerprint {fingerprint[:12]} {where}",
                fix="use the data set that the store was made for, in the same order, or a new run folder",
            )

    # ---------------------------------------------------------------- what it is

    def __len__(self) -> int:
        return self._manifest.length

    def __repr__(self) -> str:
        return (
            f"SoftLabelStore({str(self.folder)!r}: {len(self)} samples, {self.num_classes} classes, "
            f"generation {self.generation})"
        )

    @property
    def kind(self) -> LabelKind:
        """What the labels are made of, with the given labels in it; see :class:`~noisycorrect.labels.LabelKind`."""
        return self._kind

    @property
    def num_classes(self) -> int:
        """Number of classes, K."""
        return self._manifest.num_classes

    @property
    def codec(self) -> Codec:
        """Codec of the evidence."""
        return codec_named(self._manifest.codec)

    @property
    def frame(self) -> Any:
        """What the kind of labels knows of how predictions are made: of masks, the canonical frame's size, or None."""
        return self.kind.frame

    @property
    def run(self) -> str:
        """Name of the run that made the store, which is in all of its files; empty in stores of older versions."""
        return self._manifest.run

    @property
    def generation(self) -> int:
        """Number of the current generation; 0 is the given labels."""
        if int(self._published) > self._manifest.revision:
            self._reload()
        return self._manifest.current

    @property
    def generations(self) -> tuple[int, ...]:
        """Numbers of the generations that can be read, 0 included."""
        self.generation  # noqa: B018 - notices a new generation
        return (0, *self._manifest.generations)

    @property
    def labeled(self) -> np.ndarray:
        """Which samples have a given label, bool (N,)."""
        return self.kind.labeled

    @property
    def bytes(self) -> int:
        """Bytes on disk, all generations and the given labels."""
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())

    def refresh(self) -> None:
        """Read the manifest again: another process may have published a generation."""
        self._reload()
        self._published.fill_(self._manifest.revision)

    def _reload(self) -> None:
        self._manifest = Manifest.load(self.folder)
        while self._readers:  # after a rollback a number may name another file than before
            self._readers.popitem()[1].close()

    # ---------------------------------------------------------------- reading

    def given(self, indices: Indices = None) -> Any:
        """Return given labels as their kind has them: class labels int64 (n,), masks a list of uint8 (H, W).

        Parameters
        ----------
        indices : int, slice, sequence of int or None
            Positions; None is all of them.
        """
        return self.kind.take(self._rows(indices))

    def code(self, indices: Indices = None, *, generation: int | None = None) -> np.ndarray:
        """Return the stored code of the evidence, (n, K, ...): what a loader's worker reads.

        ``store.codec.decode`` turns it into probabilities, on any device. At generation 0 there is none to read.
        """
        return self._reader_or_raise(generation).code(self._rows(indices))

    def evidence(self, indices: Indices = None, *, generation: int | None = None) -> Tensor:
        """Return the mean of the predictions so far, float32 (n, K, ...).

        At generation 0, nothing having been predicted, that about class labels is zero; about others there is none.

        Parameters
        ----------
        indices : int, slice, sequence of int or None
            Positions; None is all of them.
        generation : int, optional
            Default: the current one.

        Raises
        ------
        StaleGenerationError
            If the generation was pruned or never made.
        """
        rows = self._rows(indices)
        reader = self._reader(self.generation if generation is None else generation)
        if reader is not None:
            return reader.evidence(rows)
        first = self.kind.first_evidence(len(rows))
        return self._reader_or_raise(0).evidence(rows) if first is None else first

    def trust(self, indices: Indices = None, *, generation: int | None = None) -> Trust:
        """Return the trust in given labels; a sample without one weighs 0."""
        rows = self._rows(indices)
        reader = self._reader(self.generation if generation is None else generation)
        return Trust(paper_trust(0, torch.from_numpy(self.labeled[rows]))) if reader is None else reader.trust(rows)

    def held_out(self, *, generation: int | None = None) -> np.ndarray:
        """Return about which labels the evidence is of models that were not trained on them, bool (N,)."""
        reader = self._reader(self.generation if generation is None else generation)
        none = np.zeros(len(self), bool)
        return none if reader is None or reader.held_out is None else reader.held_out.copy()

    def expected_rate(self, *, generation: int | None = None) -> float | None:
        """Return the share of wrong labels that was expected from elsewhere than the evidence; None if it was not."""
        reader = self._reader(self.generation if generation is None else generation)
        return None if reader is None else reader.expected_rate

    def refined(self, indices: Indices = None, *, generation: int | None = None) -> Any:
        """Return refined labels: trust x given + (1 - trust) x evidence (SCHP, Eq. 7).

        Returns
        -------
        Tensor, float32 (n, K), or list of Tensor, float32 (K, H, W)
            Of classes, or of masks; see :meth:`LabelKind.refined <noisycorrect.labels.LabelKind.refined>`. Rows sum to
            1; zero for an unlabelled sample before the first generation, and at ignored pixels. Masks have the size of
            the given mask, or of the evidence where there is none.
        """
        return self.kind.refined(*self._composed_of(indices, generation))

    def labels(self, indices: Indices = None, *, generation: int | None = None) -> Any:
        """Return the most probable class of the refined labels; of equally probable ones the given one.

        Returns
        -------
        ndarray, int64 (n,), or list of ndarray, uint8 (H, W), of more than 255 classes uint16
            Of classes, or of masks: -1 for an unlabelled sample before the first generation; 255 (65535 of more than
            255 classes) at ignored pixels.
        """
        return self.kind.labels(*self._composed_of(indices, generation))

    def _composed_of(self, indices: Indices, generation: int | None) -> tuple[np.ndarray, EvidenceReader | None, Trust]:
        rows = self._rows(indices)
        number = self.generation if generation is None else generation
        reader = self._reader(number)
        return rows, None if reader is None else reader.evidence, self.trust(rows, generation=number)

    def _rows(self, indices: Indices) -> np.ndarray:
        if indices is None or isinstance(indices, slice):
            return np.arange(len(self))[indices if indices is not None else slice(None)]
        rows = np.atleast_1d(as_array(indices, "indices"))
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise InvalidInputError(
                "indices: whole numbers, shape (n,)",
                got=f"{rows.dtype} of shape {rows.shape}",
                fix="pass positions; np.flatnonzero makes them of a boolean mask",
            )
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise InvalidInputError(
                f"indices in 0..{len(self) - 1}", got=f"{rows.min()}..{rows.max()}", fix="use the data set's positions"
            )
        return rows.astype(np.int64)

    def _reader(self, number: int) -> GenerationReader | None:
        if number == 0:
            return None
        if number not in self._readers:
            if number not in self._manifest.generations:
                raise StaleGenerationError(
                    f"one of generations {(0, *self._manifest.generations)}",
                    got=str(number),
                    fix="keep more generations (keep=None keeps all), or ask for a later one",
                )
            self._readers[number] = self.reader(number)
        return self._readers[number]

    def reader(self, number: int) -> GenerationReader:
        """Return a new reader of a generation's file."""
        path, dimensions = self._path(number), KINDS[self._manifest.kind].predictions.count(",") + 1
        proof = self._manifest.proofs.get(path.name)
        return GenerationReader(path, self._header(number), self.codec, proof, dimensions=dimensions)

    def _reader_or_raise(self, generation: int | None) -> GenerationReader:
        reader = self._reader(self.generation if generation is None else generation)
        if reader is None:
            raise StoreError("a generation >= 1", got="generation 0", fix="no evidence exists before the first cycle")
        return reader

    def _header(self, number: int) -> Header:
        manifest = self._manifest
        return Header(number, manifest.length, manifest.num_classes, manifest.fingerprint, manifest.codec, manifest.run)

    def _path(self, number: int) -> Path:
        return self.folder / f"generation-{number:04d}.h5"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "writable": False, "_release": None}
