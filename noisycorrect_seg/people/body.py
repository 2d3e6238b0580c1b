"""Bodies: measures, poses, and their joints as the camera sees them. Angles are in degrees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.people.chance import between, happens, near, weighted

Vector = NDArray[np.float64]
Generator = np.random.Generator
Normal = tuple[float, float, float, float]
"""Mean, standard deviation and limits of a draw."""
SIDES = {"+": 1, "-": -1}
"""The person's own left and right; +1 times a part's axis to the left."""


@dataclass(frozen=True)
class Physique:
    """Measures of a body, in body heights."""

    feminine: bool  # this and the next decide about clothes and hair, too
    child: bool
    head: float  # lengths; the torso's from the base of the neck to the crotch
    neck: float
    torso: float
    thigh: float
    shin: float
    upper_arm: float
    forearm: float
    shoulder: float  # half widths, seen from the front
    chest: float
    waist: float
    hip: float
    depth: float  # half depth of the chest
    bulk: float  # factor on the radii of the limbs
    bust: float  # how far chest and belly stand out to the front
    belly: float


def sample_physique(rng: Generator) -> Physique:
    """Draw a body."""
    feminine, child = happens(rng, 0.5), happens(rng, 0.12)
    weight = near(rng, 0.0, 0.45, -0.8, 1.4)  # 0 is average, 1 is heavy
    head = near(rng, 0.165 if child else 0.135, 0.006, 0.12, 0.19)
    legs = near(rng, 0.462 if child else 0.492, 0.014, 0.43, 0.53)
    neck, wide = 0.030 if child else 0.036, 1 + 0.12 * weight
    return Physique(
        feminine=feminine,
        child=child,
        head=head,
        neck=neck,
        torso=1.0 - head - legs - neck - 0.008,
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
    )


@dataclass(frozen=True)
class Limb:
    """Swing to the front and lift to the outside of both halves of an arm or a leg, 0 where it hangs down.

    Then how far the foot turns out and points down (radians), and how far the shoulder is raised, in body heights.
    """

    upper: tuple[float, float]
    lower: tuple[float, float]
    toe_out: float = 0.0
    point: float = 0.12
    raised: float = 0.0


@dataclass(frozen=True)
class Pose:
    """A pose; keys of arms and legs are those of `SIDES`."""

    kind: str
    arms: Mapping[str, Limb]
    legs: Mapping[str, Limb]
    yaw: float
    lean_front: float
    lean_side: float
    twist: float
    head_yaw: float
    head_pitch: float
    head_tilt: float
    camera_pitch: float
    camera_roll: float


_ARMS: Mapping[str, tuple[str, tuple[int, int], tuple[Normal, Normal, Normal, Normal]]] = {
    "hang": ("swing", (1, 1), ((0, 10, -25, 25), (12, 6, 3, 30), (14, 9, 0, 45), (-4, 7, -22, 14))),
    "on_hip": ("lift", (0, 0), ((42, 7, 28, 58), (-12, 8, -30, 5), (14, 8, 0, 30), (-52, 8, -70, -34))),
    "crossed": ("swing", (0, 0), ((14, 6, 0, 28), (8, 4, 0, 18), (85, 10, 60, 110), (-56, 8, -72, -38))),
    "bent": ("swing", (1, 0), ((12, 12, -15, 45), (14, 8, 2, 35), (78, 24, 30, 125), (-12, 16, -50, 25))),
    "to_head": ("swing", (0, 0), ((40, 15, 10, 75), (38, 12, 10, 65), (150, 10, 125, 170), (-28, 10, -50, -5))),
    "raised": ("lift", (0, 1), ((135, 20, 95, 172), (5, 10, -15, 30), (8, 10, -15, 35), (12, 22, -45, 60))),
    "spread": ("lift", (0, 1), ((75, 15, 45, 100), (5, 12, -20, 30), (10, 15, -20, 50), (0, 18, -40, 40))),
    "reach": ("swing", (1, 0), ((65, 22, 25, 110), (12, 12, -10, 40), (15, 14, 0, 55), (4, 12, -25, 30))),
}
"""Which angle is drawn first, whether the forearm's swing and lift follow the upper arm's, and the four draws."""
_BOTH_ARMS = {"same": 0.35, "crossed": 0.06, "raised": 0.07, "mixed": 0.52}
_ONE_ARM = {"hang": 0.42, "on_hip": 0.13, "bent": 0.18, "to_head": 0.06, "raised": 0.05, "spread": 0.06, "reach": 0.1}


def _arm(rng: Generator, kind: str) -> Limb:
    first, (swings, lifts), draws = _ARMS[kind]
    one, other, forward, outward = (near(rng, *draw) for draw in draws)
    swing, lift = (one, other) if first == "swing" else (other, one)
    return Limb(
        (swing, lift), (forward + swings * swing, outward + lifts * lift), raised=0.018 if kind == "raised" else 0.0
    )


def _arms(rng: Generator) -> dict[str, Limb]:
    together = weighted(rng, _BOTH_ARMS)
    if together in ("crossed", "raised"):
        return {side: _arm(rng, together) for side in SIDES}
    first = weighted(rng, _ONE_ARM)
    second = first if together == "same" else weighted(rng, _ONE_ARM)
    return {"+": _arm(rng, first), "-": _arm(rng, second)}


def _stand(rng: Generator) -> dict[str, Limb]:
    relaxed = "+" if happens(rng, 0.5) else "-"
    width = near(rng, 5, 4, -2, 16)
    legs = {}
    for side in SIDES:
        bend = near(rng, 14, 9, 0, 38) if side == relaxed else near(rng, 2, 2, 0, 6)
        lift = width + near(rng, 0, 2.5, -6, 6)
        legs[side] = Limb((bend * 0.6, lift), (bend * -0.4, lift * 0.7), near(rng, 14, 8, 0, 35))
    return legs


def _walk(rng: Generator) -> dict[str, Limb]:
    stride = near(rng, 22, 8, 8, 42)
    front = "+" if happens(rng, 0.5) else "-"
    legs = {}
    for side in SIDES:
        swing = stride if side == front else -stride * 0.8
        bend = between(rng, 4, 20) if side == front else between(rng, 14, 55)
        lift = near(rng, 2, 1.5, -2, 6)
        legs[side] = Limb((swing, lift), (swing - bend, lift), near(rng, 8, 4, 0, 18), 0.1 if side == front else 0.6)
    return legs


def _sit(rng: Generator) -> dict[str, Limb]:
    height, width = near(rng, 78, 9, 55, 95), near(rng, 9, 6, 0, 26)
    lifts = {"+": -10.0 if happens(rng, 0.2) else width, "-": width}
    legs = {}
    for side, lift in lifts.items():
        shin = near(rng, -4, 14, -35, 30)
        thigh = height + near(rng, 0, 3, -8, 8)
        legs[side] = Limb((thigh, lift), (shin, near(rng, 0, 5, -12, 12)), near(rng, 12, 8, 0, 30))
    return legs


def _crouch(rng: Generator) -> dict[str, Limb]:
    lift = near(rng, 14, 6, 0, 30)
    legs = {}
    for side in SIDES:
        thigh, shin = near(rng, 60, 16, 30, 100), near(rng, -45, 12, -70, -20)
        legs[side] = Limb((thigh, lift), (shin, lift * 0.4), near(rng, 14, 6, 0, 30))
    return legs


_LEGS: Mapping[str, Callable[[Generator], dict[str, Limb]]] = {
    "stand": _stand,
    "walk": _walk,
    "sit": _sit,
    "crouch": _crouch,
}
_KINDS = {"stand": 0.56, "walk": 0.25, "sit": 0.14, "crouch": 0.05}
_LEAN = {"stand": (0, 4), "walk": (4, 4), "sit": (6, 12), "crouch": (24, 10)}
_VIEWS = {"front": 0.56, "turned": 0.18, "side": 0.12, "back": 0.14}
_ANGLES: Mapping[str, Normal] = {
    "lean_side": (0, 4, -14, 14),
    "twist": (0, 7, -20, 20),
    "head_yaw": (0, 18, -55, 55),
    "head_pitch": (3, 9, -22, 30),
    "head_tilt": (0, 6, -18, 18),
    "camera_pitch": (7, 6, -6, 24),
    "camera_roll": (0, 2.5, -8, 8),
}


def _yaw(rng: Generator) -> float:
    view = weighted(rng, _VIEWS)
    sign = 1.0 if happens(rng, 0.5) else -1.0
    if view in ("turned", "side"):
        return sign * (between(rng, 30, 65) if view == "turned" else between(rng, 65, 110))
    return near(rng, 0, 17, -35, 35) if view == "front" else 180 + near(rng, 0, 28, -60, 60)


def sample_pose(rng: Generator) -> Pose:
    """Draw a pose; most people stand or walk and face the camera."""
    kind = weighted(rng, _KINDS)
    arms, legs = _arms(rng), _LEGS[kind](rng)
    for side, sign in SIDES.items():
        if kind == "walk" and happens(rng, 0.75):
            angle = -sign * legs["+"].upper[0] * between(rng, 0.6, 1.2)
            arms[side] = Limb((angle, 7.0), (angle + between(rng, 8, 45), near(rng, 2, 6, -12, 12)))
    yaw, lean = _yaw(rng), near(rng, *_LEAN[kind], -14, 48)
    return Pose(kind, arms, legs, yaw, lean, **{name: near(rng, *draw) for name, draw in _ANGLES.items()})


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joints in space as the camera sees them: x to the right, y down, z to the camera, in body heights.

    Attributes
    ----------
    joints : dict of str to ndarray, shape (3,)
        Centre line: crown, chin, neck, crotch. Of each side, with the suffix "+" for the person's left and "-" for the
        right: shoulder, elbow, wrist, hand, hip, knee, ankle, toe, heel.
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
    pelvis = _turn(2, pose.camera_roll) @ _turn(0, -pose.camera_pitch) @ _turn(1, pose.yaw)
    torso = pelvis @ _turn(2, pose.lean_side) @ _turn(0, -pose.lean_front) @ _turn(1, pose.twist)
    head = torso @ _turn(1, pose.head_yaw) @ _turn(0, -pose.head_pitch) @ _turn(2, pose.head_tilt)
    neck, hips = -torso[:, 1] * physique.torso, pelvis[:, 1] * -0.055
    chin = neck - torso[:, 1] * physique.neck * 0.55 - head[:, 1] * physique.neck * 0.45 + head[:, 2] * 0.008
    joints = {"crotch": np.zeros(3), "neck": neck, "chin": chin, "crown": chin - head[:, 1] * physique.head}
    for name, side in SIDES.items():
        arm, leg = pose.arms[name], pose.legs[name]
        shoulder = neck + torso[:, 1] * (0.042 - arm.raised) + torso[:, 0] * side * physique.shoulder * 0.86
        elbow = shoulder + torso @ _direction(arm.upper, side) * physique.upper_arm
        lower = torso @ _direction(arm.lower, side)
        wrist = elbow + lower * physique.forearm
        hip = hips + pelvis[:, 0] * side * physique.hip * 0.56
        knee = hip + pelvis @ _direction(leg.upper, side) * physique.thigh
        shin = pelvis @ _direction(leg.lower, side)
        ankle = knee + shin * physique.shin
        foot = pelvis @ _turn(1, side * leg.toe_out) @ np.array([0.0, np.sin(leg.point), np.cos(leg.point)])
        points = {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "hand": wrist + lower * 0.075}
        points |= {"hip": hip, "knee": knee, "ankle": ankle}
        points |= {"toe": ankle + shin * 0.022 + foot * 0.105, "heel": ankle + shin * 0.024 - foot * 0.022}
        joints |= {joint + name: place for joint, place in points.items()}
    return Skeleton(joints, torso, pelvis, head)


def _turn(axis: int, degrees: float) -> NDArray[np.float64]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    one, two = [(1, 2), (2, 0), (0, 1)][axis]
    matrix[one, one] = matrix[two, two] = c
    matrix[one, two], matrix[two, one] = -s, s
    return matrix


def _direction(angles: tuple[float, float], side: int) -> Vector:
    """Return a limb's direction in its part's axes from its swing to the front and its lift to the outside."""
    swing, lift = np.radians(angles[0]), np.radians(angles[1])
    return np.array([side * np.sin(lift), np.cos(lift) * np.cos(swing), np.cos(lift) * np.sin(swing)])
