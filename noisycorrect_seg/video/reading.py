"""Frames of a video: of a file, a folder of pictures, or anything that yields arrays or tensors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import ImageSequence

from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.untrusted import check_regular
from noisycorrect_seg.datasets.images import IMAGE_SUFFIXES, opened, rgb_pixels
from noisycorrect_seg.inference.images import any_image, is_file

if TYPE_CHECKING:
    import av

VIDEO_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".ts",
    ".wmv",
    ".flv",
    ".ogv",
    ".3gp",
)
ANIMATED = (".gif", ".webp", ".png", ".apng")  # what Pillow reads by itself
CHANNELS = (1, 3, 4)  # what a picture's last axis has
USUAL_RATE = 25.0  # frames a second, where nothing says it


@dataclass
class Video:
    """Frames to go through once, and what became known of them on the way.

    Attributes
    ----------
    frames : iterator of ndarray, shape (H, W, 3), uint8
        RGB, upright.
    rate : float
        Frames a second.
    count : int or None
        How many there should be, if anything says so.
    name : str
        For messages.
    problem : str or None
        Why there are no more frames, if that is not because the video has ended. Known when the frames are through.
    """

    frames: Iterator[np.ndarray] = field(repr=False)
    rate: float
    count: int | None
    name: str
    problem: str | None = None


def opened_video(video: Any, rate: float | None = None) -> Video:
    """Return a video's frames, which are read when they are asked for.

    Parameters
    ----------
    video : path-like, or iterable
        A video file (by PyAV; GIF, WebP and animated PNG by Pillow), a folder of pictures in the order of the numbers
        in their names (frame2.png before frame10.png), or frames: paths, PIL images, uint8 arrays (H, W, 3) or (H, W),
        uint8 tensors (3, H, W) or (H, W, 3).
    rate : float, optional
        Frames a second, instead of what the file says.

    Raises
    ------
    InvalidInputError
        If it is no video, cannot be opened, PyAV is needed and not there, or the rate is none.

    Examples
    --------
    >>> video = opened_video(np.zeros((2, 4, 6, 3), np.uint8), rate=10)
    >>> video.rate, video.count, [frame.shape for frame in video.frames]
    (10.0, 2, [(4, 6, 3), (4, 6, 3)])
    """
    if rate is not None:
        rate = finite_number("rate", rate, more_than=0, fix="leave it out for the file's own, else 25")
    if isinstance(video, (str, os.PathLike)):
        path = Path(video)
        if path.is_dir():
            return _of_folder(path, rate)
        check_regular(path, "a video file")
        found = _of_pictures(path) if path.suffix.lower() in ANIMATED else _of_file(path)
        found.rate = found.rate if rate is None else rate
        return found
    if not isinstance(video, Iterable) or isinstance(video, (bytes, dict)):
        raise InvalidInputError(
            "a video file, a folder of pictures, or frames", got=type(video).__name__, fix="pass a path or a list"
        )
    shape = tuple(getattr(video, "shape", ()))
    first = isinstance(video, torch.Tensor) and shape[:1] == (3,)
    if len(shape) == 3 and (first or shape[2] in CHANNELS):  # a picture, whose rows are no frames
        raise InvalidInputError(
            "frames, (N, H, W, 3)", got=f"one picture of shape {shape}", fix="parse_image parses it; or pass [picture]"
        )
    count = len(video) if isinstance(video, Sized) else None
    return Video((as_frame(frame) for frame in video), USUAL_RATE if rate is None else rate, count, "the frames")


def as_frame(frame: Any) -> np.ndarray:
    """Return a frame as an RGB array (H, W, 3), uint8; tensors may have their channels first.

    A copy: cameras and decoders write the next frame into the memory of the one before.

    Examples
    --------
    >>> as_frame(torch.zeros(3, 4, 6, dtype=torch.uint8)).shape
    (4, 6, 3)
    """
    if isinstance(frame, torch.Tensor):
        pixels = frame.detach().cpu()
        if pixels.ndim == 3 and pixels.shape[0] == 3 and pixels.shape[2] != 3:
            pixels = pixels.permute(1, 2, 0)
        return any_image(np.array(pixels.numpy(), order="C"))
    return any_image(np.array(frame, order="C") if isinstance(frame, np.ndarray) else frame)


def _of_folder(folder: Path, rate: float | None) -> Video:
    files = sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "." and is_file(path)
        ),
        key=lambda path: natural(path.name),
    )
    if not files:
        raise InvalidInputError(f"pictures in {folder}", got="none", fix="name a video file, or a folder of its frames")
    return _until_damage(
        Video(map(as_frame, files), USUAL_RATE if rate is None else rate, len(files), f"the pictures in {folder}")
    )


def natural(name: str) -> tuple[list[str | int], str]:
    """Return what names are sorted by so that the numbers in them count as numbers.

    Examples
    --------
    >>> sorted(["frame10.png", "frame2.png", "frame1.png", "a.png"], key=natural)
    ['a.png', 'frame1.png', 'frame2.png', 'frame10.png']
    """
    parts = re.split("([0-9]+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def _until_damage(video: Video) -> Video:
    """Return a video that ends before a picture that cannot be read, which then stands in its `problem`."""
    pictures = video.frames

    def frames() -> Iterator[np.ndarray]:
        done = 0
        try:
            for picture in pictures:
                yield picture
                done += 1
        except InvalidInputError as error:
            video.problem = f"cannot be read after frame {done}: {error}"

    video.frames = frames()
    return video


def _of_pictures(path: Path) -> Video:
    """Return the frames of an animation that Pillow reads."""
    with opened(path) as image:
        count = getattr(image, "n_frames", 1)
        duration = float(image.info.get("duration", 0) or 0)

    def frames() -> Iterator[np.ndarray]:
        with opened(path) as image:
            for each in ImageSequence.Iterator(image):
                yield rgb_pixels(each.copy(), upright=False)

    return _until_damage(Video(frames(), 1000 / duration if duration > 0 else USUAL_RATE, count, str(path)))


def pyav() -> Any:
    """Return PyAV.

    Raises
    ------
    InvalidInputError
        If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise InvalidInputError(
            "PyAV for video files", got="none", fix="pip install 'noisycorrect[video]'; or pass frames, or a GIF"
        ) from error
    return av


