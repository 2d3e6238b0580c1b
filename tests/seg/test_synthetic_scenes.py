"""Drawn scenes of several people: exact, reproducible, and truly in each other's way."""

import pickle

import numpy as np
import pytest

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.datasets import Cached, InstanceSource, Subset, SyntheticPeople, SyntheticScenes
from noisycorrect_seg.instances.boxes import box_overlaps, boxes_of, what_is_wrong

SIZE, COUNT = (64, 96), 12


@pytest.fixture(scope="module")
def scenes():
    return SyntheticScenes(COUNT, size=SIZE)


def test_every_pixel_of_a_person_has_a_class_and_an_owner(scenes):
    assert isinstance(scenes, InstanceSource)
    for index in range(COUNT):
        people, mask = scenes.instances(index), scenes.mask(index)
        assert people.dtype == np.int32
        assert people.shape == mask.shape == SIZE
        assert np.array_equal(people > 0, mask > 0)
        numbers, boxes = boxes_of(people)
        assert np.array_equal(numbers, np.arange(1, len(numbers) + 1))
        assert np.array_equal(boxes, scenes.boxes(index))
        assert all(what_is_wrong(box, 1.0, SIZE) is None for box in boxes)


def test_one_to_six_people_who_cover_each_other(scenes):
    counts = [len(scenes.boxes(index)) for index in range(COUNT)]
    assert set(counts) <= set(range(1, 7))
    assert len(set(counts)) >= 4
    overlaps = [box_overlaps(boxes, boxes) - np.eye(len(boxes)) for boxes in map(scenes.boxes, range(COUNT))]
    assert np.mean([each.max() > 0.1 for each in overlaps if len(each) > 1]) > 0.8


def test_the_nearest_is_the_largest_and_in_front(scenes):
    """People are numbered from the back: of whom more than a half is covered, those in front of them cover it."""
    few = SyntheticScenes(8, people=(3, 3), size=SIZE, seed=5)
    bottoms = np.array([boxes[:, 3] for boxes in map(few.boxes, range(8)) if len(boxes) == 3])
    assert (bottoms[:, 2] >= bottoms[:, 0]).mean() > 0.9
    heights = np.array([boxes[:, 3] - boxes[:, 1] for boxes in map(few.boxes, range(8)) if len(boxes) == 3])
    assert heights[:, 2].mean() > 1.2 * heights[:, 0].mean()


def test_a_scene_depends_on_seed_split_position_and_size_alone(scenes):
    again = SyntheticScenes(90, size=SIZE, cache=False)
    for index in (7, 0):
        assert np.array_equal(again.image(index), scenes.image(index))
        assert np.array_equal(again.instances(index), scenes.instances(index))
    assert np.array_equal(pickle.loads(pickle.dumps(scenes)).image(3), scenes.image(3))
    for other in (SyntheticScenes(1, size=SIZE, seed=1), SyntheticScenes(1, size=SIZE, split="val")):
        assert not np.array_equal(other.image(0), scenes.image(0))


def test_the_scene_is_the_same_at_every_size(scenes):
    large = SyntheticScenes(4, size=(128, 192))
    for index in range(4):
        blocks = large.instances(index).reshape(SIZE[0], 2, SIZE[1], 2)
        inner = blocks.min((1, 3)) == blocks.max((1, 3))  # no outline runs through these pixels
        assert (blocks[:, 0, :, 0] == scenes.instances(index))[inner].mean() > 0.999
        assert inner.mean() > 0.8


def test_noise_is_of_each_person_and_moves_nobody():
    clean = SyntheticScenes(6, size=SIZE, classes="people")
    noisy = SyntheticScenes(6, size=SIZE, classes="people", noise="omit:0.5:only=8,9")
    outcomes = set()
    for index in range(6):
        assert np.array_equal(noisy.image(index), clean.image(index))
        assert np.array_equal(noisy.instances(index), clean.instances(index))
        assert np.array_equal(noisy.clean_mask(index), clean.mask(index))
        changed = noisy.changed(index)
        assert (noisy.mask(index)[changed] == 0).all()
        for person in np.unique(clean.instances(index)[clean.instances(index) > 0]):
            own = (clean.instances(index) == person) & (clean.mask(index) == 9)
            if own.any():  # of one person's legs all or none: not those of the whole picture
                assert changed[own].mean() in (0, 1)
                outcomes.add((index, bool(changed[own].all())))
    assert any((index, True) in outcomes and (index, False) in outcomes for index in range(6))


def test_views_pass_on_whose_a_pixel_is(scenes):
    assert np.array_equal(Subset(scenes, [4, 2]).instances(1), scenes.instances(2))
    assert np.array_equal(Cached(scenes).instances(3), scenes.instances(3))
    with pytest.raises(InvalidInputError, match=r"whose each pixel is.*SyntheticPeople"):
        Subset(SyntheticPeople(2, size=(32, 32)), [0]).instances(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"people": (0, 3)}, "fewest"),
        ({"people": (3, 2)}, "fewest <= most"),
        ({"people": (1, 51)}, "most <= 50"),
        ({"people": 3}, "people="),
        ({"size": (16, 16)}, "height"),
        ({"noise": "nothing"}, "noise"),
        ({"classes": "atr"}, "class list"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(InvalidInputError, match=message):
        SyntheticScenes(1, **options)
