"""What the file of a generation can hold; one that says otherwise was damaged, or made by somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.codec import Codec
from noisycorrect.labels.header import EVIDENCE, PART_TRUST, Header
from noisycorrect.support.errors import StoreError

if TYPE_CHECKING:
    import h5py


def damaged(path: Path, got: str) -> StoreError:
    """Return the error of a generation's file that is not whole."""
    fix = 'restore it from a copy, or go on from what is whole: resume="last-whole"; `noisycorrect check` says what is'
    return StoreError(f"a whole HDF5 file at {path}", got=got, fix=fix)


def check_evidence(file: h5py.File, header: Header, codec: Codec, dimensions: int | None) -> None:
    """Raise a ValueError unless the evidence is laid out as the codec and the kind of labels have it."""
    evidence = file[EVIDENCE]
    shape, wanted = evidence.shape, (header.length, header.num_classes)
    if shape[:2] != wanted or 0 in shape or dimensions not in (None, len(shape)):
        raise ValueError(f"evidence of shape {shape}, of {wanted[0]} samples and {wanted[1]} classes")
    if evidence.dtype != codec.dtype:
        raise ValueError(f"evidence of {evidence.dtype}; the codec {codec.name!r} has {codec.dtype}")
    if evidence.chunks is not None and evidence.chunks != (1, *shape[1:]):
        raise ValueError(f"evidence in chunks of {evidence.chunks}")


def check_part_trust(file: h5py.File, length: int, places: tuple[int, ...]) -> None:
    """Raise a ValueError unless trust in parts is laid out as the evidence is."""
    trust, wanted = file[PART_TRUST], (length, *places)
    if trust.shape != wanted or trust.dtype != np.uint8 or trust.chunks != (1, *wanted[1:]):
        raise ValueError(f"{PART_TRUST} of {trust.dtype}, shape {trust.shape}, chunks {trust.chunks}; it is {wanted}")


def class_scale(file: h5py.File, num_classes: int) -> Tensor:
    """Return factors of the classes, float32 (K,), or raise a ValueError."""
    found = small_array(file, "class_scale", num_classes, "f4")
    if not (np.isfinite(found) & (found > 0)).all():
        raise ValueError("class_scale that is not finite and above 0")
    return torch.from_numpy(found)


def small_array(file: h5py.File, name: str, length: int, kind: str) -> np.ndarray:
    """Return a small array of a file, (length,), or raise a ValueError; what it declares is looked at first."""
    dataset, dtype = file[name], np.dtype(kind)
    if dataset.shape != (length,) or dataset.dtype != dtype:
        raise ValueError(f"{name} of {dataset.dtype} and shape {dataset.shape}; it is {dtype}, ({length},)")
    found: np.ndarray = dataset[()]
    return found


def fractions(file: h5py.File, name: str, length: int) -> np.ndarray:
    """Return numbers in [0, 1], float32 (length,), or raise a ValueError."""
    found = small_array(file, name, length, "f4")
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"{name} outside of 0..1")
    return found


def expected_rate(file: h5py.File) -> float | None:
    """Return the rate of wrong labels that a generation expects; None if it has none."""
    rate = file.attrs.get("expected_rate")
    if rate is not None and not 0 <= float(rate) <= 1:
        raise ValueError(f"an expected rate of {rate}")
    return None if rate is None else float(rate)
