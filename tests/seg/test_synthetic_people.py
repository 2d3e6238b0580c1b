"""Procedural people: reproducible, registered, plausible."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg import noise
from noisycorrect_seg.classes import LIP, PEOPLE
from noisycorrect_seg.datasets.ccp import group_table
from noisycorrect_seg.datasets.synthetic import GROUPS, SyntheticPeople
from noisycorrect_seg.people.body import SIDES, Body, sample_body
from noisycorrect_seg.people.canvas import PATTERNS, Canvas, Capsule, Ellipse, Paint, Polygon, Shape
from noisycorrect_seg.people.chance import near, weighted

COUNT, SIZE = 250, (64, 48)
CLASS = {name: number for number, name in enumerate(LIP.names)}


@pytest.fixture(scope="module")
def people() -> SyntheticPeople:
    return SyntheticPeople(COUNT, size=SIZE)


@pytest.fixture(scope="module")
def clean(people: SyntheticPeople) -> np.ndarray:
    return np.stack([people.clean_mask(index) for index in range(COUNT)])


# The source


@pytest.mark.parametrize("size", [(64, 48), (97, 201), (32, 32), (473, 473)])
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
    large = SyntheticPeople(6, size=(128, 96), cache=False)
    for index in range(6):
        mask, image = people.clean_mask(index), people.image(index).astype(float)
        agree = np.stack([large.clean_mask(index)[i::2, j::2] == mask for i in (0, 1) for j in (0, 1)])
        assert agree.any(axis=0).mean() > 0.99, "the finer mask has each pixel's class at that place"
        assert agree.mean() > 0.95
        halved = large.image(index).reshape(64, 2, 48, 2, 3).mean(axis=(1, 3))
        assert np.abs(halved - image).mean() < 8, "the grain is another one, the scene is not"
        assert np.abs(halved.mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() < 2


def test_classes_may_be_put_together(people: SyntheticPeople) -> None:
    few = SyntheticPeople(6, size=SIZE, classes="people", noise="omit:1:only=10")
    assert few.classes is PEOPLE
    assert tuple(GROUPS) == PEOPLE.names
    for index in range(6):
        assert np.array_equal(few.image(index), people.image(index))
        assert np.array_equal(few.clean_mask(index), group_table(LIP.names, GROUPS)[people.clean_mask(index)])
        assert not (few.mask(index) == PEOPLE.names.index("shoes")).any()


def test_noise_is_the_models_and_changes_nothing_else(people: SyntheticPeople) -> None:
    model = noise.parse("boundary:2+swap:0.5")
    noisy = SyntheticPeople(COUNT, size=SIZE, noise=model)
    same = SyntheticPeople(COUNT, size=SIZE, noise="boundary:2+swap:0.5")
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
    few = SyntheticPeople(1, size=SIZE, classes="people", noise="realistic")
    assert few.noise == noise.realistic(SIZE[0], "people")
    assert few.changed(0).any()


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
    often = {"Background", "Hair", "Upper-clothes", "Pants", "Face", "Left-arm", "Right-arm"}
    rare = {"Glove", "Sunglasses", "Jumpsuits", "Scarf"}
    for name, share in occurs.items():
        low, high = (0.5, 1.0) if name in often else (0.015, 0.2) if name in rare else (0.08, 0.8)
        assert low <= share <= high, (name, share)
    assert 0.15 < (clean > 0).mean() < 0.4


def test_left_is_the_persons_own(people: SyntheticPeople, clean: np.ndarray) -> None:
    columns = np.arange(clean.shape[2])

    def centre(name: str) -> np.ndarray:
        region = clean == CLASS[name]
        with np.errstate(invalid="ignore"):
            return (region * columns).sum(axis=(1, 2)) / region.sum(axis=(1, 2))

    back = np.array([drawn_body(people, index).back for index in range(COUNT)])
    assert 0.1 < back.mean() < 0.3
    for part in ("arm", "leg", "shoe"):
        ahead = centre(f"Left-{part}") - centre(f"Right-{part}")
        seen = np.isfinite(ahead)
        assert (seen & ~back).sum() > 40
        assert (ahead[seen & ~back] > 0).mean() > 0.95
        assert (ahead[seen & back] < 0).mean() > 0.95


def drawn_body(people: SyntheticPeople, index: int) -> Body:
    """Return the body of a picture: the first thing that is drawn of its people's stream."""
    rng = np.random.default_rng(derived_seed(people.seed, people.split, index))
    stream = np.random.default_rng(rng.integers(0, 2**63, 2)[0])
    near(stream, 0, 0.1, -0.2, 0.2)  # the light
    return sample_body(stream)


def test_people_who_are_seen_from_behind_show_no_face(people: SyntheticPeople, clean: np.ndarray) -> None:
    back = np.array([drawn_body(people, index).back for index in range(COUNT)])
    area = (clean == CLASS["Face"]).sum(axis=(1, 2))
    assert np.median(area[~back]) > 5 * np.median(area[back])


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
        people.image(index)[clean[index] == 5].mean(axis=0) for index in range(COUNT) if (clean[index] == 5).sum() > 60
    ]
    assert np.std(tops, axis=0).min() > 30
    heights = [np.ptp(np.nonzero((mask > 0).any(axis=1))[0]) / clean.shape[1] for mask in clean]
    assert np.percentile(heights, 10) > 0.45
    widths = [np.ptp(np.nonzero((mask > 0).any(axis=0))[0]) for mask in clean]
    assert np.percentile(widths, 90) > 1.5 * np.percentile(widths, 10)
    assert 0.1 < (clean[:, -1] > 0).any(axis=1).mean() < 0.5, "some are cut off at the lower border"


