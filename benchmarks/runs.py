"""A run of the correction loop whose steps a benchmark takes one by one."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

from noisycorrect import Schedule, Task
from noisycorrect.objective import Objective
from noisycorrect.training.engine import Engine
from noisycorrect.training.run import Run
from noisycorrect.training.run_data import RunData
from noisycorrect.training.run_folder import open_run
from noisycorrect.training.settings import RunSettings


@contextlib.contextmanager
def correction_run(
    folder: Path, model: nn.Module, task: Task, train: Any, batch_size: int, recalibration_samples: int | None
) -> Iterator[Run]:
    """Yield a run of the paper's preset, with cycles of ten epochs, on the CPU.

    Parameters
    ----------
    folder : Path
        New run folder.
    model, task, train
        As for :class:`noisycorrect.SelfCorrector`; `train` is a map-style data set.
    batch_size, recalibration_samples
        Likewise.
    """
    settings = RunSettings(
        schedule=Schedule(init_epochs=1, cycles=1000, cycle_epochs=10),
        warmup_epochs=0,
        lr=0.01,
        cycle_lr=None,
        min_lr=None,
        batch_size=batch_size,
        lr_schedule="cyclical",
        aggregate=True,
        aggregation="equal",
        aggregation_decay=0.99,
        refine=True,
        restart="aggregate",
        evidence="mean",
        evidence_momentum=0.7,
        trust="paper",
        recalibration="fast",
        recalibration_samples=recalibration_samples,
        recalibration_inputs="augmented",
        num_workers=0,
        seed=0,
        keep_generations=2,
    )
    data = RunData.make(train, task, val=None, unlabeled=None, canonical=None, collate_fn=None)
    engine = Engine(task, torch.device("cpu"))
    with open_run(
        model, engine, Objective(), functools.partial(SGD, momentum=0.9), settings, data, folder, "auto"
    ) as run:
        yield run
