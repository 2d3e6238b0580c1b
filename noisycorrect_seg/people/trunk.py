"""Trunk: pelvis, tops and dresses, skirts, coats, neck, scarf and bags."""

from __future__ import annotations

import numpy as np

from noisycorrect_seg.people.figure import Figure
from noisycorrect_seg.people.loft import Loft, ellipse
from noisycorrect_seg.people.wardrobe import CLASS, Garment

_FACE, _SCARF = CLASS["Face"], CLASS["Scarf"]
_WAIST = 0.62  # of the torso's length
_STATIONS = np.array([0.0, 0.06, 0.12, 0.28, 0.42, _WAIST, 0.78, 0.90, 1.0])
_DEPTH = np.array([0.55, 0.75, 0.92, 1.05, 1.02, 0.92, 1.02, 1.10, 0.9])


def torso(figure: Figure, ease: float = 0.0) -> Loft:
    """Return the torso's surface from neck to crotch, `ease` body heights off the skin."""
    body, skeleton = figure.physique, figure.skeleton
    side = [0.36 * body.shoulder, 0.66 * body.shoulder, body.shoulder * 0.97, body.chest * 1.04, body.chest]
    side += [body.waist, body.hip * 0.97, body.hip, body.hip * 0.86]
    front = np.zeros(9)
    front[3:5] += body.bust
    front[4:7] += body.belly
    front[6:9] -= 0.010  # the seat
    loft = Loft(figure.at("neck"), figure.at("crotch"), _STATIONS, side)
    low = np.clip((_STATIONS - 0.5) / 0.4, 0, 1)[:, None]
    across_side, across_front = (
        ((1 - low) * skeleton.torso[:2, axis] + low * skeleton.pelvis[:2, axis]) @ loft.across for axis in (0, 2)
    )
    half = np.hypot(np.array(side) * across_side, body.depth * _DEPTH * across_front)
    half += ease * np.minimum(1, 0.4 + _STATIONS * 4)
    centre = front * across_front
    loft.right, loft.left = (centre + half) * figure.scale, (centre - half) * figure.scale
    return loft


def pelvis(figure: Figure) -> None:
    """Paint what the legs hang from, in the cloth of the lower garment."""
    bottom = figure.outfit.bottom
    loft = torso(figure, bottom.ease * 0.7)
    figure.paint(loft.band(loft.span(_WAIST - 0.02)), bottom.label, bottom.material, loft)


def neck(figure: Figure) -> None:
    """Paint the neck; its class is the face's, as LIP has none of its own."""
    top = figure.at("chin") + 0.3 * (figure.at("crown") - figure.at("chin"))
    radii = np.array([0.040, 0.029, 0.028, 0.028]) * (0.5 + 0.5 * figure.physique.bulk)
    loft = figure.tube(torso(figure).point(0.07), top, radii)
    figure.part(loft, _FACE, figure.outfit.skin, 0.6)
    figure.shadow(loft.band(loft.span(0.42)), 0.8)  # the chin's


def clothes(figure: Figure) -> None:
    """Paint the garments of the trunk, a skirt over or under the top."""
    outfit = figure.outfit
    one_piece = outfit.top.label == outfit.bottom.label
    parts = [_skirt, _top] if not outfit.tucked or one_piece else [_top, _skirt]
    for part in parts if outfit.bottom.flare is not None else [_top]:
        part(figure)
    if outfit.top.material.phase[0] % 5 < 1 and outfit.top.label == CLASS["Upper-clothes"]:
        _print_on_chest(figure)
    if outfit.coat is not None:
        _coat(figure, outfit.coat)


def _top(figure: Figure) -> None:
    garment = figure.outfit.top
    loft = torso(figure, garment.ease)
    figure.paint(loft.down_to(garment.hem, 0.022), garment.label, garment.material, loft)
    _neckline(figure, garment, loft)


