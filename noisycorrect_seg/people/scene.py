"""One picture of a person with its mask, from a random generator."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.body import Body, sample_body
from noisycorrect_seg.people.canvas import Canvas, Ellipse, Field, Paint, Point, Polygon
from noisycorrect_seg.people.chance import between, happens, near, weighted
from noisycorrect_seg.people.figure import Figure
from noisycorrect_seg.people.wardrobe import sample_outfit

_FRAMES = {"whole": 0.65, "knees": 0.35}
_GRAIN = 4.0  # standard deviation of the camera's noise, in grey levels


def _muted(rng: np.random.Generator, low: float = 0.5, high: float = 0.9) -> Field:
    """Draw a pale colour: what is behind people is not as bright as their clothes."""
    rgb = colorsys.hsv_to_rgb(rng.random(), between(rng, 0.03, 0.28), between(rng, low, high))
    return 255 * np.array(rgb)


def backdrop(rng: np.random.Generator, height: int, width: int) -> Field:
    """Return a room or a street, float64 (H, W, 3): a wall that fades, a floor, and things in muted colours."""
    wall, far, floor = _muted(rng), _muted(rng), _muted(rng, 0.35, 0.75)
    down = (np.arange(height) + 0.5)[:, None, None] / height
    colour = np.broadcast_to(wall * (1 - down) + far * down, (height, width, 3)).copy()
    canvas = Canvas(colour, 0.0)
    size = np.array([width, height])
    horizon = between(rng, 0.7, 0.9)
    for _ in range(int(rng.integers(0, 4))):  # windows, pictures, cupboards, bushes
        x, y, w, h = between(rng, 0, 1), between(rng, 0.1, 0.7), between(rng, 0.06, 0.2), between(rng, 0.06, 0.3)
        paint = Paint(_muted(rng, 0.3, 0.95))
        if happens(rng, 0.7):
            corners = np.array([[x - w, y - h], [x + w, y - h], [x + w, y + h], [x - w, y + h]]) * size
            canvas.paint(Polygon(corners), 0, paint)
        else:
            canvas.paint(Ellipse(np.array([x * width, horizon * height]), w * height, h * height), 0, paint)
    ground = np.array([[-0.1, horizon], [1.1, horizon + between(rng, -0.03, 0.03)], [1.1, 1.2], [-0.1, 1.2]])
    canvas.paint(Polygon(ground * size), 0, Paint(floor))
    return canvas.colour


def place(rng: np.random.Generator, body: Body, height: int, width: int) -> tuple[float, Point]:
    """Return a person's scale and the place of the crown: most are seen whole, some to the knees."""
    joints = np.stack(list(body.joints.values()))
    frame = weighted(rng, _FRAMES)
    low = {"whole": 1.04, "knees": 0.78}[frame]
    reach = max(0.26, float(np.ptp(joints[:, 0])) + 0.1)
    fill = between(rng, 0.8, 0.95)
    scale = min(fill * height / (low + 0.06), (fill if frame == "whole" else 1.25) * width / reach)
    middle = width / 2 + near(rng, 0, 0.06, -0.14, 0.14) * width - scale * joints[:, 0].mean()
    top = height - scale * low if frame != "whole" else (height - scale * 0.98) * between(rng, 0.4, 0.8)
    return scale, np.array([middle, top])


def render(rng: np.random.Generator, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture, uint8 RGB (H, W, 3), and its mask in LIP's classes, uint8 (H, W).

    Equal generators give the same scene at every size; only the grain is of the size.
    """
    people, things = (np.random.default_rng(seed) for seed in rng.integers(0, 2**63, 2))
    canvas = Canvas(backdrop(things, height, width), near(people, 0, 0.1, -0.2, 0.2))
    body, outfit = sample_body(people), sample_outfit(people)
    scale, offset = place(people, body, height, width)
    feet = 0.5 * (body["ankle left"] + body["ankle right"]) + (0.0, 0.03)
    canvas.tint(Ellipse(offset + scale * feet, 0.2 * scale, 0.035 * scale), 0.75)
    Figure(body, outfit, canvas, scale, offset).draw()
    return photographed(things, canvas.colour), canvas.labels


def photographed(rng: np.random.Generator, colour: Field) -> NDArray[np.uint8]:
    """Return what is painted as a camera shows it, uint8: exposure, white balance, grain."""
    exposure = near(rng, 1.0, 0.08, 0.8, 1.2) * (1 + np.array([1, 0, -1]) * near(rng, 0, 0.04, -0.1, 0.1))
    picture = colour * exposure + _GRAIN * rng.standard_normal((*colour.shape[:2], 1))
    return np.asarray(picture.clip(0, 255).astype(np.uint8))
