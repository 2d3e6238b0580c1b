"""Changing a label store by hand so that its digests fit again: as somebody would who wants to be believed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noisycorrect.labels.hdf5 import contents_digest
from noisycorrect.labels.header import EVIDENCE
from noisycorrect.labels.manifest import NAME
from noisycorrect.support.checksums import SEAL, file_digest, sealed


def edit_manifest(folder: Path, *without: str, **fields: Any) -> None:
    """Change, or leave out, fields of a store's manifest, and seal it again."""
    path = folder / NAME
    content = {**json.loads(path.read_text(encoding="utf-8")), **fields}
    kept = {name: value for name, value in content.items() if name not in (SEAL, *without)}
    path.write_text(json.dumps(sealed(kept)), encoding="utf-8")


@contextlib.contextmanager
def edited(path: Path) -> Iterator[Any]:
    """Give a store's file open for changes, and let the manifest believe it afterwards."""
    import h5py

    with h5py.File(path, "a", locking=False) as file:
        yield file
        file.flush()
        with contextlib.suppress(Exception):  # of a file that cannot even be summed up nothing is claimed
            contents = contents_digest(file, without=(EVIDENCE, "compressed"))
            proofs = json.loads((path.parent / NAME).read_text(encoding="utf-8"))["proofs"]
            proofs[path.name]["contents"] = contents
            edit_manifest(path.parent, proofs=proofs)
    believe(path)


def believe(path: Path) -> None:
    """Let the manifest name the digest of a file's bytes as they are now."""
    proofs = json.loads((path.parent / NAME).read_text(encoding="utf-8"))["proofs"]
    proofs[path.name]["file"] = file_digest(path)
    edit_manifest(path.parent, proofs=proofs)
