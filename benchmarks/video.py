"""Masks of films that are averaged along the motion: how much less they flicker, and whether they are as right.

    python -m benchmarks.video
    python -m benchmarks.video --clip docs/results/video-clip.gif     # a film to look at, and nothing else

A small U-Net learns drawn people from pictures; films of other drawn people, who move, are parsed frame by frame and
averaged. Flicker is the share of pixels whose class changes from frame to frame although the true one, along the true
motion, does not. Identities: the people of each frame come in random order, and the tracker names them.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from benchmarks.lab.cells import Record
from benchmarks.lab.experiment import (
    add_cell_options,
    add_seed_options,
    new_parser,
    printed,
    run_study,
    seeds_of,
)
from benchmarks.lab.figures import dots, label_lines, panels
from benchmarks.lab.report import write_report
from benchmarks.lab.rows import mean_and_std
from benchmarks.lab.tables import Column, down, markdown, with_deviation
from benchmarks.lab.unet import UNet
from benchmarks.parsing import clip
from benchmarks.parsing.clip import no_motion
from benchmarks.parsing.shown import add_picture_options, learnt, picture_written, with_usual
from noisycorrect.support.checks import whole_number
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg.classes import PEOPLE
from noisycorrect_seg.datasets import MovingPeople, ParsingDataset, SyntheticPeople
from noisycorrect_seg.inference.parse import canonical_crops
from noisycorrect_seg.scores import SegmentationMetrics
from noisycorrect_seg.video import Averaging, Farneback, Tracker, flicker, parse_frames
from noisycorrect_seg.video.averaging import Frame, averaged
from noisycorrect_seg.video.identity import renumbered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Parsing films of drawn people"
ALONE, OURS = "frame by frame", "along the flow, 3 + 3 frames"
WINDOWS: dict[str, tuple[int, int]] = {
    ALONE: (0, 0),
    "without motion, 3 + 3 frames": (3, 3),
    OURS: (3, 3),
    "along the flow, the 6 frames before": (6, 0),
    "along the true motion, 3 + 3 frames": (3, 3),
}
SIZES = {1: (128, 96), 2: (128, 160), 3: (128, 160)}  # height and width of a film of so many people
CROWDS = (1, 2)  # films of a seed
TRACKED = (2, 3)  # films in which identities are followed
SETTINGS = {"frames": "of a film", "train": "pictures", "epochs": "of training", "width": "of the U-Net"}
STUDIED = {"frames": 20, "train": 120, "epochs": 12, "width": 8}
SHOWN = {"frames": 24, "train": 1500, "epochs": 10, "width": 16}  # of a clip
Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Cell:
    """A network and films: all rows see the same."""

    seed: int
    frames: int
    train: int
    epochs: int
    width: int


class Remembered:
    """A flow that is found once for each pair of pictures."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.found: dict[int, np.ndarray] = {}

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the flow between two pictures."""
        key = hash((first.tobytes(), second.tobytes()))
        if key not in self.found:
            self.found[key] = self.flow(first, second)
        return self.found[key]


class TrueFlow:
    """The motion that a film was drawn with, looked up by its pictures as the network sees them.

    Letterboxing a picture into its own size moves nothing by more than a third of a pixel: the flow is taken as it is.
    """

    def __init__(self, film: MovingPeople) -> None:
        self.film = film
        crops, _ = canonical_crops([film.image(index) for index in range(len(film))], film.size)
        self.places = {hash(crop.tobytes()): index for index, crop in enumerate(crops)}

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the flow between two of the film's frames."""
        return self.film.flow(*(self.places[hash(each.tobytes())] for each in (first, second)))


def trained(cell: Cell) -> nn.Module:
    """Return a U-Net that has learnt a cell's drawn people."""
    people = SyntheticPeople(cell.train, seed=cell.seed, size=SIZES[1], classes="people")
    data = ParsingDataset(people, size=SIZES[1], augment=True)
    seed = derived_seed(cell.seed, "network of films")
    return learnt(lambda: UNet(len(PEOPLE), cell.width), data, cell.epochs, seed)


