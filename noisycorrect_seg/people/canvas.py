"""Picture and mask, painted together: every shape writes its colour and its class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

PATTERNS = ("stripes", "bars", "dots")
Point = NDArray[np.float64]
Field = NDArray[np.float64]


class Shape(Protocol):
    """A region of the plane; all numbers are pixels, y down."""

    def box(self) -> tuple[float, float, float, float]:
        """Return left, top, right and low ends of what the shape covers."""

    def distance(self, x: Field, y: Field) -> Field:
        """Return the distance to the shape's outline, negative inside; near the outline it is that in pixels."""


@dataclass(frozen=True, eq=False)
class Capsule:
    """Two discs and what lies between them: a limb.

    The distance is that of Quilez's "rounded cone" without its bevel: the radius at the nearest place of the middle
    line. It is exact where both radii are equal.
    """

    start: Point
    end: Point
    first: float
    last: float

    def box(self) -> tuple[float, float, float, float]:
        """Return the ends of both discs."""
        (a, b), (c, d), r = self.start, self.end, max(self.first, self.last)
        return min(a, c) - r, min(b, d) - r, max(a, c) + r, max(b, d) + r

    def distance(self, x: Field, y: Field) -> Field:
        """Return the distance to the outline."""
        (a, b), (dx, dy) = self.start, self.end - self.start
        share = ((x - a) * dx + (y - b) * dy) / max(dx * dx + dy * dy, 1e-9)
        np.clip(share, 0, 1, out=share)
        radius = self.first + share * (self.last - self.first)
        return np.asarray(np.hypot(x - a - share * dx, y - b - share * dy) - radius)


@dataclass(frozen=True, eq=False)
class Ellipse:
    """An ellipse, turned clockwise by an angle in radians."""

    centre: Point
    across: float
    down: float
    turn: float = 0.0

    def box(self) -> tuple[float, float, float, float]:
        """Return the ends of the circle around it."""
        r, (x, y) = max(self.across, self.down), self.centre
        return x - r, y - r, x + r, y + r

    def distance(self, x: Field, y: Field) -> Field:
        """Return the distance to first order: the implicit function over its gradient."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        u, v = x - self.centre[0], y - self.centre[1]
        u, v = (c * u + s * v) / self.across, (c * v - s * u) / self.down
        radius = np.hypot(u, v)
        slope = np.hypot(u / self.across, v / self.down) / np.maximum(radius, 1e-6)
        return np.asarray((radius - 1) / np.maximum(slope, 1e-6))


@dataclass(frozen=True, eq=False)
class Polygon:
    """A polygon, convex or not, grown by a radius, which rounds its corners."""

    points: Point  # (n, 2)
    radius: float = 0.0

    def box(self) -> tuple[float, float, float, float]:
        """Return the ends of its corners."""
        (a, b), (c, d) = self.points.min(axis=0) - self.radius, self.points.max(axis=0) + self.radius
        return a, b, c, d

    def distance(self, x: Field, y: Field) -> Field:
        """Return the distance to the nearest edge; inside is where a ray to the right meets edges an odd number."""
        inside = np.zeros(x.shape, bool)
        nearest = np.full(x.shape, np.inf)
        for (a, b), (c, d) in zip(self.points, np.roll(self.points, -1, axis=0), strict=True):
            dx, dy = c - a, d - b
            share = ((x - a) * dx + (y - b) * dy) / max(dx * dx + dy * dy, 1e-9)
            np.clip(share, 0, 1, out=share)
            np.minimum(nearest, np.hypot(x - a - share * dx, y - b - share * dy), out=nearest)
            if dy:
                inside ^= ((b > y) != (d > y)) & (x < a + dx * (y - b) / dy)
        return np.where(inside, -nearest, nearest) - self.radius


@dataclass(frozen=True, eq=False)
class Paint:
    """What a shape is painted with.

    Attributes
    ----------
    colour : ndarray of float64, shape (3,)
        RGB, 0..255.
    other : ndarray of float64, shape (3,), or None
        The second colour of a pattern; None is plain.
    pattern : str
        One of `PATTERNS`.
    """

    colour: Field
    other: Field | None = None
    pattern: str = "stripes"

    def at(self, x: Field, y: Field) -> Field:
        """Return the colours (..., 3) of places in units of a pattern's period."""
        if self.other is None:
            return np.broadcast_to(self.colour, (*x.shape, 3))
        waves = {"stripes": np.sin(2 * np.pi * y), "bars": np.sin(2 * np.pi * x)}
        wave = waves[self.pattern] if self.pattern in waves else waves["stripes"] * waves["bars"] * 2 - 0.7
        mix = np.clip(0.5 + 1.5 * wave, 0, 1)[..., None]
        mixed: Field = self.colour * (1 - mix) + self.other * mix
        return mixed

    def darker(self, factor: float) -> Paint:
        """Return the paint with its colours multiplied."""
        return Paint(self.colour * factor, None if self.other is None else self.other * factor, self.pattern)


