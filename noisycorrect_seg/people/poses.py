"""Poses: joint angles, in degrees, drawn around a few ways to stand, walk and sit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from noisycorrect_seg.people.chance import between, happens, near, weighted

Angles = tuple[float, float]
"""Swing to the front and lift to the outside, both 0 for a limb that hangs down."""


@dataclass(frozen=True)
class Arm:
    """Angles of upper arm and forearm, and how far the shoulder is raised (negative) in body heights."""

    upper: Angles
    lower: Angles
    shrug: float = 0.0


@dataclass(frozen=True)
class Leg:
    """Angles of thigh and shin, how far the foot turns out, and how far it points down (radians)."""

    upper: Angles
    lower: Angles
    toe_out: float = 12.0
    point: float = 0.12


@dataclass(frozen=True)
class Pose:
    """A pose; keys of arms and legs are "+" for the person's left and "-" for the right."""

    kind: str
    yaw: float
    lean_front: float
    lean_side: float
    twist: float
    head_yaw: float
    head_pitch: float
    head_tilt: float
    camera_pitch: float
    camera_roll: float
    arms: Mapping[str, Arm]
    legs: Mapping[str, Leg]


def _hang(rng: np.random.Generator) -> Arm:
    swing, lift = near(rng, 0, 10, -25, 25), near(rng, 12, 6, 3, 30)
    return Arm((swing, lift), (swing + near(rng, 14, 9, 0, 45), lift + near(rng, -4, 7, -22, 14)))


def _on_hip(rng: np.random.Generator) -> Arm:
    lift = near(rng, 42, 7, 28, 58)
    return Arm((near(rng, -12, 8, -30, 5), lift), (near(rng, 14, 8, 0, 30), near(rng, -52, 8, -70, -34)))


def _crossed(rng: np.random.Generator) -> Arm:
    return Arm(
        (near(rng, 14, 6, 0, 28), near(rng, 8, 4, 0, 18)), (near(rng, 85, 10, 60, 110), near(rng, -56, 8, -72, -38))
    )


def _bent(rng: np.random.Generator) -> Arm:
    swing, lift = near(rng, 12, 12, -15, 45), near(rng, 14, 8, 2, 35)
    return Arm((swing, lift), (swing + near(rng, 78, 24, 30, 125), near(rng, -12, 16, -50, 25)))


def _to_head(rng: np.random.Generator) -> Arm:
    return Arm(
        (near(rng, 40, 15, 10, 75), near(rng, 38, 12, 10, 65)),
        (near(rng, 150, 10, 125, 170), near(rng, -28, 10, -50, -5)),
    )


def _raised(rng: np.random.Generator) -> Arm:
    lift = near(rng, 135, 20, 95, 172)
    return Arm(
        (near(rng, 5, 10, -15, 30), lift), (near(rng, 8, 10, -15, 35), lift + near(rng, 12, 22, -45, 60)), -0.018
    )


def _spread(rng: np.random.Generator) -> Arm:
    lift = near(rng, 75, 15, 45, 100)
    return Arm((near(rng, 5, 12, -20, 30), lift), (near(rng, 10, 15, -20, 50), lift + near(rng, 0, 18, -40, 40)))


def _reach(rng: np.random.Generator) -> Arm:
    swing = near(rng, 65, 22, 25, 110)
    return Arm((swing, near(rng, 12, 12, -10, 40)), (swing + near(rng, 15, 14, 0, 55), near(rng, 4, 12, -25, 30)))


ARMS: Mapping[str, Callable[[np.random.Generator], Arm]] = {
    "hang": _hang,
    "on_hip": _on_hip,
    "crossed": _crossed,
    "bent": _bent,
    "to_head": _to_head,
    "raised": _raised,
    "spread": _spread,
    "reach": _reach,
}
_BOTH_ARMS = {"same": 0.35, "crossed": 0.06, "raised": 0.07, "mixed": 0.52}
_ONE_ARM = {"hang": 0.42, "on_hip": 0.13, "bent": 0.18, "to_head": 0.06, "raised": 0.05, "spread": 0.06, "reach": 0.1}


def _sample_arms(rng: np.random.Generator) -> dict[str, Arm]:
    together = weighted(rng, _BOTH_ARMS)
    if together in ("crossed", "raised"):
        return {side: ARMS[together](rng) for side in "+-"}
    first = weighted(rng, _ONE_ARM)
    second = first if together == "same" else weighted(rng, _ONE_ARM)
    return {"+": ARMS[first](rng), "-": ARMS[second](rng)}


