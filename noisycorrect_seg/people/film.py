"""A film of drawn people with its masks, its people and its true motion."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from noisycorrect_seg.people.body import Body, sample_body
from noisycorrect_seg.people.canvas import Canvas, Capsule, Ellipse, Field, Point, Polygon, Shape
from noisycorrect_seg.people.chance import between, happens, near
from noisycorrect_seg.people.figure import Figure
from noisycorrect_seg.people.motion import Gait, Path, sample_gait, sample_path
from noisycorrect_seg.people.scene import backdrop, place
from noisycorrect_seg.people.wardrobe import Outfit, sample_outfit

_GRAIN = 4.0  # standard deviation of the camera's noise, in grey levels; of every frame anew
_MARGIN = 0.08  # of the room around the picture, through which the camera moves

_FEET = np.array([0.0, 1.0])  # in body heights, from the crown

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame and the truth about it.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    labels : ndarray of uint8, shape (H, W)
        LIP's classes.
    people : ndarray of uint8, shape (H, W)
        1 for the first person, and so on; 0 is nobody.
    surface : ndarray of int16, shape (H, W)
        Which of `motions` the pixel moves with: 0 is the room.
    motions : ndarray of float64, shape (n, 2, 3)
        From this frame's pixels (x, y) to where the same matter was in the film's first frame, affine, a surface each.
    """

    image: NDArray[np.uint8] = field(repr=False)
    labels: NDArray[np.uint8] = field(repr=False)
    people: NDArray[np.uint8] = field(repr=False)
    surface: NDArray[np.int16] = field(repr=False)
    motions: Matrix = field(repr=False)

    def flow_to(self, other: Frame) -> NDArray[np.float32]:
        """Return where this frame's matter is in another frame, as displacements (H, W, 2), x first."""
        steps = np.stack(
            [_after(_inverse(there), here) for here, there in zip(self.motions, other.motions, strict=True)]
        )
        rows, columns = np.mgrid[: self.labels.shape[0], : self.labels.shape[1]].astype(np.float64)
        matrix = steps[self.surface]
        x = matrix[..., 0, 0] * columns + matrix[..., 0, 1] * rows + matrix[..., 0, 2]
        y = matrix[..., 1, 0] * columns + matrix[..., 1, 1] * rows + matrix[..., 1, 2]
        return np.stack([x - columns, y - rows], axis=-1).astype(np.float32)


class MovingCanvas(Canvas):
    """A canvas that knows what it painted, and paints patterns that move with their cloth.

    Parameters
    ----------
    colour, light
        As of a canvas.
    rest : sequence of Shape, optional
        The same shapes in the film's first frame.

    Attributes
    ----------
    shapes : list of Shape
        What was painted, in order.
    surface : ndarray of int16, shape (H, W)
        The number of the frontmost shape, from 1; 0 where there is none.
    motions : list of ndarray, shape (2, 3)
        From this frame into the first, a shape each.
    """

    def __init__(self, colour: Field, light: float, rest: list[Shape] | None = None) -> None:
        super().__init__(colour, light)
        self.rest = rest
        self.shapes: list[Shape] = []
        self.motions: list[Matrix] = []
        self.surface: NDArray[np.int16] = np.zeros(self.labels.shape, np.int16)

    def cloth(self, shape: Shape, x: Field, y: Field) -> tuple[Field, Field]:
        """Return where the pixels' matter was in the first frame: its pattern is looked up there."""
        (a, b, c), (d, e, f) = self.motions[-1]
        return a * x + b * y + c, d * x + e * y + f

    def begin(self, shape: Shape) -> None:
        """Note a shape before it is painted."""
        rest = shape if self.rest is None else self.rest[len(self.shapes)]
        self.shapes.append(shape)
        self.motions.append(motion(shape, rest))

    def covered(self, rows: slice, columns: slice, inside: NDArray[np.bool_]) -> None:
        """Note the pixels that it covers."""
        self.surface[rows, columns][inside] = len(self.shapes)


def motion(now: Shape, then: Shape) -> Matrix:
    """Return the affine map by which a shape came from where it is to where it was, (2, 3)."""
    if isinstance(now, Capsule) and isinstance(then, Capsule):
        return _similarity(now.start, now.end - now.start, then.start, then.end - then.start, then.first / now.first)
    if isinstance(now, Ellipse) and isinstance(then, Ellipse):
        return _similarity(now.centre, _arm(now), then.centre, _arm(then), 1.0)
    assert isinstance(now, Polygon)
    assert isinstance(then, Polygon)
    corners = np.concatenate([now.points, np.ones((len(now.points), 1))], axis=1)
    fitted: Matrix = np.linalg.lstsq(corners, then.points, rcond=None)[0].T
    return fitted


def _arm(ellipse: Ellipse) -> Point:
    return ellipse.across * np.array([np.cos(ellipse.turn), np.sin(ellipse.turn)])


def _similarity(start: Point, arm: Point, onto: Point, other: Point, zoom: float) -> Matrix:
    """Return the turn, zoom and shift that bring `start` onto `onto` and one arm to the other."""
    if np.hypot(*arm) < 1e-6:
        linear = zoom * np.eye(2)
    else:
        ratio = complex(*other) / complex(*arm)
        linear = np.array([[ratio.real, -ratio.imag], [ratio.imag, ratio.real]])
    return np.concatenate([linear, (onto - linear @ start)[:, None]], axis=1)


def _inverse(matrix: Matrix) -> Matrix:
    linear = np.linalg.inv(matrix[:, :2])
    return np.concatenate([linear, -linear @ matrix[:, 2:]], axis=1)


