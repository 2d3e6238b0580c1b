"""CSV files as people have them: of some encoding, with some delimiter."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.tables.source import Row, checked_columns, file_signature

DELIMITERS = (",", ";", "\t", "|")
FALLBACK = "cp1252"  # what spreadsheet programs of Western Europe and the Americas write
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK, _SAMPLE_ROWS, _SAMPLE_CHARACTERS = 2**20, 200, 2**18
_LARGEST_CELL = 2**30  # the csv module's own limit is 128 KiB, less than a long text


def find_encoding(path: Path) -> tuple[str, str | None]:
    """Return a text file's encoding, and what to tell about it: nothing if there is no doubt.

    A byte order mark decides; else UTF-8 if the whole file is valid UTF-8; else Windows-1252, which is a guess.

    Raises
    ------
    InvalidInputError
        If it is no text in any of these.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = file.write_bytes("café".encode("cp1252"))
    >>> find_encoding(file)[0]
    'cp1252'
    """
    with path.open("rb") as file:
        start = file.read(4)
    for mark, encoding in _BOMS:
        if start.startswith(mark):
            check_decodes(path, encoding)
            return encoding, None
    wrong = _undecodable(path, "utf-8")
    if wrong is None:
        return "utf-8", None
    other = _undecodable(path, FALLBACK)
    if other is not None or _holds_nul(path):
        raise InvalidInputError(
            f"text in UTF-8, UTF-16 or Windows-1252 in {path}",
            got=f"bytes that are none of these near byte {wrong if other is None else other}",
            fix="save the file as UTF-8, or say --encoding",
        )
    return FALLBACK, f"not UTF-8 (byte {wrong:,}): read as Windows-1252; say --encoding if letters look wrong"


def _undecodable(path: Path, encoding: str) -> int | None:
    """Return about where a file is not of an encoding, None if it is throughout."""
    decoder, done = codecs.getincrementaldecoder(encoding)(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                return done + error.start
            done += len(block)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return done
    return None


def _holds_nul(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" in file.read(_BLOCK)


def check_decodes(path: Path, encoding: str) -> None:
    """Raise an InvalidInputError unless a file is text of an encoding."""
    try:
        wrong = _undecodable(path, encoding)
    except LookupError as error:
        fix = "say --encoding utf-8, latin-1, cp1252, utf-16, ..."
        raise InvalidInputError("a known encoding", got=repr(encoding), fix=fix) from error
    if wrong is not None:
        fix = "leave --encoding out to have it found, or save the file as UTF-8"
        raise InvalidInputError(f"{encoding} in {path}", got=f"other bytes near byte {wrong:,}", fix=fix)


def find_delimiter(sample: str) -> str:
    r"""Return the delimiter of a table's first lines: that which divides them into the most cells, equally many a row.

    Quoted cells are read as such, so delimiters and line ends within quotes do not count. A table of one column has a
    comma.

    Examples
    --------
    >>> find_delimiter("id;text\n1;\"a, b, c\"\n2;d, e\n"), find_delimiter("text\none, two\nthree\n")
    (';', ',')
    """
    best, found = (0.0, 0), ","
    for delimiter in DELIMITERS:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
        rows = [row for row in itertools.islice(reader, _SAMPLE_ROWS) if row]
        if not rows or len(rows[0]) < 2:
            continue
        width = len(rows[0])
        even = sum(len(row) == width for row in rows) / len(rows)
        if (even, width) > best:
            best, found = (even, width), delimiter
    return found


@final
class DelimitedFile:
    """A CSV file with a header row; see :class:`~noisycorrect.tables.source.Source`.

    Parameters
    ----------
    path : Path
        The file.
    encoding, delimiter : str, optional
        Default: found out.

    Raises
    ------
    InvalidInputError
        If the encoding cannot be read, or there is no header.
    """

    kind = "csv"

    def __init__(self, path: Path, encoding: str | None = None, delimiter: str | None = None) -> None:
        self.path = path
        self.notes: list[str] = []
        csv.field_size_limit(_LARGEST_CELL)
        if not path.stat().st_size:
            raise InvalidInputError("a table with a header row", got=f"an empty file at {path}", fix="check the export")
        if encoding is None:
            self.encoding, note = find_encoding(path)
            self.notes += [f"{path.name} is {note}"] if note else []
        else:
            check_decodes(path, encoding)
            # A mark that says UTF-8 is no part of the first name.
            self.encoding = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        if delimiter is not None and len(delimiter.replace("\\t", "\t")) != 1:
            raise InvalidInputError("--delimiter to be one character", got=repr(delimiter), fix="say --delimiter ';'")
        self.delimiter = delimiter.replace("\\t", "\t") if delimiter else self._found_delimiter()
        header = next(self._lines(), (0, []))[1]
        self.columns = checked_columns((name.strip() for name in header), path)

    def _found_delimiter(self) -> str:
        if self.path.suffix.lower() in (".tsv", ".tab"):
            return "\t"
        with self.path.open(encoding=self.encoding, newline="") as file:
            sample = file.read(_SAMPLE_CHARACTERS)
        # A last line that is cut off would count as one of another width.
        whole = sample if len(sample) < _SAMPLE_CHARACTERS else sample[: max(map(sample.rfind, "\r\n")) + 1]
        return find_delimiter(whole)

    def _lines(self) -> Iterator[tuple[int, Row]]:
        """Yield the number of the last line and the cells of each row that is not empty."""
        with self.path.open(encoding=self.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter)
            try:
                for row in reader:
                    if row:
                        yield reader.line_num, row
            except csv.Error as error:
                raise InvalidInputError(
                    f"rows of cells in {self.path}", got=f"{error} at line {reader.line_num}", fix="correct this line"
                ) from error

    def rows(self) -> Iterator[Row]:
        """Yield the cells of each row.

        Raises
        ------
        InvalidInputError
            If a row has other than as many cells as the header: a quote that is missing, or another delimiter.
        """
        width = len(self.columns)
        for line, row in itertools.islice(self._lines(), 1, None):
            if len(row) != width:
                raise InvalidInputError(
                    f"{width} cells a row in {self.path}, as the header has",
                    got=f"{len(row)} in the row that ends at line {line}",
                    fix="put the text into quotes, or say --delimiter",
                )
            yield row

    def signature(self) -> list[Any]:
        """Return size and time of the file, and how it is read."""
        return [*file_signature(self.path), self.encoding, self.delimiter]
