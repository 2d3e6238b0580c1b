"""What every callback must do, and what each of the ready ones is for; a new one joins by an entry in MAKERS."""

from __future__ import annotations

import contextlib
import copy
import csv
import inspect
import io
import math
import pickle
import random
import re
import sys
import types

import numpy as np
import pytest
import torch
from rich.console import Console
from spawn import run_processes
from torch import nn
from watching import QUIET, AfterEpoch, Kill

import noisycorrect.callbacks
from noisycorrect import (
    RECIPES,
    Callback,
    CSVLog,
    EarlyStopping,
    Progress,
    RecordLog,
    Schedule,
    SelfCorrector,
    TensorBoard,
)
from noisycorrect.callbacks import Callbacks
from noisycorrect.data.standardize import Standardized
from noisycorrect.support.errors import InvalidInputError

COUNT = 24
HOOKS = ("on_fit_begin", "on_batch_end", "on_epoch_end", "on_cycle_end", "on_checkpoint", "on_fit_end")
PAPER = RECIPES["paper"].replace(schedule=Schedule(init_epochs=2, cycles=2, cycle_epochs=1))
RUNS = {"paper": PAPER} | {name: RECIPES[name] for name in ("robust", "ce", "ema", "swa")}


class Writer:
    """Stands in for TensorBoard's SummaryWriter."""

    made: list[Writer] = []  # noqa: RUF012 - emptied for every test

    def __init__(self, folder, purge_step=None):
        self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, {}, False
        self.made.append(self)

    def add_scalar(self, name, value, step):
        assert not self.closed
        self.scalars.setdefault(name, []).append((step, value))

    def close(self):
        self.closed = True


def stand_in():
    """Return a module that stands in for torch.utils.tensorboard."""
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    Writer.made.clear()
    return module


@pytest.fixture(autouse=True)
def _tensorboard(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in())


class Counting(Callback):
    """A callback of the user's own, with state."""

    def __init__(self):
        self.batches = 0

    def on_fit_begin(self, run):
        if not run.epoch:
            self.batches = 0

    def on_batch_end(self, run, batch):
        self.batches += 1

    def state_dict(self):
        return {"batches": self.batches}

    def load_state_dict(self, state):
        self.batches = state["batches"]


MAKERS = {
    "progress": lambda folder: Progress(),
    "quiet": lambda folder: Progress(enabled=False),
    "early stopping": lambda folder: EarlyStopping("val_nll", patience=99),
    "table": lambda folder: CSVLog(folder / "log.csv"),
    "tensorboard": lambda folder: TensorBoard(folder / "board"),
    "records": lambda folder: RecordLog(print),
    "several": lambda folder: Callbacks([Counting(), EarlyStopping(patience=99), Counting(), CSVLog(folder / "s.csv")]),
    "own": lambda folder: Counting(),
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def data():
    labels = torch.arange(COUNT) % 2
    inputs = torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(0)) + labels[:, None]
    return inputs, torch.where(torch.arange(COUNT) % 7 == 0, 1 - labels, labels)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def fit(*callbacks, recipe=PAPER, val=True, run_dir=None, shown=False):
    """Return the result of a run of four epochs of three batches."""
    quiet = () if shown else (QUIET,)
    corrector = SelfCorrector(
        network(), num_classes=2, recipe=recipe, epochs=4, lr=0.05, batch_size=8, seed=2, run_dir=run_dir,
        callbacks=[*quiet, *callbacks],
    )  # fmt: skip
    return corrector.fit(data(), data() if val else None)


def history_of(result):
    """Return the history as values that compare: without times, NaN as None."""
    return [
        {name: None if math.isnan(value) else value for name, value in record.items() if name != "seconds"}
        for record in result.history
    ]


def outcome(result):
    """Return all that a run comes to, as values that compare."""
    weights = {name: value.tolist() for name, value in result.model.state_dict().items()}
    labels = result.labels.refined().tolist(), result.labels.generation
    return weights, labels, history_of(result), result.sample_passes


