"""Parsing scenes that are too large for one frame: tile by tile at full resolution, without seams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.modules import evaluating
from noisycorrect.support.progress import samples_progress
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.geometry.frame import Size, letterbox
from noisycorrect_seg.geometry.tiles import Tile, checked_tiling, tile_weights, tiles_of, weights_along
from noisycorrect_seg.inference.averaging import averaged_logits
from noisycorrect_seg.inference.calling import as_module, meant_by, shown_to
from noisycorrect_seg.inference.frames import probs_on_image
from noisycorrect_seg.inference.images import any_image
from noisycorrect_seg.inference.parse import Parsing, Recipe, canonical_crops
from noisycorrect_seg.inference.running import ahead, forward_context, on_device
from noisycorrect_seg.inputs import Normalisation
from noisycorrect_seg.masks import mask_dtype

TILE = (512, 512)


@door
def parse_scene(
    model: nn.Module,
    image: Any,
    *,
    classes: str | Classes | Sequence[str] | None = None,
    tile: Size | None = None,
    overlap: int | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    normalisation: str | Normalisation | None = None,
    batch_size: int = 4,
    device: str | torch.device = "auto",
    precision: str = "float32",
    probs: bool = False,
    progress: bool = False,
) -> Parsing:
    """Parse a large scene by tiles at full resolution; the result has its size.

    Tiles overlap, and their probabilities are averaged: a pixel counts nothing within a quarter of the overlap from a
    tile's inner edge, and then more and more. So the result of a network that looks no further than that, and whose
    output has the resolution of its input, is that of the whole scene at once; of others it has no seams. Beside the
    scene and its mask, probabilities of one row of tiles are in memory.

    Parameters
    ----------
    model, image, scales, flip, normalisation, device, precision
        See :func:`~noisycorrect_seg.parse_image`.
    classes : str, Classes, or sequence of str, optional
        K of them. Default: what the model says in its attribute ``classes``, else LIP's.
    tile : (int, int), optional
        Height and width of a tile: the network's input, as it was trained with. Default: what the model says in its
        attribute ``size``, or was exported at, else 512 x 512.
    overlap : int, optional
        What neighbouring tiles share at least, in pixels; at most half of a tile. Default: a quarter.
    batch_size : int
        Tiles in one forward pass; with `flip` their mirrors come on top.
    probs : bool
        Return class probabilities of the whole scene, too: 4 K bytes a pixel.
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    Parsing

    Raises
    ------
    InvalidInputError
        If an argument is out of range, the image cannot be read, or the model's output does not fit the classes.

    Examples
    --------
    >>> scene = np.zeros((90, 150, 3), np.uint8)
    >>> parse_scene(nn.Conv2d(3, 2, 1), scene, classes=["land", "water"], tile=(64, 64), overlap=16).labels.shape
    (90, 150)
    """
    model = as_module(model)
    named, size = meant_by(model, classes, tile, otherwise=TILE)
    size, overlap = checked_tiling(size, overlap)
    recipe = Recipe(named, size, scales, flip, normalisation=shown_to(model, normalisation))
    work = Tiled(model, recipe, overlap, whole_number("batch_size", batch_size, least=1), precision)
    pixels = any_image(image, recipe.normalisation)
    with (
        on_device(model, device) as place,
        evaluating(model),
        samples_progress(enabled=progress) as bar,
    ):
        task = bar.add_task("parsing", total=work.count((pixels.shape[0], pixels.shape[1])))
        return work.parse(pixels, place, probs=probs, done=lambda count: bar.advance(task, count))


def frame_of(size: Size | None, tile: Size | None) -> Size | None:
    """Return what a network is shown at a time: a tile, or the frame of a whole image.

    Raises
    ------
    InvalidInputError
        If it is to be both.
    """
    if size is not None and tile is not None:
        fix = "the network is shown tiles at full resolution: leave size= out, or leave tile= out"
        raise InvalidInputError("size= or tile=", got="both", fix=fix)
    return size if tile is None else tile


@dataclass(frozen=True, eq=False)
class Tiled:
    """How scenes are parsed tile by tile, with a model that is in place and in evaluation mode.

    Attributes
    ----------
    model : nn.Module
        The network.
    recipe : Recipe
        Its size is that of a tile.
    overlap : int
        What neighbouring tiles share at least, in pixels.
    step : int
        Tiles in one forward pass.
    precision : str
        What the model computes in.
    """

    model: nn.Module
    recipe: Recipe
    overlap: int
    step: int
    precision: str = "float32"

    def count(self, shape: Size) -> int:
        """Return how many tiles a scene has."""
        return len(tiles_of(shape, self.recipe.size, self.overlap))

    def parse(
        self,
        pixels: np.ndarray,
        device: torch.device,
        *,
        probs: bool = False,
        done: Callable[[int], None] | None = None,
    ) -> Parsing:
        """Parse a scene (H, W, C), as its normalisation takes it; `done` is told of each batch of tiles."""
        recipe, shape = self.recipe, (pixels.shape[0], pixels.shape[1])
        tiles = tiles_of(shape, recipe.size, self.overlap)
        scene = _Scene(shape, tiles, recipe.classes, self.overlap, probs=probs)
        batches = [tiles[start : start + self.step] for start in range(0, len(tiles), self.step)]

        def crops_of(batch: Sequence[Tile]) -> np.ndarray:
            shown = [pixels[each.rows, each.columns] for each in batch]
            return canonical_crops(shown, recipe.size, recipe.normalisation)[0]

        for batch, crops in zip(batches, ahead(crops_of, batches), strict=True):
            found = _probs(self.model, crops, batch, recipe, device, self.precision)
            for each, own in zip(batch, found, strict=True):
                scene.add(each, own)
            if done is not None:
                done(len(batch))
        scene.finish(shape[0])
        return Parsing(scene.labels, scene.probs, recipe.classes)


def _probs(
    model: nn.Module, crops: np.ndarray, tiles: Sequence[Tile], recipe: Recipe, device: torch.device, precision: str
) -> Iterator[np.ndarray]:
    """Yield the probabilities of each tile, float32 (K, h, w)."""
    with forward_context(device, precision):
        inputs = recipe.normalisation(torch.from_numpy(crops).to(device))
        logits: Tensor = averaged_logits(model, inputs, recipe.classes, scales=recipe.scales, flip=recipe.flip)
        for each, tile in zip(logits, tiles, strict=True):
            if tile.shape == recipe.size:
                yield each.softmax(0).cpu().numpy()
            else:  # a scene narrower than a tile lies in the middle of its frame
                yield probs_on_image(each, letterbox(tile.shape, recipe.size), tile.shape)


class _Scene:
    """Labels of a scene, put together from tiles that come row by row, from top to bottom."""

    def __init__(self, shape: Size, tiles: Sequence[Tile], classes: Classes, overlap: int, *, probs: bool) -> None:
        self.shape, self.overlap = shape, overlap
        self.labels = np.zeros(shape, mask_dtype(len(classes)))
        self.probs = np.zeros((len(classes), *shape), np.float32) if probs else None
        # Tiles lie on a grid, and weights are products: so are their sums.
        rows = {tile.rows.start: tile.rows for tile in tiles}.values()
        columns = {tile.columns.start: tile.columns for tile in tiles}.values()
        self._down, self._across = _summed(rows, shape[0], overlap), _summed(columns, shape[1], overlap)
        self._top = 0  # row of the scene that the band begins with
        self._band = np.zeros((len(classes), max(tile.shape[0] for tile in tiles), shape[1]), np.float32)

    def add(self, tile: Tile, probs: np.ndarray) -> None:
        """Take in the probabilities of a tile, (K, h, w)."""
        if tile.rows.start > self._top:
            self.finish(tile.rows.start)
        self._band[:, : tile.shape[0], tile.columns] += probs * tile_weights(tile, self.shape, self.overlap)

    def finish(self, end: int) -> None:
        """Decide about the rows of the scene above `end`, which no further tile shows."""
        done = end - self._top
        found = self._band[:, :done]
        # A sum of weights is the same for all classes of a pixel: it moves no label.
        self.labels[self._top : end] = found.argmax(0)
        if self.probs is not None:
            weight = self._down[self._top : end, None] * self._across
            self.probs[:, self._top : end] = found / weight
        kept = self._band[:, done:].copy()
        self._band[:, : kept.shape[1]] = kept
        self._band[:, kept.shape[1] :] = 0
        self._top = end


def _summed(parts: Any, side: int, overlap: int) -> np.ndarray:
    total = np.zeros(side, np.float32)
    for part in parts:
        total[part] += weights_along(part, side, overlap)
    return total
