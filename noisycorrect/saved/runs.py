"""The model and the history in a run folder, whether the run has finished or not."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisycorrect.labels import SoftLabelStore
from noisycorrect.saved.details import CHECKPOINT, HISTORY, Details
from noisycorrect.support.checkpoint import load_checkpoint
from noisycorrect.support.errors import CheckpointError
from noisycorrect.support.files import read_json, write_json

_INNER = "module."  # what torch's AveragedModel puts before the names of the model's own


@dataclass(frozen=True)
class RunState:
    """What a checkpoint says of a run, as far as it has come.

    Attributes
    ----------
    weights : OrderedDict
        With which it predicts: the average, once it holds something; until then, and if the recipe averages nothing,
        the model in training.
    history : list of dict
        Its records.
    generation : int
        Of labels.
    epoch : int
        Epochs done.
    run : str or None
        Name of the run; older versions wrote none.
    """

    weights: OrderedDict[str, Any]
    history: list[dict[str, float]]
    generation: int
    epoch: int
    run: str | None


def run_state(folder: Path, name: str = CHECKPOINT) -> RunState:
    """Return what a run's checkpoint says.

    Parameters
    ----------
    folder : Path
        A run folder with a checkpoint.
    name : str
        The checkpoint's file.

    Raises
    ------
    CheckpointError
        If the checkpoint is damaged, or none of a run.
    """
    content = load_checkpoint(folder / name)
    fix = "check the path, or restore it from a copy"
    try:
        state, aggregate, history = content["student"], content["aggregate"], checked_history(content["history"])
        averaged = None if aggregate is None else aggregate["averaged"]
        if averaged is not None and int(averaged["n_averaged"]):
            state = _inner_state(averaged)
        if not isinstance(state, dict):
            raise TypeError("weights by name")
        state = state if isinstance(state, OrderedDict) else OrderedDict(state)
        return RunState(state, history, int(content["generation"]), int(content["epoch"]), content.get("run"))
    except KeyError as error:
        raise CheckpointError(f"a run's checkpoint in {folder}", got=f"one without {error}", fix=fix) from None
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"a run's checkpoint in {folder}", got=f"one with {error}", fix=fix) from None


def check_same_run(
    folder: Path,
    store: SoftLabelStore,
    *,
    run: str | None,
    generation: int | None,
    details: Details | None = None,
) -> None:
    """Raise a CheckpointError if a folder's checkpoint or details are those of another run than its labels.

    Nor may the checkpoint be older or younger than a cycle: a run that dies between its labels and its checkpoint has
    labels of one generation more, and no run has others.
    """
    for what, name in ((CHECKPOINT, run), ("details.json", None if details is None else details.run)):
        if name and store.run and name != store.run:
            got = f"that of run {name}, and labels of run {store.run}"
            fix = "restore the files of one run from a copy"
            raise CheckpointError(f"{what} of the run whose labels lie in {folder}", got=got, fix=fix)
    if generation is not None and generation not in (store.generation, store.generation - 1):
        got = f"one of generation {generation}, and labels of generation {store.generation}"
        fix = 'restore the two from one copy, or go on from what is there: fit(..., resume="last-whole")'
        raise CheckpointError(f"a checkpoint that belongs to the labels in {folder}", got=got, fix=fix)


def check_not_older(folder: Path, history: list[dict[str, float]]) -> None:
    """Raise a CheckpointError if ``history.json`` has gone on after a checkpoint's history: the checkpoint is older.

    The file is written after the checkpoint, so a run that dies between the two leaves a shorter one, never a longer
    one. One that cannot be read says nothing: it is written anew when the run is resumed.
    """
    try:
        rows = _records(read_history(folder))
    except CheckpointError:
        return
    own = _records(history)
    if len(rows) > len(own) and rows[: len(own)] == own:
        got = f"one after {len(own)} cycles; {HISTORY} knows {len(rows)}"
        fix = f"restore both from one copy; or, to go on from this older checkpoint, delete {HISTORY}"
        raise CheckpointError(f"the last checkpoint of the run in {folder}", got=got, fix=fix)


def _records(history: list[dict[str, float]]) -> list[dict[str, float | None]]:
    """Return records as JSON has them: no NaN."""
    return [{key: None if value != value else value for key, value in record.items()} for record in history]


def checked_history(history: Any) -> list[dict[str, float]]:
    """Return a history, or raise a TypeError if it is no list of records of numbers.

    Examples
    --------
    >>> checked_history(None)
    Traceback (most recent call last):
    ...
    TypeError: a history of the type NoneType
    """
    if not isinstance(history, list):
        raise TypeError(f"a history of the type {type(history).__name__}")
    for record in history:
        if not isinstance(record, dict):
            raise TypeError(f"a record of the type {type(record).__name__} in its history")
        wrong = next((name for name, value in record.items() if not isinstance(value, (int, float, type(None)))), None)
        if wrong is not None:
            raise TypeError(f"{wrong!r} that is no number in its history")
    return history


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
        rows = checked_history(read_json(folder / HISTORY))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"a history in {folder}", got=str(error), fix="restore it from a copy") from error
    return [{key: math.nan if value is None else value for key, value in row.items()} for row in rows]


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Write a history as JSON; NaN, which JSON does not know, becomes null.

    Raises
    ------
    CheckpointError
        If it cannot be written; the old file is untouched.
    """
    try:
        write_json(path, _records(history))
    except OSError as error:
        raise CheckpointError(f"to write {path}", got=str(error), fix="free space and resume") from error
