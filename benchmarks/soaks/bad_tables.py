"""Tables, pictures that a table names, and files that the package keeps."""

from __future__ import annotations

import io
import json
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soaks.attempts import NO_FILES, Attempt, link_out, no_pictures, refused


def _rows(count: int = 40) -> str:
    return "text,label\n" + "".join(
        f"a word {number} of it,{'ham' if number % 2 else 'spam'}\n" for number in range(count)
    )


_TABLES: dict[str, tuple[str, bytes]] = {
    "empty": ("t.csv", b""),
    "a header alone": ("t.csv", b"text,label\n"),
    "blank header": ("t.csv", b",,\n1,2,3\n"),
    "a column name twice": ("t.csv", b"label,label\na,b\n"),
    "rows of other widths": ("t.csv", _rows().encode() + b"one cell\n"),
    "a quote that never ends": ("t.csv", b'text,label\n"a,b\n' + b"c,d\n" * 30),
    "bytes at random": ("t.csv", bytes(np.random.default_rng(3).integers(0, 256, 4000).astype(np.uint8))),
    "UTF-16 without its mark": ("t.csv", _rows().encode("utf-16-le")),
    "half a UTF-16 file": ("t.csv", _rows().encode("utf-16")[:-1]),
    "one class": ("t.csv", _rows().replace("ham", "spam").encode()),
    "no labels": ("t.csv", _rows().replace("ham", "").replace("spam", "").encode()),
    "a class a row": ("t.csv", ("text,label\n" + "".join(f"a,c{n}\n" for n in range(200))).encode()),
    "three rows": ("t.csv", _rows(3).encode()),
    "no label column": ("t.csv", _rows().replace("label", "other").encode()),
    "JSON lines: cut off": ("t.jsonl", b'{"text": "a", "label"'),
    "JSON lines: lists": ("t.jsonl", b'["a", "b"]\n' * 20),
    "JSON lines: numbers": ("t.jsonl", b"1\n2\n"),
    "JSON lines: one array": ("t.json", b'[{"text": "a", "label": "b"}]'),
    "JSON lines: nested 100,000 deep": ("t.jsonl", b'{"label": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"),
    "JSON lines: no UTF-8": ("t.jsonl", b'{"text": "\xff\x00"}\n'),
    "JSON lines: empty": ("t.jsonl", b""),
    "JSON lines: a number of 10,000 digits": ("t.jsonl", b'{"label": ' + b"9" * 10_000 + b"}\n"),
    "Parquet: empty": ("t.parquet", b""),
    "Parquet: text": ("t.parquet", b"no table"),
    "Parquet: its mark alone": ("t.parquet", b"PAR1" + bytes(100) + b"PAR1"),
    "Parquet: a footer of 2 GiB": ("t.parquet", b"PAR1" + struct.pack("<I", 2**31 - 1) + b"PAR1"),
    "another suffix": ("t.xlsx", b"PK\3\4"),
}


def _clean_labels(path: Path) -> Any:
    from noisycorrect.tables.loading import Request, load
    from noisycorrect.tables.opening import open_source

    source = open_source(path)
    return load(source, Request("label", None, None, ()))


def tables() -> Iterator[tuple[str, Attempt]]:
    """Yield what is wrong with a table, and with the pictures that it names."""
    from noisycorrect.tables.opening import open_source
    from noisycorrect.tables.pictures import picture_paths, read_picture

    for what, (name, content) in _TABLES.items():

        def attempt(folder: Path, name: str = name, content: bytes = content) -> None:
            (folder / name).write_bytes(content)
            refused(lambda: _clean_labels(folder / name))

        yield f"table: {what}", attempt
    for what, make in NO_FILES.items():
        if what != "a link out of the folder":

            def special(folder: Path, make: Callable[[Path], None] = make) -> None:
                make(folder / "t.csv")
                refused(lambda: _clean_labels(folder / "t.csv"))

            yield f"table: {what}", special
    for what, path in {
        "absolute": "/etc/hostname",
        "up": "../a.png",
        "up from inside": "b/../../a.png",
        "home": "b/../../../root/a.png",
        "NUL": "a\0.png",
    }.items():

        def outside(folder: Path, path: str = path) -> None:
            refused(lambda: picture_paths(["a.png", path], folder))

        yield f"picture of a table: {what}", outside
    for what, content in no_pictures().items():

        def unreadable(folder: Path, content: bytes = content) -> None:
            (folder / "a.png").write_bytes(content)
            assert read_picture(folder / "a.png", 8) is None
            assert not (folder / "ran").exists()

        yield f"picture of a table: {what}", unreadable

    def linked(folder: Path) -> None:
        path = folder / "own/inside/a.png"
        path.parent.mkdir(parents=True)
        link_out(path)
        assert read_picture(path, 8, os.path.realpath(folder / "own/inside")) is None

    yield "picture of a table: a link out of the folder", linked

    def formulas(folder: Path) -> None:
        from noisycorrect.support.cells import safe_cell, visible

        for text in ("=1+1", "+1+1", "-a", "@a", "\t=1", "\r=1", "=cmd|'/C calc'!A0"):
            assert not safe_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))
        assert visible("\x1b]0;title\x07\x9b31m\u202e") == "\\x1b]0;title\\x07\\x9b31m\\u202e"

    yield "table: formulas and control characters", formulas

    def folder_of_nothing(folder: Path) -> None:
        refused(lambda: open_source(folder))

    yield "table: a folder without pictures", folder_of_nothing


