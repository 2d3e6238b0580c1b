"""JSON lines, Parquet, and folders of class folders, as tables."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.untrusted import parsed_json
from noisycorrect.tables.delimited import check_decodes, find_encoding
from noisycorrect.tables.source import (
    FOLDER_COLUMNS,
    IMAGE_SUFFIXES,
    Row,
    checked_columns,
    file_signature,
    plain_text,
)

_ROWS_AT_ONCE = 8192


def optional(module: str, package: str, extra: str) -> Any:
    """Return a package that only some installations have.

    Raises
    ------
    InvalidInputError
        If it is missing: the message says what to install.

    Examples
    --------
    >>> optional("json", "json", "all").dumps(1)
    '1'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        fix = f"pip install 'noisycorrect[{extra}]'"
        raise InvalidInputError(f"the package {package}", got="none", fix=fix) from error


@final
class JsonLines:
    """A file with a JSON object a line; columns are the keys of all lines, in the order in which they appear.

    Raises
    ------
    InvalidInputError
        If a line is no object, or there is none.
    """

    kind = "jsonl"

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path = path
        self.notes: list[str] = []
        if encoding is not None:
            check_decodes(path, encoding)
        self.encoding, note = (encoding, None) if encoding else find_encoding(path)
        self.notes += [f"{path.name} is {note}"] if note else []
        self.columns = checked_columns(dict.fromkeys(key for entry in self._objects() for key in entry), path)

    def _objects(self) -> Iterator[dict[str, Any]]:
        with self.path.open(encoding=self.encoding) as file:
            try:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield self._object(line, number)
            except UnicodeError as error:
                fix = "save the file as UTF-8, or say --encoding"
                raise InvalidInputError(f"{self.encoding} in {self.path}", got=str(error), fix=fix) from error

    def _object(self, line: str, number: int) -> dict[str, Any]:
        try:
            found = parsed_json(line)
        except ValueError as error:
            found = error
        if isinstance(found, dict):
            return found
        got = str(found) if isinstance(found, ValueError) else type(found).__name__
        fix = 'write one {"text": "...", "label": "..."} a line'
        raise InvalidInputError(f"a JSON object a line in {self.path}", got=f"{got} at line {number}", fix=fix)

    def rows(self) -> Iterator[Row]:
        """Yield the values of each line as text."""
        for entry in self._objects():
            yield [plain_text(entry.get(column)) for column in self.columns]

    def signature(self) -> list[Any]:
        """Return size and time of the file."""
        return file_signature(self.path)


@final
class ParquetFile:
    """A Parquet file, some rows at a time.

    Raises
    ------
    InvalidInputError
        If pyarrow is missing, or the file is damaged.
    """

    kind = "parquet"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._reader = optional("pyarrow.parquet", "pyarrow, which reads Parquet files", "parquet")
        self._errors = (optional("pyarrow", "pyarrow", "parquet").ArrowException, ValueError)
        try:
            self.columns = checked_columns(self._reader.ParquetFile(path).schema_arrow.names, path)
        except self._errors as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> InvalidInputError:
        fix = "restore it from a copy, or export it as CSV"
        return InvalidInputError(f"a Parquet file at {self.path}", got=str(error).splitlines()[0], fix=fix)

    def rows(self) -> Iterator[Row]:
        """Yield the values of each row as text."""
        try:
            for batch in self._reader.ParquetFile(self.path).iter_batches(_ROWS_AT_ONCE):
                columns = [[plain_text(value) for value in column.to_pylist()] for column in batch.columns]
                yield from (list(row) for row in zip(*columns, strict=True))
        except self._errors as error:
            if isinstance(error, InvalidInputError):
                raise
            raise self._damaged(error) from error

    def signature(self) -> list[Any]:
        """Return size and time of the file."""
        return file_signature(self.path)


@final
class ImageFolder:
    """A folder with a folder a class and the pictures in these, at any depth; columns ``path`` and ``label``.

    Paths are relative to the folder. Hidden files, and files that are no pictures by their suffix, are passed over.

    Raises
    ------
    InvalidInputError
        If there is no picture in a class folder.
    """

    kind = "folder"
    columns: tuple[str, ...] = FOLDER_COLUMNS

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = self._found()
        others = sum(entry.is_file() and entry.suffix.lower() in IMAGE_SUFFIXES for entry in path.iterdir())
        self.notes = [f"{others:,} pictures lie in no class folder and are left out"] if others else []
        if not self._files:
            raise InvalidInputError(
                f"a folder a class with pictures in it, in {path}",
                got="no picture in a class folder",
                fix=f"sort them as {path.name}/CLASS/NAME.jpg; for a table of paths pass the table and --images COLUMN",
            )

    def _found(self) -> list[Path]:
        found = []
        for folder in sorted(entry for entry in self.path.iterdir() if entry.is_dir() and entry.name[:1] != "."):
            found += sorted(
                file
                for file in folder.rglob("*")
                if file.suffix.lower() in IMAGE_SUFFIXES and file.name[:1] != "." and file.is_file()
            )
        return found

    def rows(self) -> Iterator[Row]:
        """Yield path and class folder of each picture."""
        for file in self._files:
            inside = file.relative_to(self.path)
            yield [inside.as_posix(), inside.parts[0]]

    def signature(self) -> list[Any]:
        """Return how many pictures there are, their sizes together, and the time of the last change of one."""
        found = [file.stat() for file in self._files]
        return [len(found), sum(stat.st_size for stat in found), max(stat.st_mtime_ns for stat in found)]
