"""What is behind people and in front of them: rooms, streets, green, clutter; tables, posts, leaves."""

from __future__ import annotations

from collections.abc import Callable

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


def _hsv(rng: Generator, *spans: Span) -> Colour:
    """Return a colour whose hue, saturation and value are drawn from spans."""
    return hsv(*(between(rng, *span) for span in spans))


def _wall(rng: Generator) -> Colour:
    return cloth_colour(rng) if happens(rng, 0.35) else _hsv(rng, (0, 1), (0.02, 0.35), (0.3, 0.95))


def _sky(rng: Generator) -> Colour:
    return _hsv(rng, (0.55, 0.6), (0.05, 0.5), (0.6, 0.95))


def _leaf(rng: Generator) -> Colour:
    return _hsv(rng, (0.17, 0.38), (0.25, 0.7), (0.15, 0.6))


# Shape, its share of scenes, most of them, lower end below the horizon, width and height in picture heights, colour.
_THINGS: tuple[tuple[str, float, int, Span, Span, Span, Callable[[Generator], Colour]], ...] = (
    ("blob", 0.20, 5, (0.02, 0.10), (0.2, 0.8), (0.04, 0.24), _leaf),  # hills
    ("grid", 0.45, 6, (-0.15, 0.0), (0.2, 0.55), (0.2, 1.1), _wall),  # houses, shelves
    ("blob", 0.25, 16, (-0.6, 0.12), (0.1, 0.4), (0.1, 0.32), _leaf),  # bushes
    ("box", 0.25, 3, (0.03, 0.03), (0.01, 0.05), (1.0, 1.0), _wall),  # posts, trunks
    ("box", 0.40, 4, (-0.5, -0.2), (0.1, 0.4), (0.1, 0.4), _wall),  # pictures on a wall
    ("box", 0.20, 16, (-0.9, 0.3), (0.04, 0.35), (0.04, 0.35), cloth_colour),  # clutter
    ("blob", 0.15, 10, (-0.9, 0.3), (0.04, 0.35), (0.04, 0.35), cloth_colour),
    ("person", 0.15, 8, (0.05, 0.35), (0.08, 0.13), (0.3, 0.6), cloth_colour),
    ("box", 0.30, 1, (0.03, 0.1), (0.25, 0.6), (0.12, 0.4), cloth_colour),  # a car, a sofa
)


class _Sketch:
    """A picture to draw scenery on, in shares of its height from its upper left, so that every size shows the same."""

    def __init__(self, height: int, width: int, colour: Colour) -> None:
        self.height, self.wide = height, width / height
        self.image = Image.new("RGB", (width, height), self._ink(colour))
        self._draw = ImageDraw.Draw(self.image)

    @staticmethod
    def _ink(colour: Colour) -> tuple[int, int, int]:
        r, g, b = np.clip(colour, 0, 255).astype(int).tolist()
        return r, g, b

    def fill(self, x: float, y: float, wide: float, high: float, colour: Colour, *, round_: bool = False) -> None:
        """Fill a box or an ellipse; x and y are those of its upper left corner."""
        corners = tuple(place * self.height for place in (x, y, x + wide, y + high))
        (self._draw.ellipse if round_ else self._draw.rectangle)(corners, fill=self._ink(colour))

    def person(self, rng: Generator, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        """Draw someone far away."""
        self.fill(x, y + 0.4 * high, wide, 0.6 * high, cloth_colour(rng))
        self.fill(x - 0.4 * wide, y + 0.13 * high, 1.8 * wide, 0.4 * high, colour, round_=True)
        self.fill(x, y, wide, 0.15 * high, skin(rng).base, round_=True)

    def grid(self, rng: Generator, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        """Draw a house with windows, or a shelf with books."""
        self.fill(x, y, wide, high, colour)
        columns, rows = 2 + int(rng.random() * 5), 2 + int(rng.random() * 4)
        inner = cloth_colour(rng) if happens(rng, 0.3) else colour * np.float32(between(rng, 0.35, 1.35))
        for column, row in np.ndindex(columns, rows):
            left, up = x + wide * (column + 0.25) / columns, y + high * (row + 0.25) / rows
            self.fill(left, up, wide * 0.5 / columns, high * 0.55 / rows, inner)


def backdrop(rng: Generator, height: int, width: int) -> Field:
    """Return a background, float32 (height, width, 3), 0..255."""
    # Drawn at half size: scenery is out of focus anyway, and half the pixels are a quarter of the time.
    rows, columns = (height + 1) // 2, (width + 1) // 2
    sketch, horizon = _Sketch(rows, columns, _sky(rng) if happens(rng, 0.2) else _wall(rng)), between(rng, 0.4, 0.95)
    sketch.fill(0, horizon, sketch.wide, 1.1, _hsv(rng, (0, 1), (0.02, 0.35), (0.3, 0.8)))
    for shape, share, most, foot, width_span, height_span, colour_of in _THINGS:
        for _ in range(1 + int(rng.random() * most) if happens(rng, share) else 0):
            x, wide, high = between(rng, -0.2, sketch.wide), between(rng, *width_span), between(rng, *height_span)
            box = x, horizon + between(rng, *foot) - high, wide, high
            if shape in ("grid", "person"):
                getattr(sketch, shape)(rng, *box, colour_of(rng))
            else:
                sketch.fill(*box, colour_of(rng), round_=shape == "blob")
    blur = between(rng, 0.0, 0.016) if happens(rng, 0.7) else between(rng, 0.016, 0.04)
    image = sketch.image.filter(ImageFilter.BoxBlur(blur * rows * 0.5)) if blur * rows > 0.6 else sketch.image
    colour = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    grain = smooth_noise(rng, height, width, 7) * np.float32(0.06)
    grain += smooth_noise(rng, height, width, 48) * np.float32(between(rng, 0.0, 0.05))
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
