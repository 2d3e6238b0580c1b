"""Labels of every type, with every kind of gap, of one annotator and of several; and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import DataConversionWarning

from noisycorrect import InvalidInputError
from noisycorrect.integrations.sklearn.labels import NamedLabels, gaps

CODES = np.array([1, -1, 0, 2, 1])


def objects(names):
    return np.array([*names, None], dtype=object)[CODES]


NAMES, NUMBERS, FLAGS = objects(["bird", "cat", "dog"]), objects([3, 7, 9]), np.array([True, None, False], dtype=object)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (NAMES, ["bird", "cat", "dog"]),
        (NAMES.tolist(), ["bird", "cat", "dog"]),
        (pd.Series(NAMES), ["bird", "cat", "dog"]),
        (pd.Series(NAMES, dtype="string"), ["bird", "cat", "dog"]),
        (pd.Series(NAMES, dtype="category"), ["bird", "cat", "dog"]),
        (np.where(CODES < 0, " ", NAMES), ["bird", "cat", "dog"]),
        (NUMBERS, [3, 7, 9]),
        (pd.Series(NUMBERS, dtype="Int64"), [3, 7, 9]),
        (pd.Series(NUMBERS, dtype=float), [3, 7, 9]),
        (torch.tensor([7.0, torch.nan, 3.0, 9.0, 7.0]), [3, 7, 9]),
        (np.ma.masked_array([7, 0, 3, 9, 7], CODES < 0), [3, 7, 9]),
    ],
    ids=["objects", "list", "Series", "string", "category", "blank", "numbers", "Int64", "NaN", "tensor", "masked"],
)
def test_every_form_is_the_same_labels(labels, classes):
    found = NamedLabels.of(labels)
    assert found.codes.tolist() == CODES.tolist()
    assert found.classes.tolist() == classes
    assert all(type(one) is type(other) for one, other in zip(found.classes.tolist(), classes, strict=True))
    assert found.annotators == ()


@pytest.mark.parametrize("labels", [FLAGS, FLAGS.tolist(), pd.Series(FLAGS, dtype="boolean")])
def test_booleans(labels):
    found = NamedLabels.of(labels)
    assert (found.codes.tolist(), found.classes.tolist()) == ([1, -1, 0], [False, True])
    assert found.classes.dtype == bool


def test_minus_one_is_a_class_unless_told_otherwise():
    assert NamedLabels.of(CODES).classes.tolist() == [-1, 0, 1, 2]
    assert NamedLabels.of(CODES, missing=-1).codes.tolist() == CODES.tolist()
    assert NamedLabels.of(np.where(CODES < 0, "?", NAMES.astype(str)), missing="?").codes.tolist() == CODES.tolist()
    assert not gaps(NAMES[CODES >= 0], missing=1).any()  # a number is no text


def test_classes_keep_the_type_of_whole_arrays():
    for labels in (np.array([2.0, 1.0]), np.array([2, 1], np.int8), np.array(["b", "a"])):
        assert NamedLabels.of(labels).classes.dtype == labels.dtype


def test_several_annotators():
    table = pd.DataFrame(
        {"Ann": ["cat", None, "dog"], "Bo": pd.Series(["dog", pd.NA, pd.NA], dtype="string"), "Cy": None}
    )
    found = NamedLabels.of(table)
    votes = found.votes()
    assert found.codes.tolist() == [[0, 1, -1], [-1, -1, -1], [1, -1, -1]]
    assert (votes.annotators, votes.classes) == (("Ann", "Bo", "Cy"), ("cat", "dog"))
    assert np.array_equal(votes.table(), found.codes)
    assert NamedLabels.of([[0, None], [1, 1]]).annotators == (0, 1)


def test_one_column_is_one_annotator():
    with pytest.warns(DataConversionWarning, match="column-vector"):
        assert NamedLabels.of([["a"], ["b"]]).codes.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "requires y to be passed"),
        ([None, np.nan], r"expected labels; got none: every one is missing \(NaN\); to fix: pass at least two classes"),
        (["cat", "cat", None], "expected labels of at least two classes; got one class: 'cat'"),
        (["cat", 1], "expected labels of one type; got numbers and text; to fix: convert them"),
        ([[0, 1], [1]], "expected y with rows of one length; .*fill the gaps with None"),
        ([0.0, np.inf, 1.0], r"expected labels; got infinity \(inf\); to fix: correct it"),
        ([{1}, {2}], "labels to be names, numbers or booleans; got {1}"),
        (np.zeros((2, 2, 2)), r"expected y of shape \(N,\) or \(N, A\); got shape \(2, 2, 2\)"),
        ([0.25, 0.5], "Unknown label type: continuous"),
    ],
)
def test_what_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        NamedLabels.of(labels)


def test_refusals_are_ours():
    with pytest.raises(InvalidInputError, match="one class"):
        NamedLabels.of([1, 1])


def test_one_hot_rows_are_no_annotators():
    with pytest.raises(InvalidInputError, match=r"one-hot rows, it seems; to fix: pass y.argmax\(1\)"):
        NamedLabels.of(np.eye(3, dtype=int)[[0, 1, 2, 1, 0]])
    assert NamedLabels.of(np.array([[0, 1, 1], [1, 1, 1]])).annotators == (0, 1, 2)
