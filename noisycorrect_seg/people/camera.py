"""Light and camera: what happens to the colours after the scene is painted."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from noisycorrect_seg.people.chance import between, happens, near
from noisycorrect_seg.people.scenery import Field, smooth_noise


def sample_light(rng: np.random.Generator) -> tuple[tuple[float, float, float], float]:
    """Draw a light, mostly from above and the camera's side, at times hard from one side: its direction, and ambient.

    Both are as :class:`~noisycorrect_seg.people.canvas.Canvas` takes them.
    """
    across, up, front = near(rng, 0, 0.6, -1.4, 1.4), between(rng, 0.0, 0.9), between(rng, 0.25, 1.0)
    vector = np.array([across, -up, front])
    x, y, z = (vector / np.linalg.norm(vector)).tolist()
    return (x, y, z), between(rng, 0.42, 0.74)


def illuminate(rng: np.random.Generator, colour: Field) -> None:
    """Lay uneven light and, at times, the edge of a shadow over the whole scene, in place."""
    height, width = colour.shape[:2]
    strength = between(rng, 0.02, 0.16)
    light = 1 + smooth_noise(rng, height, width, 4) * np.float32(strength)
    if happens(rng, 0.2):
        turn, place = between(rng, 0, 2 * np.pi), between(rng, -0.2, 0.2)
        rows = (np.arange(height, dtype=np.float32) / height - 0.5) * np.float32(np.sin(turn))
        columns = (np.arange(width, dtype=np.float32) / height - 0.5 * width / height) * np.float32(np.cos(turn))
        edge = np.clip((rows[:, None] + columns - np.float32(place)) * between(rng, 8, 40), 0, 1)
        light *= 1 - edge * np.float32(between(rng, 0.2, 0.5))
    colour *= np.maximum(light, 0.2)[:, :, None]


def expose(rng: np.random.Generator, colour: Field) -> NDArray[np.uint8]:
    """Return the picture that a camera makes of a scene at the picture's size: cast, contrast, blur, noise, JPEG.

    `colour` is float32 (H, W, 3), 0..255 and beyond; the picture is RGB, uint8 (H, W, 3).
    """
    warm, green = near(rng, 0, 0.06, -0.16, 0.16), near(rng, 0, 0.025, -0.07, 0.07)
    gain = near(rng, 1.08, 0.13, 0.75, 1.4)
    cast = np.array([1 + warm, 1 + green, 1 - warm], np.float32) * np.float32(gain)
    contrast, fog = near(rng, 1.03, 0.1, 0.75, 1.3), between(rng, -4, 8)
    picture = (colour * cast - 118) * np.float32(contrast) + np.float32(118 + fog)
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + (picture - grey) * np.float32(near(rng, 1.0, 0.14, 0.6, 1.35))
    blur = between(rng, 0.2, 0.75) if happens(rng, 0.5) else 0.0
    quality = int(between(rng, 45, 95)) if happens(rng, 0.85) else 0
    # Last, because it takes as many draws as there are pixels: the camera is the same at every size.
    sensor = np.float32(between(rng, 0.5, 5.0))
    picture += rng.standard_normal(picture.shape, np.float32) * sensor
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    if blur:
        image = image.filter(ImageFilter.GaussianBlur(blur * colour.shape[0] / 128))
    if quality:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        image = Image.open(file)
    return np.array(image)
