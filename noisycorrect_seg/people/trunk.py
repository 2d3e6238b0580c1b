"""Trunk: pelvis, tops and dresses, skirts, coats, neck and scarf."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.figure import Figure
from noisycorrect_seg.people.loft import Loft, Points, ellipse, tube
from noisycorrect_seg.people.wardrobe import Top

FACE, SCARF = 13, 11
WAIST = 0.62  # of the torso's length

_STATIONS = np.array([0.0, 0.06, 0.12, 0.28, 0.42, WAIST, 0.78, 0.90, 1.0])


def torso(figure: Figure, ease: float = 0.0) -> Loft:
    """Return the torso's surface from neck to crotch, `ease` body heights off the skin."""
    person, skeleton = figure.person, figure.person.skeleton
    body = person.physique
    side = np.array([0.36 * body.shoulder, 0.66 * body.shoulder, body.shoulder * 0.97, body.chest * 1.04, body.chest])
    side = np.concatenate([side, [body.waist, body.hip * 0.97, body.hip, body.hip * 0.86]])
    depth = body.depth * np.array([0.55, 0.75, 0.92, 1.05, 1.02, 0.92, 1.02, 1.10, 0.9])
    front = np.zeros(9)
    front[3:5] += body.bust
    front[4:7] += body.belly
    front[6:9] -= 0.010  # the seat
    loft = Loft(figure.at("neck"), figure.at("crotch"), _STATIONS, side)
    low = np.clip((_STATIONS - 0.5) / 0.4, 0, 1)[:, None]
    lateral = (1 - low) * skeleton.torso[:2, 0] + low * skeleton.pelvis[:2, 0]
    forward = (1 - low) * skeleton.torso[:2, 2] + low * skeleton.pelvis[:2, 2]
    across_side, across_front = lateral @ loft.across, forward @ loft.across
    half = np.hypot(side * across_side, depth * across_front) + ease * np.minimum(1, 0.4 + _STATIONS * 4)
    centre = front * across_front
    loft.right, loft.left = (centre + half) * figure.scale, (centre - half) * figure.scale
    return loft


def pelvis(figure: Figure) -> None:
    """Paint what the legs hang from, in the cloth of the lower garment."""
    bottom = figure.person.outfit.bottom
    loft = torso(figure, bottom.ease * 0.7)
    figure.paint(loft.panel(t0=WAIST - 0.02), bottom.label, bottom.material, loft)


def neck(figure: Figure) -> None:
    """Paint the neck; its class is the face's, as LIP has none of its own."""
    outfit, body = figure.person.outfit, figure.person.physique
    base = torso(figure).point(0.07, 0)
    top = figure.at("chin") + 0.3 * (figure.at("crown") - figure.at("chin"))
    bulk = 0.5 + 0.5 * body.bulk
    loft = tube(base, top, [0.040 * bulk, 0.029 * bulk, 0.028 * bulk, 0.028 * bulk], figure.scale)
    figure.paint(loft.outline(0.6, 0.0), FACE, outfit.skin, loft)
    figure.canvas.tint(loft.panel(t0=0.42), 0.8)  # the chin's shadow


def top(figure: Figure) -> None:
    """Paint the garment of the trunk with its neckline."""
    garment = figure.person.outfit.top
    loft = torso(figure, garment.ease)
    figure.paint(_down_to(loft, garment.hem), garment.label, garment.material, loft)
    _neckline(figure, garment, loft)


def _down_to(loft: Loft, hem: float) -> Points:
    """Return the polygon down to a hem that may hang a little below the torso's end; it curves with the body."""
    ts = np.concatenate([_STATIONS[hem > _STATIONS], [hem]])
    ones = np.ones(len(ts))
    us = np.linspace(1, -1, 7)[1:-1]
    low = loft.points(hem + 0.022 * (1 - us**2), us)
    return np.concatenate([loft.points(ts, ones), low, loft.points(ts, -ones)[::-1]])


def _neckline(figure: Figure, garment: Top, loft: Loft) -> None:
    azimuth = figure.person.skeleton.azimuth("torso")
    if np.cos(azimuth) < 0.15 or not garment.neckline:
        return
    wide = 0.42 + 1.2 * garment.neckline
    turns = np.clip(azimuth + np.array([-1, -0.55, 0, 0.55, 1]) * wide, -1.5, 1.5)
    depths = np.array([0.0, 0.6, 1.0, 0.6, 0.0]) * garment.neckline + 0.015
    low = loft.points(depths, np.sin(turns))
    high = loft.points(np.array([-0.03, -0.03]), np.sin(turns[[4, 0]]))
    figure.paint(np.concatenate([low, high]), FACE, figure.person.outfit.skin, loft)


def leg_point(figure: Figure, side: str, length: float) -> NDArray[np.float64]:
    """Return the canvas pixel of a place on a leg: 0 hip, 1 knee, 2 ankle."""
    names = ("hip", "knee") if length <= 1 else ("knee", "ankle")
    start, end = figure.at(names[0] + side), figure.at(names[1] + side)
    return np.asarray(start + (end - start) * (length if length <= 1 else length - 1))


