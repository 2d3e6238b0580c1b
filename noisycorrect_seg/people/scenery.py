"""What is behind people: rooms, streets, green, clutter."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from noisycorrect_seg.people.chance import between, happens, one_of, weighted
from noisycorrect_seg.people.materials import Colour, cloth_colour, hsv, jitter, skin

Field = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> Field:
    """Return smooth noise, float32 (height, width), about -1..1; `cells` is its detail on the longer side."""
    rows = max(2, round(cells * height / max(height, width)))
    columns = max(2, round(cells * width / max(height, width)))
    coarse = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def _ink(colour: Colour) -> tuple[int, int, int]:
    r, g, b = np.clip(colour, 0, 255).astype(int).tolist()
    return r, g, b


def _wall_colour(rng: np.random.Generator) -> Colour:
    if happens(rng, 0.35):
        return cloth_colour(rng)
    return hsv(between(rng, 0, 1), between(rng, 0.02, 0.35), between(rng, 0.3, 0.95))


class Backdrop:
    """A picture to draw scenery on, in shares of its size, so that every size shows the same scene."""

    def __init__(self, height: int, width: int, colour: Colour) -> None:
        self.height, self.width = height, width
        self.image = Image.new("RGB", (width, height), _ink(colour))
        self._draw = ImageDraw.Draw(self.image)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill a box; corners in shares of the height, x from the left edge."""
        h = self.height
        left, right = sorted((x0 * h, x1 * h))
        high, low = sorted((y0 * h, y1 * h))
        self._draw.rectangle((left, high, right, low), fill=_ink(colour))

    def blob(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse."""
        h = self.height
        self._draw.ellipse(((x - rx) * h, (y - ry) * h, (x + rx) * h, (y + ry) * h), fill=_ink(colour))

    def shape(self, corners: list[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon."""
        self._draw.polygon([(x * self.height, y * self.height) for x, y in corners], fill=_ink(colour))


def _street(rng: np.random.Generator, drop: Backdrop, aspect: float) -> None:
    horizon = between(rng, 0.45, 0.8)
    x = -0.1
    while x < aspect:
        wide, high = between(rng, 0.2, 0.55), between(rng, -0.3, 0.35)
        colour = _wall_colour(rng)
        drop.box(x, high, x + wide, horizon, colour)
        glass = colour * np.float32(between(rng, 0.35, 1.35))
        columns, rows = 2 + int(rng.random() * 3), 3 + int(rng.random() * 4)
        for column in range(columns):
            for row in range(rows):
                left, up = x + wide * (column + 0.25) / columns, high + (horizon - high) * (row + 0.25) / rows
                drop.box(left, up, left + wide * 0.5 / columns, up + (horizon - high) * 0.55 / rows, glass)
        x += wide
    drop.box(0, horizon, aspect, 1.1, hsv(between(rng, 0, 1), 0.08, between(rng, 0.3, 0.7)))
    if happens(rng, 0.5):
        x, wide = between(rng, -0.1, aspect), between(rng, 0.25, 0.5)
        colour = cloth_colour(rng)
        drop.box(x, horizon - 0.1, x + wide, horizon + 0.06, colour)
        drop.box(x + wide * 0.2, horizon - 0.17, x + wide * 0.75, horizon - 0.1, colour * np.float32(0.5))
        for wheel in (0.2, 0.8):
            drop.blob(x + wide * wheel, horizon + 0.06, 0.04, 0.04, np.array([25, 25, 28], np.float32))


def _room(rng: np.random.Generator, drop: Backdrop, aspect: float) -> None:
    floor = between(rng, 0.62, 0.95)
    drop.box(0, floor, aspect, 1.1, hsv(between(rng, 0.04, 0.12), between(rng, 0.1, 0.6), between(rng, 0.25, 0.7)))
    drop.box(0, floor - 0.025, aspect, floor, _wall_colour(rng))
    for _ in range(1 + int(rng.random() * 4)):
        x, y, wide, high = (
            between(rng, -0.1, aspect),
            between(rng, 0.0, 0.5),
            between(rng, 0.1, 0.4),
            between(rng, 0.1, 0.5),
        )
        frame = _wall_colour(rng)
        drop.box(x, y, x + wide, y + high, frame)
        drop.box(x + 0.02, y + 0.02, x + wide - 0.02, y + high - 0.02, _wall_colour(rng))
        if happens(rng, 0.5):
            shelves = 2 + int(rng.random() * 3)
            for shelf in range(shelves):
                low = y + high * (shelf + 1) / shelves
                at = x + 0.025
                while at < x + wide - 0.04:
                    step = between(rng, 0.012, 0.04)
                    drop.box(at, low - between(rng, 0.03, 0.09), at + step, low - 0.01, cloth_colour(rng))
                    at += step
    if happens(rng, 0.5):
        x, wide, seat = between(rng, -0.2, aspect - 0.1), between(rng, 0.25, 0.6), between(rng, 0.55, 0.75)
        colour = cloth_colour(rng)
        drop.box(x, seat - 0.18, x + wide, floor + 0.06, colour)
        drop.box(x, seat, x + wide, seat + 0.012, colour * np.float32(0.6))


def _green(rng: np.random.Generator, drop: Backdrop, aspect: float) -> None:
    ground = between(rng, 0.5, 0.85)
    drop.box(0, ground, aspect, 1.1, hsv(between(rng, 0.08, 0.32), between(rng, 0.2, 0.6), between(rng, 0.3, 0.7)))
    for _ in range(14):
        colour = hsv(between(rng, 0.17, 0.38), between(rng, 0.25, 0.7), between(rng, 0.15, 0.6))
        drop.blob(
            between(rng, 0, aspect), between(rng, 0, ground), between(rng, 0.05, 0.2), between(rng, 0.05, 0.16), colour
        )
    for _ in range(int(rng.random() * 4)):
        x, wide = between(rng, 0, aspect), between(rng, 0.01, 0.05)
        drop.box(x, -0.1, x + wide, ground + 0.03, hsv(0.07, between(rng, 0.2, 0.5), between(rng, 0.15, 0.4)))


def _open_air(rng: np.random.Generator, drop: Backdrop, aspect: float) -> None:
    horizon = between(rng, 0.35, 0.75)
    ground = one_of(rng, [hsv(0.11, 0.3, 0.75), hsv(0.55, 0.4, 0.5), hsv(0.3, 0.4, 0.45), hsv(0.6, 0.05, 0.9)])
    drop.box(0, horizon, aspect, 1.1, jitter(rng, ground, 10))
    for _ in range(5):
        x = between(rng, 0, aspect)
        drop.blob(
            x, horizon, between(rng, 0.1, 0.4), between(rng, 0.02, 0.12), jitter(rng, ground * np.float32(0.7), 12)
        )


def _clutter(rng: np.random.Generator, drop: Backdrop, aspect: float) -> None:
    for _ in range(22):
        x, y = between(rng, -0.1, aspect), between(rng, -0.1, 1.0)
        wide, high = between(rng, 0.04, 0.35), between(rng, 0.04, 0.35)
        colour = cloth_colour(rng)
        if happens(rng, 0.4):
            drop.box(x, y, x + wide, y + high, colour)
        elif happens(rng, 0.5):
            drop.blob(x, y, wide * 0.5, high * 0.6, colour)
        else:
            drop.shape([(x, y), (x + wide, y + between(rng, -0.1, 0.1)), (x + wide * 0.6, y + high)], colour)


def _crowd(rng: np.random.Generator, drop: Backdrop, aspect: float) -> None:
    _street(rng, drop, aspect)
    for _ in range(7):
        x, top, size = between(rng, 0, aspect), between(rng, 0.15, 0.5), between(rng, 0.3, 0.6)
        coat, legs = cloth_colour(rng), cloth_colour(rng)
        drop.box(x - size * 0.06, top + size * 0.5, x + size * 0.06, top + size, legs)
        drop.blob(x, top + size * 0.33, size * 0.12, size * 0.2, coat)
        drop.blob(x, top + size * 0.06, size * 0.055, size * 0.075, skin(rng).base)


def _plain(rng: np.random.Generator, drop: Backdrop, aspect: float) -> None:
    floor = between(rng, 0.8, 1.1)
    drop.box(0, floor, aspect, 1.1, _wall_colour(rng))


_SCENES: Mapping[str, Callable[[np.random.Generator, Backdrop, float], None]] = {
    "street": _street,
    "room": _room,
    "green": _green,
    "open air": _open_air,
    "clutter": _clutter,
    "crowd": _crowd,
    "plain": _plain,
}
_OFTEN = {"street": 0.2, "room": 0.22, "green": 0.14, "open air": 0.1, "clutter": 0.14, "crowd": 0.1, "plain": 0.1}


def backdrop(rng: np.random.Generator, height: int, width: int) -> Field:
    """Return a background, float32 (height, width, 3), 0..255."""
    # Drawn at half size: scenery is out of focus anyway, and half the pixels are a quarter of the time.
    rows, columns = (height + 1) // 2, (width + 1) // 2
    kind = weighted(rng, _OFTEN)
    drop = Backdrop(
        rows,
        columns,
        _wall_colour(rng) if kind != "open air" else hsv(0.57, between(rng, 0.05, 0.5), between(rng, 0.6, 0.95)),
    )
    _SCENES[kind](rng, drop, columns / rows)
    blur = between(rng, 0.0, 0.016) if happens(rng, 0.7) else between(rng, 0.016, 0.04)
    image = drop.image.filter(ImageFilter.BoxBlur(blur * rows * 0.5)) if blur * rows > 0.6 else drop.image
    colour = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    grain = smooth_noise(rng, height, width, 7) * np.float32(0.06)
    grain += smooth_noise(rng, height, width, 48) * np.float32(between(rng, 0.0, 0.14 if kind == "green" else 0.035))
    slope = np.float32(between(rng, -0.25, 0.25)) * (np.arange(height, dtype=np.float32) / height - 0.5)
    return np.asarray(colour * (1 + grain + slope[:, None])[:, :, None], np.float32)
