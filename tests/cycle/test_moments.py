from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noisycorrect.cycle.moments import Moments, SlidingMoments, batch_moments, merge_moments, pool_moments
from noisycorrect.support.errors import InvalidInputError


@given(
    values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    offset=st.sampled_from([0.0, 5e3, -5e6]),
)
@settings(deadline=None)
def test_any_split_gives_the_same_moments(values: list[float], cuts: list[int], offset: float) -> None:
    data = torch.tensor(values, dtype=torch.float64)[:, None] + offset
    bounds = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    parts = [batch_moments(data[start:stop]) for start, stop in itertools.pairwise(bounds)]
    pooled = pool_moments(parts)
    assert pooled.count == len(values)
    torch.testing.assert_close(pooled.mean, data.mean(0), rtol=1e-13, atol=1e-10)
    torch.testing.assert_close(pooled.variance, data.var(0, correction=0), rtol=1e-9, atol=1e-6)
    torch.testing.assert_close(pooled.mean, pool_moments(parts[::-1]).mean, rtol=1e-13, atol=1e-10)


@pytest.mark.parametrize("shape", [(7, 3), (7, 3, 5), (7, 3, 4, 5), (7, 3, 2, 3, 4), (1, 3)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_batch_moments_match_float64(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = batch_moments(values)
    axes = [0, *range(2, len(shape))]
    variance, mean = torch.var_mean(values.double(), axes, correction=0)
    torch.testing.assert_close(found.mean, mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.variance, variance, rtol=1e-12, atol=1e-14)


def test_batch_moments_of_a_large_channels_last_batch() -> None:
    values = torch.randn(5, 3, 400, 400).to(memory_format=torch.channels_last) * 2e-2 + 100
    variance, mean = torch.var_mean(values.double(), (0, 2, 3), correction=0)
    found = batch_moments(values)
    torch.testing.assert_close(found.mean, mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.variance, variance, rtol=1e-10, atol=0)


def test_moments_of_nothing() -> None:
    empty = batch_moments(torch.zeros(0, 2, 4))
    some = batch_moments(torch.randn(3, 2))
    assert empty.count == merge_moments(empty, empty).count == 0
    torch.testing.assert_close(merge_moments(empty, some).squares, some.squares)
    with pytest.raises(InvalidInputError, match="moments of at least one part"):
        pool_moments([])
    with pytest.raises(InvalidInputError, match=r"shape \(N, C, ...\); got shape \(3,\)"):
        batch_moments(torch.zeros(3))


def test_sliding_moments_hold_all_batches_or_the_last() -> None:
    parts = [batch_moments(torch.randn(size, 2)) for size in (4, 4, 1, 7)]
    everything, last = SlidingMoments(parts[0], 1.0), SlidingMoments(parts[0], 0.0)
    for part in parts[1:]:
        everything.update(part)
        last.update(part)
    torch.testing.assert_close(everything.moments.variance, pool_moments(parts).variance)
    torch.testing.assert_close(last.moments.variance, parts[-1].variance)
    assert isinstance(last.moments, Moments)
