"""Files that are either the old version or the new one, whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noisycorrect.support.untrusted import parsed_json

LARGEST_JSON = 2**28  # bytes; what says so little cannot need more
LONGEST_NAME = 255  # bytes that file systems take

_OURS = r"\.{name}\.\d+-[0-9a-f]{{8}}\.part"


@contextlib.contextmanager
def replace_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit fsync it and rename it over `path`.

    Readers see the old file or the new one, never a part of it. On an exception the temporary file is removed and
    the old file stays as it was.

    Parameters
    ----------
    path : path-like
        The file to write; its folder must exist.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replace_atomically(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    target = Path(path)
    temporary = aside(target)
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        publish(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def aside(target: Path) -> Path:
    """Return a name beside `target` that nobody else has, for what is not whole yet."""
    mark = f".{os.getpid()}-{secrets.token_hex(4)}.part"
    return target.with_name(f".{cut_to(target.name, LONGEST_NAME - len(mark) - 1)}{mark}")


def cut_to(name: str, most: int) -> str:
    """Return a name of at most so many bytes, what is too much cut off at its end.

    Examples
    --------
    >>> cut_to("photo", 9), cut_to("\N{HIRAGANA LETTER A}\N{HIRAGANA LETTER I}", 5)
    ('photo', '\N{HIRAGANA LETTER A}')
    """
    while len(os.fsencode(name)) > most:
        name = name[:-1]
    return name


def leftovers(folder: Path, *names: str) -> list[Path]:
    """Return what killed processes have left aside of files of ours, called `names`; other people's files never.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in (".history.json.12-0123abcd.part", ".thesis.tex.part"):
    ...     (folder / name).touch()
    >>> [path.name for path in leftovers(folder, "history.json", "checkpoint.pt")]
    ['.history.json.12-0123abcd.part']
    """
    ours = re.compile("|".join(_OURS.format(name=re.escape(name)) for name in names))
    return [path for path in folder.glob(".*.part") if ours.fullmatch(path.name)]


def publish(temporary: Path, target: Path) -> None:
    """Fsync `temporary`, rename it over `target`, and fsync the folder so that the rename survives a power cut."""
    flush(temporary)
    temporary.replace(target)
    with contextlib.suppress(OSError):  # some systems cannot open or fsync a folder; the file is whole in any case
        _fsync(target.parent, os.O_RDONLY)


def flush(path: Path) -> None:
    """Wait until what was written into a file is on the disk."""
    _fsync(path, os.O_RDWR)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with replace_atomically(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return what a JSON file says.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, is no ordinary file, is far too large or too deep, or is no JSON.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "deep.json"
    >>> _ = path.write_text("[" * 100_000)
    >>> read_json(path)
    Traceback (most recent call last):
    ...
    ValueError: JSON that is nested too deep
    """
    found = check_ordinary(path)
    if found.st_size > LARGEST_JSON:
        raise ValueError(f"{found.st_size:,} bytes")
    return parsed_json(path.read_text(encoding="utf-8"))


def check_ordinary(path: Path) -> os.stat_result:
    """Return a file's properties; raise an OSError unless it is an ordinary file: opening a pipe waits for ever."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise OSError(f"{kind} where a file should be: {path.name}")
    return found


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
