"""Parsing the images of a folder, in batches, into a folder of palette PNGs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError, warn_caller
from noisycorrect.support.files import LONGEST_NAME, cut_to, replace_atomically
from noisycorrect.support.log import logger
from noisycorrect.support.modules import evaluating
from noisycorrect.support.progress import samples_progress
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets.layout import seeming_masks
from noisycorrect_seg.datasets.rasters import ARRAY_SUFFIX
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.geometry.tiles import checked_tiling
from noisycorrect_seg.inference.calling import as_module, meant_by, shown_to
from noisycorrect_seg.inference.images import any_image, image_files, images_inside
from noisycorrect_seg.inference.parse import Parsing, Recipe, canonical_crops, parse_crops
from noisycorrect_seg.inference.running import ahead, on_device
from noisycorrect_seg.inference.tiles import Tiled, frame_of
from noisycorrect_seg.inference.visualise import save_picture
from noisycorrect_seg.inputs import BGR, RGB, Normalisation

OVERLAY_SUFFIX, PROBS_SUFFIX = "-overlay.jpg", "-probs.npz"
LONGEST_STEM = LONGEST_NAME - len(OVERLAY_SUFFIX)


@dataclass
class FolderReport:
    """What became of the files of a folder.

    Attributes
    ----------
    written : dict of Path to Path
        Image -> its mask.
    failed : dict of Path to str
        Image that could not be read -> why.
    skipped : list of Path
        Other files.
    inside : dict of Path to int
        Folders inside that were not visited -> how many images they hold.
    """

    written: dict[Path, Path] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)
    skipped: list[Path] = field(default_factory=list)
    inside: dict[Path, int] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{len(self.written)} images parsed"]
        if self.skipped:
            parts.append(f"{len(self.skipped)} other files skipped")
        if self.failed:
            parts.append(f"{len(self.failed)} images could not be read")
        if self.inside:
            parts.append(f"{sum(self.inside.values())} images in folders inside left out")
        return ", ".join(parts)

    @property
    def doubtful(self) -> str | None:
        """A message if half of the images seem to be the masks of the others; else None."""
        fix = "move masks into a folder of their own, or name the photos alone"
        return seeming_masks([*self.written, *self.failed], fix)

    @property
    def unvisited(self) -> str | None:
        """A message if there are images in folders inside; else None."""
        if not self.inside:
            return None
        count, first = sum(self.inside.values()), next(iter(self.inside))
        return f"{count} images in folders inside were left out, such as those in {first}: parse these folders, too"


@door
def parse_folder(
    model: nn.Module,
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    classes: str | Classes | Sequence[str] | None = None,
    size: Size | None = None,
    tile: Size | None = None,
    overlap: int | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    convention: str = "extractor",
    normalisation: str | Normalisation | None = None,
    device: str | torch.device = "auto",
    precision: str = "float32",
    batch_size: int = 8,
    overlays: bool = False,
    probs: bool = False,
    progress: bool = True,
) -> FolderReport:
    """Parse the images of a folder and write a palette PNG for each.

    An image that cannot be read is reported, and the rest goes on. Files without an image's suffix are skipped. The
    folders inside are not visited; there is a warning if images lie in them, other than in `out`, and if half of the
    images seem to be masks that lie beside them.

    Parameters
    ----------
    model : nn.Module
        See :func:`~noisycorrect_seg.inference.parse_image`, as for all arguments that are not named here.
    folder, out : path-like
        Where images are, and where masks go: another folder, made if there is none. ``photo.jpg`` becomes
        ``photo.png``; where two images would share a name, ``photo.jpg.png``. Files of those names are replaced.
    tile, overlap
        Parse images by tiles at full resolution, as :func:`~noisycorrect_seg.parse_scene` does, instead of whole in one
        frame of `size`; see :func:`~noisycorrect_seg.evaluate_source`.
    batch_size : int
        Images, or tiles, in one forward pass; with `flip` their mirrors come on top.
    overlays : bool
        Write ``photo-overlay.jpg``, too.
    probs : bool
        Write ``photo-probs.npz``, too: array ``probs``, float16 (K, H, W), compressed.
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    FolderReport

    Raises
    ------
    InvalidInputError
        If the folder does not exist or holds no image, `out` is the folder itself or cannot be written, or an argument
        is out of range or has no meaning beside `tile`.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (30, 40)).save(folder / "photo.jpg")
    >>> report = parse_folder(nn.Conv2d(3, 20, 1), folder, folder / "masks", size=(32, 32), progress=False)
    >>> print(report, [path.name for path in report.written.values()])
    1 images parsed ['photo.png']
    """
    if not Path(folder).is_dir():
        raise InvalidInputError(f"a folder at {folder}", got="none", fix="parse_image takes a single photo")
    model = as_module(model)
    meant = meant_by(model, classes, frame_of(size, tile))
    report = parse_files(
        model,
        [folder],
        out,
        Recipe(*meant, scales, flip, convention, normalisation=shown_to(model, normalisation)),
        overlap=None if tile is None else checked_tiling(tile, overlap)[1],
        device=device,
        precision=precision,
        batch_size=batch_size,
        overlays=overlays,
        probs=probs,
        progress=progress,
    )
    if report.failed:
        path, reason = next(iter(report.failed.items()))
        warn_caller(f"{len(report.failed)} images could not be read, such as {path}: {reason}; report.failed has all")
    for said in (report.doubtful, report.unvisited):
        if said is not None:
            warn_caller(said)
    return report


def parse_files(
    model: nn.Module,
    paths: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    recipe: Recipe,
    *,
    device: str | torch.device = "auto",
    precision: str = "float32",
    batch_size: int = 8,
    overlays: bool = False,
    probs: bool = False,
    progress: bool = True,
    overlap: int | None = None,
) -> FolderReport:
    """Parse photos and the images of folders into one folder; see :func:`parse_folder`, which warns of failed ones.

    With an `overlap` each is parsed by tiles of the recipe's size.
    """
    model = as_module(model)
    step = whole_number("batch_size", batch_size, least=1)
    if overlap is not None and recipe.convention != "extractor":
        fix = "leave the convention out: the probabilities of tiles are averaged, for which there are no two"
        raise InvalidInputError("tiles or a convention", got=f"both, tiles and {recipe.convention!r}", fix=fix)
    more = further_suffixes(recipe.normalisation)
    paths = list(paths)
    images, others = image_files(paths, more)
    target = made_folder(Path(out), images)
    report = FolderReport(skipped=others, inside=images_inside(paths, more, out=target))
    if others:
        logger.info("skipped %d files that are no images, such as %s", len(others), others[0].name)
    names = dict(zip(images, output_names(images), strict=True))
    tiled = None if overlap is None else Tiled(model, recipe, overlap, step, precision)
    at_once = step if tiled is None else 1  # scenes are large
    batches = [images[start : start + at_once] for start in range(0, len(images), at_once)]

    def parsed(read: _Read, place: torch.device) -> Iterator[Parsing]:
        if tiled is not None:
            return (tiled.parse(image, place, probs=probs) for image in read.images)
        shapes = [(image.shape[0], image.shape[1]) for image in read.images]
        return parse_crops(model, read.crops, shapes, recipe, device=place, precision=precision, probs=probs)

    with on_device(model, device) as place, evaluating(model), samples_progress(enabled=progress) as bar:
        task = bar.add_task("parsing", total=len(images))
        for batch, read in zip(
            batches, ahead(lambda batch: _read(batch, recipe, crop=tiled is None), batches), strict=True
        ):
            report.failed |= read.failed
            if read.paths:
                for path, image, parsing in zip(read.paths, read.images, parsed(read, place), strict=True):
                    stem = target / names[path]
                    _write(stem, parsing, image if overlays else None)
                    report.written[path] = stem.with_name(stem.name + ".png")
            bar.advance(task, len(batch))
    return report


def further_suffixes(normalisation: Normalisation) -> tuple[str, ...]:
    """Return what files of images may end in beside a picture's suffixes: arrays, of a network for other images."""
    return () if normalisation in (BGR, RGB) else (ARRAY_SUFFIX,)


