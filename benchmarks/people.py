"""Parsing several people: boxes that are given, boxes that are found, and the whole picture at once.

    python -m benchmarks.people --out docs/results --stem people
    python -m benchmarks.people --picture docs/results/people-picture.png     # scenes to look at, and nothing else

Drawn scenes of one to six people who cover each other. Two networks of one kind learn from the same noisy masks, at
about the same number of pixels: one from a crop a person, one from whole pictures. Scored on clean scenes by what CIHP
and MHP measure. The corrected crops are put back into the pictures and compared with the clean masks. The seed draws
scenes, noise and networks; from 100 on seeds are for choosing settings.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from torch.optim import AdamW

from benchmarks.lab.cells import Record
from benchmarks.lab.experiment import add_cell_options, add_seed_options, new_parser, printed, run_study, seeds_of
from benchmarks.lab.figures import Panel, dots, label_lines, panels
from benchmarks.lab.methods import QUIET
from benchmarks.lab.report import write_report
from benchmarks.lab.rows import Row, summarise
from benchmarks.lab.tables import Column, Grid, bold, down, markdown, with_deviation
from benchmarks.lab.unet import UNet
from benchmarks.parsing import group_picture
from benchmarks.parsing.networks import INITIALISATION, parsing_loss
from benchmarks.parsing.shown import add_picture_options, picture_written, with_usual
from noisycorrect import SelfCorrector
from noisycorrect.support.checks import whole_number
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg import HumanParsing, ParsingDataset, SegmentationMetrics
from noisycorrect_seg.datasets import PersonCrops, SyntheticScenes, put_back
from noisycorrect_seg.detection import PersonDetector, train_detector
from noisycorrect_seg.inference import PeopleParsing, parse_image, parse_people
from noisycorrect_seg.instances.boxes import box_overlaps
from noisycorrect_seg.instances.scores import PeopleMetrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Several people"
GIVEN, FOUND, WHOLE = "given boxes", "detector", "whole picture"
METHODS = (GIVEN, FOUND, WHOLE)
SCORE = "apr_vol"
METRICS = {
    "apr_vol": "AP^r vol",
    "apr_0.5": "AP^r 0.5",
    "app_0.5": "AP^p 0.5",
    "pcp_0.5": "PCP 0.5",
    "mean_iou": "mIoU",
}
NOISE = "omit:0.45:only=1,8,9,10"  # hats, arms, legs and shoes are left out of almost half of the people
PICTURE, CROP = (128, 192), (96, 64)
LR, WIDTH, LEAST = 2e-3, 16, 16
SETTINGS = {"scenes": "to learn from", "epochs": "of the parsing networks", "detector_epochs": "of the detector"}
STUDIED = {"scenes": 60, "epochs": 20, "detector_epochs": 30}
SHOWN = {"scenes": 500, "epochs": 10, "detector_epochs": 6}  # of a picture
SHOWN_SCENES = 4
BATCHES = {CROP: 8, PICTURE: 2}  # as many pixels a step
_COLOURS = {GIVEN: "#009E73", FOUND: "#D55E00", WHOLE: "#7F7F7F"}


@dataclass(frozen=True)
class Cell:
    """All that is learnt and measured with one seed; all that it depends on, but for the code."""

    dataset: str
    noise: str
    method: str
    seed: int
    recipe: str
    scenes: int
    val: int
    epochs: int
    detector_epochs: int
    depth: float


class Trained(NamedTuple):
    """The networks of a cell, and how good masks are before and after correction."""

    crops: nn.Module
    whole: nn.Module
    detector: PersonDetector
    labels: Mapping[str, float]


# ---------------------------------------------------------------- learning


def scenes_of(cell: Cell) -> tuple[SyntheticScenes, SyntheticScenes]:
    """Return the scenes with noisy masks, and the clean ones that score."""
    make = functools.partial(SyntheticScenes, seed=cell.seed, size=PICTURE, classes="people")
    return make(cell.scenes, noise=cell.noise), make(cell.val, split="val")


def learn(cell: Cell, train: SyntheticScenes) -> Trained:
    """Train the networks of a cell, and put the corrected crops back."""
    crops = PersonCrops(train, progress=False)
    one = _fit(cell, crops, CROP)
    corrected = put_back(crops, one.labels)
    given, refined = (SegmentationMetrics(len(train.classes)) for _ in range(2))
    moved = 0
    for index in range(len(train)):
        clean, mask = train.clean_mask(index), corrected.mask(index)
        assert mask is not None
        given.update(train.mask(index), clean)
        refined.update(mask, clean)
        moved += int((corrected.instances(index) != train.instances(index)).sum())
    labels = {
        "label_mean_iou_given": given.compute()["mean_iou"],
        "label_mean_iou": refined.compute()["mean_iou"],
        "moved": moved / (len(train) * PICTURE[0] * PICTURE[1]),
    }
    detector = train_detector(
        train, epochs=cell.detector_epochs, batch_size=4, size=PICTURE, seed=cell.seed, device="cpu", progress=False
    )
    return Trained(one.model, _fit(cell, train, PICTURE).model, detector, labels)


def _fit(cell: Cell, source: Any, size: tuple[int, int]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(cell.seed, INITIALISATION))
        network = UNet(len(source.classes), WIDTH)
    corrector = SelfCorrector(
        network,
        task=HumanParsing(source.classes, size=size, loss=parsing_loss("ce")),
        recipe=cell.recipe,
        epochs=cell.epochs,
        batch_size=BATCHES[size],
        lr=LR,
        optimizer=AdamW,
        seed=cell.seed,
        callbacks=[QUIET],
    )
    return corrector.fit(ParsingDataset(source, size, augment=True, cache=True))


# ---------------------------------------------------------------- parsing


def parse(
    method: str, trained: Trained, scenes: SyntheticScenes, image: np.ndarray, given: np.ndarray, depth: float
) -> PeopleParsing:
    """Return what a method makes of the picture of a scene; nothing is drawn here, which would count as its time."""
    if method == WHOLE:
        return _components(trained.whole, image, scenes)
    boxes = {"boxes": given} if method == GIVEN else {"detector": trained.detector}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nobody found: counts as such
        return parse_people(trained.crops, image, **boxes, classes=scenes.classes, size=CROP, depth=depth, flip=True)


def _components(model: nn.Module, image: np.ndarray, scenes: SyntheticScenes) -> PeopleParsing:
    """Return a whole picture's parsing whose people are its connected places that are no background."""
    parsing = parse_image(model, image, classes=scenes.classes, size=PICTURE, flip=True, probs=True)
    assert parsing.probs is not None
    places, count = ndimage.label(parsing.labels > 0)
    sizes = np.bincount(places.ravel(), minlength=count + 1)
    keep = np.flatnonzero(sizes[1:] >= LEAST) + 1
    numbers = np.zeros(count + 1, np.int32)
    numbers[keep] = np.arange(1, len(keep) + 1)
    return PeopleParsing(numbers[places], parsing.labels, [], scenes.classes)


