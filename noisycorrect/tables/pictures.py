"""Pictures as a network takes them: read once, kept in the run folder, and what cannot be read is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch.utils.data import Dataset

from noisycorrect.features.efficientnet import EfficientNetLite0, pretrained
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.files import write_json
from noisycorrect.support.untrusted import check_array, opened_picture, parsed_json
from noisycorrect.tables.networks import LARGE_SIDE, SMALL_SIDE
from noisycorrect.tables.source import Source
from noisycorrect.tables.structured import optional

_AT_ONCE = 64
_SAVED_EVERY = 8  # batches


def read_picture(path: Path, side: int, root: str | None = None) -> np.ndarray | None:
    """Return a picture as uint8 (3, side, side), red first, turned upright; None if it cannot be read whole.

    With a `root`, a real path, links that lead out of it are not followed.

    Examples
    --------
    >>> read_picture(Path("no such picture.png"), 8) is None
    True
    """
    image = optional("PIL.Image", "pillow, which reads pictures", "seg")
    upright = optional("PIL.ImageOps", "pillow, which reads pictures", "seg").exif_transpose
    try:
        if root is not None and not _is_inside(os.path.realpath(path), root):
            return None
        with opened_picture(path) as opened:
            pixels = upright(opened).convert("RGB").resize((side, side), image.Resampling.BILINEAR)
    # Pillow's readers raise nearly anything on damaged files; which one does not matter here.
    except Exception:
        return None
    return np.asarray(pixels, np.uint8).transpose(2, 0, 1)


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))  # noqa: PTH118


def picture_paths(cells: Sequence[str], folder: Path) -> list[Path]:
    """Return where pictures lie: as a table says, from a folder on, and never outside.

    Raises
    ------
    InvalidInputError
        If a path leads out of the folder: a table from elsewhere must not choose what is read here.

    Examples
    --------
    >>> picture_paths(["a.jpg"], Path("photos"))[0].name
    'a.jpg'
    >>> picture_paths(["../../secret.jpg"], Path("photos"))
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected pictures below photos; got '../../secret.jpg' in row 1; to
    fix: say --root and the folder that holds all of them
    """
    home = os.path.abspath(folder)  # noqa: PTH100 - links are looked at when a picture is read
    paths = []
    for row, cell in enumerate(cells, 1):
        name = cell.strip() or "(no path)"
        if "\0" in name or not _is_inside(os.path.normpath(os.path.join(home, name)), home):  # noqa: PTH118
            fix = "say --root and the folder that holds all of them"
            raise InvalidInputError(f"pictures below {folder}", got=f"{name!r} in row {row}", fix=fix)
        paths.append(folder / name)
    return paths


def folder_of(source: Source) -> Path:
    """Return the folder from which on a source's paths are counted: itself, or that of the table."""
    return source.path if source.kind == "folder" else source.path.parent


class PictureArray:
    """An array with a row a picture in a run folder, filled bit by bit: a killed process goes on where it was.

    Parameters
    ----------
    folder : Path
        The run folder.
    paths : sequence of Path
        The pictures, N.
    backbone : Path or None
        Weights of the network that describes them: float32 (N, 1280). Without: small pictures, uint8 (N, 3, 64, 64).
    root : Path, optional
        Links in the paths that lead out of this folder are not followed.
    """

    def __init__(self, folder: Path, paths: Sequence[Path], backbone: Path | None, root: Path | None = None) -> None:
        self.paths = paths
        self.root = None if root is None else os.path.realpath(root)
        self.array, self.progress = folder / "pictures.npy", folder / "pictures.json"
        self.network = None if backbone is None else pretrained(backbone)
        self.shape = (len(paths), 1280) if self.network is not None else (len(paths), 3, SMALL_SIDE, SMALL_SIDE)
        self.dtype = np.float32 if self.network is not None else np.uint8

    def filled(self, progress: Callable[[int], None]) -> tuple[np.ndarray, np.ndarray]:
        """Return the array, and which pictures could be read, bool (N,).

        Parameters
        ----------
        progress : callable
            Is told how many are done.

        Raises
        ------
        InvalidInputError
            If the folder cannot be written.
        """
        try:
            done, broken = self._begun()
            mode = "r+" if done else "w+"
            rows = np.lib.format.open_memmap(self.array, mode=mode, dtype=self.dtype, shape=self.shape)
            for number, some in enumerate(self._batches(done), 1):
                broken += self._fill(rows, some)
                if number % _SAVED_EVERY == 0 or some.stop == len(self.paths):
                    rows.flush()
                    write_json(self.progress, {"done": some.stop, "broken": broken})
                progress(some.stop)
        except OSError as error:
            fix = "free space, or choose another --out"
            raise InvalidInputError(f"to write {self.array}", got=str(error), fix=fix) from error
        readable = np.ones(len(self.paths), bool)
        readable[broken] = False
        return rows, readable

    def _begun(self) -> tuple[int, list[int]]:
        if not (self.array.is_file() and self.progress.is_file()):
            return 0, []
        check_array(self.array, "pictures that were read")
        begun = np.load(self.array, mmap_mode="r")
        if begun.shape != self.shape or begun.dtype != self.dtype:
            return 0, []  # by another network
        try:
            found = parsed_json(self.progress.read_text(encoding="utf-8"))
            done, broken = int(found["done"]), [int(row) for row in found["broken"]]
            if not 0 <= done <= len(self.paths) or not all(0 <= row < done for row in broken):
                raise ValueError(f"{done} of {len(self.paths)} pictures")
        except (ValueError, TypeError, KeyError) as error:
            fix = "delete it, and the pictures are read again"
            raise CheckpointError(f"how far pictures were read, in {self.progress}", got=str(error), fix=fix) from error
        return done, broken

    def _batches(self, done: int) -> Iterator[range]:
        for start in range(done, len(self.paths), _AT_ONCE):
            yield range(start, min(start + _AT_ONCE, len(self.paths)))

    def _fill(self, rows: np.ndarray, some: range) -> list[int]:
        side = SMALL_SIDE if self.network is None else LARGE_SIDE
        pictures = {row: read_picture(self.paths[row], side, self.root) for row in some}
        whole = [row for row in some if pictures[row] is not None]
        if whole:
            pixels = np.stack([picture for row in whole if (picture := pictures[row]) is not None])
            rows[whole] = pixels if self.network is None else described(self.network, pixels)
        return [row for row in some if pictures[row] is None]


def described(network: EfficientNetLite0, pixels: np.ndarray) -> np.ndarray:
    """Return what the pretrained network sees in pictures (N, 3, H, W), uint8: float32 (N, 1280)."""
    with torch.inference_mode():
        found: torch.Tensor = network((torch.from_numpy(pixels).float() - 127) / 128)
    return found.numpy()


@final
class SmallPictures(Dataset[Any]):
    """Small pictures with labels, for a network that is trained on them.

    Parameters
    ----------
    rows : ndarray, shape (N, 3, H, W), uint8
        Pictures; they may lie in a file.
    place : ndarray, shape (M,)
        Which of them.
    labels : ndarray, shape (M,), int64
        Their labels.
    """

    def __init__(self, rows: np.ndarray, place: np.ndarray, labels: np.ndarray) -> None:
        self.rows, self.place, self.labels = rows, place, labels

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(np.array(self.rows[self.place[index]])), int(self.labels[index])


def relative_to(path: Path, folder: Path) -> str:
    """Return a path from a folder on, for pages that lie in it; absolute where there is no such way."""
    try:
        return os.path.relpath(path.resolve(), folder.resolve())
    except ValueError:  # another drive
        return str(path.resolve())
