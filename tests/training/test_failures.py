"""A run that fails says where, and leaves what was good."""

import math

import pytest
import torch
from tiny_runs import CLASSES, SHORT, AfterEpoch, assert_equal_runs, blobs, corrector
from torch import nn

from noisycorrect import CosineCycles
from noisycorrect.support.errors import NonFiniteLossError, StoreError, TrainingWarning


def test_nan_loss_names_epoch_batch_and_the_last_good_checkpoint(tmp_path):
    inputs, given, _ = blobs(60)

    class Explodes(nn.Linear):
        calls = 0

        def forward(self, x):
            Explodes.calls += self.training  # tried once before the first epoch
            return super().forward(x) * (float("nan") if Explodes.calls == 6 else 1.0)

    run = tmp_path / "run"
    with pytest.raises(
        NonFiniteLossError, match=f"got nan in epoch 2, batch 2;.*last good checkpoint: epoch 1 in {run}"
    ):
        corrector(Explodes(4, CLASSES), run_dir=run).fit((inputs, given))
    assert (run / "checkpoint.pt").exists()
    Explodes.calls = 100
    assert corrector(Explodes(4, CLASSES), run_dir=run).fit((inputs, given)).labels.generation == 2


def test_full_disk_keeps_the_labels_and_the_checkpoint(tmp_path, monkeypatch):
    inputs, given, _ = blobs(60)
    run = tmp_path / "run"

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    def stop_writing(run):
        if run.epoch == 6:
            monkeypatch.setattr("noisycorrect.labels.store.publish", full)

    with pytest.raises(StoreError, match="No space left on device.*to fix"):
        corrector(run_dir=run, callbacks=[AfterEpoch(stop_writing)]).fit((inputs, given))
    monkeypatch.undo()
    result = corrector(run_dir=run).fit((inputs, given), resume=True)
    assert_equal_runs(result, corrector().fit((inputs, given)))


def test_weights_that_explode_in_the_last_batch_are_not_checkpointed(tmp_path):
    inputs, given, _ = blobs(60)
    recipe = SHORT.replace(rates=CosineCycles(warmup_epochs=0), batch_size=60)
    named = "NaN or infinity in .* after epoch 1; .*inputs reach .*standardize=.*; last good checkpoint: none"
    with (
        pytest.raises(NonFiniteLossError, match=named),
        pytest.warns(TrainingWarning, match="got 7.*e[+]09 in feature"),
    ):
        corrector(nn.Linear(4, 3), recipe, lr=1e38, run_dir=tmp_path).fit((inputs * 1e9, given))
    assert not (tmp_path / "checkpoint.pt").exists()


def test_frozen_parameters_may_be_infinite():
    inputs, given, _ = blobs(60)
    model = nn.Linear(4, 3)
    model.register_parameter("mask", nn.Parameter(torch.tensor([0.0, -math.inf]), requires_grad=False))
    assert corrector(model).fit((inputs, given)).labels.generation == 2
