"""What people look like: skin, hair, and which clothes they wear together, how long, in which colours."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from noisycorrect_seg.people.canvas import Paint
from noisycorrect_seg.people.chance import between, happens, near, one_of, weighted

_SKINS = ((247, 214, 188), (236, 188, 152), (214, 158, 118), (178, 122, 84), (132, 88, 60), (98, 64, 46))
_HAIRS = ((38, 28, 24), (70, 46, 30), (118, 76, 40), (190, 146, 80), (226, 196, 132), (150, 62, 34), (150, 148, 150))
_STYLES = {"pants": 0.62, "skirt": 0.16, "dress": 0.14, "jumpsuit": 0.08}
_HAIRSTYLES = {"short": 0.45, "long": 0.28, "bun": 0.15, "bald": 0.12}
_HATS = {"cap": 0.4, "beanie": 0.35, "brim": 0.25}


@dataclass(frozen=True)
class Outfit:
    """Everything that is seen of a person; lengths are shares of a limb, 1 is to elbow or knee, 2 to wrist or ankle."""

    style: str
    skin: Paint
    hair: Paint
    hairstyle: str
    top: Paint
    sleeve: float
    bottom: Paint
    length: float
    coat: Paint | None
    coat_length: float
    shoes: Paint
    boots: bool
    socks: Paint | None
    hat: str | None
    hat_paint: Paint
    scarf: Paint | None
    gloves: Paint | None
    sunglasses: bool


# Hue, saturation and value that cloth of a kind mostly has: coats are earthy, trousers denim or dark, and so on.
_Span = tuple[float, float]
_CLOTHS: Mapping[str, tuple[tuple[_Span, _Span, _Span], ...]] = {
    "top": (((0, 1), (0.55, 0.95), (0.6, 1.0)), ((0, 1), (0.55, 0.95), (0.6, 1.0)), ((0, 1), (0, 0.08), (0.93, 1.0))),
    "coat": (((0.05, 0.13), (0.4, 0.7), (0.3, 0.6)), ((0.25, 0.42), (0.3, 0.6), (0.2, 0.4))),
    "trousers": (((0.57, 0.66), (0.45, 0.8), (0.35, 0.75)), ((0, 1), (0, 0.25), (0.1, 0.25))),
    "dress": (((0.78, 1.0), (0.45, 0.9), (0.6, 0.95)),),
    "shoes": (
        ((0.02, 0.1), (0.5, 0.8), (0.2, 0.5)),
        ((0, 1), (0, 0.2), (0.05, 0.2)),
        ((0.95, 1), (0.8, 0.95), (0.6, 0.9)),
    ),
    "other": (((0, 1), (0.5, 0.95), (0.45, 0.95)),),
}
_FREE = 0.2  # share of clothes of any colour, so that no colour gives a class away


def cloth(rng: np.random.Generator, kind: str, *, patterned: float = 0.0) -> Paint:
    """Draw a cloth of a kind of garment, in a colour that is usual for it or in any.

    At times it has a pattern: dots on dresses, else stripes.
    """
    spans = one_of(rng, _CLOTHS["other" if happens(rng, _FREE) else kind])
    hue, saturation, value = (between(rng, *span) for span in spans)
    colour = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))
    if not happens(rng, patterned):
        return Paint(colour)
    other = np.array([250.0, 248.0, 240.0]) if colour.mean() < 150 else colour * 0.5
    return Paint(colour, other, "dots" if kind == "dress" else one_of(rng, ("stripes", "bars")))


def _natural(rng: np.random.Generator, colours: tuple[tuple[int, int, int], ...]) -> Paint:
    return Paint(np.array(one_of(rng, colours)) * between(rng, 0.92, 1.06))


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """Draw an outfit; what is rare in LIP (gloves, sunglasses, scarves, jumpsuits) is rare here, too."""
    style, cold = weighted(rng, _STYLES), happens(rng, 0.4)
    sleeve = between(rng, 1.75, 2.0) if happens(rng, 0.8 if cold else 0.25) else between(rng, 0.3, 0.9)
    length = between(rng, 0.7, 1.3)
    if style in ("pants", "jumpsuit"):
        length = between(rng, 1.8, 1.95) if happens(rng, 0.9 if cold else 0.55) else between(rng, 0.5, 1.1)
    whole = style in ("dress", "jumpsuit")
    lower = "dress" if style in ("dress", "skirt") else "trousers"
    top = cloth(rng, lower, patterned=0.7 if lower == "dress" else 0.05) if whole else cloth(rng, "top", patterned=0.4)
    return Outfit(
        style=style,
        skin=_natural(rng, _SKINS),
        hair=_natural(rng, _HAIRS),
        hairstyle=weighted(rng, _HAIRSTYLES),
        top=top,
        sleeve=sleeve,
        bottom=top if whole else cloth(rng, lower, patterned=0.7 if lower == "dress" else 0.05),
        length=length,
        coat=cloth(rng, "coat") if happens(rng, 0.55 if cold else 0.1) else None,
        coat_length=near(rng, 0.55, 0.3, 0.1, 1.0),
        shoes=cloth(rng, "shoes"),
        boots=happens(rng, 0.2),
        socks=cloth(rng, "other") if length < 1.3 and happens(rng, 0.35) else None,
        hat=weighted(rng, _HATS) if happens(rng, 0.3) else None,
        hat_paint=cloth(rng, "other"),
        scarf=cloth(rng, "other", patterned=0.5) if happens(rng, 0.25 if cold else 0.02) else None,
        gloves=cloth(rng, "other") if happens(rng, 0.15 if cold else 0.01) else None,
        sunglasses=happens(rng, 0.1),
    )
