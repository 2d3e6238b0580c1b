"""What people wear: which garments together, how long, of what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noisycorrect_seg.people.body import Physique
from noisycorrect_seg.people.chance import between, happens, near, weighted
from noisycorrect_seg.people.materials import Material, denim, fabric, hair, leather, skin


@dataclass(frozen=True)
class Top:
    """A garment of the trunk.

    Attributes
    ----------
    label : int
        Its class.
    material : Material
        Its cloth.
    sleeve : float
        0 none, 1 to the elbow, 2 to the wrist.
    hem : float
        Where it ends: 0 neck, 1 crotch; more for a coat that covers the legs (2 is the knee).
    ease : float
        How far it stands off the body, in body heights.
    neckline : float
        Depth of the neckline in torso lengths.
    opening : float
        Half angle of an open front, radians; 0 is closed.
    """

    label: int
    material: Material
    sleeve: float
    hem: float
    ease: float
    neckline: float = 0.0
    opening: float = 0.0


@dataclass(frozen=True)
class Bottom:
    """A garment of the legs: trousers if `flare` is None, else a skirt.

    Attributes
    ----------
    label : int
        Its class.
    material : Material
        Its cloth.
    length : float
        0 hip, 1 knee, 2 ankle.
    ease : float
        How far it stands off the leg, in body heights.
    flare : float or None
        How far a skirt's hem stands out, in body heights.
    """

    label: int
    material: Material
    length: float
    ease: float
    flare: float | None = None


@dataclass(frozen=True)
class Outfit:
    """Everything that is seen of a person but the body itself."""

    skin: Material
    hair: Material
    hairstyle: str
    beard: bool
    top: Top
    bottom: Bottom
    coat: Top | None
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
_HATS = {"cap": 40, "beanie": 28, "brim": 22, "helmet": 10}
_BAGS = {"hand": 30, "strap": 40, "backpack": 30}


def sample_outfit(rng: np.random.Generator, physique: Physique) -> Outfit:
    """Draw an outfit; LIP's rare classes (gloves, sunglasses, socks, scarf, jumpsuits, skirts) are rare here, too."""
    style = weighted(
        rng,
        {"dress": 0.15, "jumpsuit": 0.04, "skirt": 0.11, "pants": 0.70}
        if physique.feminine
        else {"jumpsuit": 0.035, "pants": 0.965},
    )
    cold = happens(rng, 0.35)
    top, bottom = _main_clothes(rng, style, physique, cold)
    coat = None
    if happens(rng, 0.6 if cold else 0.16):
        coat = _coat(rng)
    bare_below = bottom.length < 1.75
    socks = fabric(rng, patterned=0.2, folds=0.05) if happens(rng, 0.26 if bare_below else 0.05) else None
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


def _main_clothes(rng: np.random.Generator, style: str, physique: Physique, cold: bool) -> tuple[Top, Bottom]:
    sleeve = _sleeve(rng, cold)
    ease = near(rng, 0.010, 0.005, 0.003, 0.026)
    neckline = between(rng, 0.03, 0.14) if happens(rng, 0.4) else 0.02
    if style == "dress":
        cloth = fabric(rng, patterned=0.45)
        top = Top(6, cloth, 0.0 if happens(rng, 0.35) else sleeve, 0.72, 0.006, neckline)
        return top, Bottom(6, cloth, near(rng, 0.95, 0.35, 0.4, 1.9), 0.012, near(rng, 0.045, 0.035, 0.0, 0.15))
    if style == "jumpsuit":
        cloth = denim(rng) if happens(rng, 0.35) else fabric(rng, patterned=0.2)
        legs = Bottom(10, cloth, _trousers(rng, cold), near(rng, 0.012, 0.006, 0.0, 0.03))
        return Top(10, cloth, sleeve, 1.0, ease, neckline), legs
    top = Top(5, fabric(rng, patterned=0.45), sleeve, near(rng, 0.93, 0.07, 0.68, 1.12), ease, neckline)
    if style == "skirt":
        cloth = denim(rng) if happens(rng, 0.15) else fabric(rng, patterned=0.4)
        return top, Bottom(12, cloth, near(rng, 0.8, 0.33, 0.35, 1.8), 0.012, near(rng, 0.045, 0.04, 0.0, 0.16))
    cloth = denim(rng) if happens(rng, 0.4) else fabric(rng, patterned=0.14)
    slim = physique.feminine and happens(rng, 0.5)
    return top, Bottom(9, cloth, _trousers(rng, cold), 0.002 if slim else near(rng, 0.012, 0.007, 0.0, 0.032))


def _trousers(rng: np.random.Generator, cold: bool) -> float:
    kind = weighted(rng, {"long": 0.9, "short": 0.1} if cold else {"long": 0.66, "short": 0.25, "cropped": 0.09})
    return {"long": between(rng, 1.8, 1.98), "short": between(rng, 0.35, 1.0), "cropped": between(rng, 1.25, 1.7)}[kind]


def _sleeve(rng: np.random.Generator, cold: bool) -> float:
    kind = weighted(
        rng, {"long": 0.85, "short": 0.15} if cold else {"long": 0.36, "short": 0.44, "rolled": 0.08, "none": 0.12}
    )
    return {
        "long": between(rng, 1.8, 2.0),
        "short": between(rng, 0.35, 0.95),
        "rolled": between(rng, 1.0, 1.6),
        "none": 0.0,
    }[kind]


def _coat(rng: np.random.Generator) -> Top:
    cloth = leather(rng) if happens(rng, 0.15) else denim(rng) if happens(rng, 0.12) else fabric(rng, patterned=0.2)
    hem = weighted(rng, {"waist": 0.25, "hip": 0.5, "long": 0.25})
    ends = {"waist": between(rng, 0.8, 0.92), "hip": between(rng, 0.95, 1.2), "long": between(rng, 1.3, 2.2)}[hem]
    opening = 0.0 if happens(rng, 0.27) else between(rng, 0.18, 0.75)
    return Top(
        7,
        cloth,
        1.0 if happens(rng, 0.05) else between(rng, 1.75, 2.0),
        ends,
        between(rng, 0.012, 0.028),
        between(rng, 0.02, 0.2),
        opening,
    )
