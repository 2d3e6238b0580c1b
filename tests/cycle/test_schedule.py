"""CyclicalLR and the epoch arithmetic against hand-computed values and a slow oracle."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noisycorrect import CyclicalLR, EpochCycles, OnePhase, Schedule, Shares
from noisycorrect.support.errors import InvalidInputError

PAPER = {"warmup_epochs": 10, "init_epochs": 100, "cycle_epochs": 10, "cycle_lr": 3.5e-3, "min_lr": 7e-5}
PUBLISHED = {0: 7e-5, 9: 6.307e-3, 10: 7e-3, 100: 3.5e-3, 109: 1.54e-4, 110: 3.5e-3}


def make(groups=(7e-3,), **settings):
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in groups]
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    return optimizer, CyclicalLR(optimizer, **{**PAPER, **settings})


def oracle(epoch, lr, warmup, init, cycle, cycle_lr, min_lr):
    """Walk epoch by epoch, as the authors' scheduler does, restarting a counter."""
    if epoch < warmup:
        return min_lr + (lr - min_lr) / warmup * epoch
    peak, start, length = lr, warmup, init - warmup
    while epoch >= start + length:
        peak, start, length = cycle_lr, start + length, cycle
    return min_lr + (peak - min_lr) * 0.5 * (1 + math.cos((epoch - start) / length * math.pi))


def test_published_schedule():
    optimizer, scheduler = make()
    seen = {}
    for epoch in range(150):
        seen[epoch] = scheduler.get_last_lr()[0]
        optimizer.step()
        scheduler.step()
    for epoch, lr in PUBLISHED.items():
        assert seen[epoch] == pytest.approx(lr, rel=5e-4)
    for epoch, lr in seen.items():
        assert lr == pytest.approx(oracle(epoch, 7e-3, 10, 100, 10, 3.5e-3, 7e-5), rel=1e-12)


@given(
    epoch=st.floats(0, 500),
    warmup=st.integers(0, 20),
    init=st.integers(1, 100),
    cycle=st.integers(1, 30),
    lr=st.floats(1e-4, 1),
)
def test_any_fractional_epoch_equals_the_oracle(epoch, warmup, init, cycle, lr):
    _, scheduler = make(
        [lr], warmup_epochs=warmup, init_epochs=init + warmup, cycle_epochs=cycle, cycle_lr=lr / 2, min_lr=lr / 100
    )
    scheduler.step(epoch)
    expected = oracle(epoch, lr, warmup, init + warmup, cycle, lr / 2, lr / 100)
    # A cosine that restarts jumps: a rounding of the time of 1e-12 cycles may fall on the other side.
    into = math.fmod(epoch - warmup - init, cycle) / cycle if epoch > init + warmup else 0.5
    if 1e-9 < into < 1 - 1e-9:
        assert scheduler.get_last_lr()[0] == pytest.approx(expected, rel=1e-9)


def test_steps_by_batch_and_by_epoch_agree_at_whole_epochs():
    by_epoch_optimizer, by_epoch = make()
    _, by_batch = make()
    for epoch in range(120):
        for batch in range(4):
            by_batch.step(epoch + batch / 4)
            if batch == 0:
                assert by_batch.get_last_lr() == by_epoch.get_last_lr()
        by_epoch_optimizer.step()
        by_epoch.step()


def test_groups_keep_their_own_peaks():
    optimizer, scheduler = make([1.0, 0.1], cycle_lr=None, min_lr=None)
    scheduler.step(10)
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.1]
    scheduler.step(100)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.05])
    scheduler.step(0)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.001])
    _, listed = make([1.0, 0.1], cycle_lr=[0.3, 0.2], min_lr=[0.0, 0.01])
    listed.step(100)
    assert listed.get_last_lr() == pytest.approx([0.3, 0.2])


