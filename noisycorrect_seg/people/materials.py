"""What surfaces look like: colours, patterns, folds."""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.chance import between, happens, near, one_of, weighted

Colour = NDArray[np.float32]
"""RGB, float32 (3,), 0..255."""
Values = NDArray[np.float32]

_TILE = 128  # a power of two: indices wrap with a bit mask


@dataclass(frozen=True, eq=False)
class Material:
    """A surface.

    Parameters
    ----------
    base, second : ndarray of float32, shape (3,)
        The colour, and the pattern's colour.
    pattern : str
        A key of `PATTERNS`, or "plain".
    scale : float
        Repeats of the pattern in a body height.
    folds : float
        Strength of creases, 0..1.
    gloss : float
        Strength of the highlight, 0..1.
    phase : tuple of (float, float)
        Where pattern and creases start, in repeats.
    """

    base: Colour
    second: Colour
    pattern: str = "plain"
    scale: float = 20.0
    folds: float = 0.2
    gloss: float = 0.0
    phase: tuple[float, float] = (0.0, 0.0)


@functools.cache
def noise_tile(roughness: int) -> Values:
    """Return smooth periodic noise, float32 (128, 128), standard normal; `roughness` is its highest frequency.

    The same for every picture: pictures differ in where they read it.
    """
    white = np.random.default_rng(roughness).standard_normal((_TILE, _TILE))
    frequency = np.fft.fftfreq(_TILE, 1 / _TILE)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    spectrum = np.fft.fft2(white) * np.exp(-((radius / roughness) ** 2)) * (radius > 0)
    smooth = np.fft.ifft2(spectrum).real
    return np.asarray(smooth / smooth.std(), np.float32)


def noise_at(roughness: int, rows: Values, columns: Values) -> Values:
    """Return the noise at places given in tile pixels; they wrap around."""
    tile = noise_tile(roughness)
    return np.asarray(tile[rows.astype(np.int64) & (_TILE - 1), columns.astype(np.int64) & (_TILE - 1)])


def _stripes(along: Values, across: Values) -> Values:
    return (along % 1 < 0.45).astype(np.float32)


def _pinstripes(along: Values, across: Values) -> Values:
    return (across % 1 < 0.22).astype(np.float32)


def _bars(along: Values, across: Values) -> Values:
    return (across % 1 < 0.5).astype(np.float32)


def _checks(along: Values, across: Values) -> Values:
    return np.asarray(np.float32(0.5) * (along % 1 < 0.5) + np.float32(0.5) * (across % 1 < 0.5))


def _plaid(along: Values, across: Values) -> Values:
    return np.maximum(np.float32(0.8) * (along % 1 < 0.25), np.float32(0.6) * (across % 1 < 0.25))


def _dots(along: Values, across: Values) -> Values:
    return ((along % 1 - 0.5) ** 2 + (across % 1 - 0.5) ** 2 < 0.08).astype(np.float32)


def _blotches(along: Values, across: Values) -> Values:
    return (noise_at(14, along * 9, across * 9) > 0.25).astype(np.float32)


def _flowers(along: Values, across: Values) -> Values:
    return (noise_at(30, along * 8, across * 8) > 0.9).astype(np.float32)


def _knit(along: Values, across: Values) -> Values:
    return np.float32(0.5) + np.float32(0.3) * noise_at(50, along * 12, across * 12).clip(-1.5, 1.5)


def _blocks(along: Values, across: Values) -> Values:
    return (along * 0.16 % 1 < 0.5).astype(np.float32)


PATTERNS: Mapping[str, Callable[[Values, Values], Values]] = {
    "stripes": _stripes,
    "pinstripes": _pinstripes,
    "bars": _bars,
    "checks": _checks,
    "plaid": _plaid,
    "dots": _dots,
    "blotches": _blotches,
    "flowers": _flowers,
    "knit": _knit,
    "blocks": _blocks,
}
"""Share of the second colour at places in repeats, along and across the limb."""


