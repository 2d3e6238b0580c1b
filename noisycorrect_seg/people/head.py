"""Head: face, hair, hats, sunglasses. What lies on it is placed by its azimuth, so that it turns with the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.figure import Figure
from noisycorrect_seg.people.loft import Loft, Points, ellipse
from noisycorrect_seg.people.materials import Colour
from noisycorrect_seg.people.wardrobe import CLASS

_HAT, _HAIR, _SUNGLASSES, _FACE = (CLASS[name] for name in ("Hat", "Hair", "Sunglasses", "Face"))
_STATIONS = np.array([0.0, 0.06, 0.16, 0.30, 0.46, 0.62, 0.76, 0.88, 0.96, 1.0])
_SIDE = np.array([0.26, 0.56, 0.84, 0.98, 1.0, 0.96, 0.86, 0.66, 0.44, 0.30])
_WIDTH, _DEPTH = 0.365, 0.43  # half axes, in head heights


def _surface(figure: Figure, grow: float = 1.0) -> Loft:
    """Return the head's surface from crown to chin, widened by a factor."""
    head = figure.skeleton.head
    loft = Loft(figure.at("crown"), figure.at("chin"), _STATIONS, _SIDE)
    across_side, across_front = float(head[:2, 0] @ loft.across), float(head[:2, 2] @ loft.across)
    half = _SIDE * np.hypot(_WIDTH * across_side, _DEPTH * across_front) * grow
    centre = across_front * (np.clip((_STATIONS - 0.5) / 0.5, 0, 1) * 0.13 - 0.05)
    size = figure.physique.head * figure.scale
    loft.right, loft.left = (centre + half) * size, (centre - half) * size
    return loft


def _turn(figure: Figure) -> float:
    """Return how far the face is turned from the camera to the image's right, in radians."""
    return figure.skeleton.azimuth("head")


def _disc(loft: Loft, t: float, where: float, width: float, height: float) -> Points:
    """Return an ellipse at height t and an azimuth, half axes in pixels."""
    return ellipse(loft.point(t, float(np.sin(where))), width, height, loft.along).outline()


def face(figure: Figure) -> None:
    """Paint the bare head with its features."""
    skin, loft, turn = figure.outfit.skin, _surface(figure), _turn(figure)
    if figure.outfit.hairstyle in ("short", "crop", "bald", "bun", "ponytail"):
        for side in (-1.0, 1.0):
            if np.cos(turn + side * np.pi / 2) > -0.75:
                u = float(np.sin(np.clip(turn + side * np.pi / 2, -1.57, 1.57))) if abs(turn) > 0.9 else side
                ear = ellipse(loft.point(0.56, u), 0.07 * loft.length, 0.13 * loft.length, loft.along)
                figure.part(ear, _FACE, skin)
    figure.part(loft, _FACE, skin, 0.3, 0.3)
    if np.cos(turn) > -0.1:
        _features(figure, loft, turn)


def _features(figure: Figure, loft: Loft, turn: float) -> None:
    skin, hair, size = figure.outfit.skin, figure.outfit.hair, loft.length
    tone = skin.base

    def across(*turns: float, limit: float = 1.5) -> NDArray[np.float64]:
        return np.sin(np.clip(turn + np.array(turns), -limit, limit))

    if figure.outfit.beard:
        high = loft.points([0.62, 0.73, 0.72, 0.73, 0.62], across(-1.25, -0.6, 0, 0.6, 1.25, limit=1.57))
        low = loft.points([0.97, 1.04, 0.97], across(1.25, 0, -1.25, limit=1.57))
        figure.paint(np.concatenate([high, low]), _FACE, hair, loft)
    white, brown = np.minimum(tone * np.float32(0.9) + 8, 225), np.array([42, 30, 26], np.float32)
    for where in (turn - 0.42, turn + 0.42):
        flat = float(np.cos(where))
        if flat >= 0.12:
            figure.flat(_disc(loft, 0.49, where, 0.085 * size * flat + 0.5, 0.030 * size + 0.3), _FACE, white)
            figure.flat(_disc(loft, 0.49, where, 0.040 * size, 0.034 * size + 0.3), _FACE, brown)
            brow: Colour = hair.base * np.float32(0.7) + tone * np.float32(0.15)
            figure.flat(_disc(loft, 0.415, where, 0.12 * size * flat, 0.022 * size), _FACE, brow)
    figure.shadow(loft.points([0.67, 0.67, 0.48], across(-0.16, 0.16, 0.02)), 0.86)  # the nose's
    if abs(np.sin(turn)) > 0.55:
        tip = float(np.sign(np.sin(turn)))
        figure.paint(loft.points([0.47, 0.66, 0.70], tip * np.array([0.9, 1.22, 0.9])), _FACE, skin, loft)
    mouth = loft.points([0.79, 0.765, 0.79, 0.825], across(-0.34, 0.0, 0.34, 0.0))
    figure.flat(mouth, _FACE, tone * np.array([0.82, 0.56, 0.55], np.float32))


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
    if np.cos(_turn(figure)) > 0.2:
        _hanging(figure)


