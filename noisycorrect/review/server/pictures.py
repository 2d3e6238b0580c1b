"""Pictures of items as a browser can show them."""

from __future__ import annotations

import io
from pathlib import Path

from noisycorrect.support.eight_bits import as_shown
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.untrusted import check_regular, opened_picture

LARGEST = 1600  # pixels a side: no screen of a review needs more, and the next pictures are loaded meanwhile
# Formats that browsers show and that can hold no scripts, by their first bytes; others need Pillow.
SHOWN = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif", b"BM": "image/bmp"}
PLAIN_BYTES = 4 * 2**20  # files up to this are sent as they are


def shown_picture(path: Path) -> tuple[str, bytes]:
    """Return a picture's media type and bytes: as it is if small and of a browser's format, else made smaller.

    Grey pictures of 16 bits are stretched: a browser shows their upper 8, of most cameras and scanners all black.

    Raises
    ------
    InvalidInputError
        If it is missing, damaged, or of a format that needs Pillow, which is not installed.

    Examples
    --------
    >>> shown_picture(Path("nowhere.png"))
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected the picture nowhere.png; got no such file; to fix: restore
    it where it was when the run was made, then reload the page
    """
    try:
        if path.exists():
            check_regular(path, "a picture")  # reading a pipe would wait for ever
        content = path.read_bytes()
    except OSError as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        fix = "restore it where it was when the run was made, then reload the page"
        raise InvalidInputError(f"the picture {path}", got=got, fix=fix) from error
    kind = next((kind for start, kind in SHOWN.items() if content.startswith(start)), None)
    if kind is None and content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        kind = "image/webp"
    if kind is not None and len(content) <= PLAIN_BYTES and not _is_grey16(content):
        return kind, content
    return _converted(path, content, kind)


def _is_grey16(content: bytes) -> bool:
    """Return whether a file is a PNG of one channel of 16 bits: so says its IHDR chunk, which comes first."""
    return content.startswith(b"\x89PNG") and content[24:26] == b"\x10\x00"


def _converted(path: Path, content: bytes, kind: str | None) -> tuple[str, bytes]:
    try:
        from PIL import ImageOps
    except ImportError as error:
        if kind is not None:
            return kind, content
        fix = "pip install pillow"
        raise InvalidInputError(f"JPEG, PNG, GIF, WebP or BMP at {path}", got="another format", fix=fix) from error
    try:
        # Threads share the filters of warnings, so none is set here.
        with opened_picture(io.BytesIO(content)) as image:
            image.draft("RGB", (2 * LARGEST, 2 * LARGEST))
            small = as_shown(ImageOps.exif_transpose(image))
            small.thumbnail((LARGEST, LARGEST))
            out = io.BytesIO()
            small.convert("RGB").save(out, "JPEG", quality=88)
            return "image/jpeg", out.getvalue()
    except Exception as error:  # Pillow's decoders raise nearly anything at broken files
        fix = "the file is damaged: replace it, then reload the page"
        raise InvalidInputError(f"a picture that can be read at {path}", got=str(error), fix=fix) from error
