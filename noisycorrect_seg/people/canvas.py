"""Picture and mask, painted together: every shape is one polygon that writes its colour and its class."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from noisycorrect_seg.people.loft import Loft, Points
from noisycorrect_seg.people.materials import Colour, Material, Values, albedo, noise_at


class Canvas:
    """What is being painted.

    Parameters
    ----------
    colour : ndarray of float32, shape (H, W, 3)
        The scenery, 0..255; painted on in place.
    light : tuple of float
        Direction (x, y, z) towards the light, unit length, z to the camera.
    ambient : float
        Share of light from everywhere.

    Attributes
    ----------
    labels : ndarray of uint8, shape (H, W)
        Class of the frontmost shape at each pixel; 0 where there is none.
    """

    def __init__(self, colour: NDArray[np.float32], light: tuple[float, float, float], ambient: float) -> None:
        self.colour = np.ascontiguousarray(colour)
        self.labels: NDArray[np.uint8] = np.zeros(colour.shape[:2], np.uint8)
        self.light, self.ambient = light, ambient
        self._flat_colour = self.colour.reshape(-1, 3)
        self._flat_labels = self.labels.reshape(-1)

    def paint(self, polygon: Points, label: int, material: Material, frame: Loft, scale: float) -> None:
        """Paint a polygon, float64 (n, 2) pixels, as a part of the surface `frame`; `scale` is a body height in pixels.

        The surface is shaded as a half cylinder around the frame's axis (Lambert), with creases from smooth noise.
        """
        flat, xs, ys = self._inside(polygon)
        if not flat.size:
            return
        t, u = frame.coordinates(xs, ys)
        np.minimum(np.maximum(u, -0.97, out=u), 0.97, out=u)
        along = t * np.float32(frame.length / scale)
        # The cloth wraps around: a pattern across the limb is dense at its outline.
        across = u * np.float32(float(np.max(frame.right - frame.left)) / (2 * scale))
        shade = self._shade(along, across, u, material, frame)
        self._flat_colour[flat] = albedo(material, along, across) * shade[:, None]
        self._flat_labels[flat] = label

    def flat(self, polygon: Points, label: int, colour: Colour) -> None:
        """Paint a polygon in one colour."""
        flat, _, _ = self._inside(polygon)
        self._flat_colour[flat] = colour
        self._flat_labels[flat] = label

    def tint(self, polygon: Points, factor: float) -> None:
        """Multiply the colours inside a polygon, as a shadow or a blush does; classes stay."""
        flat, _, _ = self._inside(polygon)
        self._flat_colour[flat] *= np.float32(factor)

    def _shade(self, along: Values, across: Values, u: Values, material: Material, frame: Loft) -> Values:
        x, y, z = self.light
        lit = u * np.float32(x * frame.across[0] + y * frame.across[1]) + np.sqrt(1 - u * u) * np.float32(z)
        np.maximum(lit, 0, out=lit)
        shade = lit * np.float32(1.15 * (1 - self.ambient)) + np.float32(self.ambient)
        if material.folds:
            a, b = np.float32(material.phase[0]), np.float32(material.phase[1])
            crease = noise_at(14, along * 190 + a, across * 330 + b)
            shade *= 1 + np.float32(material.folds * 0.55) * crease.clip(-1.8, 1.8)
        if material.gloss:
            shade += np.float32(material.gloss) * lit**8
        return np.asarray(shade, np.float32)

    def _inside(self, polygon: Points) -> tuple[NDArray[np.int64], Values, Values]:
        """Return flat indices and coordinates of the pixels inside a polygon, cut at the canvas."""
        height, width = self.labels.shape
        low, high = polygon.min(axis=0), polygon.max(axis=0)
        x0, y0 = max(math.floor(low[0]), 0), max(math.floor(low[1]), 0)
        x1, y1 = min(math.ceil(high[0]), width - 1), min(math.ceil(high[1]), height - 1)
        if x0 > x1 or y0 > y1:
            return np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32)
        stencil = Image.new("L", (x1 - x0 + 1, y1 - y0 + 1))
        # Pillow cuts coordinates to whole numbers and draws outlines inclusively: round, not floor.
        ImageDraw.Draw(stencil).polygon(np.rint(polygon - (x0, y0)).ravel().tolist(), fill=1)
        rows, columns = np.divmod(np.flatnonzero(np.frombuffer(stencil.tobytes(), np.uint8)), x1 - x0 + 1)
        rows += y0
        columns += x0
        return rows * width + columns, columns.astype(np.float32), rows.astype(np.float32)
