"""Open-set noise: foreign inputs under kept labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noisycorrect.classification import noise
from noisycorrect.support.errors import InvalidInputError

X = np.arange(24, dtype=np.float32).reshape(12, 2)
POOL = -np.arange(1, 41, dtype=np.float32).reshape(20, 2)
LABELS = np.array([0, 1, 2] * 4)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.integers(2, 5), st.integers(1, 60), st.integers(0, 1000))
def test_exact_counts_and_each_foreign_input_once(rate: float, classes: int, size: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, size)
    x = np.zeros((size, 1))
    pool = np.arange(1.0, size + classes + 1)[:, None]
    result = noise.OpenSet(rate, pool).apply(labels, num_classes=classes, seed=seed, inputs=x)
    for label in range(classes):
        members = labels == label
        assert abs(int(result.changed[members].sum()) - rate * members.sum()) <= 0.5 + 1e-6
    foreign = np.asarray(result.inputs)[result.changed, 0]
    assert (foreign > 0).all()
    assert len(set(foreign.tolist())) == len(foreign)
    assert np.array_equal(foreign, pool[result.details["pool_index"][result.changed], 0])
    assert (result.details["pool_index"][~result.changed] == -1).all()
    assert np.array_equal(result.transition, np.eye(classes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_a_tensor_comes_back_as_a_tensor(dtype: torch.dtype) -> None:
    x, pool = torch.zeros(12, 2, dtype=dtype), torch.ones(20, 2, dtype=dtype)
    result = noise.OpenSet(0.5, pool).apply(LABELS, num_classes=3, seed=0, inputs=x)
    assert isinstance(result.inputs, torch.Tensor)
    assert result.inputs.dtype == dtype
    assert torch.equal(result.inputs[:, 0] == 1, torch.from_numpy(result.changed))
    assert not x.any()


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (None, r"a pool of foreign inputs; got none; to fix: OpenSet\(rate, pool=x\)"),
        (POOL[:5], "a pool of at least 6 inputs, because each is used once; got 5"),
        (POOL.astype(np.float64), "got shape .* dtype float64; to fix: .* scale included"),
        (POOL[:, :1], r"shape \(2,\) and dtype float32, .* got shape \(1,\)"),
        (np.float32(1.0), "as the data set has"),
    ],
)
def test_bad_pools(pool: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        noise.OpenSet(0.5, pool).apply(LABELS, num_classes=3, seed=0, inputs=X)
