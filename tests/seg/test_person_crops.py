"""Crops by person, and corrected crops back in their pictures: no pixel is lost, none has two owners."""

import numpy as np
import pytest
import torch
from torch import nn

from noisycorrect import RECIPES, Schedule, SelfCorrector
from noisycorrect.labels import SoftLabelStore
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import HumanParsing, ParsingDataset
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets import (
    InstanceSource,
    Joined,
    PersonCrops,
    Pictures,
    Subset,
    SyntheticPeople,
    SyntheticScenes,
    put_back,
)
from noisycorrect_seg.datasets.person_crops import Place, assembled
from noisycorrect_seg.instances.boxes import Window
from noisycorrect_seg.kind import MaskLabels

SIZE = (64, 96)


@pytest.fixture(scope="module")
def scenes():
    return SyntheticScenes(4, people=(2, 4), size=SIZE, classes="people", noise="omit:0.5:only=8,9")


@pytest.fixture(scope="module")
def crops(scenes):
    return PersonCrops(scenes, progress=False)


def store_of(crops):
    masks = [crops.mask(index) for index in range(len(crops))]
    return SoftLabelStore.create(None, masks, len(crops.classes), kind=MaskLabels)


def test_a_crop_shows_one_person(scenes, crops):
    assert len(crops) == sum(len(scenes.boxes(index)) for index in range(4))
    for index, place in enumerate(crops.places):
        window = place.window.slices
        own = scenes.instances(place.picture)[window] == place.number
        assert np.array_equal(crops.image(index), scenes.image(place.picture)[window])
        assert np.array_equal(crops.mask(index), np.where(own, scenes.mask(place.picture)[window], 0))
        assert own.sum() == (scenes.instances(place.picture) == place.number).sum()  # nothing of them is cut off
        assert index in crops.of_picture(place.picture)


def test_given_labels_come_back_as_they_were(scenes, crops):
    """Generation 0, of any source: every pixel and every owner."""
    back = put_back(crops, store_of(crops))
    assert isinstance(back, InstanceSource)
    for index in range(4):
        given, people = scenes.mask(index), scenes.instances(index)
        assert np.array_equal(back.mask(index), given)
        kept = (given > 0) | (people == 0)  # what was given as background is nobody's
        assert np.array_equal(back.instances(index)[kept], people[kept])
        assert np.array_equal(back.image(index), scenes.image(index))


class Scratched:
    """A picture with ignored pixels and with parts that are nobody's."""

    def __init__(self, scenes):
        self.scenes, self.classes = scenes, scenes.classes

    def __len__(self):
        return len(self.scenes)

    def image(self, index):
        return self.scenes.image(index)

    def mask(self, index):
        mask = self.scenes.clean_mask(index)
        mask[30:34] = 255
        return mask

    def instances(self, index):
        people = self.scenes.instances(index)
        people[:, 40:50] = 0
        return people

    def name(self, index):
        return self.scenes.name(index)


def test_ignored_pixels_and_nobodys_parts_stay(scenes):
    source = Scratched(scenes)
    crops = PersonCrops(source, progress=False)
    back = put_back(crops, store_of(crops))
    for index in range(4):
        assert np.array_equal(back.mask(index), source.mask(index))
        assert np.array_equal(back.instances(index), source.instances(index))
    for index, place in enumerate(crops.places):
        nobodys = (source.instances(place.picture) == 0) & (source.mask(place.picture) > 0)
        assert (crops.mask(index)[nobodys[place.window.slices]] == 255).all()


def test_people_without_a_crop_stay(scenes):
    sizes = [np.bincount(scenes.instances(index).ravel())[1:] for index in range(4)]
    least = int(np.median(np.concatenate(sizes))) + 1
    crops = PersonCrops(scenes, least=least, margin=0.5, progress=False)
    back = put_back(crops, store_of(crops), generation=0)
    inside = 0
    for index in range(4):
        given, people = scenes.mask(index), scenes.instances(index)
        small = np.isin(people, 1 + np.flatnonzero(sizes[index] < least)) & (given > 0)
        for row in crops.of_picture(index):
            inside += small[crops.places[row].window.slices].sum()
        assert np.array_equal(back.mask(index), given)
        assert np.array_equal(back.instances(index)[small], people[small])
    assert inside


def test_evidence_of_others_does_not_reach_people_without_a_crop():
    given, people = np.array([[1, 2, 1]], np.uint8), np.array([[5, 9, 5]], np.int32)
    refined = np.array([[[0.1, 0.2, 0.9]], [[0.9, 0.8, 0.1]], np.zeros((1, 3))], np.float32)
    mask, owners = assembled(given, people, [Place(0, 5, Window(0, 0, 1, 3))], [refined])
    assert (mask.tolist(), owners.tolist()) == ([[1, 2, 0]], [[5, 9, 0]])


def test_overlaps_are_resolved_by_the_evidence():
    """One row of six pixels, two crops that share four: person 5 was given the left half, person 9 the right."""
    given, people = np.array([[1, 1, 1, 2, 2, 2]], np.uint8), np.array([[5, 5, 5, 9, 9, 9]], np.int32)
    places = [Place(0, 5, Window(0, 0, 1, 5)), Place(0, 9, Window(0, 1, 1, 6))]
    first = np.array([[[0.1, 0.1, 0.7, 0.2, 0.9]], [[0.9, 0.9, 0.3, 0.8, 0.1]], np.zeros((1, 5))], np.float32)
    second = np.array([[[0.9, 0.6, 0.4, 0.9, 0.1]], np.zeros((1, 5)), [[0.1, 0.4, 0.6, 0.1, 0.9]]], np.float32)
    mask, owners = assembled(given, people, places, [first, second])
    # 0, 1: kept; 2: given up by the first, nobody else's; 3: given up by the second (0.4 is background's), ...
    assert mask.tolist() == [[1, 1, 0, 1, 0, 2]]
    assert owners.tolist() == [[5, 5, 0, 5, 0, 9]]


