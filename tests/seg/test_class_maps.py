"""Masks and probabilities in the classes of another data set."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import SyntheticPeople
from noisycorrect_seg.class_maps import CONCEPTS, ClassMap, class_map, translate
from noisycorrect_seg.classes import ATR, CCP, KNOWN, LIP, PASCAL, PEOPLE, Classes, classes_named
from noisycorrect_seg.datasets.ccp import group_table
from noisycorrect_seg.datasets.synthetic import GROUPS

LISTS = sorted(CONCEPTS["background"])
PAIRS = list(itertools.permutations(LISTS, 2))
some_lists = st.sampled_from(LISTS)
GUIDE = Path(__file__).parents[2] / "docs" / "tryon.md"


def masks_of(classes):
    return arrays.arrays(np.uint8, (3, 4), elements=st.sampled_from([*range(len(classes)), 255]))


def as_numbers(classes, names):
    return [classes.names.index(name) for name in names]


# By hand, from the class lists alone: what LIP's classes are in ATR's list, as class numbers; 255: a side is missing.
LIP_IN_ATR = [0, 1, 2, 255, 3, 4, 7, 4, 255, 6, 7, 17, 5, 11, 14, 15, 12, 13, 9, 10]
ATR_IN_LIP = [0, 1, 2, 4, 5, 12, 9, 6, 255, 18, 19, 13, 16, 17, 14, 15, 0, 11]
LIP_IN_PASCAL = [0, 1, 1, 4, 1, 2, 255, 2, 6, 255, 255, 2, 5, 1, 255, 255, 255, 255, 6, 6]
PASCAL_IN_LIP = [0, 255, 255, 255, 255, 255, 255]
LIP_IN_CCP = [0, 3, 1, 16, 4, 5, 7, 6, 11, 9, 7, 15, 8, 2, 2, 2, 2, 2, 12, 12]
# MHP version 2, ten classes a line.
MHP_IN_LIP = [
    0, 1, 1, 13, 2, 14, 15, 14, 15, 255,
    5, 7, 5, 5, 5, 5, 255, 9, 9, 12,
    8, 8, 18, 19, 18, 19, 18, 19, 18, 19,
    16, 17, 16, 17, 7, 6, 255, 10, 255, 1,
    0, 0, 0, 255, 0, 0, 0, 4, 4, 3,
    11, 0, 0, 255, 255, 255, 255, 5, 255,
]  # fmt: skip
LIP_IN_MHP = [0, 1, 4, 49, 255, 255, 35, 255, 255, 17, 37, 50, 19, 3, 255, 255, 30, 31, 255, 255]


@pytest.mark.parametrize(
    ("source", "target", "table"),
    [
        (KNOWN["mhp"], LIP, MHP_IN_LIP),
        (LIP, KNOWN["mhp"], LIP_IN_MHP),
        (KNOWN["mhp-v1"], ATR, [*range(18), 255]),
        (ATR, KNOWN["mhp-v1"], [*range(18)]),
        (LIP, ATR, LIP_IN_ATR),
        (ATR, LIP, ATR_IN_LIP),
        (LIP, PASCAL, LIP_IN_PASCAL),
        (PASCAL, LIP, PASCAL_IN_LIP),
        (LIP, CCP, LIP_IN_CCP),
        (LIP, KNOWN["cihp"], [*range(10), 255, *range(11, 20)]),
        (KNOWN["cihp"], LIP, [*range(10), 255, *range(11, 20)]),
    ],
    ids=lambda each: each.name if isinstance(each, Classes) else "",
)
def test_maps_written_down_by_hand(source, target, table):
    mapping = class_map(source, target)
    assert mapping.table[: len(source)].tolist() == table
    assert (mapping.table[len(source) :] == 255).all()


def test_drawn_people_are_grouped_as_their_own_data_set_groups_them():
    assert class_map("lip", "people").table.tolist() == group_table(LIP.names, GROUPS).tolist()
    fine, coarse = SyntheticPeople(3, size=(64, 48)), SyntheticPeople(3, size=(64, 48), classes="people")
    for index in range(3):
        assert np.array_equal(translate(fine.mask(index), "lip", "people").mask, coarse.mask(index))


@pytest.mark.parametrize("name", LISTS)
def test_a_list_in_itself(name):
    mapping = class_map(name, name)
    assert np.array_equal(mapping.shares, np.eye(len(KNOWN[name])))
    assert mapping.kept == {each: each for each in KNOWN[name].names}
    assert not mapping.merged
    assert not mapping.undecided


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_map_is_one(source, target):
    mapping = class_map(source, target)
    one, other = KNOWN[source], KNOWN[target]
    assert np.allclose(mapping.shares.sum(1), 1)
    assert mapping.table[0] == 0
    # A mirror before and a mirror after are the same.
    assert np.array_equal(mapping.shares[one.flip_index][:, other.flip_index], mapping.shares)
    # Every class is told of once: it stays, is merged, or is undecided.
    told = [*mapping.kept, *itertools.chain(*mapping.merged.values()), *mapping.undecided]
    assert sorted(told) == sorted(one.names)
    text = str(mapping)
    assert all(name in text for name in [*itertools.chain(*mapping.merged.values()), *mapping.undecided])


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_what_stays_itself_both_ways_comes_back(source, target):
    there, back = class_map(source, target), class_map(target, source)
    common = [name for name, other in there.kept.items() if back.kept.get(other) == name]
    numbers = np.array([as_numbers(there.source, common)], np.uint8).reshape(1, -1)
    if {source, target} == {"lip", "cihp"}:
        assert len(common) == 19
    if {source, target} == {"lip", "atr"}:
        assert {"Hat", "Hair", "Sunglasses", "Skirt", "Scarf", "Face", "Left-arm", "Right-shoe"} <= set(common)
    if numbers.size:
        assert np.array_equal(back.apply(there.apply(numbers)), numbers)
        assert np.array_equal(there.then(back).apply(numbers), numbers)


@settings(max_examples=40, deadline=None)
@given(st.data(), some_lists, some_lists, some_lists)
def test_composition(data, a, b, c):
    first, second = class_map(a, b), class_map(b, c)
    both = first.then(second)
    assert np.allclose(both.shares.sum(1), 1)
    mask = data.draw(masks_of(KNOWN[a]))
    in_turn, at_once = second.apply(first.apply(mask)), both.apply(mask)
    known = in_turn != 255
    assert np.array_equal(at_once[known], in_turn[known])  # it knows all that both in turn know, and perhaps more
    assert (at_once[mask == 255] == 255).all()
    third = class_map(c, a)
    assert np.allclose(both.then(third).shares, first.then(second.then(third)).shares)


@settings(max_examples=40, deadline=None)
@given(some_lists, some_lists, st.integers(0, 2**32 - 1))
def test_probabilities_add_up(a, b, seed):
    mapping = class_map(a, b)
    probs = np.random.default_rng(seed).dirichlet(np.ones(len(KNOWN[a])), (3, 2)).transpose(2, 0, 1)
    mapped = mapping.probabilities(probs)
    assert mapped.shape == (len(KNOWN[b]), 3, 2)
    np.testing.assert_allclose(mapped.sum(0), 1, rtol=1e-12)
    slow = np.zeros_like(mapped)
    for k, l in itertools.product(range(len(KNOWN[a])), range(len(KNOWN[b]))):  # noqa: E741
        slow[l] += probs[k] * mapping.shares[k, l]
    np.testing.assert_allclose(mapped, slow, rtol=1e-12, atol=1e-15)


@settings(max_examples=25, deadline=None)
@given(st.data(), some_lists, some_lists)
def test_a_sure_network_says_what_its_mask_says(data, a, b):
    mapping, count = class_map(a, b), len(KNOWN[a])
    mask = data.draw(masks_of(KNOWN[a])) % count
    mapped = mapping.probabilities(np.eye(count, dtype=np.float32)[mask].transpose(2, 0, 1))
    labels = mapping.apply(mask)
    decided = labels != 255
    assert np.array_equal(mapped.argmax(0)[decided], labels[decided])
    assert (mapped.max(0)[decided] == 1).all()
    assert (mapped.max(0)[~decided] <= 0.5).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_probabilities_of_tensors_keep_their_kind(dtype):
    mapping = class_map("lip", "people")
    probs = torch.rand(2, 20, 3, 4, generator=torch.Generator().manual_seed(0)).softmax(1).to(dtype)
    mapped = mapping.probabilities(probs)
    assert mapped.dtype == dtype
    assert mapped.shape == (2, 11, 3, 4)
    merged = probs.double()[:, as_numbers(LIP, ["Left-arm", "Right-arm", "Glove"])].sum(1)
    assert (mapped.double()[:, PEOPLE.names.index("arms")] - merged).abs().max() < 1e-2
    array = mapping.probabilities(probs.float().numpy())
    assert array.dtype == np.float32
    array.flags.writeable = False
    assert class_map("people", "people").probabilities(array).shape == array.shape


def test_what_is_lost_is_said_and_returned():
    mask = np.array([[5, 7, 7, 3], [3, 3, 255, 8]], np.uint8)  # tops, coats, gloves, unknown, socks
    translated = translate(mask, "lip", "atr")
    assert translated.mask.tolist() == [[4, 4, 4, 255], [255, 255, 255, 255]]
    assert translated.undecided == {"Glove": 3, "Socks": 1}
    assert translated.merged == {"Upper-clothes": ("Upper-clothes", "Coat")}
    assert str(translated) == (
        "lip -> atr: 3 pixels of Glove are unknown; 1 pixels of Socks are unknown;"
        " Upper-clothes and Coat became Upper-clothes"
    )
    assert str(translate([[1, 2]], "lip", "atr")) == "lip -> atr: nothing is lost"
    assert translate([[5, 6]], "lip", "atr").merged == {}  # no coat is in this mask


def test_changes_and_lists_of_ones_own():
    changed = class_map("lip", "atr", {"Glove": ("Left-arm", "Right-arm"), "Socks": "Left-leg", "Coat": "Scarf"})
    assert changed.apply([[3, 8, 7]]).tolist() == [[255, 12, 17]]
    own = ["background", "upper clothes", "left-arm", "RIGHT_ARM", "robot"]
    mapping = class_map(own, "lip", {"robot": "Background"})
    assert mapping.apply([[0, 1, 2, 3, 4]]).tolist() == [[0, 5, 14, 15, 0]]
    with pytest.raises(InvalidInputError, match=r"class of 'lip' for each class of 'own'; got none for 'robot'"):
        class_map(own, "lip")


def test_the_guides_table_is_the_programs():
    rows = re.findall(r"^\| (.*) \|$", GUIDE.read_text(encoding="utf-8").split("Upper-clothes become Upper")[1], re.M)
    (_, *heads), *rows = [row.split(" | ") for row in rows]
    lists = [head.strip("`") for head in heads]
    shown = {}
    for concept, *cells in rows:
        shown[concept] = {name: tuple(cell.split(", ")) for name, cell in zip(lists, cells, strict=True)}
    for concept, row in CONCEPTS.items():
        for name, held in row.items():
            assert shown[concept][name] == tuple(each.name if each.own else f"({each.name})" for each in held)
    assert shown.keys() == CONCEPTS.keys()
    assert sorted(lists) == LISTS


def test_every_class_is_something_and_every_name_in_the_table_is_a_class():
    for name in LISTS:
        held = [each for row in CONCEPTS.values() for each in row[name]]
        assert {each.name for each in held} == set(KNOWN[name].names)
        assert {each.name for each in held if each.own} == set(KNOWN[name].names)


# ---------------------------------------------------------------- invalid input


def test_masks_and_probabilities_of_other_classes():
    with pytest.raises(
        InvalidInputError, match=r"a mask of the classes 'atr': 0\.\.17, or 255; got 19; .*did you mean .*'lip'"
    ):
        translate([[19]], "atr", "lip")
    with pytest.raises(InvalidInputError, match=r"shape \(20, H, W\).*got torch\.float32 of shape \(18, 2, 2\)"):
        class_map("lip", "atr").probabilities(torch.zeros(18, 2, 2))
    with pytest.raises(InvalidInputError, match="floating|float|int64"):
        class_map("lip", "atr").probabilities(np.zeros((20, 2, 2), np.int64))


def test_wrong_names_are_named_with_the_nearest():
    with pytest.raises(InvalidInputError, match="got 'lpi'; to fix: did you mean 'lip'"):
        translate([[0]], "lpi", "atr")
    with pytest.raises(InvalidInputError, match="a known class of 'lip'; got 'Gloves'; to fix: did you mean 'Glove'"):
        class_map("lip", "atr", {"Gloves": "Left-arm"})
    with pytest.raises(InvalidInputError, match="a known class of 'atr'; got 'Skrt'; to fix: did you mean 'Skirt'"):
        class_map("lip", "atr", {"Glove": "Skrt"})


def test_changes_that_are_none():
    for changes in ("Glove", {"Glove": 3}, {"Glove": ()}, [("Glove", "Scarf")]):
        with pytest.raises(InvalidInputError, match=r"changes: .*; to fix: pass changes=\{'Right-shoe': 'Scarf'\}"):
            class_map("lip", "atr", changes)


def test_maps_that_do_not_fit_together():
    with pytest.raises(InvalidInputError, match="a map from 'atr'; got one from 'lip'"):
        class_map("lip", "atr").then(class_map("lip", "atr"))
    two = classes_named(["background", "person"])
    for shares in (np.eye(3), np.array([[1, 0], [0.5, 0.4]]), np.array([[2, -1], [0, 1]])):
        with pytest.raises(InvalidInputError, match="each row with sum 1"):
            ClassMap(two, two, shares)


def test_lists_of_more_than_255_classes():
    many = Classes("many", tuple(f"c{number}" for number in range(300)))
    few = Classes("few", ("a", "b"))
    mapping = class_map(many, few, {name: "b" if name == "c255" else "a" for name in many.names})
    assert mapping.apply([[0, 255, 299, 65535]]).tolist() == [[0, 1, 0, 255]]
    back = class_map(few, many, {"a": "c255", "b": ["c3", "c299"]})
    wide = back.apply([[0, 1, 255]])
    assert wide.dtype == np.uint16
    assert wide.tolist() == [[255, 65535, 65535]]
    assert translate([[255, 299, 65535]], many, few, dict.fromkeys(many.names, "a")).mask.tolist() == [[0, 0, 255]]
    with pytest.raises(InvalidInputError, match=r"0\.\.299, or 65535; got 300"):
        mapping.apply([[300]])


def test_a_list_of_the_same_names_is_that_list_whatever_it_is_called():
    for names in (LIP.names, tuple(name.lower().replace("-", "_") for name in LIP.names)):
        own = classes_named(list(names))
        assert own.name == "own"
        assert class_map(own, "atr").table.tolist() == class_map("lip", "atr").table.tolist()
        assert class_map("atr", own).shares.tolist() == class_map("atr", "lip").shares.tolist()
        assert class_map(own, "lip").table[:20].tolist() == list(range(20))
    chained = class_map("atr", list(LIP.names)).then(class_map("lip", "people"))
    assert chained.shares.tolist() == class_map("atr", "lip").then(class_map("lip", "people")).shares.tolist()
    assert translate([[5, 19]], list(LIP.names), "atr").mask.tolist() == [[4, 10]]
    with pytest.raises(InvalidInputError, match="none for 'Hat'"):
        class_map(Classes("lip", ("Background", "Hat")), ["Background", "Top"])
