"""Figures of a model over a data set, in the images' own frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from noisycorrect.support import distributed
from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, warn_caller
from noisycorrect.support.modules import evaluating, unwrap
from noisycorrect.support.progress import samples_progress
from noisycorrect_seg.classes import Classes, spelling_of
from noisycorrect_seg.datasets.source import ParsingSource
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.geometry.tiles import checked_tiling
from noisycorrect_seg.inference.calling import as_module, meant_by, shown_to
from noisycorrect_seg.inference.images import any_image
from noisycorrect_seg.inference.parse import Parsing, Recipe, canonical_crops, parse_crops
from noisycorrect_seg.inference.running import ahead, on_device
from noisycorrect_seg.inference.tiles import Tiled, frame_of
from noisycorrect_seg.inputs import Normalisation
from noisycorrect_seg.masks import ignore_index
from noisycorrect_seg.scores import SegmentationMetrics


class _Loaded(NamedTuple):
    crops: np.ndarray
    masks: list[np.ndarray]


@door
def evaluate_source(
    model: nn.Module,
    source: ParsingSource,
    *,
    size: Size | None = None,
    tile: Size | None = None,
    overlap: int | None = None,
    convention: str = "evaluator",
    official_centres: bool = False,
    normalisation: str | Normalisation | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    boundary_width: float | None = None,
    batch_size: int = 8,
    device: str | torch.device = "auto",
    precision: str = "float32",
    progress: bool = True,
) -> dict[str, Any]:
    """Return how well a model parses the images of a source, against their masks in the images' own frames.

    Under torch.distributed each rank works on its share of the images, and all return the figures of all. Image by
    image: no more than two batches are in memory.

    Parameters
    ----------
    model : nn.Module
        See :func:`~noisycorrect_seg.inference.parse_image`, as for all arguments that are not named here.
    source : ParsingSource
        Images without a mask are left out.
    tile : (int, int), optional
        Height and width of a tile: each image is parsed by tiles at full resolution, as
        :func:`~noisycorrect_seg.parse_scene` does, instead of whole in one frame of `size`. The source has the scenes
        themselves, not :class:`~noisycorrect_seg.Tiles` of them.
    overlap : int, optional
        What neighbouring tiles share at least, in pixels; at most half of a tile. Default: a quarter.
    convention : {"evaluator", "extractor"}
        The published figures were measured in the first, without `flip` unless they say so, and with
        `official_centres`. Of tiles there are no two: their probabilities are averaged.
    boundary_width : int or float, optional
        Also compute Boundary IoU; see :class:`~noisycorrect_seg.scores.SegmentationMetrics`.
    batch_size : int
        Images, or tiles, in one forward pass; with `flip` their mirrors come on top.
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    dict
        What :meth:`~noisycorrect_seg.scores.SegmentationMetrics.compute` returns, and ``images``, how many counted.

    Raises
    ------
    InvalidInputError
        If an argument is out of range or has no meaning beside `tile`, an image and its mask differ in size (the
        message names them), or the network says that it has more or fewer classes. Of as many others there is a
        warning.

    Examples
    --------
    >>> from noisycorrect_seg.classes import Classes
    >>> class Halves:
    ...     classes = Classes("halves", ("dark", "bright"))
    ...     def __len__(self): return 2
    ...     def image(self, index): return np.repeat(self.mask(index)[:, :, None] * np.uint8(255), 3, axis=2)
    ...     def mask(self, index): return np.array([[0] * 10 + [1] * 10] * (20 + index), np.uint8)
    ...     def name(self, index): return f"half {index}"
    >>> model = nn.Conv2d(3, 2, 1)
    >>> _ = model.requires_grad_(False), model.weight.zero_(), model.bias.zero_()
    >>> model.weight[1] = 1.0
    >>> scores = evaluate_source(model, Halves(), size=(40, 40))
    >>> scores["images"], scores["mean_iou"]
    (2, 1.0)
    """
    model = as_module(model)
    if tile is not None and official_centres:
        fix = "those are of the published evaluator, which knows no tiles: leave one of them out"
        raise InvalidInputError("tile= or official_centres=", got="both", fix=fix)
    meant, given = meant_by(model, source.classes, frame_of(size, tile)), shown_to(model, normalisation)
    _compare_classes(model, source.classes)
    recipe = Recipe(*meant, scales, flip, convention, official_centres, given)
    step = whole_number("batch_size", batch_size, least=1)
    tiled = None if tile is None else Tiled(model, recipe, checked_tiling(tile, overlap)[1], step, precision)
    number = len(source.classes)
    metrics = SegmentationMetrics(number, ignore_index(number), boundary_width=boundary_width)
    mine = list(distributed.shard(len(source)))
    batches = [mine[start : start + step] for start in range(0, len(mine), step)]
    count = 0

    def compare(parsings: Iterable[Parsing], masks: Sequence[np.ndarray]) -> None:
        nonlocal count
        for parsing, mask in zip(parsings, masks, strict=True):
            metrics.update(_wide(parsing.labels), _wide(mask))
        count += len(masks)

    def run() -> None:
        with (
            on_device(model, device) as place,
            evaluating(model),
            samples_progress(enabled=progress and distributed.is_main()) as bar,
        ):
            task = bar.add_task("evaluating", total=len(mine))
            if tiled is not None:
                for row in mine:  # one scene at a time: they are large
                    found = _pair(source, row)
                    if found is not None:
                        compare([tiled.parse(any_image(found[0], given), place)], found[1:])
                    bar.advance(task)
                return
            for batch, loaded in zip(batches, ahead(lambda rows: _load(source, rows, recipe), batches), strict=True):
                shapes = [(mask.shape[0], mask.shape[1]) for mask in loaded.masks]
                if shapes:
                    parsed = parse_crops(model, loaded.crops, shapes, recipe, device=place, precision=precision)
                    compare(parsed, loaded.masks)
                bar.advance(task, len(batch))

    distributed.gather_results(run)  # no rank waits for one that failed
    metrics.reduce()
    images = distributed.all_reduce_sum(torch.tensor(count))
    return {"images": int(images), **metrics.compute()}


def _compare_classes(model: Any, classes: Classes) -> None:
    """Raise if a network says that it has another number of classes than the masks, and warn of other classes."""
    own = getattr(unwrap(model) if isinstance(model, nn.Module) else model, "classes", None)
    if not isinstance(own, Classes):
        return
    fix = "bring the masks to its classes with Remapped(source, model.classes, rename={...})"
    if len(own) != len(classes):
        expected = f"masks of {len(own)} classes, as the network says of itself ({own.name!r})"
        raise InvalidInputError(expected, got=f"{len(classes)} ({classes.name!r})", fix=fix)
    for number, names in enumerate(zip(own.names, classes.names, strict=True)):
        if spelling_of(names[0]) != spelling_of(names[1]):
            warn_caller(
                f"class {number} is {names[0]!r} of the network, and {names[1]!r} of the masks, with which it is"
                f" compared: {fix}, or set model.classes if it has learnt these"
            )
            return


def _wide(mask: np.ndarray) -> np.ndarray:
    """Return a mask of a dtype that torch computes with."""
    return mask if mask.dtype == np.uint8 else mask.astype(np.int32)


def _load(source: ParsingSource, rows: Sequence[int], recipe: Recipe) -> _Loaded:
    pairs = [pair for pair in (_pair(source, row) for row in rows) if pair is not None]
    images, masks = [image for image, _ in pairs], [mask for _, mask in pairs]
    return _Loaded(canonical_crops(images, recipe.size, recipe.normalisation)[0], masks)


def _pair(source: ParsingSource, row: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return an image and its mask; None of an image without one."""
    mask = source.mask(row)
    if mask is None:
        return None
    image = source.image(row)
    if image.shape[:2] != mask.shape:
        raise InvalidInputError(
            f"a mask of the image's size {image.shape[:2]}",
            got=f"{mask.shape} of {source.name(row)!r}",
            fix="replace the image or its mask",
        )
    return image, mask
