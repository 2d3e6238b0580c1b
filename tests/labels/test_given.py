from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from noisycorrect.classification.kind import ClassLabels
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.kind import MaskLabels

MASK = np.array([[0, 1, 255], [2, 1, 0]], np.uint8)


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 3, 1], 3, r"labels in 0\.\.2 \(or -1: unlabelled\); got 3 at index 1; .* num_classes=4"),
        ([0, -2], 3, "got -2 at index 1; to fix: count classes from 0"),
        ([0.0, 1.0], 3, "whole numbers; got float64; to fix"),
        ([0.0, np.nan], 3, "got float64 with NaN"),
        (torch.tensor([0.5]), 3, "got float32"),
        (["cat", "dog"], 3, "whole numbers"),
        ([None, 1], 3, "whole numbers; got object"),
        ([[0, 1], [1, 0]], 3, r"shape \(N,\), N >= 1; got shape \(2, 2\)"),
        ([[0, 1], [1]], 3, "labels as an array"),
        ([], 3, r"got shape \(0,\)"),
        (7, 10, r"got shape \(\)"),
        ([True, False], 2, "whole numbers; got bool"),
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
    masks = [[MASK], [MASK, None], [None, MASK], [MASK.T], [MASK.reshape(1, 6)]]
    prints |= {MaskLabels(each, 3).fingerprint for each in masks} | {MaskLabels([MASK], 4).fingerprint}
    assert len(prints) == 10
    assert MaskLabels.fingerprint_of(iter([MASK, None]), 3) == (MaskLabels([MASK, None], 3).fingerprint, 2)


@pytest.mark.parametrize(
    ("mask", "classes", "message"),
    [
        (MASK, 2, r"mask values 0\.\.1 or 255; got 2 at index 1"),
        (MASK.astype(np.int64) - 1, 3, r"at index 1"),
        (MASK.astype(np.float32), 3, r"whole numbers, shape \(H, W\); got float32 of shape \(2, 3\) at index 1"),
        (np.full((2, 2), np.nan), 3, "float64"),
        (np.zeros((2, 2, 3), np.uint8), 3, r"\(2, 2, 3\) at index 1; to fix: store class indices, not colours"),
        (np.zeros((0, 3), np.uint8), 3, "at index 1"),
        ([[0, 1], [1]], 3, "a mask at index 1 as an array"),
        ("mask.png", 3, "at index 1"),
        (MASK.astype(np.int64) + 300, 300, r"num_classes <= 255"),
    ],
)
def test_bad_masks(mask: Any, classes: int, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        MaskLabels([np.zeros((1, 1), np.uint8), mask], classes)


def test_no_masks() -> None:
    with pytest.raises(InvalidInputError, match="at least one mask"):
        MaskLabels([], 3)


def test_read_only_tensor_and_wide_masks_make_no_warning() -> None:
    frozen = MASK.copy()
    frozen.flags.writeable = False  # as np.asarray of a PIL image
    masks = MaskLabels([frozen, torch.from_numpy(MASK.copy()), MASK.astype(np.int64), MASK[:, ::-1]], 3)
    for index, expected in enumerate([MASK, MASK, MASK, MASK[:, ::-1]]):
        np.testing.assert_array_equal(masks.mask(index), expected)


def test_masks_come_as_copies() -> None:
    source = MASK.copy()
    masks = MaskLabels([source], 3)
    source[:] = 0
    masks.mask(0)[:] = 1
    np.testing.assert_array_equal(masks.mask(0), MASK)
    with pytest.raises(ValueError, match="read-only"):
        masks.labeled[0] = False


def test_masks_are_read_one_at_a_time() -> None:
    alive = []

    def folder() -> Iterator[np.ndarray]:
        for index in range(5):
            alive.append(index)
            yield np.full((2, 2), index, np.uint8)

    assert len(MaskLabels(folder(), 5)) == len(alive) == 5


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
masks_or_none = st.one_of(
    st.none(), shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255])))
)


@given(st.lists(masks_or_none, min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_masks_of_any_size_survive_a_file(tmp_path_factory: pytest.TempPathFactory, masks: list[Any]) -> None:
    path = tmp_path_factory.mktemp("given") / "given.h5"
    before = MaskLabels(masks, 3)
    with h5py.File(path, "w") as file:
        before.save(file)
    with h5py.File(path, "r") as file:
        after = MaskLabels.load(file, 3)
    assert (len(after), after.fingerprint) == (len(masks), before.fingerprint)
    assert after.labeled.tolist() == [mask is not None for mask in masks]
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(after.mask(index), np.zeros((0, 0)) if mask is None else mask)


def test_the_file_holds_the_labels_as_they_are(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "given.h5", "w") as file:
        ClassLabels([2, -1, 0], 3).save(file)
        assert file["given"][()].tolist() == [2, -1, 0]
        assert file["given"].dtype == np.int64
