"""The cells of a parsing study: rows x seeds, with epochs at equal sample passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import noisycorrect
from benchmarks.parsing.presets import Preset
from benchmarks.parsing.rows import METHODS, Variant, sample_passes, schedule_at_equal_passes
from noisycorrect import Schedule


@dataclass(frozen=True)
class Data:
    """Which images a study trains on, and what tells them from others.

    Attributes
    ----------
    dataset : str
        ``"people"`` is the embedded set.
    train, val : int
        Images.
    noise : str or None
        Spelling of the noise on the training masks; None: they are as they came.
    fingerprint : str
        Of images and masks, so that another folder's cells are not taken for this one's.
    shrink : float or None
        See :class:`~benchmarks.parsing.presets.Preset`.
    """

    dataset: str
    train: int
    val: int
    noise: str | None
    fingerprint: str
    shrink: float | None = None


@dataclass(frozen=True)
class Cell:
    """One run of a study; all that its result depends on. Equal cells of two studies are computed once."""

    dataset: str
    method: str
    seed: int
    backbone: str
    context: str
    width: float
    size: tuple[int, int]
    losses: str
    init_epochs: int
    cycles: int
    cycle_epochs: int
    lr: float
    batch_size: int
    train: int
    val: int
    shrink: float | None
    noise: str | None
    weights: str | None  # name of the file of pretrained backbone weights
    precision: str
    data: str
    version: str

    @property
    def schedule(self) -> Schedule:
        """Schedule of this run, at equal passes."""
        return Schedule(self.init_epochs, self.cycles, self.cycle_epochs)

    def passes(self, ranks: int = 1) -> int:
        """Return the sample passes of this run."""
        return sample_passes(self.method, self.schedule, self.train, self.batch_size, ranks=ranks)


def make_cells(
    variants: Sequence[Variant],
    preset: Preset,
    data: Data,
    seeds: Sequence[int],
    *,
    weights: str | None = None,
    precision: str = "auto",
    ranks: int = 1,
) -> dict[str, list[Cell]]:
    """Return the cells of a study, one a seed, by the name of their row.

    Parameters
    ----------
    variants : sequence of Variant
        The rows.
    preset : Preset
        Network, size and schedule of self-correction; the other rows' epochs follow from its sample passes.
    data : Data
        The images.
    seeds : sequence of int
        One run a seed and row.
    weights, precision
        See :class:`Cell`.
    ranks : int
        Processes that share a batch.
    """
    cells = {}
    for variant in variants:
        schedule = schedule_at_equal_passes(variant.method, preset.schedule, data.train, preset.batch_size, ranks=ranks)
        cells[variant.name] = [
            Cell(
                dataset=data.dataset,
                method=variant.method,
                losses=variant.losses,
                backbone=variant.backbone or preset.backbone,
                context=variant.context or preset.context,
                seed=seed,
                size=preset.size,
                width=preset.width,
                **dataclasses.asdict(schedule),
                lr=preset.lr,
                batch_size=preset.batch_size,
                train=data.train,
                val=data.val,
                shrink=data.shrink,
                noise=data.noise,
                weights=weights,
                precision=precision,
                data=data.fingerprint,
                version=noisycorrect.__version__,
            )
            for seed in seeds
        ]
    assert all(cell.method in METHODS for own in cells.values() for cell in own)
    return cells


def distinct_cells(cells: Mapping[str, Sequence[Cell]]) -> list[Cell]:
    """Return every cell once, as two rows may ask for the same run; seed by seed, so that whole seeds finish early."""
    seeds = max((len(own) for own in cells.values()), default=0)
    return list(dict.fromkeys(own[place] for place in range(seeds) for own in cells.values()))
