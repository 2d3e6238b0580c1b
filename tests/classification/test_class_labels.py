"""What class labels may be, and how they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from noisycorrect.classification.kind import ClassLabels
from noisycorrect.support.errors import InvalidInputError


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (np.zeros((2, 4, 3), np.int64), 3, r"got maps of shape \(4, 3\); to fix: of masks, .* task=.segmentation."),
        ([None, torch.zeros(4, 3, dtype=torch.uint8), torch.zeros(2, 3)], 3, r"maps of shape \(4, 3\)"),
        ([0, 3, 1], 3, r"labels in 0\.\.2 \(or -1: unlabelled\); got 3 at index 1; .* num_classes=4"),
        ([0, -2], 3, "got -2 at index 1; to fix: count classes from 0"),
        ([0.0, 1.25], 3, "whole numbers; got float64, 1.25 at index 1; to fix"),
        ([0.0, np.nan], 3, "got float64 with NaN"),
        (torch.tensor([0.5]), 3, "got float32"),
        (["cat", "dog"], 3, "whole numbers"),
        ([None, 1], 3, "whole numbers; got object"),
        ([["cat"], ["dog"]], 2, "whole numbers; got <U3; to fix: number the classes"),
        ([[0, 1], [1, 0]], 3, r"shape \(N,\), N >= 1; got shape \(2, 2\)"),
        ([[0, 1], [1]], 3, "labels as an array"),
        ([], 3, r"got shape \(0,\)"),
        (7, 10, r"got shape \(\)"),
        ([0, 1], 1, "num_classes >= 2; got 1"),
        ([0, 1], 2.0, r"num_classes >= 2; got 2\.0"),
        ([0, 1], True, "num_classes >= 2; got True"),
    ],
)
def test_bad_class_labels(labels: Any, classes: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ClassLabels(labels, classes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64])
def test_class_labels_of_any_integer_type(dtype: type[np.integer[Any]]) -> None:
    array = np.array([0, 2, 1], dtype)
    assert ClassLabels(array, 300).array.tolist() == [0, 2, 1]
    assert ClassLabels(array, 3).fingerprint == ClassLabels([0, 2, 1], 3).fingerprint


def test_class_labels_are_a_copy_that_cannot_be_written() -> None:
    source = np.array([0, -1, 1])
    labels = ClassLabels(source, 2)
    source[0] = 1
    assert labels.array.tolist() == [0, -1, 1]
    for array in (labels.array, labels.labeled):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_fingerprints_tell_labels_order_and_classes_apart() -> None:
    prints = {ClassLabels(*args).fingerprint for args in [([0, 1], 2), ([1, 0], 2), ([0, 1], 3), ([0, 1, -1], 2)]}
    assert len(prints) == 4


def test_the_file_holds_the_labels_as_they_are(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "given.h5", "w") as file:
        ClassLabels([2, -1, 0], 3).save(file)
        assert file["given"][()].tolist() == [2, -1, 0]
        assert file["given"].dtype == np.int64


@pytest.mark.parametrize(
    "labels",
    [
        [[0], [2], [-1]],
        [0.0, 2.0, -1.0],
        [[1, 0, 0], [0, 0, 1], [-1, -1, -1]],
        torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [-1.0, -1.0, -1.0]]),
        np.array([0, 2, -1], ">i4"),
        np.array([-1, 2, 0])[::-1],
    ],
    ids=["column", "floats", "one-hot", "one-hot of floats", "big-endian", "reversed"],
)
def test_class_labels_in_the_forms_people_have(labels: Any) -> None:
    found = ClassLabels(labels, 3).array
    assert found.tolist() == [0, 2, -1]
    assert found.dtype == np.int64
    assert found.dtype.isnative


def test_class_labels_that_are_true_or_false() -> None:
    assert ClassLabels([True, False], 2).array.tolist() == [1, 0]
