"""One picture of a person with its mask, from a random generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people import head, limbs, scenery, trunk
from noisycorrect_seg.people.body import SIDES, Physique, Pose, Skeleton, build, sample_physique, sample_pose
from noisycorrect_seg.people.camera import expose, illuminate, sample_light
from noisycorrect_seg.people.canvas import Canvas
from noisycorrect_seg.people.chance import between, happens, near, weighted
from noisycorrect_seg.people.figure import Figure
from noisycorrect_seg.people.wardrobe import Outfit, sample_outfit


@dataclass(frozen=True, eq=False)
class Person:
    """A body, its pose and its clothes, independent of any picture."""

    physique: Physique
    pose: Pose
    skeleton: Skeleton
    outfit: Outfit

    def on(self, canvas: Canvas, scale: float, offset: NDArray[np.float64], *, labelled: bool = True) -> Figure:
        """Return the person at a place on a canvas."""
        return Figure(self.physique, self.skeleton, self.outfit, canvas, scale, offset, labelled)


def sample_person(rng: np.random.Generator) -> Person:
    """Draw a person: body, pose, clothes."""
    physique, pose = sample_physique(rng), sample_pose(rng)
    return Person(physique, pose, build(physique, pose), sample_outfit(rng, physique))


def draw(figure: Figure) -> None:
    """Paint a person: far limbs, trunk, clothes, head, near limbs, each by its distance to the camera."""
    middle = figure.depth("neck", "crotch")
    depths = {side: figure.depth("elbow" + side, "wrist" + side) for side in SIDES}
    arms = sorted(SIDES, key=depths.__getitem__)
    behind = [side for side in arms if depths[side] < middle - 0.045]
    legs = sorted(SIDES, key=lambda side: figure.depth("knee" + side, "ankle" + side))
    seated = [side for side in legs if figure.depth("knee" + side) > figure.depth("hip" + side) + 0.12]
    trunk.backpack(figure, behind=True)
    head.hair_behind(figure)
    for side in behind:
        limbs.arm(figure, side)
    trunk.pelvis(figure)
    # A skirt lies over the knees of someone who sits; trousers come towards the camera, over the hem of the top.
    later = seated if figure.outfit.bottom.flare is None else []
    for side in legs:
        if side not in later:
            limbs.leg(figure, side)
    trunk.neck(figure)
    trunk.clothes(figure)
    for side in later:
        limbs.leg(figure, side)
    trunk.backpack(figure, behind=False)
    for part in (head.face, trunk.scarf, head.hair, head.sunglasses, head.hat):
        part(figure)
    for side in arms:
        if side not in behind:
            limbs.arm(figure, side)
    trunk.bag(figure)


def _place(rng: np.random.Generator, person: Person, height: int, width: int) -> tuple[float, NDArray[np.float64]]:
    """Return scale and offset: a crop around the person, as LIP's are; a part of them shows the upper body only."""
    joints = person.skeleton.joints
    places = np.array([joint[:2] for joint in joints.values()])
    low, high = places.min(axis=0), places.max(axis=0)
    low -= (0.05, 0.015)  # a margin for flesh
    high += (0.05, 0.025)
    framing = weighted(rng, {"whole": 0.42, "cut": 0.13, "knees": 0.21, "hips": 0.24})
    if framing == "knees":
        high[1] = 0.5 * (joints["knee+"][1] + joints["knee-"][1]) + between(rng, -0.12, 0.1)
    elif framing == "hips":
        high[1] = joints["crotch"][1] + between(rng, -0.12, 0.08)
    span = np.maximum(high - low, (0.3, 0.35))
    fill = between(rng, 1.0, 1.12) if framing == "cut" else between(rng, 0.86, 1.0)
    # Arms may reach out of the picture where it shows a part of the body only.
    wide = max(fill, 0.96) * (1.0 if framing == "whole" else 1.2)
    scale = float(min(fill * height / span[1], wide * width / span[0]))
    shift = np.array([near(rng, 0, 0.05, -0.13, 0.13) * width, near(rng, 0, 0.012, -0.03, 0.03) * height])
    if framing in ("knees", "hips"):
        shift[1] += 0.5 * (height - scale * span[1])  # what is cut is cut by the lower border
    return scale, np.array([width, height]) / 2 - 0.5 * (low + high) * scale + shift


def streams(rng: np.random.Generator) -> tuple[np.random.Generator, np.random.Generator, np.random.Generator]:
    """Return generators for the people, for what is behind them and for the light.

    Scenery and light draw noise of the canvas's size; with streams of their own, people do not depend on it.
    """
    people, things, air = (np.random.default_rng(seed) for seed in rng.integers(0, 2**63, 3))
    return people, things, air


def _paint(rng: np.random.Generator, height: int, width: int) -> Canvas:
    """Return the painted scene at a canvas size; equal generators give the same scene at every size."""
    people, things, air = streams(rng)
    canvas = Canvas(scenery.backdrop(things, height, width), *sample_light(air))
    person = sample_person(people)
    scale, offset = _place(people, person, height, width)
    if happens(people, 0.2):  # a second person behind the first, who is background in LIP's single-person crops
        sign = 1.0 if happens(people, 0.5) else -1.0
        size = scale * between(people, 0.6, 1.05)
        aside = np.array([sign * between(people, 0.2, 0.42), between(people, -0.12, 0.03)]) * scale
        draw(sample_person(people).on(canvas, size, offset + aside, labelled=False))
    draw(person.on(canvas, scale, offset))
    if happens(people, 0.16):
        scenery.occlude(people, canvas)
    illuminate(air, canvas.colour)
    return canvas


def render(rng: np.random.Generator, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture, uint8 RGB (H, W, 3), and its mask in LIP's classes, uint8 (H, W).

    Both are painted from the same polygons at 2 or 4 times the size: the picture is averaged, so it is anti-aliased,
    the mask takes each pixel's most frequent class, so it is crisp.
    """
    halvings = 1 if min(height, width) >= 80 else 2
    canvas = _paint(rng, height * 2**halvings, width * 2**halvings)
    labels, colour = canvas.labels, canvas.colour
    for _ in range(halvings):
        labels, colour = _most_frequent(labels), _mean(colour)
    return expose(rng, colour), labels


def _mean(colour: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = colour[0::2] + colour[1::2]
    return np.asarray((rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25))


def _most_frequent(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the most frequent of each 2 x 2 block.

    Of two pairs the block's diagonal decides; four different classes leave the upper left one.
    """
    a, b, c, d = labels[0::2, 0::2], labels[0::2, 1::2], labels[1::2, 0::2], labels[1::2, 1::2]
    # A pair among b, c, d that a is no part of is at least as frequent as anything else.
    rest = np.where((b == c) | (b == d), b, c)
    paired = (b == c) | (b == d) | (c == d)
    with_a = (a == b) | (a == c) | (a == d)
    return np.where(paired & ~with_a, rest, np.where((b == c) & (c == d), b, a)).astype(np.uint8)
