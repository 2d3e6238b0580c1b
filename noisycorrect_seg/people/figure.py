"""A person on a canvas: the pixels of the joints, and brushes for the parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.body import Physique, Skeleton
from noisycorrect_seg.people.canvas import Canvas
from noisycorrect_seg.people.loft import Loft, Numbers, Point, Points, tube
from noisycorrect_seg.people.materials import Colour, Material
from noisycorrect_seg.people.wardrobe import Outfit


@dataclass(frozen=True, eq=False)
class Figure:
    """A dressed body at a place on a canvas."""

    physique: Physique
    skeleton: Skeleton
    outfit: Outfit
    canvas: Canvas
    scale: float  # a body height in canvas pixels
    offset: NDArray[np.float64]  # canvas pixel of the crotch, (2,)
    labelled: bool = True  # a bystander is background

    def at(self, joint: str) -> Point:
        """Return a joint's canvas pixel."""
        return np.asarray(self.skeleton.joints[joint][:2] * self.scale + self.offset)

    def depth(self, *joints: str) -> float:
        """Return the mean distance of joints to the camera's side, in body heights."""
        return float(np.mean([self.skeleton.joints[joint][2] for joint in joints]))

    def tube(self, start: Point, end: Point, radii: Numbers) -> Loft:
        """Return a limb between two pixels, radii in body heights at equal distances."""
        return tube(start, end, radii, self.scale)

    def paint(self, polygon: Points, label: int, material: Material, frame: Loft) -> None:
        """Paint a polygon of a surface."""
        self.canvas.paint(polygon, label if self.labelled else 0, material, frame, self.scale)

    def part(self, loft: Loft, label: int, material: Material, cap0: float = 0.0, cap1: float = 0.0) -> None:
        """Paint a whole surface with rounded ends."""
        self.paint(loft.outline(cap0, cap1), label, material, loft)

    def flat(self, polygon: Points, label: int, colour: Colour) -> None:
        """Paint a polygon that needs no shading."""
        self.canvas.flat(polygon, label if self.labelled else 0, colour)

    def shadow(self, polygon: Points, factor: float, right: float = 0.0, down: float = 0.0) -> None:
        """Darken what lies under a polygon moved by some body heights."""
        self.canvas.tint(polygon + self.scale * np.array([right, down]), factor)
