"""Videos in ``noisycorrect parse``: which they are, and how each is parsed."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisycorrect.support.cells import visible
from noisycorrect.support.errors import InvalidInputError

if TYPE_CHECKING:
    from noisycorrect_seg.inference import Recipe
    from noisycorrect_seg.inference.people_folder import HowPeople


def without_videos(paths: Sequence[Path], *, frames: bool = False) -> tuple[list[Path], list[Path]]:
    """Return the videos among paths, each once, and the others; with `frames` a folder is a video."""
    videos: dict[Path, Path] = {}
    others = []
    for path in paths:
        if (frames and path.is_dir()) or (not path.is_dir() and _is_video(path)):
            videos.setdefault(path.resolve(), path)
        else:
            others.append(path)
    if frames and not any(path.is_dir() for path in videos):
        raise InvalidInputError("a folder with --frames", got="none", fix="name a folder of frames, or leave it out")
    return list(videos.values()), others


def _is_video(path: Path) -> bool:
    """Return whether a file is a video by its suffix, or an animation by what is in it."""
    from noisycorrect_seg.datasets.images import opened
    from noisycorrect_seg.video.reading import ANIMATED, VIDEO_SUFFIXES

    suffix = path.suffix.lower()
    if suffix not in ANIMATED:
        return suffix in VIDEO_SUFFIXES
    try:
        with opened(path) as image:
            return bool(getattr(image, "is_animated", False))
    except InvalidInputError:  # said of it as of a photo
        return False


def folders_of(videos: Sequence[Path]) -> dict[Path, str]:
    """Return the name of each video's folder, all different, as those of photos' results are."""
    from noisycorrect_seg.inference.folder import output_names

    named = [path.resolve() if path.is_dir() else path for path in videos]  # "." has no name
    return dict(zip(videos, output_names(named), strict=True))


def broken_among(videos: Sequence[Path]) -> dict[Path, InvalidInputError]:
    """Return which videos cannot be opened, and why; one that is not there is a wrong word, and an error."""
    from noisycorrect_seg.video.reading import opened_video

    found = {}
    for path in videos:
        try:
            opened_video(path)
        except InvalidInputError as error:
            if not path.exists():
                raise
            found[path] = error
    return found


def parsed_video(
    network: Any,
    path: Path,
    name: str,
    recipe: Recipe,
    options: argparse.Namespace,
    how: HowPeople | None,
    broken: dict[Path, InvalidInputError],
) -> bool:
    """Parse a video into a folder of a name; return whether it could be read to its end.

    One that cannot be parsed there is put among the broken ones, and costs the others nothing.
    """
    from noisycorrect_seg.video import parse_video
    from noisycorrect_seg.video.people import PeopleOfFrames

    out = options.out / name
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            parsed = parse_video(
                network,
                path,
                out,
                resume=options.resume,
                **recipe.arguments(),
                convention=recipe.convention,
                window=options.window,
                instances=None
                if how is None
                else PeopleOfFrames(network, recipe, how, options.device, options.precision),
                overlay=options.overlay,
                probs=options.probs,
                batch_size=options.batch_size,
                device=options.device,
                precision=options.precision,
            )
    except InvalidInputError as error:
        broken[path] = _for_the_command(error)
        return False
    print(f"{len(parsed)} frames parsed: {out}")
    for reason in _reasons(said, parsed.problem):
        print(visible(f"noisycorrect: {path}: {reason}"), file=sys.stderr)
    return parsed.problem is None


def _for_the_command(error: InvalidInputError) -> InvalidInputError:
    """Return an error whose advice names options of the command instead of arguments."""
    said = str(error).replace("choose another folder", "choose another folder with --out")
    return InvalidInputError(said.replace("resume=False", "--no-resume"))


def _reasons(said: Sequence[warnings.WarningMessage], problem: str | None) -> list[str]:
    """Return what is to be said of a video, each once: what was warned of, and where it breaks off."""
    warned = dict.fromkeys(str(each.message) for each in said)  # of every frame without people the same
    return list(warned) if problem is None else [*(each for each in warned if problem not in each), problem]
