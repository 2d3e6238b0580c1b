"""Label stores whose writer is killed, or whose disk fills up. One process imports torch, and forks the victims."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from makers import KINDS

HERE = Path(__file__).parent
COMMON = """
import gc, os, random, resource, signal, sys, time
from pathlib import Path
import torch
from makers import *
from noisycorrect.support.errors import StoreError
torch.set_num_threads(1)
gc.freeze()  # what is imported is no garbage, also when a victim ends
"""
KILL = """
def killed(kind, folder):
    rng, reached = random.Random(0), []
    store = make_store(folder / "labels", kind, keep=3)
    given = (store.folder / "given.h5").read_bytes()
    began = time.perf_counter()
    advance(store)
    step = time.perf_counter() - began  # of this machine, now
    store.close()
    for attempt in range(60):
        if attempt >= 12 and len(set(reached)) >= 5:
            break  # on a machine that is busy it takes more
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            victim = SoftLabelStore.open(store.folder, writable=True)
            os.write(writing, b"!")
            while True:
                advance(victim)
        os.read(reading, 1)
        time.sleep(rng.uniform(0, max(0.08, 4 * step)))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        os.close(reading), os.close(writing)
        opened = SoftLabelStore.open(store.folder, writable=attempt % 2 == 0)
        opened.close()
        reached.append(opened.generation)
        assert_whole(opened, opened.generation)
        for number in opened.generations[1:-1]:
            opened.evidence(generation=number)
        assert (store.folder / "given.h5").read_bytes() == given
    assert reached == sorted(reached) and reached[-1] > 0, reached
    opened = SoftLabelStore.open(store.folder, writable=True)
    advance(opened)
    assert_whole(SoftLabelStore.open(store.folder), reached[-1] + 1)
    print("survived", len(set(reached)), sorted(path.suffix for path in store.folder.iterdir()))
"""
# The limit on the size of a file stands for a full disk: a real error of a real write.
FULL = """
def refused_by_a_full_disk(kind, folder):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def refused(limit, attempt):
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            attempt()
        except StoreError as error:
            assert "to write" in str(error) and "File too large" in str(error) and "free space" in str(error), error
            names = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
            assert not [name for name in names if ".part" in name], names
            sys.exit(0)  # in full, so that HDF5 closes whatever it has
        sys.exit(f"{limit}: no error")

    store = make_store(folder / "labels", kind)
    advance(store)
    store.close()
    before = {path.name: path.read_bytes() for path in store.folder.iterdir() if path.name != "lock"}
    size = len(before["generation-0001.h5"])
    for limit in (0, size // 2, size - 1):
        assert refused(limit, lambda: advance(store)) == 0, limit
        after = {path.name: path.read_bytes() for path in store.folder.iterdir() if path.name != "lock"}
        assert after == before, limit
        assert_whole(store, 1)
    attempts = {"new": lambda: make_store(folder / "new", kind), "copy": lambda: store.export(folder / "copy")}
    for name, attempt in attempts.items():
        assert refused(len(before["given.h5"]) // 2, attempt) == 0, name
        left = sorted(path.name for path in (folder / name).iterdir()) if (folder / name).exists() else []
        assert left in ([], ["lock"]), left
        attempt()  # and can be repeated
    advance(store)
    assert_whole(SoftLabelStore.open(store.folder), 2)
    print("survived")
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return what both scripts print about each kind: one process runs them."""
    folder = tmp_path_factory.mktemp("crash")
    calls = [
        f"print({name!r}, end=' '); {name}({kind!r}, Path(sys.argv[1]) / {name!r} / {kind!r})"
        for name in ("killed", "refused_by_a_full_disk")
        for kind in KINDS
    ]
    done = subprocess.run(
        [sys.executable, "-u", "-W", "error", "-c", "\n".join([COMMON, KILL, FULL, *calls]), str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
    )
    assert done.stderr == ""
    assert done.returncode == 0
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, _, said = line.partition(" ")
        found.setdefault(name, []).append(said)
    return found


def test_kill_9_at_any_moment_leaves_a_whole_generation(printed: dict[str, list[str]]) -> None:
    lines = printed["killed"]
    assert len(lines) == len(KINDS)
    for line in lines:
        word, moments, *suffixes = line.split()
        assert word == "survived"
        assert int(moments) >= 5  # the kills did come at different generations
        assert "part" not in "".join(suffixes)


def test_a_full_disk_is_one_error_and_no_loss(printed: dict[str, list[str]]) -> None:
    assert printed["refused_by_a_full_disk"] == ["survived"] * len(KINDS)
