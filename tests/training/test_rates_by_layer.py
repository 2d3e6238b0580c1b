"""An optimizer with a rate for each layer, made of the run's own network."""

import pytest
import torch
from tiny_runs import CLASSES, SHORT, Kill, assert_equal_runs, blobs, corrector, network
from torch import nn
from torch.optim import SGD, AdamW

from noisycorrect import RECIPES, Callback, CosineCycles, OneCosine, Schedule
from noisycorrect.classification.methods.coteaching import CoTeaching
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.training.optimizer import optimizer_identity, takes_model

QUICK = SHORT.replace(schedule=Schedule(2, 2, 1))
INPUTS, GIVEN, _ = blobs(60)


def by_layer(model, lr):
    head = list(model[4].parameters())
    rest = [parameter for layer in model[:4] for parameter in layer.parameters()]
    return SGD([{"params": head}, {"params": rest, "lr": lr / 10}], lr=lr, momentum=0.9)


class Rates(Callback):
    def __init__(self):
        self.rates = []

    def on_batch_end(self, run, batch):
        self.rates.append([group["lr"] for group in run.optimizer.param_groups])


@pytest.mark.parametrize(
    "rates",
    [CosineCycles(), CosineCycles(cycle_lr=0.02, min_lr=1e-3), OneCosine(), OneCosine(min_lr=1e-3, warmup_epochs=1)],
)
def test_groups_keep_their_ratios(rates):
    seen = Rates()
    result = corrector(recipe=QUICK.replace(rates=rates), optimizer=by_layer, callbacks=[seen]).fit((INPUTS, GIVEN))
    assert len(seen.rates) == 4 * 3
    for head, rest in seen.rates:
        assert rest == pytest.approx(head / 10, rel=1e-9)
    heads = [head for head, _ in seen.rates]
    assert max(heads) == pytest.approx(0.1, rel=0.5)
    assert len(set(heads)) > 6
    start = dict(network().named_parameters())
    moved = {name for name, value in result.model.named_parameters() if not torch.equal(value, start[name])}
    assert moved >= start.keys() - {"0.bias"}  # BatchNorm takes away what a bias before it adds


def test_one_rate_for_all_layers_is_the_plain_run():
    def same(model, lr):
        return SGD([{"params": layer.parameters()} for layer in model], lr=lr, momentum=0.9, weight_decay=5e-4)

    plain = corrector(recipe=QUICK).fit((INPUTS, GIVEN))
    assert_equal_runs(corrector(recipe=QUICK, optimizer=same).fit((INPUTS, GIVEN)), plain)


@pytest.mark.parametrize("recipe", ["robust", "ce", "coteaching"])
def test_the_factory_gets_the_network_that_the_caller_made(recipe):
    """Behind what standardises inputs, and each of two."""
    seen = []

    def factory(model: nn.Module):
        seen.append(model)
        return AdamW([{"params": model[0].parameters(), "lr": 1e-3}, {"params": model[1:].parameters()}], lr=1e-2)

    chosen = RECIPES["coteaching"].replace(objective=CoTeaching(noise_rate=0.2)) if recipe == "coteaching" else recipe
    groups = []
    watch = Rates()
    result = corrector(recipe=chosen, epochs=3, lr=None, optimizer=factory, callbacks=[watch]).fit((INPUTS, GIVEN))
    groups = watch.rates[0]
    assert all(isinstance(model, nn.Sequential) and len(model) == 5 for model in seen)
    assert len(groups) == 2 * len(seen)
    assert len(seen) == (2 if recipe == "coteaching" else 1)
    assert groups[0] == pytest.approx(groups[1] / 10)
    assert result.model(INPUTS).shape == (60, CLASSES)


def test_whose_first_argument_is_the_model():
    def annotated(thing: nn.Sequential):
        return None

    def in_words(thing: "nn.Module", lr=1):
        return None

    for factory in (annotated, in_words, lambda model, lr: None, lambda net: None, lambda network: None):
        assert takes_model(factory)
    for factory in (SGD, AdamW, lambda parameters, lr: None, lambda p: None, lambda: None, print):
        assert not takes_model(factory)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda model, lr: SGD(model.head.parameters(), lr=lr), r"optimizer\(model, lr=0.1\) to work; got .*'head'"),
        (lambda m, lr: SGD(m[0].parameters(), lr=lr), "one whose first argument is called model gets the network"),
        (lambda model, lr: SGD(network().parameters(), lr=lr), r"rates by layer, lambda model: SGD"),
        (lambda model, lr: None, r"optimizer\(model\) to return a torch Optimizer; got NoneType"),
    ],
)
def test_factories_that_do_not_work(factory, message):
    with pytest.raises(InvalidInputError, match=message):
        corrector(recipe=QUICK, optimizer=factory).fit((INPUTS, GIVEN))


def test_rates_of_another_run_are_not_resumed(tmp_path):
    def fit(share, run_dir=None, fail_after=None):
        def factory(model, lr):
            return SGD(
                [{"params": model[:4].parameters(), "lr": lr * share}, {"params": model[4:].parameters()}], lr=lr
            )

        one = corrector(recipe=QUICK, optimizer=factory, run_dir=run_dir, callbacks=[Kill(fail_after)])
        return one.fit((INPUTS, GIVEN))

    with pytest.raises(KeyboardInterrupt):
        fit(0.1, tmp_path, fail_after=2)
    with pytest.raises(CheckpointError, match="optimizer="):
        fit(0.2, tmp_path)
    assert_equal_runs(fit(0.1, tmp_path), fit(0.1))


def test_one_group_is_identified_as_before():
    optimizer = SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    assert "groups" not in optimizer_identity(optimizer)
