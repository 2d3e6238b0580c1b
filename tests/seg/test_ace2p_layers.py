"""The layers of A-CE2P, each against what it stands for, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.ace2p import make_context
from noisycorrect_seg.ace2p.layers import ConvNorm, MergeConv, OneValueBatchNorm2d, activate, resize, scaled
from noisycorrect_seg.ace2p.ocnet import SelfAttention


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("channels", "width", "expected"), [(48, 1, 48), (48, 0.25, 16), (64, 0.3, 16), (64, 0.01, 8), (20, 1, 24)]
)
def test_channels_are_multiples_of_8(channels, width, expected):
    assert scaled(channels, width) == expected


def test_resize_puts_corners_onto_corners():
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 3, 4)
    found = resize(ramp, (5, 7))
    torch.testing.assert_close(found[0, 0, 2], torch.linspace(0, 3, 7))
    assert found.shape == (1, 1, 5, 7)


def test_merging_equals_resizing_concatenating_and_convolving():
    conv = MergeConv((3, 5, 2), 4).double()
    maps = [noise(2, 3, 7, 6), noise(2, 5, 4, 3, seed=1), noise(2, 2, 2, 2, seed=2)]
    joined = torch.cat([resize(part, (7, 6)) for part in maps], 1)
    torch.testing.assert_close(conv(maps, torch.Size((7, 6))), F.conv2d(joined, conv.weight), rtol=0, atol=1e-14)


def test_conv_norm_keeps_the_size_and_leaks():
    layer = ConvNorm(3, 8, kernel=3, dilation=4).double().eval()
    assert (layer.conv.padding, layer.conv.bias) == ((4, 4), None)
    maps = noise(1, 3, 9, 5)
    normalised = layer.norm(layer.conv(maps))
    assert layer(maps).shape == (1, 8, 9, 5)
    torch.testing.assert_close(layer(maps), torch.where(normalised > 0, normalised, 0.01 * normalised))


def test_the_activation_in_place_leaves_gradients_right():
    norm = torch.nn.BatchNorm2d(3).double()
    assert torch.autograd.gradcheck(lambda maps: activate(norm(maps)), noise(2, 3, 2, 2).requires_grad_())


# --- one value a channel


def exponential_moments(values, momentum):
    """The mean and variance of a mixture: the start (mean 0, variance 1) and every value, with their weights."""
    weights = [momentum * (1 - momentum) ** (len(values) - 1 - k) for k in range(len(values))]
    mean = sum(weight * value for weight, value in zip(weights, values, strict=True))
    square = sum(weight * value**2 for weight, value in zip(weights, values, strict=True))
    return mean, square + (1 - momentum) ** len(values) - mean**2


@pytest.mark.parametrize("momentum", [0.1, 0.5])
def test_single_values_are_tracked_exponentially(momentum):
    norm = OneValueBatchNorm2d(2, momentum=momentum).double()
    values = 3 * noise(20, 2) + 5
    for value in values:
        found = norm(value.view(1, 2, 1, 1))
    mean, variance = exponential_moments(list(values), momentum)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert norm.num_batches_tracked == 20
    torch.testing.assert_close(found.flatten(), (values[-1] - mean) / (variance + norm.eps).sqrt())
    torch.testing.assert_close(norm.eval()(values[-1].view(1, 2, 1, 1)), found)


def test_single_values_with_a_cumulative_average():
    norm = OneValueBatchNorm2d(2, momentum=None).double()
    values = noise(9, 2)
    for value in values:
        norm(value.view(1, 2, 1, 1))
    torch.testing.assert_close(norm.running_mean, values.mean(0))
    torch.testing.assert_close(norm.running_var, values.var(0, correction=0))


def test_no_single_value_explodes():
    norm = OneValueBatchNorm2d(1)
    for value in (0.0,) * 200 + (1e4,):
        found = norm(torch.full((1, 1, 1, 1), value))
    assert 2.9 < found.item() <= math.sqrt(0.9 / 0.1)


def test_single_values_have_gradients_even_after_the_next_batch():
    norm = OneValueBatchNorm2d(2)
    first = torch.ones(1, 2, 1, 1, requires_grad=True)
    output = norm(first)
    scale = (norm.running_var + norm.eps).rsqrt()
    norm(torch.full((1, 2, 1, 1), 9.0))
    output.sum().backward()
    torch.testing.assert_close(first.grad.flatten(), scale)
    assert norm.bias.grad.tolist() == [1, 1]


def test_several_values_are_normalised_as_ever():
    ours, torchs = OneValueBatchNorm2d(3).double(), torch.nn.BatchNorm2d(3).double()
    maps = noise(2, 3, 1, 1)
    torch.testing.assert_close(ours(maps), torchs(maps))
    torch.testing.assert_close(ours.state_dict(), torchs.state_dict())


# --- context


def test_pyramid_pooling_level_by_level():
    context = make_context("psp", 16, width=0.03125).double().eval()
    maps = noise(2, 16, 7, 5)
    parts = []
    for level, cells in zip(context.levels, (1, 2, 3, 6), strict=True):
        pooled = torch.empty(2, 16, cells, cells, dtype=torch.float64)
        for i in range(cells):
            for j in range(cells):
                rows = slice(i * 7 // cells, -(-(i + 1) * 7 // cells))
                columns = slice(j * 5 // cells, -(-(j + 1) * 5 // cells))
                pooled[:, :, i, j] = maps[:, :, rows, columns].mean((2, 3))
        parts.append(resize(level(pooled), (7, 5)))
    torch.testing.assert_close(context(maps), context.merge(torch.cat([*parts, maps], 1)))


def test_attention_is_the_weighted_mean_of_similar_pixels():
    attention = SelfAttention(6, 4, keys=8, values=5).double().eval()
    torch.nn.init.normal_(attention.out.weight)
    maps = noise(2, 6, 3, 4)
    key, value = attention.key(maps).flatten(2), attention.value(maps).flatten(2)
    weights = (torch.einsum("nci,ncj->nij", key, key) / math.sqrt(8)).softmax(2)
    mixed = torch.einsum("nij,ncj->nci", weights, value).view(2, 5, 3, 4)
    torch.testing.assert_close(attention(maps), attention.out(mixed))


def test_attention_at_half_resolution_takes_maps_of_any_size():
    attention = SelfAttention(4, 4, keys=4, values=4, scale=2)
    for size in ((5, 3), (2, 2), (1, 1)):
        assert attention(torch.zeros(1, 4, *size)).shape == (1, 4, *size)


def test_attention_at_half_resolution_sees_the_last_row_and_column_of_an_odd_map():
    attention = SelfAttention(4, 4, keys=4, values=4, scale=2).eval()
    torch.nn.init.ones_(attention.out.weight)
    maps = torch.randn(1, 4, 5, 3)
    for place in ((..., -1, slice(None)), (..., -1)):
        other = maps.clone()
        other[place] += 3
        assert (attention(other) - attention(maps))[0, :, 0, 0].abs().max() > 1e-3  # far from what changed


@pytest.mark.parametrize(("name", "rates"), [("aspp", {1, 12, 24, 36}), ("asp-oc", {1, 12, 24, 36})])
def test_dilations_of_the_pyramids(name, rates):
    context = make_context(name, 16, width=0.125)
    assert {module.dilation[0] for module in context.modules() if isinstance(module, torch.nn.Conv2d)} == rates
    assert context.out_channels == 64
    assert context.merge.conv.in_channels == 5 * 32


# --- invalid input


def test_bad_widths():
    for width in (0, -1, math.nan, "1"):
        with pytest.raises(InvalidInputError, match="width"):
            scaled(64, width)
