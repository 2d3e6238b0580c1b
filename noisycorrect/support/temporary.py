"""Temporary folders that go with this process, also when it is asked to end."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from noisycorrect.support.signals import before_termination

_made: dict[Path, int] = {}  # folder -> the process that made it
_PREFIX = "noisycorrect-"


def temporary_folder() -> Path:
    """Make a temporary folder, which SIGTERM removes if :func:`remove_temporary` has not.

    Examples
    --------
    >>> folder = temporary_folder()
    >>> remove_temporary(folder)
    >>> folder.exists()
    False
    """
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    _made[folder] = os.getpid()
    before_termination(_remove_all)
    return folder


def remove_temporary(folder: Path) -> None:
    """Remove a temporary folder, unless another process made it: a forked worker lets go of its copy of an object."""
    if _made.get(folder) == os.getpid():
        del _made[folder]
        shutil.rmtree(folder, ignore_errors=True)


def _remove_all() -> None:
    for folder in list(_made):
        remove_temporary(folder)
