"""One picture of several people who stand in each other's way, with classes and whose each pixel is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.body import Body, sample_body
from noisycorrect_seg.people.canvas import Canvas, Ellipse, Point
from noisycorrect_seg.people.chance import between, near
from noisycorrect_seg.people.figure import Figure
from noisycorrect_seg.people.scene import backdrop, photographed
from noisycorrect_seg.people.wardrobe import sample_outfit

# Body heights between neighbours: shoulders are 0.22 apart, so the nearest ones cover half of each other.
_APART = (0.15, 0.4)
_SIDE = 0.14  # body heights from the outermost people's middle to the picture's edge


class Scene(NamedTuple):
    """A picture of people.

    Attributes
    ----------
    picture : ndarray, shape (H, W, 3), uint8
        RGB.
    labels : ndarray, shape (H, W), uint8
        LIP's classes.
    instances : ndarray, shape (H, W), int32
        Whose a pixel is: 0 nobody's, else 1 to the number of people who are seen, the farthest first.
    """

    picture: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    instances: NDArray[np.int32]


def render_group(rng: np.random.Generator, height: int, width: int, count: int) -> Scene:
    """Return a picture of several people, painted from the farthest to the nearest.

    Equal generators give the same scene at every size of one aspect ratio, but for the grain. A person of whom no pixel
    is seen does not count.
    """
    things, places, *people = (np.random.default_rng(seed) for seed in rng.integers(0, 2**63, 2 + count))
    canvas = Canvas(backdrop(things, height, width), near(places, 0, 0.1, -0.2, 0.2))
    labels, instances = canvas.labels, np.zeros((height, width), np.int32)
    spots = _spots(places, count, width / height)
    for number, (own, (scale, middle, crown)) in enumerate(zip(people, spots, strict=True), 1):
        body, outfit = sample_body(own), sample_outfit(own)
        offset = np.array([middle, crown]) * height
        canvas.labels = np.zeros_like(labels)  # so that this person's pixels are known
        canvas.tint(Ellipse(_feet(body, scale * height, offset), 0.2 * scale * height, 0.035 * scale * height), 0.75)
        Figure(body, outfit, canvas, scale * height, offset).draw()
        own_pixels = canvas.labels > 0
        labels[own_pixels], instances[own_pixels] = canvas.labels[own_pixels], number
    seen, numbered = np.unique(instances, return_inverse=True)
    numbers = np.arange(len(seen)) + (seen[0] > 0)
    return Scene(
        photographed(things, canvas.colour), labels, numbers[numbered].reshape(instances.shape).astype(np.int32)
    )


def _feet(body: Body, scale: float, offset: Point) -> Point:
    return offset + scale * (0.5 * (body["ankle left"] + body["ankle right"]) + (0.0, 0.03))


def _spots(rng: np.random.Generator, count: int, aspect: float) -> list[tuple[float, float, float]]:
    """Return scale, middle and crown of each person in picture heights, the farthest first: small, and high up."""
    depths = np.sort(rng.random(count)) if count > 1 else np.array([between(rng, 0.6, 1.0)])
    scales = [near(rng, 0.52 + 0.36 * depth, 0.03, 0.42, 0.95) for depth in depths]
    feet = [0.8 + 0.2 * depth for depth in depths]
    across = rng.permutation(count)
    apart = np.array([between(rng, *_APART) for _ in range(count - 1)]) * float(np.mean(scales))
    room = aspect - 2 * _SIDE * max(scales)
    apart *= min(1.0, max(room, 0.0) / max(float(apart.sum()), 1e-9))
    left = aspect / 2 - apart.sum() / 2 + between(rng, -0.5, 0.5) * max(room - float(apart.sum()), 0.0)
    middles = left + np.concatenate([[0.0], np.cumsum(apart)])
    return [
        (scale, float(middles[place]), max(foot - scale * 0.98, 0.03 * scale))
        for scale, foot, place in zip(scales, feet, across, strict=True)
    ]
