"""Bad inputs: files from outside and arguments of callers that must end in one clear error, or in a right result.

Each is a name and a function of an empty folder. The function makes what is bad there, hands it to the package, and
raises an AssertionError if the package took it for something else than it is. Whatever else it ends in but a
:class:`~noisycorrect.NoisyCorrectError` is unclear.
"""

from __future__ import annotations

import io
import json
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.support.errors import NoisyCorrectError

Attempt = Callable[[Path], None]
SIDE = (12, 16)
CLASSES = "background\nperson\ndog\n"


def bad_inputs() -> Iterator[tuple[str, Attempt]]:
    """Yield the name of each bad input, unique, and what tries it in an empty folder.

    Examples
    --------
    >>> names = [name for name, _ in bad_inputs()]
    >>> len(names) == len(set(names)) > 300
    True
    """
    yield from _pictures()
    yield from _folders()
    yield from _lists()
    yield from _matlab()
    yield from _tables()
    yield from _kept()
    yield from _arguments()


def _refused(call: Callable[[], Any]) -> None:
    """Let a call end in an error; that it ends in none is the failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = call()
    raise AssertionError(f"taken without a word: {str(found)[:80]}")


def _right_or_refused(call: Callable[[], Any], right: Any) -> None:
    """Let a call end in an error or in what is right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = call()
    if not np.array_equal(np.asarray(found), np.asarray(right)):
        raise AssertionError("taken for something else without a word")


# ---------------------------------------------------------------- pictures and masks


def _mask() -> np.ndarray:
    mask = np.zeros(SIDE, np.uint8)
    mask[:, 4:8], mask[:, 8:] = 1, 2
    return mask


def _image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIDE, 3)).astype(np.uint8)


def _encoded(array: np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(array).save(content, form, **options)
    return content.getvalue()


def _people(folder: Path, image: bytes | None = None, mask: bytes | None = None, classes: str = CLASSES) -> Path:
    for kind, content, right in (("images", image, _image()), ("masks", mask, _mask())):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / "a.png").write_bytes(_encoded(right) if content is None else content)
    (folder / "classes.txt").write_text(classes)
    return folder


def _read(folder: Path, kind: str) -> Any:
    from noisycorrect_seg import Folder

    source = Folder(folder)
    return source.image(0) if kind == "images" else source.mask(0)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_header(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(b"\0" * 64)) + _chunk(b"IEND", b"")