def albedo(material: Material, along: Values, across: Values) -> Values:
    """Return the surface's colour, float32 (n, 3) or (1, 3); places float32 (n,) in body heights."""
    base = material.base[None, :]
    if material.pattern == "plain":
        return base
    rows = along * np.float32(material.scale) + np.float32(material.phase[0])
    columns = across * np.float32(material.scale) + np.float32(material.phase[1])
    share = PATTERNS[material.pattern](rows, columns)[:, None]
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
    (0.0, 0.0, 0.10): 16,  # black
    (0.0, 0.0, 0.30): 6,
    (0.0, 0.0, 0.55): 7,  # grey
    (0.0, 0.0, 0.92): 14,  # white
    (0.62, 0.55, 0.28): 12,  # navy
    (0.60, 0.45, 0.50): 9,  # denim
    (0.57, 0.35, 0.75): 5,
    (0.09, 0.35, 0.75): 6,  # beige
    (0.07, 0.55, 0.40): 6,  # brown
    (0.99, 0.80, 0.65): 8,  # red
    (0.95, 0.35, 0.85): 4,  # pink
    (0.36, 0.50, 0.35): 5,  # green
    (0.22, 0.40, 0.40): 4,  # olive
    (0.14, 0.75, 0.85): 3,  # yellow
    (0.07, 0.85, 0.85): 3,  # orange
    (0.78, 0.45, 0.45): 3,  # purple
    (0.48, 0.60, 0.60): 3,  # teal
    (0.58, 0.85, 0.75): 4,  # strong blue
}
_SKIN = [
    (244, 208, 182),
    (232, 190, 160),
    (220, 172, 138),
    (198, 146, 110),
    (170, 118, 84),
    (134, 90, 62),
    (98, 64, 46),
]
_HAIR = {
    (24, 20, 20): 34,
    (52, 36, 28): 28,
    (92, 62, 40): 18,
    (150, 108, 62): 10,
    (206, 168, 108): 9,
    (122, 52, 30): 3,
    (150, 150, 152): 6,
}


def cloth_colour(rng: np.random.Generator) -> Colour:
    """Return a colour that clothes have; dark and dull ones are common."""
    hue, saturation, value = weighted(rng, _CLOTH)
    return hsv(
        hue + 0.025 * float(rng.standard_normal()),
        saturation * between(rng, 0.75, 1.2) + between(rng, 0.0, 0.06),
        value * between(rng, 0.8, 1.2),
    )


def skin(rng: np.random.Generator) -> Material:
    """Return skin of some tone."""
    tone = jitter(rng, np.array(one_of(rng, _SKIN), np.float32), 6)
    return Material(tone, tone, folds=0.05, gloss=between(rng, 0.0, 0.12))


def hair(rng: np.random.Generator) -> Material:
    """Return hair of some colour, with strands along the head."""
    tone = jitter(rng, np.array(weighted(rng, _HAIR), np.float32), 6)
    phase = (between(rng, 0, 128), between(rng, 0, 128))
    return Material(tone, tone * np.float32(1.35), "knit", 30, folds=0.35, gloss=between(rng, 0.05, 0.25), phase=phase)


def fabric(rng: np.random.Generator, *, patterned: float = 0.35, folds: float | None = None) -> Material:
    """Return cloth; `patterned` is the chance of a pattern."""
    base = cloth_colour(rng)
    pattern = one_of(rng, list(PATTERNS)) if happens(rng, patterned) else "plain"
    second = cloth_colour(rng)
    if pattern == "knit":
        second = np.clip(base * np.float32(between(rng, 0.6, 1.5)), 0, 255)
    phase = (between(rng, 0, 128), between(rng, 0, 128))
    strength = near(rng, 0.12, 0.06, 0.02, 0.3) if folds is None else folds
    return Material(base, second, pattern, between(rng, 12, 42), strength, max(0.0, between(rng, -0.2, 0.2)), phase)


def denim(rng: np.random.Generator) -> Material:
    """Return the cloth of jeans."""
    base = hsv(0.60 + 0.02 * float(rng.standard_normal()), between(rng, 0.3, 0.6), between(rng, 0.22, 0.62))
    phase = (between(rng, 0, 128), between(rng, 0, 128))
    return Material(base, base * np.float32(1.25), "knit", 60, near(rng, 0.16, 0.06, 0.05, 0.3), 0.0, phase)


def leather(rng: np.random.Generator) -> Material:
    """Return the material of shoes, gloves and bags."""
    options = [(24, 22, 22), (60, 40, 28), (110, 74, 44), (228, 226, 222), (120, 120, 122), (40, 44, 70), (160, 40, 40)]
    base = jitter(rng, np.array(one_of(rng, options), np.float32), 8)
    return Material(base, base, folds=0.08, gloss=between(rng, 0.0, 0.4))
