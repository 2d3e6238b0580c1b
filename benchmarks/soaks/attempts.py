"""What bad inputs are made of: a small picture and mask, bytes that are neither, places that are no files."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Attempt = Callable[[Path], None]
SIDE = (12, 16)
CLASSES = "background\nperson\ndog\n"


def refused(call: Callable[[], Any]) -> None:
    """Let a call end in an error; that it ends in none is the failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = call()
    raise AssertionError(f"taken without a word: {str(found)[:80]}")


def right_or_refused(call: Callable[[], Any], right: Any) -> None:
    """Let a call end in an error or in what is right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = call()
    if not np.array_equal(np.asarray(found), np.asarray(right)):
        raise AssertionError("taken for something else without a word")


def small_mask() -> np.ndarray:
    """Return a mask of three classes, 12 x 16."""
    mask = np.zeros(SIDE, np.uint8)
    mask[:, 4:8], mask[:, 8:] = 1, 2
    return mask


def small_image() -> np.ndarray:
    """Return a picture of noise, 12 x 16."""
    return np.random.default_rng(0).integers(0, 256, (*SIDE, 3)).astype(np.uint8)


def encoded(array: np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    """Return an array as the content of an image file."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(array).save(content, form, **options)
    return content.getvalue()


def small_folder(folder: Path, image: bytes | None = None, mask: bytes | None = None, classes: str = CLASSES) -> Path:
    """Make a folder of one picture, one mask and a class file; return it."""
    for kind, content, right in (("images", image, small_image()), ("masks", mask, small_mask())):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / "a.png").write_bytes(encoded(right) if content is None else content)
    (folder / "classes.txt").write_text(classes)
    return folder


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    """Return a PNG file that declares a size and holds 64 bytes."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(b"\0" * 64)) + _chunk(b"IEND", b"")


def no_pictures() -> dict[str, bytes]:
    """Return bytes that are no mask or picture of 12 x 16 pixels, and must be refused."""
    png = encoded(small_mask())
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
        "10^10 pixels declared": png_header(100_000, 100_000),
        "2^62 pixels declared": png_header(2**31 - 1, 2**31 - 1),
        "no pixels declared": png_header(0, 0),
        "an impossible depth": png_header(16, 12, depth=3),
        "an impossible colour type": png_header(16, 12, colour=5),
        "more rows declared than stored": png_header(16, 12),
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


def link_out(path: Path) -> None:
    """Make a link to a mask outside of the folder."""
    other = path.parent.parent.parent / "other.png"
    other.write_bytes(encoded(small_mask()))
    path.symlink_to(other)


NO_FILES: dict[str, Callable[[Path], None]] = {
    "a pipe": lambda path: os.mkfifo(path),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to(path.parent / "nothing"),
    "a link out of the folder": link_out,
    "a file that nobody may read": lambda path: path.symlink_to("/proc/1/mem"),
}
