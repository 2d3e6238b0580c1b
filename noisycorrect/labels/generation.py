"""One generation of labels: an HDF5 file that is written once, by one process or in parts, and then only read."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.codec import Codec
from noisycorrect.labels.hdf5 import DAMAGED, NewFile, contents_digest, opened
from noisycorrect.labels.header import CHECKSUMS, EVIDENCE, Header
from noisycorrect.labels.kind import LabelKind
from noisycorrect.labels.manifest import Proof
from noisycorrect.labels.mapped import MappedArray
from noisycorrect.labels.soundness import (
    PART_TRUST,
    check_evidence,
    check_part_trust,
    class_scale,
    damaged,
    expected_rate,
    fractions,
    small_array,
)
from noisycorrect.labels.trust import RULES, Rule, Trust
from noisycorrect.support.arrays import as_array
from noisycorrect.support.checks import finite_number
from noisycorrect.support.checksums import file_digest, row_checksums
from noisycorrect.support.errors import InvalidInputError, StaleGenerationError
from noisycorrect.support.signals import uninterrupted

if TYPE_CHECKING:
    import h5py

PART_STORAGE: dict[str, Any] = {"compression": "gzip", "compression_opts": 4}
WHOLE = 255  # the code of trust 1
JUDGED_AT_ONCE = 2**23  # values of evidence
MERGE_ROWS = 65_536  # rows copied at once when dense parts are merged
ROUNDING = 1e-3
SMALL = 2**26  # bytes of a file that is checked as a whole when a store is opened: 20 ms
COMPRESSED_FROM = 4096  # bytes of a sample's code; a chunk of its own costs some 60 bytes and 0.1 ms whatever it holds

Accumulate = Callable[[np.ndarray, Tensor], Tensor]  # (indices, probs) -> evidence
Weigh = Callable[[np.ndarray, Tensor], Tensor]  # (indices, evidence) -> weight of the given labels


class GenerationWriter:
    """Writes the evidence of the samples `start` to `stop` into one file, each sample once, in any order.

    Made by :meth:`~noisycorrect.SoftLabelStore.new_generation`; a caller only needs :meth:`write`.

    Attributes
    ----------
    floor : Tensor, shape (K,), or None
        Least trust in the labels of each class; may be set before the block ends, the same on all ranks.
    rule : str or None
        Name of a rule that judges each part of a label (each pixel of a mask), likewise; see
        :data:`~noisycorrect.labels.trust.RULES`.
    held_out : ndarray of bool, shape (N,), or None
        About which labels of the whole set the evidence is of models that were not trained on them, likewise; None says
        about none.
    expected_rate : float or None
        Share of wrong labels that is expected from elsewhere than this evidence, likewise.
    class_scale : Tensor, shape (K,), or None
        What the evidence is multiplied by when labels are composed, likewise.
    coupled : bool
        Whether labels keep their detail where they agree with coarser evidence, likewise; see
        :class:`~noisycorrect.labels.trust.Trust`.
    """

    # A misspelt attribute would be lost without a word.
    __slots__ = (
        "_accumulate", "_checksums", "_codec", "_codes", "_file", "_kind", "_length", "_part", "_part_checksums",
        "_part_trust", "_weigh", "_weight", "_written", "class_scale", "coupled", "expected_rate", "floor", "held_out",
        "rule",
    )  # fmt: skip

    def __init__(
        self,
        path: Path,
        header: Header,
        kind: LabelKind,
        codec: Codec,
        part: range,
        accumulate: Accumulate,
        weigh: Weigh,
    ) -> None:
        self._codec = codec
        self._kind = kind
        self._part = part
        self._accumulate = accumulate
        self._weigh = weigh
        self._written = np.zeros(len(part), bool)
        self._weight = np.zeros(len(part), np.float32)
        self._checksums = np.zeros(len(part), np.uint32)
        self.floor: Tensor | None = None
        self.rule: str | None = None
        self.held_out: np.ndarray | None = None
        self.expected_rate: float | None = None
        self.class_scale: Tensor | None = None
        self.coupled = False
        self._part_trust: h5py.Dataset | None = None
        self._part_checksums: np.ndarray | None = None
        self._length = header.length
        self._codes: h5py.Dataset | None = None
        self._file = NewFile(path)
        with uninterrupted():
            header.write(self._file.hdf5)
            self._file.hdf5.attrs["start"] = part.start

    def write(self, indices: Sequence[int] | np.ndarray | Tensor, probs: Tensor) -> None:
        """Take the predictions for some samples into the new generation.

        Parameters
        ----------
        indices : sequence of int, shape (n,)
            Positions in the data set; each sample once in a generation.
        probs : Tensor, shape (n, K, ...)
            Class probabilities as the kind of labels wants them, most often summing to 1 over dimension 1; of one shape
            for all samples.

        Raises
        ------
        InvalidInputError
            If a position lies outside this writer's part or comes twice, or `probs` are no probabilities.
        StoreError
            If the file cannot be written (a full disk, say).
        """
        probs = probs.detach().float().cpu()
        positions = self._checked_positions(indices, probs)
        if not len(positions):
            return
        evidence = self._accumulate(positions, probs)
        weight = self._weigh(positions, evidence).numpy()
        code = self._codec.encode(evidence)
        local = positions - self._part.start
        with uninterrupted():
            dataset = self._dataset(code.shape[1:])
            for rows, values in _increasing_runs(local, code):
                dataset[rows] = values
        self._file.check()
        self._checksums[local] = row_checksums(code)
        self._weight[local] = weight
        self._written[local] = True

    def written(self, *, most: int | None = None) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield what was written, to judge it once all is known: positions (n,) and their evidence (n, K, ...).

        Of more than `most` samples so many are yielded, evenly spaced.
        """
        rows = np.flatnonzero(self._written)
        if self._codes is None:
            return
        rows = rows[:: 1 if most is None else -(-len(rows) // most)]
        step = max(1, JUDGED_AT_ONCE // math.prod(self._codes.shape[1:]))
        for start in range(0, len(rows), step):
            local = rows[start : start + step]
            code = np.stack([self._codes[row] for row in local])
            yield local + self._part.start, self._codec.decode(torch.from_numpy(code))

    def judge(self, indices: np.ndarray, trust: Tensor) -> None:
        """Keep the trust in each part of some labels, (n, h, w) in [0, 1], at the resolution of their evidence.

        It is kept in steps of 1/255. Once a label of a generation is judged by its parts, those that are not weigh 1.

        Raises
        ------
        InvalidInputError
            If it is of another shape than the evidence, or no trust.
        """
        shape = () if self._codes is None else self._codes.shape[2:]
        values = trust.detach().float().cpu()
        if values.shape != (len(indices), *shape) or not ((values >= 0) & (values <= 1)).all():
            expected, got = f"trust of shape {(len(indices), *shape)} in [0, 1]", f"shape {tuple(values.shape)}"
            raise InvalidInputError(expected, got=got, fix="pass one value for each place of the evidence")
        code, local = values.mul(WHOLE).round_().to(torch.uint8).numpy(), indices - self._part.start
        with uninterrupted():
            if self._part_trust is None or self._part_checksums is None:
                all_of_it = (len(self._part), *shape)
                self._part_trust = self._file.hdf5.create_dataset(
                    PART_TRUST, all_of_it, np.uint8, chunks=(1, *shape), **PART_STORAGE
                )
                for start in range(0, len(self._part), MERGE_ROWS):  # a file that lacks a chunk is not whole
                    self._part_trust[start : start + MERGE_ROWS] = WHOLE
                self._part_checksums = _of_whole(len(self._part), shape)
            for rows, runs in _increasing_runs(local, code):
                self._part_trust[rows] = runs
        self._file.check()
        self._part_checksums[local] = row_checksums(code)

    def _checked_positions(self, indices: Any, probs: Tensor) -> np.ndarray:
        self._kind.check_predictions(probs)
        positions = as_array(indices, "indices")
        if positions.shape != (len(probs),) or (positions.size and positions.dtype.kind not in "iu"):
            raise InvalidInputError(
                f"{len(probs)} indices, whole numbers, for {len(probs)} predictions",
                got=f"{positions.dtype} of shape {positions.shape}",
                fix="pass the batch's own index",
            )
        positions = positions.astype(np.int64)
        outside = (positions < self._part.start) | (positions >= self._part.stop)
        if outside.any():
            raise InvalidInputError(
                f"indices in {self._part.start}..{self._part.stop - 1}",
                got=str(positions[outside][0]),
                fix="each rank writes its own shard of the data set",
            )
        local = positions - self._part.start
        if len(np.unique(local)) != len(local) or self._written[local].any():
            raise InvalidInputError(
                "each sample once in a generation",
                got="an index that was written before",
                fix="predict with a loader that neither repeats nor pads samples",
            )
        return positions

    def _dataset(self, shape: tuple[int, ...]) -> h5py.Dataset:
        if self._codes is None:
            large = math.prod(shape) * self._codec.dtype.itemsize >= COMPRESSED_FROM
            options = {"chunks": (1, *shape), **self._codec.storage} if large and self._codec.storage else {}
            self._codes = self._file.hdf5.create_dataset(
                EVIDENCE, (len(self._part), *shape), self._codec.dtype, **options
            )
        elif self._codes.shape[1:] != shape:
            raise InvalidInputError(
                f"predictions of shape (n, {', '.join(map(str, self._codes.shape[1:]))})",
                got=f"(n, {', '.join(map(str, shape))})",
                fix="predict every sample in one canonical frame",
            )
        return self._codes

    def finish(self) -> None:
        """Check that every sample was written, and close the file."""
        missing = np.flatnonzero(~self._written)
        if len(missing):
            raise InvalidInputError(
                f"predictions for all {len(self._part)} samples",
                got=f"{len(self._part) - len(missing)}; first missing: {missing[0] + self._part.start}",
                fix="predict with a loader that leaves nothing out (drop_last=False)",
            )
        with uninterrupted():
            self._complete()
        self._file.close()

    def _complete(self) -> None:
        """Write what is known of all samples."""
        self._file.hdf5.create_dataset("trust", data=self._weight)
        self._file.hdf5.attrs["coupled"] = bool(self.coupled)
        self._file.hdf5.create_dataset(CHECKSUMS.format(EVIDENCE), data=self._checksums)
        if self._part_checksums is not None:
            self._file.hdf5.create_dataset(CHECKSUMS.format(PART_TRUST), data=self._part_checksums)
        if self.rule is not None:
            self._file.hdf5.attrs["pixel_trust"] = _checked_rule(self.rule)
        if self.expected_rate is not None:
            self._file.hdf5.attrs["expected_rate"] = finite_number(
                "expected_rate", self.expected_rate, above=0, below=math.nextafter(1, 2), fix="pass a share of labels"
            )
        if self.floor is not None:
            self._file.hdf5.create_dataset("class_trust", data=self._checked_floor(self.floor))
        if self.class_scale is not None:
            self._file.hdf5.create_dataset("class_scale", data=self._checked_scale(self.class_scale))
        if self.held_out is not None:
            self._file.hdf5.create_dataset("held_out", data=self._checked_held_out(self.held_out))

    def _checked_held_out(self, held_out: np.ndarray) -> np.ndarray:
        array = np.asarray(held_out)
        if array.shape != (self._length,) or array.dtype != bool:
            raise InvalidInputError(
                f"held_out of shape ({self._length},), bool",
                got=f"shape {array.shape}, {array.dtype}",
                fix="pass one value for each sample of the whole set",
            )
        return array

    def _checked_scale(self, scale: Tensor) -> np.ndarray:
        array: np.ndarray = scale.detach().float().cpu().numpy()
        classes = self._kind.num_classes
        if array.shape != (classes,) or not (np.isfinite(array) & (array > 0)).all():
            expected = f"a class scale of shape ({classes},), finite and > 0"
            raise InvalidInputError(expected, got=f"shape {array.shape}, {array}", fix="pass one factor a class")
        return array

    def _checked_floor(self, floor: Tensor) -> np.ndarray:
        array: np.ndarray = floor.detach().float().cpu().numpy()
        classes = self._kind.num_classes
        if array.shape != (classes,) or not ((array >= 0) & (array <= 1)).all():
            raise InvalidInputError(
                f"a floor of shape ({classes},) in [0, 1]",
                got=f"shape {array.shape}" + (f", from {array.min():.3g} to {array.max():.3g}" if array.size else ""),
                fix="pass one weight a class",
            )
        return array

    def abandon(self) -> None:
        """Close the file, which is about to be deleted; after :meth:`finish` do nothing."""
        self._file.discard()


def merge_parts(parts: Sequence[Path], target: Path, header: Header, codec: Codec) -> None:
    """Write the parts of several ranks, in order, into one generation file.

    Compressed chunks are copied as they are; dense rows in blocks. The merged file equals one written by one rank.
    """
    import h5py

    with NewFile(target) as file:
        with uninterrupted():
            header.write(file.hdf5)
            file.hdf5.attrs["start"] = 0
            file.hdf5.create_dataset("trust", (header.length,), np.float32)
            file.hdf5.create_dataset(CHECKSUMS.format(EVIDENCE), (header.length,), np.uint32)
        for path in parts:
            with h5py.File(path, "r", locking=False) as part:
                header.check(part)
                with uninterrupted():
                    _merge_part(part, file.hdf5, header, codec)
                file.check()


def _merge_part(part: h5py.File, merged: h5py.File, header: Header, codec: Codec) -> None:
    start = int(part.attrs["start"])
    for name in ("trust", CHECKSUMS.format(EVIDENCE)):
        merged[name][start : start + len(part[name])] = part[name][()]
    for name in ("pixel_trust", "expected_rate", "coupled"):
        if name in part.attrs:
            merged.attrs[name] = part.attrs[name]
    for name in ("class_trust", "class_scale", "held_out"):
        if name in part and name not in merged:
            merged.create_dataset(name, data=part[name][()])
    if PART_TRUST in part:
        _merge_part_trust(part, merged, start, header.length)
    if EVIDENCE not in part:  # of a rank whose shard is empty
        return
    source = part[EVIDENCE]
    if EVIDENCE not in merged:
        options = {"chunks": source.chunks, **codec.storage} if source.chunks else {}
        merged.create_dataset(EVIDENCE, (header.length, *source.shape[1:]), source.dtype, **options)
    _copy_rows(source, merged[EVIDENCE], start)


def _merge_part_trust(part: h5py.File, merged: h5py.File, start: int, length: int) -> None:
    source, name = part[PART_TRUST], CHECKSUMS.format(PART_TRUST)
    if PART_TRUST not in merged:
        shape, chunks = (length, *source.shape[1:]), (1, *source.shape[1:])
        whole = merged.create_dataset(PART_TRUST, shape, np.uint8, chunks=chunks, **PART_STORAGE)
        for first in range(0, length, MERGE_ROWS):  # a rank may have judged none
            whole[first : first + MERGE_ROWS] = WHOLE
        merged.create_dataset(name, data=_of_whole(length, shape[1:]))
    merged[name][start : start + len(source)] = part[name][()]
    target = merged[PART_TRUST]
    _copy_rows(source, target, start)


def _of_whole(length: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the checksums of labels that are trusted in all their parts."""
    return np.repeat(row_checksums(np.full((1, *shape), WHOLE, np.uint8)), length)


def generation_proof(path: Path) -> Proof:
    """Return by what a generation's file, just written, will be known to be whole."""
    with opened(path) as file:
        contents = contents_digest(file, without=(EVIDENCE,))
    return Proof.of(path, contents)


def _copy_rows(source: h5py.Dataset, target: h5py.Dataset, start: int) -> None:
    if source.chunks is None:
        for row in range(0, len(source), MERGE_ROWS):
            block = source[row : row + MERGE_ROWS]
            target[start + row : start + row + len(block)] = block
        return
    rest = (0,) * (source.ndim - 1)
    for row in range(len(source)):
        mask, raw = source.id.read_direct_chunk((row, *rest))
        target.id.write_direct_chunk((start + row, *rest), raw, mask)


class GenerationReader:
    """Reads one generation; picklable, and safe after a fork: every process opens the file for itself, when it reads.

    Whatever is read is checked. On opening: attributes, trust and all else but the evidence, by one digest, and that
    they are what a generation can hold. On reading: each row of evidence by its checksum. To check all of a file of
    many GB before its first row is used would take longer than opening a store may (:meth:`check_whole` does).

    Parameters
    ----------
    path : Path
        File of the generation.
    header : Header
        What the file must say of itself.
    codec : Codec
        Codec of the evidence.
    proof : Proof or None
        By what it is known to be whole; generations of older versions have none.
    dimensions : int
        Of predictions: 2 of classes, (N, K).

    Raises
    ------
    StoreError
        If the file is missing, damaged, of another store, or holds what no generation can.
    """

    def __init__(
        self, path: Path, header: Header, codec: Codec, proof: Proof | None = None, *, dimensions: int | None = None
    ) -> None:
        self._path = path
        self._codec = codec
        self._proof = proof
        self.generation = header.generation
        with self._explained(), opened(path) as file:
            header.check(file)
            if proof is not None and contents_digest(file, without=(EVIDENCE,)) != proof.contents:
                raise OSError("what its digest in the manifest does not fit")
            check_evidence(file, header, codec, dimensions)
            self.shape: tuple[int, ...] = file[EVIDENCE].shape
            self._weight = fractions(file, "trust", header.length)
            floor = fractions(file, "class_trust", header.num_classes) if "class_trust" in file else None
            self._floor = None if floor is None else torch.from_numpy(floor)
            self.held_out = small_array(file, "held_out", header.length, "?") if "held_out" in file else None
            self.expected_rate = expected_rate(file)
            rule = file.attrs.get("pixel_trust")
            self._rule = None if rule is None else Rule(rule)
            self._coupled = bool(file.attrs.get("coupled", False))
            self._scale = class_scale(file, header.num_classes) if "class_scale" in file else None
            self._in_parts = PART_TRUST in file
            if self._in_parts:
                check_part_trust(file, header.length, self.shape[2:])
            self._checksums, self._part_checksums = (
                small_array(file, name, header.length, "u4") if name in file else None
                for name in map(CHECKSUMS.format, (EVIDENCE, PART_TRUST))
            )
            dense = file[EVIDENCE].chunks is None
        if proof is not None and (self._checksums is None or (self._in_parts and self._part_checksums is None)):
            raise damaged(path, "no checksums of its rows")
        self._mapped = MappedArray(path, EVIDENCE) if dense else None
        self._handle: h5py.File | None = None
        self._process = -1

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            # The writer prunes old generations; a reader that still asks for one has missed the new one.
            raise StaleGenerationError(
                f"label generation file {self._path.name}",
                got="no such file: pruned, or deleted by hand",
                fix="call refresh() on the store, or keep more generations (keep=)",
            ) from error
        except DAMAGED as error:
            raise damaged(self._path, str(error)) from error

    def check_whole(self, check: Callable[[Tensor], object], *, limit: float = math.inf) -> None:
        """Read all of the file, unless it has more than `limit` bytes, and raise a StoreError if it is damaged.

        `check` is called with the evidence of some samples at once.
        """
        with self._explained():
            if self._path.stat().st_size > limit:
                return
            if self._proof is not None and file_digest(self._path) != self._proof.file:
                raise OSError("bytes that its digest in the manifest does not fit")
            rows = max(1, SMALL // max(1, math.prod(self.shape[1:]) * self._codec.dtype.itemsize))
            for start in range(0, self.shape[0], rows):
                some = np.arange(start, min(start + rows, self.shape[0]))
                check(self.evidence(some))
                self.trust(some)

    def code(self, indices: np.ndarray) -> np.ndarray:
        """Return the stored code of some samples, (n, K, ...), as the codec made it.

        Raises
        ------
        StoreError
            If a row is damaged.
        """
        with self._explained():
            code = self._read(EVIDENCE, indices) if self._mapped is None else self._mapped[indices]
            _check_rows(code, indices, self._checksums)
            return code

    def _read(self, name: str, indices: np.ndarray) -> np.ndarray:
        if self._handle is None or self._process != os.getpid():
            import h5py

            self._handle, self._process = h5py.File(self._path, "r", locking=False), os.getpid()
        dataset = self._handle[name]
        out = np.empty((len(indices), *dataset.shape[1:]), dataset.dtype)
        for row, index in enumerate(indices):  # one chunk each: HDF5's own fancy indexing is slower
            dataset.read_direct(out, np.s_[int(index)], np.s_[row])
        return out

    def evidence(self, indices: np.ndarray) -> Tensor:
        """Return the decoded evidence of some samples, float32 (n, K, ...)."""
        found = self._codec.decode(torch.from_numpy(np.ascontiguousarray(self.code(indices))))
        if len(indices) and not found.max() <= 1 + ROUNDING:  # also of NaN
            raise damaged(self._path, f"evidence that is no probability about samples {indices.min()}..{indices.max()}")
        return found

    def trust(self, indices: np.ndarray) -> Trust:
        """Return the trust in the given labels of some samples; the floor is a copy."""
        floor = None if self._floor is None else self._floor.clone()
        parts = None
        if self._in_parts:
            with self._explained():
                code = self._read(PART_TRUST, indices)
                _check_rows(code, indices, self._part_checksums)
                parts = torch.from_numpy(code).float() / WHOLE
        scale = None if self._scale is None else self._scale.clone()
        return Trust(torch.from_numpy(self._weight[indices]), floor, self._rule, parts, scale, self._coupled)

    def close(self) -> None:
        """Close this process's handle, if it has one."""
        if self._handle is not None and self._process == os.getpid():
            self._handle.close()
        self._handle = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_process": -1}


def _check_rows(code: np.ndarray, indices: np.ndarray, checksums: np.ndarray | None) -> None:
    if checksums is not None:
        wrong = row_checksums(code) != checksums[indices]
        if wrong.any():
            raise OSError(f"evidence about sample {indices[wrong][0]} that its checksum does not fit")
    # A row that somebody else has written, with its checksum, or an older version, without.
    if code.dtype.kind == "f" and not (code >= 0).all():
        raise OSError(f"evidence that is no probability about samples {indices.min()} to {indices.max()}")


def _checked_rule(name: str) -> str:
    if RULES[Rule(name).name].fit is not None:
        raise InvalidInputError(
            "a rule of trust that needs nothing of the whole set", got=repr(name), fix="return its weights from trust="
        )
    return name


def _increasing_runs(rows: np.ndarray, values: np.ndarray) -> list[tuple[Any, np.ndarray]]:
    """Return what HDF5 writes fast: one slice where the rows follow each other, else the rows in increasing order."""
    if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return [(slice(int(rows[0]), int(rows[0]) + len(rows)), values)]
    order = np.argsort(rows)
    return [(rows[order], values[order])] if len(rows) else []
