"""What a cleaning run leaves: the table with the corrected labels, the issues, and the items for the review."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.labels.refine import UNLABELED
from noisycorrect.review.session import Item, final_labels, read_items
from noisycorrect.support.cells import CsvLines, safe_cell
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import replace_atomically
from noisycorrect.tables.delimited import DelimitedFile
from noisycorrect.tables.source import OUR_COLUMNS, Row, Source

CLEANED, ISSUES = "cleaned.csv", "issues.csv"
ORIGIN = "label_origin"
_TOP = 5


@dataclass(eq=False)
class Findings:
    """What was found out about each row of a table.

    Attributes
    ----------
    classes : tuple of str
        K names.
    given, labels : ndarray, shape (N,), int64
        Given and corrected labels, -1 for none.
    quality : ndarray, shape (N,), float32
        Of the given labels; NaN where there is none, or the row could not be read.
    is_issue : ndarray, shape (N,), bool
        Whether the corrected label is another than the given one.
    """

    classes: tuple[str, ...]
    given: np.ndarray
    labels: np.ndarray
    quality: np.ndarray
    is_issue: np.ndarray

    def name(self, code: int) -> str:
        """Return the name of a label, an empty text for none."""
        return "" if code == UNLABELED else self.classes[code]

    def cells(self, row: int) -> Row:
        """Return the four cells of ours of a row."""
        quality = float(self.quality[row])
        return [
            safe_cell(self.name(int(self.given[row]))),
            safe_cell(self.name(int(self.labels[row]))),
            "" if math.isnan(quality) else f"{quality:.6f}",
            str(bool(self.is_issue[row])),
        ]


def write_cleaned(path: Path, source: Source, findings: Findings) -> int:
    """Write every row of a table as it was, with four columns more; return how many.

    The table is read once more: rows need not lie in memory. Delimiter and byte order mark are those of the source.

    Raises
    ------
    InvalidInputError
        If the table has changed meanwhile, or the file cannot be written; an old one stays as it was.
    """
    header = [*source.columns, *new_names(OUR_COLUMNS, source.columns)]

    def rows() -> Iterator[Row]:
        count = 0
        for row in source.rows():
            if count == len(findings.given):
                raise _changed(source, "more")
            yield [*row, *findings.cells(count)]
            count += 1
        if count < len(findings.given):
            raise _changed(source, "fewer")

    return write_table(path, source, header, rows())


def write_decided(run_dir: Path, path: Path) -> int | None:
    """Write the cleaned table of a run with the labels as they are after review; return the number of rows.

    All columns stay as they are but ``corrected_label``, and ``label_origin`` comes behind: ``given``, ``corrected``,
    or what somebody decided, ``accept``, ``keep`` or ``class``; of rows that could not be read, nothing.

    Parameters
    ----------
    run_dir : Path
        The run folder of ``noisycorrect clean``.
    path : Path
        The new file.

    Returns
    -------
    int or None
        None, and no file, if the run has no cleaned table, or does not say what its rows are called.

    Raises
    ------
    StoreError
        If it is no cleaning run, or a file of it is damaged.
    InvalidInputError
        If the cleaned table is not as it was written, or the new one cannot be written.
    """
    about, cleaned = read_items(run_dir)[0].figures.get("table"), run_dir / CLEANED
    if not isinstance(about, Mapping) or not cleaned.is_file():
        return None
    source = DelimitedFile(cleaned, None, str(about.get("delimiter") or ","))
    own, named = source.columns[: -len(OUR_COLUMNS)], about.get("id")
    ours = list(source.columns[len(own) :])
    if ours != new_names(OUR_COLUMNS, own) or (named is not None and named not in own):
        raise InvalidInputError(f"{cleaned} as it was written", got="other columns", fix="restore it, or clean again")
    column = None if named is None else own.index(named)
    finals = {final.id: final for final in final_labels(run_dir)}

    def rows() -> Iterator[Row]:
        for number, row in enumerate(source.rows(), 1):
            final = finals.get(str(number) if column is None else row[column].strip())
            if final is not None:
                row[len(own) + 1] = safe_cell(final.label or "")
            yield [*row, "" if final is None else final.origin]

    return write_table(path, source, [*source.columns, *new_names([ORIGIN], source.columns)], rows())


def _changed(source: Source, how: str) -> InvalidInputError:
    fix = "clean it again into another --out"
    return InvalidInputError(f"the rows of {source.path} as they were", got=f"{how} than before", fix=fix)


def write_table(path: Path, source: Source, header: Sequence[str], rows: Iterator[Row]) -> int:
    """Write a table as the source is written, atomically; return the number of rows.

    Raises
    ------
    InvalidInputError
        If it cannot be written.
    """
    encoding = "utf-8-sig" if getattr(source, "encoding", "").startswith(("utf-8-sig", "utf-16", "utf-32")) else "utf-8"
    count = 0
    try:
        with replace_atomically(path) as temporary, temporary.open("w", encoding=encoding, newline="") as file:
            writer = csv.writer(CsvLines(file), delimiter=delimiter_of(source))
            writer.writerow(header)
            for row in rows:
                writer.writerow(row)
                count += 1
    except OSError as error:
        fix = "free space, or choose another folder"
        raise InvalidInputError(f"to write {path}", got=str(error), fix=fix) from error
    return count


def delimiter_of(source: Source) -> str:
    """Return what is between the cells of the tables that are written of a source."""
    return str(getattr(source, "delimiter", ","))


def new_names(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Return names of columns that a table does not have: with a number behind where it has.

    Examples
    --------
    >>> new_names(["quality"], ["text", "quality"])
    ['quality_2']
    """
    found = []
    for name in names:
        number, free = 2, name
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        found.append(free)
    return found


