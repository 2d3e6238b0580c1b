"""A person on a canvas, painted from the back to the front, in LIP's classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from noisycorrect_seg.classes import LIP
from noisycorrect_seg.people.body import SIDES, Body, Point
from noisycorrect_seg.people.canvas import Canvas, Capsule, Ellipse, Paint, Polygon
from noisycorrect_seg.people.wardrobe import Outfit

CLASS: Mapping[str, int] = {name: number for number, name in enumerate(LIP.names)}
_DARK = Paint(np.array([30.0, 26.0, 30.0]))
_TOPS = {"dress": "Dress", "jumpsuit": "Jumpsuits"}
_BOTTOMS = {"dress": "Dress", "jumpsuit": "Jumpsuits", "skirt": "Skirt", "pants": "Pants"}


def by(right: float, down: float) -> Point:
    """Return a shift, in body heights."""
    return np.array([right, down])


@dataclass(frozen=True, eq=False)
class Figure:
    """A person at a place of a canvas; a body height is `scale` pixels, and the crown's place in pixels `offset`."""

    body: Body
    outfit: Outfit
    canvas: Canvas
    scale: float
    offset: Point

    def draw(self) -> None:
        """Paint the person."""
        self._hair_behind()
        for name in SIDES:
            self._leg(name)
        self._hips()
        self._torso()
        if self.outfit.coat is not None:
            self._coat(self.outfit.coat)
        for name in SIDES:
            self._arm(name)
        self._head()

    def _at(self, joint: str | Point, right: float = 0.0, down: float = 0.0) -> Point:
        place = self.body[joint] if isinstance(joint, str) else joint
        return self.offset + self.scale * (place + by(right, down))

    def _paint(self, shape: Capsule | Ellipse | Polygon, label: str, paint: Paint) -> None:
        self.canvas.paint(shape, CLASS[label], paint, period=0.055 * self.scale)

    def _limb(self, ends: tuple[Point, Point], radii: tuple[float, float], label: str, paint: Paint) -> None:
        first, last = (radius * self.scale for radius in radii)
        self._paint(Capsule(self._at(ends[0]), self._at(ends[1]), first, last), label, paint)

    def _polygon(self, corners: list[Point], rounding: float, label: str, paint: Paint) -> None:
        self._paint(Polygon(np.stack(corners), rounding * self.scale), label, paint)

    # A limb has two halves; of a sleeve or a leg of trousers of length 1.3 the first is covered, and .3 of the second.
    def _covered(self, joints: tuple[str, str, str], length: float, width: float, label: str, paint: Paint) -> None:
        start, middle, end = (self.body[joint] for joint in joints)
        if length > 1:
            self._limb((middle, middle + (end - middle) * (length - 1)), (width, width * 0.92), label, paint)
        self._limb((start, start + (middle - start) * min(length, 1.0)), (width * 1.08, width), label, paint)

    def _leg(self, name: str) -> None:
        outfit, width = self.outfit, 0.043 * self.body.bulk
        joints = ("hip " + name, "knee " + name, "ankle " + name)
        hip, knee, ankle = (self.body[joint] for joint in joints)
        label = f"{name.capitalize()}-leg"
        self._limb((knee, ankle), (width, width * 0.8), label, outfit.skin)
        self._limb((hip, knee), (width * 1.2, width), label, outfit.skin)
        if outfit.socks is not None:
            self._limb((ankle + (knee - ankle) * 0.5, ankle), (width * 0.95, width * 0.85), "Socks", outfit.socks)
        if outfit.style in ("pants", "jumpsuit"):
            self._covered(joints, outfit.length, width * 1.3, _BOTTOMS[outfit.style], outfit.bottom)
        label, toe = f"{name.capitalize()}-shoe", ankle + by(0.035 * self.body.side(name), 0.02)
        self._limb((ankle + by(0.0, 0.012), toe), (0.04, 0.038), label, outfit.shoes)
        if outfit.boots:
            self._limb((ankle + (knee - ankle) * 0.4, ankle), (width * 1.5, width * 1.42), label, outfit.shoes)

    def _hips(self) -> None:
        outfit, bulk = self.outfit, self.body.bulk
        label = _BOTTOMS[outfit.style]
        waist = [self._at("hips", side * 0.078 * bulk, -0.1) for side in (-1, 1)]
        if outfit.style in ("pants", "jumpsuit"):
            low = [self._at("hips", side * 0.07 * bulk, 0.015) for side in (1, -1)]
            self._polygon([*waist, *low], 0.02, label, outfit.bottom)
            return
        knees = 0.5 * (self.body["knee left"] + self.body["knee right"])
        reach = (knees[1] - self.body["hips"][1]) * outfit.length
        low = [self._at("hips", side * (0.1 + 0.05 * outfit.length) * bulk + knees[0] * 0.5, reach) for side in (1, -1)]
        self._polygon([*waist, *low], 0.015, label, outfit.bottom)

    def _torso(self) -> None:
        outfit, bulk = self.outfit, self.body.bulk
        neck = self.body["neck"]
        self._limb((self.body["chin"] - by(0, 0.03), neck + by(0, 0.03)), (0.036, 0.04), "Face", outfit.skin)
        sides = ("left", "right") if not self.body.back else ("right", "left")
        shoulders = [self._at("shoulder " + side, down=-0.005) for side in sides]
        waist = [self._at("hips", side * 0.07 * bulk, -0.06) for side in (-1, 1)]
        self._polygon([*shoulders, *waist], 0.028, _TOPS.get(outfit.style, "Upper-clothes"), outfit.top)
        if not self.body.back:  # the neckline
            self._paint(Ellipse(self._at(neck, down=0.012), 0.036 * self.scale, 0.03 * self.scale), "Face", outfit.skin)

    def _coat(self, coat: Paint) -> None:
        """Paint a coat: closed from behind, open in front, where two panels leave the top to be seen."""
        body, knees = self.body, 0.5 * (self.body["knee left"] + self.body["knee right"])
        reach = -0.02 + (knees[1] - body["hips"][1]) * self.outfit.coat_length
        for name in SIDES:
            side = body.side(name)
            inner = 0.0 if body.back else side * 0.034
            shoulder = body["shoulder " + name]
            corners = [
                self._at(body["neck"], inner * 1.1, 0.0),
                self._at(shoulder, side * 0.006, -0.008),
                self._at("hips", side * 0.1 * body.bulk, reach),
                self._at("hips", inner * 1.2, reach),
            ]
            self._polygon(corners, 0.022, "Coat", coat)

    def _arm(self, name: str) -> None:
        outfit, width = self.outfit, 0.038 * self.body.bulk
        joints = ("shoulder " + name, "elbow " + name, "hand " + name)
        shoulder, elbow, hand = (self.body[joint] for joint in joints)
        label = f"{name.capitalize()}-arm"
        self._limb((elbow, hand), (width, width * 0.9), label, outfit.skin)
        self._limb((shoulder, elbow), (width * 1.1, width), label, outfit.skin)
        palm, paint = (label, outfit.skin) if outfit.gloves is None else ("Glove", outfit.gloves)
        self._limb((hand, hand + (hand - elbow) * 0.15), (width * 1.15, width * 1.1), palm, paint)
        self._covered(joints, outfit.sleeve, width * 1.2, _TOPS.get(outfit.style, "Upper-clothes"), outfit.top)
        if outfit.coat is not None:
            self._covered(joints, 1.85, width * 1.35, "Coat", outfit.coat.darker(0.93))

    def _hair_behind(self) -> None:
        if self.outfit.hairstyle == "long":
            ends = (self.body["crown"] + by(0, 0.1), self.body["chin"] + by(0, 0.07))
            self._limb(ends, (0.105, 0.115), "Hair", self.outfit.hair.darker(0.85))

    def _head(self) -> None:
        body, outfit = self.body, self.outfit
        middle = 0.5 * (body["crown"] + body["chin"])
        tall, wide = (body["chin"] - body["crown"])[1] / 2 * self.scale, 0.095 * self.scale
        self._paint(Ellipse(self._at(middle), wide, tall), "Face", outfit.skin)
        if body.back:
            if outfit.hairstyle != "bald":
                self._paint(Ellipse(self._at(middle, down=-0.01), wide * 1.1, tall * 1.02), "Hair", outfit.hair)
        else:
            self._face(middle, wide, tall)
        if outfit.hairstyle == "long":
            for side in (-1, 1):
                low = body["chin"] + by(side * 0.1, 0.04)
                self._limb((body["crown"] + by(side * 0.08, 0.07), low), (0.03, 0.036), "Hair", outfit.hair)
        if outfit.hairstyle == "bun":
            self._paint(
                Ellipse(self._at("crown", down=-0.02), 0.05 * self.scale, 0.045 * self.scale), "Hair", outfit.hair
            )
        if outfit.scarf is not None:
            neck = body["neck"]
            self._limb((neck - by(0.04, 0.0), neck + by(0.04, 0.0)), (0.04, 0.04), "Scarf", outfit.scarf)
            if not body.back:
                self._limb((neck + by(0.03, 0.0), neck + by(0.045, 0.13)), (0.025, 0.028), "Scarf", outfit.scarf)
        if outfit.hat is not None:
            self._hat(outfit.hat)

    def _face(self, middle: Point, wide: float, tall: float) -> None:
        outfit, gaze = self.outfit, self.body.gaze * 0.02
        if outfit.hairstyle != "bald":  # a cap of hair: upper half of a slightly larger ellipse
            angles = np.linspace(np.pi, 2 * np.pi, 12)
            cap = np.stack([np.cos(angles) * wide * 1.1, np.sin(angles) * tall * 1.1], axis=1) + self._at(middle)
            fringe = [self._at(middle, 0.07 + gaze, -0.03), self._at(middle, -0.07 + gaze, -0.03)]
            self._paint(Polygon(np.concatenate([cap, np.stack(fringe)])), "Hair", outfit.hair)
        for side in (-1, 1):
            eye = self._at(middle, side * 0.036 + gaze, 0.012)
            self._paint(Ellipse(eye, 0.011 * self.scale, 0.013 * self.scale), "Face", _DARK)
        mouth = Ellipse(self._at(middle, gaze, 0.07), 0.024 * self.scale, 0.008 * self.scale)
        self._paint(mouth, "Face", Paint(outfit.skin.colour * (0.75, 0.5, 0.5)))
        if outfit.sunglasses:
            left, right = (middle + by(gaze - 0.055, 0.012), middle + by(gaze + 0.055, 0.012))
            self._limb((left, right), (0.026, 0.026), "Sunglasses", _DARK)

    def _hat(self, kind: str) -> None:
        crown, paint = self.body["crown"], self.outfit.hat_paint
        angles = np.linspace(np.pi, 2 * np.pi, 12)
        size = {"beanie": (0.112, 0.12), "cap": (0.108, 0.105), "brim": (0.09, 0.12)}[kind]
        dome = np.stack([np.cos(angles), np.sin(angles)], axis=1) * size
        self._paint(Polygon(self._at(crown + by(0.0, 0.075) + dome)), "Hat", paint)
        if kind == "brim":
            self._limb((crown + by(-0.16, 0.075), crown + by(0.16, 0.075)), (0.022, 0.022), "Hat", paint.darker(0.85))
        elif not self.body.back:
            ends = (crown + by(-0.095, 0.073), crown + by(0.095 + 0.06 * (kind == "cap"), 0.073))
            self._limb(ends, (0.021, 0.021), "Hat", paint.darker(0.85))
