"""What all commands share: where the labels of a run lie."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from noisycorrect.labels import SoftLabelStore
from noisycorrect.review.noise_estimate import NoiseEstimate
from noisycorrect.saved.details import Details

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def class_names_in(folder: Path) -> tuple[str, ...] | None:
    """Return what a run folder or a saved result calls its classes; None if it does not say.

    Raises
    ------
    CheckpointError
        If what it says is damaged.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> Details("classification", 2, ("cat", "dog")).write(folder)
    >>> class_names_in(folder)
    ('cat', 'dog')
    """
    details = Details.read(folder)
    return None if details is None else details.class_names


def verdict_of(found: NoiseEstimate, names: tuple[str, ...] | None) -> str:
    """Return an estimate in one paragraph, with the classes' names unless it has names of its own.

    Of labels that are several classes at once it is one of absent and present.
    """
    return found.verdict(None if found.names else names)


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