def films_of(cell: Cell, crowds: Sequence[int]) -> list[MovingPeople]:
    """Return the films of a cell, one of so many people each."""
    return [
        MovingPeople(
            cell.frames, seed=10 * cell.seed + place, size=SIZES[people], people=people, classes="people", split="val"
        )
        for place, people in enumerate(crowds)
    ]


def run_cell(cell: Cell) -> dict[str, Any]:
    """Train, parse the films in every row's way, and score."""
    network = trained(cell)
    metrics = {name: SegmentationMetrics(len(PEOPLE)) for name in WINDOWS}
    changes = {name: np.zeros(2, np.int64) for name in WINDOWS}
    for film in films_of(cell, CROWDS):
        images, true = ([each(index) for index in range(len(film))] for each in (film.image, film.mask))
        motion = [film.flow(index, index - 1) for index in range(1, len(film))]
        flow, known = Remembered(Farneback()), TrueFlow(film)
        for name, window in WINDOWS.items():
            found = no_motion if "without" in name else known if "true" in name else flow
            parsed = parse_frames(
                network, images, classes=film.classes, size=film.size, window=window, flow=found, batch_size=8
            )
            masks = [frame.parsing.labels for frame in parsed]
            for mask, right in zip(masks, true, strict=True):
                metrics[name].update(mask, right)
            changes[name] += flicker(masks, true, motion)
    scores = {name: each.compute() for name, each in metrics.items()}
    return {
        "methods": {
            name: {
                "mean_iou": scores[name]["mean_iou"],
                "pixel_accuracy": scores[name]["pixel_accuracy"],
                "flicker": float(changes[name][0] / changes[name][1]),
            }
            for name in WINDOWS
        },
        "identities": identities(cell),
    }


def identities(cell: Cell) -> dict[str, Any]:
    """Return how often a person's identity changes in films of several, followed with and without motion."""
    found = {"along the flow": 0, "without motion": 0, "frame by frame": 0}
    steps = 0
    for film in films_of(cell, TRACKED):
        for name, flow in (("along the flow", Farneback()), ("without motion", no_motion)):
            switched, steps_of_film = switches(film, flow)
            found[name] += switched
        found["frame by frame"] += switches(film, None)[0]
        steps += steps_of_film
    return {"steps": steps, "switches": found}


def switches(film: MovingPeople, flow: Flow | None) -> tuple[int, int]:
    """Return how often a person is called otherwise than when last seen, and how often that could have happened.

    Without a flow at all, people keep the number that they come with.
    """
    rng = np.random.default_rng(derived_seed(film.seed, "order of people in a frame"))
    tracker, last = Tracker(), dict[int, int]()
    switched = steps = 0
    frames = (
        Frame(index, image, image, torch.zeros(2, *film.size))
        for index, image in enumerate(map(film.image, range(len(film))))
    )
    how = Averaging(0, 0, flow=no_motion if flow is None else flow)
    for frame, _, back in averaged(frames, how, motion=True):
        people = film.people(frame.index)
        shuffled = np.concatenate([[0], 1 + rng.permutation(people.max())])[people]
        named = shuffled if flow is None else renumbered(shuffled, tracker.update(shuffled, back))
        for person in np.unique(people[people > 0]).tolist():
            identity = int(named[people == person][0])
            steps += person in last
            switched += person in last and last[person] != identity
            last[person] = identity
    return switched, steps


def page(records: Sequence[Record]) -> str:
    """Return the page: one table of masks, one of identities, means and deviations over the seeds."""
    config = records[0]["config"]
    about = (
        f"U-Nets of width {config['width']}, trained on {config['train']} drawn pictures for {config['epochs']} epochs;"
        f" for each of {len(records)} seeds {len(CROWDS)} films of {config['frames']} frames that they have not seen,"
        f" {CROWDS.count(1)} of one person and {CROWDS.count(2)} of two who cross, with a camera that moves. All rows"
        " average the same probabilities. Flicker: pixels whose class changes from one frame to the next although the"
        " true class, along the true motion, does not. Mean and deviation over the seeds; less, more: seeds with less"
        f" flicker, and with more mean IoU, than {ALONE}."
    )
    followed = (
        f"{len(TRACKED)} films a seed of two and three people who walk past each other, their true masks in random"
        " order in each frame. Switches: times that a person is called otherwise than when last seen."
    )
    steps = sum(record["result"]["identities"]["steps"] for record in records)
    names = list(records[0]["result"]["identities"]["switches"])
    columns: list[Column[str]] = [("identities", str), ("switches", lambda name: str(_switches(records, name)))]
    look = "To look at: [a clip](video-clip.md)."
    times = f"Of {steps:,} times."
    return markdown(f"# {TITLE}", about, _table(records), look, "## Who is who", followed, down(names, columns), times)