def hair(figure: Figure) -> None:
    """Paint the hair on the head, and what hangs down the back in a view from behind."""
    style, material, turn = figure.outfit.hairstyle, figure.outfit.hair, _turn(figure)
    if style == "bald":
        return
    turns, heights, grow = _HAIRLINES[style]
    loft = _surface(figure, grow)
    views = np.linspace(np.pi / 2, -np.pi / 2, 15)
    line = np.interp(np.abs((views - turn + np.pi) % (2 * np.pi) - np.pi), turns, heights)
    rise = loft.points(_STATIONS[line[-1] > _STATIONS][::-1], -1.0)
    down = loft.points(_STATIONS[line[0] > _STATIONS], 1.0)
    dome = loft.dome(0.0, 0, 1.4 * (0.45 if style == "curly" else 0.30))
    figure.paint(np.concatenate([loft.points(line, np.sin(views)), rise, dome, down]), _HAIR, material, loft)
    if np.cos(turn) <= 0.2:
        _hanging(figure)
    elif style == "long":
        for side in (-1.0, 1.0):
            start = loft.point(0.5, side * 0.9)
            end = start + np.array([side * 0.008, 0.165]) * figure.scale
            figure.part(figure.tube(start, end, [0.014, 0.020, 0.018, 0.008]), _HAIR, material, 0.5, 0.5)


_TAILS = {
    "long": ((0.35, 0.12), (1.0, 0.38, 0.13), [0.42, 0.48, 0.46, 0.30], (0.3, 0.4)),
    "ponytail": ((0.25, 0.48), (1.05, 0.62, 0.06), [0.13, 0.2, 0.17, 0.06], (0.6, 0.8)),
}
"""Height on the head and distance behind it, both in heads, of start and end; how far the end hangs; radii; caps."""


def _hanging(figure: Figure) -> None:
    style, material, size = figure.outfit.hairstyle, figure.outfit.hair, figure.physique.head
    loft = _surface(figure)
    back, down = figure.skeleton.head[:2, 2] * (-figure.scale * size), np.array([0.0, figure.scale])
    if style == "bun":
        knot = ellipse(loft.point(0.12) + back * 0.42 - down * 0.012, 0.21 * loft.length, 0.2 * loft.length)
        figure.part(knot, _HAIR, material)
    elif style in _TAILS:
        (high, near), (low, far, hang), radii, caps = _TAILS[style]
        start, end = loft.point(high) + back * near, loft.point(low) + back * far + down * hang
        figure.part(figure.tube(start, end, np.array(radii) * size), _HAIR, material, *caps)


def sunglasses(figure: Figure) -> None:
    """Paint sunglasses, where there are some and the face is seen."""
    loft, turn = _surface(figure), _turn(figure)
    if not figure.outfit.sunglasses or np.cos(turn) < 0.1:
        return
    dark, size = np.array([24, 22, 26], np.float32), loft.length
    for where in (turn - 0.44, turn + 0.44):
        flat = float(np.cos(where))
        if flat >= 0.1:
            figure.flat(_disc(loft, 0.50, where, 0.17 * size * flat + 0.5, 0.105 * size), _SUNGLASSES, dark)
    left, right = np.sin(np.clip(turn + np.array([-0.95, 0.95]), -1.5, 1.5))
    figure.flat(loft.points([0.45, 0.45, 0.49, 0.49], [left, right, right, left]), _SUNGLASSES, dark)


_HATS = {
    "cap": (0.27, 1.12, 0.5),
    "beanie": (0.33, 1.13, 0.75),
    "brim": (0.24, 1.12, 0.75),
    "helmet": (0.36, 1.24, 0.5),
}
"""Where a hat ends on the head, how far it stands out, and how high its dome is."""


def hat(figure: Figure) -> None:
    """Paint a hat over the hair, if there is one."""
    kind, cloth, front = figure.outfit.hat, figure.outfit.hat_material, np.cos(_turn(figure)) > 0
    if kind is None:
        return
    low, grow, height = _HATS[kind]
    loft = _surface(figure, grow + (0.1 if figure.outfit.hairstyle == "curly" else 0.0))
    brim = _brim(figure, kind, low)
    if brim is not None and (kind == "brim" or not front):
        figure.paint(brim, _HAT, cloth, loft)
    dome = np.concatenate([loft.down_to(low, 0.05)[1:-1], loft.dome(0.04, 1, height)])
    figure.paint(dome, _HAT, cloth, loft)
    if brim is not None and kind == "cap" and front:
        figure.canvas.tint(brim + np.array([0.0, 0.10 * loft.length]), 0.7)
        figure.paint(brim, _HAT, cloth, loft)
        figure.shadow(brim, 0.82)
    elif kind == "beanie":
        figure.shadow(loft.band(loft.span(low - 0.10, low)), 0.8)


def _brim(figure: Figure, kind: str, low: float) -> Points | None:
    head, size = figure.skeleton.head, figure.physique.head * figure.scale
    crown, chin = figure.at("crown"), figure.at("chin")

    def ring(t: float, grow: NDArray[np.float64] | float, turns: NDArray[np.float64]) -> Points:
        """Return pixels around the head at height t, `grow` times its size, at turns from its front."""
        out = np.sin(turns)[:, None] * head[:2, 0] * _WIDTH + np.cos(turns)[:, None] * head[:2, 2] * _DEPTH
        return np.asarray(crown + t * (chin - crown) + out * np.reshape(grow, (-1, 1)) * size)

    if kind == "brim":
        turns = np.linspace(-np.pi, np.pi, 25)[:-1]
        thick = np.where(np.cos(turns) > 0, 0.06, -0.03)  # the front edge of the brim is nearer, so lower
        return np.asarray(ring(low + 0.02, 1.95, turns) + thick[:, None] * np.array([0.0, size]))
    if kind == "cap":
        turns = np.linspace(-1.35, 1.35, 11)
        outer = ring(low + 0.07, 1.12 + 0.72 * np.cos(turns), turns)
        return np.concatenate([ring(low + 0.02, 1.08, turns), outer[::-1] + np.array([0.0, 0.03 * size])])
    return None
