"""Bodies and poses: joints in the plane, in body heights, the crown at 0 and the ground near 1, x to the right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.chance import between, happens, near, weighted

Point = NDArray[np.float64]
SIDES: Mapping[str, int] = {"right": -1, "left": 1}
"""The person's own right and left; where the image has them if the person faces the camera."""

_VIEWS = {"front": 0.8, "back": 0.2}
_ARMS = {"hang": 0.5, "hip": 0.15, "out": 0.13, "up": 0.1, "bent": 0.12}
# Angles of upper arm and forearm away from hanging down, outwards, in degrees: mean and deviation.
_ANGLES: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "hang": ((14, 6), (6, 8)),
    "hip": ((46, 6), (-48, 8)),
    "out": ((70, 12), (66, 16)),
    "up": ((130, 16), (160, 14)),
    "bent": ((24, 8), (105, 18)),
}


@dataclass(frozen=True, eq=False)
class Body:
    """A body in its pose.

    Attributes
    ----------
    back : bool
        Whether the person is seen from behind.
    joints : mapping of str to ndarray, shape (2,)
        Of the middle: crown, chin, neck, hips. Of each side, with " left" or " right" of the person behind the name:
        shoulder, elbow, hand, hip, knee, ankle.
    bulk : float
        Factor on widths.
    gaze : float
        Which way the face looks, -1 to 1.
    """

    back: bool
    joints: Mapping[str, Point]
    bulk: float
    gaze: float

    def __getitem__(self, joint: str) -> Point:
        return self.joints[joint]

    def side(self, name: str) -> int:
        """Return on which side of the image a side of the person is: 1 is the image's right."""
        return -SIDES[name] if self.back else SIDES[name]


def _towards(degrees: float, side: int, length: float) -> Point:
    """Return a vector that hangs down at 0 degrees and points outwards at 90."""
    angle = np.radians(degrees)
    return np.array([side * np.sin(angle), np.cos(angle)]) * length


def sample_body(rng: np.random.Generator) -> Body:
    """Draw a body and its pose."""
    back = weighted(rng, _VIEWS) == "back"
    bulk, legs = near(rng, 1.0, 0.1, 0.8, 1.25), near(rng, 0.38, 0.02, 0.34, 0.42)
    head = near(rng, 0.24, 0.012, 0.21, 0.27)
    shoulders, hips = head + 0.055, 1 - legs - 0.02
    lean = near(rng, 0, 0.02, -0.05, 0.05)
    joints: dict[str, Point] = {
        "crown": np.array([lean, 0.0]),
        "chin": np.array([lean, head]),
        "neck": np.array([lean * 0.9, head + 0.025]),
        "hips": np.array([0.0, hips]),
    }
    both, stride = weighted(rng, _ARMS), near(rng, 0, 9, -22, 22)
    same, spread = happens(rng, 0.5), near(rng, 6, 4, 0, 18)
    for name, facing in SIDES.items():
        side = -facing if back else facing
        upper, fore = _ANGLES[both if same or side < 0 else weighted(rng, _ARMS)]
        joints["shoulder " + name] = np.array([lean * 0.8 + side * 0.112 * bulk, shoulders])
        elbow = joints["shoulder " + name] + _towards(near(rng, *upper, -10, 170), side, 0.125)
        joints["elbow " + name] = elbow
        joints["hand " + name] = elbow + _towards(near(rng, *fore, -75, 178), side, 0.125)
        joints["hip " + name] = np.array([side * 0.05 * bulk, hips])
        swing = spread + side * stride
        knee = joints["hip " + name] + _towards(swing, side, legs * 0.5)
        joints["knee " + name] = knee
        joints["ankle " + name] = knee + _towards(swing - between(rng, 0, 8), side, legs * 0.5)
    return Body(back, joints, bulk, near(rng, 0, 0.4, -1, 1))
