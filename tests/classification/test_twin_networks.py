"""Two networks in one module: outputs, fresh weights, a run with BatchNorm, resuming, two ranks."""

import copy

import numpy as np
import pytest
import torch
from spawn import run_processes
from torch import nn
from watching import QUIET, Kill

from noisycorrect import RECIPES, Classification, Schedule, SelfCorrector
from noisycorrect.classification.methods.coteaching import CoTeaching
from noisycorrect.classification.methods.dividemix import DivideMix
from noisycorrect.correction.part import Setup
from noisycorrect.correction.twin import InputPair, TwinNetworks, reinitialised, twin_networks
from noisycorrect.recipe import PLAIN
from noisycorrect.support.errors import InvalidInputError

CLASSES = 3
OBJECTIVES = [CoTeaching(0.3, warmup_epochs=2), DivideMix(warmup_epochs=1, ramp_epochs=2)]


def network(norm=True):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        middle = nn.BatchNorm1d(8) if norm else nn.LayerNorm(8)
        return nn.Sequential(nn.Linear(4, 8), middle, nn.ReLU(), nn.Linear(8, CLASSES))


def blobs(count=60):
    generator = torch.Generator().manual_seed(0)
    clean = torch.arange(count) % CLASSES
    inputs = torch.randn(count, 4, generator=generator) + 3 * nn.functional.one_hot(clean, 4)
    wrong = torch.rand(count, generator=generator) < 0.3
    return inputs, torch.where(wrong, (clean + 1) % CLASSES, clean)


def corrector(objective, *, norm=True, double=False, recipe=PLAIN, callbacks=(), model=None, **settings):
    twin = TwinNetworks.of(network(norm).double() if double else network(norm), seed=1)
    recipe = recipe.replace(objective=objective, lr=0.1, batch_size=20)
    settings = {"epochs": None if isinstance(recipe.schedule, Schedule) else 4, **settings}
    return SelfCorrector(model or twin, num_classes=CLASSES, recipe=recipe, callbacks=[QUIET, *callbacks], **settings)


