"""A whole result as a folder, and read back from it or from a run folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.manifest import NAME as MANIFEST
from noisycorrect.review.session import has_items
from noisycorrect.review.session.items import read_header
from noisycorrect.saved.details import CHECKPOINT, DETAILS, HISTORY, LABELS, Details
from noisycorrect.saved.networks import built_network, dressed, network_record
from noisycorrect.saved.runs import check_not_older, check_same_run, read_history, run_state, write_history
from noisycorrect.saved.weights import TORCH, read_weights, write_weights
from noisycorrect.support.checkpoint import check_model_state, load_model_state
from noisycorrect.support.checksums import file_digest
from noisycorrect.support.errors import CheckpointError
from noisycorrect.support.folders import new_folder
from noisycorrect.support.modules import unwrap


@dataclass(frozen=True)
class SavedResult:
    """What a folder holds: the parts of a :class:`~noisycorrect.CorrectionResult`."""

    model: nn.Module
    labels: SoftLabelStore
    history: list[dict[str, float]]
    sample_passes: int
    class_names: tuple[str, ...] | None
    input_record: dict[str, Any] | None


def write_result(
    folder: str | os.PathLike[str],
    model: nn.Module,
    labels: SoftLabelStore,
    history: list[dict[str, Any]],
    sample_passes: int,
    class_names: tuple[str, ...] | None,
    *,
    weights: str,
    input_record: dict[str, Any] | None = None,
) -> None:
    """Write the parts of a result into a new or empty folder, which is there when all of it is."""
    network = network_record(model)
    more = {
        "kind": labels.kind.name,
        "num_classes": labels.num_classes,
        "class_names": None if class_names is None else list(class_names),
        "network": network,
        "sample_passes": sample_passes,
    }
    with new_folder(folder) as inside:
        labels.export(inside / LABELS)
        write_history(inside / HISTORY, history)
        name = write_weights(inside, unwrap(model).state_dict(), more, weights=weights)
        Details(
            labels.kind.name,
            labels.num_classes,
            class_names,
            network=network,
            weights=name,
            sample_passes=sample_passes,
            run=labels.run or None,
            files={written: file_digest(inside / written) for written in (name, HISTORY, f"{LABELS}/{MANIFEST}")},
            input_record=input_record,
        ).write(inside)


def _built(details: Details | None, state: Mapping[str, Any], folder: Path) -> nn.Module:
    """Return the network that details describe, untrained; one that is not of these weights takes no memory."""
    record = None if details is None else details.network
    try:
        with torch.device("meta"):
            check_model_state(unwrap(dressed(built_network(record, str(folder)), state)), state)
    except (NotImplementedError, RuntimeError):  # a class that cannot be made without numbers
        pass
    return built_network(record, str(folder))


def read_result(folder: Path, model: nn.Module | None) -> SavedResult:
    """Return the result in a folder; see :meth:`noisycorrect.CorrectionResult.load`.

    `model` is changed when everything else has been found whole.
    """
    details = Details.read(folder)
    weights = TORCH if details is None or details.weights is None else details.weights
    generation = run = None
    if (folder / CHECKPOINT).exists():
        found = run_state(folder)
        state, history, generation, run = found.weights, found.history, found.generation, found.run
        check_not_older(folder, history)
        passes = int(history[-1]["sample_passes"]) if history else 0
    elif (folder / weights).exists() or (details is not None and details.weights is not None):
        if details is not None:
            for name in (weights, HISTORY, f"{LABELS}/{MANIFEST}"):
                details.check_file(folder, name)
        state, more = read_weights(folder / weights)
        history, passes = read_history(folder), more.get("sample_passes", -1)
        if type(passes) is not int or passes < 0:
            raise CheckpointError(
                f"sample_passes in {folder / weights}", got=repr(passes), fix="restore it from a copy"
            )
    else:
        got = "a run that has not finished its first epoch" if (folder / LABELS).is_dir() else "no such file"
        fix = "check the path"
        raise CheckpointError(f"a saved result or a run's checkpoint in {folder}", got=got, fix=fix)
    store = SoftLabelStore.open(folder / LABELS)
    if details is None and store.run:  # only older versions wrote none
        raise CheckpointError(
            f"{DETAILS} in {folder}, which names the classes",
            got="no such file",
            fix="restore it from a copy; that of a run folder is written anew when the run is resumed",
        )
    check_same_run(folder, store, run=run, generation=generation, details=details)
    names = None if details is None else details.class_names
    if names is None and has_items(folder):
        names = tuple(read_header(folder).classes)
    network = _built(details, state, folder) if model is None else model
    network = dressed(network, state)
    network.train((folder / CHECKPOINT).exists())  # a run's weights are those of training, a result's of evaluation
    load_model_state(unwrap(network), state)
    shown = None if details is None else details.input_record
    return SavedResult(network.eval(), store, history, passes, names, shown)