class Canvas:
    """What is being painted.

    A shape's colour covers the part of each pixel that the shape does, so that pictures are smooth; its class goes to
    the pixels whose centre it covers, so that masks are exact.

    Parameters
    ----------
    colour : ndarray of float64, shape (H, W, 3)
        What is behind everything, 0..255; painted on in place.
    light : float
        How much lighter a shape is at its left than at its middle, a share; negative is darker.

    Attributes
    ----------
    labels : ndarray of uint8, shape (H, W)
        Class of the frontmost shape at each pixel; 0 where there is none.
    """

    def __init__(self, colour: Field, light: float) -> None:
        self.colour, self.light = colour, light
        self.labels: NDArray[np.uint8] = np.zeros(colour.shape[:2], np.uint8)

    def paint(self, shape: Shape, label: int, paint: Paint, *, period: float = 1.0) -> None:
        """Paint a shape with a class; a pattern repeats every `period` pixels."""
        self.begin(shape)
        rows, columns, x, y = self._window(shape)
        left, _, right, _ = shape.box()
        distance = shape.distance(x, y)
        cover = np.clip(0.5 - distance, 0, 1)[..., None]
        aside = np.clip((x - (left + right) / 2) / max(right - left, 1.0) * 2, -1, 1)
        across, down = self.cloth(shape, x, y)
        colours = paint.at(across / period, down / period) * (1 - self.light * aside)[..., None]
        window = self.colour[rows, columns]
        window += cover * (colours - window)
        inside = distance < 0
        self.labels[rows, columns][inside] = label
        self.covered(rows, columns, inside)

    def begin(self, shape: Shape) -> None:
        """Hear of a shape that is about to be painted; nothing, unless a subclass keeps it."""

    def cloth(self, shape: Shape, x: Field, y: Field) -> tuple[Field, Field]:
        """Return where on its pattern a shape's pixels lie: the canvas's own, unless a subclass moves them."""
        return x, y

    def covered(self, rows: slice, columns: slice, inside: NDArray[np.bool_]) -> None:
        """Hear which pixels of a window were covered; nothing, unless a subclass keeps it."""

    def tint(self, shape: Shape, factor: float) -> None:
        """Multiply the colours inside a shape, as a shadow does; classes stay."""
        rows, columns, x, y = self._window(shape)
        cover = np.clip(0.5 - shape.distance(x, y), 0, 1)[..., None]
        self.colour[rows, columns] *= 1 - cover * (1 - factor)

    def _window(self, shape: Shape) -> tuple[slice, slice, Field, Field]:
        """Return rows and columns around a shape, cut at the canvas, and their pixels' centres."""
        height, width = self.labels.shape
        left, top, right, low = shape.box()
        y0, y1 = (min(max(end, 0), height) for end in (math.floor(top - 1), math.ceil(low + 1)))
        x0, x1 = (min(max(end, 0), width) for end in (math.floor(left - 1), math.ceil(right + 1)))
        y, x = np.mgrid[y0:y1, x0:x1] + 0.5
        return slice(y0, y1), slice(x0, x1), x, y