def _scores(method: str, parsing: PeopleParsing) -> dict[int, float]:
    if method != WHOLE:
        return parsing.scores
    sizes = np.bincount(parsing.instances.ravel())
    return {number: float(size) for number, size in enumerate(sizes) if number}  # the largest first


def run_cell(cell: Cell) -> dict[str, Any]:
    """Learn with one seed, and score all methods.

    Returns
    -------
    dict
        A dict of figures a method; ``labels``: mean IoU of the given masks and of the corrected ones, in the whole
        pictures, and the share of pixels that went to somebody else; ``boxes``: recall and precision of the detector
        at IoU 0.5; ``seconds``. A method's own ``seconds`` are those of parsing a picture, which neither draws nor
        scores it, the first one aside.
    """
    start = time.perf_counter()
    train, val = scenes_of(cell)
    trained = learn(cell, train)
    result: dict[str, Any] = {"labels": dict(trained.labels), "learning_seconds": time.perf_counter() - start}
    for method in METHODS:
        metrics, seconds = PeopleMetrics(len(val.classes)), []
        for index in range(len(val)):
            image, given = val.image(index), val.boxes(index)
            begin = time.perf_counter()
            found = parse(method, trained, val, image, given, cell.depth)
            seconds.append(time.perf_counter() - begin)
            metrics.update(
                found.instances, found.classes, _scores(method, found), val.instances(index), val.mask(index)
            )
        figures = metrics.compute()
        scalars = {name: v for name, v in figures.items() if not hasattr(v, "shape")}
        result[method] = scalars | {"seconds": mean_after_first(seconds)}
    return result | {"boxes": _box_figures(trained.detector, val), "seconds": time.perf_counter() - start}


