"""Several batches make one step, exactly as one large batch does."""

import pytest
import torch
from spawn import run_processes
from tiny_runs import QUIET, Kill, assert_equal_runs
from torch import nn

from noisycorrect import (
    RECIPES,
    Callback,
    Classification,
    EveryStep,
    NeighborCorrection,
    OnlineCorrection,
    Schedule,
    SelfCorrector,
)
from noisycorrect.support.errors import InvalidInputError

LENGTHS = Schedule(init_epochs=2, cycles=2, cycle_epochs=1)
PAPER = RECIPES["paper"].replace(schedule=LENGTHS)
STEPWISE = PAPER.replace(average=EveryStep(0.9), clip_grad_norm=0.5)
ONLINE = RECIPES["robust"].replace(schedule=LENGTHS, correction=OnlineCorrection(input_dropout=0.0), standardize=None)
NEIGHBORS = RECIPES["robust"].replace(schedule=LENGTHS, correction=NeighborCorrection(neighbors=7))
COUNT, CLASSES = 100, 3  # 2 steps of 40 and one of 20: of batches of 10 the last step has two


def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(COUNT, 4, generator=generator)
    labels = torch.randint(CLASSES, (COUNT,), generator=generator)
    weights = torch.rand(COUNT, generator=generator)
    return inputs.double(), torch.where(torch.arange(COUNT) % 3 > 0, labels, -1), weights


def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, CLASSES)).double()


class Rates(Callback):
    """Notes the rate of every batch."""

    def __init__(self):
        self.rates = []

    def on_batch_end(self, run, batch):
        self.rates.append(run.scheduler.get_last_lr()[0])


def fit(batch_size, accumulate, recipe=PAPER, run_dir=None, fail_after=None, rates=None, weighed=False):
    inputs, labels, weights = data()
    corrector = SelfCorrector(
        network(), task=Classification(CLASSES, class_weight="balanced" if weighed else None),
        recipe=recipe if accumulate is None else recipe.replace(accumulate=accumulate), lr=0.3,
        batch_size=batch_size, run_dir=run_dir,
        callbacks=[QUIET, Kill(fail_after), *([rates] if rates else [])],
    )  # fmt: skip
    try:
        return corrector.fit((inputs, labels), sample_weight=weights if weighed else None)
    except KeyboardInterrupt:
        return None


def assert_close(one, other):
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(value, other.model.state_dict()[name], rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(one.labels.refined(), other.labels.refined(), rtol=0, atol=1e-6)
    assert [record["loss"] for record in one.history] == pytest.approx([record["loss"] for record in other.history])


@pytest.mark.parametrize(
    "recipe", [PAPER, STEPWISE, ONLINE, NEIGHBORS], ids=["paper", "stepwise", "online", "neighbors"]
)
def test_parts_of_a_batch_are_the_batch(recipe):
    large, small = Rates(), Rates()
    whole = fit(40, 1, recipe, rates=large, weighed=True)
    parts = fit(10, 4, recipe, rates=small, weighed=True)
    assert_close(parts, whole)
    assert len(small.rates) == 10 * 4
    steps = [rate for start in range(0, 40, 10) for rate in small.rates[start : start + 10 : 4]]
    assert steps == large.rates, "the rate is that of the step (Eq. 5)"
    assert all(len(set(small.rates[start : start + 4])) == 1 for start in range(0, 40, 10))


def test_one_batch_a_step_is_the_default_bit_for_bit():
    assert_equal_runs(fit(40, None), fit(40, 1))
    others = fit(10, 1)
    assert not torch.allclose(others.model[0].weight, fit(10, 4).model[0].weight), "a step is another one"


def test_a_run_that_accumulates_is_resumed_exactly(tmp_path):
    whole = fit(10, 3)
    assert fit(10, 3, run_dir=tmp_path, fail_after=3) is None
    assert_equal_runs(fit(10, 3, run_dir=tmp_path), whole)
    with pytest.raises(Exception, match="accumulate=3, as in the run that is to be resumed; got None"):
        fit(10, 1, run_dir=tmp_path)


def of_ranks(folder, recipe):
    result = fit(12, 3, recipe, folder, weighed=True)
    return result.model.state_dict(), result.labels.refined()


def test_two_ranks_accumulate_as_one(tmp_path):
    alone = fit(12, 3, ONLINE, weighed=True)
    for weights, labels in run_processes(of_ranks, 2, tmp_path, tmp_path / "both", ONLINE):
        for name, value in alone.model.state_dict().items():
            torch.testing.assert_close(weights[name], value, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(labels, alone.labels.refined(), rtol=0, atol=1e-6)


def test_bad_numbers_are_refused():
    for wrong in (0, 1.5, True):
        with pytest.raises(InvalidInputError, match="accumulate to be a whole number >= 1"):
            fit(10, wrong)
