"""Optimizers, precisions, wrapped models."""

import pytest
import torch
from tiny_runs import SHORT, Kill, assert_equal_runs, blobs, corrector, network
from torch import nn

from noisycorrect import AtCycleEnd, AtCycleEnds, Classification, Schedule
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.training.engine import Engine, resolve_precision


def test_a_run_learns_in_half_precision():
    inputs, given, clean = blobs()
    result = corrector(recipe=SHORT.replace(schedule=Schedule(8, 2, 2)), precision="bfloat16").fit(
        (inputs, given), (inputs, clean)
    )
    assert result.history[-1]["val_accuracy"] > 0.9
    assert result.labels.evidence().dtype is torch.float32


def test_precision_auto_is_full_on_cpu():
    assert resolve_precision("auto", torch.device("cpu")) is None
    assert Engine(Classification(2), torch.device("cpu")).scaler.is_enabled() is False


def test_any_optimizer_factory_clipping_and_augmentation():
    inputs, given, _ = blobs(60)
    seen = []

    def augment(x):
        seen.append(x.shape)
        return x + 0.1 * torch.randn_like(x)

    recipe = SHORT.replace(
        average=AtCycleEnds(restart="student"), correction=AtCycleEnd(momentum=0.7), clip_grad_norm=1.0
    )
    result = corrector(recipe=recipe, optimizer=torch.optim.AdamW, lr=0.01, augment=augment).fit((inputs, given))
    assert len(seen) == 1 + 8 * 3 + 2 * 2  # tried once, and two recalibrations: where something is predicted
    assert result.labels.generation == 2
    with pytest.raises(InvalidInputError, match="to return a torch Optimizer; got Linear"):
        corrector(optimizer=lambda parameters, lr: nn.Linear(1, 1)).fit((inputs, given))


def test_a_rate_in_a_tensor_resumes(tmp_path):
    inputs, given, _ = blobs(60)

    def adam(parameters):
        return torch.optim.Adam(parameters, lr=torch.tensor(0.01), foreach=False)

    with pytest.raises(KeyboardInterrupt):
        corrector(optimizer=adam, lr=None, run_dir=tmp_path, callbacks=[Kill(3)]).fit((inputs, given))
    resumed = corrector(optimizer=adam, lr=None, run_dir=tmp_path).fit((inputs, given), resume=True)
    assert_equal_runs(resumed, corrector(optimizer=adam, lr=None).fit((inputs, given)))


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel])
def test_wrapped_models_train_like_bare_ones(wrap, tmp_path):
    inputs, given, _ = blobs(60)
    settings = {"optimizer": torch.optim.SGD}
    bare = corrector(**settings).fit((inputs, given))
    result = corrector(wrap(network()), run_dir=tmp_path, **settings).fit((inputs, given))
    assert_equal_runs(result, bare)
    resumed = corrector(wrap(network()), run_dir=tmp_path, **settings).fit((inputs, given))
    assert_equal_runs(resumed, bare)
