"""A run in the paper's way whose steps are taken one by one."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

from noisycorrect import RECIPES, AtCycleEnds, CosineCycles, Recalibration, Schedule, Task
from noisycorrect.training.engine import Engine
from noisycorrect.training.run import Run
from noisycorrect.training.run_data import RunData
from noisycorrect.training.run_folder import open_run


@contextlib.contextmanager
def correction_run(
    folder: Path, model: nn.Module, task: Task, train: Any, batch_size: int, recalibration_samples: int | None
) -> Iterator[Run]:
    """Yield a run with cycles of ten epochs, on the CPU, as if it were in the first one.

    Parameters
    ----------
    folder : Path
        New run folder.
    model, task, train, batch_size
        As for :class:`noisycorrect.SelfCorrector`; `train` is a map-style data set.
    recalibration_samples : int or None
        See :class:`noisycorrect.Recalibration`.
    """
    recipe = RECIPES["paper"].replace(
        schedule=Schedule(init_epochs=1, cycles=1000, cycle_epochs=10),
        rates=CosineCycles(warmup_epochs=0),
        average=AtCycleEnds(recalibration=Recalibration(samples=recalibration_samples)),
        optimizer=functools.partial(SGD, momentum=0.9),
        lr=0.01,
        batch_size=batch_size,
    )
    data = RunData.make(train, task, val=None, unlabeled=None, canonical=None, collate_fn=None)
    engine = Engine(task, torch.device("cpu"))
    with open_run(
        model, engine, recipe, data, seed=0, num_workers=0, run_dir=folder, resume="auto", restore=lambda _: None
    ) as run:
        run.epoch = recipe.divided().init_epochs + 1  # the end of the initial phase would refine nothing
        yield run


def train_epoch(run: Run) -> None:
    """Train one more epoch of a run, as :meth:`noisycorrect.SelfCorrector.fit` does."""
    with run.next_epoch() as batches:
        for batch in batches:
            with run.engine.autocast():
                loss = run.objective.loss(run.trained, batch, run.correction)
            run.step(loss)
            run.average.after_step(run.student)


def end_cycle(run: Run) -> None:
    """Do what a correction cycle adds to its epochs: average, recalibrate, refine, restart."""
    run.average.at_cycle_end(run.student)
    run.recalibrate()
    run.record(run.correction.at_cycle_end(run))
    run.average.restart(run.student, run.optimizer)