def output_names(images: Sequence[Path]) -> list[str]:
    """Return a name for each image's results, without suffix, all different even where case does not count.

    Its stem; where results of two images would collide, its whole name; then its folder's name before that; then a
    number behind it. What is too long for a file's name is cut.

    Examples
    --------
    >>> output_names([Path("a.jpg"), Path("b.jpg"), Path("b.png"), Path("x/c.jpg"), Path("y/c.jpg")])
    ['a', 'b.jpg', 'b.png', 'x-c.jpg', 'y-c.jpg']
    """
    levels = [0] * len(images)
    while True:
        names = [_name(path, level, place) for place, (path, level) in enumerate(zip(images, levels, strict=True))]
        claims = [_claims(name) for name in names]
        counts = Counter(claim for each in claims for claim in each)
        clashing = [any(counts[claim] > 1 for claim in each) for each in claims]
        if not any(clashing):
            return names
        levels = [level + clash for level, clash in zip(levels, clashing, strict=True)]


def _name(path: Path, level: int, place: int) -> str:
    if level < 2:
        return cut_to((path.stem, path.name)[level], LONGEST_STEM)
    longer = f"{path.resolve().parent.name}-{path.name}"
    if level == 2:
        return cut_to(longer, LONGEST_STEM)
    number = f"-{place}" + "-" * (level - 3)
    return cut_to(longer, LONGEST_STEM - len(number)) + number


