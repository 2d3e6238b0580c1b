"""Weights of samples and classes in a run: where they come from, and that somebody counts them."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from noisycorrect.data.batches import Batch
from noisycorrect.data.datasets import ArrayDataset, MapStyleDataset, WithUnlabeled, checked_weights
from noisycorrect.objective import Objective
from noisycorrect.recipe import Recipe
from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.task import Task


def weights_of_run(sample_weight: Any, labeled: int, train: MapStyleDataset) -> Tensor | None:
    """Return what each sample of a training set counts, float32 (N,); None if all are alike or items say it themselves.

    Parameters
    ----------
    sample_weight : array-like, shape (labelled,) or (N,), or None
        What was passed; samples that follow the labelled ones weigh 1 if nothing is said of them.
    labeled : int
        Samples before those of ``unlabeled=``.
    train : MapStyleDataset
        All samples.

    Raises
    ------
    InvalidInputError
        If weights are not one finite number >= 0 a sample.
    """
    length = len(train)
    if sample_weight is None:
        own = train.labeled if isinstance(train, WithUnlabeled) else train
        sample_weight = own.sample_weight if isinstance(own, ArrayDataset) else None
    if sample_weight is None:
        return None
    array = as_array(sample_weight, "sample_weight")
    given = len(array) if array.ndim else 0
    weights = checked_weights(array, length if given == length else labeled)
    return torch.cat([weights, torch.ones(length - len(weights), dtype=torch.float32)])


def check_weighed(batch: Batch, task: Task, objective: Objective) -> None:
    """Raise an InvalidInputError if a batch's weights, or the task's of classes, would not count."""
    if batch.weight is None and getattr(task, "class_weight", None) is None:
        return
    blind = next((part for part in (task, objective) if not getattr(part, "weighs", False)), None)
    if blind is not None:
        fix = 'pass a recipe whose objective is the task\'s loss ("paper", "robust", "ce", "ema"), or no weights'
        raise InvalidInputError(
            "a task and an objective that count weights",
            got=f"weights, and {type(blind).__name__}, which does not",
            fix="leave the weights out: no recipe counts them for this task" if blind is task else fix,
        )


def weighed_task(task: Task, recipe: Recipe, given: Any) -> Task:
    """Return the task of a run: a copy that balances the classes, if the recipe does and the task says nothing of it.

    Parameters
    ----------
    task : Task
        One that can weigh classes has a ``class_weight``, None as yet, and ``balanced_by(given)``.
    recipe : Recipe
        Of the run.
    given : array-like
        Labels, as the task has checked them.
    """
    balanced_by = getattr(task, "balanced_by", None)
    if recipe.class_weight is None or balanced_by is None or getattr(task, "class_weight", None) is not None:
        return task
    balanced: Task = balanced_by(given)
    return balanced


def digest_of(weights: Tensor | None) -> dict[str, Any]:
    """Return what a run and the run that resumes it must share of weights: nothing, or their digest."""
    if weights is None:
        return {}
    return {"sample_weight": hashlib.sha256(weights.numpy().tobytes()).hexdigest()[:16]}
