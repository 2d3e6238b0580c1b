"""What only a GPU shows; skipped where there is none."""

import pytest
import torch
from torch import nn

from noisycorrect import SelfCorrector, recalibrate_batchnorm

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def blobs(count=240):
    generator = torch.Generator().manual_seed(0)
    clean = torch.arange(count) % 3
    inputs = torch.randn(count, 4, generator=generator) + 5 * nn.functional.one_hot(clean, 4)
    return inputs, clean


def fit(**settings):
    inputs, clean = blobs()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
    defaults = {"num_classes": 3, "recipe": "paper", "epochs": 12, "lr": 0.1, "batch_size": 32, "device": "cuda"}
    return SelfCorrector(model, **{**defaults, **settings}).fit((inputs, clean), (inputs, clean), clean_labels=clean)


@pytest.mark.parametrize("precision", ["auto", "float32", "float16"])
def test_a_run_learns_and_leaves_the_generators_alone(precision):
    state = torch.cuda.get_rng_state()
    result = fit(precision=precision)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert result.history[-1]["val_accuracy"] > 0.9
    assert next(result.model.parameters()).is_cuda
    assert result.labels.generation == 4


def test_a_finished_run_comes_back(tmp_path):
    first, again = fit(run_dir=tmp_path, optimizer=torch.optim.AdamW, lr=1e-2), None
    again = fit(run_dir=tmp_path, optimizer=torch.optim.AdamW, lr=1e-2)
    for name, value in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


def test_statistics_are_those_of_the_cpu():
    data = torch.randn(130, 3, 8, 8) * 2 + 5000
    layers = [nn.BatchNorm2d(3) for _ in range(2)]
    recalibrate_batchnorm(layers[0], data.split(32), method="exact")
    recalibrate_batchnorm(layers[1].cuda(), data.split(32), method="exact")
    torch.testing.assert_close(layers[1].running_var.cpu(), layers[0].running_var, rtol=1e-6, atol=0)
