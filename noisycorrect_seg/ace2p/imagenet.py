"""Starting from ImageNet: the deep-stemmed ResNet's file, and torchvision's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.support.door import door
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg.ace2p.mobilenet import MobileNetV2
from noisycorrect_seg.ace2p.resnet import DeepStem, ResNet
from noisycorrect_seg.ace2p.weights import read_weights

CLASSIFIERS = ("fc.", "classifier.", "features.18.")
COUNTER = "num_batches_tracked"  # not in older files
# What a file with a 7x7 stem cannot fill in a network with a deep one, whose stem puts out twice the channels.
BEHIND_STEM = ("layer1.0.conv1.", "layer1.0.bn1.", "layer1.0.downsample.")


@door(own=True)
def load_imagenet(
    model: nn.Module, source: str | os.PathLike[str] | Mapping[str, Any], *, rgb: bool | None = None
) -> list[str]:
    """Load ImageNet weights into a network's backbone.

    Three kinds of files are known: the deep-stemmed ResNets that A-CE2P starts from (``resnet101-imagenet.pth``), and
    torchvision's ResNets and MobileNetV2. Classifiers are skipped. torchvision's ResNets fill ``"resnet50-7x7"`` and
    its like wholly; in ``"resnet50"`` the deep stem keeps its values, and so do the layers of the first block that it
    feeds. Scales of normalisation are taken as they are, not folded as those of released A-CE2P checkpoints.

    Parameters
    ----------
    model : nn.Module
        ACE2P, or a ResNet or MobileNetV2 of ours, at full width. It is filled in place.
    source : path-like or mapping
        See :func:`~noisycorrect_seg.ace2p.weights.read_weights`. A mapping is not changed.
    rgb : bool, optional
        Whether the weights expect red first; the networks here see blue first, so the first convolution's channels
        are reversed then. Default: True for torchvision's files, False for the deep-stemmed one, which the official
        code uses as it is.

    Returns
    -------
    list of str
        The backbone's parameters and buffers that were not loaded, in its order; empty if all were.

    Raises
    ------
    InvalidInputError
        If the backbone is not one of ours.
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
    state = {key: value for key, value in read_weights(source).items() if not key.startswith(CLASSIFIERS)}
    own = {name.removeprefix("stem."): value for name, value in backbone.state_dict().items()}
    stem_of_torchvision = getattr(state.get("conv1.weight"), "shape", ())[-2:] == (7, 7)
    partial = stem_of_torchvision and isinstance(backbone, ResNet) and isinstance(backbone.stem, DeepStem)
    if partial:
        state = {key: value for key, value in state.items() if not _left_out(key)}
    _check(own, state, partial)
    if rgb is None:
        rgb = stem_of_torchvision or isinstance(backbone, MobileNetV2)
    with torch.no_grad():
        for key, value in state.items():
            own[key].copy_(value.flip(1) if rgb and value.dim() == 4 and value.shape[1] == 3 else value)
    names = (name for name in backbone.state_dict() if not name.endswith(COUNTER))
    return [name for name in names if name.removeprefix("stem.") not in state]


def _backbone(model: nn.Module) -> ResNet | MobileNetV2:
    backbone = getattr(model, "backbone", model)
    if not isinstance(backbone, (ResNet, MobileNetV2)):
        raise InvalidInputError(
            "a network with a ResNet or a MobileNetV2 built by name",
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
