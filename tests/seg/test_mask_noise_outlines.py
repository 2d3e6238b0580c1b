"""Tracing, simplifying and filling outlines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from noisycorrect_seg.noise import CoarsePolygon
from noisycorrect_seg.noise.outline import filled, outlines, simplified
from noisycorrect_seg.noise.parts import find_parts

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(deadline=None)
@given(arrays.arrays(np.uint8, shapes, elements=st.sampled_from([0, 0, 1, 2, 255]), fill=st.sampled_from([0, 1])))
def test_the_outline_of_a_part_gives_it_back_without_its_holes(mask: np.ndarray) -> None:
    parts = find_parts(mask)
    found = outlines(parts)
    assert len(found) == len(parts)
    for number, points in enumerate(found, start=1):
        region = parts.numbers == number
        assert np.array_equal(filled(points, region.shape), ndimage.binary_fill_holes(region))
        turns = np.diff(np.concatenate([points, points[:1]]), axis=0)
        assert ((turns == 0).sum(axis=1) == 1).all()  # along the pixel grid, a corner at every point


def test_an_outline_by_hand() -> None:
    ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)
    assert outlines(find_parts(ring))[0].tolist() == [[0, 0], [3, 0], [3, 3], [0, 3]]
    diagonal = np.array([[1, 0], [0, 1]], np.uint8)
    points = outlines(find_parts(diagonal))[0].tolist()
    assert points == [[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [1, 2], [1, 1], [0, 1]]
    assert outlines(find_parts(np.zeros((2, 2), np.uint8))) == []


def simplified_oracle(points: np.ndarray, vertices: int) -> list[int]:
    """The same rule, one polygon, one point at a time; returns the indices that stay."""
    count = len(points)
    centre = points.mean(axis=0)
    first = int(np.argmax([((point - centre) ** 2).sum() for point in points]))
    kept = [first]
    while len(kept) < min(vertices, count):
        best, where = -1.0, -1
        for step in range(1, count):
            index = (first + step) % count
            if index in kept:
                continue
            order = sorted(kept, key=lambda each: (each - first) % count)
            low = max(
                (each for each in order if (each - first) % count < step), key=lambda each: (each - first) % count
            )
            later = [each for each in order if (each - first) % count > step]
            high = later[0] if later else first
            start, end = points[low], points[high]
            along = end - start
            share = np.clip((points[index] - start) @ along / max(along @ along, 1e-12), 0, 1)
            off = float(np.hypot(*(points[index] - start - share * along)))
            if off > best + 1e-12:
                best, where = off, index
        kept.append(where)
    return sorted(kept)


@pytest.mark.parametrize("vertices", [3, 4, 7, 12])
def test_simplifying_matches_the_slow_oracle(vertices: int) -> None:
    rng = np.random.default_rng(vertices)
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    polygons = []
    for count in (40, 25, 11, 3):
        radius = 10 + 4 * rng.standard_normal(count)
        polygons.append(np.stack([np.cos(turns[:count]), np.sin(turns[:count])], axis=1) * radius[:, None])
    reduced = simplified(polygons, vertices)
    for points, few in zip(polygons, reduced, strict=True):
        assert few.tolist() == points[simplified_oracle(points, vertices)].tolist()


def test_a_budget_of_points_is_kept_and_the_shape_with_it() -> None:
    ys, xs = np.mgrid[:60, :60]
    disc = ((xs - 30) ** 2 + (ys - 28) ** 2 < 20**2).astype(np.uint8) * 7
    losses = []
    for vertices in (3, 5, 8, 16, 60):
        polygon = simplified(outlines(find_parts(disc)), vertices)[0]
        assert len(polygon) == vertices
        noisy = CoarsePolygon(vertices).apply_one(disc, classes="lip", seed=0)
        losses.append(int((noisy != disc).sum()))
    assert losses == sorted(losses, reverse=True)
    # A regular polygon of n points inside a circle covers n/(2 pi) sin(2 pi/n) of it; eight points do not do worse.
    assert losses[2] < np.pi * 20**2 * (1 - 8 / (2 * np.pi) * np.sin(2 * np.pi / 8))
    assert CoarsePolygon(200).apply_one(disc, classes="lip", seed=0).tolist() == disc.tolist()


def test_small_parts_lie_on_large_ones_and_gaps_are_background() -> None:
    mask = np.full((12, 12), 5, np.uint8)
    mask[4:6, 4:6] = 13
    mask[8:10, 8:10] = 0
    noisy = CoarsePolygon(4).apply_one(mask, classes="lip", seed=0)
    assert np.array_equal(noisy == 13, mask == 13)
    assert not (noisy == 0).any()  # the hole is filled
    assert set(np.unique(CoarsePolygon(4, jitter=2.0).apply_one(mask, classes="lip", seed=0))) == {0, 5, 13}


def test_polygons_beyond_the_picture_are_cut() -> None:
    mask = np.full((8, 8), 5, np.uint8)
    for seed in range(30):
        noisy = CoarsePolygon(6, jitter=8.0).apply_one(mask, classes="lip", seed=seed)
        assert set(np.unique(noisy)) <= {0, 5}
