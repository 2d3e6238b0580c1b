"""What a training step of a light backbone costs, beside a narrow ResNet from scratch; and its depthwise gradients.

Row `backbones` of `python -m benchmarks.speed`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.lab.measurement import Measurement, paired
from noisycorrect.features.depthwise import DepthwiseConv
from noisycorrect_seg.ace2p import ACE2P

CLASSES, COUNT, SIZE = 17, 8, (128, 88)  # of CCP
GRADIENT_BUDGET = 1 / 3
# Backbone, levels that are frozen, whether maps lie channels last. Random weights: time does not depend on them.
VARIANTS = [
    ("efficientnet-lite0", 0, False),
    ("efficientnet-lite0", 1, False),
    ("efficientnet-lite0", 2, False),
    ("efficientnet-lite0", 2, True),
    ("efficientnet-lite0-stride32", 0, False),
    ("efficientnet-lite0-stride32", 2, True),
    ("mobilenetv2", 0, False),
]


def _step(network: nn.Module, images: torch.Tensor) -> None:
    loss = sum(logits.float().square().mean() for logits in network(images))
    assert isinstance(loss, torch.Tensor)
    network.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]


def measure_backbones(folder: Path, repeats: int) -> list[Measurement]:
    """Measure steps without a loss of segmentation, and gradients against torch's own."""
    torch.manual_seed(0)
    images = torch.randn(COUNT, 3, *SIZE)
    reference = ACE2P(CLASSES, "resnet18", width=0.25).train()
    against = f"resnet18, width 0.25, {COUNT} x {SIZE[0]} x {SIZE[1]}, {CLASSES} classes, forward and backward"
    rows = []
    for name, frozen, last in VARIANTS:
        network: Any = ACE2P(CLASSES, name, width=0.125, backbone_width=1.0, freeze=frozen).train()
        shown = images
        if last:
            network, shown = (part.to(memory_format=torch.channels_last) for part in (network, images))
        times = paired(functools.partial(_step, network, shown), functools.partial(_step, reference, images), repeats)
        options = ", ".join([name, *([f"freeze={frozen}"] if frozen else []), *(["channels_last"] if last else [])])
        rows.append(Measurement(options, against, *times[:2], "s", times[2]))
    return [*rows, _gradients(repeats)]


def _gradients(repeats: int) -> Measurement:
    """Measure forward and backward of the depthwise convolution of EfficientNet-Lite0's last stages."""
    channels, maps = 1152, torch.randn(COUNT, 1152, SIZE[0] // 16, SIZE[1] // 16, requires_grad=True)
    ours = DepthwiseConv(channels, 5, dilation=2)
    theirs = functools.partial(F.conv2d, weight=ours.weight, padding=4, dilation=2, groups=channels)

    def run(convolution: Any) -> None:
        convolution(maps).sum().backward()

    times = paired(functools.partial(run, ours), functools.partial(run, theirs), repeats)
    against = f"torch's gradients, 5x5, dilation 2, {tuple(maps.shape)}"
    return Measurement("depthwise convolution", against, *times[:2], "s", times[2], GRADIENT_BUDGET)