def _after(then: Matrix, first: Matrix) -> Matrix:
    """Return the map that applies `first`, and `then` to what it gives."""
    return np.concatenate([then[:, :2] @ first[:, :2], then[:, :2] @ first[:, 2:] + then[:, 2:]], axis=1)


@dataclass(frozen=True, eq=False)
class Actor:
    """A person of a film: who it is, and how and where it moves."""

    body: Body
    outfit: Outfit
    gait: Gait
    path: Path
    scale: float
    offset: Point

    def figure(self, canvas: Canvas, time: float) -> Figure:
        """Return the person at a time; the feet stay on their line as the person comes nearer."""
        shift, zoom = self.path.at(time)
        scale = self.scale * zoom
        ground = self.offset + self.scale * _FEET + (shift, 0.0)
        return Figure(self.gait.at(self.body, time), self.outfit, canvas, scale, ground - scale * _FEET)


class Film:
    """A film: the same people in the same room, moving smoothly, from a seed.

    Parameters
    ----------
    seed : int
        Of everything.
    frames : int
        How many.
    height, width : int
        In pixels.
    people : int
        How many, the hindmost first; several cross.
    """

    def __init__(self, seed: int, frames: int, height: int, width: int, people: int = 1) -> None:
        self.seed, self.frames, self.shape = seed, frames, (height, width)
        rng = np.random.default_rng(seed)
        self.room = backdrop(rng, *(round(side * (1 + 2 * _MARGIN)) for side in self.shape))
        self.light = near(rng, 0, 0.1, -0.2, 0.2)
        self.exposure = near(rng, 1.0, 0.08, 0.8, 1.2) * (1 + np.array([1, 0, -1]) * near(rng, 0, 0.04, -0.1, 0.1))
        self.beats = between(rng, 30, 60), between(rng, 30, 60)  # of the hand that holds the camera
        self.phases = between(rng, 0, 2 * np.pi), between(rng, 0, 2 * np.pi)
        self.way = 1 if happens(rng, 0.5) else -1
        self.actors = [self._actor(rng, number, people) for number in range(people)]

    def _actor(self, rng: np.random.Generator, number: int, people: int) -> Actor:
        (height, width), body = self.shape, sample_body(rng)
        scale, offset = place(rng, body, height, width)
        if people > 1:  # those behind are smaller, and stand a little higher
            zoom = 0.7 + 0.15 * number / (people - 1)
            feet = offset + scale * _FEET
            offset = feet * (1.0, 0.9 + 0.1 * zoom) - zoom * scale * _FEET
            scale *= zoom
        way = (-1) ** number * self.way  # towards each other, so that they do cross
        path = sample_path(rng, width, self.frames, way=way, crossing=people > 1)
        return Actor(body, sample_outfit(rng), sample_gait(rng), path, scale, offset)

    def camera(self, time: float) -> Point:
        """Return where the picture's corner is in the room, in pixels (x, y)."""
        (height, width), (across, down) = self.shape, self.beats
        reach = 0.8 * _MARGIN * np.array([width, height])
        turn = np.array(
            [np.sin(2 * np.pi * time / across + self.phases[0]), np.sin(2 * np.pi * time / down + self.phases[1])]
        )
        corner: Point = np.array([_MARGIN * width, _MARGIN * height]) + 0.5 * reach * turn
        return corner

    @functools.cached_property
    def rest(self) -> list[list[Shape]]:
        """The shapes of each person in the first frame."""
        return [canvas.shapes for canvas in self._paint(0, None)[1]]

    def _paint(self, time: int, rest: list[list[Shape]] | None) -> tuple[Field, list[MovingCanvas]]:
        """Return the picture without grain, and a canvas a person, all painted onto it one after the other."""
        height, width = self.shape
        corner = self.camera(time)
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
        places = [rows + corner[1], columns + corner[0]]
        planes = [
            ndimage.map_coordinates(plane, places, order=1, mode="nearest") for plane in np.moveaxis(self.room, 2, 0)
        ]
        colour = np.stack(planes, axis=-1)
        away = self.camera(0) - corner  # the room moves against the camera, and people with it
        canvases = []
        for number, actor in enumerate(self.actors):
            canvas = MovingCanvas(colour, self.light, None if rest is None else rest[number])
            figure = actor.figure(canvas, time)
            feet = 0.5 * (figure.body["ankle left"] + figure.body["ankle right"]) + (0.0, 0.03)
            figure = Figure(figure.body, figure.outfit, canvas, figure.scale, figure.offset + away)
            canvas.tint(Ellipse(figure.offset + figure.scale * feet, 0.2 * figure.scale, 0.035 * figure.scale), 0.75)
            figure.draw()
            canvases.append(canvas)
        return colour, canvases

    def frame(self, time: int) -> Frame:
        """Return a frame and the truth about it."""
        colour, canvases = self._paint(time, self.rest)
        labels, people = np.zeros(self.shape, np.uint8), np.zeros(self.shape, np.uint8)
        surface = np.zeros(self.shape, np.int16)
        corner, first = self.camera(time), self.camera(0)
        room: Matrix = np.array([[1.0, 0, corner[0] - first[0]], [0, 1.0, corner[1] - first[1]]])
        motions = [room]
        for number, canvas in enumerate(canvases, 1):
            shown = canvas.surface > 0
            labels[shown], people[shown] = canvas.labels[shown], number
            surface[shown] = canvas.surface[shown] + len(motions) - 1
            motions += canvas.motions
        grain = np.random.default_rng((self.seed, time)).standard_normal((*self.shape, 1))
        image = (colour * self.exposure + _GRAIN * grain).clip(0, 255).astype(np.uint8)
        return Frame(image, labels, people, surface, np.stack(motions))