def _stand(rng: np.random.Generator) -> dict[str, Leg]:
    relaxed = "+" if happens(rng, 0.5) else "-"
    width = near(rng, 5, 4, -2, 16)
    legs = {}
    for side in "+-":
        bend = near(rng, 14, 9, 0, 38) if side == relaxed else near(rng, 2, 2, 0, 6)
        lift = width + near(rng, 0, 2.5, -6, 6)
        legs[side] = Leg((bend * 0.6, lift), (bend * -0.4, lift * 0.7), near(rng, 14, 8, 0, 35))
    return legs


def _walk(rng: np.random.Generator) -> dict[str, Leg]:
    stride = near(rng, 22, 8, 8, 42)
    front = "+" if happens(rng, 0.5) else "-"
    legs = {}
    for side in "+-":
        swing = stride if side == front else -stride * 0.8
        bend = between(rng, 4, 20) if side == front else between(rng, 14, 55)
        lift = near(rng, 2, 1.5, -2, 6)
        legs[side] = Leg((swing, lift), (swing - bend, lift), near(rng, 8, 4, 0, 18), 0.1 if side == front else 0.6)
    return legs


def _sit(rng: np.random.Generator) -> dict[str, Leg]:
    height, width = near(rng, 78, 9, 55, 95), near(rng, 9, 6, 0, 26)
    crossed = happens(rng, 0.2)
    legs = {}
    for side in "+-":
        lift = -10.0 if crossed and side == "+" else width
        shin = near(rng, -4, 14, -35, 30)
        legs[side] = Leg(
            (height + near(rng, 0, 3, -8, 8), lift), (shin, near(rng, 0, 5, -12, 12)), near(rng, 12, 8, 0, 30)
        )
    return legs


def _crouch(rng: np.random.Generator) -> dict[str, Leg]:
    lift = near(rng, 14, 6, 0, 30)
    return {
        side: Leg(
            (near(rng, 60, 16, 30, 100), lift), (near(rng, -45, 12, -70, -20), lift * 0.4), near(rng, 14, 6, 0, 30)
        )
        for side in "+-"
    }


_LEGS: Mapping[str, Callable[[np.random.Generator], dict[str, Leg]]] = {
    "stand": _stand,
    "walk": _walk,
    "sit": _sit,
    "crouch": _crouch,
}
_KINDS = {"stand": 0.56, "walk": 0.25, "sit": 0.14, "crouch": 0.05}
_VIEWS = {"front": 0.56, "turned": 0.18, "side": 0.12, "back": 0.14}


def _sample_yaw(rng: np.random.Generator) -> float:
    view = weighted(rng, _VIEWS)
    sign = 1.0 if happens(rng, 0.5) else -1.0
    if view == "front":
        return near(rng, 0, 17, -35, 35)
    if view == "turned":
        return sign * between(rng, 30, 65)
    if view == "side":
        return sign * between(rng, 65, 110)
    return 180 + near(rng, 0, 28, -60, 60)


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose; most people stand or walk and face the camera."""
    kind = weighted(rng, _KINDS)
    arms = _sample_arms(rng)
    legs = _LEGS[kind](rng)
    if kind == "walk":
        swing = legs["+"].upper[0]
        for side, sign in (("+", -1.0), ("-", 1.0)):
            if happens(rng, 0.75):
                angle = sign * swing * between(rng, 0.6, 1.2)
                arms[side] = Arm((angle, 7.0), (angle + between(rng, 8, 45), near(rng, 2, 6, -12, 12)))
    lean = {"stand": (0, 4), "walk": (4, 4), "sit": (6, 12), "crouch": (24, 10)}[kind]
    return Pose(
        kind=kind,
        yaw=_sample_yaw(rng),
        lean_front=near(rng, lean[0], lean[1], -14, 48),
        lean_side=near(rng, 0, 4, -14, 14),
        twist=near(rng, 0, 7, -20, 20),
        head_yaw=near(rng, 0, 18, -55, 55),
        head_pitch=near(rng, 3, 9, -22, 30),
        head_tilt=near(rng, 0, 6, -18, 18),
        camera_pitch=near(rng, 7, 6, -6, 24),
        camera_roll=near(rng, 0, 2.5, -8, 8),
        arms=arms,
        legs=legs,
    )