def comparable(state):
    """Return a state without times and NaN."""
    return re.sub(r"nan|'seconds': [\d.e-]+", "", repr(state))


# ---------------------------------------------------------------- what every callback does


def test_every_callback_is_under_contract(tmp_path):
    ready = {kind for _, kind in inspect.getmembers(noisycorrect.callbacks, inspect.isclass)}
    ready = {kind for kind in ready if issubclass(kind, Callback) and kind is not Callback}
    assert ready <= {type(make(tmp_path)) for make in MAKERS.values()}


@every
@pytest.mark.parametrize("name", ["paper", "ce"])
def test_its_hooks_are_called_in_order(make, name, tmp_path):
    callback, called = make(tmp_path), []

    def noted(hook, method):
        def call(run, *batch):
            called.append((hook, run.epoch))
            assert [len(item) for item in batch] == [8] * (hook == "on_batch_end")
            method(run, *batch)

        return call

    for hook in HOOKS:
        setattr(callback, hook, noted(hook, getattr(callback, hook)))
    fit(callback, recipe=RUNS[name])
    expected, ends = [("on_fit_begin", 0)], {"paper": (2, 3, 4), "ce": (4,)}[name]
    for epoch in (1, 2, 3, 4):
        expected += [("on_batch_end", epoch - 1)] * 3 + [("on_epoch_end", epoch)]
        expected += [("on_cycle_end", epoch)] * (epoch in ends) + [("on_checkpoint", epoch)]
    assert called == [*expected, ("on_fit_end", 4)]


@every
@pytest.mark.parametrize("name", ["paper", "robust"])
def test_it_only_looks(make, name, tmp_path):
    state = torch.random.get_rng_state()
    assert outcome(fit(make(tmp_path), recipe=RUNS[name])) == outcome(fit(recipe=RUNS[name]))
    assert torch.equal(torch.random.get_rng_state(), state)


@every
def test_its_state_survives_a_kill(make, tmp_path):
    whole = make(tmp_path)
    alone = fit(whole)
    with pytest.raises(KeyboardInterrupt):
        fit(make(tmp_path), Kill(3), run_dir=tmp_path / "run")
    resumed = make(tmp_path)
    assert outcome(fit(resumed, run_dir=tmp_path / "run")) == outcome(alone)
    assert comparable(resumed.state_dict()) == comparable(whole.state_dict())
    again = make(tmp_path)
    fit(again, run_dir=tmp_path / "run")  # finished before
    assert comparable(again.state_dict()) == comparable(whole.state_dict())


@every
def test_it_starts_afresh_with_a_new_run(make, tmp_path):
    callback = make(tmp_path)
    fit(callback)
    state = comparable(callback.state_dict())
    fit(callback)
    assert comparable(callback.state_dict()) == state


@every
def test_it_can_be_copied_and_pickled(make, tmp_path):
    callback = make(tmp_path)
    for _ in ("before a run", "after it"):
        for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
            assert type(other) is type(callback)
            assert comparable(other.state_dict()) == comparable(callback.state_dict())
        fit(callback)
    assert outcome(fit(copy.deepcopy(callback))) == outcome(fit())


def one_rank(folder):
    """Run every callback, and return what each has shown, and the files that are there."""
    from noisycorrect.support import distributed

    sys.modules["torch.utils.tensorboard"] = stand_in()
    own = folder / f"rank {distributed.rank()}"
    own.mkdir()
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        made = [make(own) for name, make in MAKERS.items() if name != "quiet"]
        result = fit(*made, run_dir=folder / "run", shown=True)
    return shown.getvalue(), sorted(path.name for path in own.iterdir()), len(Writer.made), history_of(result)


def test_other_ranks_are_quiet(tmp_path):
    (shown, files, writers, history), other = run_processes(one_rank, 2, tmp_path, tmp_path)
    assert "epoch 4/4: loss" in shown
    assert files == ["log.csv", "s.csv"]
    assert writers == 1
    assert other == ("", [], 0, history)