def _palette(colours: list[tuple[int, int, int]], values: np.ndarray) -> bytes:
    from PIL import Image

    image = Image.fromarray(values)
    image.putpalette([part for colour in colours for part in colour])
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _no_pictures() -> dict[str, bytes]:
    """Return bytes that are no mask or picture of 12 x 16 pixels, and must be refused."""
    png = _encoded(_mask())
    return {
        "empty": b"",
        "text": b"no picture",
        "HTML of a login page": b"<!doctype html><html><body>please log in</body></html>",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch ran) (w) file\n",
        "PDF": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
        "a pickle": b"cos\nsystem\n(S'touch ran'\ntR.",
        "magic number alone": b"\x89PNG\r\n\x1a\n",
        "bytes of zero": bytes(400),
        "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "10^10 pixels declared": _png_header(100_000, 100_000),
        "2^62 pixels declared": _png_header(2**31 - 1, 2**31 - 1),
        "no pixels declared": _png_header(0, 0),
        "an impossible depth": _png_header(16, 12, depth=3),
        "an impossible colour type": _png_header(16, 12, colour=5),
        "more rows declared than stored": _png_header(16, 12),
        "two pictures behind each other, the first cut": png[:40] + png,
        "a BMP of 10^10 pixels": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 10**5, 10**5, 1, 8, *[0] * 6),
        "a TIFF without a directory": b"II*\0\x08\0\0\0\0\0\0\0\0\0",
        "a TIFF whose directory is itself": b"II*\0\x08\0\0\0\x01\0"
        + struct.pack("<HHII", 256, 4, 1, 8)
        + b"\x08\0\0\0",
        "a TIFF of 2^40 pixels": b"II*\0\x08\0\0\0\x02\0"
        + struct.pack("<HHII", 256, 4, 1, 2**20)
        + struct.pack("<HHII", 257, 4, 1, 2**20)
        + bytes(4),
        **{f"cut off after {share} %": png[: len(png) * share // 100] for share in (5, 20, 40, 60)},
    }


def _no_masks() -> dict[str, bytes]:
    """Return pictures that Pillow reads and that are no masks of three classes."""
    mask, greys = _mask(), [(0, 0, 0), (5, 5, 5), (13, 13, 13)]
    voc = [(0, 0, 0), (128, 0, 128), (64, 0, 128)]
    return {
        "JPEG": _encoded(mask, "JPEG"),
        "lossy WebP": _encoded(mask, "WEBP"),
        "GIF": _encoded(mask, "GIF"),
        "JPEG in a TIFF": _encoded(np.repeat(mask[:, :, None], 3, 2), "TIFF", compression="jpeg"),
        "colours": _encoded(_image()),
        "a class too many": _encoded(mask + np.uint8(1)),
        "values over 255": _encoded(mask.astype(np.uint16) * 300),
        "negative 32-bit values": _encoded(mask.astype(np.int32) - 2, "TIFF"),
        "fractions": _encoded(mask.astype(np.float32) + 0.5, "TIFF"),
        "NaN": _encoded(np.full(SIDE, np.nan, np.float32), "TIFF"),
        "another size": _encoded(mask[:-1]),
        "turned": _encoded(mask.T.copy()),
        "0 and 255 alone": _encoded((mask > 0).astype(np.uint8) * 255),
        "a palette of the greys in use": _palette(greys, mask),
        "a palette in order of frequency": _palette(greys[::-1], mask),
        "VOC's colours numbered anew": _palette(voc, mask),
    }


def _pictures() -> Iterator[tuple[str, Attempt]]:
    for what, content in _no_pictures().items():
        for kind in ("images", "masks"):

            def attempt(folder: Path, kind: str = kind, content: bytes = content) -> None:
                _people(folder, **{kind[:-1]: content})  # type: ignore[arg-type]
                _refused(lambda: _read(folder, kind))
                assert not (folder / "ran").exists()

            yield f"{kind}: {what}", attempt
    for what, content in _no_masks().items():

        def attempt_mask(folder: Path, content: bytes = content) -> None:
            _people(folder, mask=content)
            _refused(lambda: _read(folder, "masks"))

        yield f"masks: {what}", attempt_mask
    for seed in range(40):
        for kind in ("images", "masks"):

            def flipped(folder: Path, kind: str = kind, seed: int = seed) -> None:
                right = _image() if kind == "images" else _mask()
                content = bytearray(_encoded(right))
                rng = np.random.default_rng(seed)
                content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
                _people(folder, **{kind[:-1]: bytes(content)})  # type: ignore[arg-type]
                _right_or_refused(lambda: _read(folder, kind), right)

            yield f"{kind}: a bit flipped, {seed}", flipped
    for what, make in _SPECIAL.items():
        for kind in ("images", "masks"):

            def special(folder: Path, kind: str = kind, make: Callable[[Path], None] = make) -> None:
                path = _people(folder / "own") / kind / "a.png"
                path.unlink()
                make(path)
                _refused(lambda: _read(folder / "own", kind))

            yield f"{kind}: {what}", special


def _link_out(path: Path) -> None:
    other = path.parent.parent.parent / "other.png"
    other.write_bytes(_encoded(_mask()))
    path.symlink_to(other)


_SPECIAL: dict[str, Callable[[Path], None]] = {
    "a pipe": lambda path: os.mkfifo(path),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to(path.parent / "nothing"),
    "a link out of the folder": _link_out,
    "a file that nobody may read": lambda path: path.symlink_to("/proc/1/mem"),
}


# ---------------------------------------------------------------- folders, id files, class files


def _folders() -> Iterator[tuple[str, Attempt]]:
    from noisycorrect_seg import Folder

    def with_(change: Callable[[Path], Any], **options: Any) -> Attempt:
        def attempt(folder: Path) -> None:
            change(_people(folder))
            _refused(lambda: Folder(folder, **options).mask(0))

        return attempt

    yield "folder: no images", with_(lambda root: (root / "images/a.png").unlink())
    yield "folder: no masks", with_(lambda root: (root / "masks/a.png").unlink())
    yield "folder: no class file", with_(lambda root: (root / "classes.txt").unlink())
    yield "folder: two files of one stem", with_(lambda root: (root / "images/a.jpg").write_bytes(b""))
    yield "folder: mask of another case", with_(lambda root: (root / "masks/a.png").rename(root / "masks/A.png"))
    yield (
        "folder: mask with more in its name",
        with_(lambda root: (root / "masks/a.png").rename(root / "masks/a_m.png")),
    )
    yield "folder: images are a file", with_(_file_for_images)
    yield "folder: an unknown split", with_(lambda root: None, split="test")
    yield "folder: a value that is no byte", with_(lambda root: None, values={300: 1})
    yield "folder: a value of text", with_(lambda root: None, values={"255": 1})
    yield "folder: an unknown way", with_(lambda root: None, unlabeled="drop")
    yield "folder: an unknown orientation", with_(lambda root: None, orientation="left")
    for what, root in {
        "None": None,
        "number": 5,
        "empty": "",
        "NUL": "a\0b",
        "bytes": b"a",
        "nothing there": "/no/such",
    }.items():
        yield f"folder: root is {what}", lambda folder, root=root: _refused(lambda: Folder(root))  # type: ignore[misc]


def _file_for_images(root: Path) -> None:
    (root / "images").rename(root / "elsewhere")
    (root / "images").touch()


_IDS: dict[str, bytes] = {
    "empty": b"",
    "blank lines": b"\n \n\t\n",
    "an unknown name": b"b\n",
    "a name twice": b"a\na\n",
    "a way out": b"../../etc/passwd\n",
    "a way out and back": b"../images/b\n",
    "an absolute path": b"/etc/passwd\n",
    "a NUL": b"a\0\n",
    "no UTF-8": b"\xff\xfea\0\n\0",
    "bytes at random": bytes(np.random.default_rng(1).integers(0, 256, 400).astype(np.uint8)),
    "a line of a megabyte": b"a" * 2**20,
    "control characters": b"\x1b[31ma\x1b[0m\n",
    "markup": b"[red]a[/red]\n",
    "a formula": b"=HYPERLINK(1)\n",
    "a table": b"image,mask\nb,c\n",
    "JSON": b'["b"]',
}
_CLASS_LISTS: dict[str, bytes] = {
    "empty": b"",
    "one name": b"background",
    "300 names": "\n".join(f"class{number}" for number in range(300)).encode(),
    "a name twice": b"a\nb\na",
    "no UTF-8": b"\xff\xfe\0a",
    "a flip of no class": b"a\nb\n# flip: a <-> c",
    "a flip without a side": b"a\nb\n# flip: a",
    "a class in two flips": b"a\nb\nc\n# flip: a <-> b, a <-> c",
    "a flip with itself": b"a\nb\n# flip: a <-> a",
    "bytes at random": bytes(np.random.default_rng(2).integers(128, 256, 400).astype(np.uint8)),
}
_CLASS_JSON: dict[str, bytes] = {
    "empty": b"",
    "cut off": b'["a", "b"',
    "a number": b"3",
    "null": b"null",
    "a text": b'"ab"',
    "an object without names": b'{"classes": ["a", "b"]}',
    "names of one text": b'{"names": "ab"}',
    "names of numbers with fractions": b"[1.5, 2.5]",
    "names of lists": b'[["a"], ["b"]]',
    "names of null": b'["a", null]',
    "pairs of one": b'{"names": ["a", "b"], "flip_pairs": [["a"]]}',
    "pairs of a number": b'{"names": ["a", "b"], "flip_pairs": 5}',
    "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "nested and never closed": b'{"a":' * 100_000,
    "NaN": b"[NaN, NaN]",
    "a number of 10,000 digits": b"[" + b"9" * 10_000 + b"]",
    "half a surrogate": b'["\\ud800", "\\ud800"]',
    "no UTF-8": b'["\xff", "b"]',
}


def _lists() -> Iterator[tuple[str, Attempt]]:
    from noisycorrect_seg import Folder
    from noisycorrect_seg.datasets import read_classes

    for split in ("train", "val"):
        for what, content in _IDS.items():

            def attempt(folder: Path, content: bytes = content, split: str = split) -> None:
                (_people(folder) / f"{split}.txt").write_bytes(content)
                _refused(lambda: Folder(folder, split=split))

            yield f"id file of {split}: {what}", attempt
    for name, contents in (("classes.txt", _CLASS_LISTS), ("classes.json", _CLASS_JSON)):
        for what, content in contents.items():

            def attempt_classes(folder: Path, name: str = name, content: bytes = content) -> None:
                (folder / name).write_bytes(content)
                _refused(lambda: read_classes(folder / name))

            yield f"{name}: {what}", attempt_classes
        for what, make in _SPECIAL.items():
            if what != "a link out of the folder":  # the caller has named the file

                def special(folder: Path, name: str = name, make: Callable[[Path], None] = make) -> None:
                    make(folder / name)
                    _refused(lambda: read_classes(folder / name))

                yield f"{name}: {what}", special


# ---------------------------------------------------------------- MATLAB files


def _matlab() -> Iterator[tuple[str, Attempt]]:
    import scipy.io

    from noisycorrect_seg.datasets import CCP

    def saved(**values: Any) -> bytes:
        content = io.BytesIO()
        scipy.io.savemat(content, values, do_compression=True)
        return content.getvalue()

    whole = saved(groundtruth=_mask())
    header = whole[:128]
    # An uncompressed matrix element whose dimensions declare 2^60 entries.
    body = (
        struct.pack("<IIIIII", 14, 48, 6, 8, 9, 0)
        + struct.pack("<IIII", 5, 8, 2**30, 2**30)
        + struct.pack("<II", 1, 1)
        + b"groundtr"
    )
    contents = {
        "empty": b"",
        "text": b"no matrix",
        "cut off": whole[: len(whole) // 2],
        "header alone": header,
        "another variable": saved(mask=_mask()),
        "a text": saved(groundtruth="abc"),
        "cells": saved(groundtruth=np.array([1, "a"], object)),
        "fractions": saved(groundtruth=_mask() + 0.5),
        "complex": saved(groundtruth=_mask() * 1j),
        "three dimensions": saved(groundtruth=np.zeros((2, 3, 4), np.uint8)),
        "no entries": saved(groundtruth=np.zeros((0, 0), np.uint8)),
        "a tag too many": saved(groundtruth=_mask() + 200),
        "negative tags": saved(groundtruth=_mask().astype(np.int16) - 5),
        "another size": saved(groundtruth=_mask()[:-1]),
        "2^60 entries declared": header + body,
        "version 7.3": b"MATLAB 7.3 MAT-file".ljust(512, b" ") + b"\x89HDF\r\n\x1a\n" + bytes(100),
    }
    for what, content in contents.items():

        def attempt(folder: Path, content: bytes = content) -> None:
            (folder / "photos").mkdir()
            (folder / "annotations/pixel-level").mkdir(parents=True)
            (folder / "photos/0001.jpg").write_bytes(_encoded(_image(), "JPEG"))
            (folder / "annotations/pixel-level/0001.mat").write_bytes(content)
            _refused(lambda: CCP(folder).mask(0))

        yield f"MATLAB: {what}", attempt


# ---------------------------------------------------------------- tables


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


def _tables() -> Iterator[tuple[str, Attempt]]:
    from noisycorrect.tables.opening import open_source
    from noisycorrect.tables.pictures import picture_paths, read_picture

    for what, (name, content) in _TABLES.items():

        def attempt(folder: Path, name: str = name, content: bytes = content) -> None:
            (folder / name).write_bytes(content)
            _refused(lambda: _clean_labels(folder / name))

        yield f"table: {what}", attempt
    for what, make in _SPECIAL.items():
        if what != "a link out of the folder":

            def special(folder: Path, make: Callable[[Path], None] = make) -> None:
                make(folder / "t.csv")
                _refused(lambda: _clean_labels(folder / "t.csv"))

            yield f"table: {what}", special
    for what, path in {
        "absolute": "/etc/hostname",
        "up": "../a.png",
        "up from inside": "b/../../a.png",
        "home": "b/../../../root/a.png",
        "NUL": "a\0.png",
    }.items():

        def outside(folder: Path, path: str = path) -> None:
            _refused(lambda: picture_paths(["a.png", path], folder))

        yield f"picture of a table: {what}", outside
    for what, content in _no_pictures().items():

        def unreadable(folder: Path, content: bytes = content) -> None:
            (folder / "a.png").write_bytes(content)
            assert read_picture(folder / "a.png", 8) is None
            assert not (folder / "ran").exists()

        yield f"picture of a table: {what}", unreadable

    def linked(folder: Path) -> None:
        path = folder / "own/inside/a.png"
        path.parent.mkdir(parents=True)
        _link_out(path)
        assert read_picture(path, 8, os.path.realpath(folder / "own/inside")) is None

    yield "picture of a table: a link out of the folder", linked

    def formulas(folder: Path) -> None:
        from noisycorrect.support.cells import safe_cell, visible

        for text in ("=1+1", "+1+1", "-a", "@a", "\t=1", "\r=1", "=cmd|'/C calc'!A0"):
            assert not safe_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))
        assert visible("\x1b]0;title\x07\x9b31m\u202e") == "\\x1b]0;title\\x07\\x9b31m\\u202e"

    yield "table: formulas and control characters", formulas

    def folder_of_nothing(folder: Path) -> None:
        _refused(lambda: open_source(folder))

    yield "table: a folder without pictures", folder_of_nothing


