from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spawn import run_processes

from noisycorrect.support import distributed
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError


def test_alone_every_helper_answers_for_one_process() -> None:
    tensor = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    total = distributed.all_reduce_sum(tensor)
    assert total is not tensor
    assert total.data_ptr() != tensor.data_ptr()
    assert total.dtype == torch.float64
    assert not total.requires_grad
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    distributed.barrier()
    assert distributed.all_gather_objects("a") == ["a"]
    assert distributed.shard(3) == range(3)


def test_alone_gather_results_lets_the_error_through() -> None:
    with pytest.raises(ZeroDivisionError):
        distributed.gather_results(lambda: 1 // 0)


@given(length=st.integers(0, 10_000), size=st.integers(1, 64))
def test_shards_are_a_partition_into_nearly_equal_parts(length: int, size: int) -> None:
    shards = [distributed.shard(length, rank, size) for rank in range(size)]
    assert [index for part in shards for index in part] == list(range(length))
    sizes = [len(part) for part in shards]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((-1, 0, 1), "a length of 0 or more; got -1"),
        ((2.0, 0, 1), "a length of 0 or more; got 2.0"),
        ((5, 2, 2), r"rank in 0\.\.1; got 2"),
        ((5, -1, 2), r"rank in 0\.\.1; got -1"),
        ((5, 0, 0), "a world_size of 1 or more; got 0"),
        ((5, 0, True), "a world_size of 1 or more; got True"),
    ],
)
def test_shard_refuses(args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        distributed.shard(*args)


def _use_everything() -> dict[str, Any]:
    rank = distributed.rank()
    tiny = torch.tensor([1.0 + rank * 2.0**-50], dtype=torch.float64)
    total = distributed.all_reduce_sum(tiny)
    transposed = distributed.all_reduce_sum(torch.arange(6).reshape(2, 3).T)

    def work() -> int:
        if rank == 1:
            raise ValueError("no file here")
        return rank

    try:
        distributed.gather_results(work)
        failure = ""
    except (ValueError, NoisyCorrectError) as error:
        failure = f"{type(error).__name__}: {error}"
    distributed.barrier()
    return {
        "size": distributed.world_size(),
        "main": distributed.is_main(),
        "unchanged": tiny.item() == 1.0 + rank * 2.0**-50,
        "total": total.item(),
        "transposed": transposed.tolist(),
        "gathered": distributed.all_gather_objects({"rank": rank}),
        "shard": list(distributed.shard(5)),
        "results": distributed.gather_results(lambda: rank * 10),
        "failure": failure,
    }


def test_two_processes_agree(tmp_path: Path) -> None:
    first, second = run_processes(_use_everything, 2, tmp_path)
    assert (first["main"], second["main"]) == (True, False)
    assert (first["shard"], second["shard"]) == ([0, 1], [2, 3, 4])
    assert first["failure"] == "NoisyCorrectError: rank 1 failed with ValueError: no file here"
    assert second["failure"] == "ValueError: no file here"
    for report in (first, second):
        assert report["size"] == 2
        assert report["unchanged"]
        assert report["total"] == 2.0 + 2.0**-50
        assert report["transposed"] == [[0, 6], [2, 8], [4, 10]]
        assert report["gathered"] == [{"rank": 0}, {"rank": 1}]
        assert report["results"] == [0, 10]


def _fail_on_rank_one() -> None:
    if distributed.rank() == 1:
        raise ValueError("broken on purpose")


def _sleep() -> None:
    time.sleep(60)


def test_spawn_surfaces_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^error-1: [^$]*ValueError: broken on purpose"):
        run_processes(_fail_on_rank_one, 2, tmp_path)


def test_spawn_ends_what_takes_too_long(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="_sleep in 1 processes"):
        run_processes(_sleep, 1, tmp_path, timeout=1.0)