def test_an_error_still_ends_every_callback(tmp_path):
    class Fails(Callback):
        def on_epoch_end(self, run):
            raise ValueError("theirs")

    ended, shown = [], io.StringIO()

    class Ends(Callback):
        def on_fit_end(self, run):
            ended.append(run.epoch)

    bar = Progress(console=Console(file=shown, force_terminal=True))
    with pytest.raises(ValueError, match="theirs"):
        fit(bar, TensorBoard(tmp_path), Fails(), Ends(), shown=True)
    assert ended == [1]
    assert Writer.made[0].closed
    assert shown.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is there again
    with pytest.raises(InvalidInputError, match="a metric"):
        fit(bar, EarlyStopping("val_acuracy"), shown=True)
    assert shown.getvalue().rstrip().endswith("\x1b[?25h")


@pytest.mark.parametrize(
    ("callbacks", "got"),
    [
        ([EarlyStopping], "the class EarlyStopping"),
        ([QUIET, print], "built-in function print"),
        (["early"], "'early'"),
        ("early", "'early'"),
        (EarlyStopping(), "EarlyStopping object"),
        (EarlyStopping, "the class EarlyStopping"),
        (None, "None"),
    ],
)
def test_what_is_no_list_of_callbacks_is_refused(callbacks, got):
    expected = rf"expected callbacks to be a list of Callback objects; got .*{got}.*; to fix: pass objects in a list"
    with pytest.raises(InvalidInputError, match=expected):
        SelfCorrector(network(), num_classes=2, callbacks=callbacks)


def test_any_iterable_of_callbacks_will_do():
    seen = []
    SelfCorrector(
        network(), num_classes=2, recipe="ce", epochs=1, callbacks=iter([QUIET, AfterEpoch(lambda run: seen.append(1))])
    ).fit(data())
    assert seen == [1]


# ---------------------------------------------------------------- stopping


class StopAt(Callback):
    """Stops a run in a hook, after so many epochs."""

    def __init__(self, hook, epoch, rank=None):
        self.epoch, self.rank = epoch, rank
        setattr(self, hook, self.stop)

    def stop(self, run, batch=None):
        from noisycorrect.support import distributed

        if run.epoch == self.epoch and self.rank in (None, distributed.rank()):
            run.stop()


@pytest.mark.parametrize(
    ("hook", "epoch", "end"),
    [
        ("on_fit_begin", 0, 1),
        ("on_batch_end", 1, 2),
        ("on_epoch_end", 1, 1),
        ("on_epoch_end", 3, 3),
        ("on_checkpoint", 1, 2),
        ("on_fit_end", 4, 4),
    ],
)
@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_whole_wherever_it_is_stopped(name, hook, epoch, end, tmp_path):
    recipe = RUNS[name]
    result = fit(StopAt(hook, epoch), recipe=recipe, run_dir=tmp_path)
    check_whole(result, recipe, end, tmp_path)


@pytest.mark.parametrize(("name", "epoch"), [("paper", 2), ("paper", 3), ("robust", 1), ("robust", 2), ("swa", 3)])
def test_a_stop_after_a_cycle_is_one_after_its_last_epoch(name, epoch, tmp_path):
    recipe = RUNS[name]
    for val in (True, False):
        folder = tmp_path / str(val)
        stopped = fit(StopAt("on_cycle_end", epoch), recipe=recipe, val=val, run_dir=folder)
        before = fit(StopAt("on_epoch_end", epoch), recipe=recipe, val=val)
        assert outcome(stopped) == outcome(before)
        check_whole(stopped, recipe, epoch, folder, val)


