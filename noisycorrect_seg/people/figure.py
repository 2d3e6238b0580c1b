"""A person on a canvas: in which order the parts are painted, so that what is nearer covers what is behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.body import Physique, Skeleton
from noisycorrect_seg.people.canvas import Canvas
from noisycorrect_seg.people.loft import Loft, Point, Points
from noisycorrect_seg.people.materials import Material
from noisycorrect_seg.people.poses import Pose
from noisycorrect_seg.people.wardrobe import Outfit


@dataclass(frozen=True, eq=False)
class Person:
    """A body, its pose and its clothes, independent of any picture."""

    physique: Physique
    pose: Pose
    skeleton: Skeleton
    outfit: Outfit

    def extent(self) -> tuple[Points, Points]:
        """Return the corners of the box around the joints with a margin for flesh, (x, y) in body heights."""
        joints = np.array([joint[:2] for joint in self.skeleton.joints.values()])
        return joints.min(axis=0) - np.array([0.05, 0.015]), joints.max(axis=0) + np.array([0.05, 0.025])


@dataclass(frozen=True, eq=False)
class Figure:
    """A person at a place on a canvas.

    Attributes
    ----------
    person : Person
        Who.
    canvas : Canvas
        Where to.
    scale : float
        A body height in canvas pixels.
    offset : ndarray of float64, shape (2,)
        Canvas pixel of the crotch.
    labelled : bool
        Whether the parts get their classes; a bystander is background.
    """

    person: Person
    canvas: Canvas
    scale: float
    offset: NDArray[np.float64]
    labelled: bool = True

    def at(self, joint: str) -> Point:
        """Return a joint's canvas pixel."""
        return np.asarray(self.person.skeleton.joints[joint][:2] * self.scale + self.offset)

    def depth(self, *joints: str) -> float:
        """Return the mean distance of joints to the camera's side, in body heights."""
        return float(np.mean([self.person.skeleton.joints[joint][2] for joint in joints]))

    def seen(self, vector: NDArray[np.float64]) -> Point:
        """Return how a vector of the camera frame, in body heights, lies on the canvas."""
        return np.asarray(vector[:2] * self.scale)

    def paint(self, polygon: Points, label: int, material: Material, frame: Loft) -> None:
        """Paint a part."""
        self.canvas.paint(polygon, label if self.labelled else 0, material, frame, self.scale)

    def flat(self, polygon: Points, label: int, colour: NDArray[np.float32]) -> None:
        """Paint a part that needs no shading."""
        self.canvas.flat(polygon, label if self.labelled else 0, colour)
