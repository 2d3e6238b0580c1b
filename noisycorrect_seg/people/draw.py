"""Painting a whole person from back to front."""

from __future__ import annotations

import numpy as np

from noisycorrect_seg.people import head, limbs, trunk
from noisycorrect_seg.people.figure import Figure
from noisycorrect_seg.people.loft import ellipse, tube


def draw(figure: Figure) -> None:
    """Paint a person: far limbs, trunk, clothes, head, near limbs, each by its distance to the camera."""
    outfit, skeleton = figure.person.outfit, figure.person.skeleton
    middle = figure.depth("neck", "crotch")
    arms = sorted("+-", key=lambda side: figure.depth("elbow" + side, "wrist" + side))
    behind = [side for side in arms if figure.depth("elbow" + side, "wrist" + side) < middle - 0.045]
    legs = sorted("+-", key=lambda side: figure.depth("knee" + side, "ankle" + side))
    seated = [side for side in legs if figure.depth("knee" + side) > figure.depth("hip" + side) + 0.12]
    if outfit.bag == "backpack" and np.cos(skeleton.azimuth("torso")) > 0:
        _backpack(figure)
    head.hair_behind(figure)
    for side in behind:
        limbs.arm(figure, side)
    trunk.pelvis(figure)
    # A skirt lies over the knees of someone who sits; trousers come towards the camera, over the hem of the top.
    later = seated if outfit.bottom.flare is None else []
    for side in legs:
        if side not in later:
            limbs.leg(figure, side)
    trunk.neck(figure)
    _clothes(figure)
    for side in later:
        limbs.leg(figure, side)
    if outfit.bag == "backpack" and np.cos(skeleton.azimuth("torso")) <= 0:
        _backpack(figure)
    _head(figure)
    for side in arms:
        if side not in behind:
            limbs.arm(figure, side)
    if outfit.bag in ("hand", "strap"):
        _bag(figure)


def _clothes(figure: Figure) -> None:
    outfit = figure.person.outfit
    is_skirt = outfit.bottom.flare is not None
    one_piece = outfit.top.label == outfit.bottom.label
    if is_skirt and outfit.tucked and not one_piece:
        trunk.top(figure)
        trunk.skirt(figure)
    else:
        if is_skirt:
            trunk.skirt(figure)
        trunk.top(figure)
    if outfit.top.material.phase[0] % 5 < 1 and outfit.top.label == 5:
        size = 0.2 + outfit.top.material.phase[1] % 1 * 0.3
        trunk.print_on_chest(figure, outfit.top.material.second, size)
    if outfit.coat is not None:
        trunk.coat(figure)


def _head(figure: Figure) -> None:
    outfit = figure.person.outfit
    head.face(figure)
    if outfit.scarf is not None:
        trunk.scarf(figure)
    head.hair(figure)
    if outfit.sunglasses:
        head.sunglasses(figure)
    if outfit.hat is not None:
        head.hat(figure)


def _backpack(figure: Figure) -> None:
    loft = trunk.torso(figure, 0.03)
    away = -figure.seen(figure.person.skeleton.torso[:, 2]) * 0.07
    pack = ellipse(loft.point(0.38, 0) + away, 0.085 * figure.scale, 0.14 * figure.scale, loft.along)
    figure.canvas.paint(pack.outline(), 0, figure.person.outfit.bag_material, pack, figure.scale)


def _bag(figure: Figure) -> None:
    outfit, canvas, scale = figure.person.outfit, figure.canvas, figure.scale
    side = "+" if outfit.bag_material.base[0] > 60 else "-"
    down = np.array([0.0, scale])
    if outfit.bag == "hand":
        grip = figure.at("hand" + side)
        if grip[1] < figure.at("neck")[1]:
            return
        body = tube(
            grip + np.array([0.0, 0.03]) * scale, grip + np.array([0.0, 0.13]) * scale, [0.05, 0.066, 0.07], scale
        )
        strap = tube(grip, grip + np.array([0.0, 0.04]) * scale, [0.022, 0.035], scale)
        canvas.flat(strap.outline(0.5, 0)[::2], 0, outfit.bag_material.base * np.float32(0.7))
    else:
        start = trunk.torso(figure, 0.02).point(0.07, 0.6 if side == "-" else -0.6)
        hip = figure.at("hip" + side) - down * 0.02
        strap = tube(start, hip, [0.008, 0.008], scale)
        canvas.flat(strap.outline(), 0, outfit.bag_material.base * np.float32(0.8))
        body = tube(hip, hip + down * 0.09, [0.055, 0.06, 0.055], scale)
    canvas.paint(body.outline(0.1, 0.15), 0, outfit.bag_material, body, scale)
