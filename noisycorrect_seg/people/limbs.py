"""Arms and legs: skin, sleeves and trousers, hands and gloves, socks and shoes."""

from __future__ import annotations

import numpy as np

from noisycorrect_seg.people.figure import Figure
from noisycorrect_seg.people.loft import Loft
from noisycorrect_seg.people.materials import Material
from noisycorrect_seg.people.wardrobe import CLASS, Garment

_ARM = {"+": CLASS["Left-arm"], "-": CLASS["Right-arm"]}
_LEG = {"+": CLASS["Left-leg"], "-": CLASS["Right-leg"]}
_SHOE = {"+": CLASS["Left-shoe"], "-": CLASS["Right-shoe"]}
_SOCKS, _GLOVE = CLASS["Socks"], CLASS["Glove"]

# Radii at equal distances, in body heights.
_UPPER_ARM = np.array([0.031, 0.031, 0.028, 0.025])
_FOREARM = np.array([0.026, 0.028, 0.024, 0.018])
_THIGH = np.array([0.060, 0.058, 0.050, 0.040])
_SHIN = np.array([0.039, 0.043, 0.034, 0.023])
_FOOT = np.array([0.024, 0.027, 0.027, 0.019])
_PALM = np.array([0.016, 0.022, 0.021, 0.012])
_THUMB = np.array([0.010, 0.007])


def arm(figure: Figure, side: str) -> None:
    """Paint an arm in its sleeves."""
    outfit, bulk = figure.outfit, figure.physique.bulk
    shoulder, elbow, wrist = (figure.at(joint + side) for joint in ("shoulder", "elbow", "wrist"))
    upper, lower = figure.tube(shoulder, elbow, _UPPER_ARM * bulk), figure.tube(elbow, wrist, _FOREARM * bulk)
    figure.shadow(lower.outline(0.8, 0.8), 0.8, 0.006, 0.012)
    _hand(figure, side)
    bare = max(outfit.top.length, outfit.coat.length if outfit.coat else 0.0)
    if bare < 1.95:
        figure.part(lower, _ARM[side], outfit.skin, 0.9, 0.5)
    if bare < 0.98:
        figure.part(upper, _ARM[side], outfit.skin, 1.0, 0.9)
    for garment in (outfit.top, outfit.coat):
        if garment is not None and garment.length > 0:
            _sleeve(figure, garment, upper, lower)


def _sleeve(figure: Figure, garment: Garment, upper: Loft, lower: Loft) -> None:
    tight, length = garment.ease * 0.9, garment.length
    loose = tight * (1.6 if length < 1 else 0.7)
    cloth = garment.label, garment.material
    if length > 1.02:
        _cover(figure, lower, *cloth, 0, length - 1, (tight, loose), (0.9, 0.25))
    eases, end = (tight, loose if length < 1 else tight), 0.8 if length > 1 else 0.15
    _cover(figure, upper, *cloth, 0, min(length, 1.0), eases, (1.0, end))


def _cover(
    figure: Figure, limb: Loft, label: int, material: Material, start: float, end: float,
    eases: tuple[float, float], caps: tuple[float, float], beyond: float = 0.0,
) -> None:  # fmt: skip
    """Paint cloth around a part of a limb, some body heights off the skin at its two ends."""
    radii = np.interp(np.linspace(start, end, 4), limb.stations, limb.right) / figure.scale + np.linspace(*eases, 4)
    figure.part(figure.tube(limb.point(start), limb.point(end + beyond), radii), label, material, *caps)


