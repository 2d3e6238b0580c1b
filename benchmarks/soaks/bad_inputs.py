"""Bad inputs: files from outside and arguments of callers that must end in one clear error, or in a right result.

Each is a name and a function of an empty folder. The function makes what is bad there, hands it to the package, and
raises an AssertionError if the package took it for something else than it is. Whatever else it ends in but a
:class:`~noisycorrect.NoisyCorrectError` is unclear.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.soaks import bad_arguments, bad_folders, bad_pictures, bad_tables
from benchmarks.soaks.attempts import Attempt
from noisycorrect.support.errors import NoisyCorrectError

SORTS = {
    "pictures and masks": bad_pictures.pictures,
    "folders": bad_folders.folders,
    "id and class files": bad_folders.lists,
    "MATLAB files": bad_folders.matlab,
    "tables": bad_tables.tables,
    "files of a cleaning": bad_tables.kept,
    "arguments": bad_arguments.arguments,
}
"""What makes the bad inputs of each sort."""


def bad_inputs() -> Iterator[tuple[str, Attempt]]:
    """Yield the name of each bad input, unique, and what tries it in an empty folder.

    Examples
    --------
    >>> names = [name for name, _ in bad_inputs()]
    >>> len(names) == len(set(names)) > 300
    True
    """
    for sort in SORTS.values():
        yield from sort()


def main() -> int:
    """Try all bad inputs in this process; print what is unclear, and how many."""
    import tempfile

    unclear, count = 0, 0
    for name, attempt in bad_inputs():
        count += 1
        with tempfile.TemporaryDirectory() as folder:
            try:
                attempt(Path(folder))
            except NoisyCorrectError:
                continue
            except Exception as error:
                unclear += 1
                print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    print(f"{count} bad inputs, {unclear} unclear")
    return int(unclear > 0)


if __name__ == "__main__":
    raise SystemExit(main())
