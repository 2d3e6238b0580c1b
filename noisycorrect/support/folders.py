"""Folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError
from noisycorrect.support.files import aside, flush


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike[str], *, error: type[NoisyCorrectError] = InvalidInputError) -> Iterator[Path]:
    """Yield a hidden folder beside `folder` to write into; on a clean exit it gets that name.

    Whoever looks at `folder` sees nothing or all of it, also if this process is killed; on an exception nothing of it
    remains.

    Parameters
    ----------
    folder : path-like
        New, or an empty folder. Folders above it are made.
    error : type
        What is raised.

    Raises
    ------
    NoisyCorrectError
        If it holds something, or cannot be written; what an OSError inside the block says is passed on in it.

    Examples
    --------
    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp()) / "out"
    >>> with new_folder(out) as inside:
    ...     _ = (inside / "note.txt").write_text("whole")
    ...     print(out.exists())
    False
    >>> [path.name for path in out.iterdir()]
    ['note.txt']
    """
    target = Path(folder).resolve()
    inside = aside(target)
    try:
        check_free(target, error=error)
        target.parent.mkdir(parents=True, exist_ok=True)
        inside.mkdir()
        yield inside
        for path in inside.rglob("*"):
            if path.is_file():
                flush(path)
        if os.name == "nt" and target.is_dir():  # elsewhere a rename replaces an empty folder
            target.rmdir()
        inside.replace(target)
    except OSError as failure:
        fix = "free space, or choose another folder; of a mounted one, a new folder inside it"
        raise error(f"to write {target}", got=failure.strerror or str(failure), fix=fix) from failure
    finally:
        shutil.rmtree(inside, ignore_errors=True)


def check_free(folder: Path, *, error: type[NoisyCorrectError] = InvalidInputError) -> None:
    """Raise an error unless there is nothing at a path, or an empty folder.

    Examples
    --------
    >>> import tempfile
    >>> check_free(Path(tempfile.mkdtemp()))
    """
    got = None
    if folder.is_dir():
        got = "a folder with files" if any(folder.iterdir()) else None
    elif folder.exists():
        got = "a file"
    if got is not None:
        raise error(f"a new or empty folder at {folder}", got=got, fix="choose another folder")