def _table(records: Sequence[Record]) -> Any:
    def spread(name: str, key: str, digits: int) -> str:
        return with_deviation(mean_and_std(_values(records, name, key)), f".{digits}f", 100)

    def won(name: str, key: str, sign: int) -> str:
        pairs = zip(_values(records, name, key), _values(records, ALONE, key), strict=True)
        return "" if name == ALONE else f"{sum(sign * (one - other) > 0 for one, other in pairs)}/{len(records)}"

    columns: list[Column[str]] = [
        ("masks", str),
        ("flicker, %", lambda name: spread(name, "flicker", 2)),
        ("less", lambda name: won(name, "flicker", -1)),
        ("mean IoU, %", lambda name: spread(name, "mean_iou", 2)),
        ("more", lambda name: won(name, "mean_iou", 1)),
        ("pixel accuracy, %", lambda name: spread(name, "pixel_accuracy", 2)),
    ]
    return down(records[0]["result"]["methods"], columns)


def _values(records: Sequence[Record], name: str, key: str) -> list[float]:
    return [record["result"]["methods"][name][key] for record in records]


def _switches(records: Sequence[Record], name: str) -> int:
    return sum(record["result"]["identities"]["switches"][name] for record in records)


def figure(records: Sequence[Record]) -> Figure:
    """Return flicker and mean IoU, a line a row, a dot a seed."""
    names = list(records[0]["result"]["methods"])

    def draw(key: str, axes: Axes) -> None:
        for place, name in enumerate(names):
            values = [100 * value for value in _values(records, name, key)]
            dots(axes, place, values, "C3" if name == ALONE else "C0")
        label_lines(axes, names)

    drawn = [("flicker, %", functools.partial(draw, "flicker")), ("mean IoU, %", functools.partial(draw, "mean_iou"))]
    return panels(drawn, 4.4, 2.4, share_labels=True)


def write(folder: Path, records: Sequence[Record], stem: str) -> str:
    """Write the report; return its page."""
    text = page(records)
    payload: Mapping[str, Any] = {"title": TITLE, "cells": list(records)}
    write_report(folder, payload, text, lambda: {"flicker": figure(records)}, stem=stem)
    return text


def _write_clip(arguments: argparse.Namespace) -> str:
    cell = make_cells(arguments)[0]
    film = clip.Film(cell.seed, cell.frames, cell.train, cell.epochs, cell.width)
    return clip.write_clip(film, arguments.clip, arguments.keep)


def make_cells(arguments: argparse.Namespace) -> list[Cell]:
    """Return the cells that the options say."""
    frames = whole_number("--frames", arguments.frames, least=2)
    sizes = (whole_number(f"--{name}", getattr(arguments, name), least=1) for name in ("train", "epochs", "width"))
    train, epochs, width = sizes
    return [Cell(seed, frames, train, epochs, width) for seed in seeds_of(arguments)]


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = new_parser("video", TITLE)
    add_seed_options(parser, default=3)
    for name, what in SETTINGS.items():
        usual = f"(default: {STUDIED[name]}, of a clip {SHOWN[name]})"
        parser.add_argument(f"--{name}", type=int, help=f"{what} {usual}")
    add_picture_options(parser, "clip", "GIF", "a film")
    add_cell_options(parser, "video")
    return with_usual(parser.parse_args(words), STUDIED, SHOWN, "clip")


def main(words: Sequence[str] | None = None) -> int:
    """Train, parse, score, write the report; return the exit status."""
    arguments = parse_arguments(words)
    if arguments.clip is not None:
        return picture_written(lambda: _write_clip(arguments))
    return run_study(arguments, functools.partial(make_cells, arguments), run_cell, printed(arguments, write))


if __name__ == "__main__":
    sys.exit(main())
