"""Head: face, hair, hats, sunglasses. What lies on it is placed by its azimuth, so that it turns with the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.figure import Figure
from noisycorrect_seg.people.loft import Loft, Point, Points, ellipse, tube

HAT, HAIR, SUNGLASSES, FACE = 1, 2, 4, 13

_STATIONS = np.array([0.0, 0.06, 0.16, 0.30, 0.46, 0.62, 0.76, 0.88, 0.96, 1.0])
_SIDE = np.array([0.26, 0.56, 0.84, 0.98, 1.0, 0.96, 0.86, 0.66, 0.44, 0.30])
_WIDTH, _DEPTH = 0.365, 0.43  # half axes, in head heights


def surface(figure: Figure, grow: float = 1.0) -> Loft:
    """Return the head's surface from crown to chin, widened by a factor."""
    head, body = figure.person.skeleton.head, figure.person.physique
    loft = Loft(figure.at("crown"), figure.at("chin"), _STATIONS, _SIDE)
    across_side, across_front = float(head[:2, 0] @ loft.across), float(head[:2, 2] @ loft.across)
    half = _SIDE * np.hypot(_WIDTH * across_side, _DEPTH * across_front) * grow
    centre = across_front * (np.clip((_STATIONS - 0.5) / 0.5, 0, 1) * 0.13 - 0.05)
    size = body.head * figure.scale
    loft.right, loft.left = (centre + half) * size, (centre - half) * size
    return loft


def azimuth(figure: Figure) -> float:
    """Return how far the face is turned from the camera to the image's right, in radians."""
    return figure.person.skeleton.azimuth("head")


def ring(figure: Figure, t: float, grow: NDArray[np.float64], turns: NDArray[np.float64]) -> Points:
    """Return pixels of a ring around the head at height t, `grow` times its size, at turns from its front."""
    head, size = figure.person.skeleton.head, figure.person.physique.head * figure.scale
    axis = figure.at("crown") + t * (figure.at("chin") - figure.at("crown"))
    out = np.sin(turns)[:, None] * head[:2, 0] * _WIDTH + np.cos(turns)[:, None] * head[:2, 2] * _DEPTH
    return np.asarray(axis + out * grow[:, None] * size)


def face(figure: Figure) -> None:
    """Paint the bare head with its features."""
    outfit = figure.person.outfit
    loft, turn = surface(figure), azimuth(figure)
    if outfit.hairstyle in ("short", "crop", "bald", "bun", "ponytail"):
        for side in (-1.0, 1.0):
            if np.cos(turn + side * np.pi / 2) > -0.75:
                u = float(np.sin(np.clip(turn + side * np.pi / 2, -1.57, 1.57))) if abs(turn) > 0.9 else side
                ear = ellipse(loft.point(0.56, u), 0.07 * loft.length, 0.13 * loft.length, loft.along)
                figure.paint(ear.outline(), FACE, outfit.skin, ear)
    figure.paint(loft.outline(0.3, 0.3), FACE, outfit.skin, loft)
    if np.cos(turn) > -0.1:
        _features(figure, loft, turn)


def _features(figure: Figure, loft: Loft, turn: float) -> None:
    outfit, size = figure.person.outfit, loft.length
    tone = outfit.skin.base
    if outfit.beard:
        turns = np.clip(turn + np.array([-1.25, -0.6, 0, 0.6, 1.25]), -1.57, 1.57)
        high = loft.points(np.array([0.62, 0.73, 0.72, 0.73, 0.62]), np.sin(turns))
        low = loft.points(np.array([0.97, 1.04, 0.97]), np.sin(turns[[4, 2, 0]]))
        figure.paint(np.concatenate([high, low]), FACE, outfit.hair, loft)
    for side in (-1.0, 1.0):
        where = turn + side * 0.42
        if np.cos(where) < 0.12:
            continue
        flat = float(np.cos(where))
        eye = ellipse(loft.point(0.49, float(np.sin(where))), 0.085 * size * flat + 0.5, 0.030 * size + 0.3, loft.along)
        figure.flat(eye.outline(), FACE, np.minimum(tone * np.float32(0.9) + 8, 225).astype(np.float32))
        iris = ellipse(loft.point(0.49, float(np.sin(where))), 0.040 * size, 0.034 * size + 0.3, loft.along)
        figure.flat(iris.outline(), FACE, np.array([42, 30, 26], np.float32))
        brow = ellipse(loft.point(0.415, float(np.sin(where))), 0.12 * size * flat, 0.022 * size, loft.along)
        figure.flat(brow.outline(), FACE, (outfit.hair.base * 0.7 + tone * 0.15).astype(np.float32))
    nose = np.sin(np.clip(turn + np.array([-0.16, 0.16, 0.02]), -1.5, 1.5))
    figure.canvas.tint(loft.points(np.array([0.67, 0.67, 0.48]), nose), 0.86)
    if abs(np.sin(turn)) > 0.55:
        tip = float(np.sign(np.sin(turn)))
        bump = np.array([loft.point(0.47, tip * 0.9), loft.point(0.66, tip * 1.22), loft.point(0.70, tip * 0.9)])
        figure.paint(bump, FACE, outfit.skin, loft)
    lips = np.sin(np.clip(turn + np.array([-0.34, 0.0, 0.34, 0.0]), -1.5, 1.5))
    mouth = loft.points(np.array([0.79, 0.765, 0.79, 0.825]), lips)
    figure.flat(mouth, FACE, (tone * np.array([0.82, 0.56, 0.55], np.float32)).astype(np.float32))


