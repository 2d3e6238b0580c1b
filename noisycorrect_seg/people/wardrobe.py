"""What people wear: which garments together, how long, of what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from noisycorrect_seg.classes import LIP
from noisycorrect_seg.people.body import Physique
from noisycorrect_seg.people.chance import between, happens, near, weighted
from noisycorrect_seg.people.materials import Material, denim, fabric, hair, leather, skin

CLASS: Mapping[str, int] = {name: number for number, name in enumerate(LIP.names)}


@dataclass(frozen=True)
class Garment:
    """A garment of the trunk or of the legs; its `ease` and `flare` are in body heights."""

    label: int
    material: Material
    length: float  # of the sleeves or legs: 0 none, 1 to elbow or knee, 2 to wrist or ankle
    ease: float  # how far it stands off the body
    hem: float = 1.0  # of the trunk: 0 neck, 1 crotch; more for a coat that covers the legs (2 is the knee)
    neckline: float = 0.0  # its depth, in torso lengths
    opening: float = 0.0  # half angle of an open front, radians; 0 is closed
    flare: float | None = None  # how far a skirt's hem stands out; None for trousers


@dataclass(frozen=True)
class Outfit:
    """Everything that is seen of a person but the body itself."""

    skin: Material
    hair: Material
    hairstyle: str
    beard: bool
    top: Garment
    bottom: Garment
    coat: Garment | None
    tucked: bool
    socks: Material | None
    sock_length: float
    shoes: Material | None
    boot: float
    hat: str | None
    hat_material: Material
    sunglasses: bool
    gloves: Material | None
    scarf: Material | None
    bag: str | None
    bag_material: Material


_FEMININE_HAIR = {"long": 44, "bob": 20, "bun": 12, "ponytail": 14, "short": 7, "curly": 3}
_MASCULINE_HAIR = {"short": 66, "bald": 9, "curly": 8, "bob": 6, "crop": 11}
_FEMININE_STYLES = {"dress": 0.15, "jumpsuit": 0.04, "skirt": 0.11, "pants": 0.70}
_MASCULINE_STYLES = {"jumpsuit": 0.035, "pants": 0.965}
_HATS = {"cap": 40, "beanie": 28, "brim": 22, "helmet": 10}
_BAGS = {"hand": 30, "strap": 40, "backpack": 30}

_Span = tuple[float, float]
# How often each length is worn when it is cold, when it is not, and what it means.
_SLEEVES: tuple[dict[str, float], dict[str, float], dict[str, _Span]] = (
    {"long": 0.85, "short": 0.15},
    {"long": 0.36, "short": 0.44, "rolled": 0.08, "none": 0.12},
    {"long": (1.8, 2.0), "short": (0.35, 0.95), "rolled": (1.0, 1.6)},
)
_TROUSERS: tuple[dict[str, float], dict[str, float], dict[str, _Span]] = (
    {"long": 0.9, "short": 0.1},
    {"long": 0.66, "short": 0.25, "cropped": 0.09},
    {"long": (1.8, 1.98), "short": (0.35, 1.0), "cropped": (1.25, 1.7)},
)
_COATS: tuple[dict[str, float], dict[str, _Span]] = (
    {"waist": 0.25, "hip": 0.5, "long": 0.25},
    {"waist": (0.8, 0.92), "hip": (0.95, 1.2), "long": (1.3, 2.2)},
)


def _length(rng: np.random.Generator, shares: dict[str, float], spans: dict[str, _Span]) -> float:
    kind = weighted(rng, shares)
    return {name: between(rng, *span) for name, span in spans.items()}.get(kind, 0.0)


def sample_outfit(rng: np.random.Generator, physique: Physique) -> Outfit:
    """Draw an outfit; LIP's rare classes (gloves, sunglasses, socks, scarf, jumpsuits, skirts) are rare here, too."""
    style = weighted(rng, _FEMININE_STYLES if physique.feminine else _MASCULINE_STYLES)
    cold = happens(rng, 0.35)
    top, bottom = _main_clothes(rng, style, physique, cold)
    coat = _coat(rng) if happens(rng, 0.6 if cold else 0.16) else None
    socks = fabric(rng, patterned=0.2, folds=0.05) if happens(rng, 0.26 if bottom.length < 1.75 else 0.05) else None
    tights = socks is not None and bottom.flare is not None and happens(rng, 0.5)
    return Outfit(
        skin=skin(rng),
        hair=hair(rng),
        hairstyle=weighted(rng, _FEMININE_HAIR if physique.feminine else _MASCULINE_HAIR),
        beard=not physique.feminine and not physique.child and happens(rng, 0.3),
        top=top,
        bottom=bottom,
        coat=coat,
        tucked=happens(rng, 0.3),
        socks=socks,
        sock_length=2.0 if tights else between(rng, 0.1, 0.75),
        shoes=None if happens(rng, 0.06) else leather(rng),
        boot=between(rng, 0.2, 0.85) if happens(rng, 0.16) else 0.0,
        hat=weighted(rng, _HATS) if happens(rng, 0.24 if cold else 0.17) else None,
        hat_material=fabric(rng, patterned=0.25, folds=0.1),
        sunglasses=happens(rng, 0.06),
        gloves=leather(rng) if happens(rng, 0.10 if cold else 0.012) else None,
        scarf=fabric(rng, patterned=0.5) if happens(rng, 0.16 if cold else 0.012) else None,
        bag=weighted(rng, _BAGS) if happens(rng, 0.24) else None,
        bag_material=leather(rng),
    )


