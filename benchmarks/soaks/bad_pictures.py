"""Pictures and masks that are none, are damaged, or are no masks of these classes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soaks.attempts import (
    NO_FILES,
    SIDE,
    Attempt,
    encoded,
    no_pictures,
    refused,
    right_or_refused,
    small_folder,
    small_image,
    small_mask,
)


def _read(folder: Path, kind: str) -> Any:
    from noisycorrect_seg import Folder

    source = Folder(folder)
    return source.image(0) if kind == "images" else source.mask(0)


def _palette(colours: list[tuple[int, int, int]], values: np.ndarray) -> bytes:
    from PIL import Image

    image = Image.fromarray(values)
    image.putpalette([part for colour in colours for part in colour])
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _no_masks() -> dict[str, bytes]:
    """Return pictures that Pillow reads and that are no masks of three classes."""
    mask, greys = small_mask(), [(0, 0, 0), (5, 5, 5), (13, 13, 13)]
    voc = [(0, 0, 0), (128, 0, 128), (64, 0, 128)]
    return {
        "JPEG": encoded(mask, "JPEG"),
        "lossy WebP": encoded(mask, "WEBP"),
        "GIF": encoded(mask, "GIF"),
        "JPEG in a TIFF": encoded(np.repeat(mask[:, :, None], 3, 2), "TIFF", compression="jpeg"),
        "colours": encoded(small_image()),
        "a class too many": encoded(mask + np.uint8(1)),
        "values over 255": encoded(mask.astype(np.uint16) * 300),
        "negative 32-bit values": encoded(mask.astype(np.int32) - 2, "TIFF"),
        "fractions": encoded(mask.astype(np.float32) + 0.5, "TIFF"),
        "NaN": encoded(np.full(SIDE, np.nan, np.float32), "TIFF"),
        "another size": encoded(mask[:-1]),
        "turned": encoded(mask.T.copy()),
        "0 and 255 alone": encoded((mask > 0).astype(np.uint8) * 255),
        "a palette of the greys in use": _palette(greys, mask),
        "a palette in order of frequency": _palette(greys[::-1], mask),
        "VOC's colours numbered anew": _palette(voc, mask),
    }


def pictures() -> Iterator[tuple[str, Attempt]]:
    """Yield what is wrong with one picture or mask."""
    for what, content in no_pictures().items():
        for kind in ("images", "masks"):

            def attempt(folder: Path, kind: str = kind, content: bytes = content) -> None:
                small_folder(folder, **{kind[:-1]: content})  # type: ignore[arg-type]
                refused(lambda: _read(folder, kind))
                assert not (folder / "ran").exists()

            yield f"{kind}: {what}", attempt
    for what, content in _no_masks().items():

        def attempt_mask(folder: Path, content: bytes = content) -> None:
            small_folder(folder, mask=content)
            refused(lambda: _read(folder, "masks"))

        yield f"masks: {what}", attempt_mask
    for seed in range(40):
        for kind in ("images", "masks"):

            def flipped(folder: Path, kind: str = kind, seed: int = seed) -> None:
                right = small_image() if kind == "images" else small_mask()
                content = bytearray(encoded(right))
                rng = np.random.default_rng(seed)
                content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
                small_folder(folder, **{kind[:-1]: bytes(content)})  # type: ignore[arg-type]
                right_or_refused(lambda: _read(folder, kind), right)

            yield f"{kind}: a bit flipped, {seed}", flipped
    for what, make in NO_FILES.items():
        for kind in ("images", "masks"):

            def special(folder: Path, kind: str = kind, make: Callable[[Path], None] = make) -> None:
                path = small_folder(folder / "own") / kind / "a.png"
                path.unlink()
                make(path)
                refused(lambda: _read(folder / "own", kind))

            yield f"{kind}: {what}", special