def mean_after_first(seconds: Sequence[float]) -> float:
    """Return the mean of all calls but the first, which pays for what later ones have; of a single one itself."""
    counted = seconds[1:] or seconds
    return sum(counted) / len(counted)


def _box_figures(detector: PersonDetector, scenes: SyntheticScenes) -> dict[str, float]:
    """Return recall and precision of boxes; each true box is found once at most."""
    right = found = there = 0
    for index in range(len(scenes)):
        true, own = scenes.boxes(index), detector.detect(scenes.image(index))
        overlaps = box_overlaps(own[:, :4], true)
        met = {int(row.argmax()) for row in overlaps if row.max() > 0.5}
        right, found, there = right + len(met), found + len(own), there + len(true)
    return {"recall": right / there, "precision": right / found if found else 1.0}


# ---------------------------------------------------------------- report


def expanded(records: Sequence[Record]) -> list[Record]:
    """Return a record a method: a cell holds all of its seed."""
    return [
        {"config": {**record["config"], "method": method}, "result": record["result"][method]}
        for record in records
        for method in METHODS
    ]


def rows_of(records: Sequence[Record]) -> list[Row]:
    """Return the rows of the study."""
    return summarise(expanded(records), SCORE, bold=list(METRICS))


def page(records: Sequence[Record]) -> str:
    """Return the page: methods down, then what correction made of the masks."""
    rows, config = rows_of(records), records[0]["config"]
    about = (
        f"{config['val']} clean scenes a seed, {len(rows[0].seeds)} seeds; mean and standard deviation, in %. Learnt"
        f" from {config['scenes']} scenes with `{config['noise']}`, recipe `{config['recipe']}`, {config['epochs']}"
        f" epochs, a small U-Net; eleven classes. Given boxes and detector: `parse_people`, crops of {CROP[0]} x"
        f" {CROP[1]}; the detector learnt from the same scenes. Whole picture: one network for all people, each"
        " connected place a person, the largest first. Mirrors averaged. AP^r: average precision of parts; AP^p: of"
        " people; PCP: share of a person's parts that are right (Gong et al. 2018, Li et al. 2017); vol: mean over IoU"
        " 0.1 to 0.9."
    )
    columns: list[Column[Row]] = [("method", lambda row: row.name)]
    for metric, title in METRICS.items():
        columns.append(
            (title, lambda row, metric=metric: bold(with_deviation(row[metric], ".1f", 100), metric in row.best))  # type: ignore[misc]
        )
    columns.append(("ms a picture", lambda row: f"{1000 * row.mean('seconds'):.0f}"))
    labels = summarise(
        [
            {"config": record["config"], "result": {**record["result"]["labels"], **record["result"]["boxes"]}}
            for record in records
        ]
    )[0]

    def shown(name: str, digits: str = ".1f") -> str:
        return with_deviation(labels[name], digits, 100)

    corrected: Grid = down(
        [
            ("mean IoU of the given masks", shown("label_mean_iou_given")),
            ("mean IoU of the corrected masks, put back", shown("label_mean_iou")),
            ("pixels that changed hands", shown("moved", ".2f")),
            ("people the detector finds (box IoU above 0.5)", shown("recall")),
            ("its boxes that are people", shown("precision")),
        ],
        [("of the scenes learnt from, and of the detector, %", lambda line: line[0]), ("", lambda line: line[1])],
    )
    look = "To look at: [some scenes](people-picture.md)."
    return markdown(f"# {TITLE}", about, down(rows, columns), look, "## Masks and boxes", corrected)


