"""Computing the cells of a parsing study: a run each, resumable in the middle; under torchrun all ranks at one."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lab.cells import Record, cell_key, plain, read_cell, write_cell
from benchmarks.parsing.data import load, whole_val
from benchmarks.parsing.methods import prepared_recipe
from benchmarks.parsing.networks import build_network, make_task, parameters, prepared
from benchmarks.parsing.pictures import evolutions, save_evolutions
from benchmarks.parsing.plan import Cell, Data
from noisycorrect import CorrectionResult, Progress, SelfCorrector
from noisycorrect.labels.compare import changed_share
from noisycorrect.support import distributed
from noisycorrect.support.files import write_json
from noisycorrect.support.modules import unwrap
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.datasets import ParsingDataset, ParsingSource
from noisycorrect_seg.inference import evaluate_source
from noisycorrect_seg.kind import mask_confusion
from noisycorrect_seg.review import mask_quality

MODEL, EVOLUTION, NETWORK, RUN = "model.pt", "evolution.npz", "network.json", "run"
_VAL = ("mean_iou", "pixel_accuracy", "mean_accuracy", "published_mean_iou", "published_mean_accuracy")
_HISTORY = ("cycle", "epoch", "loss", "lr", "seconds", "sample_passes", "agreement", "changed", "mean_trust")
_LABELS = ("label_accuracy", "label_mean_iou")


@dataclass(frozen=True)
class Options:
    """What a cell's result does not depend on: where files lie, and how it is computed.

    Attributes
    ----------
    folder : Path
        Of the finished cells; beside its JSON file each cell has a folder for its model and pictures.
    data_dir, weights : Path or None
        Folder of the data set; file of pretrained backbone weights.
    device : str
        As for :class:`noisycorrect.SelfCorrector`.
    workers : int
        Processes that load data.
    channels_last, compiled : bool
        See :func:`~benchmarks.parsing.networks.prepared`.
    keep_labels : bool
        Leave the run's folder, with checkpoint and label store, where it is.
    progress : bool
        Show how far a run is: a bar on a terminal, elsewhere a line an epoch.
    """

    folder: Path
    data_dir: Path | None = None
    weights: Path | None = None
    device: str = "auto"
    workers: int = 0
    channels_last: bool = False
    compiled: bool = False
    keep_labels: bool = False
    progress: bool = False


def run_cell(options: Options, cell: Cell) -> dict[str, Any]:
    """Train one row with one seed, and measure the model and the labels after the last epoch.

    The run goes on where it was killed. Its folder keeps the network (`model.pt`, for ``--evaluate``) and, if labels
    were refined, how some of them evolved (`evolution.npz`).

    Returns
    -------
    dict
        ``val``, ``class_iou``, ``image_frame`` (or None), ``labels_before`` and ``labels_after`` (or None),
        ``label_change`` (or None), ``parameters``, ``sample_passes``, ``seconds``, ``history``, ``evolution`` (a path
        below the cells' folder, or None).
    """
    place = options.folder / cell_key(cell)
    data = Data(cell.dataset, cell.train, cell.val, cell.noise, cell.data, cell.shrink)
    sources = load(cell.dataset, options.data_dir, data, cell.size, cell.seed)
    network = build_network(cell, len(sources.classes), options.weights)
    if distributed.is_main():
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / NETWORK, {"network": network.config, "size": cell.size, "classes": sources.classes.names})
    corrector = SelfCorrector(
        prepared(network, channels_last=options.channels_last, compiled=options.compiled),
        task=make_task(sources.classes, cell.size, cell.losses),
        recipe=prepared_recipe(cell.method, cell.schedule, cell.optimizer, backbone_rate=cell.backbone_rate),
        lr=cell.lr,
        batch_size=cell.batch_size,
        precision=cell.precision,
        device=options.device,
        num_workers=options.workers,
        seed=cell.seed,
        run_dir=place / RUN,
        callbacks=[Progress(enabled=options.progress)],
    )
    train = ParsingDataset(sources.train, cell.size, augment=True)
    result = corrector.fit(train, ParsingDataset(sources.val, cell.size), clean_labels=sources.clean)
    model = unwrap(result.model)
    assert isinstance(model, ACE2P)
    outcome = {
        **_scores(result, sources.classes.names),
        **_labels(result, sources.train, sources.clean, place),
        "image_frame": _in_images(model, whole_val(cell.dataset, options.data_dir, data), cell, options),
        "parameters": parameters(network),
    }
    if distributed.is_main():
        model.save(place / MODEL, classes=sources.classes, size=cell.size)
        if not options.keep_labels:
            del result
            shutil.rmtree(place / RUN, ignore_errors=True)
    return outcome


def _scores(result: CorrectionResult, names: Sequence[str]) -> dict[str, Any]:
    last = result.history[-1]
    kept = (*_HISTORY, *(f"val_{name}" for name in _VAL), *_LABELS)
    return {
        "val": _finite({name: last[f"val_{name}"] for name in _VAL}),
        "class_iou": _finite({name: last[f"val_iou_{name}"] for name in names}),
        "sample_passes": result.sample_passes,
        "seconds": sum(record["seconds"] for record in result.history),
        "history": [_finite({name: record[name] for name in kept if name in record}) for record in result.history],
    }


def _labels(
    result: CorrectionResult, source: ParsingSource, clean: Sequence[Any] | None, place: Path
) -> dict[str, Any]:
    """Return the quality of the training labels before and after, and keep some of them as pictures."""
    labels, last = result.labels, result.history[-1]
    refined = labels.generation > 0
    found: dict[str, Any] = dict.fromkeys(("labels_before", "labels_after", "label_change", "evolution"))
    if not distributed.is_main():
        return found
    if clean is not None:
        found["labels_before"] = mask_quality(mask_confusion(labels, clean, generation=0))
        found["labels_after"] = {name: last[name] for name in _LABELS} if refined else None
    if refined:
        found["label_change"] = changed_share(labels, 0)
        save_evolutions(place / EVOLUTION, evolutions(source, labels, clean))
        found["evolution"] = f"{place.name}/{EVOLUTION}"
    return found


def _in_images(model: ACE2P, val: ParsingSource | None, cell: Cell, options: Options) -> dict[str, Any] | None:
    """Return the metrics in the validation images' own frames; None where these are no larger than the network's."""
    if val is None:
        return None
    scores = evaluate_source(
        model, val, size=cell.size, batch_size=cell.batch_size, device=options.device, progress=False
    )
    return _finite({name: scores[name] for name in _VAL})


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}


def run_together(cells: Sequence[Cell], run_one: Callable[[Any], Mapping[str, Any]], folder: Path) -> list[Record]:
    """Compute the cells one after the other, all ranks of a process group at each; rank 0 writes the files.

    The counterpart of :func:`benchmarks.lab.cells.run_cells` under torchrun. Every rank returns all records.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for cell in cells:
        # Rank 0 alone says what is there: on a slow shared disk the ranks might see different folders.
        record = distributed.all_gather_objects(read_cell(folder, cell))[0]
        if record is None:
            result = distributed.all_gather_objects(plain(run_one(cell)))[0]
            stored = write_cell(folder, cell, result) if distributed.is_main() else {}
            record = distributed.all_gather_objects(stored)[0]
        records.append(record)
    return records
