"""What several workers of pytest-xdist need and one of them makes: `from shared import once`."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

Made = TypeVar("Made")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> tuple[Path, Made]:
    """Return a folder of this run of the tests and what `make(folder)` returned, which runs in one process of them all.

    A module's fixture is made by every worker that runs one of its tests, and again when a worker that has left the
    module is handed more of them.

    Parameters
    ----------
    factory : pytest.TempPathFactory
        Of the session.
    name : str
        Of the folder; one for each thing that is made.
    make : callable
        What it returns must pickle. If it fails, the next who asks tries again.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, made = base / name, base / f"{name}.made"
    with FileLock(base / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            made.write_bytes(pickle.dumps(make(folder)))
        return folder, pickle.loads(made.read_bytes())
