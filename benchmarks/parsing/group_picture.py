"""A picture to look at: drawn scenes of several people, who was found in them, and what they wear."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.lab.report import write_report
from benchmarks.lab.tables import markdown
from benchmarks.lab.unet import UNet
from benchmarks.parsing.shown import kept, learnt
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg.classes import PEOPLE, Classes
from noisycorrect_seg.datasets import ParsingDataset, PersonCrops, SyntheticScenes
from noisycorrect_seg.detection import PersonDetector, train_detector
from noisycorrect_seg.inference import PeopleParsing, parse_people
from noisycorrect_seg.inference.visualise import contact_sheet, legend, overlay, save_picture
from noisycorrect_seg.instances.scores import PeopleMetrics

TITLE = "Several people, parsed"
PICTURE, CROP = (192, 288), (128, 96)
SHOWN_PEOPLE = (3, 5)  # in the scenes shown
SCORED = 30  # scenes of the figures
ALPHA = 0.65


@dataclass(frozen=True)
class Group:
    """What the networks of a picture learn from, and what is shown."""

    seed: int
    scenes: int
    epochs: int
    detector_epochs: int
    width: int
    shown: int


def write_picture(group: Group, path: Path, keep: Path | None) -> str:
    """Write a PNG, and beside it a page that says how good the masks are; return the page.

    Parameters
    ----------
    group : Group
        The settings.
    path : Path
        The PNG; the page and its JSON file have its name.
    keep : Path, optional
        Folder where the networks are kept, or are found.
    """
    network, detector = _networks(group, keep)
    scenes = SyntheticScenes(
        max(SCORED, group.shown), people=SHOWN_PEOPLE, seed=group.seed, size=PICTURE, classes="people", split="val"
    )
    parsed, metrics = [], PeopleMetrics(len(scenes.classes))
    for index in range(len(scenes)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nobody found: counts as such
            found = parse_people(
                network, scenes.image(index), detector=detector, classes=scenes.classes, size=CROP, flip=True
            )
        metrics.update(found.instances, found.classes, found.scores, scenes.instances(index), scenes.mask(index))
        parsed.append(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(path, _sheet(scenes, parsed[: group.shown]), "PNG", optimize=True)
    figures = {name: value for name, value in metrics.compute().items() if not hasattr(value, "shape")}
    content = {"title": TITLE, "picture": path.name, "settings": asdict(group), "figures": figures}
    text = page(content)
    write_report(path.parent, content, text, stem=path.stem)
    return text


def _networks(group: Group, keep: Path | None) -> tuple[UNet, PersonDetector]:
    scenes = SyntheticScenes(group.scenes, seed=group.seed, size=PICTURE, classes="people")
    settings = {name: value for name, value in asdict(group).items() if name != "shown"}

    def make() -> UNet:
        return UNet(len(PEOPLE), group.width)

    def learn() -> Any:
        data = ParsingDataset(PersonCrops(scenes, progress=False), CROP, augment=True)
        return learnt(make, data, group.epochs, derived_seed(group.seed, "network of a picture"))

    def learn_boxes() -> PersonDetector:
        return train_detector(
            scenes, epochs=group.detector_epochs, size=PICTURE, seed=group.seed, device="cpu", progress=False
        )

    network, detector = (None if keep is None else keep / name for name in ("crops.pt", "detector.pt"))
    return (
        kept(network, settings, make, learn),
        kept(detector, settings, lambda: PersonDetector(PICTURE), learn_boxes),
    )


def _sheet(scenes: SyntheticScenes, parsed: list[PeopleParsing]) -> Image.Image:
    """Return a row a scene: the picture, the people found, their classes, and the true ones; a legend at the right."""
    rows, shown = [], set[int]()
    for index, found in enumerate(parsed):
        image, right = scenes.image(index), scenes.mask(index)
        true = PeopleParsing(scenes.instances(index), right, [], scenes.classes)
        rows.append([image, _who(image, found), found.overlay(image, ALPHA), true.overlay(image, ALPHA)])
        shown |= set(np.unique(right).tolist()) | set(np.unique(found.classes).tolist())
    sheet = contact_sheet(rows, titles=["picture", "people found", "classes found", "true people and classes"])
    key = legend(scenes.classes, only=sorted(shown - {0}))
    whole = Image.new("RGB", (sheet.width + key.width, max(sheet.height, key.height)), "white")
    whole.paste(sheet, (0, 0))
    whole.paste(key, (sheet.width, 20))
    return whole


def _who(image: np.ndarray, found: PeopleParsing) -> Image.Image:
    """Return a picture with a colour a person, and the boxes that the detector found."""
    numbered = Classes("people", ("background", *(f"person {person.number}" for person in found.people), "nobody"))
    picture = Image.fromarray(overlay(image, found.instances, numbered, ALPHA))
    draw = ImageDraw.Draw(picture)
    for person in found.people:
        draw.rectangle(person.box.tolist(), outline="white")
    return picture


def page(found: Mapping[str, Any]) -> str:
    """Return the page of a picture."""
    settings, figures = found["settings"], found["figures"]
    few, most = SHOWN_PEOPLE
    about = (
        f"The first {settings['shown']} scenes of {few} to {most} people, seed {settings['seed']}, which the networks"
        " have not seen: found by the detector, then parsed each in a crop of their own. To be looked at: these"
        " networks learnt longer than those of [the study](people.md), from right masks; figures that count stand"
        f" there. A U-Net of width {settings['width']}, crops of {CROP[0]} x {CROP[1]} pixels, the people of"
        f" {settings['scenes']:,} drawn scenes {settings['epochs']} times each, the detector"
        f" {settings['detector_epochs']} times."
    )
    names = {"apr_vol": "AP^r vol", "app_0.5": "AP^p 0.5", "pcp_0.5": "PCP 0.5", "mean_iou": "mean IoU"}
    measured = ", ".join(f"{title} {100 * figures[name]:.1f} %" for name, title in names.items())
    scored = f"Of {SCORED} such scenes: {measured}."
    shown = f"![pictures, people found, classes found, true people and classes]({found['picture']})"
    return markdown(f"# {found['title']}", about, shown, scored)
