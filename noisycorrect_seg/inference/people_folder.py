"""Parsing the photos of a folder that show several people: classes and whose each pixel is, as CIHP has them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError
from noisycorrect.support.modules import evaluating
from noisycorrect.support.progress import samples_progress
from noisycorrect_seg.inference.calling import as_module
from noisycorrect_seg.inference.folder import (
    OVERLAY_SUFFIX,
    FolderReport,
    further_suffixes,
    made_folder,
    output_names,
)
from noisycorrect_seg.inference.images import any_image, image_files, images_inside
from noisycorrect_seg.inference.parse import Recipe
from noisycorrect_seg.inference.people import (
    CATEGORIES,
    DEPTH,
    HUMANS,
    MARGIN,
    Detector,
    checked_tuning,
    parse_people,
)
from noisycorrect_seg.inference.running import ahead, on_device
from noisycorrect_seg.inference.visualise import save_picture
from noisycorrect_seg.instances.box_file import boxes_of_photo
from noisycorrect_seg.instances.boxes import Boxes


@dataclass
class PeopleReport(FolderReport):
    """What became of the photos of a folder, and of the people in them.

    Attributes
    ----------
    written : dict of Path to Path
        Photo -> its mask of classes; whose each pixel is stands beside it, in the folder ``Human_ids``.
    people : int
        How many were parsed.
    nobody : list of Path
        Photos without a person.
    left_out : dict of Path to dict of int to str
        Photo -> the boxes of it that could not be used, by their position, and why.
    """

    people: int = 0
    nobody: list[Path] = field(default_factory=list)
    left_out: dict[Path, dict[int, str]] = field(default_factory=dict)

    def __str__(self) -> str:
        start, *rest = super().__str__().split(", ")
        return ", ".join([f"{start}, {self.people} people", *rest])


@dataclass(frozen=True)
class HowPeople:
    """How people are found and put together: see :func:`~noisycorrect_seg.parse_people`.

    Attributes
    ----------
    boxes : dict of str to ndarray, shape (n, 5), or None
        Of :func:`~noisycorrect_seg.instances.box_file.read_boxes`; else there is a detector.
    detector : callable, object with ``detect``, or None
        Finds them.
    margin, depth, min_score : float
        As for `parse_people`.

    Raises
    ------
    InvalidInputError
        If a number is out of range.
    """

    boxes: Mapping[str, Boxes] | None = None
    detector: Detector | Any = None
    margin: float = MARGIN
    depth: float = DEPTH
    min_score: float = 0.0

    def __post_init__(self) -> None:
        checked_tuning(self.margin, self.depth, self.min_score)

    def options(self) -> dict[str, Any]:
        """Return what `parse_people` is told whatever the picture."""
        return {"margin": self.margin, "depth": self.depth, "min_score": self.min_score}


def parse_people_files(
    model: nn.Module,
    paths: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    recipe: Recipe,
    how: HowPeople,
    *,
    device: str | torch.device = "auto",
    precision: str = "float32",
    batch_size: int = 8,
    overlays: bool = False,
    progress: bool = True,
) -> PeopleReport:
    """Parse photos of several people, and write classes and human ids of each as palette and grey PNGs.

    ``photo.jpg`` becomes ``Category_ids/photo.png`` and ``Human_ids/photo.png``, with `overlays` also
    ``photo-overlay.jpg``. A photo that cannot be read, or whose boxes cannot be used, does not cost the others.

    Parameters
    ----------
    model, paths, out, recipe
        As for :func:`~noisycorrect_seg.inference.parse_files`; of the recipe classes, size, scales and flip.
    how : HowPeople
        Where the people are.
    batch_size : int
        People in one forward pass.

    Returns
    -------
    PeopleReport

    Raises
    ------
    InvalidInputError
        If there is no image, `out` cannot be written, an argument is out of range, the boxes name none of the photos or
        two of them alike, or photos lie in a folder of `out` beside masks of their names: a data set's own, maybe.
    """
    model = as_module(model)
    whole_number("batch_size", batch_size, least=1)
    paths = list(paths)
    more = further_suffixes(recipe.normalisation)
    images, others = image_files(paths, more)
    _check_named(how.boxes, images)
    target = made_folder(Path(out), images)
    report = PeopleReport(skipped=others, inside=images_inside(paths, more, out=target))
    names = dict(zip(images, output_names(images), strict=True))
    _check_no_annotations(target, names)
    with on_device(model, device) as place, evaluating(model), samples_progress(enabled=progress) as bar:
        task = bar.add_task("parsing", total=len(images))
        for path, image in zip(images, ahead(lambda path: _read(path, recipe), images), strict=True):
            if isinstance(image, str):
                report.failed[path] = image
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # nobody, boxes left out: the report says it
                    found = parse_people(
                        model,
                        image,
                        _boxes(how, path),
                        how.detector,
                        **recipe.arguments(),
                        batch_size=batch_size,
                        device=place,
                        precision=precision,
                        **how.options(),
                    )
                _write(target, names[path], found, image if overlays else None)
                report.written[path] = target / CATEGORIES / f"{names[path]}.png"
                report.people += len(found.people)
                report.nobody += [] if found.people else [path]
                report.left_out |= {path: found.skipped} if found.skipped else {}
            bar.advance(task)
    return report


def _check_named(boxes: Mapping[str, Boxes] | None, images: list[Path]) -> None:
    """Raise an InvalidInputError if a file of boxes is that of other photos, or names two of them alike."""
    if boxes is None:
        return
    named: dict[str, Path] = {}
    for path in images:
        name = boxes_of_photo(boxes, path)
        if name is not None and named.setdefault(name, path).resolve() != path.resolve():
            raise InvalidInputError(
                "boxes that name each photo by a name of its own",
                got=f"{name!r}, which may be {named[name]} or {path}",
                fix="name photos with their folders and suffixes in the boxes, or parse the folders one by one",
            )
    if named:
        return
    raise InvalidInputError(
        f"boxes of {images[0].name}" + (f", or of one of {len(images) - 1} others" if len(images) > 1 else ""),
        got=f"boxes of {', '.join(list(boxes)[:3])}{', ...' if len(boxes) > 3 else ''}" if boxes else "none",
        fix="name photos by their files in the boxes",
    )


def _check_no_annotations(target: Path, names: Mapping[Path, str]) -> None:
    """Raise an InvalidInputError if masks of a data set in CIHP's layout, as results are, would be replaced."""
    if not any(path.resolve().parent.parent == target.resolve() for path in names):
        return
    wanted = (target / kind / f"{name}.png" for name in names.values() for kind in (CATEGORIES, HUMANS))
    there = next((path for path in wanted if path.exists()), None)
    if there is not None:
        raise InvalidInputError(
            f"no masks in {target}, which photos lie in",
            got=str(there),
            fix="name another folder: the masks could be a data set's own, and would be replaced",
        )


def _boxes(how: HowPeople, path: Path) -> Boxes | None:
    """Return a photo's boxes; None if a detector finds them."""
    if how.boxes is None:
        return None
    name = boxes_of_photo(how.boxes, path)
    return np.zeros((0, 5)) if name is None else how.boxes[name]


def _read(path: Path, recipe: Recipe) -> np.ndarray | str:
    """Return a photo (H, W, 3), or (H, W, N) of a network of N channels, or why it cannot be read."""
    try:
        return any_image(path, recipe.normalisation)
    except NoisyCorrectError as error:
        return str(error)


def _write(target: Path, name: str, found: Any, image: np.ndarray | None) -> None:
    try:
        found.save_pngs(target, name)
        if image is not None:
            save_picture(target / f"{name}{OVERLAY_SUFFIX}", found.overlay(image), "JPEG", quality=90)
    except OSError as error:
        raise InvalidInputError(
            f"to write {name} into {target}",
            got=str(error),
            fix="free space, or choose another folder; what was written before is whole",
        ) from error
