"""Whether a video is the one whose results are there, and whether it has grown."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.inference.visualise import overlay as painted
from noisycorrect_seg.video.folder import KINDS, ParsedVideo, VideoFolder, films_in
from noisycorrect_seg.video.reading import Video, opened_video
from noisycorrect_seg.video.writing import Clip


def check_apart(video: Any, out: Path, clip: Path | None) -> None:
    """Raise if results would lie among the frames, as an overlay would be one next time, or in their place."""
    paths = [path.resolve() for path in _paths_of(video)]
    places = {path if path.is_dir() else path.parent for path in paths}
    films = {out / name for name in films_in(out)} | ({clip} if clip is not None else set())
    taken = {film.resolve() for film in films}.intersection(paths)
    if taken:
        fix = "move it into another folder: results there would replace it"
        raise InvalidInputError("a video that is no film of these results", got=str(min(taken)), fix=fix)
    folders = [path for path in paths if path.is_dir()]
    for place in (*(out / kind for kind in KINDS), *([out] if folders else [])):
        if place.resolve() in places:
            raise InvalidInputError(
                "a folder of its own for results", got=f"{out}: frames are in {place}", fix="name another"
            )


def _paths_of(video: Any) -> list[Path]:
    """Return the files and folders that frames come from, as far as they are named."""
    named = video if isinstance(video, (list, tuple)) else [video]
    return [Path(each) for each in named if isinstance(each, (str, os.PathLike))]


def begun(found: Video) -> Video:
    """Return a video whose first frame is known to be there."""
    first = next(found.frames, None)
    if first is None:
        reason = f": {found.problem}" if found.problem else ""
        raise InvalidInputError(
            "at least one frame", got=f"none in {found.name}{reason}", fix="look at the video in a player"
        )
    found.frames = itertools.chain([first], found.frames)
    return found


class _GrownError(Exception):
    """A video has frames after those that were the whole of it."""


def is_whole(found: Video, store: VideoFolder, clip: Path | None, classes: Classes) -> bool:
    """Return whether a video's frames are those of finished results, and no more; its film is made if it is not there.

    An InvalidInputError if they are others, or fewer.
    """
    parsed, count = ParsedVideo(store.folder), 0
    missing = clip is not None and not clip.exists()
    try:
        with Clip(clip, found.rate) if clip is not None and missing else contextlib.nullcontext() as film:
            for count, image in enumerate(found.frames, 1):
                if count > store.done:
                    raise _GrownError
                store.record.read(count - 1, image)
                if film is not None:
                    film.add(painted(image, parsed.mask(count - 1), classes))
            store.record.ended(count, found.problem)
    except _GrownError:
        return False
    return True


def from_the_start(video: Any, rate: float | None, store: VideoFolder) -> Video:
    """Return a video that has grown, opened once more, to go on with in a folder that is not finished any more."""
    if isinstance(video, Iterator):
        raise InvalidInputError(
            f"the {store.done} frames that were parsed as the whole video",
            got="an iterator that yields more",
            fix="pass a list, a file or a folder to go on after them, or replace what is there with resume=False",
        )
    found = begun(opened_video(video, rate))
    first = next(found.frames)
    store.record.read(0, first)  # what can be gone through only once has begun elsewhere
    found.frames = itertools.chain([first], found.frames)
    store.reopen()
    return found