def worst_first(findings: Findings) -> np.ndarray:
    """Return the rows of issues, by rising quality, equal ones in their order."""
    rows = np.flatnonzero(findings.is_issue & (findings.given != UNLABELED))
    return np.asarray(rows[np.argsort(findings.quality[rows], kind="stable")])


def write_issues(
    path: Path, source: Source, findings: Findings, ids: Sequence[str], shown: Mapping[str, Sequence[str]]
) -> int:
    """Write the labels to look at, the most suspicious first; return how many.

    Columns: ``row`` (from 1 on), ``id``, the first three of :data:`~noisycorrect.tables.source.OUR_COLUMNS`, and what
    was learnt from; this table is ours, so no cell of it is a formula.
    """
    header = ["row", "id", *OUR_COLUMNS[:3], *new_names(list(shown), ("row", "id", *OUR_COLUMNS[:3]))]

    def rows() -> Iterator[Row]:
        for row in worst_first(findings).tolist():
            told = (safe_cell(column[row]) for column in shown.values())
            yield [str(row + 1), safe_cell(ids[row]), *findings.cells(row)[:3], *told]

    return write_table(path, source, list(map(safe_cell, header)), rows())


def items(
    findings: Findings,
    probs: np.ndarray,
    place: np.ndarray,
    ids: Sequence[str],
    content: Any,
    votes: Mapping[str, np.ndarray],
) -> Iterator[Item]:
    """Yield the items of the review, in the order of the label store.

    Parameters
    ----------
    findings : Findings
        Of all N rows.
    probs : ndarray, shape (M, K)
        Of the rows that were learnt from.
    place : ndarray, shape (M,)
        Which they are.
    ids : sequence of str
        Names of all rows.
    content : callable
        ``content(row)`` returns what there is to see: ``{"text": ...}``, ``{"image": ...}`` or ``{"row": ...}``.
    votes : mapping of str to ndarray
        By annotator, int64 (N,).
    """
    for number, row in enumerate(place.tolist()):
        own = probs[number]
        top = np.argsort(-own, kind="stable")[:_TOP]
        label, given = int(findings.labels[row]), findings.name(int(findings.given[row])) or None
        quality = float(findings.quality[row])
        voted = {name: findings.name(int(codes[row])) for name, codes in votes.items() if codes[row] != UNLABELED}
        yield Item(
            id=ids[row],
            given=given,
            suggested=findings.name(label) or None,
            quality=1.0 if math.isnan(quality) else min(1.0, max(0.0, quality)),
            is_issue=bool(findings.is_issue[row]),
            probs={findings.classes[code]: round(float(own[code]), 6) for code in top},
            votes=voted or None,
            **content(row),
        )
