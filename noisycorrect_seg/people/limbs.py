"""Arms and legs: skin, sleeves and trousers, hands and gloves, socks and shoes."""

from __future__ import annotations

import numpy as np

from noisycorrect_seg.people.figure import Figure
from noisycorrect_seg.people.loft import Loft, tube
from noisycorrect_seg.people.materials import Material
from noisycorrect_seg.people.wardrobe import Top

ARM = {"+": 14, "-": 15}
LEG = {"+": 16, "-": 17}
SHOE = {"+": 18, "-": 19}
SOCKS, GLOVE = 8, 3

_UPPER_ARM = np.array([0.031, 0.031, 0.028, 0.025])
_FOREARM = np.array([0.026, 0.028, 0.024, 0.018])
_THIGH = np.array([0.060, 0.058, 0.050, 0.040])
_SHIN = np.array([0.039, 0.043, 0.034, 0.023])


def arm(figure: Figure, side: str) -> None:
    """Paint an arm in its sleeves."""
    outfit, bulk = figure.person.outfit, figure.person.physique.bulk
    shoulder, elbow, wrist = figure.at("shoulder" + side), figure.at("elbow" + side), figure.at("wrist" + side)
    upper = tube(shoulder, elbow, (_UPPER_ARM * bulk).tolist(), figure.scale)
    lower = tube(elbow, wrist, (_FOREARM * bulk).tolist(), figure.scale)
    figure.canvas.tint(lower.outline(0.8, 0.8) + figure.scale * np.array([0.006, 0.012]), 0.8)
    _hand(figure, side)
    bare = max(outfit.top.sleeve, outfit.coat.sleeve if outfit.coat else 0.0)
    if bare < 1.95:
        figure.paint(lower.outline(0.9, 0.5), ARM[side], outfit.skin, lower)
    if bare < 0.98:
        figure.paint(upper.outline(1.0, 0.9), ARM[side], outfit.skin, upper)
    for garment in (outfit.top, outfit.coat):
        if garment is not None and garment.sleeve > 0:
            _sleeve(figure, side, garment)


def _sleeve(figure: Figure, side: str, garment: Top) -> None:
    bulk = figure.person.physique.bulk
    shoulder, elbow, wrist = figure.at("shoulder" + side), figure.at("elbow" + side), figure.at("wrist" + side)
    ease = garment.ease * 0.9
    loose = ease * (1.6 if garment.sleeve < 1 else 0.7)
    if garment.sleeve > 1.02:
        part = garment.sleeve - 1
        end = elbow + (wrist - elbow) * part
        radii = np.interp(np.linspace(0, part, 4), np.linspace(0, 1, 4), _FOREARM * bulk) + np.linspace(ease, loose, 4)
        lower = tube(elbow, end, radii.tolist(), figure.scale)
        figure.paint(lower.outline(0.9, 0.25), garment.label, garment.material, lower)
    part = min(garment.sleeve, 1.0)
    end = shoulder + (elbow - shoulder) * part
    radii = np.interp(np.linspace(0, part, 4), np.linspace(0, 1, 4), _UPPER_ARM * bulk)
    radii = radii + np.linspace(ease, loose if garment.sleeve < 1 else ease, 4)
    upper = tube(shoulder, end, radii.tolist(), figure.scale)
    figure.paint(upper.outline(1.0, 0.8 if garment.sleeve > 1 else 0.15), garment.label, garment.material, upper)


def _hand(figure: Figure, side: str) -> None:
    outfit = figure.person.outfit
    wrist, tip = figure.at("wrist" + side), figure.at("hand" + side)
    material, label, grow = (outfit.skin, ARM[side], 1.0) if outfit.gloves is None else (outfit.gloves, GLOVE, 1.25)
    palm = tube(wrist, tip, [0.016 * grow, 0.022 * grow, 0.021 * grow, 0.012 * grow], figure.scale)
    inward = figure.at("crotch") - wrist
    turn = 1.0 if float(inward @ palm.across) > 0 else -1.0
    thumb = tube(palm.point(0.15, 0.4 * turn), palm.point(0.68, 1.5 * turn), [0.010 * grow, 0.007 * grow], figure.scale)
    figure.paint(thumb.outline(1, 1), label, material, thumb)
    figure.paint(palm.outline(0.8, 0.8), label, material, palm)
    if outfit.gloves is not None:
        cuff = tube(wrist - (tip - wrist) * 0.5, wrist + (tip - wrist) * 0.2, [0.026, 0.024], figure.scale)
        figure.paint(cuff.outline(0.2, 0.2), label, material, cuff)


