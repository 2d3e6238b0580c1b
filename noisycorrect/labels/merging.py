"""One generation of labels: how the parts of several ranks become one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noisycorrect.labels.codec import Codec
from noisycorrect.labels.hdf5 import NewFile, contents_digest, opened
from noisycorrect.labels.header import CHECKSUMS, EVIDENCE, PART_TRUST, WHOLE, Header
from noisycorrect.labels.manifest import Proof
from noisycorrect.support.checksums import row_checksums
from noisycorrect.support.signals import uninterrupted

if TYPE_CHECKING:
    import h5py

PART_STORAGE: dict[str, Any] = {"compression": "gzip", "compression_opts": 4}
ROWS_AT_ONCE = 65_536


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
        _, checksums = new_part_trust(merged, length, source.shape[1:])  # a rank may have judged none
        merged.create_dataset(name, data=checksums)
    merged[name][start : start + len(source)] = part[name][()]
    _copy_rows(source, merged[PART_TRUST], start)


def new_part_trust(file: h5py.File, length: int, shape: tuple[int, ...]) -> tuple[h5py.Dataset, np.ndarray]:
    """Make the trust in the parts of so many labels, all of it 1; return it and the checksum of each label's."""
    options = {"chunks": (1, *shape), **PART_STORAGE}
    trust = file.create_dataset(PART_TRUST, (length, *shape), np.uint8, **options)
    for start in range(0, length, ROWS_AT_ONCE):  # a file that lacks a chunk is not whole
        trust[start : start + ROWS_AT_ONCE] = WHOLE
    return trust, np.repeat(row_checksums(np.full((1, *shape), WHOLE, np.uint8)), length)


def generation_proof(path: Path) -> Proof:
    """Return by what a generation's file, just written, will be known to be whole."""
    with opened(path) as file:
        contents = contents_digest(file, without=(EVIDENCE,))
    return Proof.of(path, contents)


def _copy_rows(source: h5py.Dataset, target: h5py.Dataset, start: int) -> None:
    if source.chunks is None:
        for row in range(0, len(source), ROWS_AT_ONCE):
            block = source[row : row + ROWS_AT_ONCE]
            target[start + row : start + row + len(block)] = block
        return
    rest = (0,) * (source.ndim - 1)
    for row in range(len(source)):
        mask, raw = source.id.read_direct_chunk((row, *rest))
        target.id.write_direct_chunk((start + row, *rest), raw, mask)
