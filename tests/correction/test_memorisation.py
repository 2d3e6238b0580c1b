"""When correction begins by itself: the watch on labels that are held out of the loss."""

import math

import pytest
import torch
from tiny_runs import ONLINE, QUIET, AfterEpoch, Kill
from torch import nn

from noisycorrect import OnlineCorrection, SelfCorrector
from noisycorrect.correction.memorisation import MemorisationWatch

CLASSES = 3


def data(count=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=generator), torch.arange(count) % CLASSES


def robust(correction=None, callbacks=(), **settings):
    recipe = ONLINE.replace(correction=correction or OnlineCorrection(start="auto"), batch_size=8)
    torch.manual_seed(0)
    return SelfCorrector(
        nn.Linear(4, CLASSES), num_classes=CLASSES, recipe=recipe, epochs=8, lr=0.1, callbacks=[QUIET, *callbacks],
        **settings,
    )  # fmt: skip


def labelled(given, certainty):
    """Evidence that gives each label this probability, and the rest to the other class."""
    own = nn.functional.one_hot(given.clamp(min=0), 2) * (2 * certainty - 1)[:, None]
    return own + (1 - certainty)[:, None]


def test_memorisation_begins_when_held_out_labels_surprise_no_less():
    given = torch.tensor([0, 1, -1] * 40)
    watch = MemorisationWatch(given, epochs=20, seed=0)
    assert int(watch.held_out.sum()) == 8  # a tenth of the labelled ones
    assert not watch.held_out[given == -1].any()
    chance = torch.rand(120, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.1
    levels = [0.5, 0.5, 0.6, 0.7, 0.75, 0.755, 0.9]  # the last but one is better by less than chance explains
    noisy = [(level + chance.roll(epoch)).clamp(max=0.99) for epoch, level in enumerate(levels)]
    begun = [watch.has_begun(epoch, labelled(given, certainty)) for epoch, certainty in enumerate(noisy)]
    surprises = [[-math.log(float(certainty[row])) for row in watch.rows.tolist()] for certainty in noisy]
    expected = begun_slowly(surprises)
    assert begun == expected
    assert expected[4:] == [False, True, True]
    assert watch.has_begun(8, labelled(given, torch.full((120,), 0.99)))  # once is for good
    assert watch.kept(8, torch.arange(120)) is None


def begun_slowly(surprises):
    """Say for each epoch whether memorisation has begun, with the best of all epochs before looked for anew."""
    found = [False] * len(surprises)
    for epoch in range(2, len(surprises)):  # nothing is learnt before the first epoch, which is looked at as the second
        lowest = min(surprises[1:epoch], key=sum)
        falls = [low - now for low, now in zip(lowest, surprises[epoch], strict=True)]
        mean = sum(falls) / len(falls)
        error = math.sqrt(sum((fall - mean) ** 2 for fall in falls) / len(falls) ** 2)
        found[epoch] = found[epoch - 1] or mean <= 1.645 * error
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_last_epoch_is_the_best_so_far_until_memorisation_begins(seed):
    """So the watch keeps one epoch's surprise, and need not compare it with that of the best."""
    generator = torch.Generator().manual_seed(seed)
    given = torch.tensor([0, 1] * 60)
    watch = MemorisationWatch(given, epochs=40, seed=seed)
    levels = 0.3 + 0.06 * torch.rand(12, generator=generator, dtype=torch.float64).cumsum(0)
    spread = 0.1 * torch.rand(12, 120, generator=generator, dtype=torch.float64)
    certainty = (levels[:, None] + spread).clamp(max=0.99)
    begun = [watch.has_begun(epoch, labelled(given, certainty[epoch])) for epoch in range(12)]
    assert begun == begun_slowly((-certainty.log())[:, watch.rows].tolist())


def test_nothing_is_held_out_in_the_second_half_of_a_run():
    watch = MemorisationWatch(torch.zeros(20, dtype=torch.int64), epochs=8, seed=1)
    assert (~watch.kept(3, torch.arange(20))).sum() == 2
    assert watch.kept(4, torch.arange(20)) is None
    for epoch in range(1, 8):  # less of a surprise until the fourth epoch, no less from the fifth on: too late
        watch.has_begun(epoch, torch.full((20, 1), 0.1 + 0.1 * min(epoch, 4)))
    assert not watch.begun
    assert len(watch.surprise) == 4


def test_held_out_labels_are_not_learnt_before_the_start():
    """The labels that are held out are changed to another class: nothing of the run may change before it starts."""
    inputs, given = data(40)
    seen = []
    for changed in (False, True):
        rows = MemorisationWatch(given, epochs=8, seed=0).rows
        labels = given.clone()
        if changed:
            labels[rows] = (labels[rows] + 1) % CLASSES
        weights = []
        watcher = AfterEpoch(lambda run, to=weights: to.append(run.model.weight.clone()))
        robust(OnlineCorrection(start="auto", input_dropout=0.0), callbacks=[watcher]).fit((inputs, labels))
        seen.append(weights)
    assert torch.equal(seen[0][1], seen[1][1])
    assert not torch.equal(seen[0][-1], seen[1][-1])


def test_a_run_that_watches_goes_on_as_if_it_had_not_been_stopped(tmp_path):
    whole = robust(run_dir=tmp_path / "whole").fit(data())
    with pytest.raises(KeyboardInterrupt):
        robust(run_dir=tmp_path / "stopped", callbacks=[Kill(3)]).fit(data())
    resumed = robust(run_dir=tmp_path / "stopped").fit(data(), resume=True)
    assert torch.equal(whole.model.weight, resumed.model.weight)
    assert torch.equal(whole.labels.evidence(), resumed.labels.evidence())