def _neckline(figure: Figure, garment: Garment, loft: Loft) -> None:
    azimuth = figure.skeleton.azimuth("torso")
    if np.cos(azimuth) < 0.15 or not garment.neckline:
        return
    turns = np.clip(azimuth + np.array([-1, -0.55, 0, 0.55, 1]) * (0.42 + 1.2 * garment.neckline), -1.5, 1.5)
    low = loft.points(np.array([0.0, 0.6, 1.0, 0.6, 0.0]) * garment.neckline + 0.015, np.sin(turns))
    high = loft.points([-0.03, -0.03], np.sin(turns[[4, 0]]))
    figure.paint(np.concatenate([low, high]), _FACE, figure.outfit.skin, loft)


def _print_on_chest(figure: Figure) -> None:
    garment, azimuth = figure.outfit.top, figure.skeleton.azimuth("torso")
    if np.cos(azimuth) < 0.4:
        return
    size = 0.2 + garment.material.phase[1] % 1 * 0.3
    us = np.sin(azimuth + np.array([-size, size, size, -size]))
    low = 0.24 + size * 0.4
    polygon = torso(figure, garment.ease).points([0.24, 0.24, low, low], us)
    figure.flat(polygon, garment.label, garment.material.second)


def _legs_at(figure: Figure, length: float) -> list[np.ndarray]:
    """Return the canvas pixels of a place on both legs: 0 hip, 1 knee, 2 ankle."""
    above, below, share = ("hip", "knee", length) if length <= 1 else ("knee", "ankle", length - 1)
    starts, ends = [figure.at(above + side) for side in "+-"], [figure.at(below + side) for side in "+-"]
    return [start + (end - start) * share for start, end in zip(starts, ends, strict=True)]


def _skirt_surface(figure: Figure, length: float, ease: float, flare: float) -> Loft:
    """Return the surface around both legs from the waist to a hem; `length` is that of trousers."""
    body = torso(figure, ease)
    start = body.point(_WAIST)
    seat, half, hem = (_legs_at(figure, part * length) for part in (0.0, 0.5, 1.0))
    loft = Loft(start, 0.5 * (hem[0] + hem[1]), [0, 1], [1, 1])
    waist = int(np.flatnonzero(_STATIONS == _WAIST)[0])
    rows = [(0.0, float(body.right[waist]), float(body.left[waist]))]
    for points, radius in ((seat, 0.058), (half, 0.054 + flare * 0.5), (hem, 0.046 - 0.012 * length + flare)):
        offsets = [float((point - start) @ loft.across) for point in points]
        t = float(np.mean([(point - start) @ loft.along for point in points])) / loft.length
        grow = (radius * figure.physique.bulk + ease) * figure.scale
        if t > rows[-1][0] + 0.02:
            rows.append((t, max(offsets) + grow, min(offsets) - grow))
    loft.stations, loft.right, loft.left = np.array(rows).T
    return loft


def _skirt(figure: Figure) -> None:
    bottom = figure.outfit.bottom
    assert bottom.flare is not None
    loft = _skirt_surface(figure, bottom.length, bottom.ease, bottom.flare)
    figure.paint(loft.down_to(float(loft.stations[-1]), 0.03), bottom.label, bottom.material, loft)


def _coat(figure: Figure, garment: Garment) -> None:
    """Paint a coat: one surface seen from behind or closed, else a panel on each side of the opening."""
    upper, azimuth = torso(figure, garment.ease), figure.skeleton.azimuth("torso")
    parts = [(upper, min(garment.hem, 1.02))]
    if garment.hem > 1.05:
        long = _skirt_surface(figure, garment.hem - 1, garment.ease, 0.012)
        parts.insert(0, (long, float(long.stations[-1])))
    front = abs(azimuth) - garment.opening < np.pi / 2
    for loft, end in parts:
        ts = np.linspace(float(loft.stations[0]), end, 9)
        if not front or not garment.opening:
            figure.paint(loft.band(ts), garment.label, garment.material, loft)
        else:
            _open_panels(figure, garment, loft, ts, azimuth)
    if front and not garment.opening:
        _neckline(figure, garment, upper)
        seam = float(np.sin(np.clip(azimuth, -1.5, 1.5)))
        ts = np.linspace(garment.neckline, min(garment.hem, 1.0), 5)
        figure.shadow(upper.band(ts, seam + 0.03, seam - 0.03), 0.75)


