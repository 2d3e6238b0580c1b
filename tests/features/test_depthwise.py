"""Depthwise convolution: the same numbers as torch's, gradients and gradients of gradients too."""

import pytest
import torch
import torch.nn.functional as F

from noisycorrect.features.depthwise import DepthwiseConv, _Depthwise, depthwise_conv2d

# Kernel, stride, padding, dilation, height, width.
GEOMETRIES = [(5, 1, 2, 1, 6, 5), (5, 1, 4, 2, 6, 5), (3, 1, 2, 2, 2, 1), (5, 2, 0, 1, 8, 7), (5, 2, 2, 1, 7, 8),
              (3, 2, 3, 3, 8, 9), (5, 1, 0, 1, 5, 5), (3, 3, 1, 1, 8, 7)]  # fmt: skip


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "height", "width"), GEOMETRIES)
def test_output_and_gradients_are_torchs(kernel, stride, padding, dilation, height, width):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 1, kernel, kernel, generator=generator, dtype=torch.float64, requires_grad=True)
    expected = F.conv2d(maps, weight, None, stride, padding, dilation, 3)
    found = _Depthwise.apply(maps, weight, stride, padding, dilation)
    grad = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, (maps, weight), grad), torch.autograd.grad(expected, (maps, weight), grad)
    )


def test_gradients_of_gradients():
    maps = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda m, w: depthwise_conv2d(m, w, padding=2, dilation=2), (maps, weight))


def test_the_module_is_a_convolution():
    ours, theirs = DepthwiseConv(4, 5, stride=2), torch.nn.Conv2d(4, 4, 5, 2, 2, groups=4, bias=False)
    theirs.load_state_dict(ours.state_dict())
    maps = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(ours(maps), theirs(maps))
    assert type(ours(maps).grad_fn).__name__ == "_DepthwiseBackward"
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(maps).dtype == torch.bfloat16
    with torch.no_grad():
        torch.testing.assert_close(ours(maps), theirs(maps))


def test_only_what_is_asked_for_gets_a_gradient():
    conv, maps = DepthwiseConv(2, 5), torch.randn(1, 2, 6, 6, requires_grad=True)
    conv.requires_grad_(False)
    conv(maps).sum().backward()
    assert conv.weight.grad is None
    assert maps.grad is not None
