"""Large scenes as many samples: the tiles that they are cut into."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import numpy as np

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.datasets.source import ParsingSource, SourceView, instances_of
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.geometry.maps import checked_size
from noisycorrect_seg.geometry.tiles import Tile, checked_tiling, tile_weights, tiles_of
from noisycorrect_seg.masks import ignore_index, mask_dtype

KEPT = 2  # scenes that are held decoded: tiles of one follow each other when they are read in order


class Tiles(SourceView):
    """The tiles of a source's images, each a sample of its own: training at full resolution, whatever an image's size.

    Tiles overlap, so that every pixel has surroundings in one of them; :meth:`scenes` puts labels of tiles together
    again. A scene smaller than a tile is one tile, of its own size. A tile's scene is decoded whole; few are held at a
    time, so ``ParsingDataset(cache=True)`` pays where all tiles fit into memory.

    Parameters
    ----------
    source : ParsingSource
        Images of any sizes, kept as ``.source``. Each is read once at the beginning, for its size.
    size : (int, int)
        Height and width of a tile; the crops of a data set of tiles are best of the same size.
    overlap : int, optional
        What neighbouring tiles share at least, in pixels; at most half of a tile. Default: an eighth.

    Raises
    ------
    InvalidInputError
        If a size is out of range.

    Examples
    --------
    >>> from noisycorrect_seg.datasets import SyntheticPeople
    >>> tiles = Tiles(SyntheticPeople(2, size=(96, 64)), (64, 64), overlap=16)
    >>> len(tiles), tiles.name(1), tiles.image(1).shape
    (4, 'train_000000_y32_x0', (64, 64, 3))
    """

    def __init__(self, source: ParsingSource, size: Size = (512, 512), *, overlap: int | None = None) -> None:
        super().__init__(source)
        self.size, self.overlap = checked_tiling(size, min(checked_size(size)) // 8 if overlap is None else overlap)
        self.shapes = [_shape_of(source, index) for index in range(len(source))]
        self._tiles = [tiles_of(shape, self.size, self.overlap) for shape in self.shapes]
        self._ends = list(accumulate(len(tiles) for tiles in self._tiles))
        self._held: OrderedDict[tuple[str, int], Any] = OrderedDict()

    def __len__(self) -> int:
        return self._ends[-1]

    def place(self, index: int) -> tuple[int, Tile]:
        """Return the position of a tile's scene in the source, and what it shows of it."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} tiles")
        scene = bisect_right(self._ends, index)
        return scene, self._tiles[scene][index - (self._ends[scene - 1] if scene else 0)]

    def image(self, index: int) -> np.ndarray:
        """Return what a tile shows of its scene, (h, w, C)."""
        scene, tile = self.place(index)
        return np.array(self._scene("image", scene, self.source.image)[tile.rows, tile.columns])

    def mask(self, index: int) -> np.ndarray | None:
        """Return its given mask, uint8 or uint16 (h, w), or None."""
        scene, tile = self.place(index)
        mask = self._scene("mask", scene, self.source.mask)
        return None if mask is None else np.array(mask[tile.rows, tile.columns])

    def instances(self, index: int) -> np.ndarray:
        """Return whose each pixel is, int32 (h, w), if the source knows."""
        scene, tile = self.place(index)
        whose = self._scene("instances", scene, lambda own: instances_of(self.source, own))
        return np.array(whose[tile.rows, tile.columns])

    def name(self, index: int) -> str:
        """Return the scene's name, and where the tile begins in it."""
        scene, tile = self.place(index)
        return f"{self.source.name(scene)}_y{tile.rows.start}_x{tile.columns.start}"

    def image_file(self, index: int) -> str | None:
        """Return None: a tile has no file."""
        return None

    def scenes(self, labels: Callable[[int], Any]) -> Iterator[tuple[str, np.ndarray]]:
        """Put labels of tiles together, and yield each scene's name and mask.

        Where tiles overlap, a pixel has the label of the tile in which it lies furthest from an inner edge.

        Parameters
        ----------
        labels : callable
            ``labels(index)`` -> the mask of a tile, (h, w), such as ``lambda index: result.labels.labels(index)[0]``.

        Yields
        ------
        str, ndarray of uint8 or uint16, shape (H, W)
            In the order of the source.

        Raises
        ------
        InvalidInputError
            If a mask is not of its tile's size.
        """
        number = len(self.classes)
        first = 0
        for scene, tiles in enumerate(self._tiles):
            shape = self.shapes[scene]
            whole = np.full(shape, ignore_index(number), mask_dtype(number))
            best = np.full(shape, -1, np.float32)
            for place, tile in enumerate(tiles):
                found = np.asarray(labels(first + place))
                if found.shape != tile.shape:
                    raise InvalidInputError(
                        f"a mask of {tile.shape} for the tile {self.name(first + place)}",
                        got=f"shape {found.shape}",
                        fix="pass masks in the tiles' own frame; a tile without a mask has none before the first cycle",
                    )
                weights = tile_weights(tile, shape, self.overlap)
                better = weights > best[tile.rows, tile.columns]
                whole[tile.rows, tile.columns][better] = found[better]
                best[tile.rows, tile.columns][better] = weights[better]
            first += len(tiles)
            yield self.source.name(scene), whole

    def _scene(self, kind: str, index: int, read: Callable[[int], Any]) -> Any:
        key = kind, index
        if key not in self._held:
            self._held[key] = read(index)
        self._held.move_to_end(key)
        alike = [each for each in self._held if each[0] == kind]
        if len(alike) > KEPT:
            del self._held[alike[0]]
        return self._held[key]


def tile_of(source: Any) -> Size | None:
    """Return height and width of the tiles that a source is made of, of several its first; None of whole images.

    Examples
    --------
    >>> from noisycorrect_seg.datasets import SyntheticPeople, Subset
    >>> people = SyntheticPeople(2, size=(96, 64))
    >>> tile_of(people), tile_of(Subset(Tiles(people, (64, 64)), [0, 2]))
    (None, (64, 64))
    """
    if isinstance(source, Tiles):
        return source.size
    inner = getattr(source, "source", None) or next(iter(getattr(source, "sources", ())), None)
    return None if inner is None else tile_of(inner)


def _shape_of(source: ParsingSource, index: int) -> Size:
    """Return height and width of an image, from its header if the source knows it."""
    known = getattr(source, "image_size", None)
    if known is not None:
        found: Size = known(index)
        return found
    image = source.image(index)
    return image.shape[0], image.shape[1]