def leg(figure: Figure, side: str) -> None:
    """Paint a leg in its trouser leg, with sock and shoe; skirts are painted later, over both."""
    outfit, bulk = figure.person.outfit, figure.person.physique.bulk
    hip, knee, ankle = figure.at("hip" + side), figure.at("knee" + side), figure.at("ankle" + side)
    thigh = tube(hip, knee, (_THIGH * bulk).tolist(), figure.scale)
    shin = tube(knee, ankle, (_SHIN * bulk).tolist(), figure.scale)
    towards = figure.depth("knee" + side) > figure.depth("ankle" + side) + 0.05
    trousers = outfit.bottom if outfit.bottom.flare is None else None
    covered = 0.0 if trousers is None else trousers.length

    def lower() -> None:
        if covered < 1.95:
            figure.paint(shin.outline(0.95, 0.5), LEG[side], outfit.skin, shin)
        _sock(figure, side, shin)
        _shoe(figure, side, shin)
        if trousers is not None and covered > 1.02:
            _trouser(figure, shin, _SHIN * bulk, covered - 1)
        # Wide trousers hang over the boots, narrow ones are tucked in.
        if outfit.boot and outfit.shoes is not None and (covered < 1.3 or outfit.bottom.ease < 0.007):
            _boot(figure, SHOE[side], shin, outfit.shoes)

    def upper() -> None:
        if covered < 0.98:
            figure.paint(thigh.outline(0.9, 0.95), LEG[side], outfit.skin, thigh)
        if outfit.socks is not None and outfit.sock_length >= 2:
            figure.paint(thigh.outline(0.9, 0.95), SOCKS, outfit.socks, thigh)
        if trousers is not None:
            _trouser(figure, thigh, _THIGH * bulk, min(covered, 1.0), whole=covered > 1.02)

    # A knee that points to the camera hides the start of the shin; else the shin's end of the knee lies on top.
    for part in (lower, upper) if towards else (upper, lower):
        part()


def _trouser(figure: Figure, limb: Loft, radii: np.ndarray, part: float, *, whole: bool = False) -> None:
    bottom = figure.person.outfit.bottom
    start, end = limb.point(0, 0), limb.point(part, 0)
    widths = np.interp(np.linspace(0, part, 4), np.linspace(0, 1, 4), radii) + bottom.ease
    leg_cloth = tube(start, end, widths.tolist(), figure.scale)
    outline = leg_cloth.outline(0.9, 0.9 if whole else 0.15)
    figure.paint(outline, bottom.label, bottom.material, leg_cloth)


def _sock(figure: Figure, side: str, shin: Loft) -> None:
    outfit = figure.person.outfit
    if outfit.socks is None:
        return
    top = max(1.0 - outfit.sock_length, 0.0)
    sock = tube(shin.point(top, 0), shin.point(1.02, 0), _sock_radii(top, figure.person.physique.bulk), figure.scale)
    figure.paint(sock.outline(0.9 if top == 0 else 0.1, 0.6), SOCKS, outfit.socks, sock)


def _sock_radii(top: float, bulk: float) -> list[float]:
    radii = np.interp(np.linspace(top, 1, 4), np.linspace(0, 1, 4), _SHIN * bulk) + 0.002
    return [float(radius) for radius in radii]


def _shoe(figure: Figure, side: str, shin: Loft) -> None:
    outfit, bulk = figure.person.outfit, figure.person.physique.bulk
    heel, toe, ankle = figure.at("heel" + side), figure.at("toe" + side), figure.at("ankle" + side)
    bare = outfit.shoes is None
    label = (SOCKS if outfit.socks is not None else LEG[side]) if bare else SHOE[side]
    skin = outfit.socks if outfit.socks is not None else outfit.skin
    material: Material = skin if outfit.shoes is None else outfit.shoes
    grow = 0.85 if bare else 1.0
    foot = tube(heel, toe, [0.024 * grow, 0.027 * grow, 0.027 * grow, 0.019 * grow], figure.scale)
    figure.canvas.tint(foot.outline(0.9, 0.9) + figure.scale * np.array([0.0, 0.012]), 0.72)
    figure.paint(foot.outline(0.9, 0.9), label, material, foot)
    if not bare:
        instep = tube(ankle, 0.5 * (heel + toe), [0.026 * bulk, 0.028], figure.scale)
        figure.paint(instep.outline(0.5, 0.5), label, material, instep)


def _boot(figure: Figure, label: int, shin: Loft, material: Material) -> None:
    top = 1 - figure.person.outfit.boot
    ease = figure.person.outfit.bottom.ease if figure.person.outfit.bottom.flare is None else 0.0
    radii = [radius + ease + 0.006 for radius in _sock_radii(top, figure.person.physique.bulk)]
    shaft = tube(shin.point(top, 0), shin.point(1.05, 0), radii, figure.scale)
    figure.paint(shaft.outline(0.1, 0.6), label, material, shaft)