def test_colour_alone_does_not_give_the_class_away(people: SyntheticPeople, clean: np.ndarray) -> None:
    """A look-up table from colour to class, made of all pictures, is far from the masks: parsing needs shape."""
    clean = group_table(LIP.names, GROUPS)[clean]
    images = np.stack([people.image(index) for index in range(COUNT)])
    colour = (images // 32).astype(int) @ np.array([64, 8, 1])
    k = len(GROUPS)
    cells = np.bincount(colour.ravel() * k + clean.ravel(), minlength=512 * k).reshape(512, k)
    guess = cells.argmax(axis=1)[colour]
    confusion = np.bincount(clean.ravel().astype(int) * k + guess.ravel(), minlength=k * k).reshape(k, k)
    iou = np.diag(confusion) / (confusion.sum(0) + confusion.sum(1) - np.diag(confusion))
    assert iou[1:].mean() < 0.35


def test_bodies_are_upright_and_whole() -> None:
    for seed in range(30):
        body = sample_body(np.random.default_rng(seed))
        order = [float(body[joint][1]) for joint in ("crown", "chin", "neck", "hips")]
        assert order == sorted(order)
        assert 0.9 < max(float(body[f"ankle {side}"][1]) for side in SIDES) < 1.05
        for side in SIDES:
            right = body.side(side)
            assert right * body[f"shoulder {side}"][0] > 0
            assert np.isclose(np.linalg.norm(body[f"elbow {side}"] - body[f"shoulder {side}"]), 0.125)
        assert body.side("left") == (-1 if body.back else 1)


# What they are painted with

SHAPES: list[Shape] = [
    Capsule(np.array([6.0, 5.0]), np.array([20.0, 14.0]), 3.0, 3.0),
    Ellipse(np.array([14.0, 12.0]), 9.0, 5.0, 0.4),
    Polygon(np.array([[4.0, 4.0], [24.0, 8.0], [15.0, 12.0], [20.0, 22.0]])),
    Polygon(np.array([[8.0, 8.0], [20.0, 8.0], [20.0, 18.0], [8.0, 18.0]]), 2.0),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_distances_are_those_to_the_outline(shape: Shape) -> None:
    """Against the distance to the nearest place of a fine grid that is on the other side."""
    fine = np.arange(0, 28, 0.1) + 0.05
    inside = shape.distance(*np.meshgrid(fine, fine)) < 0
    y, x = np.nonzero(inside)
    left, top, right, low = shape.box()
    assert left - 0.1 <= fine[x].min() <= fine[x].max() <= right + 0.1
    assert top - 0.1 <= fine[y].min() <= fine[y].max() <= low + 0.1
    places = [(3.5, 3.5), (14.5, 11.5), (22.5, 9.5), (9.5, 16.5), (16.5, 20.5)]
    exact = not isinstance(shape, Ellipse)
    for a, b in places:
        own = float(shape.distance(np.array([a]), np.array([b]))[0])
        other = inside if own > 0 else ~inside
        row, column = np.nonzero(other)
        nearest = np.hypot(fine[column] - a, fine[row] - b).min() * np.sign(own)
        if exact or abs(nearest) < 1:
            assert abs(own - nearest) < 0.15, (a, b)
        assert np.sign(own) == np.sign(nearest)


def test_later_shapes_cover_earlier_ones_in_picture_and_mask() -> None:
    canvas = Canvas(np.zeros((20, 20, 3)), 0.0)
    red, blue = Paint(np.array([200.0, 0, 0])), Paint(np.array([0, 0, 200.0]))
    canvas.paint(Polygon(np.array([[4.0, 2.0], [16.0, 2.0], [16.0, 17.0], [4.0, 17.0]])), 5, red)
    canvas.paint(Polygon(np.array([[8.0, 8.0], [30.0, 8.0], [30.0, 12.5], [8.0, 12.5]])), 9, blue)
    assert canvas.labels[10, 10] == 9
    assert canvas.colour[10, 10].tolist() == [0, 0, 200]
    assert canvas.labels[12, 10] == 5, "half a pixel is not its centre"
    assert canvas.colour[12, 10].tolist() == [100, 0, 100], "but half of its colour"
    assert (canvas.labels == 5).sum() == 12 * 15 - 4 * 8
    assert canvas.labels[0, 0] == 0
    before = canvas.labels.copy()
    canvas.paint(Ellipse(np.array([-9.0, -9.0]), 3, 3), 3, blue)  # outside: nothing happens
    canvas.tint(Ellipse(np.array([10.5, 4.5]), 2, 2), 0.5)
    assert np.array_equal(canvas.labels, before)
    assert canvas.colour[4, 10].tolist() == [100, 0, 0]


def test_light_comes_from_one_side() -> None:
    canvas = Canvas(np.zeros((9, 21, 3)), 0.2)
    canvas.paint(Polygon(np.array([[0.0, 0.0], [21.0, 0.0], [21.0, 9.0], [0.0, 9.0]])), 1, Paint(np.full(3, 100.0)))
    row = canvas.colour[4, :, 0]
    assert (np.diff(row) < 0).all()
    assert np.isclose(row[10], 100)


def test_every_pattern_mixes_two_colours() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 500)) * 5
    black, white = np.zeros(3), np.full(3, 255.0)
    for pattern in PATTERNS:
        colours = Paint(black, white, pattern).at(x, y)
        assert colours.shape == (500, 3)
        assert colours.std() > 20
        assert 0 <= colours.min() <= colours.max() <= 255
    assert (Paint(white).at(x, y) == 255).all()
    assert (Paint(white, black).darker(0.5).at(x, y) <= 127.5).all()


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
        ({"count": 2, "classes": "peple"}, "did you mean 'people'"),
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
