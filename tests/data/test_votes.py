"""Votes: every form in which people have them, and what is refused."""

import numpy as np
import pytest
import torch

from noisycorrect import InvalidInputError, Votes

TABLE = np.array([[0, 2, -1], [-1, -1, -1], [1, -1, 1], [2, 0, 0]])
NAMES = np.array(["bird", "cat", "dog", None], dtype=object)[TABLE]  # the last one is a gap


def assert_same(votes, reference):
    for name in ("item", "annotator", "label"):
        assert np.array_equal(getattr(votes, name), getattr(reference, name)), name
        assert getattr(votes, name).dtype == np.int64
    assert (votes.num_items, votes.num_classes) == (reference.num_items, reference.num_classes)


@pytest.mark.parametrize(
    "table",
    [
        TABLE.tolist(),
        torch.tensor(TABLE),
        TABLE.astype(np.int8),
        np.where(TABLE < 0, np.nan, TABLE),
        np.ma.masked_array(np.where(TABLE < 0, 7, TABLE), TABLE < 0),
        [[None if vote < 0 else int(vote) for vote in row] for row in TABLE],
    ],
    ids=["lists", "tensor", "int8", "NaN", "masked", "None"],
)
def test_every_form_of_a_table_is_the_same_votes(table):
    votes = Votes.from_table(table)
    assert_same(votes, Votes([0, 0, 2, 2, 3, 3, 3], [0, 1, 0, 2, 0, 1, 2], [0, 2, 1, 1, 2, 0, 0],
                             num_items=4, classes=range(3), annotators=range(3)))  # fmt: skip
    assert np.array_equal(votes.table(), TABLE)
    assert votes.classes == (0, 1, 2)


def test_names_are_sorted_unless_an_order_is_given():
    votes = Votes.from_table(NAMES)
    assert votes.classes == ("bird", "cat", "dog")
    assert_same(votes, Votes.from_table(TABLE))
    turned = Votes.from_table(NAMES, classes=["dog", "cat", "bird", "fish"])
    assert np.array_equal(turned.label, 2 - votes.label)
    assert turned.num_classes == 4
    empty_texts = np.where(TABLE < 0, "", NAMES.astype(str))
    assert_same(Votes.from_table(empty_texts), votes)


def test_minus_one_is_a_vote_where_a_class_has_that_name():
    signs = [[-1, 1, None], [np.nan, -1, 0]]
    votes = Votes.from_table(signs, classes=[-1, 0, 1])
    assert votes.table().tolist() == [[0, 2, -1], [-1, 0, 1]]
    rows = Votes.from_rows([0, 0, 1, 1, 1], [0, 1, 0, 1, 2], [-1.0, 1.0, np.nan, -1.0, 0.0], classes=[-1, 0, 1])
    assert_same(rows, votes)
    assert Votes.from_table([[-1, 1], [0, 1]]).table().tolist() == [[-1, 1], [0, 1]]  # else it is a gap


def test_data_frames_name_the_annotators():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(NAMES, columns=["Ann", "Bo", "Cy"])
    for version in (frame, frame.astype("category"), frame.convert_dtypes()):
        votes = Votes.from_table(version)
        assert votes.annotators == ("Ann", "Bo", "Cy")
        assert_same(votes, Votes.from_table(TABLE))
    numbers = pandas.DataFrame(TABLE).mask(TABLE < 0)
    assert_same(Votes.from_table(numbers.astype("Int64")), Votes.from_table(TABLE))
    long = frame.reset_index().melt("index", var_name="who", value_name="label")
    rows = Votes.from_rows(long["index"], long["who"], long["label"], num_items=4)
    assert_same(rows, votes)
    assert rows.annotators == ("Ann", "Bo", "Cy")


