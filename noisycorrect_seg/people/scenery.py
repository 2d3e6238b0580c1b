"""What is behind people and in front of them: rooms, streets, green, clutter; tables, posts, leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from noisycorrect_seg.people.canvas import Canvas
from noisycorrect_seg.people.chance import between, happens, one_of, weighted
from noisycorrect_seg.people.loft import ellipse, tube
from noisycorrect_seg.people.materials import Colour, cloth_colour, fabric, hsv, jitter, leather, skin

Field = NDArray[np.float32]
Generator = np.random.Generator
Span = tuple[float, float]


def smooth_noise(rng: Generator, height: int, width: int, cells: int) -> Field:
    """Return smooth noise, float32 (height, width), about -1..1; `cells` is its detail on the longer side."""
    rows = max(2, round(cells * height / max(height, width)))
    columns = max(2, round(cells * width / max(height, width)))
    coarse = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def _hsv(rng: Generator, *spans: Span | float) -> Colour:
    """Return a colour whose hue, saturation and value are drawn from spans, or given."""
    return hsv(*(between(rng, *span) if isinstance(span, tuple) else span for span in spans))


def _wall(rng: Generator) -> Colour:
    return cloth_colour(rng) if happens(rng, 0.35) else _hsv(rng, (0, 1), (0.02, 0.35), (0.3, 0.95))


class _Backdrop:
    """A picture to draw scenery on, in shares of its height from its upper left, so that every size shows the same."""

    def __init__(self, height: int, width: int, colour: Colour) -> None:
        self.height, self.wide = height, width / height
        self.image = Image.new("RGB", (width, height), self._ink(colour))
        self._draw = ImageDraw.Draw(self.image)

    @staticmethod
    def _ink(colour: Colour) -> tuple[int, int, int]:
        r, g, b = np.clip(colour, 0, 255).astype(int).tolist()
        return r, g, b

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        left, right = sorted((x0 * self.height, x1 * self.height))
        high, low = sorted((y0 * self.height, y1 * self.height))
        self._draw.rectangle((left, high, right, low), fill=self._ink(colour))

    def ground(self, horizon: float, colour: Colour) -> None:
        self.box(0, horizon, self.wide, 1.1, colour)

    def blob(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        h = self.height
        self._draw.ellipse(((x - rx) * h, (y - ry) * h, (x + rx) * h, (y + ry) * h), fill=self._ink(colour))

    def shape(self, corners: list[tuple[float, float]], colour: Colour) -> None:
        self._draw.polygon([(x * self.height, y * self.height) for x, y in corners], fill=self._ink(colour))


def _street(rng: Generator, drop: _Backdrop) -> None:
    horizon, x = between(rng, 0.45, 0.8), -0.1
    while x < drop.wide:
        wide, high = between(rng, 0.2, 0.55), between(rng, -0.3, 0.35)
        colour = _wall(rng)
        drop.box(x, high, x + wide, horizon, colour)
        glass = colour * np.float32(between(rng, 0.35, 1.35))
        columns, rows = 2 + int(rng.random() * 3), 3 + int(rng.random() * 4)
        for column, row in np.ndindex(columns, rows):
            left, up = x + wide * (column + 0.25) / columns, high + (horizon - high) * (row + 0.25) / rows
            drop.box(left, up, left + wide * 0.5 / columns, up + (horizon - high) * 0.55 / rows, glass)
        x += wide
    drop.ground(horizon, _hsv(rng, (0, 1), 0.08, (0.3, 0.7)))
    if happens(rng, 0.5):  # a car
        x, wide, colour = between(rng, -0.1, drop.wide), between(rng, 0.25, 0.5), cloth_colour(rng)
        drop.box(x, horizon - 0.1, x + wide, horizon + 0.06, colour)
        drop.box(x + wide * 0.2, horizon - 0.17, x + wide * 0.75, horizon - 0.1, colour * np.float32(0.5))
        for wheel in (0.2, 0.8):
            drop.blob(x + wide * wheel, horizon + 0.06, 0.04, 0.04, np.array([25, 25, 28], np.float32))


def _room(rng: Generator, drop: _Backdrop) -> None:
    floor = between(rng, 0.62, 0.95)
    drop.ground(floor, _hsv(rng, (0.04, 0.12), (0.1, 0.6), (0.25, 0.7)))
    drop.box(0, floor - 0.025, drop.wide, floor, _wall(rng))
    for _ in range(1 + int(rng.random() * 4)):  # pictures and shelves
        x, y = between(rng, -0.1, drop.wide), between(rng, 0.0, 0.5)
        wide, high = between(rng, 0.1, 0.4), between(rng, 0.1, 0.5)
        drop.box(x, y, x + wide, y + high, _wall(rng))
        drop.box(x + 0.02, y + 0.02, x + wide - 0.02, y + high - 0.02, _wall(rng))
        shelves = 2 + int(rng.random() * 3) if happens(rng, 0.5) else 0
        for shelf in range(shelves):
            low, at = y + high * (shelf + 1) / shelves, x + 0.025
            while at < x + wide - 0.04:
                step = between(rng, 0.012, 0.04)
                drop.box(at, low - between(rng, 0.03, 0.09), at + step, low - 0.01, cloth_colour(rng))
                at += step
    if happens(rng, 0.5):  # a sofa
        x, wide, seat = between(rng, -0.2, drop.wide - 0.1), between(rng, 0.25, 0.6), between(rng, 0.55, 0.75)
        colour = cloth_colour(rng)
        drop.box(x, seat - 0.18, x + wide, floor + 0.06, colour)
        drop.box(x, seat, x + wide, seat + 0.012, colour * np.float32(0.6))


def _green(rng: Generator, drop: _Backdrop) -> None:
    ground = between(rng, 0.5, 0.85)
    drop.ground(ground, _hsv(rng, (0.08, 0.32), (0.2, 0.6), (0.3, 0.7)))
    for _ in range(14):
        colour = _hsv(rng, (0.17, 0.38), (0.25, 0.7), (0.15, 0.6))
        x, y = between(rng, 0, drop.wide), between(rng, 0, ground)
        drop.blob(x, y, between(rng, 0.05, 0.2), between(rng, 0.05, 0.16), colour)
    for _ in range(int(rng.random() * 4)):
        x, wide = between(rng, 0, drop.wide), between(rng, 0.01, 0.05)
        drop.box(x, -0.1, x + wide, ground + 0.03, _hsv(rng, 0.07, (0.2, 0.5), (0.15, 0.4)))


def _open_air(rng: Generator, drop: _Backdrop) -> None:
    horizon = between(rng, 0.35, 0.75)
    ground = hsv(*one_of(rng, [(0.11, 0.3, 0.75), (0.55, 0.4, 0.5), (0.3, 0.4, 0.45), (0.6, 0.05, 0.9)]))
    drop.ground(horizon, jitter(rng, ground, 10))
    for _ in range(5):
        x, wide, high = between(rng, 0, drop.wide), between(rng, 0.1, 0.4), between(rng, 0.02, 0.12)
        drop.blob(x, horizon, wide, high, jitter(rng, ground * np.float32(0.7), 12))


def _clutter(rng: Generator, drop: _Backdrop) -> None:
    for _ in range(22):
        x, y = between(rng, -0.1, drop.wide), between(rng, -0.1, 1.0)
        wide, high = between(rng, 0.04, 0.35), between(rng, 0.04, 0.35)
        colour = cloth_colour(rng)
        if happens(rng, 0.4):
            drop.box(x, y, x + wide, y + high, colour)
        elif happens(rng, 0.5):
            drop.blob(x, y, wide * 0.5, high * 0.6, colour)
        else:
            drop.shape([(x, y), (x + wide, y + between(rng, -0.1, 0.1)), (x + wide * 0.6, y + high)], colour)


def _crowd(rng: Generator, drop: _Backdrop) -> None:
    _street(rng, drop)
    for _ in range(7):
        x, top, size = between(rng, 0, drop.wide), between(rng, 0.15, 0.5), between(rng, 0.3, 0.6)
        coat, legs = cloth_colour(rng), cloth_colour(rng)
        drop.box(x - size * 0.06, top + size * 0.5, x + size * 0.06, top + size, legs)
        drop.blob(x, top + size * 0.33, size * 0.12, size * 0.2, coat)
        drop.blob(x, top + size * 0.06, size * 0.055, size * 0.075, skin(rng).base)


def _plain(rng: Generator, drop: _Backdrop) -> None:
    drop.ground(between(rng, 0.8, 1.1), _wall(rng))


_SCENES: Mapping[Callable[[Generator, _Backdrop], None], float] = {
    _street: 0.2,
    _room: 0.22,
    _green: 0.14,
    _open_air: 0.1,
    _clutter: 0.14,
    _crowd: 0.1,
    _plain: 0.1,
}


def backdrop(rng: Generator, height: int, width: int) -> Field:
    """Return a background, float32 (height, width, 3), 0..255."""
    # Drawn at half size: scenery is out of focus anyway, and half the pixels are a quarter of the time.
    rows, columns = (height + 1) // 2, (width + 1) // 2
    scene = weighted(rng, _SCENES)
    drop = _Backdrop(rows, columns, _hsv(rng, 0.57, (0.05, 0.5), (0.6, 0.95)) if scene is _open_air else _wall(rng))
    scene(rng, drop)
    blur = between(rng, 0.0, 0.016) if happens(rng, 0.7) else between(rng, 0.016, 0.04)
    image = drop.image.filter(ImageFilter.BoxBlur(blur * rows * 0.5)) if blur * rows > 0.6 else drop.image
    colour = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    grain = smooth_noise(rng, height, width, 7) * np.float32(0.06)
    grain += smooth_noise(rng, height, width, 48) * np.float32(between(rng, 0.0, 0.14 if scene is _green else 0.035))
    slope = np.float32(between(rng, -0.25, 0.25)) * (np.arange(height, dtype=np.float32) / height - 0.5)
    return np.asarray(colour * (1 + grain + slope[:, None])[:, :, None], np.float32)


def occlude(rng: Generator, canvas: Canvas) -> None:
    """Paint a table, a post, leaves, someone's shoulder or a box over the scene, of class background."""
    material = fabric(rng, patterned=0.3) if happens(rng, 0.5) else leather(rng)
    height, width = canvas.labels.shape
    size = np.array([width, height], float)
    thing = weighted(rng, {"table": 0.28, "post": 0.2, "leaves": 0.22, "shoulder": 0.15, "box": 0.15})
    if thing == "leaves":
        _leaves(rng, canvas)
        return
    if thing == "table":
        loft = tube(size * (0.5, between(rng, 0.76, 0.92)), size * (0.5, 1.3), [1.0, 1.0], width * 0.7)
        left, right = between(rng, -1.4, -0.2), between(rng, 0.2, 1.4)
        canvas.paint(loft.band([0.0, 1.0], right, left), 0, material, loft, float(height))
        return
    if thing == "post":
        x = one_of(rng, [between(rng, 0.05, 0.32), between(rng, 0.68, 0.95)])
        loft = tube(size * (x, -0.1), size * (x, 1.1), [between(rng, 0.008, 0.03)] * 2, height)
    elif thing == "shoulder":
        loft = ellipse(size * (one_of(rng, [-0.02, 1.02]), 1.02), 0.2 * height, between(rng, 0.2, 0.42) * height)
    else:
        at = size * (between(rng, 0.1, 0.9), between(rng, 0.75, 0.95))
        half = between(rng, 0.05, 0.14) * height
        loft = tube(at - np.array([0, half]), at + np.array([0, half]), [1.0, 1.0], half)
    canvas.paint(loft.outline(), 0, material, loft, float(height))


def _leaves(rng: Generator, canvas: Canvas) -> None:
    height, width = canvas.labels.shape
    green = _hsv(rng, (0.2, 0.38), (0.3, 0.7), (0.2, 0.6))
    corner = np.array([one_of(rng, [0.0, 1.0]) * width, between(rng, 0.5, 1.0) * height])
    for _ in range(9):
        turn = between(rng, 0, 2 * np.pi)
        middle = corner + rng.standard_normal(2) * 0.11 * height
        leaf = ellipse(middle, 0.022 * height, 0.07 * height, np.array([np.cos(turn), np.sin(turn)]))
        canvas.flat(leaf.outline(), 0, jitter(rng, green, 9))
