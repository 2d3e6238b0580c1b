"""A clip to look at: a film of drawn people, its true masks, those found frame by frame, and averaged ones."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lab.report import write_report
from benchmarks.lab.tables import Column, down, markdown
from benchmarks.lab.unet import UNet
from benchmarks.parsing.shown import kept, learnt
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg.classes import PEOPLE
from noisycorrect_seg.datasets import MovingPeople, ParsingDataset, SyntheticScenes
from noisycorrect_seg.inference.visualise import contact_sheet, overlay
from noisycorrect_seg.scores import SegmentationMetrics
from noisycorrect_seg.video import Clip, ParsedVideo, flicker, parse_video
from noisycorrect_seg.video.flow import Flow

TITLE = "A film of drawn people, parsed"
FRAME, SHOWN = (128, 160), (192, 240)  # of the network's pictures, and of the film
WINDOW, PEOPLE_SHOWN, RATE = 3, 2, 8
ALONE, OURS, STILL = "frame by frame", f"averaged, {WINDOW} + {WINDOW} frames", "averaged without motion"


def no_motion(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return a flow of zeros."""
    return np.zeros((*first.shape[:2], 2), np.float32)


@dataclass(frozen=True)
class Film:
    """What the network of a clip learns from, and which film is shown."""

    seed: int
    frames: int
    train: int
    epochs: int
    width: int


def write_clip(film: Film, path: Path, keep: Path | None) -> str:
    """Write a GIF, and beside it a page that says how good the masks are; return the page.

    Parameters
    ----------
    film : Film
        The settings.
    path : Path
        The GIF; the page and its JSON file have its name.
    keep : Path, optional
        Folder where the network is kept, or is found.
    """
    settings = {name: value for name, value in asdict(film).items() if name != "frames"}

    def make() -> UNet:
        return UNet(len(PEOPLE), film.width)

    def learn() -> Any:
        scenes = SyntheticScenes(film.train, people=(1, 3), seed=film.seed, size=FRAME, classes="people")
        seed = derived_seed(film.seed, "network of a clip")
        return learnt(make, ParsingDataset(scenes, size=FRAME, augment=True), film.epochs, seed)

    network = kept(None if keep is None else keep / "clip.pt", settings, make, learn)
    rows: dict[str, tuple[int, str | Flow]] = {
        ALONE: (0, "farneback"),
        OURS: (WINDOW, "farneback"),
        STILL: (WINDOW, no_motion),
    }
    people = MovingPeople(film.frames, seed=film.seed, size=SHOWN, people=PEOPLE_SHOWN, classes="people", split="val")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        parsed = {
            name: parse_video(
                network,
                map(people.image, range(len(people))),
                Path(folder) / name,
                classes=people.classes,
                size=FRAME,
                window=window,
                flow=flow,
                progress=False,
            )
            for name, (window, flow) in rows.items()
        }
        with Clip(path, rate=RATE) as clip:
            for index in range(len(people)):
                clip.add(_shown(people, parsed, index))
        found = {
            "title": TITLE,
            "picture": path.name,
            "settings": asdict(film),
            "rows": {name: _scores(people, each) for name, each in parsed.items()},
        }
    text = page(found)
    write_report(path.parent, found, text, stem=path.stem)
    return text


def _shown(film: MovingPeople, parsed: Mapping[str, ParsedVideo], index: int) -> np.ndarray:
    """Return a picture of the clip: the frame with the true masks, and with those found in each way."""
    image = film.image(index)
    masks = {"true masks": film.mask(index), **{name: parsed[name].mask(index) for name in (ALONE, OURS)}}
    over = [overlay(image, mask, film.classes, 0.7) for mask in masks.values()]
    sheet = contact_sheet([over], titles=list(masks))
    return np.asarray(sheet.convert("RGB"))


def _scores(film: MovingPeople, parsed: ParsedVideo) -> dict[str, float]:
    masks = [parsed.mask(index) for index in range(len(film))]
    true = [film.mask(index) for index in range(len(film))]
    metrics = SegmentationMetrics(len(film.classes))
    for mask, right in zip(masks, true, strict=True):
        metrics.update(mask, right)
    changed, there = flicker(masks, true, [film.flow(index, index - 1) for index in range(1, len(film))])
    scores = metrics.compute()
    return {
        "flicker": changed / there,
        "mean_iou": scores["mean_iou"],
        "pixel_accuracy": scores["pixel_accuracy"],
    }


def page(found: Mapping[str, Any]) -> str:
    """Return the page of a clip."""
    settings, rows = found["settings"], found["rows"]
    about = (
        f"One film of {settings['frames']} frames and {PEOPLE_SHOWN} people who cross, seed {settings['seed']}, which"
        f" the network has not seen. To be looked at: this network, a U-Net of width {settings['width']}, learnt longer"
        f" than those of [the study](video.md), from the right masks of {settings['train']:,} drawn scenes of one to"
        f" three people, {settings['epochs']} times each, at {FRAME[0]} x {FRAME[1]} pixels; figures that count stand"
        " there. Flicker: pixels whose class changes from one frame to the next although the true one, along the true"
        " motion, does not."
    )
    columns: list[Column[str]] = [
        ("masks", str),
        ("flicker, %", lambda name: f"{100 * rows[name]['flicker']:.2f}"),
        ("mean IoU, %", lambda name: f"{100 * rows[name]['mean_iou']:.1f}"),
        ("pixel accuracy, %", lambda name: f"{100 * rows[name]['pixel_accuracy']:.1f}"),
    ]
    shown = f"![true masks, {ALONE}, {OURS}]({found['picture']})"
    return markdown(f"# {found['title']}", about, shown, down(rows, columns))