def test_rows_in_any_order_are_the_table():
    item, annotator = np.nonzero(TABLE >= 0)
    order = np.random.default_rng(0).permutation(len(item))
    votes = Votes.from_rows(item[order], annotator[order], TABLE[item, annotator][order])
    assert_same(votes, Votes.from_table(TABLE))
    assert Votes.from_rows([0, 0], ["a", "a"], [1, 1]).counts().tolist() == [[0, 2]]


def test_booleans_are_two_classes():
    votes = Votes.from_table(np.array([[True, False], [True, True]]))
    assert votes.classes == (False, True)
    assert votes.label.tolist() == [1, 0, 1, 1]


def test_majority_and_what_lacks():
    votes = Votes.from_table(TABLE)
    # Item 0 has a vote for 0 and one for 2: over all items 0 has more.
    assert votes.majority().tolist() == [0, -1, 1, 0]
    assert votes.votes_of_items.tolist() == [2, 0, 2, 3]
    assert votes.counts().sum() == len(votes) == 7
    idle = Votes.from_table([[0, -1], [1, -1]])
    assert idle.votes_of_annotators.tolist() == [2, 0]
    assert str(idle) == "2 votes of 2 annotators on 2 items, 2 classes; 1 annotator gave none"
    assert str(votes).endswith("1 item has no vote")


def test_a_subset_keeps_the_votes_on_its_items():
    votes = Votes.from_table(TABLE)
    for items in ([3, 0], [1, 2]):
        assert np.array_equal(votes.subset(items).table(), TABLE[items])
    assert np.array_equal(votes.subset(np.array([True, False, False, True])).table(), TABLE[[0, 3]])
    with pytest.raises(InvalidInputError, match="at least one vote"):
        votes.subset([1])
    with pytest.raises(InvalidInputError, match="each item once"):
        votes.subset([0, 0])
    with pytest.raises(InvalidInputError, match=r"items in 0\.\.3"):
        votes.subset([4])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Votes.from_table([0, 1, 0]), r"shape \(N, A\).* got shape \(3,\); to fix: .*Votes.from_rows"),
        (lambda: Votes.from_table([[0, 1], [1]]), r"shape \(N, A\); got shape \(2,\)"),
        (lambda: Votes.from_table([[None, ""], [-1, np.nan]]), "at least one vote; got none"),
        (lambda: Votes.from_table([[0, -2]]), "labels from 0 on, or -1 for a gap; got -2 of item 0"),
        (lambda: Votes.from_table([["a", "b"], ["c", "d"]], classes=["a", "b"]), "'a', 'b'; got 'c' of item 1 and 1 m"),
        (lambda: Votes.from_table([[0, 3]], classes=[0, 1, 2]), "labels among 0, 1, 2; got 3 of item 0"),
        (lambda: Votes.from_table([["a", 1]]), "labels of one type"),
        (lambda: Votes.from_table([["a", "b"]], classes=["a", "b", "a"]), "each name once"),
        (lambda: Votes.from_table([["a", "a"]]), "two classes and one annotator at least; got 1 classes"),
        (lambda: Votes.from_rows([0, 1], ["x"], [0, 1]), r"one shape \(V,\); got shapes \(2,\), \(1,\), \(2,\)"),
        (lambda: Votes.from_rows([0, 1], ["x", None], [0, 1]), "an annotator of each vote; got 1 without"),
        (lambda: Votes.from_rows([0, 5], ["x", "y"], [0, 1], num_items=3), r"item in 0\.\.2.*got 5"),
        (lambda: Votes.from_rows(["p", "q"], ["x", "y"], [0, 1]), "item to be whole numbers; got values such as 'p'"),
        (lambda: Votes.from_rows([0, 1], ["x", "z"], [0, 1], annotators="xy"), "annotators among 'x', 'y'; got 'z'"),
        (lambda: Votes([0], [0], [0, 1], num_items=1, classes="ab", annotators="x"), "1 items, 1 annotators, 2 labels"),
    ],
)  # fmt: skip
def test_what_is_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