def figure(records: Sequence[Record]) -> Figure:
    """Return dots a seed and a mean a method, a panel a measure."""
    shown: list[Panel] = [
        (title, functools.partial(_draw, metric, expanded(records))) for metric, title in METRICS.items()
    ]
    return panels(shown, 3.0, 1.6, most_across=5, share_labels=True)


def _draw(metric: str, records: Sequence[Record], axes: Axes) -> None:
    for line, method in enumerate(METHODS):
        values = [100 * r["result"][metric] for r in records if r["config"]["method"] == method]
        dots(axes, line, values, _COLOURS[method])
    label_lines(axes, METHODS)
    axes.set_xlabel("%")


# ---------------------------------------------------------------- command line


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser("people", "Parsing pictures of several people.")
    add = parser.add_argument
    add("--recipe", default="robust", help="how networks are trained (default: %(default)s)")
    add("--noise", default=NOISE, help="on the masks that are learnt from (default: %(default)s)")
    add("--val", type=int, default=30, help="scenes that score (default: %(default)s)")
    for name, what in SETTINGS.items():
        usual = f"(default: {STUDIED[name]}, of a picture {SHOWN[name]})"
        add(f"--{name.replace('_', '-')}", type=int, help=f"{what} {usual}")
    add("--depth", type=float, default=0.1, help="see parse_people (default: %(default)s)")
    add_seed_options(parser, 3)
    add_picture_options(parser, "picture", "PNG", "some scenes")
    add_cell_options(parser, "people")
    return with_usual(parser.parse_args(words), STUDIED, SHOWN, "picture")


def make_cells(arguments: argparse.Namespace) -> list[Cell]:
    """Return a cell a seed.

    Raises
    ------
    InvalidInputError
        If a number is out of range, or the noise is unknown.
    """
    scenes = whole_number("--scenes", arguments.scenes, least=2)
    val = whole_number("--val", arguments.val, least=1)
    epochs = whole_number("--epochs", arguments.epochs, least=3)
    detector_epochs = whole_number("--detector-epochs", arguments.detector_epochs, least=1)
    SyntheticScenes(1, noise=arguments.noise, classes="people")
    sizes = scenes, val, epochs, detector_epochs
    return [
        Cell("people", arguments.noise, "all", seed, arguments.recipe, *sizes, arguments.depth)
        for seed in seeds_of(arguments)
    ]


def _write_picture(arguments: argparse.Namespace) -> str:
    cell = make_cells(arguments)[0]
    group = group_picture.Group(cell.seed, cell.scenes, cell.epochs, cell.detector_epochs, WIDTH, SHOWN_SCENES)
    return group_picture.write_picture(group, arguments.picture, arguments.keep)


def write(folder: Path, records: Sequence[Record], stem: str) -> str:
    """Write the report, and return its page."""
    text = page(records)
    payload = {"title": TITLE, "summary": [row.plain() for row in rows_of(records)], "cells": list(records)}
    write_report(folder, payload, text, lambda: {"methods": figure(records)}, stem=stem)
    return text


def main(words: Sequence[str] | None = None) -> int:
    """Learn, score, write the report; return the exit status."""
    arguments = parse_arguments(words)
    if arguments.picture is not None:
        return picture_written(lambda: _write_picture(arguments))
    return run_study(arguments, functools.partial(make_cells, arguments), run_cell, printed(arguments, write))


if __name__ == "__main__":
    sys.exit(main())
