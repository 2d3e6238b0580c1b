"""What surfaces look like: colours, patterns, folds."""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.chance import between, happens, near, one_of, weighted

Colour = NDArray[np.float32]  # RGB, (3,), 0..255
Values = NDArray[np.float32]

_TILE = 128  # a power of two: indices wrap with a bit mask


@dataclass(frozen=True, eq=False)
class Material:
    """A surface: its colour, a pattern in a second one, creases and highlight (0..1)."""

    base: Colour
    second: Colour
    pattern: str = "plain"  # or a key of PATTERNS
    scale: float = 20.0  # repeats of the pattern in a body height
    folds: float = 0.2
    gloss: float = 0.0
    phase: tuple[float, float] = (0.0, 0.0)  # where pattern and creases start


@functools.cache
def noise_tile(roughness: int) -> Values:
    """Return smooth periodic noise, float32 (128, 128), standard normal; `roughness` is its highest frequency.

    The same for every picture: pictures differ in where they read it.
    """
    white = np.random.default_rng(roughness).standard_normal((_TILE, _TILE))
    frequency = np.fft.fftfreq(_TILE, 1 / _TILE)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    smooth = np.fft.ifft2(np.fft.fft2(white) * np.exp(-((radius / roughness) ** 2)) * (radius > 0)).real
    return np.asarray(smooth / smooth.std(), np.float32)


def noise_at(roughness: int, rows: Values, columns: Values) -> Values:
    """Return the noise at places given in tile pixels; they wrap around."""
    tile = noise_tile(roughness)
    return np.asarray(tile[rows.astype(np.int64) & (_TILE - 1), columns.astype(np.int64) & (_TILE - 1)])


_HALF = np.float32(0.5)
PATTERNS: Mapping[str, Callable[[Values, Values], NDArray[np.generic]]] = {
    "stripes": lambda along, across: along % 1 < 0.45,
    "pinstripes": lambda along, across: across % 1 < 0.22,
    "bars": lambda along, across: across % 1 < 0.5,
    "checks": lambda along, across: _HALF * (along % 1 < 0.5) + _HALF * (across % 1 < 0.5),
    "plaid": lambda along, across: np.maximum(0.8 * (along % 1 < 0.25), 0.6 * (across % 1 < 0.25)),
    "dots": lambda along, across: (along % 1 - 0.5) ** 2 + (across % 1 - 0.5) ** 2 < 0.08,
    "blotches": lambda along, across: noise_at(14, along * 9, across * 9) > 0.25,
    "flowers": lambda along, across: noise_at(30, along * 8, across * 8) > 0.9,
    "knit": lambda along, across: _HALF + np.float32(0.3) * noise_at(50, along * 12, across * 12).clip(-1.5, 1.5),
    "blocks": lambda along, across: along * 0.16 % 1 < 0.5,
}
"""Share of the second colour at places in repeats, along and across the limb."""


