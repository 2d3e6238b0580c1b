"""The modes in which modules train, and that they come back to them."""

import pytest
import torch
from torch import nn

from noisycorrect.support.modes import TrainingModes, frozen_statistics, resting_modules
from noisycorrect.support.modules import evaluating


def seen(norm):
    """Return a normalisation layer with statistics of data."""
    norm.train()(3 + 2 * torch.randn(16, 4, generator=torch.Generator().manual_seed(0)))
    return norm


class KeepsNormsAtRest(nn.Sequential):
    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self


class AlwaysOn(nn.Dropout):
    def train(self, mode=True):
        return super().train(True)


def modes(model):
    return [module.training for module in model.modules()]


def body(kind=nn.Sequential):
    return kind(nn.Linear(4, 4), seen(nn.BatchNorm1d(4)), nn.Dropout(), nn.Linear(4, 2))


def test_what_is_at_rest_while_the_model_trains_stays_there():
    model = body()
    model[1].eval()
    model[2].eval()
    kept = TrainingModes(model)
    assert kept.resting == {"1", "2"}
    for disturbed in (model.train, model.eval):
        disturbed()
        kept.apply()
        assert modes(model) == [True, True, False, False, True]
    model.append(nn.Dropout().eval())  # has come since: it trains
    kept.apply()
    assert model[4].training


def test_of_a_model_in_evaluation_mode_nothing_is_at_rest():
    model = body().eval()
    assert resting_modules(model) == []
    assert TrainingModes(model).resting == frozenset()
    assert modes(model) == [True] * 5


@pytest.mark.parametrize("start", [True, False])
def test_a_train_of_its_own_is_asked(start):
    model = body(KeepsNormsAtRest)
    nn.Module.train(model, start)
    kept = TrainingModes(model)
    assert kept.resting == {"1"}
    assert modes(model) == [True, True, False, True, True]
    with evaluating(model):
        assert not any(modes(model))
    assert modes(model) == [True, True, False, True, True]


def test_children_that_train_in_a_module_at_rest():
    model = nn.Sequential(body(), nn.Linear(2, 2))
    model[0].eval()
    model[0][3].train()
    before = modes(model)
    kept = TrainingModes(model)
    assert kept.resting == {"0", "0.0", "0.1", "0.2"}
    model.train()
    kept.apply()
    assert modes(model) == before
    assert kept.trained_at_rest() == "0"
    with evaluating(model):
        assert not any(modes(model))
    assert modes(model) == before


def test_a_layer_that_never_rests_is_left_to_it():
    model = nn.Sequential(AlwaysOn(), nn.Linear(4, 2))
    with evaluating(model):
        assert modes(model) == [False, True, False]


def test_modes_come_back_after_an_error():
    model = body(KeepsNormsAtRest).train()
    before, weights = modes(model), [p.clone() for p in model.parameters()]
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert modes(model) == before
    assert all(torch.equal(one, other) for one, other in zip(weights, model.parameters(), strict=True))


def test_normalisation_is_frozen_where_nothing_of_it_trains_and_it_has_seen_data():
    model = nn.Sequential(body(), body())
    assert frozen_statistics(model) == []
    model[0].requires_grad_(False)
    assert frozen_statistics(model) == ["0.1"]
    model[1][1].requires_grad_(False)
    assert frozen_statistics(model) == ["0.1", "1.1"]
    assert TrainingModes(model).resting == {"0.1", "1.1"}
    model[0][1] = nn.BatchNorm1d(4).requires_grad_(False)  # has seen nothing: there is nothing to keep
    assert frozen_statistics(model) == ["1.1"]
    assert frozen_statistics(model.requires_grad_(False)) == []  # says nothing of one layer


def test_without_scale_and_shift_a_layer_is_frozen_with_its_surroundings():
    norm = seen(nn.BatchNorm1d(4, affine=False))
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), norm), nn.Linear(4, 2))
    assert frozen_statistics(model) == []
    model[0].requires_grad_(False)
    assert frozen_statistics(model) == ["0.1"]
