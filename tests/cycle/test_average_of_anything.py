"""The average is made anew from the student, whatever that is made of."""

import warnings

import pytest
import torch
from modal import Folds, LowRank, Remembers
from torch import nn

from noisycorrect import WeightAggregator
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.modules import copied, evaluating

INPUTS = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def stepped(model, seed):
    """Change what trains, by a training step's worth of random numbers, and let the model see a batch."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        model(INPUTS)


def low_rank():
    return nn.Sequential(LowRank(4, 6), nn.ReLU(), LowRank(6, 3))


def parametrised(norm):
    return lambda: nn.Sequential(norm(nn.Linear(4, 3)))


def old(norm):
    def make():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would have us use parametrizations
            return nn.Sequential(norm(nn.Linear(4, 3)))

    return make


def tied():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    model[1].weight = model[0].weight
    return model


MODELS = {
    "merged weights": low_rank,
    "folded layers": Folds,
    "buffers, extra state, attributes": Remembers,
    "weight_norm": parametrised(nn.utils.parametrizations.weight_norm),
    "spectral_norm": parametrised(nn.utils.parametrizations.spectral_norm),
    "old weight_norm": old(nn.utils.weight_norm),
    "old spectral_norm": old(nn.utils.spectral_norm),
    "tied": tied,
}
anything = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@anything
@pytest.mark.parametrize("method", ["equal", "exponential"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_of_one_it_is_the_model_and_of_two_their_mean(make, method, wrapped):
    torch.manual_seed(0)
    model = make()
    aggregator = WeightAggregator(model, method=method, decay=0.9)
    given = nn.DataParallel(model) if wrapped else model
    stepped(model, 1)
    aggregator.update(given)
    expected = copied(model)
    torch.testing.assert_close(aggregator.model(INPUTS), expected.eval()(INPUTS), rtol=1e-5, atol=1e-6)
    one = {name: value.detach().clone() for name, value in model.named_parameters()}
    stepped(model, 2)
    aggregator.update(given)
    mean = copied(model)
    with torch.no_grad():
        for name, parameter in mean.named_parameters():
            parameter.copy_((one[name] + parameter) / 2)
    torch.testing.assert_close(aggregator.model(INPUTS), mean.eval()(INPUTS), rtol=1e-5, atol=1e-6)
    assert model.training
    assert not aggregator.model.training


@anything
def test_a_state_is_restored_into_a_new_model(make):
    torch.manual_seed(0)
    model = make()
    first = copied(model)
    aggregator = WeightAggregator(model, method="exponential", decay=0.9)
    for seed in range(3):
        stepped(model, seed)
        aggregator.update(model)
    resumed = WeightAggregator(first, method="exponential", decay=0.9)
    resumed.load_state_dict(aggregator.state_dict())
    assert torch.equal(resumed.model(INPUTS), aggregator.model(INPUTS))
    stepped(model, 3)
    for each in (aggregator, resumed):
        each.update(model)
    assert torch.equal(resumed.model(INPUTS), aggregator.model(INPUTS))
    other = nn.Sequential(nn.Linear(4, 5))
    with pytest.raises(CheckpointError, match="an average of this architecture"):
        WeightAggregator(other, method="exponential").load_state_dict(aggregator.state_dict())


@anything
def test_a_cycle_starts_from_the_average_whatever_mode_the_model_is_in(make):
    torch.manual_seed(0)
    model = make()
    aggregator = WeightAggregator(model)
    for seed in range(2):
        stepped(model, seed)
        aggregator.update(model)
    for target in (model, copied(model).eval()):
        mode = target.training
        aggregator.copy_to(target)
        assert target.training is mode
        torch.testing.assert_close(target.eval()(INPUTS), aggregator.model(INPUTS), rtol=1e-5, atol=1e-6)


def test_weights_are_read_as_training_has_them_from_a_model_in_evaluation_mode():
    torch.manual_seed(0)
    model = low_rank()
    stepped(model, 0)
    twin = copied(model)
    trains, evaluates = WeightAggregator(model), WeightAggregator(twin)
    for seed in range(3):
        stepped(model, seed)
        twin.train()
        stepped(twin, seed)
        twin.eval()
        trains.update(model)
        evaluates.update(twin)
        assert twin[0].merged
    torch.testing.assert_close(evaluates.model(INPUTS), trains.model(INPUTS), rtol=1e-5, atol=1e-6)


def test_what_is_frozen_does_not_drift_and_what_is_merged_stays_frozen():
    torch.manual_seed(0)
    model = low_rank()
    before = model[0].weight.detach().clone()
    aggregator = WeightAggregator(model)
    for seed in range(20):
        stepped(model, seed)
        with evaluating(model):
            assert model[0].merged
            assert not torch.equal(model[0].weight, before)
        assert not model[0].merged
        aggregator.update(model)
    assert torch.equal(model[0].weight, before)
    started = copied(model)
    aggregator.copy_to(started)
    assert torch.equal(started[0].weight, before)


def test_an_adapter_that_is_frozen_and_merged_is_not_merged_twice():
    torch.manual_seed(0)
    model = nn.Sequential(LowRank(4, 4), nn.Linear(4, 3))
    nn.init.normal_(model[0].b)
    model[0].requires_grad_(False).eval()
    aggregator = WeightAggregator(model, method="exponential")
    aggregator.update(model)
    expected = copied(model).eval()(INPUTS)
    torch.testing.assert_close(aggregator.model(INPUTS), expected, rtol=1e-5, atol=1e-6)
    aggregator.update(model)
    model.train()  # the adapter, too, before the average is asked for
    torch.testing.assert_close(aggregator.model(INPUTS), expected, rtol=1e-5, atol=1e-6)
    assert aggregator.resting == ("0",)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("method", "then", "expected"), [("exponential", 1000, 1.2), ("equal", 300, 1.1)])
def test_an_average_of_half_precision_moves(dtype, method, then, expected):
    model = nn.Linear(1, 1, bias=False).to(dtype)
    aggregator = WeightAggregator(model, method=method, decay=0.99)
    for value, count in ((1.0, 300), (1.2, then)):
        nn.init.constant_(model.weight, value)
        for _ in range(count):
            aggregator.update(model)
    assert aggregator.model.weight.item() == pytest.approx(expected, abs=0.005)
    assert aggregator.model.weight.dtype is dtype
    resumed = WeightAggregator(nn.Linear(1, 1, bias=False).to(dtype), method=method, decay=0.99)
    resumed.load_state_dict(aggregator.state_dict())
    nn.init.constant_(model.weight, 2.0)
    for each in (aggregator, resumed):
        for _ in range(3):
            each.update(model)
    assert resumed.state_dict()["wide"]["weight"].dtype is torch.float32
    assert torch.equal(resumed.state_dict()["wide"]["weight"], aggregator.state_dict()["wide"]["weight"])


def test_under_inference_mode_it_is_an_ordinary_average():
    model = nn.Linear(4, 3)
    aggregator = WeightAggregator(model)
    with torch.inference_mode():
        aggregator.update(model)
    aggregator.update(model)
    aggregator.model(INPUTS).sum().backward()
    assert aggregator.model.weight.grad is not None


class Itself(nn.Linear):
    def __deepcopy__(self, memo):
        return self


class Refuses(nn.Linear):
    def __deepcopy__(self, memo):
        raise ValueError("one of a kind\nand so on")


@pytest.mark.parametrize(
    ("make", "message"),
    [(Itself, "whose copy has the parameter 'weight' of the original"), (Refuses, "Refuses: one of a kind;")],
)
def test_copies_that_are_none_are_refused_at_once(make, message):
    with pytest.raises(InvalidInputError, match=message):
        WeightAggregator(make(4, 3))
