"""Pictures of a parsing study: labels over the cycles (as the paper's Fig. 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from noisycorrect.labels import SoftLabelStore
from noisycorrect.support.files import replace_atomically
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.inference.visualise import LINE_PIXELS, colour_mask, contact_sheet, legend, save_picture

if TYPE_CHECKING:
    from noisycorrect_seg.datasets import ParsingSource

SAMPLES = 8  # rows of the picture
LONGEST_SIDE = 288  # of a kept image: larger ones are thinned out
DIFFERENT = np.array([230, 20, 60], np.uint8)  # a pixel whose label is another than the one it is compared with


@dataclass(frozen=True)
class Evolution:
    """The labels of one training image over the cycles.

    Attributes
    ----------
    index : int
        Its place in the training set.
    image : ndarray, shape (H, W, 3), uint8
        RGB.
    masks : ndarray, shape (M + 1, H, W), uint8
        Given mask, then the refined one after each of the M cycles.
    clean : ndarray, shape (H, W), uint8, or None
        True mask where there is one.
    """

    index: int
    image: np.ndarray
    masks: np.ndarray
    clean: np.ndarray | None


def evolutions(
    source: ParsingSource, store: SoftLabelStore, clean: Sequence[np.ndarray] | None, *, count: int = SAMPLES
) -> list[Evolution]:
    """Return the labels of some training images over the generations that a store still holds.

    The images are those with the largest share of wrong given pixels, or, without clean masks, of changed ones, among
    a sixteenth of the set at least: they are chosen to show something, not to be typical. Images in which nothing is
    wrong, or changed, are shown only if there are no others.

    Parameters
    ----------
    source : ParsingSource
        The training images.
    store : SoftLabelStore
        Their labels, all generations kept.
    clean : sequence of ndarray (H, W), optional
        True masks.
    count : int
        How many.
    """
    candidates = np.unique(np.linspace(0, len(store) - 1, max(16 * count, 1)).round().astype(int))
    shares = []
    for index in candidates:
        (given,) = store.labels(int(index), generation=0)
        other = store.labels(int(index))[0] if clean is None else np.asarray(clean[index])
        person = (given > 0) | (other > 0)
        shares.append(float((given != other)[person].mean()) if person.any() else 0.0)
    order = np.argsort(-np.array(shares), kind="stable")[:count]
    chosen = candidates[[place for place in order if shares[place] > 0] or order]
    found = []
    for index in map(int, chosen):
        masks = np.stack([store.labels(index, generation=number)[0] for number in range(store.generation + 1)])
        step = -(-max(masks.shape[1:]) // LONGEST_SIDE)
        image, truth = source.image(index), None if clean is None else np.asarray(clean[index])
        thin = masks[:, ::step, ::step], None if truth is None else truth[::step, ::step]
        found.append(Evolution(index, image[::step, ::step], *thin))
    return found


def save_evolutions(path: Path, found: Sequence[Evolution]) -> None:
    """Write them into a compressed .npz file, atomically."""
    arrays: dict[str, np.ndarray] = {}
    for place, one in enumerate(found):
        arrays |= {f"{place}_index": np.array(one.index), f"{place}_image": one.image, f"{place}_masks": one.masks}
        arrays |= {} if one.clean is None else {f"{place}_clean": one.clean}
    with replace_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # of its stub: names that are not options


def load_evolutions(path: Path) -> list[Evolution]:
    """Read what :func:`save_evolutions` wrote."""
    with np.load(path) as file:
        count = sum(name.endswith("_index") for name in file.files)
        return [
            Evolution(
                int(file[f"{place}_index"]),
                file[f"{place}_image"],
                file[f"{place}_masks"],
                file[f"{place}_clean"] if f"{place}_clean" in file.files else None,
            )
            for place in range(count)
        ]


def evolution_picture(found: Sequence[Evolution], classes: Classes, *, height: int = 256) -> Image.Image:
    """Return a sheet: image, given mask, refined mask after each cycle, clean mask; a legend at the right.

    Without clean masks the last column is the difference: where the last label is not the given one.
    """
    cycles = len(found[0].masks) - 1
    has_clean = found[0].clean is not None
    titles = ["image", "given", *(f"cycle {cycle}" for cycle in range(1, cycles + 1))]
    titles.append("clean" if has_clean else "changed")
    rows = []
    for one in found:
        last = colour_mask(one.clean, classes) if one.clean is not None else _changed(one)
        cells = [one.image, *(colour_mask(mask, classes) for mask in one.masks), last]
        factor = max(1, round(height / one.image.shape[0]))
        rows.append([cell.repeat(factor, 0).repeat(factor, 1) for cell in cells])
    masks = [mask for one in found for mask in (one.masks, one.clean) if mask is not None]
    shown = sorted({int(number) for mask in masks for number in np.unique(mask)} - {255})
    sheet, key = contact_sheet(rows, titles), legend(classes, only=shown)
    picture = Image.new("RGB", (sheet.width + key.width, max(sheet.height, key.height)), "white")
    picture.paste(sheet, (0, 0))
    picture.paste(key, (sheet.width, LINE_PIXELS))
    return picture


def _changed(one: Evolution) -> np.ndarray:
    """Return the image in grey, with the pixels whose last label is not the given one in red."""
    grey = (one.image.mean(2, keepdims=True) * 0.6 + 90).clip(0, 255).astype(np.uint8).repeat(3, 2)
    return np.where((one.masks[0] != one.masks[-1])[..., None], DIFFERENT, grey)


def write_evolution(path: Path, found: Sequence[Evolution], classes: Classes) -> None:
    """Write the sheet as a PNG."""
    save_picture(path, evolution_picture(found, classes), "PNG")