def check_whole(result, recipe, epoch, run_dir, val=True):
    """Check model, labels and history of a run that ended with an epoch, and that nothing is left to train."""
    passes = recipe.passes(COUNT, epochs=4, done=epoch, stopped=epoch < 4, vectors=True, validated=val)
    assert result.history[-1]["epoch"] == epoch
    assert result.sample_passes == result.history[-1]["sample_passes"] == passes
    assert not result.model.training
    if recipe.average is not None:  # statistics of the very weights that are returned
        standardized = isinstance(result.model, Standardized)
        network = result.model.network if standardized else result.model
        layer = network[0](result.model.standardize(data()[0]) if standardized else data()[0])
        torch.testing.assert_close(network[1].running_mean, layer.mean(0).detach(), rtol=1e-4, atol=1e-5)
    assert (result.labels.generation > 0) == (recipe is RUNS["robust"] or (recipe is PAPER and epoch > 2))
    if val:
        correct = (result.model(data()[0]).argmax(1) == data()[1]).float().mean()
        assert result.history[-1]["val_accuracy"] == pytest.approx(correct.item())
    epochs = []
    again = fit(AfterEpoch(lambda run: epochs.append(run.epoch)), recipe=recipe, val=val, run_dir=run_dir)
    assert epochs == []
    assert outcome(again) == outcome(result)


def stopped_on_one_rank(folder, hook, epoch):
    result = fit(StopAt(hook, epoch, rank=1), run_dir=folder / hook)
    return history_of(result), result.sample_passes, result.labels.generation


@pytest.mark.parametrize(("hook", "epoch"), [("on_epoch_end", 1), ("on_cycle_end", 3)])
def test_two_ranks_stop_together(hook, epoch, tmp_path):
    one, other = run_processes(stopped_on_one_rank, 2, tmp_path, tmp_path, hook, epoch)
    assert one == other
    assert one[0][-1]["epoch"] == epoch


# ---------------------------------------------------------------- early stopping


@pytest.mark.parametrize(("name", "epoch"), [("paper", 3), ("robust", 2), ("ce", 2), ("ema", 2), ("swa", 4)])
def test_early_stopping_ends_a_run_that_gets_no_better(name, epoch, tmp_path):
    stopping = EarlyStopping("val_nll", patience=1, min_delta=9.0)
    result = fit(stopping, recipe=RUNS[name], run_dir=tmp_path)
    check_whole(result, RUNS[name], epoch, tmp_path)
    assert stopping.waited == 1


def test_early_stopping_waits_and_forgets_when_it_gets_better(monkeypatch):
    values = iter([0.0, 0.5, 0.4, 0.3, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4])  # the first is looked at before training
    monkeypatch.setattr("noisycorrect.training.run.Run.validate", lambda run: {"val_accuracy": next(values)})
    epochs = []
    stopping = EarlyStopping("val_accuracy", patience=3)
    corrector = SelfCorrector(
        network(), num_classes=2, recipe="ce", epochs=20, callbacks=[QUIET, stopping, AfterEpoch(epochs.append)]
    )
    corrector.fit(data())
    assert len(epochs) == 7
    assert (stopping.best, stopping.waited) == (0.9, 3)


@pytest.mark.parametrize(("metric", "best"), [("val_nll", -2), ("val_loss", -2), ("val_accuracy", 5)])
def test_losses_get_better_downwards(metric, best, monkeypatch):
    values = iter([1, 3, 2, 5, 4, 4])  # before training, after four epochs, for the record
    monkeypatch.setattr("noisycorrect.training.run.Run.validate", lambda run: {metric: next(values)})
    stopping = EarlyStopping(metric, patience=9)
    fit(stopping, recipe=RUNS["ce"], val=False)
    assert stopping.best == best


def test_the_loss_of_training_can_be_what_gets_better():
    losses = []
    stopping = EarlyStopping("loss", patience=9)
    fit(stopping, AfterEpoch(lambda run: losses.append(run.loss)), recipe=RUNS["ce"], val=False)
    assert stopping.best == -min(losses)


def test_of_the_paper_the_average_is_measured_once_a_cycle():
    seen = []

    class Noted(EarlyStopping):
        def _look(self, run, scores):
            seen.append((run.epoch, scores["val_accuracy"]))
            super()._look(run, scores)

    result = fit(Noted(patience=9))
    assert seen == [(record["epoch"], record["val_accuracy"]) for record in result.history]
    assert [epoch for epoch, _ in seen] == [2, 3, 4]


