"""Folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import flush


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a hidden folder beside `folder` to write into; on a clean exit it gets that name.

    Whoever looks at `folder` sees nothing or all of it, also if this process is killed; on an exception nothing of it
    remains.

    Parameters
    ----------
    folder : path-like
        New, or an empty folder. Folders above it are made.

    Raises
    ------
    InvalidInputError
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
    aside = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        check_free(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        yield aside
        for path in aside.rglob("*"):
            if path.is_file():
                flush(path)
        if os.name == "nt" and target.is_dir():  # elsewhere a rename replaces an empty folder
            target.rmdir()
        aside.replace(target)
    except OSError as error:
        fix = "free space, or choose another folder; of a mounted one, a new folder inside it"
        raise InvalidInputError(f"to write {target}", got=error.strerror or str(error), fix=fix) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_free(folder: Path) -> None:
    """Raise an InvalidInputError unless there is nothing at a path, or an empty folder.

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
        raise InvalidInputError(f"a new or empty folder at {folder}", got=got, fix="choose another folder")
