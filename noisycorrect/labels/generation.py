"""One generation of labels, an HDF5 file that is written once: how it is read."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.codec import Codec
from noisycorrect.labels.hdf5 import DAMAGED, contents_digest, opened
from noisycorrect.labels.header import CHECKSUMS, EVIDENCE, PART_TRUST, WHOLE, Header
from noisycorrect.labels.manifest import Proof
from noisycorrect.labels.mapped import MappedArray
from noisycorrect.labels.rules import Rule
from noisycorrect.labels.soundness import (
    check_evidence,
    check_part_trust,
    class_scale,
    damaged,
    expected_rate,
    fractions,
    small_array,
)
from noisycorrect.labels.trust import Trust
from noisycorrect.support.checksums import row_checksums
from noisycorrect.support.errors import StaleGenerationError

if TYPE_CHECKING:
    import h5py

ROUNDING = 1e-3
SMALL = 2**26  # bytes of a file that is checked as a whole when a store is opened: 20 ms


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
        with self._explained():
            if proof is not None:
                proof.check_bytes(path, limit=SMALL)
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
            if self._proof is not None:
                self._proof.check_bytes(self._path, limit=limit)
            rows = max(1, SMALL // max(1, math.prod(self.shape[1:]) * self._codec.dtype.itemsize))
            for start in range(0, self.shape[0], rows):
                some = np.arange(start, min(start + rows, self.shape[0]))
                check(self.evidence(some))
                if self._codec.dtype.kind == "u" and not self.code(some).max(1).all():  # which a floor would hide
                    raise OSError(f"evidence of zeros about samples {start}..{some[-1]}")
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
