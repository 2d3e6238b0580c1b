"""Class labels as a table: CSV, or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noisycorrect.export.formats import FORMATS, ExportOptions, Format
from noisycorrect.export.labels import CLASSES, RunLabels
from noisycorrect.support.cells import CsvLines, safe_cell
from noisycorrect.support.errors import InvalidInputError

COLUMNS = ("given_label", "label", "label_origin", "label_quality", "is_label_issue", "predicted_label")
ROWS_AT_ONCE = 65_536


def write_csv(labels: RunLabels, folder: Path, options: ExportOptions) -> int:
    """Write ``labels.csv``: a row a sample, UTF-8, in the order of the data.

    Columns: ``id``; of a cleaning run what there is to see of the sample (``text``, ``image``, or the columns of its
    row); ``given_label``; ``label``, the one in the end; ``label_origin``, which is ``given``, ``corrected``, or what
    somebody decided: ``accept``, ``keep``, ``class``; ``label_quality`` of the given label; ``is_label_issue``; and
    ``predicted_label``. Empty cells for what there is not. What a spreadsheet could take for a formula gets an
    apostrophe in columns of ours; the data's own stay as they were.
    """
    shown = _shown_columns(labels)
    header = ["id", *shown, *_names(shown)]
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(CsvLines(file))
        writer.writerow(header)
        for row in _rows(labels, shown):
            content, ours = row[1 : 1 + len(shown)], row[1 + len(shown) :]
            texts = ["" if cell is None else f"{cell:.6f}" if isinstance(cell, float) else str(cell) for cell in ours]
            plain = ["" if cell is None else cell for cell in content]
            writer.writerow([safe_cell(row[0]), *plain, *map(safe_cell, texts)])
    return len(labels)


def write_parquet(labels: RunLabels, folder: Path, options: ExportOptions) -> int:
    """Write ``labels.parquet``, with the columns of :func:`write_csv`: strings, float32 and bool; null for none.

    Raises
    ------
    InvalidInputError
        If the package ``pyarrow`` is missing.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        fix = "pip install pyarrow, or choose csv"
        raise InvalidInputError("the package pyarrow, for Parquet", got="none", fix=fix) from error
    shown = _shown_columns(labels)
    names = ["id", *shown, *_names(shown)]
    types = [
        pa.string(),
        *_content_types(labels, shown, pa),
        *([pa.string()] * 3),
        pa.float32(),
        pa.bool_(),
        pa.string(),
    ]
    schema = pa.schema(list(zip(names, types, strict=True)))
    with pq.ParquetWriter(folder / "labels.parquet", schema) as writer:
        for block in _blocks(_rows(labels, shown)):
            columns = list(zip(*block, strict=True))
            arrays = [
                pa.array([_as_text(value) if kind == pa.string() else value for value in column], kind)
                for column, kind in zip(columns, types, strict=True)
            ]
            writer.write_table(pa.table(arrays, schema=schema))
    return len(labels)


def _rows(labels: RunLabels, shown: list[str]) -> Iterator[list[Any]]:
    """Yield id, what is shown, and the columns of ours of each sample."""
    for item, final in zip(labels.items, labels.finals, strict=True):
        if labels.shown == "row":
            content = [(item.row or {}).get(name) for name in shown]
        else:
            content = [getattr(item, name) for name in shown]
        yield [item.id, *content, item.given, final.label, final.origin, item.quality, item.is_issue, item.suggested]


def _shown_columns(labels: RunLabels) -> list[str]:
    """Return the columns of what there is to see, in the order in which they first come."""
    if labels.shown == "row":
        return list(dict.fromkeys(name for item in labels.items for name in item.row or {} if name != "id"))
    return [labels.shown] if labels.shown in ("text", "image") else []


def _names(shown: list[str]) -> list[str]:
    """Return the names of the columns of ours; one that the data has already gets a prefix."""
    taken = {"id", *shown}
    return [f"noisycorrect_{name}" if name in taken else name for name in COLUMNS]


def _content_types(labels: RunLabels, shown: list[str], pa: Any) -> list[Any]:
    """Return a type a column of the data: numbers where all are numbers, else strings."""
    if labels.shown != "row":
        return [pa.string() for _ in shown]
    kinds = []
    for name in shown:
        found = {type((item.row or {}).get(name)) for item in labels.items} - {type(None)}
        single = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
        kind = single.get(next(iter(found))) if len(found) == 1 else pa.float64() if found == {int, float} else None
        kinds.append(pa.string() if kind is None else kind)
    return kinds


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _blocks(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    block: list[list[Any]] = []
    for row in rows:
        block.append(row)
        if len(block) == ROWS_AT_ONCE:
            yield block
            block = []
    if block:
        yield block


FORMATS.register(f"csv/{CLASSES}", Format(CLASSES, write_csv))
FORMATS.register(f"parquet/{CLASSES}", Format(CLASSES, write_parquet))
