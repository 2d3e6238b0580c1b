"""Several people in ``noisycorrect parse``: its options, and what is said of them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from noisycorrect.support.errors import InvalidInputError

if TYPE_CHECKING:
    from noisycorrect_seg.inference import FolderReport
    from noisycorrect_seg.inference.people_folder import HowPeople


def add_people_options(parser: argparse.ArgumentParser) -> None:
    """Add what says where several people are."""
    several = parser.add_argument_group("several people")
    several.add_argument(
        "--boxes",
        metavar="FILE",
        help="where the people are in the photos: a CSV with the columns image, left, top, right, bottom and, if there "
        "is one, score; JSON with a list of such boxes a photo; or COCO's JSON",
    )
    several.add_argument("--detector", metavar="FILE", help="what PersonDetector.save wrote: it finds the people")
    several.add_argument("--margin", type=float, help="of a crop, as the network was trained with (default: 0.1)")
    several.add_argument("--depth", type=float, help="how much who stands lower is nearer (default: 0.1)")
    several.add_argument("--min-score", type=float, help="boxes of a lower score are left out (default: 0)")


def people_of(options: argparse.Namespace, videos: Sequence[Path]) -> HowPeople | None:
    """Return how several people are found; None if photos are of one."""
    from noisycorrect_seg.detection import PersonDetector
    from noisycorrect_seg.inference.people_folder import HowPeople
    from noisycorrect_seg.instances.box_file import read_boxes

    tuned = {name: getattr(options, name) for name in ("margin", "depth", "min_score")}
    tuned = {name: value for name, value in tuned.items() if value is not None}
    if options.boxes is None and options.detector is None:
        if tuned:
            named = ", ".join(f"--{name.replace('_', '-')}" for name in tuned)
            raise InvalidInputError("--boxes or --detector", got=f"{named} alone", fix=f"leave {named} out")
        return None
    for wrong, expected, fix in (
        (options.boxes and options.detector, "--detector without --boxes", "pass one of them"),
        (
            options.probs and options.photos,
            "--boxes or --detector without --probs",
            "leave it out: parse_people(..., probs=True) returns those of each crop",
        ),
        (
            options.tile is not None,
            "--boxes or --detector without --tile",
            "leave it out: each person is parsed in a crop of their own",
        ),
        (
            options.convention != "extractor" and options.photos,
            "--boxes or --detector without --convention",
            "leave it out: crops are brought back as the extractor does",
        ),
    ):
        if wrong:
            raise InvalidInputError(expected, got="both", fix=fix)
    if options.boxes is not None and videos:
        raise InvalidInputError(
            "--detector for videos", got=f"--boxes and {videos[0]}", fix="train a detector, or parse frames as photos"
        )
    if options.boxes is not None:
        return HowPeople(read_boxes(options.boxes), **tuned)
    return HowPeople(detector=PersonDetector.load(options.detector), **tuned)


def said_of(report: FolderReport) -> Iterator[str]:
    """Yield what has to be said of photos, a line each."""
    yield from filter(None, (report.doubtful, report.unvisited))
    for path, reason in report.failed.items():
        yield f"{path}: {_for_the_command(reason)}"
    for path, boxes in getattr(report, "left_out", {}).items():
        for number, reason in boxes.items():
            yield f"{path}: box {number} {reason}"
    for path in getattr(report, "nobody", ()):
        yield f"{path}: nobody: no box, or none of a score as high as the detector's threshold or --min-score"


def _for_the_command(reason: str) -> str:
    """Return why a photo could not be read, with advice for the command where it names arguments of Python."""
    found, mark, fix = reason.rpartition("to fix: ")
    if not any(word in fix for word in ("Normalisation", "Folder")):
        return reason
    return f"{found}{mark}save it with the channels and bits of the images that the network was trained on"
