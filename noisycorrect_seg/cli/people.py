"""``noisycorrect parse --people``: photos of several people, who are found by a detector."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisycorrect.support.cells import visible
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError

if TYPE_CHECKING:
    from noisycorrect_seg.inference import PeopleParsing, Recipe


def check_people(options: argparse.Namespace, videos: Sequence[Path]) -> None:
    """Raise an InvalidInputError if something is asked for that photos of several people do not have."""
    asked = [name for name in ("tile", "probs") if getattr(options, name)]
    if asked or videos:
        got = f"--{asked[0]}" if asked else f"the video {videos[0]}"
        fix = "leave it out; from Python parse_people(..., probs=True) and parse_video(..., instances=)"
        raise InvalidInputError("photos alone with --people", got=got, fix=fix)


def parse_photos_of_people(network: Any, recipe: Recipe, options: argparse.Namespace) -> bool:
    """Parse photos as CIHP has them; return whether all could be read.

    Writes ``Category_ids/NAME.png``, ``Human_ids/NAME.png`` and, if asked for, ``NAME-overlay.jpg``. What is wrong with
    a photo, or that there is nobody in it, goes to standard error, and the others are parsed.
    """
    from noisycorrect_seg.detection import PersonDetector
    from noisycorrect_seg.inference.folder import OVERLAY_SUFFIX, made_folder, output_names
    from noisycorrect_seg.inference.images import image_files
    from noisycorrect_seg.inference.visualise import save_picture

    detector = PersonDetector.load(options.people)
    images, _ = image_files(options.photos)
    out = made_folder(options.out, images)
    people = failed = 0
    for path, name in zip(images, output_names(images), strict=True):
        try:
            found, said = _parsed(network, path, detector, recipe, options)
        except NoisyCorrectError as error:
            failed += 1
            said = [str(error)]
        else:
            people += len(found.people)
            try:
                found.save_pngs(out, name)
                if options.overlay:
                    save_picture(out / f"{name}{OVERLAY_SUFFIX}", found.overlay(path), "JPEG", quality=90)
            except OSError as error:
                fix = "free space, or choose another folder; what was written before is whole"
                raise InvalidInputError(f"to write {name} into {out}", got=str(error), fix=fix) from error
        for reason in said:
            print(visible(f"noisycorrect: {path}: {reason}"), file=sys.stderr)
    more = f", {failed} photos could not be read" if failed else ""
    print(f"{len(images) - failed} photos parsed, {people} people{more}: {options.out}")
    return not failed


def _parsed(
    network: Any, path: Path, detector: Any, recipe: Recipe, options: argparse.Namespace
) -> tuple[PeopleParsing, list[str]]:
    """Return what is found in a photo, and what was warned of."""
    from noisycorrect_seg.inference import parse_people

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        found = parse_people(
            network,
            path,
            detector=detector,
            classes=recipe.classes,
            size=recipe.size,
            scales=recipe.scales,
            flip=recipe.flip,
            normalisation=recipe.normalisation,
            batch_size=options.batch_size,
            device=options.device,
            precision=options.precision,
        )
    return found, [str(each.message) for each in said]
