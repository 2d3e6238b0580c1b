"""`--evaluate`: a checkpoint's figures on the validation images, in their own frames."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.lab.report import write_report
from benchmarks.lab.tables import Grid, down, markdown, show, with_deviation
from benchmarks.parsing.study import MODEL, NETWORK, RUN
from noisycorrect.saved.details import CHECKPOINT
from noisycorrect.support import distributed
from noisycorrect.support.checkpoint import load_checkpoint, load_model_state
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.datasets import ParsingSource
from noisycorrect_seg.inference import evaluate_source

# The paper reports multi-scale figures, but neither it nor its code says which scales: these are common.
TTA_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
NOTE = "The paper does not say which scales its own multi-scale figures were averaged over."
TITLE = "Evaluation"


def load_network(path: Path) -> tuple[ACE2P, tuple[int, int] | None]:
    """Return a trained network in evaluation mode, and its input size if the folder that it lies in knows it.

    Parameters
    ----------
    path : Path
        A file written by :meth:`ACE2P.save <noisycorrect_seg.ace2p.ACE2P.save>`; a checkpoint of the SCHP authors; or
        the folder of a cell, finished or not: of a run that goes on, the averaged weights so far.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is neither.
    """
    if not path.is_dir():
        network = ACE2P.from_pretrained(path)
        return network, _known_size(path.parent) or network.size
    if (path / MODEL).exists():
        return ACE2P.load(path / MODEL), _known_size(path)
    checkpoint = path / RUN / CHECKPOINT
    if not (path / NETWORK).exists() or not checkpoint.exists():
        raise CheckpointError(
            f"{MODEL}, or {NETWORK} and {RUN}/{CHECKPOINT}, in {path}",
            got="neither",
            fix="pass a cell's folder, such as runs/lip/cells/people-both-...",
        )
    network = ACE2P(**json.loads((path / NETWORK).read_text(encoding="utf-8"))["network"])
    content = load_checkpoint(checkpoint)
    average = content["aggregate"]
    # Before the initial phase ends nothing was averaged.
    averaged = average is not None and int(average["averaged"]["n_averaged"]) > 0
    load_model_state(network, _below("module.", average["averaged"]) if averaged else content["student"])
    return network.eval(), _known_size(path)


def _below(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _known_size(folder: Path) -> tuple[int, int] | None:
    try:
        height, width = json.loads((folder / NETWORK).read_text(encoding="utf-8"))["size"]
    except (OSError, ValueError, KeyError):
        return None
    return int(height), int(width)


def evaluate(
    checkpoint: Path,
    source: ParsingSource,
    console: Console,
    *,
    size: tuple[int, int] | None,
    default_size: tuple[int, int],
    tta: bool,
    official_centres: bool = False,
    batch_size: int,
    device: str,
    precision: str,
    out: Path,
    stem: str,
) -> dict[str, Any]:
    """Measure a checkpoint, print the figures and write them as a report.

    Parameters
    ----------
    checkpoint : Path
        See :func:`load_network`.
    source : ParsingSource
        The validation images.
    console : Console
        Where the table goes.
    size : (int, int) or None
        Input size; default: the one that the network was trained at, if that is known, else `default_size`.
    tta : bool
        Average over `TTA_SCALES` and mirrors.
    official_centres : bool
        Cut box centres to whole numbers as the published evaluator does: its figures, half a pixel off.
    batch_size, device, precision
        As for :func:`noisycorrect_seg.inference.evaluate_source`.
    out, stem
        Of the report's files.

    Raises
    ------
    InvalidInputError
        If the network has another number of classes than the data set.
    """
    network, trained_size = load_network(checkpoint)
    if network.num_classes != len(source.classes):
        raise InvalidInputError(
            f"a network of {len(source.classes)} classes for {source.classes.name}",
            got=f"{network.num_classes} in {checkpoint.name}",
            fix="pass the --dataset that it was trained on",
        )
    frame = size or trained_size or default_size
    scores = evaluate_source(
        network,
        source,
        size=frame,
        scales=TTA_SCALES if tta else (1.0,),
        flip=tta,
        official_centres=official_centres,
        batch_size=batch_size,
        device=device,
        precision=precision,
    )
    iou = {name: float(value) for name, value in zip(source.classes.names, scores.pop("iou"), strict=True)}
    how = f"input {frame[0]}x{frame[1]}, {scores['images']} images"
    how += ", box centres cut to whole numbers as published" if official_centres else ""
    how += f", scales {', '.join(f'{scale:g}' for scale in TTA_SCALES)} and mirrors, logits averaged" if tta else ""
    payload = {"title": TITLE, "checkpoint": checkpoint.name, "how": how, "scores": scores, "iou": iou}
    grids = (
        figures_grid(scores),
        down(iou.items(), [("class", lambda one: one[0]), ("IoU, %", lambda one: _percent(one[1]))]),
    )
    note = f" {NOTE}" if tta else ""
    page = markdown(f"# {TITLE}: {checkpoint.name}", f"In the images' own frames: {how}.{note}", *grids)
    if distributed.is_main():
        write_report(out, payload, page, stem=stem)
    for grid in grids:
        show(grid, console)
    console.print(f"{how}.{note}", soft_wrap=True, highlight=False)
    return payload


def figures_grid(scores: dict[str, float]) -> Grid:
    """Return the means in both conventions, named, in %."""
    names = {"": "standard: means over the classes that occur", "published_": "published: absent classes count 0"}
    return down(
        names.items(),
        [
            ("convention", lambda entry: entry[1]),
            ("pixel acc", lambda entry: _percent(scores["pixel_accuracy"])),
            ("mean acc", lambda entry: _percent(scores[f"{entry[0]}mean_accuracy"])),
            ("mIoU", lambda entry: _percent(scores[f"{entry[0]}mean_iou"])),
        ],
    )


def _percent(value: float) -> str:
    return with_deviation((value, math.nan), ".2f", 100)
