"""The average of the weights in a run: what it takes in, where a cycle starts, what its statistics are of."""

from typing import ClassVar

import pytest
import torch
from tiny_runs import CLASSES, QUIET, SHORT, AfterEpoch, Kill, Records, assert_equal_runs, blobs, corrector, network
from torch import nn

from noisycorrect import AtCycleEnds, Callback, EveryStep, OneCosine, Recalibration, Schedule, SelfCorrector, TaskLoss
from noisycorrect.training import whole_set

# ---------------------------------------------------------------- what it takes in


class Recorder(TaskLoss):
    """Plain training that notes the weights after every step, outside of the copy that a run makes of it."""

    steps: ClassVar[list] = []

    def after_step(self, model):
        self.steps.append(model.weight.detach().double().clone())


def test_weights_are_averaged_after_every_step():
    inputs = torch.randn(96, 5, generator=torch.Generator().manual_seed(0))
    deployed, Recorder.steps = [], []
    schedule = Schedule(init_epochs=2, cycles=1, cycle_epochs=3)
    recipe = SHORT.replace(schedule=schedule, average=EveryStep(0.9), correction=None, objective=Recorder())
    watcher = AfterEpoch(lambda run: deployed.append((run.model.training, run.model.weight.clone())))
    result = SelfCorrector(
        nn.Linear(5, 2), num_classes=2, recipe=recipe, lr=0.5, batch_size=32, callbacks=[QUIET, watcher]
    ).fit((inputs, (inputs[:, 0] > 0).long()))
    average = Recorder.steps[0]
    for count, weight in enumerate(Recorder.steps[1:], start=1):
        decay = min(0.9, count / (count + 1))
        average = decay * average + (1 - decay) * weight
    assert len(Recorder.steps) == 15
    assert torch.allclose(result.model.weight.double(), average, atol=1e-6)
    assert [training for training, _ in deployed] == [False] * 5
    assert torch.equal(deployed[-1][1], result.model.weight)


# ---------------------------------------------------------------- where a cycle starts


class CycleStarts(Callback):
    """Notes what a cycle starts from: whether it is the average, and of how many parameters there is a momentum."""

    def __init__(self):
        self.seen = []

    def on_cycle_end(self, run):
        pairs = zip(run.student.parameters(), run.average.model.parameters(), strict=True)
        averaged = all(torch.equal(one, other) for one, other in pairs)
        self.seen.append((averaged, sum("momentum_buffer" in state for state in run.optimizer.state.values())))


@pytest.mark.parametrize(("restart", "averaged", "momenta"), [("aggregate", True, 0), ("student", False, 6)])
def test_a_cycle_starts_from_the_average_with_a_fresh_optimizer(restart, averaged, momenta):
    inputs, given, _ = blobs(60)
    watcher = CycleStarts()
    corrector(recipe=SHORT.replace(average=AtCycleEnds(restart)), callbacks=[watcher]).fit((inputs, given))
    # After the initial phase the average is the student itself: the mean of one.
    assert watcher.seen == [(True, momenta), (averaged, momenta), (averaged, momenta)]


class FirstSteps(Callback):
    """Notes the weights before and after the first step of a cycle, and its rate."""

    def __init__(self):
        self.starts, self.steps = [], []

    def on_cycle_end(self, run):
        self.starts.append(run.student.weight.detach().clone())

    def on_batch_end(self, run, batch):
        if len(self.starts) > len(self.steps):
            self.steps.append((self.starts[-1], run.student.weight.detach().clone(), run.scheduler.get_last_lr()[0]))


def heavy_ball(parameters, lr):
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def test_the_first_step_of_a_cycle_knows_no_momentum():
    """With full batches it is the rate times the gradient at the average, by hand."""
    inputs, given, _ = blobs(24)
    inputs, watcher = inputs.double(), FirstSteps()
    recipe = SHORT.replace(correction=None, rates=OneCosine(), optimizer=heavy_ball, batch_size=24)
    corrector(nn.Linear(4, CLASSES, bias=False).double(), recipe, callbacks=[watcher]).fit((inputs, given))
    assert len(watcher.steps) == 2
    for start, end, lr in watcher.steps:
        gradient = ((inputs @ start.T).softmax(1) - nn.functional.one_hot(given, CLASSES)).T @ inputs / 24
        torch.testing.assert_close(end, start - lr * gradient, rtol=1e-6, atol=1e-9)  # targets are float32


