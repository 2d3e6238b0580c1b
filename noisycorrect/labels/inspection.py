"""What of a label store is whole, file by file, without opening it as a store."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from noisycorrect.labels.manifest import NAME, Manifest
from noisycorrect.labels.reading import GIVEN, ReadableLabels
from noisycorrect.support.errors import NoisyCorrectError


@dataclass(frozen=True)
class StoreInspection:
    """What was found.

    Attributes
    ----------
    failures : dict of str to str or None
        By name of file, what is wrong with it; None for those that are whole.
    unproven : tuple of str
        Names of files that an older version has written, without digests: they can be read, no more is known.
    current : int
        The current generation.
    whole : tuple of int
        Generations that are whole, 0 included.
    run : str
        Name of the run.
    """

    failures: dict[str, str | None]
    current: int
    whole: tuple[int, ...]
    run: str
    unproven: tuple[str, ...] = field(default=())


def inspect_store(folder: str | os.PathLike[str]) -> StoreInspection:
    """Read every bit of a label store.

    Raises
    ------
    StoreError
        If its manifest is missing or damaged: nothing is known then.

    Examples
    --------
    >>> import tempfile
    >>> from noisycorrect.labels.store import SoftLabelStore
    >>> folder = Path(tempfile.mkdtemp()) / "labels"
    >>> store = SoftLabelStore.create(folder, given=[0, 1], num_classes=2)
    >>> inspect_store(folder).failures
    {'manifest.json': None, 'given.h5': None}
    """
    manifest = Manifest.load(Path(folder))
    failures: dict[str, str | None] = {NAME: None}
    store = ReadableLabels.unopened(folder, manifest)
    check = None
    try:
        check = store.load_given(whole=True).check_predictions
        failures[GIVEN] = None
    except NoisyCorrectError as error:
        failures[GIVEN] = str(error)
    whole = [0]
    for number in manifest.generations:
        name = store._path(number).name
        try:
            reader = store.reader(number)
            reader.check_whole(check or (lambda evidence: None))
            reader.close()
            failures[name] = None
            whole.append(number)
        except NoisyCorrectError as error:
            failures[name] = str(error)
    unproven = tuple(name for name in failures if name != NAME and name not in manifest.proofs)
    return StoreInspection(failures, manifest.current, tuple(whole), manifest.run, unproven)
