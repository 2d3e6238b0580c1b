"""WeightAggregator against float64 means."""

import pytest
import torch
from torch import nn

from noisycorrect import WeightAggregator
from noisycorrect.cycle.aggregate import BUCKET, equal_average, exponential_average
from noisycorrect.support.errors import CheckpointError, InvalidInputError


class Tied(nn.Module):
    """Two layers that share a weight, a BatchNorm, and an integer buffer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.second = nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(5)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        return self.norm(self.second(self.first(x)))


def snapshots(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    models = []
    for number in range(count):
        model = Tied()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 10 ** (number - 2))
        model.steps.fill_(number)
        model.norm.running_mean.fill_(number)
        models.append(model)
    return models


def float64_recursion(models, name):
    """Eq. 6 step by step, in float64."""
    average = dict(models[0].named_parameters())[name].detach().double()
    for m, model in enumerate(models[1:], start=1):
        average = m / (m + 1) * average + 1 / (m + 1) * dict(model.named_parameters())[name].detach().double()
    return average


@pytest.mark.parametrize("count", [1, 2, 6, 50])
def test_equal_mean_is_within_the_stated_rounding_of_eq_6(count):
    models = snapshots(min(count, 6)) * (-(-count // 6))
    models = models[:count]
    aggregator = WeightAggregator(models[0])
    for model in models:
        aggregator.update(model)
    assert aggregator.count == count
    for name, parameter in aggregator.model.named_parameters():
        exact = float64_recursion(models, name)
        largest = max(dict(model.named_parameters())[name].abs().max() for model in models)
        unit = torch.finfo(torch.float32).eps * largest  # a unit in the last place of the largest mean on the way
        assert (parameter.double() - exact).abs().max() <= (count + 2) / 4 * unit


def test_first_update_copies_and_the_source_is_never_changed():
    first, second = snapshots(2)
    before = {name: value.clone() for name, value in first.state_dict().items()}
    aggregator = WeightAggregator(first)
    aggregator.update(first)
    for name, value in aggregator.model.state_dict().items():
        assert torch.equal(value, before[name])
    aggregator.update(second)
    for name, value in first.state_dict().items():
        assert torch.equal(value, before[name])


def test_shared_parameters_stay_shared_and_are_averaged_once():
    models = snapshots(3)
    aggregator = WeightAggregator(models[0])
    for model in models:
        aggregator.update(model)
    assert aggregator.model.first.weight is aggregator.model.second.weight
    torch.testing.assert_close(
        aggregator.model.first.weight.double(), float64_recursion(models, "first.weight"), rtol=1e-6, atol=1e-6
    )


def test_buffers_are_the_latest_models():
    models = snapshots(3)
    aggregator = WeightAggregator(models[0])
    for model in models:
        aggregator.update(model)
    assert aggregator.model.steps.item() == 2
    assert aggregator.model.steps.dtype is torch.int64
    assert torch.equal(aggregator.model.norm.running_mean, torch.full((5,), 2.0))


def test_exponential_average():
    models = snapshots(7)
    aggregator = WeightAggregator(models[0], method="exponential", decay=0.75)
    expected, seen = None, []
    for model in models:
        aggregator.update(model)
        value = model.first.weight.detach().double()
        seen.append(value)
        # The mean of the first 1 / (1 - 0.75) = 4, then exponential.
        expected = sum(seen) / len(seen) if len(seen) <= 4 else 0.75 * expected + 0.25 * value
    torch.testing.assert_close(aggregator.model.first.weight.double(), expected, rtol=1e-6, atol=1e-6)


class Assorted(nn.Module):
    """Parameters of many sizes and two precisions: some are averaged together, some alone."""

    def __init__(self, generator):
        super().__init__()
        shapes = [(3,), (7, 5), (BUCKET - 30,), (BUCKET + 1,), (2, 2), (), (BUCKET,), (4,)]
        kinds = [torch.float32, torch.float16]
        self.own = nn.ParameterList(
            torch.randn(shape, generator=generator).to(kinds[place % 2]) for place, shape in enumerate(shapes)
        )
        self.own[4].requires_grad_(False)


@pytest.mark.parametrize("method", ["equal", "exponential"])
def test_parameters_averaged_together_are_as_each_alone(method):
    generator = torch.Generator().manual_seed(0)
    models = [Assorted(generator) for _ in range(4)]
    aggregator = WeightAggregator(models[0], method=method, decay=0.6)
    for model in models:
        aggregator.update(model)
    kept = aggregator.state_dict()["wide"]
    for place, parameter in enumerate(aggregator.model.own):
        average = models[0].own[place].detach().float()
        for count, model in enumerate(models[1:], 1):
            value = model.own[place].detach()
            step = min(0.6, count / (count + 1))
            average = (
                equal_average(average, value, count) if method == "equal" else exponential_average(average, value, step)
            )
        if not parameter.requires_grad:
            average = models[-1].own[place].float()
        assert torch.equal(kept.get(f"own.{place}", parameter), average)


def test_state_dict_goes_on_where_it_stopped():
    models = snapshots(6)
    whole, first_half = WeightAggregator(models[0]), WeightAggregator(models[0])
    for model in models:
        whole.update(model)
    for model in models[:3]:
        first_half.update(model)
    resumed = WeightAggregator(Tied())
    resumed.load_state_dict(first_half.state_dict())
    for model in models[3:]:
        resumed.update(model)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_modes_and_wrappers():
    model = Tied()
    model.train()
    aggregator = WeightAggregator(nn.DataParallel(model))
    aggregator.update(nn.DataParallel(model))
    assert type(aggregator.model) is Tied
    assert model.training
    assert not aggregator.model.training
    assert aggregator.model.first.weight.grad is None


def test_half_precision_is_averaged_through_float64():
    model = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    aggregator = WeightAggregator(model)
    for value in (1.0, 1.0, 1.0234375):
        model.weight.data.fill_(value)
        aggregator.update(model)
    assert aggregator.model.weight.item() == torch.tensor((1 + 1 + 1.0234375) / 3).to(torch.bfloat16).item()


def test_bad_input_names_the_first_key_and_keeps_the_average():
    model = nn.Sequential(nn.Linear(2, 2))
    aggregator = WeightAggregator(model)
    aggregator.update(model)
    before = aggregator.model[0].weight.clone()
    with pytest.raises(InvalidInputError, match=r"'0.weight' of shape \(2, 2\); got \(3, 2\)"):
        aggregator.update(nn.Sequential(nn.Linear(2, 3)))
    with pytest.raises(InvalidInputError, match=r"'1.weight' of shape absent; got \(2, 2\)"):
        aggregator.update(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    assert torch.equal(aggregator.model[0].weight, before)
    assert aggregator.count == 1
    with pytest.raises(InvalidInputError, match="did you mean 'equal'"):
        WeightAggregator(model, method="equl")
    with pytest.raises(InvalidInputError, match=r"decay in \[0, 1\); got 1"):
        WeightAggregator(model, method="exponential", decay=1)
    with pytest.raises(CheckpointError, match="method 'exponential'; got 'equal'"):
        WeightAggregator(model, method="exponential").load_state_dict(aggregator.state_dict())
    with pytest.raises(CheckpointError, match="this architecture"):
        WeightAggregator(nn.Linear(1, 1)).load_state_dict(aggregator.state_dict())
