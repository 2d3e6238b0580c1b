"""What samples are compared by: their inputs, or what a network's last linear layer sees of them."""

import pytest
import torch
from torch import nn

from noisycorrect import Classification
from noisycorrect.data.batches import Batch, are_vectors
from noisycorrect.data.standardize import Standardize, Standardized
from noisycorrect.labels import Trust
from noisycorrect.training.engine import Engine
from noisycorrect.training.features import features_of

ENGINE = Engine(Classification(3), torch.device("cpu"))


def batches(inputs):
    for rows in torch.arange(len(inputs)).split(4):
        yield Batch(rows, inputs[rows], torch.zeros(len(rows), dtype=torch.int64), Trust(torch.ones(len(rows))))


def features(model, inputs):
    return torch.cat(list(features_of(model, ENGINE, batches(inputs))))


def images(count=10):
    return torch.randn(count, 1, 2, 3, generator=torch.Generator().manual_seed(0))


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(5, 3)

    def forward(self, inputs):
        return self.head(self.body(inputs))


def test_only_floating_rows_are_vectors():
    assert are_vectors(torch.zeros(2, 3, dtype=torch.float64))
    for other in (torch.zeros(2), torch.zeros(2, 1, 3), torch.zeros(2, 3).long(), [torch.zeros(2, 3)]):
        assert not are_vectors(other)


def test_vectors_are_their_own_features_and_the_network_is_not_asked():
    class Silent(nn.Module):
        def forward(self, inputs):
            pytest.fail("asked")

    inputs = torch.randn(10, 3, dtype=torch.float64)
    assert torch.equal(features(Silent(), inputs), inputs.float())
    standardize = Standardize([1.0, 2.0, 3.0], [2.0, 0.5, 1.0])
    assert torch.equal(features(Standardized(standardize, Silent()), inputs), standardize(inputs).float())


@pytest.mark.parametrize("training", [False, True])
def test_images_are_what_the_last_linear_layer_sees_of_them(training):
    model = Small().train(training)
    found = features(model, images())
    assert [module.training for module in model.modules()] == [training] * len(list(model.modules()))
    assert not model.head._forward_pre_hooks
    assert not found.requires_grad
    with torch.no_grad():
        assert torch.equal(found, torch.cat([model.eval().body(part) for part in images().split(4)]))


def test_the_hook_goes_when_the_network_fails():
    model = Small()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        features(model, torch.zeros(4, 1, 9))
    assert not model.head._forward_pre_hooks
    assert model.training


def test_without_a_linear_layer_features_are_class_probabilities():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, (2, 3)), nn.Flatten())
    with torch.no_grad():
        torch.testing.assert_close(features(model, images()), model(images()).softmax(1))
