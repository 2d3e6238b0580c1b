"""Folders, id files, class files and MATLAB files that somebody made wrong."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soaks.attempts import NO_FILES, Attempt, encoded, refused, small_folder, small_image, small_mask


def folders() -> Iterator[tuple[str, Attempt]]:
    """Yield what is wrong with a folder."""
    from noisycorrect_seg import Folder

    def with_(change: Callable[[Path], Any], **options: Any) -> Attempt:
        def attempt(folder: Path) -> None:
            change(small_folder(folder))
            refused(lambda: Folder(folder, **options).mask(0))

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
    yield "folder: a value that no mask has", with_(lambda root: None, values={70_000: 1})
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
        yield f"folder: root is {what}", lambda folder, root=root: refused(lambda: Folder(root))  # type: ignore[misc]


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
    "70,000 names": "\n".join(f"class{number}" for number in range(70_000)).encode(),
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


def lists() -> Iterator[tuple[str, Attempt]]:
    """Yield what is wrong with id files and class files."""
    from noisycorrect_seg import Folder
    from noisycorrect_seg.datasets import read_classes

    for split in ("train", "val"):
        for what, content in _IDS.items():

            def attempt(folder: Path, content: bytes = content, split: str = split) -> None:
                (small_folder(folder) / f"{split}.txt").write_bytes(content)
                refused(lambda: Folder(folder, split=split))

            yield f"id file of {split}: {what}", attempt
    for name, contents in (("classes.txt", _CLASS_LISTS), ("classes.json", _CLASS_JSON)):
        for what, content in contents.items():

            def attempt_classes(folder: Path, name: str = name, content: bytes = content) -> None:
                (folder / name).write_bytes(content)
                refused(lambda: read_classes(folder / name))

            yield f"{name}: {what}", attempt_classes
        for what, make in NO_FILES.items():
            if what != "a link out of the folder":  # the caller has named the file

                def special(folder: Path, name: str = name, make: Callable[[Path], None] = make) -> None:
                    make(folder / name)
                    refused(lambda: read_classes(folder / name))

                yield f"{name}: {what}", special


def matlab() -> Iterator[tuple[str, Attempt]]:
    """Yield what is wrong with MATLAB files."""
    import scipy.io

    from noisycorrect_seg.datasets import CCP

    def saved(**values: Any) -> bytes:
        content = io.BytesIO()
        scipy.io.savemat(content, values, do_compression=True)
        return content.getvalue()

    whole = saved(groundtruth=small_mask())
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
        "another variable": saved(mask=small_mask()),
        "a text": saved(groundtruth="abc"),
        "cells": saved(groundtruth=np.array([1, "a"], object)),
        "fractions": saved(groundtruth=small_mask() + 0.5),
        "complex": saved(groundtruth=small_mask() * 1j),
        "three dimensions": saved(groundtruth=np.zeros((2, 3, 4), np.uint8)),
        "no entries": saved(groundtruth=np.zeros((0, 0), np.uint8)),
        "a tag too many": saved(groundtruth=small_mask() + 200),
        "negative tags": saved(groundtruth=small_mask().astype(np.int16) - 5),
        "another size": saved(groundtruth=small_mask()[:-1]),
        "2^60 entries declared": header + body,
        "version 7.3": b"MATLAB 7.3 MAT-file".ljust(512, b" ") + b"\x89HDF\r\n\x1a\n" + bytes(100),
    }
    for what, content in contents.items():

        def attempt(folder: Path, content: bytes = content) -> None:
            (folder / "photos").mkdir()
            (folder / "annotations/pixel-level").mkdir(parents=True)
            (folder / "photos/0001.jpg").write_bytes(encoded(small_image(), "JPEG"))
            (folder / "annotations/pixel-level/0001.mat").write_bytes(content)
            refused(lambda: CCP(folder).mask(0))

        yield f"MATLAB: {what}", attempt
