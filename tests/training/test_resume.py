"""A run that dies and is resumed ends as one that was never interrupted, bit for bit."""

import os
import random
import signal
import time

import numpy as np
import pytest
import torch
from spawn import fork_server
from torch import nn
from torch.utils.data import Dataset

from noisycorrect import (
    RECIPES,
    AtCycleEnd,
    Classification,
    EveryStep,
    OneCosine,
    Progress,
    Schedule,
    SelfCorrector,
    SoftLabelStore,
)
from noisycorrect.classification.methods.targets import LabelSmoothing
from noisycorrect.support.checkpoint import load_checkpoint, save_checkpoint
from noisycorrect.support.errors import CheckpointError, InvalidInputError, RunInUseError, StoreError
from noisycorrect.support.locks import locked
from noisycorrect.training.averaging import RunningAverage
from noisycorrect.training.run import Run

COUNT, CLASSES, KILLS = 120, 4, 10
LONG = RECIPES["paper"].replace(schedule=Schedule(init_epochs=4, cycles=4, cycle_epochs=2))
SHORT = LONG.replace(schedule=Schedule(init_epochs=1, cycles=1, cycle_epochs=1))


class Augmented(Dataset):
    """Random inputs, jittered by numpy's and torch's global generators at every read."""

    def __init__(self, jitter=0.1):
        generator = torch.Generator().manual_seed(3)
        self.inputs = torch.randn(COUNT, 6, generator=generator)
        self.labels = torch.randint(CLASSES, (COUNT,), generator=generator)
        self.jitter = jitter

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        noise = torch.randn(6) + np.float32(np.random.normal())  # noqa: NPY002
        return self.inputs[index] + self.jitter * noise, int(self.labels[index])


def network(width=16):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, CLASSES)
        )


def fit(run_dir, resume="auto", model=None, data=None, **settings):
    torch.set_num_threads(1)
    quiet = [Progress(enabled=False)]
    defaults = {"num_classes": CLASSES, "recipe": LONG, "lr": 0.1, "batch_size": 32, "callbacks": quiet}
    corrector = SelfCorrector(model or network(), **{**defaults, **settings}, run_dir=run_dir)
    return corrector.fit(data or Augmented(), canonical=Augmented(0), resume=resume)


def assert_same(result, reference):
    for name, value in reference.model.state_dict().items():
        assert torch.equal(result.model.state_dict()[name], value), name
    assert torch.equal(result.labels.refined(), reference.labels.refined())
    for one, other in zip(result.history, reference.history, strict=True):
        timeless = [{key: value for key, value in record.items() if key != "seconds"} for record in (one, other)]
        np.testing.assert_equal(*timeless)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("uninterrupted"))


def fit_when_ready(started, run_dir):
    started.set()
    fit(run_dir)


def test_killed_at_ten_random_moments(tmp_path, reference):
    context = fork_server()
    moments = random.Random(0)
    began = time.perf_counter()
    fit(tmp_path / "timed")
    longest = max(0.5, time.perf_counter() - began)  # of this machine, now
    kills, runs, died_after = 0, 0, set()
    while kills < KILLS or (len(died_after) < 5 and kills < 5 * KILLS):  # a busy machine gets nowhere between two
        run_dir = tmp_path / str(runs)
        started = context.Event()
        process = context.Process(target=fit_when_ready, args=(started, run_dir))
        process.start()
        assert started.wait(60)
        process.join(moments.uniform(0.01, longest))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
            checkpoint = run_dir / "checkpoint.pt"
            died_after.add((runs, load_checkpoint(checkpoint)["epoch"] if checkpoint.exists() else 0))
            continue
        assert process.exitcode == 0
        assert_same(fit(run_dir, resume=True), reference)
        runs += 1
    assert_same(fit(tmp_path / str(runs)), reference)
    assert len(died_after) >= 5, "the kills should have struck at different epochs"


