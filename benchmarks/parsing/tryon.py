"""Try-on on drawn people: contact sheets, and how well hands are found without a pose network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg.class_maps import class_map
from noisycorrect_seg.classes import KNOWN, LIP
from noisycorrect_seg.datasets import SyntheticPeople
from noisycorrect_seg.inference.visualise import colour_mask, contact_sheet
from noisycorrect_seg.people.body import sample_body
from noisycorrect_seg.people.canvas import Canvas
from noisycorrect_seg.people.figure import CLASS, Figure
from noisycorrect_seg.people.scene import place
from noisycorrect_seg.people.wardrobe import sample_outfit
from noisycorrect_seg.tryon import GARMENTS, agnostic_mask, cut_out

Picture = NDArray[np.uint8]
MARK = (230, 30, 120)  # what is kept by geometry, on the sheets


def agnostic_sheet(people: SyntheticPeople, places: Sequence[int]) -> Image.Image:
    """Return a sheet: a column a person, a row a garment that will be tried on; hands and feet found are pink."""
    rows: dict[str, list[Picture]] = {"photo": [people.image(index) for index in places]}
    rows["mask"] = [colour_mask(people.mask(index), people.classes) for index in places]
    for garment in GARMENTS:
        for shape in ("outline", "hull") if garment == "upper" else ("outline",):
            title = f"for {garment!r}" + (', shape="hull"' if shape == "hull" else "")
            rows[title] = [_painted(people, index, garment, shape) for index in places]
    return contact_sheet(list(rows.values()), row_titles=list(rows))


def _painted(people: SyntheticPeople, index: int, garment: str, shape: str) -> Picture:
    agnostic = agnostic_mask(people.mask(index), garment, classes=people.classes, shape=shape)
    picture = agnostic.image(people.image(index))
    ends = agnostic.hands | agnostic.feet
    picture[ends & ~ndimage.binary_erosion(ends)] = MARK
    return picture


def cut_out_sheet(people: SyntheticPeople, places: Sequence[int]) -> Image.Image:
    """Return a sheet: a column a person, a row a garment, on a chessboard; one row from probabilities."""
    rows: dict[str, list[Picture | None]] = {"photo": [people.image(index) for index in places]}
    for garment in GARMENTS:
        rows[f"{garment!r}, outline of the mask"] = [_cut(people, index, garment, soft=False) for index in places]
    rows["'upper', edge from probabilities"] = [_cut(people, index, "upper", soft=True) for index in places]
    return contact_sheet(list(rows.values()), row_titles=list(rows))


def _cut(people: SyntheticPeople, index: int, garment: str, *, soft: bool) -> Picture | None:
    """Return a cut-out at its place on a chessboard, or None if the person wears no such garment."""
    mask = people.mask(index)
    # What a network would say: one-hot masks that are blurred a little.
    hot = np.eye(len(people.classes), dtype=np.float32)[mask].transpose(2, 0, 1)
    probs = ndimage.gaussian_filter(hot, (0, 1, 1)) if soft else None
    try:
        found = cut_out(people.image(index), mask, garment, classes=people.classes, probs=probs)
    except InvalidInputError:
        return None
    fields = (np.indices(mask.shape) // 8).sum(0) % 2
    board: Picture = np.where(fields[..., None], 235, 205).repeat(3, 2).astype(np.uint8)
    left, top, right, bottom = found.box
    window = board[top:bottom, left:right]
    alpha = found.rgba[..., 3:] / 255
    window[:] = np.rint(alpha * found.rgba[..., :3] + (1 - alpha) * window)
    return board


def maps_sheet(people: SyntheticPeople, places: Sequence[int]) -> Image.Image:
    """Return a sheet: a column a person, a row a class list; pixels of which the class is not known are white."""
    rows = {"photo": [people.image(index) for index in places]}
    for name, classes in KNOWN.items():
        mapping = class_map(people.classes, classes)
        rows[f"in {name!r}"] = []
        for index in places:
            mask = mapping.apply(people.mask(index))
            picture = colour_mask(mask, classes)
            picture[mask == 255] = 255
            rows[f"in {name!r}"].append(picture)
    return contact_sheet(list(rows.values()), row_titles=list(rows))


class Drawn(NamedTuple):
    """A drawn person without gloves: the mask in LIP's classes, and which of its pixels are hands."""

    mask: Picture
    hands: NDArray[np.bool_]


def with_hands(seed: int, index: int, size: tuple[int, int]) -> Drawn:
    """Return a drawn person and the true hands: those pixels of arms that would be gloves if gloves were worn."""
    masks = []
    for gloved in (False, True):
        rng = np.random.default_rng(derived_seed(seed, "hands", index))
        body, outfit = sample_body(rng), sample_outfit(rng)
        scale, offset = place(rng, body, *size)
        canvas = Canvas(np.zeros((*size, 3)), 0.0)
        outfit = dataclasses.replace(outfit, gloves=outfit.skin if gloved else None)
        Figure(body, outfit, canvas, scale, offset).draw()
        masks.append(canvas.labels)
    return Drawn(masks[0], masks[1] == CLASS["Glove"])


class HandScores(NamedTuple):
    """How well hands are found: shares."""

    hands: int
    found: float
    """Of the hands of which at least half is kept."""
    pixels: float
    """Of the hands' pixels that are kept."""
    rest: float
    """Of the arms' other pixels that are kept although they should go."""

    def __str__(self) -> str:
        return (
            f"{self.hands} hands: at least half is kept of {100 * self.found:.1f} %, and {100 * self.pixels:.1f} % of "
            f"their pixels; {100 * self.rest:.1f} % of the arms' other pixels stay"
        )


def hand_scores(count: int, *, seed: int = 0, size: tuple[int, int] = (256, 192)) -> HandScores:
    """Measure the hands that :func:`agnostic_mask` keeps on drawn people, bare and clothed arms as they come."""
    shares, kept, rest = [], np.zeros(2), np.zeros(2)
    for index in range(count):
        drawn = with_hands(seed, index, size)
        found = agnostic_mask(drawn.mask, "upper", classes=LIP).hands
        for name in ("Left-arm", "Right-arm"):
            arm = drawn.mask == CLASS[name]
            hand, other = arm & drawn.hands, arm & ~drawn.hands
            kept += (hand & found).sum(), hand.sum()
            rest += (other & found).sum(), other.sum()
            if hand.sum() >= 5:
                shares.append((hand & found).sum() / hand.sum())
    return HandScores(len(shares), float(np.mean(np.array(shares) >= 0.5)), kept[0] / kept[1], rest[0] / rest[1])
