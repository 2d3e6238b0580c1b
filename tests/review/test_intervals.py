"""Sampling error against sums over the binomial, loops over samples, and samples drawn anew."""

from math import comb

import numpy as np
import pytest

from noisycorrect.review.intervals import SpreadOverSamples, binomial_ends, normal_ends


def at_least(successes, of, share):
    return sum(comb(of, i) * share**i * (1 - share) ** (of - i) for i in range(successes, of + 1))


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_ends_are_where_the_binomial_has_its_tails(level):
    for of in (1, 7, 40):
        for found in range(of + 1):
            low, high = binomial_ends(found, of, level)
            if found:
                assert at_least(found, of, low) == pytest.approx((1 - level) / 2, rel=1e-6)
            if found < of:
                assert 1 - at_least(found + 1, of, high) == pytest.approx((1 - level) / 2, rel=1e-6)
            assert 0 <= low <= found / of <= high <= 1
    assert binomial_ends([0, 7, 0], [7, 7, 0], level)[[0, 1], [0, 1]].tolist() == [0, 1]
    assert binomial_ends(0, 0, level).tolist() == [0, 1]


def test_shares_without_spread_have_exact_ends():
    ends = normal_ends([0.0, 1.0, 0.5, 0.2], [0.0, 0.0, 0.1, 0.3], [20, 20, 20, 0], 0.9)
    np.testing.assert_allclose(ends[:, :2], binomial_ends([0, 20], [20, 20], 0.9))
    np.testing.assert_allclose(ends[:, 2], [0.5 - 0.1644854, 0.5 + 0.1644854], atol=1e-6)
    assert ends[:, 3].tolist() == [0, 1]


def some_counts(samples=60):
    rng = np.random.default_rng(0)
    joint = rng.dirichlet(np.full(9, 0.7), samples)  # parts of one sample are alike
    return np.stack([rng.multinomial(rng.integers(0, 30), row) for row in joint]).reshape(-1, 3, 3)


def test_the_spread_is_that_of_a_ratio():
    counts = some_counts()
    spread = SpreadOverSamples(3)
    for block in np.split(counts, [1, 20]):
        spread.add(block)
    rate, entries = spread.errors()
    held = [one for one in counts if one.sum()]
    share = sum(one.sum() - one.trace() for one in held) / counts.sum()
    squares = sum((one.sum() - one.trace() - share * one.sum()) ** 2 for one in held)
    assert rate == pytest.approx((squares * len(held) / (len(held) - 1)) ** 0.5 / counts.sum())
    for given in range(3):
        for best in range(3):
            own = [one for one in counts if one[:, best].sum()]
            total = counts[:, :, best].sum()
            share = counts[:, given, best].sum() / total
            squares = sum((one[given, best] - share * one[:, best].sum()) ** 2 for one in own)
            expected = (squares * len(own) / (len(own) - 1)) ** 0.5 / total
            assert entries[best, given] == pytest.approx(expected)
            assert spread.holders[best] == len(own)


def test_the_spread_is_that_of_samples_drawn_anew():
    counts = some_counts()
    spread = SpreadOverSamples(3)
    spread.add(counts)
    rng = np.random.default_rng(1)
    drawn = counts[rng.integers(0, len(counts), (2000, len(counts)))].sum(1)
    rates = 1 - drawn.trace(axis1=1, axis2=2) / drawn.sum((1, 2))
    assert spread.errors()[0] == pytest.approx(rates.std(), rel=0.1)
    shares = drawn[:, 1, 2] / drawn[:, :, 2].sum(1)
    assert spread.errors()[1][2, 1] == pytest.approx(shares.std(), rel=0.1)
