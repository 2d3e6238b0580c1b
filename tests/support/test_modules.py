"""Copies of models that copy.deepcopy does not copy."""

import threading
import warnings

import pytest
import torch
from torch import nn

from noisycorrect import WeightAggregator
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.modules import copied, keeps_results

INPUTS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Keeps(nn.Module):
    """Keeps its last features, in a list, too."""

    def __init__(self, thing=None):
        super().__init__()
        self.layer, self.thing, self.seen = nn.Linear(4, 3), thing, {}

    def forward(self, x):
        self.last = self.layer(x)
        self.seen["all"] = [self.last, (self.last * 2,)]
        return self.last


def old_norm(norm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would have us use parametrizations
        return nn.Sequential(norm(nn.Linear(4, 3)))


@pytest.mark.parametrize(
    "make", [Keeps, lambda: old_norm(nn.utils.weight_norm), lambda: old_norm(nn.utils.spectral_norm)]
)
def test_results_of_the_last_call_are_copied_without_their_graph(make):
    model = make()
    model(INPUTS)
    assert keeps_results(model)
    copy = copied(model)
    assert not keeps_results(copy)
    torch.testing.assert_close(copy.eval()(INPUTS), model.eval()(INPUTS), rtol=0, atol=0)
    for own, other in zip(copy.parameters(), model.parameters(), strict=True):
        assert own.data_ptr() != other.data_ptr()
    average = WeightAggregator(model)
    average.update(model)
    torch.testing.assert_close(average.model(INPUTS), model.eval()(INPUTS))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Keeps(threading.Lock()), "a model that can be copied.*got thing: .*lock"),
        (lambda: nn.Sequential(nn.Linear(4, 4), Keeps(threading.Lock())), "got 1.thing: "),
        (lambda: nn.Sequential(nn.LazyLinear(3)), r"not been called: '0.weight'; to fix: call the model once"),
    ],
)
def test_what_cannot_be_copied_is_named(make, message):
    with pytest.raises(InvalidInputError, match=message):
        copied(make())
