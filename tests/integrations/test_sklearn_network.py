"""The network of those who bring none, and those that others bring."""

import pytest
import torch
from torch import nn

from noisycorrect import InvalidInputError
from noisycorrect.integrations.sklearn.network import MANY, default_network, made_network


def test_the_default_network_has_its_weights_from_the_seed_alone():
    before = torch.random.get_rng_state()
    one, same, other = (made_network(None, 4, 3, 100, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [nn.utils.parameters_to_vector(network.parameters()) for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_many_samples_get_a_wider_network():
    sizes = [sum(p.numel() for p in default_network(4, 3, samples).parameters()) for samples in (MANY - 1, MANY)]
    assert sizes[0] < sizes[1]


def test_networks_that_others_bring():
    own = nn.Linear(4, 3)
    assert made_network(own, 4, 3, 9, 0) is own
    assert made_network(nn.Linear, 4, 3, 9, 0).weight.shape == (3, 4)
    assert made_network(lambda shape, classes: nn.Linear(shape[0], classes), (2, 8, 8), 3, 9, 0).in_features == 2


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("mlp", "module to be a network or to make one; got 'mlp'"),
        (lambda width: nn.Linear(width, 2), r"module to take \(n_features, n_classes\); got <lambda>"),
        (lambda width, classes: (width, classes), "module to make a network; got an object of tuple"),
    ],
)
def test_what_is_refused(module, message):
    with pytest.raises(InvalidInputError, match=message):
        made_network(module, 4, 3, 9, 0)
