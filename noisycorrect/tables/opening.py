"""Opening whatever holds the labels."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.untrusted import check_regular
from noisycorrect.tables.delimited import DelimitedFile
from noisycorrect.tables.source import Source
from noisycorrect.tables.structured import ImageFolder, JsonLines, ParquetFile


def open_source(path: str | os.PathLike[str], *, encoding: str | None = None, delimiter: str | None = None) -> Source:
    r"""Open a file or folder by what it is.

    Parameters
    ----------
    path : path-like
        ``.csv``, ``.tsv``, ``.txt``: a table with a header row. ``.parquet``, ``.pq``: Parquet, if pyarrow is
        installed. ``.jsonl``, ``.ndjson``, ``.json``: an object a line. A folder: images in a folder a class.
    encoding : str, optional
        Of a CSV or JSON lines file. Default: found out.
    delimiter : str, optional
        Of a CSV file, one character. Default: found out.

    Raises
    ------
    InvalidInputError
        If there is no such file, it cannot be read, or it is of another kind.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = file.write_text('text;label\n"a; b";ham\nc;spam\n')
    >>> source = open_source(file)
    >>> source.columns, list(source.rows())
    (('text', 'label'), [['a; b', 'ham'], ['c', 'spam']])
    """
    found = Path(path)
    if not found.exists():
        near = _nearest_file(found)
        fix = f"did you mean {near}?" if near else "check the path"
        raise InvalidInputError("a file or folder", got=f"nothing at {found}", fix=fix)
    try:
        if found.is_dir():
            return ImageFolder(found)
        check_regular(found, "a table")
        suffix = found.suffix.lower()
        if suffix in (".parquet", ".pq"):
            return ParquetFile(found)
        if suffix in (".jsonl", ".ndjson", ".json"):
            return JsonLines(found, encoding)
        if suffix in (".csv", ".tsv", ".txt", ".tab"):
            return DelimitedFile(found, encoding, delimiter)
    except OSError as error:
        raise InvalidInputError(f"to read {found}", got=str(error), fix="check the path and its permissions") from error
    raise InvalidInputError(
        "a .csv, .tsv, .parquet or .jsonl file, or a folder of class folders of images",
        got=str(found),
        fix="export the table as CSV, or rename the file if it is one of these",
    )


def _nearest_file(path: Path) -> Path | None:
    if not path.parent.is_dir():
        return None
    names = [entry.name for entry in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=1)
    return path.parent / near[0] if near else None