def test_what_cannot_be_measured_is_refused_before_training():
    epochs = []
    note = AfterEpoch(lambda run: epochs.append(run.epoch))
    with pytest.raises(InvalidInputError, match=r"one of cycle, epoch, loss, lr; got 'val_nll'; to fix: pass val= to"):
        fit(EarlyStopping("val_nll"), note, val=False)
    with pytest.raises(InvalidInputError, match=r"val_accuracy, .*; got 'val_acuracy'; to fix: pass one of them"):
        fit(EarlyStopping("val_acuracy"), note)
    assert epochs == []
    for wrong in ({"patience": 0}, {"patience": 1.5}, {"min_delta": -1}, {"min_delta": math.nan}):
        with pytest.raises(InvalidInputError, match=next(iter(wrong))):
            EarlyStopping(**wrong)


# ---------------------------------------------------------------- progress


def shown_by(*callbacks, terminal=False, width=100, **options):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=width, soft_wrap=True, highlight=False)
    fit(Progress(console=console), *callbacks, shown=True, **options)
    return shown.getvalue()


def test_off_a_terminal_an_epoch_is_a_line():
    lines = re.sub(r"\d+\.\d s", "T s", shown_by()).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "epoch 1/4", "epoch 2/4", "initial phase done in T s", "epoch 3/4", "cycle 1/2 done in T s", "epoch 4/4",
        "cycle 2/2 done in T s",
    ]  # fmt: skip
    result = fit()
    record = result.history[1]
    assert lines[3] == f"epoch 3/4: loss {record['loss']:.4g}, lr {record['lr']:.4g}"
    assert lines[4] == "cycle 1/2 done in T s: " + ", ".join(
        f"{name} {record[name]:.4g}" for name in ("agreement", "changed", "mean_trust", "val_accuracy")
    )
    assert "nan" not in "".join(lines)


def test_one_phase_is_not_called_a_cycle():
    lines = re.sub(r"\d+\.\d s", "T s", shown_by(recipe=RUNS["ce"], val=False)).splitlines()
    assert [line.split(":")[0] for line in lines] == [*(f"epoch {n}/4" for n in (1, 2, 3, 4)), "training done in T s"]


def test_a_terminal_shows_a_bar():
    shown = shown_by(terminal=True, width=140)
    assert "\x1b[?25l" in shown  # the cursor is away while the bar moves
    assert shown.rstrip().endswith("\x1b[?25h")
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown)
    assert "epoch 1/4 " in plain
    assert "epoch 4/4, cycle 2/2, loss " in plain
    assert "samples/s" in plain
    assert "96/96" in plain
    assert "cycle 1/2 done in " in plain
    assert "epoch 3/4: " not in plain


def test_the_bar_arrives_where_a_last_sample_is_left_out():
    inputs, labels = data()
    shown = io.StringIO()
    SelfCorrector(
        network(), num_classes=2, recipe="ce", epochs=3, batch_size=23,
        callbacks=[Progress(console=Console(file=shown, force_terminal=True, width=140))],
    ).fit((inputs, labels))  # fmt: skip
    assert "72/72" in shown.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_that_goes_on_or_is_stopped_says_so(terminal, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(Kill(2), run_dir=tmp_path)
    shown = shown_by(StopAt("on_epoch_end", 3), run_dir=tmp_path, terminal=terminal)
    assert "going on after epoch 2/4" in shown
    assert "stopped after epoch 3/4" in shown
    assert "epoch 1/4" not in shown
    assert shown_by(run_dir=tmp_path, terminal=terminal) == ""  # it is over


def test_progress_is_there_without_being_asked_for_and_goes_if_it_is_told(capsys):
    fit(shown=True)
    assert "epoch 4/4: loss" in capsys.readouterr().err
    fit(Counting(), shown=True)
    assert capsys.readouterr().err.count("epoch 4/4: loss") == 1
    fit()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


# ---------------------------------------------------------------- tables


def test_a_table_has_a_row_an_epoch_and_the_records_of_cycles(tmp_path):
    path = tmp_path / "log.csv"
    result = fit(CSVLog(path))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["val_accuracy"] != "" for row in rows] == [False, True, True, True]
    for row, record in zip(rows[1:], result.history, strict=True):
        assert {name: float(text) for name, text in row.items() if text} == {
            name: value for name, value in record.items() if not math.isnan(value)
        }
    assert rows[0]["loss"]