def _open_panels(figure: Figure, garment: Garment, loft: Loft, ts: np.ndarray, azimuth: float) -> None:
    spread = garment.opening * (1.0 - 0.35 * np.exp(-(((ts - 0.55) / 0.3) ** 2)))
    for sign in (-1.0, 1.0):
        edge = azimuth + sign * spread
        if np.all(sign * edge > np.pi / 2):
            continue
        inner = np.sin(np.clip(edge, -np.pi / 2, np.pi / 2))
        figure.shadow(loft.band(ts, inner, inner - sign * 0.12), 0.72)
        figure.paint(loft.band(ts, sign, inner), garment.label, garment.material, loft)


def scarf(figure: Figure) -> None:
    """Paint a scarf: a ring round the neck and, seen from the front, an end that hangs down."""
    cloth, body, azimuth = figure.outfit.scarf, torso(figure, 0.02), figure.skeleton.azimuth("torso")
    if cloth is None:
        return
    if np.cos(azimuth) > 0.1:
        u = float(np.sin(np.clip(azimuth + 0.35, -1.4, 1.4)))
        tail = figure.tube(body.point(0.02, u * 0.8), body.point(0.52, u), [0.026, 0.028, 0.032])
        figure.shadow(tail.outline(0.2, 0.1), 0.75, 0.006, 0.006)
        figure.part(tail, _SCARF, cloth, 0.2, 0.1)
    centre = 0.45 * figure.at("chin") + 0.55 * body.point(0.03)
    ring = ellipse(centre, 0.066 * figure.scale, 0.033 * figure.scale, body.along)
    figure.shadow(ring.outline(), 0.75, 0.0, 0.008)
    figure.part(ring, _SCARF, cloth)


def backpack(figure: Figure, *, behind: bool) -> None:
    """Paint a backpack, if there is one and the trunk hides it, or if it hides the trunk; it is background."""
    if figure.outfit.bag == "backpack" and (np.cos(figure.skeleton.azimuth("torso")) > 0) == behind:
        loft, scale = torso(figure, 0.03), figure.scale
        away = figure.skeleton.torso[:2, 2] * (-scale * 0.07)
        figure.part(
            ellipse(loft.point(0.38) + away, 0.085 * scale, 0.14 * scale, loft.along), 0, figure.outfit.bag_material
        )


def bag(figure: Figure) -> None:
    """Paint a bag in the hand or on a strap, if there is one; it is background."""
    outfit, down = figure.outfit, np.array([0.0, figure.scale])
    material = outfit.bag_material
    side, other = ("+", -1) if material.base[0] > 60 else ("-", 1)
    if outfit.bag == "hand":
        grip = figure.at("hand" + side)
        if grip[1] < figure.at("neck")[1]:
            return
        body = figure.tube(grip + 0.03 * down, grip + 0.13 * down, [0.05, 0.066, 0.07])
        strap = figure.tube(grip, grip + 0.04 * down, [0.022, 0.035])
        figure.flat(strap.outline(0.5, 0)[::2], 0, material.base * np.float32(0.7))
    elif outfit.bag == "strap":
        hip = figure.at("hip" + side) - down * 0.02
        strap = figure.tube(torso(figure, 0.02).point(0.07, 0.6 * other), hip, [0.008, 0.008])
        figure.flat(strap.outline(), 0, material.base * np.float32(0.8))
        body = figure.tube(hip, hip + down * 0.09, [0.055, 0.06, 0.055])
    else:
        return
    figure.part(body, 0, material, 0.1, 0.15)