def _claims(name: str) -> set[str]:
    """Return the files that results under a name may take, in one case."""
    return {f"{name}{suffix}".casefold() for suffix in (".png", OVERLAY_SUFFIX, PROBS_SUFFIX)}


def made_folder(out: Path, images: Sequence[Path]) -> Path:
    """Return the folder of results, made if there is none; an InvalidInputError if images lie there."""
    sources = {path.resolve().parent for path in images}
    if out.resolve() in sources:
        raise InvalidInputError(
            "an output folder of its own", got=f"{out}, where images are", fix="masks could replace images there"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"to write into {out}", got=str(error), fix="choose another folder") from error
    return out


class _Read(NamedTuple):
    paths: list[Path]
    images: list[np.ndarray]
    crops: np.ndarray
    failed: dict[Path, str]


def _read(batch: Sequence[Path], recipe: Recipe, *, crop: bool) -> _Read:
    paths, images, failed = [], [], {}
    for path in batch:
        try:
            images.append(any_image(path, recipe.normalisation))
            paths.append(path)
        except NoisyCorrectError as error:
            failed[path] = str(error)
    crops, _ = canonical_crops(images if crop else [], recipe.size, recipe.normalisation)
    return _Read(paths, images, crops, failed)


def _write(stem: Path, parsing: Parsing, image: np.ndarray | None) -> None:
    def beside(suffix: str) -> Path:
        return stem.with_name(stem.name + suffix)

    try:
        parsing.save_png(beside(".png"))
        if image is not None:
            save_picture(beside(OVERLAY_SUFFIX), parsing.overlay(image), "JPEG", quality=90)
        if parsing.probs is not None:
            with replace_atomically(beside(PROBS_SUFFIX)) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **_half(parsing.probs))
    except OSError as error:
        raise InvalidInputError(
            f"to write {stem.name} into {stem.parent}",
            got=str(error),
            fix="free space, or choose another folder; what was written before is whole",
        ) from error


def _half(probs: np.ndarray) -> dict[str, Any]:
    return {"probs": probs.astype(np.float16)}