STEPS = {
    "average": (RunningAverage, "at_cycle_end"),
    "recalibrate": (Run, "recalibrate"),
    "refine": (AtCycleEnd, "at_cycle_end"),
    "record": (Run, "record"),
    "restart": (RunningAverage, "restart"),
    "save": (Run, "save"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("turn", [1, 3])
def test_dying_before_or_after_any_step_of_a_cycle_changes_nothing(tmp_path, monkeypatch, reference, step, when, turn):
    owner, name = STEPS[step]
    original, calls = getattr(owner, name), []

    def dying(self, *args, **more):
        calls.append(1)
        if len(calls) == turn and when == "before":
            raise KeyboardInterrupt
        found = original(self, *args, **more)
        if len(calls) == turn:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(owner, name, dying)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path)
    monkeypatch.undo()
    assert_same(fit(tmp_path), reference)


def test_workers_change_nothing(tmp_path, reference):
    assert_same(fit(tmp_path, num_workers=2), reference)


def test_a_finished_run_is_returned_again(tmp_path, reference):
    fit(tmp_path)
    assert_same(fit(tmp_path, resume=True), reference)


def test_resume_says_what_it_wants(tmp_path):
    with pytest.raises(CheckpointError, match=r"a checkpoint in .*; got none"):
        fit(tmp_path, resume=True)
    fit(tmp_path, recipe=SHORT)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*; got one of an earlier run"):
        fit(tmp_path, resume=False)
    with pytest.raises(CheckpointError, match=r"schedule={'init_epochs': 1.*as in the run that is to be resumed"):
        fit(tmp_path)
    with pytest.raises(CheckpointError, match=r"seed=0, as in the run.*; got 1"):
        fit(tmp_path, recipe=SHORT, seed=1)
    with pytest.raises(CheckpointError, match=r"optimizer=.SGD.*'momentum': 0.9.*; got .SGD.*'momentum': 0,"):
        fit(tmp_path, recipe=SHORT, optimizer=torch.optim.SGD)
    with pytest.raises(CheckpointError, match=r"clip_grad_norm=None, as in the run.*; got 1.0"):
        fit(tmp_path, recipe=SHORT.replace(clip_grad_norm=1.0))
    with pytest.raises(CheckpointError, match=r"average=.AtCycleEnds.*, as in the run.*; got .EveryStep\(decay=0.9,"):
        fit(tmp_path, recipe=SHORT.replace(average=EveryStep(0.9)))
    with pytest.raises(CheckpointError, match=r"correction={.*'trust': 'paper'.*, as in the run.*'class-balanced'"):
        fit(tmp_path, recipe=SHORT.replace(correction=AtCycleEnd(trust="class-balanced")))
    with pytest.raises(CheckpointError, match=r"rates='CosineCycles\(.*, as in the run.*; got 'OneCosine"):
        fit(tmp_path, recipe=SHORT.replace(rates=OneCosine()))
    with pytest.raises(CheckpointError, match=r"objective={'name': 'TaskLoss'}, as in the run.*'LabelSmoothing'"):
        fit(tmp_path, recipe=SHORT.replace(objective=LabelSmoothing()))
    with pytest.raises(CheckpointError, match=r"precision='None', as in the run.*; got 'torch.bfloat16'"):
        fit(tmp_path, recipe=SHORT, precision="bfloat16")
    with pytest.raises(CheckpointError, match=r"Linear\(in_features=6, out_features=16, .* at '0' of the network"):
        fit(tmp_path, recipe=SHORT, model=network(8))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_labels_of_another_data_set_are_refused(tmp_path):
    fit(tmp_path, recipe=SHORT)
    other = Augmented()
    other.labels = other.labels.flip(0)
    with pytest.raises(StoreError, match="fingerprint"):
        fit(tmp_path, recipe=SHORT, data=other)
    task = Classification(5, allow_empty_classes=True)
    with pytest.raises(StoreError, match=r"a label store of 5 classes .*; got one of 4"):
        fit(tmp_path, recipe=SHORT, num_classes=None, task=task)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "pickle", "version"])
