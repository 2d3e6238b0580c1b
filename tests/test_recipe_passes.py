"""The passes that a recipe counts are those that a network takes: hooks on its first layers count them."""

import pytest
import torch
from tiny_runs import CLASSES, ONLINE, QUIET, Kill, blobs
from torch import nn

from noisycorrect import (
    RECIPES,
    AtCycleEnds,
    Callback,
    CrossFitting,
    EveryStep,
    NeighborCorrection,
    Recalibration,
    Schedule,
    SelfCorrector,
    TaskLoss,
    prune_retrain,
)
from noisycorrect.classification import CoTeaching, DivideMix
from noisycorrect.classification.methods.prune_retrain import prune_retrain_passes
from noisycorrect.training.engine import Engine

COUNT, EPOCHS, BATCH = 60, 8, 20
PAPER = RECIPES["paper"].replace(schedule=Schedule(init_epochs=4, cycles=2, cycle_epochs=2))


class Meter:
    """Counts samples through the first layers of a network: 1 forward, 2 backward; those of validation are marked."""

    def __init__(self):
        self.passes = 0
        self.paused = False

    def network(self, norm=True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            middle = [nn.BatchNorm1d(8)] if norm else []
            model = nn.Sequential(
                nn.Linear(5, 8), *middle, nn.Tanh(), nn.Linear(8, 8), *middle[:0], nn.Linear(8, CLASSES)
            )
        model[0].register_forward_hook(self._hook())
        return model

    def _hook(self):
        def hook(layer, arguments, output):  # a function, which a copy of the network shares; a method would be copied
            rows = int((arguments[0][:, -1] == 0).sum())
            if self.paused or not rows:
                return
            self.passes += rows
            if output.requires_grad:
                output.register_hook(lambda gradient: backward(2 * rows))

        def backward(passes):
            self.passes += passes

        return hook


@pytest.fixture
def meter(monkeypatch):
    """A meter that leaves out the rehearsal of a batch, and what is looked at again of it."""
    meter, original = Meter(), Engine.look

    def look(*arguments, **how):
        meter.paused = True
        output = original(*arguments, **how)
        meter.paused = False
        return output

    monkeypatch.setattr(Engine, "look", look)
    monkeypatch.setattr("noisycorrect.training.run.try_training", lambda *_: None)  # no pass of those that count
    return meter


def marked(count, mark, seed=0):
    inputs, given, _ = blobs(count, seed=seed)
    return torch.cat([inputs, torch.full((count, 1), float(mark))], 1), given


def fit(model, recipe, *, validated=False, count=COUNT, callbacks=(), **settings):
    epochs = None if isinstance(recipe.schedule, Schedule) else EPOCHS
    corrector = SelfCorrector(
        model, num_classes=CLASSES, recipe=recipe, epochs=epochs, lr=0.05, batch_size=BATCH,
        callbacks=[QUIET, *callbacks], **settings,
    )  # fmt: skip
    return corrector.fit(marked(count, 0), marked(30, 1, seed=1) if validated else None)


def counted(recipe, **more):
    epochs = None if isinstance(recipe.schedule, Schedule) else EPOCHS
    return recipe.passes(more.pop("count", COUNT), epochs=epochs, **{"vectors": True, **more})


def divided(recipe):
    return recipe.divided(None if isinstance(recipe.schedule, Schedule) else EPOCHS)


def recalibrated(**how):
    return PAPER.replace(average=AtCycleEnds(recalibration=Recalibration(**how)))


# In these epochs every batch has two samples of each half at least; fewer would be filled up with others.
CROSSED = RECIPES["robust"].replace(
    schedule=Schedule(init_epochs=2, cycles=3, cycle_epochs=1),
    correction=CrossFitting(),
    objective=TaskLoss(),
    average=None,
)
CASES = {
    "paper": PAPER,
    "paper student": PAPER.replace(average=AtCycleEnds("student")),
    "paper student, no refinement": PAPER.replace(average=AtCycleEnds("student"), correction=None),
    "paper no averaging": PAPER.replace(average=None),
    "paper every step": PAPER.replace(average=EveryStep(0.9)),
    "paper few samples": recalibrated(samples=23),
    "robust": RECIPES["robust"],
    "online": ONLINE,
    "robust at cycle ends": RECIPES["robust"].replace(average=AtCycleEnds()),
    "ce": RECIPES["ce"],
    "swa": RECIPES["swa"],
    "ema": RECIPES["ema"],
    "elr": RECIPES["elr"],
    "cross-fitting": CROSSED,
    "coteaching": RECIPES["coteaching"].replace(objective=CoTeaching(noise_rate=0.3)),
    "coteaching, averaged and refined": PAPER.replace(objective=CoTeaching(noise_rate=0.3)),
    "cross-fitting, averaged": CROSSED.replace(average=EveryStep(0.9)),
    "dividemix": RECIPES["dividemix"],
    "dividemix, two views": RECIPES["dividemix"].replace(objective=DivideMix(augment=torch.clone)),
}


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_they_are_those_of_a_run(meter, name, validated):
    result = fit(meter.network(), CASES[name], validated=validated)
    assert result.sample_passes == meter.passes
    assert result.history[-1]["sample_passes"] == meter.passes
    assert counted(CASES[name], validated=validated) == meter.passes


def test_neighbors_of_inputs_that_are_no_vectors_cost_a_pass_once(meter):
    recipe = CASES["robust"].replace(batch_size=BATCH, lr=0.05, correction=NeighborCorrection(features="network"))
    model = nn.Sequential(nn.Flatten(), meter.network())
    inputs, given = marked(COUNT, 0)
    corrector = SelfCorrector(model, num_classes=CLASSES, recipe=recipe, epochs=EPOCHS, callbacks=[QUIET])
    result = corrector.fit((inputs.reshape(COUNT, 1, 1, 5), given))
    assert result.sample_passes == meter.passes == counted(recipe, vectors=False) == counted(recipe) + COUNT


@pytest.mark.parametrize("name", ["paper", "robust", "ema", "dividemix"])
def test_a_last_batch_of_one_sample_is_predicted_but_not_trained_on(meter, name):
    result = fit(meter.network(), CASES[name], count=61)
    assert result.sample_passes == meter.passes == counted(CASES[name], count=61, trained=60)


def test_the_exact_method_looks_at_a_batch_more(meter):
    """Beside a pass for each layer it runs the first batch, twice as large as in training, to learn their order."""
    recipe = recalibrated(method="exact")
    assert fit(meter.network(), recipe).sample_passes == counted(recipe) == meter.passes - 3 * 2 * BATCH


@pytest.mark.parametrize("name", ["paper", "robust", "ema"])
def test_a_network_without_batchnorm_is_not_recalibrated(meter, name):
    result = fit(meter.network(norm=False), CASES[name])
    assert result.sample_passes == meter.passes == counted(CASES[name], layers=0)
    assert meter.passes < counted(CASES[name])


class Stop(Callback):
    """Stops a run after an epoch, when that is over or when the cycle that it ends is."""

    def __init__(self, epoch, when):
        self.epoch, self.when = epoch, when

    def on_epoch_end(self, run):
        if self.when == "epoch" and run.epoch == self.epoch:
            run.stop()

    def on_cycle_end(self, run):
        if self.when == "cycle" and run.epoch == self.epoch:
            run.stop()


@pytest.mark.filterwarnings("ignore:expected predictions of several classes")  # two epochs teach little
@pytest.mark.parametrize(("epoch", "when"), [(2, "epoch"), (5, "epoch"), (6, "epoch"), (4, "cycle"), (6, "cycle")])
@pytest.mark.parametrize("name", ["paper", "paper student, no refinement", "paper every step", "robust", "swa", "ema"])
def test_they_are_those_of_a_run_that_was_stopped(meter, name, epoch, when):
    result = fit(meter.network(), CASES[name], callbacks=[Stop(epoch, when)])
    done = result.history[-1]["epoch"]
    ends = when == "epoch" or divided(CASES[name]).ends_cycle(epoch - 1)
    assert done == (epoch if ends else EPOCHS)
    assert result.sample_passes == meter.passes == counted(CASES[name], done=done, stopped=done < EPOCHS)


@pytest.mark.parametrize("epoch", [1, 3, 4, 5])
@pytest.mark.parametrize("name", ["paper", "robust", "swa", "ema", "cross-fitting", "dividemix"])
def test_they_are_those_of_a_run_that_was_resumed(meter, tmp_path, name, epoch):
    with pytest.raises(KeyboardInterrupt):
        fit(meter.network(), CASES[name], callbacks=[Kill(epoch)], run_dir=tmp_path)
    assert meter.passes == counted(CASES[name], done=epoch)
    result = fit(meter.network(), CASES[name], run_dir=tmp_path)
    assert result.sample_passes == meter.passes == counted(CASES[name])
    again = fit(meter.network(), CASES[name], run_dir=tmp_path)
    assert again.sample_passes == result.sample_passes


@pytest.mark.parametrize("folds", [2, 3])
def test_prune_and_retrain_counts_all_trainings(meter, folds):
    inputs, given = marked(60, 0)
    settings = {"num_classes": CLASSES, "epochs": 3, "batch_size": BATCH, "lr": 0.05, "callbacks": [QUIET]}
    result = prune_retrain(meter.network(), (inputs, given), marked(30, 1, seed=1), folds=folds, **settings)
    assert result.sample_passes == result.history[-1]["sample_passes"] == meter.passes
    pruned = 60 - int(result.kept.sum())
    assert pruned > 0
    # As if no label was pruned; a last batch of one sample, which is not trained on, is the only other difference.
    assert prune_retrain_passes(60, 3, folds=folds) - 3 * 3 * (pruned + 1) <= meter.passes
    assert meter.passes <= prune_retrain_passes(60, 3, folds=folds) - 3 * 3 * pruned
