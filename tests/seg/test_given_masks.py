"""What masks may be, and how they are kept."""

from __future__ import annotations

from collections.abc import Iterator
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


def test_fingerprints_tell_masks_order_shapes_and_classes_apart() -> None:
    masks = [[MASK], [MASK, None], [None, MASK], [MASK.T], [MASK.reshape(1, 6)]]
    prints = {MaskLabels(each, 3).fingerprint for each in masks} | {MaskLabels([MASK], 4).fingerprint}
    prints.add(ClassLabels([0, 1], 3).fingerprint)
    assert len(prints) == 7
    assert MaskLabels.fingerprint_of(iter([MASK, None]), 3) == (MaskLabels([MASK, None], 3).fingerprint, 2)


@pytest.mark.parametrize(
    ("mask", "classes", "message"),
    [
        (MASK, 2, r"mask values 0\.\.1 or 255; got 2 at index 1"),
        (MASK.astype(np.int64) - 1, 3, r"at index 1"),
        (MASK.astype(np.float32), 3, r"whole numbers, shape \(H, W\); got float32 of shape \(2, 3\) at index 1"),
        (np.full((2, 2), np.nan), 3, "float64"),
        (MASK == 1, 2, r"got bool of shape \(2, 3\) at index 1; to fix: pass mask\.astype"),
        (MASK[..., None], 3, r"to fix: pass mask\[\.\.\., 0\]"),
        (np.zeros((2, 2, 3), np.uint8), 3, r"\(2, 2, 3\) at index 1; to fix: store class indices, not colours"),
        (np.zeros((0, 3), np.uint8), 3, "at index 1"),
        ([[0, 1], [1]], 3, "a mask at index 1 as an array"),
        ("mask.png", 3, "at index 1"),
        (MASK.astype(np.int64) + 300, 300, r"mask values 0\.\.299 or 65535; got 555 at index 1"),
        (MASK, 65536, r"num_classes <= 65535"),
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


def test_what_stands_where_nothing_is_known_goes_by_the_number_of_classes() -> None:
    assert [MaskLabels([MASK], classes).unlabeled for classes in (3, 255, 256)] == [255, 255, 65535]


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
