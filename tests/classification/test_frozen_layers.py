"""Further networks of a run keep what is frozen: second networks, halves, folds."""

import copy
import functools

import pytest
import torch
from tiny_runs import CLASSES, QUIET, blobs, network
from torch import nn

from noisycorrect import RECIPES, CrossFitting, SelfCorrector, TaskLoss
from noisycorrect.classification import CoTeaching, TwinNetworks
from noisycorrect.classification.methods import prune_retrain as module
from noisycorrect.classification.methods.prune_retrain import prune_retrain
from noisycorrect.correction.cross_fitting import CrossFittedNetworks
from noisycorrect.correction.twin import reinitialised
from noisycorrect.support.errors import InvalidInputError

# Runs of an epoch or two may well predict one class for all, or have inputs as they come.
pytestmark = pytest.mark.filterwarnings("ignore:expected:noisycorrect.TrainingWarning")


def seen_by(norm, inputs=4):
    """Return a normalisation layer whose statistics are of data."""
    norm.train()(3 + 2 * torch.randn(64, inputs, generator=torch.Generator().manual_seed(0)))
    return norm


def pretrained():
    """Return a body, frozen, with weights and statistics of its own, and a head."""
    body = nn.Sequential(
        nn.Linear(4, 4), seen_by(nn.BatchNorm1d(4)), seen_by(nn.BatchNorm1d(4, affine=False)), nn.Tanh()
    )
    with torch.no_grad():
        body[1].weight.copy_(torch.arange(4.0))
    return nn.Sequential(body.requires_grad_(False), nn.Linear(4, CLASSES))