# ---------------------------------------------------------------- what its statistics are of


@pytest.mark.parametrize("method", ["fast", "exact"])
def test_recalibration_sees_augmented_inputs_unless_told_otherwise(method):
    inputs, given, _ = blobs(60)
    for where, shift in (("augmented", 5), ("canonical", 0)):
        recipe = SHORT.replace(average=AtCycleEnds(recalibration=Recalibration(method=method, inputs=where)))
        first, norm, *_ = corrector(recipe=recipe, augment=lambda x: x + 5).fit((inputs, given)).model
        torch.testing.assert_close(norm.running_mean, first(inputs + shift).mean(0).detach(), rtol=1e-4, atol=1e-4)


def test_recalibration_draws_the_same_augmentation_in_every_pass():
    inputs, given, _ = blobs(60)
    recipe = SHORT.replace(average=AtCycleEnds(recalibration=Recalibration(method="exact")))
    run = corrector(recipe=recipe, augment=lambda x: x + torch.randn(4))
    assert_equal_runs(run.fit((inputs, given)), run.fit((inputs, given)))


@pytest.fixture
def recalibrations(monkeypatch):
    """What each recalibration reads: positions in their order, and inputs."""
    seen, original = [], whole_set.recalibrate_batchnorm

    def watched(model, batches, **more):
        found = list(batches)
        seen.append((torch.cat([batch.index for batch in found]), torch.cat([batch.input for batch in found])))
        return original(model, batches, **more)

    monkeypatch.setattr(whole_set, "recalibrate_batchnorm", watched)
    return seen


def test_each_recalibration_has_an_order_of_its_own_and_a_resumed_run_the_same(recalibrations, tmp_path):
    inputs, given, _ = blobs(60)
    corrector(run_dir=tmp_path / "whole").fit((inputs, given))
    whole = [index.tolist() for index, _ in recalibrations]
    assert len(whole) == 3
    assert all(sorted(order) == list(range(60)) for order in whole)
    assert all(one != other for place, one in enumerate(whole) for other in whole[:place])
    assert all(order != list(range(60)) for order in whole)
    recalibrations.clear()
    with pytest.raises(KeyboardInterrupt):
        corrector(run_dir=tmp_path / "stopped", callbacks=[Kill(5)]).fit((inputs, given))
    corrector(run_dir=tmp_path / "stopped").fit((inputs, given), resume=True)
    assert [index.tolist() for index, _ in recalibrations] == whole
    recalibrations.clear()
    corrector(seed=1).fit((inputs, given))
    assert recalibrations[0][0].tolist() != whole[0]


class Jittered(Records):
    def __getitem__(self, index):
        return torch.randn(4), int(self.labels[index])


def test_each_recalibration_draws_augmented_items_anew(recalibrations):
    """Of five recalibrations of three samples two begin with the same one; what it becomes differs all the same."""
    recipe = SHORT.replace(schedule=Schedule(init_epochs=1, cycles=4, cycle_epochs=1))
    data = Jittered(torch.zeros(3, 4), torch.arange(3))
    corrector(recipe=recipe).fit(data, canonical=(torch.zeros(3, 4), torch.arange(3)))
    firsts = [inputs[0].tolist() for _, inputs in recalibrations]
    assert len(firsts) == 5
    assert all(one != other for place, one in enumerate(firsts) for other in firsts[:place])


def test_an_average_of_steps_is_measured_with_statistics_of_its_own_at_the_end():
    inputs, given, _ = blobs(60)
    recipe = SHORT.replace(average=EveryStep(0.5), correction=None)
    first, norm, *_ = corrector(network(), recipe).fit((inputs, given)).model
    torch.testing.assert_close(norm.running_mean, first(inputs).mean(0).detach(), rtol=1e-4, atol=1e-4)