# ---------------------------------------------------------------- files that the package keeps


def _kept() -> Iterator[tuple[str, Attempt]]:
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
                _refused(lambda: reader(folder))

            yield f"{name}: {what}", attempt
        if name != "cleaning.json":

            def pipe(folder: Path, name: str = name, reader: Any = reader) -> None:
                os.mkfifo(folder / name)
                _refused(lambda: reader(folder))

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
            _refused(lambda: load_evidence(folder / "evidence.npz"))

        yield f"evidence.npz: {what}", attempt_arrays

    def declared(folder: Path) -> None:
        from noisycorrect.support.untrusted import check_array

        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117) + b"\n"
        (folder / "rows.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(64))
        _refused(lambda: check_array(folder / "rows.npy", "rows"))

    yield "rows.npy: 4 TiB declared", declared

    def decisions(folder: Path) -> None:
        (folder / "decisions.jsonl").write_bytes(b'{"id": 1}\n' + b"[" * 100_000 + b"\n\xff\n")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert read_decisions(folder) == []
        assert "lines 1, 2, 3 that cannot be read" in str(caught[0].message)

    yield "decisions: lines that say nothing", decisions


# ---------------------------------------------------------------- arguments


def _wrong() -> dict[str, Any]:
    import torch

    return {
        "None": None,
        "a text": "no such thing",
        "NaN": float("nan"),
        "a negative number": -1,
        "a number of 31 digits": 10**30,
        "an object": object(),
        "a class": int,
        "bytes": b"\0\xff",
        "an empty array": np.zeros((0, 4)),
        "complex numbers": torch.ones(3, 2, dtype=torch.complex64),
        "another shape": torch.zeros(5, 2, 7),
        "a dict": {"a": 1},
    }


def _arguments() -> Iterator[tuple[str, Attempt]]:
    import torch
    from torch import nn

    import noisycorrect as nc
    import noisycorrect_seg as ns

    inputs = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(24) % 3
    probs = torch.softmax(inputs[:, :3], 1).numpy()

    def corrector(**options: Any) -> Any:
        quiet = [nc.Progress(enabled=False)]
        return nc.SelfCorrector(
            nn.Linear(4, 3), **{"num_classes": 3, "recipe": "paper", "epochs": 3, "callbacks": quiet, **options}
        )

    calls: dict[str, Callable[[Any], Any]] = {
        "model": lambda bad: nc.SelfCorrector(bad, num_classes=3),
        "num_classes": lambda bad: corrector(num_classes=bad),
        "callbacks": lambda bad: corrector(callbacks=bad),
        "class_names": lambda bad: corrector(class_names=["a", "b", bad, "d"]),
        "train": lambda bad: corrector().fit(bad),
        "inputs": lambda bad: corrector().fit((bad, labels)),
        "labels": lambda bad: corrector().fit((inputs, bad)),
        "given labels of find_label_issues": lambda bad: nc.find_label_issues(bad, probs),
        "probabilities of find_label_issues": lambda bad: nc.find_label_issues(labels.numpy(), bad),
        "labels of evidence_from_features": lambda bad: nc.evidence_from_features(inputs.numpy(), bad),
        "features of evidence_from_features": lambda bad: nc.evidence_from_features(bad, labels.numpy()),
        "votes": lambda bad: nc.dawid_skene(bad),
        "source": lambda bad: ns.ParsingDataset(bad, (32, 32)),
        "logits of lovasz_softmax": lambda bad: ns.lovasz_softmax(bad, torch.zeros(2, 8, 8).long()),
    }
    for name, call in calls.items():
        for what, bad in _wrong().items():
            if (name, what) == ("callbacks", "an empty array"):
                continue  # no callbacks

            def attempt(folder: Path, call: Callable[[Any], Any] = call, bad: Any = bad) -> None:
                del folder
                _refused(lambda: call(bad))

            yield f"argument {name}: {what}", attempt


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