def test_of_equal_claims_the_given_person_keeps_theirs():
    given, people = np.array([[1, 2]], np.uint8), np.array([[1, 2]], np.int32)
    both = np.array([[[0.2, 0.2]], [[0.8, 0.0]], [[0.0, 0.8]]], np.float32)
    places = [Place(0, 1, Window(0, 0, 1, 2)), Place(0, 2, Window(0, 0, 1, 2))]
    assert assembled(given, people, places, [both, both])[1].tolist() == [[1, 2]]


def test_of_equally_probable_parts_the_given_one_stays():
    given, people = np.array([[2, 1, 2]], np.uint8), np.array([[1, 1, 0]], np.int32)
    one = np.array([[[0.0, 0.0, 1.0]], [[0.5, 0.5, 0.0]], [[0.5, 0.5, 0.0]]], np.float32)
    assert assembled(given, people, [Place(0, 1, Window(0, 0, 1, 3))], [one])[0].tolist() == [[2, 1, 2]]


def test_a_run_on_crops_gives_whole_pictures(scenes, crops):
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, len(crops.classes), 1))
    recipe = RECIPES["paper"].replace(schedule=Schedule(init_epochs=1, cycles=1, cycle_epochs=1))
    corrector = SelfCorrector(network, task=HumanParsing(crops.classes, size=(32, 24)), recipe=recipe)
    result = corrector.fit(ParsingDataset(crops, (32, 24), augment=True))
    back = put_back(crops, result.labels)
    for index in range(4):
        mask, people = back.mask(index), back.instances(index)
        assert mask.shape == people.shape == SIZE
        assert (mask < len(crops.classes)).all()
        assert np.array_equal(people > 0, mask > 0)
        assert set(np.unique(people)) <= set(np.unique(scenes.instances(index)))
    assert np.array_equal(put_back(crops, result.labels, generation=0).mask(0), scenes.mask(0))
    pictures = ParsingDataset(back, (32, 48))  # a source like any other
    assert pictures[0]["given"].shape == (32, 48)
    assert torch.isfinite(pictures[0]["image"]).all()


def test_what_is_wrong(scenes, crops):
    with pytest.raises(InvalidInputError, match=r"whose each pixel is.*SyntheticPeople"):
        PersonCrops(SyntheticPeople(1, size=(32, 32)), progress=False)
    with pytest.raises(InvalidInputError, match="people of at least 99999 pixels in 4 pictures"):
        PersonCrops(scenes, least=99999, progress=False)
    masks = [crops.mask(0)]
    with pytest.raises(InvalidInputError, match=rf"labels of {len(crops)} crops; got 1 samples"):
        put_back(crops, SoftLabelStore.create(None, masks, len(crops.classes), kind=MaskLabels))

    class Wrong(Scratched):
        def instances(self, index):
            return super().instances(index)[:-1]

    with pytest.raises(InvalidInputError, match="an instance map of whole numbers.*train_000000"):
        PersonCrops(Wrong(scenes), progress=False)


class Many:
    """Two people and a part that is nobody's, of 300 classes: 255 is one of them."""

    classes = Classes("own", tuple(f"c{number}" for number in range(300)))

    def __len__(self):
        return 1

    def image(self, index):
        return np.zeros((4, 12, 3), np.uint8)

    def mask(self, index):
        return np.repeat(np.array([[255, 299, 255, 65535, 7, 0, 0, 255, 40, 256, 299, 299]], np.uint16), 4, axis=0)

    def instances(self, index):
        return np.repeat(np.array([[1, 1, 1, 1, 0, 0, 0, 2, 2, 2, 2, 2]], np.int32), 4, axis=0)

    def name(self, index):
        return "many"


def test_of_more_than_255_classes_255_is_one_of_them():
    source = Many()
    crops = PersonCrops(source, margin=0.5, progress=False)
    one, two = crops.mask(0), crops.mask(1)
    assert one.dtype == two.dtype == np.uint16
    assert one[0].tolist() == [255, 299, 255, 65535, 65535, 0]
    assert two[0].tolist() == [65535, 0, 0, 255, 40, 256, 299, 299]
    back = put_back(crops, store_of(crops))
    assert np.array_equal(back.mask(0), source.mask(0))
    assert np.array_equal(back.instances(0), source.instances(0))


def test_pictures_of_several_sources_keep_their_own_people(scenes):
    others = SyntheticScenes(2, people=(1, 1), size=SIZE, split="val", classes="people")
    both = Joined([scenes, Subset(others, [1])])
    for index in range(len(scenes)):
        assert (both.instances(index) == scenes.instances(index)).all()
    assert (both.instances(len(scenes)) == others.instances(1)).all()
    crops = PersonCrops(both, progress=False)
    assert len(crops) == len(PersonCrops(scenes, progress=False)) + 1
    with pytest.raises(IndexError):
        both.instances(len(both))
    with pytest.raises(InvalidInputError, match="whose each pixel is"):
        Joined([scenes, Pictures([scenes.image(0)], scenes.classes)]).instances(len(scenes))