def test_a_table_of_a_stopped_run_is_its_history(tmp_path):
    path = tmp_path / "log.csv"
    result = fit(CSVLog(path), StopAt("on_cycle_end", 2), recipe=RUNS["robust"])
    with path.open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["sample_passes"]) == result.sample_passes
    assert float(last["val_nll"]) == result.history[-1]["val_nll"]


def test_a_table_goes_on_after_a_kill(tmp_path):
    def rows(path):
        with path.open(newline="") as file:
            return [{name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)]

    class Dies(Callback):
        def on_epoch_end(self, run):
            if run.epoch == 3:
                raise KeyboardInterrupt

    fit(CSVLog(tmp_path / "whole.csv"))
    path = tmp_path / "log.csv"
    with pytest.raises(KeyboardInterrupt):
        fit(CSVLog(path), Dies(), run_dir=tmp_path / "run")
    assert len(rows(path)) == 3  # the third epoch has no checkpoint, and will be done again
    fit(CSVLog(path), run_dir=tmp_path / "run")
    assert rows(path) == rows(tmp_path / "whole.csv")


def test_a_table_is_replaced_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    fit(CSVLog(path))
    before = path.read_text()
    log, kept = CSVLog(path), []

    class Full(csv.DictWriter):
        def writerows(self, rows):
            rows = list(rows)
            super().writerows(rows[:1])
            if len(rows) == 2:
                kept.append(path.read_text())
                raise OSError("no space left on device")

    monkeypatch.setattr(csv, "DictWriter", Full)
    with pytest.raises(InvalidInputError, match=r"to write .*log.csv; got no space left on device"):
        fit(log)
    assert path.read_text() == kept[-1] != before
    assert [row["epoch"] for row in csv.DictReader(io.StringIO(path.read_text()))] == ["1"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_that_cannot_be_written_is_known_before_training(tmp_path):
    epochs = []
    with pytest.raises(InvalidInputError, match="to write .*; got .*; to fix: choose another file"):
        fit(CSVLog(tmp_path / "none" / "log.csv"), AfterEpoch(lambda run: epochs.append(1)))
    assert epochs == []


# ---------------------------------------------------------------- TensorBoard


def test_tensorboard_gets_epochs_and_cycles(tmp_path):
    result = fit(TensorBoard(tmp_path / "board"))
    (writer,) = Writer.made
    assert writer.closed
    assert (writer.folder, writer.purge_step) == (str(tmp_path / "board"), 1)
    assert [step for step, _ in writer.scalars["loss"]] == [1, 2, 3, 4]
    assert writer.scalars["val_accuracy"] == [(record["epoch"], record["val_accuracy"]) for record in result.history]
    assert [step for step, _ in writer.scalars["changed"]] == [3, 4]  # NaN is no figure
    assert "epoch" not in writer.scalars


def test_tensorboard_hides_what_a_killed_run_wrote_too_much(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(TensorBoard(tmp_path / "board"), Kill(2), run_dir=tmp_path / "run")
    fit(TensorBoard(tmp_path / "board"), run_dir=tmp_path / "run")
    assert [writer.purge_step for writer in Writer.made] == [1, 3]
    fit(TensorBoard(tmp_path / "board"), run_dir=tmp_path / "run")
    assert len(Writer.made) == 2  # nothing is trained, nothing is written


def test_tensorboard_without_its_package_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InvalidInputError, match="the package tensorboard; got none; to fix: pip install tensorboard"):
        TensorBoard(tmp_path)


def test_tensorboard_itself_reads_what_is_written(monkeypatch, tmp_path):
    pytest.importorskip("tensorboard")
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = fit(TensorBoard(tmp_path))
    board = EventAccumulator(str(tmp_path)).Reload()
    found = {event.step: event.value for event in board.Scalars("val_accuracy")}
    assert found == {record["epoch"]: np.float32(record["val_accuracy"]) for record in result.history}


# ---------------------------------------------------------------- trackers


class Tracker(types.ModuleType):
    """Stands in for MLflow and Weights & Biases: their functions' signatures, and a run that cannot be copied."""

    def __init__(self):
        super().__init__("tracker")
        self.logged = {}

    def log_metrics(self, metrics, step=None, synchronous=None, run_id=None):
        assert all(type(value) is float and not math.isnan(value) for value in metrics.values())
        self.logged.setdefault(step, {}).update(metrics)

    def init(self, project):
        tracker = self

        class Run:
            def log(self, data, step=None, commit=None):
                tracker.log_metrics(data, step)

            def __deepcopy__(self, memo):
                raise TypeError("a run cannot be copied")

        return Run()


@pytest.mark.parametrize("function", ["mlflow", "wandb"])
def test_trackers_get_epochs_and_cycles(function):
    tracker = Tracker()
    log = RecordLog(tracker.log_metrics if function == "mlflow" else tracker.init(project="labels").log)
    result = fit(log)
    assert list(tracker.logged) == [1, 2, 3, 4]
    assert tracker.logged[1].keys() == {"cycle", "loss", "lr"}
    for record in result.history:
        wanted = {name: value for name, value in record.items() if name != "epoch" and not math.isnan(value)}
        assert tracker.logged[record["epoch"]] == wanted
    fit(copy.deepcopy(log))
    assert list(tracker.logged) == [1, 2, 3, 4]
    with pytest.raises(InvalidInputError, match="function to be callable; got None"):
        RecordLog(None)


# ---------------------------------------------------------------- what callbacks cannot do to each other, and to a run


class Drawing(Callback):
    """Draws random numbers wherever it is called."""

    def draw(self, run, batch=None):
        torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002

    on_fit_begin = on_batch_end = on_epoch_end = on_cycle_end = on_checkpoint = on_fit_end = draw


@pytest.mark.parametrize("recipe", ["ce", "robust", "paper"])
def test_numbers_that_a_callback_draws_are_not_those_of_the_run(recipe):
    def trained(*callbacks):
        model = nn.Sequential(network(), nn.Dropout(0.3))
        corrector = SelfCorrector(
            model, num_classes=2, recipe=recipe, epochs=4, batch_size=8, callbacks=[QUIET, *callbacks]
        )
        return outcome(corrector.fit(data()))

    assert trained() == trained(Drawing())


class Ending(Callback):
    """Notes that it was told of the end, and fails there or at the beginning."""

    def __init__(self, told, name, *, begins=True, ends=True):
        self.told, self.name, self.begins, self.ends = told, name, begins, ends

    def on_fit_begin(self, run):
        if not self.begins:
            raise ValueError(f"{self.name} cannot begin")

    def on_fit_end(self, run):
        self.told.append(self.name)
        if not self.ends:
            raise OSError(f"{self.name} cannot end")


def test_the_end_reaches_all_that_began_the_last_first():
    told = []
    with pytest.raises(OSError, match="b cannot end"):
        fit(Ending(told, "a"), Ending(told, "b", ends=False), Ending(told, "c"))
    assert told == ["c", "b", "a"]


def test_an_error_at_the_end_does_not_hide_that_of_the_run():
    told = []
    with pytest.raises(ValueError, match="b cannot begin") as caught:
        fit(Ending(told, "a", ends=False), Ending(told, "b", begins=False), Ending(told, "c"))
    assert caught.value.__notes__ == ["on_fit_end of Ending failed, too: a cannot end"]
    assert told == ["b", "a"]  # c was never told of the beginning


def test_another_metric_starts_afresh_when_a_run_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(EarlyStopping("val_accuracy", patience=99), Kill(2), recipe="ce", run_dir=tmp_path)
    likelihood = EarlyStopping("val_nll", patience=99)
    fit(likelihood, recipe="ce", run_dir=tmp_path)
    assert likelihood.best < 0  # an accuracy is not
