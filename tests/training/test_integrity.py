"""Damaged, exchanged and older files of a run: found, named, and the run can go back; files and signals beside it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import CLASSES, SHORT, AfterEpoch, assert_equal_runs, blobs, corrector, network, weights
from torch import nn
from torch.nn import functional as F

from benchmarks.soaks.children import run as run_child
from noisycorrect import CorrectionResult, SoftLabelStore
from noisycorrect.cli import main
from noisycorrect.saved.check import check_folder
from noisycorrect.support.errors import CheckpointError, NoisyCorrectError, StoreError
from noisycorrect.support.locks import NoLocksWarning

DATA = blobs(60)[:2]


def fit(run_dir, resume="auto", **more):
    return corrector(run_dir=run_dir, **more).fit(DATA, resume=resume)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    result = fit(folder / "one")
    fit(folder / "two")
    return folder, result


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished[0] / "one", tmp_path / "run")
    return tmp_path / "run"


def flip(path: Path, place: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("checkpoint.pt", CheckpointError, r"checkpoint\.pt; got bytes that the digest at its end does not fit"),
        ("labels/generation-0002.h5", StoreError, r"generation-0002\.h5; got (bytes that|what) its digest"),
        ("labels/given.h5", StoreError, r"given\.h5; got (bytes that|what) its digest"),
    ],
)
def test_a_flipped_bit_is_found_and_the_run_goes_back_when_it_is_told_to(finished, run, name, error, message):
    for place in (0.2, 0.999):
        flip(run / name, place)
        with pytest.raises(error, match=rf"{message}.*; to fix: .*resume=.last-whole"):
            fit(run)
        flip(run / name, place)
    assert check_folder(run).whole
    flip(run / name, 0.2)
    before = (run / name).read_bytes()
    with pytest.raises(error):
        CorrectionResult.load(run, network())
    found = check_folder(run)
    assert [finding.file for finding in found.findings if finding.state == "damaged"] == [name]
    assert "last-whole" in " ".join(found.advice)
    assert (run / name).read_bytes() == before  # nothing goes back by itself
    with pytest.warns(UserWarning, match="gone back to epoch|given labels written anew"):
        again = fit(run, "last-whole")
    assert_equal_runs(again, finished[1])
    assert check_folder(run).whole
    assert fit(run).history[-1]["epoch"] == 8


@pytest.mark.parametrize(
    "name", ["checkpoint.pt", "labels/generation-0002.h5", "labels/given.h5", "labels/manifest.json", "details.json"]
)
def test_a_file_of_another_run_with_the_same_labels(finished, run, name):
    shutil.copyfile(finished[0] / "two" / name, run / name)
    for read in (lambda: fit(run), lambda: CorrectionResult.load(run, network())):
        with pytest.raises(NoisyCorrectError, match=r"(run.*[0-9a-f]{16}|or is of another run).*; to fix: "):
            read()
    assert not check_folder(run).whole or name == "details.json"


def test_an_older_checkpoint_in_place_of_the_last(run, finished):
    shutil.copyfile(run / "checkpoint.previous.pt", run / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"the last checkpoint .*; got one after 2 cycles; history.json knows 3"):
        CorrectionResult.load(run, network())
    with pytest.raises(CheckpointError, match="delete history.json"):
        fit(run)
    (run / "history.json").unlink()  # as the message says
    assert_equal_runs(fit(run), finished[1])


def test_nothing_to_go_back_to_is_said(run):
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        flip(run / name)
    with pytest.raises(
        CheckpointError, match=r"that is whole; got .*checkpoint\.pt.*checkpoint\.previous\.pt.*; to fix"
    ):
        fit(run, "last-whole")
    assert "No checkpoint is whole" in " ".join(check_folder(run).advice)


def test_the_command_says_what_is_whole(run, capsys, tmp_path):
    assert main(["check", str(run)]) == 0
    assert "Everything is whole" in capsys.readouterr().out
    flip(run / "labels" / "generation-0001.h5")
    assert main(["check", str(run)]) == 1
    assert "damaged" in capsys.readouterr().out
    assert main(["check", str(tmp_path)]) == 1  # the folder of the run's folder
    assert main(["check", str(tmp_path / "nowhere")]) == 2


def test_a_failed_load_leaves_the_callers_model_alone(run):
    model = network()
    before = weights(model)
    flip(run / "labels" / "generation-0002.h5")
    with pytest.raises(StoreError):
        CorrectionResult.load(run, model)
    for name, value in weights(model).items():
        assert torch.equal(value, before[name])
    assert model.training


def test_a_failed_save_can_be_repeated(finished, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("noisycorrect.labels.store.shutil.copyfile", full)
    with pytest.raises(NoisyCorrectError, match="No space left"):
        finished[1].save(tmp_path / "saved")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    finished[1].save(tmp_path / "saved")
    assert_equal_runs(CorrectionResult.load(tmp_path / "saved", network()), finished[1])
    flip(tmp_path / "saved" / "history.json")
    with pytest.raises(CheckpointError, match=r"history\.json as it was saved"):
        CorrectionResult.load(tmp_path / "saved", network())


def test_the_history_is_whole_again_after_a_resume(run):
    whole = (run / "history.json").read_text()
    (run / "history.json").write_text("[]")  # as if it had died before it was written
    assert not check_folder(run).whole
    fit(run)
    assert (run / "history.json").read_text() == whole


class Activated(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.last(F.relu(self.first(x)))


class Edited(Activated):
    def forward(self, x):
        return self.last(F.gelu(self.first(x)))


Edited.__name__ = "Activated"  # as if its file had been edited


def test_another_activation_is_noticed(run, tmp_path):
    model = network()
    model[2] = nn.GELU()
    with pytest.raises(CheckpointError, match=r"ReLU\(\) at '2' of the network.*; got GELU"):
        fit(run, model=model)
    fit(tmp_path / "function", model=Activated())
    with pytest.raises(CheckpointError, match=r"Activated\(\) with relu at '' .*; got Activated\(\) with gelu"):
        fit(tmp_path / "function", model=Edited())


def test_a_relative_run_dir_survives_chdir(tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    moved = AfterEpoch(lambda run: os.chdir(tmp_path / "there"))
    result = fit("run", callbacks=[moved])
    assert result.labels.generation == 2
    assert (tmp_path / "here" / "run" / "checkpoint.pt").exists()
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path, monkeypatch, number):
    def flock(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(NoLocksWarning, match="expected a file system with locks; got .*; to fix: .*one process"):
        assert fit(tmp_path).labels.generation == 2


def test_a_second_writer_is_refused_and_breaks_nothing(tmp_path):
    store = SoftLabelStore.create(tmp_path / "labels", [0, 1], 2)

    def opened() -> None:
        SoftLabelStore.open(tmp_path / "labels", writable=True)

    with store.new_generation() as writer:
        assert f"a lock held by process {os.getpid()}; to fix: wait" in run_child(opened).error
        writer.write([0, 1], torch.tensor([[0.2, 0.8], [0.0, 1.0]]))
    assert SoftLabelStore.open(store.folder).generation == 1
    assert "a lock held" in run_child(lambda: store.rollback(0)).error  # nor may a fork of the writer write
    store.close()
    assert run_child(opened).state == "done"
    store.rollback(0)  # which takes the lock again
    assert "a lock held" in run_child(opened).error


SIGNALLED = """
import gc, os, signal, sys
from pathlib import Path
import numpy as np, torch
from noisycorrect import SoftLabelStore
import noisycorrect_seg
torch.set_num_threads(1)
gc.freeze()  # what is imported is no garbage, also when a child ends
signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started in the background ignores it
# Python itself loses an exception in the callback of a weak reference, which may run at any moment: one presses again.
lost = sys.__unraisablehook__
sys.unraisablehook = lambda what: None if what.exc_type is KeyboardInterrupt else lost(what)