def skirt_surface(figure: Figure, length: float, ease: float, flare: float) -> Loft:
    """Return the surface around both legs from the waist to a hem; see `leg_point` for `length`."""
    body = torso(figure, ease)
    start = body.point(WAIST, 0)
    hem = [leg_point(figure, side, length) for side in "+-"]
    half = [leg_point(figure, side, length * 0.5) for side in "+-"]
    seat = [figure.at("hip" + side) for side in "+-"]
    loft = Loft(start, 0.5 * (hem[0] + hem[1]), [0, 1], [1, 1])
    right_waist, left_waist = (float(values[0]) for values in body.sides(np.array([WAIST])))
    rows: list[tuple[float, float, float]] = [(0.0, right_waist, left_waist)]
    for points, radius in ((seat, 0.058), (half, 0.054 + flare * 0.5), (hem, 0.046 - 0.012 * length + flare)):
        offsets = [float((point - start) @ loft.across) for point in points]
        t = float(np.mean([(point - start) @ loft.along for point in points])) / loft.length
        grow = (radius * figure.person.physique.bulk + ease) * figure.scale
        if t > rows[-1][0] + 0.02:
            rows.append((t, max(offsets) + grow, min(offsets) - grow))
    loft.stations, loft.right, loft.left = np.array(rows).T
    return loft


def skirt(figure: Figure) -> None:
    """Paint a skirt, or the lower half of a dress."""
    bottom = figure.person.outfit.bottom
    assert bottom.flare is not None
    loft = skirt_surface(figure, bottom.length, bottom.ease, bottom.flare)
    figure.paint(_round_hem(loft, -1.0, 1.0), bottom.label, bottom.material, loft)


def _round_hem(loft: Loft, u0: float, u1: float) -> Points:
    us = np.linspace(u1, u0, 7)
    ts = loft.stations[:-1]
    end = float(loft.stations[-1])
    low = loft.points(end + 0.03 * (1 - us**2), us)
    return np.concatenate([loft.points(ts, np.full(len(ts), u1)), low, loft.points(ts, np.full(len(ts), u0))[::-1]])


def coat(figure: Figure) -> None:
    """Paint a coat: one surface seen from behind or closed, else a panel on each side of the opening."""
    garment = figure.person.outfit.coat
    assert garment is not None
    upper = torso(figure, garment.ease)
    parts = [(upper, min(garment.hem, 1.02))]
    if garment.hem > 1.05:
        long = skirt_surface(figure, garment.hem - 1, garment.ease, 0.012)
        parts.insert(0, (long, float(long.stations[-1])))
    azimuth = figure.person.skeleton.azimuth("torso")
    front = abs(azimuth) - garment.opening < np.pi / 2
    for loft, end in parts:
        if not front or not garment.opening:
            ts = np.linspace(float(loft.stations[0]), end, 9)
            polygon = np.concatenate([loft.points(ts, np.ones(9)), loft.points(ts, -np.ones(9))[::-1]])
            figure.paint(polygon, garment.label, garment.material, loft)
        else:
            _open_panels(figure, garment, loft, end, azimuth)
    if front and not garment.opening:
        _neckline(figure, garment, upper)
        ts = np.linspace(garment.neckline, min(garment.hem, 1.0), 5)
        seam = float(np.sin(np.clip(azimuth, -1.5, 1.5)))
        line = np.concatenate(
            [upper.points(ts, np.full(5, seam + 0.03)), upper.points(ts, np.full(5, seam - 0.03))[::-1]]
        )
        figure.canvas.tint(line, 0.75)


def _open_panels(figure: Figure, garment: Top, loft: Loft, end: float, azimuth: float) -> None:
    ts = np.linspace(float(loft.stations[0]), end, 9)
    spread = garment.opening * (1.0 - 0.35 * np.exp(-(((ts - 0.55) / 0.3) ** 2)))
    for sign in (-1.0, 1.0):
        edge = azimuth + sign * spread
        if np.all(sign * edge > np.pi / 2):
            continue
        inner = np.sin(np.clip(edge, -np.pi / 2, np.pi / 2))
        polygon = np.concatenate([loft.points(ts, np.full(9, sign)), loft.points(ts, inner)[::-1]])
        shadow = np.concatenate([loft.points(ts, inner), loft.points(ts, inner - sign * 0.12)[::-1]])
        figure.canvas.tint(shadow, 0.72)
        figure.paint(polygon, garment.label, garment.material, loft)


def scarf(figure: Figure) -> None:
    """Paint a scarf: a ring round the neck and, seen from the front, an end that hangs down."""
    cloth = figure.person.outfit.scarf
    assert cloth is not None
    body = torso(figure, 0.02)
    azimuth = figure.person.skeleton.azimuth("torso")
    if np.cos(azimuth) > 0.1:
        u = float(np.sin(np.clip(azimuth + 0.35, -1.4, 1.4)))
        tail = tube(body.point(0.02, u * 0.8), body.point(0.52, u), [0.026, 0.028, 0.032], figure.scale)
        figure.canvas.tint(tail.outline(0.2, 0.1) + figure.scale * 0.006, 0.75)
        figure.paint(tail.outline(0.2, 0.1), SCARF, cloth, tail)
    centre = 0.45 * figure.at("chin") + 0.55 * body.point(0.03, 0)
    ring = ellipse(centre, 0.066 * figure.scale, 0.033 * figure.scale, body.along)
    figure.canvas.tint(ring.outline() + figure.scale * np.array([0.0, 0.008]), 0.75)
    figure.paint(ring.outline(), SCARF, cloth, ring)


def print_on_chest(figure: Figure, colour: NDArray[np.float32], size: float) -> None:
    """Paint a print on the top, which stays of the top's class."""
    azimuth = figure.person.skeleton.azimuth("torso")
    if np.cos(azimuth) < 0.4:
        return
    garment = figure.person.outfit.top
    loft = torso(figure, garment.ease)
    u = np.sin(azimuth + np.array([-size, size, size, -size]))
    figure.flat(loft.points(np.array([0.24, 0.24, 0.24 + size * 0.4, 0.24 + size * 0.4]), u), garment.label, colour)