def test_state_dict_goes_on_where_it_stopped():
    optimizer, scheduler = make()
    for _ in range(105):
        optimizer.step()
        scheduler.step()
    fresh_optimizer, fresh = make()
    fresh.load_state_dict(scheduler.state_dict())
    for one, other in ((optimizer, scheduler), (fresh_optimizer, fresh)):
        one.step()
        other.step()
    assert fresh.get_last_lr() == scheduler.get_last_lr()
    assert fresh_optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_a_rate_held_in_a_tensor_is_changed_in_place():
    parameter = torch.nn.Parameter(torch.zeros(1))
    rate = torch.tensor(7e-3)
    optimizer = torch.optim.Adam([parameter], lr=rate, capturable=False, foreach=False)
    scheduler = CyclicalLR(optimizer, **PAPER)
    scheduler.step(100)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(3.5e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warmup_epochs": 100}, "0 <= warmup_epochs < init_epochs"),
        ({"cycle_epochs": 0}, "cycle_epochs > 0; got"),
        ({"cycle_lr": [1.0, 2.0]}, "one for each of 1 parameter groups"),
        ({"min_lr": -1.0}, "min_lr >= 0"),
        (
            {"min_lr": 8e-3, "cycle_lr": 9e-3},
            "lr >= min_lr; got lr=0.007, min_lr=0.008; to fix: raise lr",
        ),
        ({"min_lr": 8e-3, "cycle_lr": None}, "lr >= min_lr; got lr=0.007, min_lr=0.008"),
        ({"min_lr": 5e-3}, "cycle_lr >= min_lr; got cycle_lr=0.0035, min_lr=0.005"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(InvalidInputError, match=message):
        make(**change)


def test_negative_epoch_is_refused():
    _, scheduler = make()
    with pytest.raises(InvalidInputError, match="epoch >= 0; got -1"):
        scheduler.step(-1)


def test_schedule_says_where_cycles_end():
    schedule = Schedule(init_epochs=3, cycles=2, cycle_epochs=2)
    assert [schedule.cycle(epoch) for epoch in range(7)] == [0, 0, 0, 1, 1, 2, 2]
    assert [schedule.ends_cycle(epoch) for epoch in range(7)] == [False, False, True, False, True, False, True]


@given(st.integers(2, 2000))
def test_budget_is_spent_whole_in_about_the_papers_proportions(epochs):
    schedule = Shares().divided(epochs)
    assert schedule.epochs == epochs
    assert 1 <= schedule.cycles <= 5
    assert abs(schedule.init_epochs - epochs * 2 / 3) <= 2.5  # five cycles, each rounded by half an epoch at most
    if epochs >= 15:
        assert schedule.cycles == 5


@given(st.integers(2, 500), st.floats(0.05, 0.95), st.integers(1, 9))
def test_any_shares_spend_the_budget_whole(epochs, init_share, cycles):
    schedule = Shares(init_share=init_share, cycles=cycles).divided(epochs)
    assert schedule.epochs == epochs
    assert 1 <= schedule.cycles <= cycles
    if schedule.cycle_epochs > 1:
        assert schedule.cycles == cycles
    if schedule.init_epochs > schedule.cycles:  # else rounding has no room: every cycle has an epoch at least
        assert abs(schedule.init_epochs - epochs * init_share) <= 0.5 * schedule.cycles + 1


@given(st.integers(1, 500), st.floats(0.05, 0.95))
def test_cycles_of_an_epoch_and_one_phase_spend_the_budget_whole(epochs, init_share):
    schedule = EpochCycles(init_share).divided(epochs)
    assert schedule.epochs == epochs
    assert schedule.cycle_epochs == 1
    assert abs(schedule.init_epochs - max(1, init_share * epochs)) <= 0.5
    assert OnePhase().divided(epochs) == Schedule(epochs, 0, 1)


@pytest.mark.parametrize("division", [Shares(), OnePhase(), EpochCycles()])
def test_the_default_budget_is_the_papers(division):
    assert division.divided(None).epochs == 150


@pytest.mark.parametrize(
    ("division", "least"), [(Shares(), 2), (Shares(init_share=0.1), 2), (OnePhase(), 1), (EpochCycles(), 1)]
)
@pytest.mark.parametrize("epochs", [None, 0, -3, 2.5, True])
def test_budgets_too_small_or_no_number(division, least, epochs):
    with pytest.raises(InvalidInputError, match=rf"epochs to be a whole number >= {least}.*to fix"):
        division.divided(least - 1 if epochs is None else epochs)


def test_a_fixed_schedule_has_no_budget_to_divide():
    schedule = Schedule(3, 2, 2)
    assert schedule.divided(None) is schedule.divided(7) is schedule
    with pytest.raises(InvalidInputError, match=r"epochs=7, the sum of Schedule\(.*; got epochs=8; to fix: leave one"):
        schedule.divided(8)


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (Shares, {"init_share": 1.0}, "0 <= init_share < 1; got 1.0"),
        (Shares, {"init_share": -0.1}, "0 <= init_share < 1; got -0.1"),
        (Shares, {"cycles": 0}, "cycles to be a whole number >= 1; got 0"),
        (EpochCycles, {"init_share": 1.5}, "0 <= init_share < 1; got 1.5"),
    ],
)
def test_bad_divisions(make, settings, message):
    with pytest.raises(InvalidInputError, match=message):
        make(**settings)


@pytest.mark.parametrize(
    ("name", "value"), [("init_epochs", 0), ("cycles", -1), ("cycle_epochs", 0), ("cycle_epochs", 1.5)]
)
def test_bad_schedule(name, value):
    with pytest.raises(InvalidInputError, match=f"{name} to be a whole number"):
        Schedule(**{"init_epochs": 1, "cycles": 1, "cycle_epochs": 1, name: value})
