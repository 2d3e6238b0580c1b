"""Sources by name, for command lines and benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from noisycorrect.support.door import door
from noisycorrect.support.errors import unknown_name
from noisycorrect_seg.datasets.ccp import CCP
from noisycorrect_seg.datasets.folder import Folder
from noisycorrect_seg.datasets.mhp import MHP
from noisycorrect_seg.datasets.public import ATR, CIHP, LIP, PascalPersonPart
from noisycorrect_seg.datasets.source import FileSource

READERS: dict[str, Callable[..., FileSource]] = {
    "lip": LIP,
    "pascal": PascalPersonPart,
    "atr": ATR,
    "cihp": CIHP,
    "mhp": MHP,
    "ccp": CCP,
    "folder": Folder,
}


@door(own=True)
def source_named(name: str, root: Path | str, split: str = "train", **options: Any) -> FileSource:
    """Return the source of one split of a data set.

    Parameters
    ----------
    name : str
        ``"lip"``, ``"pascal"``, ``"atr"``, ``"cihp"``, ``"mhp"``, ``"ccp"`` or ``"folder"``.
    root : Path or str
        The data set's folder; each reader documents its layout.
    split : str
        ``"train"`` or ``"val"``.
    **options
        The reader's own, such as ``classes=`` of ``"folder"``.

    Raises
    ------
    InvalidInputError
        If the name is unknown, or the reader finds something missing.

    Examples
    --------
    >>> source_named("lpi", "data")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected a known data set; got 'lpi'; to fix: did you mean 'lip'?
    Known: 'atr', 'ccp', 'cihp', 'folder', 'lip', 'mhp', 'pascal'
    """
    if name not in READERS:
        raise unknown_name("data set", name, READERS)
    return READERS[name](root, split=split, **options)
