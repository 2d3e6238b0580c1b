"""What the ranks of a run must have in common, as names and short values."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.recipe import Recipe
from noisycorrect.support import distributed
from noisycorrect.support.arrays import is_array
from noisycorrect.training.engine import Engine
from noisycorrect.training.run_data import RunData

READ_LABELS = 64  # of labels that are files of their own, so many are compared


def rank_facts(
    model: nn.Module,
    engine: Engine,
    recipe: Recipe,
    data: RunData,
    *,
    seed: int,
    class_names: tuple[str, ...] | None,
    run_dir: Path | None,
    resume: str | bool,
    parallel: str,
) -> dict[str, Any]:
    """Return what all ranks must share: lengths, labels, seed, settings, architecture; nothing where there is one rank.

    Labels that make no array (masks) are compared in 64 places, evenly spaced. Weights may differ: those of rank 0 are
    trained.
    """
    if distributed.world_size() == 1:
        return {}
    shapes = [(name, tuple(value.shape), str(value.dtype)) for name, value in model.state_dict().items()]
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    return {
        "number of training samples": len(data.train),
        "training labels": labels_digest(data.given),
        "number of validation samples": None if data.val is None else len(data.val),
        "validation labels": labels_digest(data.val_given),
        "sample_weight": labels_digest(data.sample_weight),
        "clean_labels": labels_digest(data.clean_labels),
        "val_clean_labels": labels_digest(data.val_clean_labels),
        "seed": seed,
        "epochs": dataclasses.asdict(recipe.divided()),
        **recipe.identity(),
        "task": engine.task.identity(),
        "class_names": class_names,
        "augment": engine.augment is not None,
        "precision": str(engine.precision),
        "kind of device": engine.device.type,
        "layers of the model": _digest(repr((shapes, trained)).encode()),
        "run_dir": None if run_dir is None else str(run_dir.resolve()),
        "resume": resume,
        "parallel": parallel,
        "version of torch": torch.__version__,
    }


def labels_digest(labels: Any) -> str | None:
    """Return a digest of labels: of an array, or of a sequence with labels of their own sizes; None of none.

    Examples
    --------
    >>> labels_digest([0, 1]) == labels_digest(torch.tensor([0.0, 1.0])) != labels_digest([1, 0])
    True
    """
    if labels is None:
        return None
    if is_array(labels) or (isinstance(labels, (list, tuple)) and all(np.ndim(each) == 0 for each in labels)):
        return _digest(_bytes(labels))
    places = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), READ_LABELS)).astype(int))
    return _digest(b"".join([str(len(labels)).encode(), *(_bytes(labels[int(place)]) for place in places)]))


def _bytes(values: Any) -> bytes:
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    # Whole numbers are what they are in any dtype.
    return array.astype(np.float64).tobytes() if array.dtype.kind in "biuf" else repr(array.tolist()).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
