"""Bodies: measures, joints in space, and how they are seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.chance import between, happens, near
from noisycorrect_seg.people.poses import Pose

Vector = NDArray[np.float64]

LEFT, RIGHT = 1, -1
"""The person's own sides."""


@dataclass(frozen=True)
class Physique:
    """Measures of a body, in body heights.

    Attributes
    ----------
    head, neck, torso, thigh, shin, upper_arm, forearm : float
        Lengths; the torso's from the base of the neck to the crotch.
    shoulder, chest, waist, hip : float
        Half widths, seen from the front.
    depth : float
        Half depth of the chest.
    bulk : float
        Factor on the radii of the limbs.
    bust, belly : float
        How far chest and belly stand out to the front.
    feminine, child : bool
        What they say; they decide about clothes and hair.
    """

    head: float
    neck: float
    torso: float
    thigh: float
    shin: float
    upper_arm: float
    forearm: float
    shoulder: float
    chest: float
    waist: float
    hip: float
    depth: float
    bulk: float
    bust: float
    belly: float
    feminine: bool
    child: bool


def sample_physique(rng: np.random.Generator) -> Physique:
    """Draw a body."""
    feminine, child = happens(rng, 0.5), happens(rng, 0.12)
    weight = near(rng, 0.0, 0.45, -0.8, 1.4)  # 0 is average, 1 is heavy
    head = near(rng, 0.165 if child else 0.135, 0.006, 0.12, 0.19)
    legs = near(rng, 0.462 if child else 0.492, 0.014, 0.43, 0.53)
    wide = 1 + 0.12 * weight
    return Physique(
        head=head,
        neck=0.030 if child else 0.036,
        torso=1.0 - head - legs - (0.030 if child else 0.036) - 0.008,
        thigh=0.49 * (legs - 0.04),
        shin=0.51 * (legs - 0.04),
        upper_arm=near(rng, 0.165, 0.006, 0.14, 0.18),
        forearm=near(rng, 0.142, 0.006, 0.12, 0.16),
        shoulder=near(rng, 0.097 if feminine else 0.112, 0.006, 0.085, 0.13) * (1 + 0.05 * weight),
        chest=near(rng, 0.082 if feminine else 0.093, 0.005, 0.07, 0.11) * wide,
        waist=near(rng, 0.068 if feminine else 0.082, 0.005, 0.055, 0.1) * (1 + 0.28 * max(weight, -0.3)),
        hip=near(rng, 0.092 if feminine else 0.088, 0.004, 0.075, 0.11) * wide,
        depth=near(rng, 0.062, 0.004, 0.05, 0.08) * (1 + 0.2 * weight),
        bulk=near(rng, 0.9 if feminine else 1.0, 0.06, 0.75, 1.2) * (1 + 0.16 * weight) * (0.92 if child else 1.0),
        bust=between(rng, 0.010, 0.030) if feminine and not child else 0.004,
        belly=max(0.0, 0.03 * weight),
        feminine=feminine,
        child=child,
    )


def _turn(axis: int, degrees: float) -> NDArray[np.float64]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    one, two = [(1, 2), (2, 0), (0, 1)][axis]
    matrix[one, one] = matrix[two, two] = c
    matrix[one, two], matrix[two, one] = -s, s
    return matrix


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joints in space as the camera sees them: x to the right, y down, z to the camera, in body heights.

    Attributes
    ----------
    joints : dict of str to ndarray, shape (3,)
        Centre line: crown, chin, neck, crotch. Of each side, with the suffix "+" for the person's left and "-" for the
        right: shoulder, elbow, wrist, hand, hip, knee, ankle, toe.
    torso, pelvis, head : ndarray, shape (3, 3)
        Axes of these parts as columns: to the person's left, down, to the front.
    """

    joints: dict[str, Vector]
    torso: NDArray[np.float64]
    pelvis: NDArray[np.float64]
    head: NDArray[np.float64]

    def azimuth(self, part: str) -> float:
        """Return how far a part's front is turned from the camera to the image's right, in radians."""
        front = getattr(self, part)[:, 2]
        return float(np.arctan2(front[0], front[2]))


def build(physique: Physique, pose: Pose) -> Skeleton:
    """Put a body into a pose and look at it."""
    camera = _turn(2, pose.camera_roll) @ _turn(0, -pose.camera_pitch)
    pelvis = camera @ _turn(1, pose.yaw)
    torso = pelvis @ _turn(2, pose.lean_side) @ _turn(0, -pose.lean_front)
    torso = torso @ _turn(1, pose.twist)
    head = torso @ _turn(1, pose.head_yaw) @ _turn(0, -pose.head_pitch) @ _turn(2, pose.head_tilt)
    crotch = np.zeros(3)
    hips = crotch - pelvis[:, 1] * 0.055
    neck = hips + pelvis[:, 1] * 0.055 - torso[:, 1] * physique.torso
    chin = neck - torso[:, 1] * physique.neck * 0.55 - head[:, 1] * physique.neck * 0.45 + head[:, 2] * 0.008
    joints = {"crotch": crotch, "neck": neck, "chin": chin, "crown": chin - head[:, 1] * physique.head}
    for side, name in ((LEFT, "+"), (RIGHT, "-")):
        arm, leg = pose.arms[name], pose.legs[name]
        shoulder = neck + torso[:, 1] * (0.042 + arm.shrug) + torso[:, 0] * side * physique.shoulder * 0.86
        elbow = shoulder + torso @ _direction(arm.upper, side) * physique.upper_arm
        lower = torso @ _direction(arm.lower, side)
        wrist = elbow + lower * physique.forearm
        hip = hips + pelvis[:, 0] * side * physique.hip * 0.56
        knee = hip + pelvis @ _direction(leg.upper, side) * physique.thigh
        shin = pelvis @ _direction(leg.lower, side)
        ankle = knee + shin * physique.shin
        foot = pelvis @ _turn(1, side * leg.toe_out) @ np.array([0.0, np.sin(leg.point), np.cos(leg.point)])
        joints |= {
            "shoulder" + name: shoulder,
            "elbow" + name: elbow,
            "wrist" + name: wrist,
            "hand" + name: wrist + lower * 0.075,
            "hip" + name: hip,
            "knee" + name: knee,
            "ankle" + name: ankle,
            "toe" + name: ankle + shin * 0.022 + foot * 0.105,
            "heel" + name: ankle + shin * 0.024 - foot * 0.022,
        }
    return Skeleton(joints, torso, pelvis, head)


def _direction(angles: tuple[float, float], side: int) -> Vector:
    """Return a limb's direction in its part's axes from its swing to the front and lift to the outside, in degrees."""
    swing, lift = np.radians(angles[0]), np.radians(angles[1])
    return np.array([side * np.sin(lift), np.cos(lift) * np.cos(swing), np.cos(lift) * np.sin(swing)])