_HAIRLINES = {
    "short": ([0, 0.9, 1.25, 1.5, 1.75, 2.2, 3.2], [0.20, 0.26, 0.46, 0.50, 0.62, 0.86, 0.90], 1.06),
    "crop": ([0, 0.9, 1.25, 1.5, 1.75, 2.2, 3.2], [0.22, 0.25, 0.36, 0.44, 0.52, 0.74, 0.78], 1.015),
    "curly": ([0, 0.9, 1.2, 1.5, 1.8, 2.2, 3.2], [0.24, 0.32, 0.58, 0.66, 0.80, 0.95, 1.0], 1.32),
    "bob": ([0, 0.8, 1.05, 1.3, 1.7, 2.2, 3.2], [0.24, 0.34, 0.80, 1.02, 1.08, 1.10, 1.10], 1.17),
    "long": ([0, 0.7, 1.0, 1.25, 1.7, 2.2, 3.2], [0.19, 0.30, 0.66, 0.98, 1.06, 1.10, 1.10], 1.13),
    "bun": ([0, 0.9, 1.25, 1.5, 1.8, 2.2, 3.2], [0.19, 0.27, 0.46, 0.52, 0.66, 0.82, 0.88], 1.05),
    "ponytail": ([0, 0.9, 1.25, 1.5, 1.8, 2.2, 3.2], [0.20, 0.29, 0.48, 0.52, 0.66, 0.82, 0.88], 1.05),
}
"""Height of the hairline at turns from the face's front (radians), and how far the hair stands out."""


def hair_behind(figure: Figure) -> None:
    """Paint hair that hangs behind the trunk, in a view from the front."""
    if np.cos(azimuth(figure)) > 0.2:
        _hanging(figure)


def hair(figure: Figure) -> None:
    """Paint the hair on the head, and what hangs down the back in a view from behind."""
    outfit = figure.person.outfit
    turn = azimuth(figure)
    if outfit.hairstyle == "bald":
        return
    behind = np.cos(turn) <= 0.2
    turns, heights, grow = _HAIRLINES[outfit.hairstyle]
    loft = surface(figure, grow)
    lift = 0.45 if outfit.hairstyle == "curly" else 0.30
    views = np.linspace(np.pi / 2, -np.pi / 2, 15)
    apart = np.abs((views - turn + np.pi) % (2 * np.pi) - np.pi)
    line = np.interp(apart, turns, heights)
    arc = loft.points(line, np.sin(views))
    over = np.concatenate([_STATIONS[::-1][_STATIONS[::-1] < line[-1]], []])
    rise = loft.points(over, np.full(len(over), -1.0))
    up = np.linspace(np.pi, 0, 9)[1:-1]
    half = 0.5 * float(loft.right[0] - loft.left[0])
    middle = loft.point(0.0, 0.0)
    cap = middle + np.cos(up)[:, None] * half * loft.across - np.sin(up)[:, None] * half * lift * 1.4 * loft.along
    down = loft.points(_STATIONS[line[0] > _STATIONS], np.ones(int((line[0] > _STATIONS).sum())))
    figure.paint(np.concatenate([arc, rise, cap, down]), HAIR, outfit.hair, loft)
    if behind:
        _hanging(figure)
    elif outfit.hairstyle == "long":
        _strands(figure, loft)


def _hanging(figure: Figure) -> None:
    outfit, style = figure.person.outfit, figure.person.outfit.hairstyle
    loft = surface(figure)
    back = -figure.seen(figure.person.skeleton.head[:, 2]) * figure.person.physique.head
    down = np.array([0.0, figure.scale])
    if style == "long":
        start, end = loft.point(0.35, 0) + back * 0.12, loft.point(1.0, 0) + back * 0.38 + down * 0.13
        radii = np.array([0.42, 0.48, 0.46, 0.30]) * figure.person.physique.head
        curtain = tube(start, end, radii.tolist(), figure.scale)
        figure.paint(curtain.outline(0.3, 0.4), HAIR, outfit.hair, curtain)
    elif style == "bun":
        bun = ellipse(loft.point(0.12, 0) + back * 0.42 - down * 0.012, 0.21 * loft.length, 0.2 * loft.length)
        figure.paint(bun.outline(), HAIR, outfit.hair, bun)
    elif style == "ponytail":
        start, end = loft.point(0.25, 0) + back * 0.48, loft.point(1.05, 0) + back * 0.62 + down * 0.06
        tail = tube(
            start, end, (np.array([0.13, 0.2, 0.17, 0.06]) * figure.person.physique.head).tolist(), figure.scale
        )
        figure.paint(tail.outline(0.6, 0.8), HAIR, outfit.hair, tail)


