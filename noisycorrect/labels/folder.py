"""The folder of a label store: how it is made, held by one writer, and removed."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from noisycorrect.labels.hdf5 import NewFile, contents_digest, opened
from noisycorrect.labels.kind import LabelKind
from noisycorrect.labels.manifest import NAME, Manifest, Proof
from noisycorrect.labels.reading import GIVEN
from noisycorrect.support.errors import StoreError
from noisycorrect.support.files import aside, leftovers, publish
from noisycorrect.support.locks import LOCK, hold
from noisycorrect.support.signals import uninterrupted

_PART = re.compile(r"\.generation-\d{4,}\.rank-?\d+\.part|\.given\.h5\.part")


def remove_store(folder: Path) -> None:
    """Remove a store; one that is killed meanwhile leaves a folder in which a store can be made."""
    (folder / NAME).unlink(missing_ok=True)  # first: without a manifest there is no store
    shutil.rmtree(folder)


def _make_empty(folder: Path) -> None:
    """Make a folder; raise unless it holds at most what was left of a start that was cut short."""
    folder.mkdir(parents=True, exist_ok=True)
    ours = {folder / GIVEN, folder / LOCK, *own_parts(folder)}  # given labels without a manifest are such a start
    if any(path not in ours for path in folder.iterdir()):
        raise StoreError(
            f"a new or empty folder at {folder}",
            got="a folder with files",
            fix="open the store that is there, or choose another folder",
        )


def own_parts(folder: Path) -> list[Path]:
    """Return what killed writers have left in a store's folder."""
    return [*leftovers(folder, GIVEN, NAME), *(path for path in folder.glob(".*.part") if _PART.fullmatch(path.name))]


def write_new(folder: Path, labels: LabelKind, manifest: Manifest) -> None:
    """Make a store in a new or empty folder; raise a StoreError if it holds something, or cannot be written."""
    try:
        _make_empty(folder)
        release = held(folder)
        try:
            _make_empty(folder)  # nobody was faster
            proof = write_given(folder, labels, manifest.run)
            dataclasses.replace(manifest, proofs={GIVEN: proof}).save(folder)  # last: without it there is no store
        finally:
            release()
    except OSError as error:
        raise write_error(folder, error) from error


def write_given(folder: Path, labels: LabelKind, run: str) -> Proof:
    """Write the file of given labels, atomically; return by what it will be known to be whole."""
    part = aside(folder / GIVEN)
    try:
        with NewFile(part) as file, uninterrupted():
            labels.save(file.hdf5)
            file.hdf5.attrs["run"] = run
        with opened(part) as written:
            contents = contents_digest(written, without=labels.on_disk)
        proof = Proof.of(part, contents)
        publish(part, folder / GIVEN)
        return proof
    finally:
        part.unlink(missing_ok=True)


def held(folder: Path) -> Callable[[], None]:
    """Keep other processes from writing; return what lets them again."""
    try:
        return hold(folder)
    except OSError as error:
        raise write_error(folder, error) from error


def write_error(folder: Path, error: OSError) -> StoreError:
    """Return the error of a folder that cannot be written."""
    return StoreError(f"to write into {folder}", got=str(error), fix="free space on the disk, or choose another folder")
