"""Co-teaching against loops over Algorithm 1 of Han et al. 2018."""

import numpy as np
import pytest
import torch
from torch import nn

from noisycorrect import Classification, Correction
from noisycorrect.classification.methods.coteaching import CoTeaching, exchange_loss, remember_rate
from noisycorrect.correction.part import Setup
from noisycorrect.correction.twin import TwinNetworks
from noisycorrect.data.batches import Batch
from noisycorrect.labels import Trust
from noisycorrect.support.errors import InvalidInputError

COUNT, CLASSES = 12, 3
GIVEN = Correction()  # labels stay as they are given


def setup(given, epochs=20):
    length = 0 if given is None else len(given)
    return Setup(Classification(CLASSES), given, length, epochs, torch.device("cpu"), 0, lambda _: None, lambda: None)


def twin():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwinNetworks.of(nn.Linear(4, CLASSES), seed=1).double()


def batch():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(COUNT, 4, generator=generator, dtype=torch.float64)
    given = torch.randint(CLASSES, (COUNT,), generator=generator)
    return Batch(torch.arange(COUNT), inputs, given, Trust(torch.ones(COUNT)))


def rates(noise_rate, warmup_epochs, epochs):
    """R as Algorithm 1 updates it: line 10, at the end of epoch T = 1, 2, ..., for the next one."""
    rate = 1.0
    for epoch in range(1, epochs + 1):
        yield rate
        rate = 1 - min(epoch / warmup_epochs * noise_rate, noise_rate)


def cross_entropies(logits, given):
    rows = []
    for row, label in zip(logits.tolist(), given.tolist(), strict=True):
        rows.append(np.log(sum(np.exp(value) for value in row)) - row[label])
    return rows


def taught(losses, keep):
    """Lines 5-8: each network's mean loss on the `keep` samples of the other's smallest losses."""
    total = 0.0
    for own, other in ((losses[0], losses[1]), (losses[1], losses[0])):
        chosen = sorted(range(len(other)), key=lambda i: other[i])[:keep]
        total += sum(own[i] for i in chosen) / keep
    return total


@pytest.mark.parametrize(("noise_rate", "warmup_epochs"), [(0.4, 4), (0.2, 10), (0.0, 3)])
def test_the_rate_is_that_of_the_algorithm(noise_rate, warmup_epochs):
    expected = list(rates(noise_rate, warmup_epochs, 20))
    assert [remember_rate(epoch, noise_rate, warmup_epochs) for epoch in range(20)] == pytest.approx(expected)


@pytest.mark.parametrize("keep", [1, 5, COUNT])
def test_exchanged_losses_are_those_of_the_loops(keep):
    losses = torch.rand(2, COUNT, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert exchange_loss(losses, keep).item() == pytest.approx(taught(losses.tolist(), keep), rel=1e-12)


@pytest.mark.parametrize(("epoch", "keep"), [(0, 12), (2, 10), (4, 7), (15, 7)])
def test_the_objective_is_the_algorithm(epoch, keep):
    objective, networks, samples = CoTeaching(0.4, warmup_epochs=4), twin(), batch()
    objective.start(setup(samples.given))
    objective.start_epoch(epoch, networks)
    losses = [cross_entropies(own, samples.given) for own in networks(samples.input)]
    assert objective.loss(networks, samples, GIVEN).item() == pytest.approx(taught(losses, keep), rel=1e-12)


def test_each_network_learns_from_the_others_samples_alone():
    objective, networks, samples = CoTeaching(0.5, warmup_epochs=1), twin(), batch()
    objective.start(setup(samples.given))
    objective.start_epoch(1, networks)
    objective.loss(networks, samples, GIVEN).backward()
    losses = [cross_entropies(own, samples.given) for own in networks(samples.input)]
    for own, other in ((0, 1), (1, 0)):
        chosen = sorted(range(COUNT), key=lambda i: losses[other][i])[: COUNT // 2]
        alone = (networks.first, networks.second)[own]
        logits = alone(samples.input[chosen])
        expected = torch.autograd.grad(nn.functional.cross_entropy(logits, samples.given[chosen]), alone.weight)[0]
        torch.testing.assert_close(alone.weight.grad, expected, rtol=1e-10, atol=1e-12)


def test_the_warmup_takes_half_of_a_short_run():
    objective, networks, samples = CoTeaching(0.5, warmup_epochs=10), twin(), batch()
    objective.start(setup(samples.given, epochs=6))
    objective.start_epoch(3, networks)
    losses = [cross_entropies(own, samples.given) for own in networks(samples.input)]
    assert objective.loss(networks, samples, GIVEN).item() == pytest.approx(taught(losses, 6), rel=1e-12)


def test_one_sample_is_always_kept():
    objective, networks, samples = CoTeaching(0.9, warmup_epochs=1), twin(), batch()
    one = Batch(samples.index[:1], samples.input[:1], samples.given[:1], Trust(samples.trust.weight[:1]))
    objective.start(setup(samples.given))
    objective.start_epoch(5, networks)
    expected = sum(cross_entropies(own, one.given)[0] for own in networks(one.input))
    assert objective.loss(networks, one, GIVEN).item() == pytest.approx(expected, rel=1e-12)


def test_it_costs_two_networks_and_knows_itself():
    assert CoTeaching(0.2).passes(0, 10) == 6
    assert CoTeaching(0.2).identity() == {"name": "CoTeaching", "noise_rate": 0.2, "warmup_epochs": 10}


@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan"), "0.2"])
def test_rates_out_of_range_are_refused(rate):
    with pytest.raises(InvalidInputError, match="noise_rate < 1"):
        CoTeaching(rate)


def test_other_bad_input_is_refused():
    with pytest.raises(InvalidInputError, match="warmup_epochs to be a whole number >= 1"):
        CoTeaching(0.2, warmup_epochs=0)
    with pytest.raises(InvalidInputError, match="a label for every sample with CoTeaching; got 1"):
        CoTeaching(0.2).start(setup(torch.tensor([0, -1, 1])))
    with pytest.raises(InvalidInputError, match="class labels for CoTeaching; got .*Classification"):
        CoTeaching(0.2).start(setup(None))
    with pytest.raises(InvalidInputError, match="the noise rate that co-teaching needs to know; got None"):
        CoTeaching().start(setup(torch.tensor([0, 1])))
