"""Frozen stays frozen in a run: modes, statistics, weights; and a run goes on with what a network has become."""

import copy
import warnings

import pytest
import torch
from modal import LowRank, Remembers
from tiny_runs import CLASSES, SHORT, AfterEpoch, Kill, assert_equal_runs, blobs, corrector
from torch import nn

from noisycorrect import RECIPES, AtCycleEnds, Callback, CorrectionResult, EveryStep, Schedule, SelfCorrector
from noisycorrect.classification import CoTeaching
from noisycorrect.correction.twin import reinitialised

INPUTS, GIVEN, _ = blobs(60)
QUICK = SHORT.replace(schedule=Schedule(2, 2, 1))
AVERAGES = {"cycle ends": AtCycleEnds(), "every step": EveryStep(0.9), "none": None}
averages = pytest.mark.parametrize("average", AVERAGES.values(), ids=AVERAGES)


def body():
    """Return a body with statistics of other data."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 8), nn.BatchNorm1d(8))
    with torch.no_grad():
        layers(torch.randn(64, 4) * 3 + 2)
    return layers


def statistics(model):
    return {name: value.clone() for name, value in model.named_buffers()}


class Modes(Callback):
    """Notes the modes in which batches are trained on."""

    def __init__(self):
        self.seen = []

    def on_batch_end(self, run, batch):
        inner = run.student
        self.seen.append(tuple(module.training for module in inner[0]))


@averages
@pytest.mark.parametrize("how", ["at rest", "frozen"])
def test_frozen_layers_train_and_end_as_they_were(average, how):
    model = nn.Sequential(body(), nn.Linear(8, CLASSES))
    frozen = model[0].eval() if how == "at rest" else model[0]
    frozen.requires_grad_(False)
    before = copy.deepcopy(model[0].state_dict())
    seen = Modes()
    recipe = QUICK.replace(average=average, correction=None if average is None else QUICK.correction)
    result = corrector(model, recipe, callbacks=[seen]).fit((INPUTS, GIVEN), (INPUTS, GIVEN))
    for name, value in result.model[0].state_dict().items():
        assert torch.equal(value, before[name]), name
    norms_rest = (True, False, True, True, False)
    assert set(seen.seen) == {(False,) * 5 if how == "at rest" else norms_rest}
    assert not torch.equal(result.model[1].weight, model[1].weight)


@averages
def test_statistics_at_rest_stay_where_scale_and_shift_train(average):
    model = nn.Sequential(body(), nn.Linear(8, CLASSES))
    model[0][1].eval()
    model[0][2].eval()
    before = statistics(model)
    seen = Modes()
    recipe = QUICK.replace(average=average, correction=None if average is None else QUICK.correction)
    result = corrector(model, recipe, callbacks=[seen]).fit((INPUTS, GIVEN))
    after = statistics(result.model)
    assert {name for name in after if not torch.equal(after[name], before[name])} == {
        f"0.4.{each}" for each in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert set(seen.seen) == {(True, False, False, True, True)}
    assert not torch.equal(result.model[0][1].weight, model[0][1].weight)


def test_of_a_network_that_was_loaded_nothing_is_at_rest():
    model = nn.Sequential(body(), nn.Linear(8, CLASSES))
    trained = corrector(copy.deepcopy(model), QUICK).fit((INPUTS, GIVEN))
    loaded = corrector(copy.deepcopy(model).eval(), QUICK).fit((INPUTS, GIVEN))
    assert_equal_runs(trained, loaded)


def test_a_body_at_rest_that_trains_is_named():
    model = nn.Sequential(body().eval(), nn.Linear(8, CLASSES))
    with pytest.warns(UserWarning, match="'0' is in evaluation mode while the model trains.*model.train"):
        corrector(model, QUICK).fit((INPUTS, GIVEN))


def test_further_networks_keep_layers_at_rest():
    model = nn.Sequential(body(), nn.Linear(8, CLASSES))
    model[0][1].eval()
    before = copy.deepcopy(model[0][1].state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other layer, which looks trained
        fresh = reinitialised(model, seed=0)
        assert not fresh[0][1].training
        assert all(p.requires_grad for p in fresh[0][1].parameters())
        for name, value in fresh[0][1].state_dict().items():
            assert torch.equal(value, before[name]), name
        result = corrector(model, RECIPES["coteaching"].replace(objective=CoTeaching(noise_rate=0.3)), epochs=2).fit(
            (INPUTS, GIVEN)
        )
        for network in (result.model.first, result.model.second):
            assert torch.equal(network[0][1].running_mean, before["running_mean"])


# ---------------------------------------------------------------- what a network has become


def low_rank():
    torch.manual_seed(0)
    return nn.Sequential(LowRank(4, 8), nn.ReLU(), LowRank(8, CLASSES))


def remembers():
    torch.manual_seed(0)
    return Remembers()


@averages
@pytest.mark.parametrize("make", [low_rank, remembers], ids=["merged weights", "growing buffers"])
def test_a_run_learns_resumes_and_is_loaded(make, average, tmp_path):
    recipe = QUICK.replace(average=average, correction=None if average is None else QUICK.correction)
    settings = {"recipe": recipe, "lr": 0.2}
    whole = corrector(make(), run_dir=tmp_path / "whole", **settings).fit((INPUTS, GIVEN))
    assert not torch.allclose(whole.model(INPUTS), make().eval()(INPUTS), atol=0.05)
    with pytest.raises(KeyboardInterrupt):
        corrector(make(), run_dir=tmp_path / "stopped", callbacks=[Kill(3)], **settings).fit((INPUTS, GIVEN))
    resumed = corrector(make(), run_dir=tmp_path / "stopped", **settings).fit((INPUTS, GIVEN), resume=True)
    assert_equal_runs(resumed, whole)
    if make is low_rank:
        whole.save(tmp_path / "saved")
        for folder in ("saved", "whole"):
            loaded = CorrectionResult.load(tmp_path / folder, model=make())
            torch.testing.assert_close(loaded.model(INPUTS), whole.model(INPUTS), rtol=1e-5, atol=1e-5)


def test_frozen_weights_of_an_adapter_are_those_that_came():
    model = low_rank()
    result = corrector(model, QUICK, lr=0.05).fit((INPUTS, GIVEN))
    torch.testing.assert_close(result.model.train()[0].weight, model[0].weight, rtol=1e-5, atol=1e-6)


def test_an_average_of_half_precision_is_no_worse_than_what_it_averages():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, CLASSES)).bfloat16()
    recipe = QUICK.replace(average=EveryStep(0.99), correction=None, schedule=Schedule(20, 2, 10))
    last = []
    watch = AfterEpoch(lambda run: last.append(copy.deepcopy(run.student)))
    result = SelfCorrector(model, num_classes=CLASSES, recipe=recipe, lr=0.02, callbacks=[watch]).fit((INPUTS, GIVEN))
    accuracy = [
        float((m.eval()(INPUTS.bfloat16()).argmax(1) == GIVEN).float().mean()) for m in (result.model, last[-1])
    ]
    assert accuracy[0] >= accuracy[1] - 0.02
