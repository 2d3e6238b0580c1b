"""What all commands share: where the labels of a run lie."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from noisycorrect.labels import SoftLabelStore

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def opened_store(folder: Path) -> SoftLabelStore:
    """Return the label store of a run folder or a saved result (in its folder ``labels``), or in the folder itself.

    Raises
    ------
    StoreError
        If there is none, or it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = SoftLabelStore.create(folder / "labels", [0, 1, 1], 2)
    >>> len(opened_store(folder)), len(opened_store(folder / "labels"))
    (3, 3)
    """
    inside = folder / "labels"
    return SoftLabelStore.open(inside if inside.is_dir() else folder)
