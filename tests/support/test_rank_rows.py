"""What a rank draws for its rows is what one process draws. What ranks exchange: tests/support/test_ranks.py."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, distributions

from noisycorrect.support.rank_rows import RankRows
from noisycorrect.support.rng import SeededReads, Stream, seeded

SIZE = 7
Draw = Callable[[Tensor], Tensor]
# Of a batch (B, 2); a draw for the whole batch has one row.
DRAWS: dict[str, Draw] = {
    "rand": lambda x: torch.rand(len(x), 3),
    "randn": lambda x: torch.randn((len(x), 2)),
    "size=": lambda x: torch.rand(size=(len(x),)),
    "randint(high)": lambda x: torch.randint(9, (len(x), 1)),
    "randint(low, high)": lambda x: torch.randint(3, 9, size=(len(x),)),
    "normal of numbers": lambda x: torch.normal(0.0, 1.0, (len(x), 2)),
    "normal of tensors": lambda x: torch.normal(x, 0.5),
    "in place": lambda x: torch.empty(len(x)).uniform_(2, 3),
    "like": torch.rand_like,
    "dropout": lambda x: F.dropout(x, 0.5),
    "a layer": torch.nn.Dropout(0.3),
    "bernoulli": lambda x: torch.bernoulli(torch.full((len(x),), 0.5)),
    "Beta": lambda x: distributions.Beta(torch.full((len(x),), 4.0), torch.full((len(x),), 2.0)).sample(),
    "Uniform": lambda x: distributions.Uniform(torch.zeros(len(x)), 1.0).sample(),
    "Bernoulli": lambda x: distributions.Bernoulli(0.4).sample((len(x),)),
    "one for all": lambda x: torch.rand(1),
    "no draw": lambda x: x + 1,
}


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("name", DRAWS)
def test_rows_get_the_numbers_of_one_process(name: str, ranks: int) -> None:
    inputs = torch.arange(2.0 * SIZE).reshape(SIZE, 2)

    def drawn(x: Tensor) -> tuple[Tensor, Tensor]:
        return DRAWS[name](x), torch.rand(len(x))  # the second tells whether as many numbers were used up

    with seeded(0, "a test"):
        whole = drawn(inputs)
    for rank in range(ranks):
        rows = RankRows(SIZE, rank, ranks)
        with seeded(0, "a test"), rows.draws():
            own = drawn(rows.of(inputs))
        for mine, all_rows in zip(own, whole, strict=True):
            assert torch.equal(mine, all_rows if len(all_rows) == 1 else rows.of(all_rows))


def test_a_sample_is_read_alike_with_whatever_it_is_read() -> None:
    def read(indices: list[int]) -> list[tuple[float, ...]]:
        # The first samples draw nothing: whether numbers are drawn at all is known late.
        return [
            (0.0,) if index < 3 else (random.random(), float(np.random.rand()), float(torch.rand(())))  # noqa: NPY002
            for index in indices
        ]

    reads = SeededReads(0, "a test")
    before = torch.get_rng_state()
    together = [*reads(read, [0, 1]), *reads(read, [2, 5, 8, 3])]
    assert torch.equal(torch.get_rng_state(), before)
    alone = {index: SeededReads(0, "a test")(read, [index])[0] for index in range(9)}
    assert together == [alone[index] for index in (0, 1, 2, 5, 8, 3)]
    assert len(set(alone.values())) == 7
    assert SeededReads(1, "a test")(read, [5])[0] != alone[5] != SeededReads(0, "a test")(read, [5], 1)[0]


def test_a_stream_goes_on_where_it_was_left() -> None:
    stream, drawn = Stream(0, "a test", 3), []
    for _ in range(2):
        with stream:
            drawn += [torch.rand(()).item(), random.random(), np.random.rand()]  # noqa: NPY002
        torch.rand(5)
    with seeded(0, "a test", 3):
        wanted = [draw() for _ in range(2) for draw in (lambda: torch.rand(()).item(), random.random, np.random.rand)]
    assert drawn == wanted
