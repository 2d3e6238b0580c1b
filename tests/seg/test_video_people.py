"""Films of drawn people: smooth, exact, deterministic; flicker; who is who."""

import pickle

import numpy as np
import pytest
import torch

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.datasets import MovingPeople
from noisycorrect_seg.video import Tracker, flicker
from noisycorrect_seg.video.averaging import Averaging, Frame, averaged
from noisycorrect_seg.video.identity import instance_map, renumbered

FILM = MovingPeople(8, seed=3, size=(64, 64), people=2)


def test_a_frame_depends_on_the_arguments_and_its_index_alone():
    again = MovingPeople(8, seed=3, size=(64, 64), people=2, cache=False)
    for index in (5, 0, 7):
        assert (again.image(index) == FILM.image(index)).all()
        assert (again.mask(index) == FILM.mask(index)).all()
    other = MovingPeople(8, seed=4, size=(64, 64), people=2)
    assert (other.image(0) != FILM.image(0)).any()
    assert (pickle.loads(pickle.dumps(FILM)).image(1) == FILM.image(1)).all()


def test_masks_people_and_classes_agree():
    for index in range(0, 8, 3):
        assert ((FILM.mask(index) > 0) == (FILM.people(index) > 0)).all()
        assert set(np.unique(FILM.people(index))) <= {0, 1, 2}
    few = MovingPeople(2, size=(64, 48), classes="people")
    assert few.mask(0).max() < len(few.classes)


def test_matter_keeps_its_colour_and_class_along_the_true_motion():
    """What grain leaves: 4 grey levels a frame. Standing still the difference would be many times that."""
    here, there, flow = FILM.image(3).astype(float), FILM.image(4).astype(float), FILM.flow(3, 4)
    rows, columns = np.indices((64, 64))
    x, y = np.rint(columns + flow[..., 0]).astype(int), np.rint(rows + flow[..., 1]).astype(int)
    inside = (x >= 0) & (x < 64) & (y >= 0) & (y < 64)
    x, y = x.clip(0, 63), y.clip(0, 63)
    same = inside & (FILM.people(4)[y, x] == FILM.people(3)) & (FILM.people(3) > 0)
    along = np.abs(there[y, x] - here).mean(-1)[same].mean()
    still = np.abs(there - here).mean(-1)[same].mean()
    assert np.hypot(flow[..., 0], flow[..., 1])[same].mean() > 2
    assert along < 0.5 * still
    assert (FILM.mask(4)[y, x] == FILM.mask(3))[same].mean() > 0.9


def test_motion_there_and_back_is_none():
    there, back = FILM.flow(2, 6), FILM.flow(6, 2)
    room = FILM.people(2) == 0
    assert np.abs(there[room] + back[FILM.people(6) == 0][0]).max() < 1e-4  # the camera's, the same everywhere
    assert np.abs(FILM.flow(4, 4)).max() < 1e-4


def test_a_film_says_what_is_wrong():
    with pytest.raises(InvalidInputError, match=r"1\.\.6 people; got 9"):
        MovingPeople(2, people=9)
    with pytest.raises(IndexError, match="frame 8 of 8"):
        FILM.image(8)


def test_flicker_counts_what_changes_and_should_not():
    true = [np.array([[0, 1, 1, 0, 0]]), np.array([[0, 0, 1, 1, 0]])]
    left = np.zeros((1, 5, 2)) - (1, 0)
    assert flicker(true, true, [left]) == (0, 4)
    wrong = [true[0], np.array([[0, 0, 1, 0, 0]])]
    assert flicker(wrong, true, [left]) == (1, 4)
    ignored = [true[0], np.array([[0, 0, 1, 255, 0]])]
    assert flicker(wrong, ignored, [left]) == (0, 3)
    with pytest.raises(InvalidInputError, match="a flow"):
        flicker(true, true, [])
    for flows in ([0 * left, left], iter([left, left])):
        with pytest.raises(InvalidInputError, match="1 flows for 2 frames; got more"):
            flicker(true, true, flows)


def follow(film, flow):
    """Return the identity of each person in each frame, the masks in a random order."""
    rng, tracker, named = np.random.default_rng(0), Tracker(), []
    frames = [Frame(i, film.image(i), film.image(i), torch.zeros(2, *film.size)) for i in range(len(film))]
    for frame, _, back in averaged(frames, Averaging(0, 0, flow=flow), motion=True):
        people = film.people(frame.index)
        shuffled = np.concatenate([[0], 1 + rng.permutation(2)])[people]
        found = renumbered(shuffled, tracker.update(shuffled, back))
        named.append({int(p): int(found[people == p][0]) for p in np.unique(people[people > 0])})
    return named


def test_people_who_cross_keep_their_identities():
    film = MovingPeople(16, seed=1, size=(64, 96), people=2)
    known = {film.image(i).tobytes(): i for i in range(16)}
    named = follow(film, lambda one, other: film.flow(known[one.tobytes()], known[other.tobytes()]))
    for person in (1, 2):
        assert len({frame[person] for frame in named if person in frame}) == 1
    assert named[0][1] != named[0][2]


def test_a_hidden_person_is_remembered_and_goes_on_as_before():
    tracker = Tracker(memory=5)
    back = torch.zeros(2, 10, 40)
    back[0] = -2.0
    for step in range(8):
        masks = np.zeros((10, 40), int)
        if not 3 <= step < 6:  # behind something
            masks[2:8, 4 + 2 * step : 12 + 2 * step] = 1
        assert tracker.update(masks, back if step else None) == ({1: 1} if masks.any() else {})
    assert tracker.known == 1
    for _ in range(7):
        tracker.update(np.zeros((10, 40), int), back)
    assert tracker.tracks == []


def test_a_tracker_goes_on_from_its_state():
    one, other = Tracker(), Tracker()
    masks = np.zeros((6, 12), int)
    masks[1:4, 1:4], masks[1:4, 7:10] = 1, 2
    one.update(masks, None)
    other.restore(one.state())
    swapped = np.array([0, 2, 1])[masks]
    still = torch.zeros(2, 6, 12)
    assert other.update(swapped, still) == one.update(swapped, still) == {1: 2, 2: 1}


def test_a_tracker_goes_on_where_nobody_was_seen_yet():
    one, other = Tracker(), Tracker()
    nobody, someone = np.zeros((6, 12), int), np.zeros((6, 12), int)
    someone[1:4, 1:4] = 5
    one.update(nobody, None)
    other.restore(one.state())
    assert other.tracks == []
    assert other.update(someone, torch.zeros(2, 6, 12)) == {5: 1}


def test_instances_in_any_form_and_in_none():
    class Found:
        instances = torch.tensor([[0, 3]])

    assert instance_map(Found(), (1, 2)).tolist() == [[0, 3]]
    with pytest.raises(InvalidInputError, match="who is where in a frame"):
        instance_map(np.zeros((1, 2), float), (1, 2))