def _hand(figure: Figure, side: str) -> None:
    outfit = figure.outfit
    wrist, tip = figure.at("wrist" + side), figure.at("hand" + side)
    material, label, grow = (outfit.skin, _ARM[side], 1.0) if outfit.gloves is None else (outfit.gloves, _GLOVE, 1.25)
    palm = figure.tube(wrist, tip, _PALM * grow)
    turn = 1.0 if float((figure.at("crotch") - wrist) @ palm.across) > 0 else -1.0
    thumb = figure.tube(palm.point(0.15, 0.4 * turn), palm.point(0.68, 1.5 * turn), _THUMB * grow)
    figure.part(thumb, label, material, 1, 1)
    figure.part(palm, label, material, 0.8, 0.8)
    if outfit.gloves is not None:
        cuff = figure.tube(wrist - (tip - wrist) * 0.5, wrist + (tip - wrist) * 0.2, [0.026, 0.024])
        figure.part(cuff, label, material, 0.2, 0.2)


def leg(figure: Figure, side: str) -> None:
    """Paint a leg in its trouser leg, with sock and shoe; skirts are painted later, over both."""
    outfit, bottom, bulk = figure.outfit, figure.outfit.bottom, figure.physique.bulk
    hip, knee, ankle = (figure.at(joint + side) for joint in ("hip", "knee", "ankle"))
    thigh, shin = figure.tube(hip, knee, _THIGH * bulk), figure.tube(knee, ankle, _SHIN * bulk)
    covered = bottom.length if bottom.flare is None else 0.0
    eases, cloth = (bottom.ease, bottom.ease), (bottom.label, bottom.material)

    def lower() -> None:
        if covered < 1.95:
            figure.part(shin, _LEG[side], outfit.skin, 0.95, 0.5)
        if outfit.socks is not None:
            top = max(1.0 - outfit.sock_length, 0.0)
            caps = (0.1 if top else 0.9, 0.6)
            _cover(figure, shin, _SOCKS, outfit.socks, top, 1, (0.002, 0.002), caps, beyond=0.02)
        _shoe(figure, side, ankle)
        if covered > 1.02:
            _cover(figure, shin, *cloth, 0, covered - 1, eases, (0.9, 0.15))
        # Wide trousers hang over the boots, narrow ones are tucked in.
        if outfit.boot and outfit.shoes is not None and (covered < 1.3 or bottom.ease < 0.007):
            ease = 0.008 + (bottom.ease if bottom.flare is None else 0.0)
            _cover(figure, shin, _SHOE[side], outfit.shoes, 1 - outfit.boot, 1, (ease, ease), (0.1, 0.6), beyond=0.05)

    def upper() -> None:
        if covered < 0.98:
            figure.part(thigh, _LEG[side], outfit.skin, 0.9, 0.95)
        if outfit.socks is not None and outfit.sock_length >= 2:
            figure.part(thigh, _SOCKS, outfit.socks, 0.9, 0.95)
        if bottom.flare is None:
            _cover(figure, thigh, *cloth, 0, min(covered, 1.0), eases, (0.9, 0.9 if covered > 1.02 else 0.15))

    # A knee that points to the camera hides the start of the shin; else the shin's end of the knee lies on top.
    towards = figure.depth("knee" + side) > figure.depth("ankle" + side) + 0.05
    for part in (lower, upper) if towards else (upper, lower):
        part()


def _shoe(figure: Figure, side: str, ankle: np.ndarray) -> None:
    outfit = figure.outfit
    heel, toe = figure.at("heel" + side), figure.at("toe" + side)
    if outfit.shoes is not None:
        label, material, grow = _SHOE[side], outfit.shoes, 1.0
    elif outfit.socks is not None:
        label, material, grow = _SOCKS, outfit.socks, 0.85
    else:
        label, material, grow = _LEG[side], outfit.skin, 0.85
    foot = figure.tube(heel, toe, _FOOT * grow)
    figure.shadow(foot.outline(0.9, 0.9), 0.72, 0.0, 0.012)
    figure.part(foot, label, material, 0.9, 0.9)
    if outfit.shoes is not None:
        instep = figure.tube(ankle, 0.5 * (heel + toe), [0.026 * figure.physique.bulk, 0.028])
        figure.part(instep, label, material, 0.5, 0.5)
