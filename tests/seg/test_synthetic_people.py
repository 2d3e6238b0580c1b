"""Procedural people: reproducible, registered, plausible."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
from typing import Any

import numpy as np
import pytest

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg import noise
from noisycorrect_seg.classes import LIP
from noisycorrect_seg.datasets.synthetic import SyntheticPeople
from noisycorrect_seg.people.body import build, sample_physique, sample_pose
from noisycorrect_seg.people.canvas import Canvas
from noisycorrect_seg.people.chance import near, weighted
from noisycorrect_seg.people.loft import Loft, ellipse, tube
from noisycorrect_seg.people.materials import PATTERNS, Material, albedo
from noisycorrect_seg.people.scene import _most_frequent, sample_person, streams

COUNT = 400
CLASS = {name: number for number, name in enumerate(LIP.names)}


@pytest.fixture(scope="module")
def people() -> SyntheticPeople:
    return SyntheticPeople(COUNT, size=(96, 80))


@pytest.fixture(scope="module")
def clean(people: SyntheticPeople) -> np.ndarray:
    return np.stack([people.clean_mask(index) for index in range(COUNT)])


# The source


@pytest.mark.parametrize("size", [(64, 48), (128, 96), (97, 201), (32, 32), (473, 473)])
def test_samples_have_the_declared_shapes(size: tuple[int, int]) -> None:
    source = SyntheticPeople(2, size=size)
    assert len(source) == 2
    assert source.classes is LIP
    assert (source.image(0).dtype, source.image(0).shape) == (np.uint8, (*size, 3))
    assert (source.mask(0).dtype, source.mask(0).shape) == (np.uint8, size)
    assert source.mask(0).max() < len(LIP)
    assert (source.mask(0) > 0).mean() > 0.02
    assert [source.name(0), source.name(1)] == ["train_000000", "train_000001"]


def test_a_sample_depends_on_seed_split_and_index_only() -> None:
    first = SyntheticPeople(5, seed=3, size=(64, 48), noise="realistic")
    other = SyntheticPeople(90, seed=3, size=(64, 48), noise="realistic", cache=False)
    for index in (4, 0, 2):  # another order, count and cache
        assert np.array_equal(first.image(index), other.image(index))
        assert np.array_equal(first.clean_mask(index), other.clean_mask(index))
        assert np.array_equal(first.mask(index), other.mask(index))
    assert np.array_equal(first.image(-1), first.image(4))
    for changed in (SyntheticPeople(5, seed=4, size=(64, 48)), SyntheticPeople(5, seed=3, size=(64, 48), split="val")):
        assert not np.array_equal(first.image(0), changed.image(0))
        assert not np.array_equal(first.clean_mask(0), changed.clean_mask(0))
    assert len({first.image(index).tobytes() for index in range(5)}) == 5


def test_the_scene_is_the_same_at_every_size(people: SyntheticPeople) -> None:
    large = SyntheticPeople(6, size=(192, 160), cache=False)
    small = SyntheticPeople(6, size=(48, 40), cache=False)
    for index in range(6):
        mask, image = people.clean_mask(index), people.image(index).astype(float)
        assert (large.clean_mask(index)[::2, ::2] != mask).mean() < 0.04
        assert (mask[::2, ::2] != small.clean_mask(index)).mean() < 0.06
        halved = large.image(index).reshape(96, 2, 80, 2, 3).mean(axis=(1, 3))
        # Noise and compression differ, light and colours do not.
        assert np.abs(halved.mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() < 4


def test_noise_is_the_models_and_changes_nothing_else(people: SyntheticPeople) -> None:
    model = noise.parse("boundary:2+swap:0.5")
    noisy = SyntheticPeople(COUNT, size=(96, 80), noise=model)
    same = SyntheticPeople(COUNT, size=(96, 80), noise="boundary:2+swap:0.5")
    assert noisy.noise == same.noise
    for index in range(4):
        assert np.array_equal(noisy.image(index), people.image(index))
        assert np.array_equal(noisy.clean_mask(index), people.clean_mask(index))
        assert np.array_equal(people.mask(index), people.clean_mask(index))
        assert not people.changed(index).any()
        assert noisy.changed(index).any()
        assert np.array_equal(noisy.changed(index), noisy.mask(index) != noisy.clean_mask(index))
        assert np.array_equal(noisy.mask(index), same.mask(index))
    assert noisy.noise is not None
    assert SyntheticPeople(1, size=(256, 192), noise="realistic").noise == noise.realistic(256)


def test_samples_are_the_callers_own() -> None:
    source = SyntheticPeople(1, size=(64, 48), noise="swap:1")
    before = source.image(0), source.mask(0), source.clean_mask(0)
    for array in (source.image(0), source.mask(0), source.clean_mask(0)):
        array[...] = 0
    assert all(map(np.array_equal, before, (source.image(0), source.mask(0), source.clean_mask(0))))


def test_a_pickled_set_is_small_and_the_same() -> None:
    source = SyntheticPeople(3, size=(64, 48), noise="boundary:1")
    expected = source.image(2), source.mask(2)
    data = pickle.dumps(source)
    copied = pickle.loads(data)
    assert len(data) < 2000
    assert np.array_equal(copied.image(2), expected[0])
    assert np.array_equal(copied.mask(2), expected[1])
    assert np.array_equal(source.image(2), expected[0])


def test_global_random_states_do_not_matter() -> None:
    np.random.seed(1)  # noqa: NPY002 - the global state is what is under test
    first = SyntheticPeople(1, size=(64, 48)).image(0)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert np.array_equal(SyntheticPeople(1, size=(64, 48)).image(0), first)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


# The people


def test_every_class_occurs_and_rare_ones_are_rare(clean: np.ndarray) -> None:
    occurs = {name: float((clean == number).any(axis=(1, 2)).mean()) for name, number in CLASS.items()}
    bounds = {
        "Background": (1.0, 1.0),
        "Hat": (0.1, 0.35),
        "Hair": (0.8, 1.0),
        "Glove": (0.01, 0.1),
        "Sunglasses": (0.01, 0.1),
        "Upper-clothes": (0.65, 0.95),
        "Dress": (0.03, 0.2),
        "Coat": (0.15, 0.45),
        "Socks": (0.03, 0.2),
        "Pants": (0.6, 0.9),
        "Jumpsuits": (0.01, 0.1),
        "Scarf": (0.02, 0.12),
        "Skirt": (0.02, 0.12),
        "Face": (0.85, 1.0),
        "Left-arm": (0.7, 0.97),
        "Right-arm": (0.7, 0.97),
        "Left-leg": (0.25, 0.6),
        "Right-leg": (0.25, 0.6),
        "Left-shoe": (0.35, 0.75),
        "Right-shoe": (0.35, 0.75),
    }
    outside = {name: share for name, share in occurs.items() if not bounds[name][0] <= share <= bounds[name][1]}
    assert not outside
    assert 0.2 < (clean > 0).mean() < 0.5


def test_left_is_the_persons_own(people: SyntheticPeople, clean: np.ndarray) -> None:
    columns = np.arange(clean.shape[2])

    def centre(number: int) -> np.ndarray:
        region = clean == number
        with np.errstate(invalid="ignore"):
            return np.where(
                region.any(axis=(1, 2)), (region * columns).sum(axis=(1, 2)) / region.sum(axis=(1, 2)), np.nan
            )

    yaws = []
    for index in range(COUNT):
        rng = np.random.default_rng(derived_seed(people.seed, people.split, index))
        yaws.append(sample_person(streams(rng)[0]).pose.yaw)
    turned = np.abs((np.array(yaws) + 180) % 360 - 180)
    for part, least in (("arm", 0.9), ("leg", 0.75), ("shoe", 0.75)):
        ahead = centre(CLASS[f"Left-{part}"]) - centre(CLASS[f"Right-{part}"])
        both = np.isfinite(ahead)
        front, back = both & (turned < 40), both & (turned > 140)
        assert front.sum() > 60
        assert back.sum() > 10
        assert (ahead[front] > 0).mean() > least
        assert (ahead[back] < 0).mean() > least


def test_masks_and_pictures_are_registered_to_a_pixel(people: SyntheticPeople) -> None:
    """The picture changes most where the mask does, and least so after a shift by a pixel or two."""
    strength: dict[tuple[int, int], float] = dict.fromkeys(itertools.product(range(-2, 3), repeat=2), 0.0)
    for index in range(80):
        image = people.image(index).astype(np.float32).mean(axis=2)
        mask = people.clean_mask(index)
        across = np.abs(np.diff(image, axis=1))[3:-3, 3:-3]
        border = mask[:, 1:] != mask[:, :-1]
        for down, right in strength:
            shifted = np.roll(border, (down, right), (0, 1))[3:-3, 3:-3]
            strength[down, right] += float(across[shifted].mean())
    best = max(strength, key=strength.__getitem__)
    assert best == (0, 0)
    assert strength[0, 0] > 1.15 * max(strength[0, 1], strength[0, -1])


def test_people_are_varied(people: SyntheticPeople, clean: np.ndarray) -> None:
    tops = [
        people.image(index)[clean[index] == 5].mean(axis=0) for index in range(COUNT) if (clean[index] == 5).sum() > 200
    ]
    assert np.std(tops, axis=0).min() > 30
    heights = [np.ptp(np.nonzero((mask > 0).any(axis=1))[0]) / clean.shape[1] for mask in clean]
    assert np.percentile(heights, 10) > 0.45
    rows, columns = np.nonzero((clean > 0).mean(axis=0) > 0.02)
    assert rows.min() <= 8
    assert rows.max() == clean.shape[1] - 1
    assert columns.min() <= 12
    # A second person, furniture or a bag hides a part of some: their outline has holes or is cut.
    kinds = {sample_pose(np.random.default_rng(seed)).kind for seed in range(60)}
    assert kinds == {"stand", "walk", "sit", "crouch"}


def test_colour_alone_does_not_give_the_class_away(people: SyntheticPeople, clean: np.ndarray) -> None:
    """A look-up table from colour to class, made of all pictures, is far from the masks: parsing needs shape."""
    images = np.stack([people.image(index) for index in range(COUNT)])
    colour = (images // 32).astype(int) @ np.array([64, 8, 1])
    cells = np.bincount(colour.ravel() * 20 + clean.ravel(), minlength=512 * 20).reshape(512, 20)
    guess = cells.argmax(axis=1)[colour]
    confusion = np.bincount(clean.ravel().astype(int) * 20 + guess.ravel(), minlength=400).reshape(20, 20)
    iou = np.diag(confusion) / (confusion.sum(0) + confusion.sum(1) - np.diag(confusion))
    assert iou[1:].mean() < 0.1


@pytest.mark.parametrize("yaw", [0.0, 30.0, 180.0, 150.0])
def test_joints_turn_with_the_person(yaw: float) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        body = sample_physique(rng)
        pose = dataclasses.replace(sample_pose(rng), yaw=yaw, twist=0.0, lean_side=0.0, camera_roll=0.0)
        skeleton = build(body, pose)
        sign = 1 if abs(yaw) < 90 else -1
        for joint in ("shoulder", "hip"):
            assert sign * (skeleton.joints[joint + "+"][0] - skeleton.joints[joint + "-"][0]) > 0
        assert skeleton.joints["crown"][1] < skeleton.joints["chin"][1] < skeleton.joints["crotch"][1]
        for side in "+-":
            thigh = skeleton.joints["knee" + side] - skeleton.joints["hip" + side]
            assert np.isclose(np.linalg.norm(thigh), body.thigh, rtol=1e-12)
        for part in ("torso", "pelvis", "head"):
            axes = getattr(skeleton, part)
            assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-12)


# What they are painted with


def test_places_on_a_loft_and_pixels_are_inverse() -> None:
    loft = Loft(np.array([3.0, 4.0]), np.array([20.0, 33.0]), [0, 0.4, 1], [5, 7, 2], [-3, -6, -4])
    rng = np.random.default_rng(0)
    ts, us = rng.random(50), rng.uniform(-1, 1, 50)
    points = loft.points(ts, us).astype(np.float32)
    t, u = loft.coordinates(points[:, 0], points[:, 1])
    np.testing.assert_allclose(t, ts, atol=1e-5)
    np.testing.assert_allclose(u, us, atol=1e-5)
    assert np.allclose(loft.point(0.4, 1.0), loft.points(np.array([0.4]), np.array([1.0]))[0])
    down = tube(np.array([5.0, 0.0]), np.array([5.0, 10.0]), [1.0, 1.0], 2.0)
    assert down.point(0.5, 1.0).tolist() == [7.0, 5.0]  # u grows to the image's right
    box = ellipse(np.array([10.0, 20.0]), 4.0, 6.0).outline()
    assert np.allclose([box.min(axis=0), box.max(axis=0)], [[6, 14], [14, 26]])


def test_later_shapes_cover_earlier_ones_in_picture_and_mask() -> None:
    canvas = Canvas(np.zeros((20, 20, 3), np.float32), (0.0, 0.0, 1.0), 0.5)
    red, blue = np.array([200, 0, 0], np.float32), np.array([0, 0, 200], np.float32)
    loft = tube(np.array([10.0, 2.0]), np.array([10.0, 17.0]), [4.0, 4.0], 1.0)
    canvas.paint(loft.outline(), 5, Material(red, red), loft, 20.0)
    canvas.flat(np.array([[8.0, 8.0], [30.0, 8.0], [30.0, 12.0], [8.0, 12.0]]), 9, blue)
    assert canvas.labels[10, 10] == 9
    assert canvas.colour[10, 10].tolist() == blue.tolist()
    assert canvas.labels[4, 10] == 5
    assert canvas.colour[4, 10, 0] > canvas.colour[4, 7, 0] > 0  # round: darker at its outline
    assert canvas.labels[0, 0] == 0
    canvas.flat(np.array([[-9.0, -9.0], [-5.0, -9.0], [-5.0, -5.0]]), 3, blue)  # outside: nothing happens
    assert not (canvas.labels == 3).any()
    before = canvas.labels.copy()
    canvas.tint(loft.outline(), 0.5)
    assert np.array_equal(canvas.labels, before)
    assert canvas.colour[10, 10].tolist() == [0, 0, 100]


def test_the_most_frequent_of_four() -> None:
    blocks = np.array(list(itertools.product(range(4), repeat=4)), np.uint8)
    labels = blocks.reshape(-1, 2, 2).transpose(1, 0, 2).reshape(2, -1)
    chosen = _most_frequent(labels)[0]
    for block, value in zip(blocks.tolist(), chosen.tolist(), strict=True):
        assert block.count(value) == max(map(block.count, block))


def test_every_pattern_mixes_two_colours() -> None:
    rng = np.random.default_rng(0)
    along, across = rng.random((2, 500), np.float32)
    black, white = np.zeros(3, np.float32), np.full(3, 255, np.float32)
    for pattern in PATTERNS:
        colours = albedo(Material(black, white, pattern, 20.0), along, across)
        assert colours.shape == (500, 3)
        assert colours.std() > 20
        assert colours.min() >= -60
        assert colours.max() <= 320
    assert albedo(Material(white, black), along, across).tolist() == [white.tolist()]


def test_draws() -> None:
    rng = np.random.default_rng(0)
    counts = [weighted(rng, {"a": 1.0, "b": 3.0}) for _ in range(2000)].count("b")
    assert abs(counts / 2000 - 0.75) < 4 * np.sqrt(0.1875 / 2000)
    assert {near(rng, 0.0, 100.0, -1.0, 2.0) for _ in range(200)} >= {-1.0, 2.0}


# Invalid input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count to be a whole number >= 1; got 0"),
        ({"count": 2.5}, "count to be a whole number >= 1; got 2.5"),
        ({"count": 2, "seed": -1}, "seed to be a whole number >= 0; got -1"),
        ({"count": 2, "size": 128}, r"size=\(height, width\); got 128"),
        ({"count": 2, "size": (128, 20)}, "width to be a whole number >= 32; got 20"),
        ({"count": 2, "noise": "boundry:2"}, "did you mean 'boundary'"),
        ({"count": 2, "noise": 0.2}, "a mask noise model, its spelling or None; got 0.2"),
        ({"count": 2, "split": 3}, "the name of a split; got 3"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SyntheticPeople(arguments.pop("count"), **arguments)


def test_an_index_outside_is_an_index_error() -> None:
    source = SyntheticPeople(2, size=(32, 32))
    for index in (2, -3):
        with pytest.raises(IndexError, match=f"sample {index} of 2"):
            source.image(index)
        with pytest.raises(IndexError):
            source.name(index)