def test_training_gives_both_logits_and_evaluation_the_log_of_the_mean_probability():
    twin = TwinNetworks.of(network(norm=False), seed=1).double()
    inputs = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = twin.first(inputs), twin.second(inputs)
    assert torch.equal(twin(inputs), torch.stack([first, second]))
    expected = np.zeros((6, CLASSES))
    for row in range(6):
        for output in (first[row].tolist(), second[row].tolist()):
            total = sum(np.exp(value) for value in output)
            for k in range(CLASSES):
                expected[row, k] += np.exp(output[k]) / total / 2
    np.testing.assert_allclose(twin.eval()(inputs).softmax(1).detach().numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(twin(inputs).exp().detach().numpy(), expected, rtol=1e-12)


def test_large_and_half_precision_logits_do_not_overflow():
    twin = TwinNetworks(nn.Identity(), nn.Identity()).eval()
    output = twin(torch.tensor([[0.0, 6e4]], dtype=torch.float16))
    assert output.dtype == torch.float32
    assert output.tolist() == [[-6e4, 0.0]]


def test_each_network_can_have_its_own_input():
    twin = TwinNetworks(nn.Identity(), nn.Identity())
    one, other = torch.zeros(2, 3), torch.ones(2, 3)
    assert torch.equal(twin(InputPair(one, other)), torch.stack([one, other]))


def test_the_second_network_is_fresh_and_the_first_is_the_model():
    model = network()
    before = copy.deepcopy(model.state_dict())
    state = torch.random.get_rng_state()
    twin = TwinNetworks.of(model, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert twin.first is model
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not torch.equal(twin.second[0].weight, model[0].weight)
    assert not torch.equal(twin.second[3].bias, model[3].bias)
    assert torch.equal(twin.second[0].weight, TwinNetworks.of(model, seed=3).second[0].weight)
    assert not torch.equal(twin.second[0].weight, TwinNetworks.of(model, seed=4).second[0].weight)


def test_attention_and_statistics_are_reset_too():
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    assert not torch.equal(reinitialised(layer, 0).self_attn.in_proj_weight, layer.self_attn.in_proj_weight)
    norm = nn.BatchNorm1d(2)
    norm(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    with pytest.warns(UserWarning, match="layer '0' looks trained"):
        fresh = reinitialised(nn.Sequential(norm), 0)
    assert fresh[0].running_mean.tolist() == [0, 0]
    assert norm.running_mean.abs().sum() > 0


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, inputs):
        return self.scale * inputs


def test_what_cannot_be_two_networks_is_refused():
    with pytest.raises(InvalidInputError, match=r"reset_parameters\(\); got Scale without one"):
        TwinNetworks.of(Scale(), seed=0)
    model = network()
    with pytest.raises(InvalidInputError, match="without a common parameter"):
        TwinNetworks(model, nn.Sequential(model))
    with pytest.raises(InvalidInputError, match="second to be an nn.Module; got str"):
        TwinNetworks(model, "network")
    with pytest.raises(InvalidInputError, match="a whole number >= 0"):
        TwinNetworks.of(model, seed=-1)
    with pytest.raises(InvalidInputError, match=r"logits \(N, K\); got shape \(2,\)"):
        TwinNetworks(nn.Identity(), nn.Identity())(torch.zeros(2))
    with pytest.raises(InvalidInputError, match="a model of two networks; got Sequential"):
        twin_networks(model)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_objectives_of_two_networks_refuse_one(objective):
    given = blobs()[1]
    objective = copy.deepcopy(objective)
    objective.start(
        Setup(Classification(CLASSES), given, 60, 4, torch.device("cpu"), 0, lambda model: None, lambda: None)
    )
    with pytest.raises(InvalidInputError, match="a model of two networks; got Sequential"):
        objective.start_epoch(0, network())


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_a_run_makes_the_second_of_two_networks(objective):
    model = network()
    before = copy.deepcopy(model.state_dict())
    made = corrector(objective, model=model, seed=5).fit(blobs()).model
    given = corrector(objective, model=TwinNetworks.of(model, seed=5), seed=5).fit(blobs()).model
    assert isinstance(made, TwinNetworks)
    for name, value in made.state_dict().items():
        assert torch.equal(value, given.state_dict()[name]), name
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_averaging_recalibration_and_refinement_work_with_two_networks():
    recipe = RECIPES["paper"].replace(schedule=Schedule(init_epochs=4, cycles=2, cycle_epochs=1))
    result = corrector(OBJECTIVES[0], recipe=recipe).fit(blobs(), blobs())
    assert result.labels.generation == 2
    assert result.model.first[1].running_mean.abs().sum() > 0
    torch.testing.assert_close(result.model(blobs()[0]).exp().sum(1), torch.ones(60))
    assert result.history[-1]["val_accuracy"] > 0.5


def states(result):
    return result.model.state_dict()


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_a_resumed_run_is_the_uninterrupted_one(objective, tmp_path):
    whole = states(corrector(objective).fit(blobs()))
    with pytest.raises(KeyboardInterrupt):
        corrector(objective, run_dir=tmp_path, callbacks=[Kill(2)]).fit(blobs())
    resumed = states(corrector(objective, run_dir=tmp_path).fit(blobs(), resume=True))
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def fit_on_ranks(folder):
    inputs, labels = blobs()
    outcomes = []
    for objective in OBJECTIVES:
        run_dir = folder / type(objective).__name__
        result = corrector(objective, norm=False, double=True, run_dir=run_dir).fit((inputs.double(), labels))
        outcomes.append((states(result), result.sample_passes))
    return outcomes


def test_two_ranks_keep_the_same_networks(tmp_path):
    one, other = run_processes(fit_on_ranks, 2, tmp_path, tmp_path)
    for (mine, passes), (theirs, other_passes), objective in zip(one, other, OBJECTIVES, strict=True):
        steps = sum(objective.passes(epoch, 4) + objective.set_predictions(epoch, 4) for epoch in range(4))
        assert passes == other_passes == round(60 * steps)
        for name, value in mine.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-9, atol=1e-12)
