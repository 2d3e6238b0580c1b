"""Names that timm gives to the layers of MobileNetV2 and EfficientNet-Lite0, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from noisycorrect.features.efficientnet import STAGES as LITE_STAGES
from noisycorrect_seg.ace2p.mobilenet import STAGES as MOBILENET_STAGES

ORIGINS = ("tf_efficientnet_lite0", "efficientnet_lite0")  # timm's two models of one architecture and one set of names
HUB = "models--timm--"  # how folders of the Hugging Face cache begin
HEADS = ("conv_head.", "bn2.", "classifier.")
# Layers of a block in their order, without and with expansion: timm's, the package's, torchvision's.
THEIRS = (["conv_dw", "bn1", "conv_pw", "bn2"], ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"])
LITE = (
    ["_depthwise_conv", "_bn1", "_project_conv", "_bn2"],
    ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"],
)
LITE_STEM, MOBILENET_STEM = ("_conv_stem.", "_bn0."), ("features.0.0.", "features.0.1.")
MOBILENET = (
    ["conv.0.0", "conv.0.1", "conv.1", "conv.2"],
    ["conv.0.0", "conv.0.1", "conv.1.0", "conv.1.1", "conv.2", "conv.3"],
)


def is_timm(state: Mapping[str, Any]) -> bool:
    """Return whether names are timm's.

    Examples
    --------
    >>> is_timm({"conv_stem.weight": None}), is_timm({"conv1.weight": None})
    (True, False)
    """
    return "conv_stem.weight" in state


def from_timm(state: Mapping[str, Tensor], *, lite: bool) -> dict[str, Tensor]:
    """Return timm's weights in the names of EfficientNet-Lite0's package, or in torchvision's of MobileNetV2.

    Heads are left out; a name that is none of timm's stays, and whoever loads it says so.

    Examples
    --------
    >>> list(from_timm({"blocks.1.0.conv_pwl.weight": None, "bn1.bias": None, "bn2.bias": None}, lite=True))
    ['_blocks.1._project_conv.weight', '_bn0.bias']
    >>> list(from_timm({"blocks.1.0.conv_pwl.weight": None, "bn1.bias": None, "bn2.bias": None}, lite=False))
    ['features.2.conv.2.weight', 'features.0.1.bias']
    """
    return {_name(key, lite): value for key, value in state.items() if not key.startswith(HEADS)}


def _name(key: str, lite: bool) -> str:
    """Return what a parameter of timm's is called here."""
    for theirs, ours in zip(("conv_stem.", "bn1."), LITE_STEM if lite else MOBILENET_STEM, strict=True):
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    found = re.fullmatch(r"blocks\.(\d+)\.(\d+)\.(\w+)\.(\w+)", key)
    counts = [stage.blocks for stage in LITE_STAGES] if lite else [stage[2] for stage in MOBILENET_STAGES]
    if found is None:
        return key
    stage, block, layer, kind = int(found[1]), int(found[2]), found[3], found[4]
    if stage >= len(counts) or block >= counts[stage] or layer not in THEIRS[stage > 0]:
        return key
    ours = (LITE if lite else MOBILENET)[stage > 0][THEIRS[stage > 0].index(layer)]
    number = sum(counts[:stage]) + block
    return f"_blocks.{number}.{ours}.{kind}" if lite else f"features.{number + 1}.{ours}.{kind}"


def origin_of(source: Any) -> str | None:
    """Return which of timm's two EfficientNet-Lite0 a file is of, by the name that it or its folder is downloaded with.

    Examples
    --------
    >>> origin_of("tf_efficientnet_lite0-0aa007d2.pth"), origin_of("weights/efficientnet_lite0_ra-37913777.pth")
    ('tf_efficientnet_lite0', 'efficientnet_lite0')
    >>> origin_of("hub/models--timm--tf_efficientnet_lite0.in1k/snapshots/1f/model.safetensors")
    'tf_efficientnet_lite0'
    >>> origin_of("weights.pth") is origin_of({}) is None
    True
    """
    if isinstance(source, Mapping):
        return None
    *folders, name = Path(source).parts
    names = [name, *(folder.removeprefix(HUB) for folder in folders if folder.startswith(HUB))]
    return next((origin for name in names for origin in ORIGINS if name.startswith(origin)), None)
