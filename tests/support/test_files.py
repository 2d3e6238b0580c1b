from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from spawn import fork_server, run_script

from noisycorrect.support import files
from noisycorrect.support.errors import RunInUseError
from noisycorrect.support.files import replace_atomically, write_json
from noisycorrect.support.locks import locked


def hold(folder: Path, pipe: Any) -> None:
    with locked(folder):
        worker = os.fork()  # as a DataLoader's: outlives the holder
        if worker == 0:
            time.sleep(60)
            os._exit(0)
        pipe.send(worker)
        time.sleep(60)


WRITER = """
import random, os, signal, sys, time
from pathlib import Path
from noisycorrect.support.files import replace_atomically
target, rng = Path(sys.argv[1]), random.Random(0)
for attempt in range(20):
    child = os.fork()
    if child == 0:
        for number in range(10**6):
            with replace_atomically(target) as temporary, temporary.open("wb") as file:
                for _ in range(64):
                    file.write(bytes([number % 256]) * 4096)
    while attempt == 0 and not target.exists():
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    content = target.read_bytes()
    assert len(content) == 64 * 4096 and len(set(content)) == 1, attempt
print("whole")
"""


def test_a_new_file_has_the_mode_of_an_ordinary_file(tmp_path: Path) -> None:
    with replace_atomically(tmp_path / "new") as temporary:
        temporary.write_text("new")
    (tmp_path / "plain").write_text("plain")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_the_old_file_stays_until_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with replace_atomically(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == tmp_path
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a"
    target.write_text("old")

    def write() -> None:
        with replace_atomically(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_failed_fsync_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    write_json(tmp_path / "a", 1)
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "a", 2)
    assert json.loads((tmp_path / "a").read_text()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_what_json_cannot_hold_is_refused_and_the_old_file_stays(tmp_path: Path, value: Any) -> None:
    write_json(tmp_path / "a", {"b": [1, None]})
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "a", value)
    assert json.loads((tmp_path / "a").read_text()) == {"b": [1, None]}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_kill_9_leaves_one_whole_version(tmp_path: Path) -> None:
    done = run_script(WRITER, str(tmp_path / "a"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole\n", "")


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    ours, theirs = fork_server().Pipe()
    holder = fork_server().Process(target=hold, args=(tmp_path, theirs))
    holder.start()
    assert ours.poll(60)
    worker = ours.recv()
    try:
        with (
            pytest.raises(RunInUseError, match=f"a lock held by process {holder.pid}; to fix: wait"),
            locked(tmp_path),
        ):
            pytest.fail("two processes hold the lock")
        holder.kill()
        holder.join()
        began = time.monotonic()
        with locked(tmp_path):  # although the worker lives on
            assert (tmp_path / "lock").read_text() == str(os.getpid())
        assert time.monotonic() - began < 1
    finally:
        holder.kill()
        os.kill(worker, signal.SIGKILL)


def test_the_lock_ends_with_the_block_even_on_an_exception(tmp_path: Path) -> None:
    def hold() -> None:
        with locked(tmp_path):
            with pytest.raises(RunInUseError, match=str(os.getpid())), locked(tmp_path):
                pytest.fail("held twice")
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            hold()
