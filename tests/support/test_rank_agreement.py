"""Ranks that differ, that fail and that die: who it was is said on every rank, within seconds."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from spawn import fork_server, run_processes
from tiny_runs import QUIET, SHORT, Kill, blobs, network
from torch import nn

from noisycorrect import Callback, SelfCorrector
from noisycorrect.support import distributed, ranks
from noisycorrect.support.rank_rows import RankRows
from noisycorrect.support.ranks import together


def said(function, *args, **settings) -> tuple[str, str, float]:
    """Return kind and message of the error that a call ends with, and after how many seconds."""
    began = time.monotonic()
    try:
        function(*args, **settings)
    except BaseException as error:
        return type(error).__name__, str(error), time.monotonic() - began
    return "", "", time.monotonic() - began


def fit(folder: Path, labels=None, *, count=60, model=None, recipe=SHORT, callbacks=(), train=None, **settings):
    inputs, given, _ = blobs(count)
    made = model or network(norm=False)
    corrector = SelfCorrector(
        made, num_classes=3, recipe=recipe, run_dir=folder, callbacks=[QUIET, *callbacks], **settings
    )
    return corrector.fit(train if train is not None else (inputs, given if labels is None else labels))


class Fails(Callback):
    """Raises after a batch of the second epoch, on one rank."""

    def on_batch_end(self, run, batch):
        if run.epoch == 1 and distributed.rank() == 1:
            raise ValueError("no picture at row 17")


class Missing(torch.utils.data.Dataset):
    """Whose file only one rank lacks."""

    def __len__(self) -> int:
        if distributed.rank() == 1:
            raise FileNotFoundError("crowd.csv")
        return 60

    def __getitem__(self, index):
        return torch.zeros(4), index % 3


def _rows() -> list[bool]:
    """Compare what ranks exchange with what one process has."""
    checks = []
    for size in (2, 5, 8):
        for views in (1, 2):
            whole = torch.arange(2 * views * size, dtype=torch.float64).reshape(views * size, 2)
            order = torch.randperm(views * size, generator=torch.Generator().manual_seed(size))
            rows = RankRows(size, distributed.rank(), distributed.world_size())
            own = rows.of(whole, views=views)
            checks.append(torch.equal(rows.exchanged(own, order, views=views), rows.of(whole[order], views=views)))
        checks.append(torch.equal(rows.gathered(rows.of(whole[:size] > 3)), whole[:size] > 3) and size > 1)
    weight = torch.tensor(2.0, requires_grad=True)
    total = rows.total(weight * (1 + rows.rank))
    total.backward()
    return [*checks, total.item() == 6.0, weight.grad.item() == 1 + rows.rank]


def _differ(folder: Path) -> dict[str, object]:
    rank = distributed.rank()
    _, given, _ = blobs(60)
    other = given.clone()
    other[17] = (other[17] + 1) % 3
    found: dict[str, object] = {
        "labels": said(fit, folder / "a", other if rank else given),
        "length": said(fit, folder / "a", count=60 + rank),
        "seed": said(fit, folder / "a", seed=rank),
        "batch": said(fit, folder / "a", batch_size=20 + rank),
        "folder": said(fit, folder / f"a{rank}"),
        "model": said(fit, folder / "a", model=nn.Linear(4, 3, bias=bool(rank))),
        "data": said(fit, folder / "a", train=Missing()),
        "same error": said(fit, None),
        "killed together": said(fit, folder / "b", callbacks=[Kill(1)]),
        "rows": _rows(),
    }
    found["works again"] = fit(folder / "c").history[-1]["epoch"]
    return found


DIFFERING = {
    "labels": "training labels",
    "length": "number of training samples",
    "seed": "seed",
    "batch": "batch_size",
    "folder": "run_dir",
    "model": "layers of the model",
}


@pytest.fixture(scope="module")
def differing(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Return what both ranks found: starting processes takes longer than all of it."""
    folder = tmp_path_factory.mktemp("ranks")
    return run_processes(_differ, 2, folder, folder)


def test_ranks_that_differ_say_who_has_what(differing: list[dict]) -> None:
    for found in differing:
        for name, what in DIFFERING.items():
            kind, message, seconds = found[name]
            assert kind == "InvalidInputError"
            assert message.startswith(f"expected the same {what} on all ranks; got ")
            assert " on rank 0; " in message
            assert " on rank 1" in message
            assert seconds < 20
        assert "60 on rank 0; 61 on rank 1" in found["length"][1]
        assert found["same error"][:2][0] == "InvalidInputError"
        assert found["killed together"][0] == "KeyboardInterrupt"
        assert found["works again"] == 8
        assert all(found["rows"])


def test_a_rank_whose_data_is_missing_ends_the_others_before_they_begin(differing: list[dict]) -> None:
    first, second = (found["data"] for found in differing)
    assert first[:2] == ("NoisyCorrectError", "rank 1 failed with FileNotFoundError: crowd.csv")
    assert second[:2] == ("FileNotFoundError", "crowd.csv")


def _fails(rank: int, folder: Path, how: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=(folder / how).resolve().as_uri(), rank=rank, world_size=2)
    ranks.GRACE = 1.0
    callbacks = [_Killed()] if how == "killed" else [Fails()]
    result = said(fit, folder / f"run-{how}", callbacks=callbacks)
    (folder / f"{how}-{rank}").write_text("\n".join(map(str, result)))
    if how == "lives on" and rank == 1:
        time.sleep(60)
    os._exit(3)


class _Killed(Callback):
    def on_batch_end(self, run, batch):
        if run.epoch == 1 and distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return what each rank says of each way to fail, and its exit code; all at once, as most of it is waiting."""
    folder, ways = tmp_path_factory.mktemp("failing"), ("fails", "killed", "lives on")
    started = {
        (how, rank): fork_server().Process(target=_fails, args=(rank, folder, how)) for how in ways for rank in (0, 1)
    }
    for process in started.values():
        process.start()
    for (_, rank), process in started.items():
        if rank == 0:  # it waits for the other, and must not for long
            process.join(60)
            assert not process.is_alive()
    for process in started.values():
        process.kill()
        process.join()
    found = {}
    for how in ways:
        files = [folder / f"{how}-{rank}" for rank in (0, 1)]
        said_so = [file.read_text() if file.exists() else "" for file in files]
        found[how] = [*said_so, str(started[how, 0].exitcode)]
    return found


def test_a_rank_that_fails_is_named_on_the_others(reports: dict[str, list[str]]) -> None:
    first, second, _ = reports["fails"]
    assert first.startswith("NoisyCorrectError\nrank 1 failed with ValueError: no picture at row 17\n")
    assert second.startswith("ValueError\nno picture at row 17\n")


def test_a_rank_that_is_killed_is_named_on_the_others(reports: dict[str, list[str]]) -> None:
    first = reports["killed"][0]
    assert first.startswith("NoisyCorrectError\nrank 1 ended without a word")


def test_a_rank_that_waits_for_one_that_lives_on_is_ended(reports: dict[str, list[str]]) -> None:
    first, second, code = reports["lives on"]
    assert (first, code) == ("", "1")  # no exception can reach it
    assert second.startswith("ValueError")


def test_alone_there_is_nothing_to_agree_on() -> None:
    with together() as alone:
        alone.agree({"seed": 0})
        alone.raise_failure()
    assert (alone.rank, alone.ranks) == (0, 1)
