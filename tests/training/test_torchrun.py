"""What torchrun starts: hosts that meet, a rank that is killed, and the run that goes on."""

from __future__ import annotations

import os
import pickle
import signal
import socket
from pathlib import Path

import torch
import torch.distributed as dist
from spawn import fork_server
from tiny_runs import QUIET, SHORT, blobs
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from noisycorrect import Callback, SelfCorrector
from noisycorrect.support import distributed

HOSTS = 2


class KilledOnce(Callback):
    """Kills rank 1 in the third epoch of its first attempt, as a machine that goes down."""

    def on_batch_end(self, run, batch):
        first = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if first and run.epoch == 2 and distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def plain() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Linear(4, 3)


def fit(folder: Path):
    inputs, labels, _ = blobs(60)
    corrector = SelfCorrector(plain(), num_classes=3, recipe=SHORT, run_dir=folder, callbacks=[QUIET, KilledOnce()])
    return corrector.fit((inputs, labels))


def script(folder: Path) -> None:
    """What a user's script does under torchrun."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    result = fit(folder / "run")
    attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    weights = {name: value.numpy() for name, value in result.model.state_dict().items()}
    found = attempt, dist.get_world_size(), weights, result.labels.refined().numpy()
    (folder / f"result-{dist.get_rank()}").write_bytes(pickle.dumps(found))
    dist.destroy_process_group()


def host(number: int, port: int, folder: Path) -> None:
    """Be one host: an agent of torchrun's with one rank."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # docs/cluster.md says why
    config = LaunchConfig(
        min_nodes=HOSTS, max_nodes=HOSTS, nproc_per_node=1, run_id="a run", max_restarts=2, start_method="fork",
        rdzv_backend="c10d", rdzv_endpoint=f"127.0.0.1:{port}", local_addr="127.0.0.1",
        rdzv_configs={"is_host": number == 0}, monitor_interval=0.1,
    )  # fmt: skip
    elastic_launch(config, script)(folder)


def test_a_run_on_two_hosts_goes_on_after_a_rank_was_killed(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hosts = [fork_server().Process(target=host, args=(number, port, tmp_path)) for number in range(HOSTS)]
    for each in hosts:
        each.start()
    for each in hosts:
        each.join(120)
    ended = [each.exitcode for each in hosts]
    for each in hosts:
        each.kill()
    assert ended == [0] * HOSTS, f"the hosts did not come to an end: {ended}"
    alone = fit(tmp_path / "alone")
    results = [pickle.loads((tmp_path / f"result-{rank}").read_bytes()) for rank in range(HOSTS)]
    assert max(attempt for attempt, *_ in results) == 1  # a host whose own rank was stopped by torchrun counts none
    for _, size, weights, labels in results:
        assert size == HOSTS
        for name, value in alone.model.state_dict().items():
            torch.testing.assert_close(torch.from_numpy(weights[name]), value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(torch.from_numpy(labels), alone.labels.refined(), rtol=0, atol=1e-4)
