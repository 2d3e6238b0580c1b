"""Folders that one process works in at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from noisycorrect.support.errors import RunInUseError

LOCK = "lock"
_UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)  # what file systems without locks answer


class NoLocksWarning(UserWarning):
    """A file system has no locks, so that a second process in a folder goes unnoticed."""


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder; the lock goes with the process, even when it is killed.

    Processes forked meanwhile (a DataLoader's workers) do not share the lock: they may live on for some seconds. Where
    the file system has no locks (NFS without its lock service, Lustre, some clouds) a :class:`NoLocksWarning` says so,
    and nothing is held.

    Raises
    ------
    RunInUseError
        If somebody holds it.

    Examples
    --------
    >>> import tempfile
    >>> with locked(tempfile.mkdtemp()):
    ...     pass
    """
    file = _taken(Path(folder), "wait for that run to end, or choose another run_dir")
    _held.add(file)
    try:
        yield
    finally:
        _held.discard(file)
        file.close()


def hold(folder: Path) -> Callable[[], None]:
    """Hold a folder for this process until what is returned is called; the process may hold it several times.

    Raises
    ------
    RunInUseError
        If another process holds it.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> first, second = hold(folder), hold(folder)
    >>> first()
    >>> second()
    """
    key = str(folder.resolve())
    if key not in _shared:
        _shared[key] = _Hold(_taken(folder, "wait for that process to end, or open the store read-only"))
        _held.add(_shared[key].file)
    entry = _shared[key]
    entry.holders += 1
    let_go = False

    def release() -> None:
        nonlocal let_go
        if let_go or _shared.get(key) is not entry:  # in a forked child the entry is gone
            return
        let_go = True
        entry.holders -= 1
        if not entry.holders:
            del _shared[key]
            _held.discard(entry.file)
            entry.file.close()

    return release


def _taken(folder: Path, fix: str) -> IO[str]:
    file = (folder / LOCK).open("a+", encoding="utf-8")
    try:
        if not _try_lock(file):
            file.seek(0)
            holder = file.read(32).strip() or "(unknown)"
            raise RunInUseError(f"no other process in {folder}", got=f"a lock held by process {holder}", fix=fix)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


@dataclasses.dataclass(eq=False)
class _Hold:
    file: IO[str]
    holders: int = 0


_held: set[IO[str]] = set()
_shared: dict[str, _Hold] = {}  # of this process, by path


def _let_go() -> None:
    while _held:
        _held.pop().close()
    _shared.clear()


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
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        warnings.warn(
            f"expected a file system with locks; got {error.strerror} in {Path(file.name).parent}; to fix: see to it "
            "that one process alone works in this folder",
            NoLocksWarning,
            stacklevel=2,
        )
    return True