def test_damaged_or_untrusted_checkpoints_are_refused_and_kept(tmp_path, damage):
    fit(tmp_path, recipe=SHORT)
    path = tmp_path / "checkpoint.pt"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("no checkpoint")
    elif damage == "pickle":
        torch.save({"format": "noisycorrect-checkpoint", "version": 1, "code": fit}, path)
    else:
        save_checkpoint(path, {**load_checkpoint(path), "version": 99})
    (tmp_path / "checkpoint.previous.pt").unlink(missing_ok=True)
    content = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"expected .*; got .*; to fix: "):
        fit(tmp_path, recipe=SHORT)
    assert path.read_bytes() == content


def test_labels_without_their_checkpoint_are_kept(tmp_path):
    fit(tmp_path)
    (tmp_path / "checkpoint.pt").unlink()
    (tmp_path / "checkpoint.previous.pt").unlink()
    before = {path.name: path.read_bytes() for path in (tmp_path / "labels").iterdir()}
    with pytest.raises(CheckpointError, match="none, and labels of generation 4.*the labels are untouched"):
        fit(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "labels").iterdir()} == before


def test_a_run_that_died_before_its_first_checkpoint_may_have_new_settings(tmp_path, monkeypatch):
    def dying(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "next_epoch", dying)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path)
    monkeypatch.undo()
    (tmp_path / ".checkpoint.pt.1-0123abcd.part").write_bytes(b"left by a kill")
    (tmp_path / ".thesis.tex.part").write_bytes(b"somebody else's")
    result = fit(tmp_path, recipe=LONG.replace(correction=AtCycleEnd(momentum=0.7, keep=None)), resume=False)
    assert result.labels.generations == (0, 1, 2, 3, 4)
    assert [path.name for path in tmp_path.glob(".*.part")] == [".thesis.tex.part"]


def test_labels_that_are_made_anew_may_be_killed_anywhere(tmp_path, monkeypatch):
    """Without a checkpoint the labels are removed and made again; a kill in between leaves nothing that is half."""

    def dying(self, *args, **kwargs):
        raise KeyboardInterrupt

    for killed in ("next_epoch", "rmtree"):
        with monkeypatch.context() as patched:
            patched.setattr(Run, "next_epoch", dying)
            if killed == "rmtree":
                patched.setattr("shutil.rmtree", lambda folder: (folder / "given.h5").unlink() or dying(None))
            with pytest.raises(KeyboardInterrupt):
                fit(tmp_path, recipe=SHORT)
    assert not (tmp_path / "labels" / "given.h5").exists()
    assert fit(tmp_path, recipe=SHORT).labels.generation == 1


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match=r"run_dir to be a folder that can be written.*to fix"):
        fit(tmp_path / "file")
    with pytest.raises(CheckpointError, match="check the path"):
        fit(tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()


def test_two_processes_on_one_folder(tmp_path):
    with locked(tmp_path), pytest.raises(RunInUseError, match=f"a lock held by process {os.getpid()}"):
        fit(tmp_path)


def test_generations_stay_by_choice(tmp_path):
    fit(tmp_path / "two")
    fit(tmp_path / "all", recipe=LONG.replace(correction=AtCycleEnd(keep=None)))
    assert SoftLabelStore.open(tmp_path / "two" / "labels").generations == (0, 3, 4)
    assert SoftLabelStore.open(tmp_path / "all" / "labels").generations == (0, 1, 2, 3, 4)


def test_how_many_generations_stay_may_change_on_resume(tmp_path, monkeypatch):
    original, calls = Run.record, []

    def dying(self, *args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        original(self, *args)

    monkeypatch.setattr(Run, "record", dying)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path)
    monkeypatch.undo()
    resumed = fit(tmp_path, recipe=LONG.replace(correction=AtCycleEnd(keep=None)))
    assert resumed.labels.generations == (0, 2, 3, 4)
