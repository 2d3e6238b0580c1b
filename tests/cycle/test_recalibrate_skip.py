"""BatchNorm layers that a recalibration leaves as they are."""

import pytest
import torch
from torch import nn

from noisycorrect import recalibrate_batchnorm
from noisycorrect.cycle.recalibrate import batchnorm_layers
from noisycorrect.support.errors import InvalidInputError


def three_norms():
    torch.manual_seed(0)
    layers = [nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False)]
    model = nn.Sequential(nn.Sequential(*layers[:2]), nn.Sequential(*layers[2:]))
    model(torch.randn(32, 4) * 3 + 1)
    return model


@pytest.mark.parametrize("method", ["fast", "exact"])
@pytest.mark.parametrize(
    ("skip", "frozen", "kept"),
    [
        (None, (), ()),
        (["0"], (), ("0.1",)),
        (["1.1", "1.2"], (), ("1.1", "1.2")),
        ("1", (), ("1.1", "1.2")),
        ([""], (), ("0.1", "1.1", "1.2")),
        (None, ("0.1",), ("0.1",)),
        (None, ("1",), ("1.1", "1.2")),
        ((), ("0.1", "1"), ()),
        (None, ("",), ()),
    ],
)
def test_what_is_skipped_keeps_its_statistics(method, skip, frozen, kept):
    model = three_norms()
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    before = {name: value.clone() for name, value in model.named_buffers()}
    batches = [torch.randn(16, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    found = recalibrate_batchnorm(model, batches, method=method, skip=skip)
    assert found == 3 - len(kept) == batchnorm_layers(model, skip=skip)
    same = {name for name, value in model.named_buffers() if torch.equal(value, before[name])}
    assert same == {name for name in before if name.rpartition(".")[0] in kept}


def test_a_layer_to_skip_that_there_is_not():
    with pytest.raises(InvalidInputError, match="layer to skip; got '0.1x'.*did you mean '0.1'"):
        recalibrate_batchnorm(three_norms(), [torch.zeros(2, 4)], skip=["0.1x"])
