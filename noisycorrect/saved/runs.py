"""The model and the history in a run folder, whether the run has finished or not."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

from noisycorrect.saved.details import CHECKPOINT, HISTORY
from noisycorrect.support.checkpoint import load_checkpoint
from noisycorrect.support.errors import CheckpointError
from noisycorrect.support.files import write_json

_INNER = "module."  # what torch's AveragedModel puts before the names of the model's own


def run_state(folder: Path) -> tuple[OrderedDict[str, Any], list[dict[str, float]]]:
    """Return the weights with which a run predicts, as far as it has come, and its history.

    The average, once it holds something; until then, and if the recipe averages nothing, the model in training.

    Parameters
    ----------
    folder : Path
        A run folder with a checkpoint.

    Raises
    ------
    CheckpointError
        If the checkpoint is damaged, or none of a run.
    """
    content = load_checkpoint(folder / CHECKPOINT)
    try:
        state, aggregate, history = content["student"], content["aggregate"], content["history"]
        averaged = None if aggregate is None else aggregate["averaged"]
        if averaged is not None and int(averaged["n_averaged"]):
            state = _inner_state(averaged)
    except (KeyError, TypeError) as error:
        fix = "check the path"
        raise CheckpointError(f"a run's checkpoint in {folder}", got=f"one without {error}", fix=fix) from error
    return state, history


def _inner_state(averaged: OrderedDict[str, Any]) -> OrderedDict[str, Any]:
    """Return the averaged model's own state, with the versions of its modules."""
    state = OrderedDict(
        (name.removeprefix(_INNER), value) for name, value in averaged.items() if name.startswith(_INNER)
    )
    versions = getattr(averaged, "_metadata", {})
    inner = {name.removeprefix("module").removeprefix("."): value for name, value in versions.items() if name}
    state._metadata = inner  # type: ignore[attr-defined]  # where torch keeps modules' versions
    return state


def read_history(folder: Path) -> list[dict[str, float]]:
    """Return the history that :func:`write_history` wrote; null is NaN again.

    Raises
    ------
    CheckpointError
        If it is missing or damaged.
    """
    try:
        rows = json.loads((folder / HISTORY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"a history in {folder}", got=str(error), fix="restore it from a copy") from error
    return [{key: math.nan if value is None else value for key, value in row.items()} for row in rows]


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Write a history as JSON; NaN, which JSON does not know, becomes null.

    Raises
    ------
    CheckpointError
        If it cannot be written; the old file is untouched.
    """
    rows = [{key: None if value != value else value for key, value in record.items()} for record in history]
    try:
        write_json(path, rows)
    except OSError as error:
        raise CheckpointError(f"to write {path}", got=str(error), fix="free space and resume") from error
