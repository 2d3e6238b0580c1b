"""Small pictures inside a page, as data URIs; Pillow is imported when there is a picture."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from noisycorrect.support.eight_bits import as_shown
from noisycorrect.support.untrusted import opened_picture

SIDE = 192
NO_PILLOW = "pip install pillow to see the pictures"


def thumbnail(path: Path, *, side: int = SIDE) -> tuple[str | None, str]:
    """Return a picture as a data URI of at most `side` pixels; or None, and why in a few words.

    Examples
    --------
    >>> thumbnail(Path("nowhere.png"))
    (None, 'picture missing: nowhere.png')
    """
    try:
        from PIL import ImageOps
    except ImportError:
        return None, NO_PILLOW
    if not path.is_file():
        return None, f"picture missing: {path}"
    try:
        with opened_picture(path) as image:
            image.draft("RGB", (2 * side, 2 * side))
            small = as_shown(ImageOps.exif_transpose(image))
            small.thumbnail((side, side))
            return data_uri(small), ""
    except Exception:  # Pillow's decoders raise nearly anything at broken files; the page must be made all the same
        return None, f"picture cannot be read: {path}"


def data_uri(image: Any) -> str:
    """Return a Pillow image as a data URI: JPEG, or PNG if it has transparency or a palette."""
    content = io.BytesIO()
    plain = image.mode in ("RGB", "L", "CMYK", "YCbCr")
    if plain:
        image.convert("RGB").save(content, "JPEG", quality=82, optimize=True)
    else:
        image.convert("RGBA").save(content, "PNG", optimize=True)
    kind = "jpeg" if plain else "png"
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
