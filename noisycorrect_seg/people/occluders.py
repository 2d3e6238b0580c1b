"""What is in front of people and hides a part of them, of class background."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from noisycorrect_seg.people.canvas import Canvas
from noisycorrect_seg.people.chance import between, happens, one_of, weighted
from noisycorrect_seg.people.loft import ellipse, tube
from noisycorrect_seg.people.materials import Material, fabric, hsv, jitter, leather

Draw = Callable[[np.random.Generator, Canvas, Material], None]


def _table(rng: np.random.Generator, canvas: Canvas, material: Material) -> None:
    height, width = canvas.labels.shape
    top = between(rng, 0.76, 0.92) * height
    desk = tube(np.array([width * 0.5, top]), np.array([width * 0.5, height * 1.3]), [1.0, 1.0], width * 0.7)
    board = desk.panel(between(rng, -1.4, -0.2), between(rng, 0.2, 1.4))
    canvas.paint(board, 0, material, desk, float(height))


def _post(rng: np.random.Generator, canvas: Canvas, material: Material) -> None:
    height, width = canvas.labels.shape
    x = one_of(rng, [between(rng, 0.05, 0.32), between(rng, 0.68, 0.95)]) * width
    thick = between(rng, 0.008, 0.03)
    post = tube(np.array([x, -0.1 * height]), np.array([x, 1.1 * height]), [thick, thick], float(height))
    canvas.paint(post.outline(), 0, material, post, float(height))


def _leaves(rng: np.random.Generator, canvas: Canvas, material: Material) -> None:
    height, width = canvas.labels.shape
    green = hsv(between(rng, 0.2, 0.38), between(rng, 0.3, 0.7), between(rng, 0.2, 0.6))
    corner = np.array([one_of(rng, [0.0, 1.0]) * width, between(rng, 0.5, 1.0) * height])
    for _ in range(9):
        turn = between(rng, 0, 2 * np.pi)
        middle = corner + rng.standard_normal(2) * 0.11 * height
        leaf = ellipse(middle, 0.022 * height, 0.07 * height, np.array([np.cos(turn), np.sin(turn)]))
        canvas.flat(leaf.outline(), 0, jitter(rng, green, 9))


def _shoulder(rng: np.random.Generator, canvas: Canvas, material: Material) -> None:
    height, width = canvas.labels.shape
    x = one_of(rng, [-0.02, 1.02]) * width
    body = ellipse(np.array([x, height * 1.02]), 0.2 * height, between(rng, 0.2, 0.42) * height)
    canvas.paint(body.outline(), 0, material, body, float(height))


def _box(rng: np.random.Generator, canvas: Canvas, material: Material) -> None:
    height, width = canvas.labels.shape
    at = np.array([between(rng, 0.1, 0.9) * width, between(rng, 0.75, 0.95) * height])
    size = between(rng, 0.05, 0.14) * height
    crate = tube(at - np.array([0, size]), at + np.array([0, size]), [1.0, 1.0], size)
    canvas.paint(crate.outline(), 0, material, crate, float(height))


_THINGS: Mapping[Draw, float] = {_table: 0.28, _post: 0.2, _leaves: 0.22, _shoulder: 0.15, _box: 0.15}


def occlude(rng: np.random.Generator, canvas: Canvas) -> None:
    """Paint a table, a post, leaves, someone's shoulder or a box over the scene."""
    material = fabric(rng, patterned=0.3) if happens(rng, 0.5) else leather(rng)
    weighted(rng, _THINGS)(rng, canvas, material)