def kept() -> Iterator[tuple[str, Attempt]]:
    """Yield what is wrong with files that the package wrote."""
    from noisycorrect.review.session import read_decisions, read_items
    from noisycorrect.tables.evidence import load_evidence
    from noisycorrect.tables.learning import Trained
    from noisycorrect.tables.settings import read_settings

    texts: dict[str, bytes] = {
        "empty": b"",
        "null": b"null",
        "a number": b"3",
        "a list": b"[]",
        "an empty object": b"{}",
        "cut off": b'{"version": 1, "labe',
        "nested 100,000 deep": b"[" * 100_000,
        "another version": b'{"version": 99}',
        "a version of text": b'{"version": "1"}',
        "no UTF-8": b"\xff\xfe\xfd",
        "NUL": bytes(64),
    }
    readers: dict[str, Callable[[Path], Any]] = {
        "clean.json": read_settings,
        "model.json": Trained.load,
        "cleaning.json": read_items,
    }
    for name, reader in readers.items():
        for what, content in texts.items():

            def attempt(folder: Path, name: str = name, reader: Any = reader, content: bytes = content) -> None:
                (folder / name).write_bytes(content)
                refused(lambda: reader(folder))

            yield f"{name}: {what}", attempt
        if name != "cleaning.json":

            def pipe(folder: Path, name: str = name, reader: Any = reader) -> None:
                os.mkfifo(folder / name)
                refused(lambda: reader(folder))

            yield f"{name}: a pipe", pipe
    plain = np.frombuffer(json.dumps({"annotators": [], "soft": True, "figures": {}}).encode(), np.uint8)
    pickled = io.BytesIO()
    np.savez(pickled, plain=plain, probs=np.array([{"a": 1}], object), labels=np.zeros(1), held_out=np.zeros(1))
    bomb = io.BytesIO()
    np.savez_compressed(bomb, plain=np.zeros(2**21, np.uint8), probs=np.zeros(1), labels=np.zeros(1))
    arrays: dict[str, bytes] = {
        "empty": b"",
        "text": b"no arrays",
        "cut off": pickled.getvalue()[:200],
        "Python objects": pickled.getvalue(),
        "without its parts": bomb.getvalue(),
        "a zip of nothing": b"PK\5\6" + bytes(18),
    }
    for what, content in arrays.items():

        def attempt_arrays(folder: Path, content: bytes = content) -> None:
            (folder / "evidence.npz").write_bytes(content)
            refused(lambda: load_evidence(folder / "evidence.npz"))

        yield f"evidence.npz: {what}", attempt_arrays

    def declared(folder: Path) -> None:
        from noisycorrect.support.untrusted import check_array

        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117) + b"\n"
        (folder / "rows.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(64))
        refused(lambda: check_array(folder / "rows.npy", "rows"))

    yield "rows.npy: 4 TiB declared", declared

    def decisions(folder: Path) -> None:
        (folder / "decisions.jsonl").write_bytes(b'{"id": 1}\n' + b"[" * 100_000 + b"\n\xff\n")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert read_decisions(folder) == []
        assert "lines 1, 2, 3 that cannot be read" in str(caught[0].message)

    yield "decisions: lines that say nothing", decisions