def _main_clothes(rng: np.random.Generator, style: str, physique: Physique, cold: bool) -> tuple[Garment, Garment]:
    warm, mild, spans = _SLEEVES
    sleeve = _length(rng, warm if cold else mild, spans)
    ease = near(rng, 0.010, 0.005, 0.003, 0.026)
    neckline = between(rng, 0.03, 0.14) if happens(rng, 0.4) else 0.02
    warm, mild, spans = _TROUSERS
    legs = warm if cold else mild
    if style == "dress":
        cloth, label = fabric(rng, patterned=0.45), CLASS["Dress"]
        top = Garment(label, cloth, 0.0 if happens(rng, 0.35) else sleeve, 0.006, 0.72, neckline)
        length = near(rng, 0.95, 0.35, 0.4, 1.9)
        return top, Garment(label, cloth, length, 0.012, flare=near(rng, 0.045, 0.035, 0.0, 0.15))
    if style == "jumpsuit":
        cloth, label = denim(rng) if happens(rng, 0.35) else fabric(rng, patterned=0.2), CLASS["Jumpsuits"]
        bottom = Garment(label, cloth, _length(rng, legs, spans), near(rng, 0.012, 0.006, 0.0, 0.03))
        return Garment(label, cloth, sleeve, ease, 1.0, neckline), bottom
    cloth, hem = fabric(rng, patterned=0.45), near(rng, 0.93, 0.07, 0.68, 1.12)
    top = Garment(CLASS["Upper-clothes"], cloth, sleeve, ease, hem, neckline)
    if style == "skirt":
        cloth = denim(rng) if happens(rng, 0.15) else fabric(rng, patterned=0.4)
        length = near(rng, 0.8, 0.33, 0.35, 1.8)
        return top, Garment(CLASS["Skirt"], cloth, length, 0.012, flare=near(rng, 0.045, 0.04, 0.0, 0.16))
    cloth = denim(rng) if happens(rng, 0.4) else fabric(rng, patterned=0.14)
    slim = physique.feminine and happens(rng, 0.5)
    length = _length(rng, legs, spans)
    return top, Garment(CLASS["Pants"], cloth, length, 0.002 if slim else near(rng, 0.012, 0.007, 0.0, 0.032))


def _coat(rng: np.random.Generator) -> Garment:
    cloth = leather(rng) if happens(rng, 0.15) else denim(rng) if happens(rng, 0.12) else fabric(rng, patterned=0.2)
    hem = _length(rng, *_COATS)
    opening = 0.0 if happens(rng, 0.27) else between(rng, 0.18, 0.75)
    sleeve = 1.0 if happens(rng, 0.05) else between(rng, 1.75, 2.0)
    ease, neckline = between(rng, 0.012, 0.028), between(rng, 0.02, 0.2)
    return Garment(CLASS["Coat"], cloth, sleeve, ease, hem, neckline, opening)