def _of_file(path: Path) -> Video:
    """Return the frames of a video file; it is opened once, to know that it is one, before frames are asked for."""
    av = pyav()
    try:
        with av.open(str(path)) as container:
            stream = _stream(container, path)
            rate, count = stream.average_rate or stream.base_rate, _count(stream, container)
    except InvalidInputError:
        raise
    except av.FFmpegError as error:  # also a file of some other kind
        raise InvalidInputError(
            "a video file that can be read",
            got=f"{path}: {error.strerror or error}",
            fix="it is no video, or cut off before what says where its frames are: copy it again",
        ) from error
    video = Video(iter(()), float(rate) if rate else USUAL_RATE, count, str(path))
    video.frames = _decoded(av, path, video)
    return video


def _stream(container: Any, path: Path) -> av.VideoStream:
    if not container.streams.video:
        raise InvalidInputError("a video file with pictures", got=f"{path}, sound alone", fix="name another file")
    stream: av.VideoStream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _count(stream: Any, container: Any) -> int | None:
    """Return how many frames a file says that it has: as a number, or by its length."""
    if stream.frames:
        return int(stream.frames)
    seconds = (
        Fraction(stream.duration) * stream.time_base
        if stream.duration and stream.time_base
        else Fraction(container.duration or 0, 1_000_000)
    )
    return round(seconds * stream.average_rate) if seconds and stream.average_rate else None


def _decoded(av: Any, path: Path, video: Video) -> Iterator[np.ndarray]:
    """Yield the frames of a file; damage ends them, and stands in the video's `problem`."""
    done = damaged = 0
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(_stream(container, path)):
                damaged += bool(frame.is_corrupt)
                yield _upright(frame)
                done += 1
    except av.FFmpegError as error:
        video.problem = f"cannot be read after frame {done}: {error.strerror or error}"
        return
    if video.count is not None and done < 0.98 * video.count - 1:  # what a length says may be out by a frame
        video.problem = f"cut off after frame {done} of {video.count}"
    elif damaged:
        video.problem = f"damaged in {damaged} of {done} frames"


def _upright(frame: Any) -> np.ndarray:
    """Return a decoded frame as RGB, turned as the camera was held."""
    pixels: np.ndarray = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns))