def albedo(material: Material, along: Values, across: Values) -> Values:
    """Return the surface's colour, float32 (n, 3) or (1, 3); places float32 (n,) in body heights."""
    base = material.base[None, :]
    if material.pattern == "plain":
        return base
    rows = along * np.float32(material.scale) + np.float32(material.phase[0])
    columns = across * np.float32(material.scale) + np.float32(material.phase[1])
    share = PATTERNS[material.pattern](rows, columns).astype(np.float32)[:, None]
    return base + share * (material.second - material.base)[None, :]


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return a colour from hue, saturation and value, each in 0..1 (hue wraps)."""
    rgb = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return np.array(rgb, np.float32) * 255


def jitter(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """Return a colour near another one; `amount` is the standard deviation in 0..255."""
    moved = colour + amount * rng.standard_normal(3, np.float32) + amount * np.float32(rng.standard_normal())
    return np.clip(moved, 4, 250)


_CLOTH = {
    (0.0, 0.0, 0.10): 16, (0.0, 0.0, 0.30): 6, (0.0, 0.0, 0.55): 7, (0.0, 0.0, 0.92): 14,  # black to white
    (0.62, 0.55, 0.28): 12, (0.60, 0.45, 0.50): 9, (0.57, 0.35, 0.75): 5,  # navy, denim, light blue
    (0.09, 0.35, 0.75): 6, (0.07, 0.55, 0.40): 6, (0.99, 0.80, 0.65): 8,  # beige, brown, red
    (0.95, 0.35, 0.85): 4, (0.36, 0.50, 0.35): 5, (0.22, 0.40, 0.40): 4,  # pink, green, olive
    (0.14, 0.75, 0.85): 3, (0.07, 0.85, 0.85): 3, (0.78, 0.45, 0.45): 3,  # yellow, orange, purple
    (0.48, 0.60, 0.60): 3, (0.58, 0.85, 0.75): 4,  # teal, strong blue
}  # fmt: skip
_HAIR = {
    (24, 20, 20): 34, (52, 36, 28): 28, (92, 62, 40): 18, (150, 108, 62): 10, (206, 168, 108): 9,
    (122, 52, 30): 3, (150, 150, 152): 6,
}  # fmt: skip
_SKIN = (
    *((244, 208, 182), (232, 190, 160), (220, 172, 138)),
    *((198, 146, 110), (170, 118, 84), (134, 90, 62), (98, 64, 46)),
)
_LEATHER = ((24, 22, 22), (60, 40, 28), (110, 74, 44), (228, 226, 222), (120, 120, 122), (40, 44, 70), (160, 40, 40))


def cloth_colour(rng: np.random.Generator) -> Colour:
    """Return a colour that clothes have; dark and dull ones are common."""
    hue, saturation, value = weighted(rng, _CLOTH)
    hue += 0.025 * float(rng.standard_normal())
    saturation = saturation * between(rng, 0.75, 1.2) + between(rng, 0.0, 0.06)
    return hsv(hue, saturation, value * between(rng, 0.8, 1.2))


def _phase(rng: np.random.Generator) -> tuple[float, float]:
    return between(rng, 0, _TILE), between(rng, 0, _TILE)


def skin(rng: np.random.Generator) -> Material:
    """Return skin of some tone."""
    tone = jitter(rng, np.array(one_of(rng, _SKIN), np.float32), 6)
    return Material(tone, tone, folds=0.05, gloss=between(rng, 0.0, 0.12))


def hair(rng: np.random.Generator) -> Material:
    """Return hair of some colour, with strands along the head."""
    tone, phase = jitter(rng, np.array(weighted(rng, _HAIR), np.float32), 6), _phase(rng)
    return Material(tone, tone * np.float32(1.35), "knit", 30, 0.35, between(rng, 0.05, 0.25), phase)


def fabric(rng: np.random.Generator, *, patterned: float = 0.35, folds: float | None = None) -> Material:
    """Return cloth; `patterned` is the chance of a pattern."""
    base = cloth_colour(rng)
    pattern = one_of(rng, list(PATTERNS)) if happens(rng, patterned) else "plain"
    second = cloth_colour(rng)
    if pattern == "knit":
        second = np.clip(base * np.float32(between(rng, 0.6, 1.5)), 0, 255)
    phase = _phase(rng)
    strength = near(rng, 0.12, 0.06, 0.02, 0.3) if folds is None else folds
    return Material(base, second, pattern, between(rng, 12, 42), strength, max(0.0, between(rng, -0.2, 0.2)), phase)


def denim(rng: np.random.Generator) -> Material:
    """Return the cloth of jeans."""
    base = hsv(0.60 + 0.02 * float(rng.standard_normal()), between(rng, 0.3, 0.6), between(rng, 0.22, 0.62))
    phase = _phase(rng)
    return Material(base, base * np.float32(1.25), "knit", 60, near(rng, 0.16, 0.06, 0.05, 0.3), 0.0, phase)


def leather(rng: np.random.Generator) -> Material:
    """Return the material of shoes, gloves and bags."""
    base = jitter(rng, np.array(one_of(rng, _LEATHER), np.float32), 8)
    return Material(base, base, folds=0.08, gloss=between(rng, 0.0, 0.4))
