"""The learning rate as a recipe says it goes."""

import itertools

import pytest
import torch
from tiny_runs import SHORT, AfterEpoch, blobs, corrector
from torch import nn

from noisycorrect import CosineCycles, OneCosine, Schedule
from noisycorrect.cycle.schedule import cyclical_lr
from noisycorrect.support.errors import InvalidInputError

LENGTHS = Schedule(init_epochs=20, cycles=3, cycle_epochs=10)


def rates_of(rates, schedule=LENGTHS, lr=0.4):
    """Return the rate of each epoch's beginning."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=lr)
    scheduler = rates.scheduler(optimizer, schedule)
    found = []
    for epoch in range(schedule.epochs):
        scheduler.step(epoch)
        found += scheduler.get_last_lr()
    return found


@pytest.mark.parametrize("rates", [CosineCycles(), CosineCycles(warmup_epochs=5, cycle_lr=0.3, min_lr=0.1)])
def test_cycles_are_equation_5(rates):
    warmup = 2 if rates.warmup_epochs is None else 5  # a tenth of the initial phase
    lengths = {"warmup_epochs": warmup, "init_epochs": 20, "cycle_epochs": 10}
    peaks = {"lr": 0.4, "cycle_lr": rates.cycle_lr or 0.2, "min_lr": rates.min_lr or 0.004}
    expected = [cyclical_lr(epoch, **lengths, **peaks) for epoch in range(50)]
    assert rates_of(rates) == pytest.approx(expected)


@pytest.mark.parametrize("rates", [OneCosine(), OneCosine(warmup_epochs=3, min_lr=0.1)])
def test_one_cosine_takes_no_notice_of_cycles(rates):
    warmup = 5 if rates.warmup_epochs is None else 3  # a tenth of all epochs
    lengths = {"warmup_epochs": warmup, "init_epochs": 50, "cycle_epochs": 1}
    peaks = {"lr": 0.4, "cycle_lr": 1, "min_lr": rates.min_lr or 0.004}
    expected = [cyclical_lr(epoch, **lengths, **peaks) for epoch in range(50)]
    assert rates_of(rates) == pytest.approx(expected)


def test_the_warmup_of_one_cosine_is_half_of_a_short_initial_phase():
    assert OneCosine().warmup(Schedule(init_epochs=2, cycles=5, cycle_epochs=10)) == 1
    assert OneCosine().warmup(LENGTHS) == 5


@pytest.mark.parametrize(("rates", "peaks"), [(CosineCycles(warmup_epochs=0), 2), (OneCosine(warmup_epochs=0), 1)])
def test_a_run_goes_by_them(rates, peaks):
    inputs, given, _ = blobs(60)
    seen = []
    recipe = SHORT.replace(schedule=Schedule(init_epochs=4, cycles=1, cycle_epochs=4), rates=rates)
    watcher = AfterEpoch(lambda run: seen.append(run.epoch_record()["lr"]))
    corrector(recipe=recipe, callbacks=[watcher]).fit((inputs, given))
    assert sum(later > earlier for earlier, later in itertools.pairwise(seen)) == peaks - 1


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (CosineCycles, {"cycle_lr": float("nan")}, "0 <= cycle_lr; got nan"),
        (CosineCycles, {"cycle_lr": 0.1, "min_lr": 0.2}, "cycle_lr >= min_lr; got cycle_lr=0.1, min_lr=0.2; to fix"),
        (CosineCycles, {"warmup_epochs": -1}, "0 <= warmup_epochs; got -1"),
        (OneCosine, {"min_lr": "low"}, "0 <= min_lr; got 'low'"),
    ],
)
def test_bad_rates(make, settings, message):
    with pytest.raises(InvalidInputError, match=message):
        make(**settings)


@pytest.mark.parametrize("rates", [CosineCycles(warmup_epochs=20), OneCosine(warmup_epochs=20)])
def test_a_warmup_is_shorter_than_the_initial_phase(rates):
    with pytest.raises(InvalidInputError, match="warmup_epochs < init_epochs = 20; got 20; to fix: shorten"):
        rates.scheduler(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1), LENGTHS)