def _strands(figure: Figure, loft: Loft) -> None:
    outfit = figure.person.outfit
    for side in (-1.0, 1.0):
        start = loft.point(0.5, side * 0.9)
        end = start + np.array([side * 0.008, 0.165]) * figure.scale
        strand = tube(start, end, [0.014, 0.020, 0.018, 0.008], figure.scale)
        figure.paint(strand.outline(0.5, 0.5), HAIR, outfit.hair, strand)


def sunglasses(figure: Figure) -> None:
    """Paint sunglasses, where the face is seen."""
    loft, turn = surface(figure), azimuth(figure)
    if np.cos(turn) < 0.1:
        return
    dark = np.array([24, 22, 26], np.float32)
    size = loft.length
    for side in (-1.0, 1.0):
        where = turn + side * 0.44
        if np.cos(where) < 0.1:
            continue
        wide = 0.17 * size * float(np.cos(where)) + 0.5
        lens = ellipse(loft.point(0.50, float(np.sin(where))), wide, 0.105 * size, loft.along)
        figure.flat(lens.outline(), SUNGLASSES, dark)
    edges = np.sin(np.clip(turn + np.array([-0.95, 0.95]), -1.5, 1.5))
    bar = loft.points(np.array([0.45, 0.45, 0.49, 0.49]), np.array([edges[0], edges[1], edges[1], edges[0]]))
    figure.flat(bar, SUNGLASSES, dark)


def hat(figure: Figure) -> None:
    """Paint a hat over the hair."""
    outfit, turn = figure.person.outfit, azimuth(figure)
    kind, cloth = outfit.hat, outfit.hat_material
    assert kind is not None
    low = {"cap": 0.27, "beanie": 0.33, "brim": 0.24, "helmet": 0.36}[kind]
    grow = {"cap": 1.12, "beanie": 1.13, "brim": 1.12, "helmet": 1.24}[kind]
    if outfit.hairstyle == "curly":
        grow += 0.1
    loft = surface(figure, grow)
    brim = _brim(figure, kind, low)
    if brim is not None and (kind == "brim" or np.cos(turn) <= 0):
        figure.paint(brim, HAT, cloth, loft)
    figure.paint(_dome(loft, low, 0.75 if kind in ("brim", "beanie") else 0.5), HAT, cloth, loft)
    if brim is not None and kind == "cap" and np.cos(turn) > 0:
        figure.canvas.tint(brim + np.array([0.0, 0.10 * loft.length]), 0.7)
        figure.paint(brim, HAT, cloth, loft)
        figure.canvas.tint(brim, 0.82)
    elif kind == "beanie":
        figure.canvas.tint(loft.panel(t0=low - 0.10, t1=low), 0.8)


def _dome(loft: Loft, low: float, height: float) -> Points:
    ts = np.concatenate([_STATIONS[low > _STATIONS], [low]])
    ones = np.ones(len(ts))
    us = np.linspace(1, -1, 7)[1:-1]
    hem = loft.points(low + 0.05 * (1 - us**2), us)
    up = np.linspace(np.pi, 0, 9)[1:-1]
    half = 0.5 * float(loft.right[1] - loft.left[1])
    middle: Point = loft.point(0.04, 0.0)
    cap = middle + np.cos(up)[:, None] * half * loft.across - np.sin(up)[:, None] * half * height * loft.along
    return np.concatenate([loft.points(ts[1:], ones[1:]), hem, loft.points(ts[1:], -ones[1:])[::-1], cap])


def _brim(figure: Figure, kind: str, low: float) -> Points | None:
    if kind == "brim":
        turns = np.linspace(-np.pi, np.pi, 25)[:-1]
        outer = ring(figure, low + 0.02, np.full(24, 1.95), turns)
        thick = np.where(np.cos(turns) > 0, 0.06, -0.03)  # the front edge of the brim is nearer, so lower
        return np.asarray(outer + thick[:, None] * np.array([0.0, figure.person.physique.head * figure.scale]))
    if kind == "cap":
        turns = np.linspace(-1.35, 1.35, 11)
        inner = ring(figure, low + 0.02, np.full(11, 1.08), turns)
        outer = ring(figure, low + 0.07, 1.12 + 0.72 * np.cos(turns), turns)
        return np.concatenate([inner, outer[::-1] + np.array([0.0, 0.03 * figure.person.physique.head * figure.scale])])
    return None
