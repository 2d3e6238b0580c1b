"""The images of a parsing study: the embedded people with noisy masks, or a data set in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.parsing.plan import Data, Preset
from benchmarks.parsing.sources import Shrunk
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets import Cached, Subset, source_named
from noisycorrect_seg.datasets.synthetic import SyntheticPeople

if TYPE_CHECKING:
    from noisycorrect_seg.datasets import ParsingSource

EMBEDDED = "people"  # the name of its class list, too
DEVELOPMENT_SEED = 100  # from here on seeds are for choosing settings, and have validation people of their own
EMBEDDED_LIMITS = 300, 100  # images of the embedded set where a preset names none
# Hats, arms, legs and shoes are left out of almost half of the masks, and never drawn where there are none.
NOISE = "omit:0.45:only=1,8,9,10"


@dataclass(frozen=True)
class Sources:
    """What a cell trains on and is measured against.

    Attributes
    ----------
    train, val : ParsingSource
        Images with given masks; those of `val` are clean if any are.
    clean : sequence of ndarray (H, W), or None
        True masks of `train`, for scoring only.
    """

    train: ParsingSource
    val: ParsingSource
    clean: Sequence[np.ndarray] | None

    @property
    def classes(self) -> Classes:
        """The classes of the masks."""
        return self.train.classes


class _CleanMasks(Sequence[np.ndarray]):
    """The clean masks of drawn people, one at a time."""

    def __init__(self, people: SyntheticPeople) -> None:
        self.people = people

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        return self.people.clean_mask(index)


def load(dataset: str, data_dir: Path | None, data: Data, size: tuple[int, int], seed: int) -> Sources:
    """Return the images of a cell.

    Parameters
    ----------
    dataset : str
        ``"people"``, or a data set's name.
    data_dir : Path or None
        Its folder; people need none.
    data : Data
        How many images, and how small.
    size : (int, int)
        Of the network's input; people are drawn at it.
    seed : int
        Draws the people and their noise. Of a data set in a folder all seeds see the same images.
    """
    if dataset == EMBEDDED:
        people = SyntheticPeople(data.train, seed=seed, size=size, noise=data.noise, classes=EMBEDDED)
        val_seed = seed // DEVELOPMENT_SEED * DEVELOPMENT_SEED
        return Sources(
            people,
            SyntheticPeople(data.val, seed=val_seed, size=size, split="val", classes=EMBEDDED),
            _CleanMasks(people),
        )
    assert data_dir is not None
    train, val = (
        _small(_limited(source_named(dataset, data_dir, split), limit), size, data.shrink)
        for split, limit in (("train", data.train), ("val", data.val))
    )
    return Sources(train, val, None)


def whole_val(dataset: str, data_dir: Path | None, data: Data) -> ParsingSource | None:
    """Return the validation images at the size of their files; None for the embedded set, which has no files."""
    if dataset == EMBEDDED:
        return None
    return val_images(dataset, data_dir, data.val)


def val_images(dataset: str, data_dir: Path | None, limit: int | None = None) -> ParsingSource:
    """Return at most `limit` validation images of a data set in a folder, evenly spaced; nothing else is looked for.

    Raises
    ------
    InvalidInputError
        If no folder is named.
    """
    if data_dir is None:
        raise InvalidInputError("--data-dir", got="none", fix=f"where the files of {dataset} are")
    source = source_named(dataset, data_dir, "val")
    return _limited(source, limit or len(source))


def describe(dataset: str, data_dir: Path | None, preset: Preset, noise: str | None = None) -> Data:
    """Look at a data set, and return how many images a study takes of it and what tells them from others.

    Raises
    ------
    InvalidInputError
        If the data set or its folder is unknown, or a data set in a folder has noise put on it.
    """
    if dataset == EMBEDDED:
        if data_dir is not None:
            raise InvalidInputError("--dataset with --data-dir", got=dataset, fix="name the data set in the folder")
        train, val = (
            limit or default
            for limit, default in zip((preset.train_limit, preset.val_limit), EMBEDDED_LIMITS, strict=True)
        )
        few = SyntheticPeople(1, size=preset.size, noise=noise or NOISE, classes=EMBEDDED)
        return Data(dataset, train, val, str(few.noise), _fingerprint(few, few.clean_mask(0)))
    if data_dir is None:
        raise InvalidInputError("--data-dir", got="none", fix=f"where the files of {dataset} are")
    if noise is not None:
        raise InvalidInputError("--noise with the embedded set alone", got=noise, fix="masks in a folder stay as given")
    sources = [source_named(dataset, data_dir, split) for split in ("train", "val")]
    train, val = (
        min(limit or len(source), len(source))
        for limit, source in zip((preset.train_limit, preset.val_limit), sources, strict=True)
    )
    return Data(dataset, train, val, None, _fingerprint(sources[0]), preset.shrink)


def _limited(source: ParsingSource, limit: int) -> ParsingSource:
    """Return `limit` evenly spaced images of a source."""
    if limit >= len(source):
        return source
    return Subset(source, np.linspace(0, len(source) - 1, limit).round().astype(int).tolist())


def _small(source: ParsingSource, size: tuple[int, int], shrink: float | None) -> ParsingSource:
    return source if shrink is None else Cached(Shrunk(source, size, shrink)).load()


def _fingerprint(source: ParsingSource, *more: np.ndarray) -> str:
    names = "\n".join(source.name(index) for index in range(len(source)))
    digest = hashlib.sha256(f"{source.classes.names} {names}".encode())
    for array in (source.image(0), source.mask(0), *more):
        if array is not None:
            digest.update(array.tobytes())
    return digest.hexdigest()[:12]
