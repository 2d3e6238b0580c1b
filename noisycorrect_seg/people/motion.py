"""People who move: a body's pose as a smooth function of time, and where they walk."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from noisycorrect_seg.people.body import SIDES, Body, Point
from noisycorrect_seg.people.chance import between

_ARM, _FOREARM, _LEG = (8.0, 34.0), (4.0, 26.0), (5.0, 14.0)  # degrees that a joint swings to either side


@dataclass(frozen=True)
class Gait:
    """How a person moves; everything is periodic in the beat, so that a pose is a function of time alone.

    Attributes
    ----------
    beat : float
        Frames that a swing there and back takes.
    phase : float
        Where it begins, in radians.
    arm, forearm, leg : float
        Angles, in degrees, by which limbs leave their place to either side.
    sway, bob : float
        How far hips and head go aside and down, in body heights.
    """

    beat: float
    phase: float
    arm: float
    forearm: float
    leg: float
    sway: float
    bob: float

    def at(self, body: Body, time: float) -> Body:
        """Return the body in its pose at a time, in frames."""
        angle = 2 * np.pi * time / self.beat + self.phase
        swing = np.sin(angle)
        joints = dict(body.joints)
        for name in SIDES:
            side = body.side(name)
            way = swing * (1 if name == "left" else -1)
            arms = ("shoulder " + name, "elbow " + name, "hand " + name)
            _turn(joints, arms, (self.arm * way * side, self.forearm * np.sin(angle + 0.8) * side))
            legs = ("hip " + name, "knee " + name, "ankle " + name)
            _turn(joints, legs, (self.leg * way, -0.6 * self.leg * way))
        shift = np.array([self.sway * swing, self.bob * np.cos(2 * angle)])
        upper = (
            "crown",
            "chin",
            "neck",
            *(f"{joint} {name}" for joint in ("shoulder", "elbow", "hand") for name in SIDES),
        )
        for joint in upper:
            joints[joint] = joints[joint] + shift
        gaze = float(np.clip(body.gaze + 0.5 * np.sin(angle / 2), -1, 1))
        return dataclasses.replace(body, joints=joints, gaze=gaze)


def _turn(joints: dict[str, Point], names: tuple[str, str, str], degrees: tuple[float, float]) -> None:
    """Turn the two halves of a limb about its joints; positive is counter-clockwise as seen."""
    start, middle, end = (joints[name] for name in names)
    first, second = (np.radians(angle) for angle in degrees)
    joints[names[1]] = start + _turned(middle - start, first)
    joints[names[2]] = joints[names[1]] + _turned(end - middle, first + second)


def _turned(vector: Point, angle: float) -> Point:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * vector[0] + s * vector[1], c * vector[1] - s * vector[0]])


def sample_gait(rng: np.random.Generator) -> Gait:
    """Draw how a person moves."""
    return Gait(
        beat=between(rng, 18, 36),
        phase=between(rng, 0, 2 * np.pi),
        arm=between(rng, *_ARM),
        forearm=between(rng, *_FOREARM),
        leg=between(rng, *_LEG),
        sway=between(rng, 0.002, 0.012),
        bob=between(rng, 0.001, 0.006),
    )


@dataclass(frozen=True, eq=False)
class Path:
    """Where a person is: a shift in pixels and a zoom, smooth in time.

    Attributes
    ----------
    start, end : float
        Shift to the right at the first and at the last frame.
    frames : int
        Of the film.
    depth : float
        The person comes nearer and goes again by this share of the size.
    """

    start: float
    end: float
    frames: int
    depth: float

    def at(self, time: float) -> tuple[float, float]:
        """Return shift and zoom at a time, in frames."""
        share = time / max(self.frames - 1, 1)
        return self.start + (self.end - self.start) * share, 1 + self.depth * np.sin(2 * np.pi * share)


def sample_path(rng: np.random.Generator, width: int, frames: int, *, way: int, crossing: bool) -> Path:
    """Draw a walk to the right (`way` 1) or left (-1): through most of the picture, or a little about its middle."""
    reach = (between(rng, 0.28, 0.4) if crossing else between(rng, 0.02, 0.1)) * width * way
    return Path(-reach, reach, frames, between(rng, 0.0, 0.05))
