"""Files that are either the old version or the new one, whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from noisycorrect.support.errors import RunInUseError


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
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        publish(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder for this process; the lock goes with the process, even when it is killed.

    Processes forked meanwhile (a DataLoader's workers) do not share the lock: they may live on for some seconds.

    Raises
    ------
    RunInUseError
        If another process holds it.

    Examples
    --------
    >>> import tempfile
    >>> with locked(tempfile.mkdtemp()):
    ...     pass
    """
    path = Path(folder) / "lock"
    with path.open("a+", encoding="utf-8") as file:
        if not _try_lock(file):
            file.seek(0)
            raise RunInUseError(
                f"no other process in {folder}",
                got=f"a lock held by process {file.read().strip() or '(unknown)'}",
                fix="wait for that run to end, or choose another run_dir",
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        _held.add(file)
        try:
            yield
        finally:
            _held.discard(file)


_held: set[IO[str]] = set()


def _let_go() -> None:
    while _held:
        _held.pop().close()


if hasattr(os, "register_at_fork"):  # else a forked child would hold a killed parent's lock
    os.register_at_fork(after_in_child=_let_go)


def _try_lock(file: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: a byte far behind the text, so that the holder's number stays readable
        import msvcrt

        try:
            file.seek(2**20)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
