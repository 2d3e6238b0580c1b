"""The one shape that everything is made of: an axis with a width at each station, as limbs, torsos and hems have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Point = NDArray[np.float64]
Points = NDArray[np.float64]
Values = NDArray[np.float32]
Numbers = Sequence[float] | NDArray[np.float64]

_TURN = np.linspace(0.0, np.pi, 7)[1:-1]
_COS, _SIN = np.cos(_TURN), np.sin(_TURN)  # a rounded end, from right to left
_ELLIPSE = (1 - np.cos(np.linspace(0, np.pi, 9))) / 2
_ROUND = np.sqrt(np.maximum(0.25 - (_ELLIPSE - 0.5) ** 2, 0)) * 2
_EVEN = {count: np.linspace(0, 1, count) for count in range(2, 9)}


class Loft:
    """A surface over an axis, seen from the front, in canvas pixels (x, y).

    A place on it is (t, u): t runs along the axis, 0 at its start and 1 at its end; u runs across, -1 at one outline
    and 1 at the other. On an axis that points down, u grows to the image's right. `right` and `left` are the signed
    distances of the outlines from the axis, in pixels, at increasing `stations`; `left` is -`right` by default.

    Examples
    --------
    >>> tube = Loft(np.array([0.0, 0.0]), np.array([0.0, 10.0]), [0, 1], [2, 4])
    >>> [round(float(value[0]), 6) for value in tube.coordinates(np.array([3.0]), np.array([5.0]))]
    [0.5, 1.0]
    """

    __slots__ = ("across", "along", "left", "length", "right", "start", "stations")

    def __init__(
        self, start: Point, end: Point, stations: Numbers, right: Numbers, left: Numbers | None = None
    ) -> None:
        delta = end - start
        self.length = max(float(np.hypot(delta[0], delta[1])), 1e-3)
        self.start = start
        self.along: Point = delta / self.length
        self.across: Point = np.array([self.along[1], -self.along[0]])
        self.stations = np.asarray(stations, np.float64)
        self.right = np.asarray(right, np.float64)
        self.left = -self.right if left is None else np.asarray(left, np.float64)

    def point(self, t: float, u: float = 0.0) -> Point:
        """Return the pixel of a place, float64 (2,)."""
        return np.asarray(self.points([t], u)[0])

    def points(self, ts: Numbers, us: float | Numbers) -> Points:
        """Return the pixels of places, float64 (n, 2)."""
        ts = np.asarray(ts, np.float64)
        right, left = np.interp(ts, self.stations, self.right), np.interp(ts, self.stations, self.left)
        return self._placed(ts * self.length, 0.5 * ((right + left) + np.asarray(us) * (right - left)))

    def _placed(self, down: NDArray[np.float64], offset: NDArray[np.float64]) -> Points:
        return np.asarray(self.start + down[:, None] * self.along + offset[:, None] * self.across)

    def span(self, t0: float, t1: float = 1.0) -> NDArray[np.float64]:
        """Return t0, the stations up to t1, and t1."""
        ts = self.stations
        return np.concatenate([[t0], ts[(ts > t0) & (ts < t1)], [t1]])

    def band(self, ts: Numbers, right: float | Numbers = 1.0, left: float | Numbers = -1.0) -> Points:
        """Return the polygon between two lines across the surface at places along it, float64 (2 n, 2)."""
        return np.concatenate([self.points(ts, right), self.points(ts, left)[::-1]])

    def down_to(self, hem: float, sag: float) -> Points:
        """Return the polygon down to a hem, which may hang below the end and curves with the body, float64 (n, 2)."""
        ts = np.append(self.stations[hem > self.stations], hem)
        us = np.linspace(1, -1, 7)[1:-1]
        return np.insert(self.band(ts), len(ts), self.points(hem + sag * (1 - us**2), us), axis=0)

    def dome(self, t: float, station: int, height: float) -> Points:
        """Return an arc from the left outline over the axis's start to the right one, `height` half-widths high."""
        up, half = np.linspace(np.pi, 0, 9)[1:-1, None], 0.5 * float(self.right[station] - self.left[station])
        return np.asarray(self.point(t) + np.cos(up) * half * self.across - np.sin(up) * half * height * self.along)

    def outline(self, cap0: float = 0.0, cap1: float = 0.0) -> Points:
        """Return the polygon of the whole with rounded ends; caps are as high as `cap` half-widths, float64 (n, 2)."""
        down = self.stations * self.length
        downs, offsets = [down], [self.right]
        if cap1:
            half, middle = self._end(-1)
            downs.append(down[-1] + half * cap1 * _SIN)
            offsets.append(middle + half * _COS)
        downs.append(down[::-1])
        offsets.append(self.left[::-1])
        if cap0:
            half, middle = self._end(0)
            downs.append(down[0] - half * cap0 * _SIN)
            offsets.append(middle - half * _COS)
        return self._placed(np.concatenate(downs), np.concatenate(offsets))

    def _end(self, station: int) -> tuple[float, float]:
        right, left = float(self.right[station]), float(self.left[station])
        return 0.5 * (right - left), 0.5 * (right + left)

    def coordinates(self, xs: Values, ys: Values) -> tuple[Values, Values]:
        """Return (t, u) of pixels, float32 (n,) each."""
        dx, dy = xs - np.float32(self.start[0]), ys - np.float32(self.start[1])
        t = dx * np.float32(self.along[0] / self.length) + dy * np.float32(self.along[1] / self.length)
        offset = dx * np.float32(self.across[0]) + dy * np.float32(self.across[1])
        right, left = np.interp(t, self.stations, self.right), np.interp(t, self.stations, self.left)
        u = (2 * offset - right - left) / np.maximum(right - left, 1e-3)
        return t, u.astype(np.float32)


def tube(start: Point, end: Point, radii: Numbers, scale: float) -> Loft:
    """Return a limb: radii in body heights at equal distances, `scale` pixels a body height."""
    right = np.asarray(radii, np.float64) * scale
    return Loft(start, end, _EVEN[len(right)], right)


def ellipse(centre: Point, width: float, height: float, tilt: Point | None = None) -> Loft:
    """Return an ellipse as a loft, half axes in pixels; `tilt` is the direction of its height axis."""
    axis = np.array([0.0, 1.0]) if tilt is None else tilt
    return Loft(centre - axis * height, centre + axis * height, _ELLIPSE, _ROUND * width)
