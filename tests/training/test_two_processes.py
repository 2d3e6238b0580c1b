"""Two ranks do what one does: same labels, same weights."""

import pytest
import torch
from spawn import run_processes
from tiny_runs import ONLINE, QUIET, Kill
from torch import nn

from noisycorrect import RECIPES, NeighborCorrection, OnlineCorrection, Schedule, SelfCorrector, SoftLabelStore
from noisycorrect.support.errors import InvalidInputError

LENGTHS = Schedule(init_epochs=3, cycles=2, cycle_epochs=2)
PAPER = RECIPES["paper"].replace(schedule=LENGTHS)
COUNT, CLASSES = 61, 3  # 61 = 5 batches of 12 and one sample over: ranks of different sizes


def data(unlabeled=0):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(COUNT, 4, generator=generator)
    labels = torch.randint(CLASSES, (COUNT,), generator=generator)
    return inputs.double(), torch.where(torch.arange(COUNT) < COUNT - unlabeled, labels, -1)


def network(norm):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        middle = nn.BatchNorm1d(8) if norm else nn.LayerNorm(8)
        return nn.Sequential(nn.Linear(4, 8), middle, nn.Tanh(), nn.Linear(8, CLASSES))


def fit(run_dir, norm=False, fail_after=None, unlabeled=0, recipe=PAPER):
    inputs, labels = data(unlabeled)
    corrector = SelfCorrector(
        network(norm).double(), num_classes=CLASSES, recipe=recipe, lr=0.1, batch_size=12, run_dir=run_dir,
        callbacks=[QUIET, Kill(fail_after)],
    )  # fmt: skip
    try:
        result = corrector.fit((inputs, labels), (inputs, labels), clean_labels=labels)
    except KeyboardInterrupt:
        return None
    history = [{key: value for key, value in record.items() if key != "seconds"} for record in result.history]
    return result.model.state_dict(), result.labels.refined(), history


def assert_close(one, other):
    torch.testing.assert_close(one[0], other[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=1e-6)  # labels are stored in float32
    for first, second in zip(one[2], other[2], strict=True):
        assert first == pytest.approx(second, rel=1e-6, abs=1e-7, nan_ok=True)


def test_two_ranks_equal_one(tmp_path):
    alone = fit(tmp_path / "alone", unlabeled=20)
    both = run_processes(fit, 2, tmp_path, tmp_path / "both", False, None, 20)
    for rank in both:
        assert_close(rank, alone)
    store = SoftLabelStore.open(tmp_path / "both" / "labels")
    assert store.generations == (0, 1, 2)
    assert not list((tmp_path / "both" / "labels").glob("*.part"))


def test_two_ranks_gather_the_evidence_of_one(tmp_path):
    correction = OnlineCorrection(input_dropout=0.0)  # each rank would drop others
    recipe = ONLINE.replace(schedule=LENGTHS, correction=correction)
    alone = fit(tmp_path / "alone", unlabeled=20, recipe=recipe)
    for rank in run_processes(fit, 2, tmp_path, tmp_path / "both", False, None, 20, recipe):
        assert_close(rank, alone)


def test_two_ranks_have_the_neighbors_and_the_doubt_of_one(tmp_path):
    recipe = RECIPES["robust"].replace(schedule=LENGTHS, correction=NeighborCorrection(neighbors=7))
    alone = fit(tmp_path / "alone", unlabeled=20, recipe=recipe)
    for rank in run_processes(fit, 2, tmp_path, tmp_path / "both", False, None, 20, recipe):
        assert_close(rank, alone)
        assert rank[2][-1]["expected_rate"] == alone[2][-1]["expected_rate"] > 0.02


def test_two_ranks_with_batchnorm_agree_with_each_other_and_resume(tmp_path):
    whole = run_processes(fit, 2, tmp_path, tmp_path / "whole", True)
    assert_close(*whole)
    assert run_processes(fit, 2, tmp_path, tmp_path / "stopped", True, 6) == [None, None]
    resumed = run_processes(fit, 2, tmp_path, tmp_path / "stopped", True)
    for rank, reference in zip(resumed, whole, strict=True):
        assert_close(rank, reference)


def without_folder():
    with pytest.raises(InvalidInputError, match="a run_dir; got None"):
        fit(None)
    return True


def test_ranks_need_a_common_folder(tmp_path):
    assert run_processes(without_folder, 2, tmp_path) == [True, True]


def test_torchrun_without_a_process_group_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InvalidInputError, match=r"2 ranks that torchrun started; got none.*init_process_group"):
        fit(None)