def write(store, number, moments):
    probs = torch.rand(8, 3, 64, 48).softmax(1)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), number))
    for moment in range(moments):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.002 * moment, 0.5)
            while True:
                with store.new_generation() as writer:
                    for row in range(8):
                        writer.write([row], probs[[row]])
        except KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert not list(store.folder.glob(".*.part")), "left"
            store.refined(0)


for number, moments in ((signal.SIGINT, 16), (signal.SIGTERM, 1)):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        store = SoftLabelStore.create(None, [np.zeros((64, 48), np.uint8)] * 8, 3, kind="segmentation")
        os.write(writing, str(store.folder).encode())
        write(store, number, moments)
        sys.exit(0)  # in full, so that HDF5 closes whatever it has
    status = os.waitpid(child, 0)[1]
    print(os.waitstatus_to_exitcode(status), Path(os.read(reading, 4096).decode()).exists())
"""


def test_signals_while_masks_are_written():
    """KeyboardInterrupt and nothing else, and no crash at the end; SIGTERM ends as ever; temporary stores go."""
    done = subprocess.run(
        # Python can be interrupted between opening a file and the `with` that closes it: it is closed as it is lost.
        [sys.executable, "-W", "error", "-W", "ignore:unclosed file:ResourceWarning", "-c", SIGNALLED],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == ["0 False", f"{-signal.SIGTERM} False"]


def test_probabilities_are_exported_without_a_memory_map(finished, tmp_path):
    assert main(["export", str(finished[0] / "one"), str(tmp_path / "out"), "--probs"]) == 0
    found = np.load(tmp_path / "out" / "probs.npy")
    np.testing.assert_array_equal(found, finished[1].labels.refined().numpy())


def test_recipes_without_labels_keep_the_checkpoint_before(tmp_path):
    recipe = SHORT.replace(average=None, correction=None)
    result = fit(tmp_path, recipe=recipe)
    flip(tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="last-whole"):
        fit(tmp_path, recipe=recipe)
    with pytest.warns(UserWarning, match="gone back to epoch"):
        again = fit(tmp_path, "last-whole", recipe=recipe)
    assert_equal_runs(again, result)
