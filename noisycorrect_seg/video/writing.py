"""Pictures with their masks over them, as a video: by PyAV, or a GIF by Pillow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import aside, publish
from noisycorrect_seg.video.reading import pyav

ENCODERS = ("libx264", "libopenh264", "mpeg4")  # whichever PyAV was built with
KINDS = {
    ".gif": "gif",
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".avi": "avi",
    ".webm": "webm",
}
USUAL_OVERLAYS = ("overlay.mp4", "overlay.gif")
COLOURS = 64  # of a GIF's pictures
LONGEST = 655_350  # milliseconds that one of them can be shown


class Clip:
    """A video file that is being written, a picture at a time; it is there when it is whole.

    Its kind follows the suffix: ``.gif`` by Pillow, others by PyAV. All pictures get the size of the first; one of
    another size is shrunk or enlarged into it, on black. A GIF lies in memory until it is written, a byte a pixel; a
    video does not.

    Parameters
    ----------
    path : path-like
        The file; its folder must exist.
    rate : float
        Pictures a second.

    Raises
    ------
    InvalidInputError
        If the suffix is of no such file, or PyAV is needed and missing, or has no encoder for it.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "clip.gif"
    >>> with Clip(path, rate=10) as clip:
    ...     for grey in (0, 100, 200):
    ...         clip.add(np.full((8, 12, 3), grey, np.uint8))
    >>> with Image.open(path) as image:
    ...     image.n_frames, image.size
    (3, (12, 8))
    """

    def __init__(self, path: str | os.PathLike[str], rate: float) -> None:
        self.path, self.rate = Path(path), rate
        self._kind = kind_of(self.path.name)
        self._temporary = aside(self.path)
        self._sink: Generator[None, np.ndarray | None, None] | None = None
        self._size: tuple[int, int] | None = None
        self._gif = self._kind == "gif"
        if not self._gif:
            pyav()

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if self._sink is not None:
                if kind is None:
                    with contextlib.suppress(StopIteration):
                        self._sink.send(None)
                    publish(self._temporary, self.path)
                else:
                    self._sink.close()
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, picture: np.ndarray) -> None:
        """Write a picture, RGB uint8 (H, W, 3)."""
        if self._sink is None:
            self._size = picture.shape[0], picture.shape[1]
            self._sink = self._gif_sink() if self._gif else self._file_sink(self._size)
            next(self._sink)
        assert self._size is not None
        self._sink.send(fitted(picture, self._size))

    def _gif_sink(self) -> Generator[None, np.ndarray | None, None]:
        """Take pictures and write them as a GIF, each with a palette of its own."""
        pictures = []
        while (picture := (yield)) is not None:
            pictures.append(Image.fromarray(picture).quantize(COLOURS, dither=Image.Dither.NONE))
        # In hundredths of a second, of which GIF counts to 65,535.
        duration = min(max(20, round(1000 / self.rate / 10) * 10), LONGEST)
        options: dict[str, Any] = {"save_all": True, "append_images": pictures[1:], "loop": 0}
        pictures[0].save(self._temporary, format="GIF", duration=duration, **options)

    def _file_sink(self, size: tuple[int, int]) -> Generator[None, np.ndarray | None, None]:
        av = pyav()
        height, width = (side - side % 2 or 2 for side in size)  # the colours of 4:2:0 take pixels by twos
        names = ("libvpx-vp9",) if self._kind == "webm" else ENCODERS
        known = [name for name in names if name in av.codecs_available]
        if not known:
            raise InvalidInputError(f"an encoder: {', '.join(names)}", got="none in PyAV", fix="write a .gif")
        with av.open(str(self._temporary), "w", format=self._kind) as container:
            stream = container.add_stream(known[0], rate=Fraction(self.rate).limit_denominator(1001))
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            while (picture := (yield)) is not None:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())


def kind_of(name: str) -> str:
    """Return what kind of video is written under a name; an InvalidInputError if its suffix says none.

    Examples
    --------
    >>> kind_of("overlay.MKV")
    'matroska'
    """
    kind = KINDS.get(Path(name).suffix.lower())
    if kind is None:
        raise InvalidInputError(f"a name of a video that ends in {', '.join(KINDS)}", got=repr(name), fix="rename it")
    return kind


def fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture in a size, its sides in proportion, on black.

    Examples
    --------
    >>> fitted(np.full((2, 2, 3), 9, np.uint8), (2, 4))[0, :, 0].tolist()
    [0, 9, 9, 0]
    """
    if picture.shape[:2] == size:
        return picture
    zoom = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    height, width = (max(1, round(side * zoom)) for side in picture.shape[:2])
    small = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
    whole = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    whole[top : top + height, left : left + width] = small
    return whole


def usual_name() -> str:
    """Return what an overlay's file is called: a video if PyAV is there, else a GIF."""
    film, picture = USUAL_OVERLAYS
    try:
        pyav()
    except InvalidInputError:
        return picture
    return film