def assert_same_state(one, other):
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_a_frozen_body_keeps_weights_and_statistics():
    model = pretrained()
    before = copy.deepcopy(model.state_dict())
    fresh = reinitialised(model, seed=0)
    assert_same_state(fresh[0], model[0])
    assert not torch.equal(fresh[1].weight, model[1].weight)
    assert [p.requires_grad for p in fresh.parameters()] == [p.requires_grad for p in model.parameters()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("of", [TwinNetworks.of, CrossFittedNetworks.of])
def test_second_networks_keep_it(of):
    model = pretrained()
    assert_same_state(of(model, seed=1).second[0], model[0])


def test_one_frozen_parameter_of_a_layer_stays():
    layer = nn.Linear(3, 3)
    layer.weight.requires_grad_(False)
    fresh = reinitialised(layer, seed=0)
    assert torch.equal(fresh.weight, layer.weight)
    assert not torch.equal(fresh.bias, layer.bias)


class WithTokens(nn.Module):
    """A frozen parameter of its own, which its reset draws anew, like those of its layers."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Parameter(torch.ones(2), requires_grad=False)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.head = nn.Linear(2, CLASSES)

    def reset_parameters(self):
        self.tokens = nn.Parameter(torch.zeros(2))
        nn.init.zeros_(self.frozen.weight)
        self.head.reset_parameters()


def test_a_module_that_resets_what_is_frozen_does_not():
    model = WithTokens()
    fresh = reinitialised(model, seed=0)
    assert torch.equal(fresh.tokens, model.tokens)
    assert not fresh.tokens.requires_grad
    assert_same_state(fresh.frozen, model.frozen)
    assert not torch.equal(fresh.head.weight, model.head.weight)


def test_attention_resets_no_projection_that_is_frozen():
    attention = nn.MultiheadAttention(4, 2)
    nn.init.ones_(attention.out_proj.bias)
    attention.out_proj.requires_grad_(False)
    fresh = reinitialised(attention, seed=0)
    assert torch.equal(fresh.out_proj.bias, torch.ones(4))
    assert not torch.equal(fresh.in_proj_weight, attention.in_proj_weight)


def test_tied_weights_stay_tied_and_frozen_ones_stay():
    for frozen in (True, False):
        embedding, decoder = nn.Embedding(5, 4), nn.Linear(4, 5)
        decoder.weight = embedding.weight
        embedding.weight.requires_grad_(not frozen)
        fresh = reinitialised(nn.Sequential(embedding, decoder), seed=0)
        assert fresh[1].weight is fresh[0].weight
        assert torch.equal(fresh[0].weight, embedding.weight) == frozen
        assert not torch.equal(fresh[1].bias, decoder.bias)


def test_only_named_layers_start_anew():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), seen_by(nn.BatchNorm1d(4))), nn.Sequential(nn.Linear(4, 4)))
    twin = TwinNetworks.of(model, seed=0, layers=["1"])  # named, so nothing to warn of
    assert_same_state(twin.second[0], model[0])
    assert not torch.equal(twin.second[1][0].weight, model[1][0].weight)
    with pytest.raises(InvalidInputError, match="layer.*'0.2'"):
        TwinNetworks.of(model, seed=0, layers=["0.2"])


def test_a_model_without_a_layer_to_start_anew_is_refused():
    for model in (nn.Linear(2, 2).requires_grad_(False), pretrained()[0]):
        with pytest.raises(InvalidInputError, match=r"layers that train and have reset_parameters\(\)"):
            reinitialised(model, seed=0)


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.LayerNorm, functools.partial(nn.GroupNorm, 2)])
def test_layers_that_look_trained_do_not_vanish_silently(kind):
    norm = kind(4)
    model = nn.Sequential(nn.Linear(4, 4), norm, nn.Linear(4, CLASSES))
    reinitialised(model, seed=0)  # as it is made: no warning
    with torch.no_grad():
        norm.weight.copy_(torch.arange(4.0))
    with pytest.warns(UserWarning, match="layer '1' looks trained.*layers="):
        reinitialised(model, seed=0)
    norm.requires_grad_(False)
    reinitialised(model, seed=0)


def test_statistics_of_data_look_trained():
    with pytest.warns(UserWarning, match="layer '0' looks trained"):
        reinitialised(nn.Sequential(seen_by(nn.BatchNorm1d(4, affine=False)), nn.Linear(4, 2)), seed=0)


RECIPES_OF_TWO = {
    "coteaching": RECIPES["coteaching"].replace(objective=CoTeaching(noise_rate=0.3)),
    "dividemix": "dividemix",
    "cross-fitting": RECIPES["robust"].replace(correction=CrossFitting(), objective=TaskLoss(), standardize=None),
}


@pytest.mark.parametrize("recipe", RECIPES_OF_TWO.values(), ids=RECIPES_OF_TWO)
def test_a_run_of_two_networks_ends_with_the_frozen_weights_in_both(recipe):
    model = pretrained()
    result = SelfCorrector(model, num_classes=CLASSES, recipe=recipe, epochs=3, callbacks=[QUIET]).fit(blobs()[:2])
    for net in (result.model.first, result.model.second):
        for name, value in model[0].named_parameters():
            assert torch.equal(net[0].get_parameter(name), value), name


@pytest.fixture
def starts(monkeypatch):
    """The models that the trainings of prune_retrain start from."""
    seen, fit = [], module._fit

    def noted(model, *args, **settings):
        seen.append(copy.deepcopy(model))
        return fit(model, *args, **settings)

    monkeypatch.setattr(module, "_fit", noted)
    return seen


def test_folds_keep_what_is_frozen(starts):
    model = pretrained()
    prune_retrain(model, blobs()[:2], num_classes=CLASSES, epochs=1, folds=2, callbacks=[QUIET])
    *folds, last = starts
    for start in folds:
        assert_same_state(start[0], model[0])
        assert not torch.equal(start[1].weight, model[1].weight)
    assert not torch.equal(folds[0][1].weight, folds[1][1].weight)
    assert_same_state(last, model)


def test_folds_of_a_pretrained_network_may_start_from_it(starts):
    model = network()
    prune_retrain(model, blobs()[:2], num_classes=CLASSES, epochs=1, folds=2, callbacks=[QUIET], fresh=False)
    assert len(starts) == 3
    for start in starts:
        assert_same_state(start, model)
