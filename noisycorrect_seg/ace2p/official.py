"""Checkpoints of the SCHP authors' code: their names, and their normalisation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg.ace2p.context import PyramidPooling
from noisycorrect_seg.ace2p.heads import EdgeBranch, FusionBranch, SkipDecoder
from noisycorrect_seg.ace2p.resnet import DeepStem, ResNet
from noisycorrect_seg.ace2p.tuning import FrozenNorm
from noisycorrect_seg.ace2p.weights import first_difference, read_weights

# Their normalisation scales by abs(weight) + EPS, in training and at inference.
EPS = 1e-5
HEAD = "decoder.conv4.weight"
UNKNOWN_TO_THEM = "num_batches_tracked"

# How our names begin, and how theirs do; the first that fits counts.
NAMES = (
    ("backbone.stem.", ""),
    ("backbone.", ""),
    *(
        (f"context.levels.{level}.{ours}.", f"context_encoding.stages.{level}.{theirs}.")
        for level in range(4)
        for ours, theirs in (("conv", 1), ("norm", 2))
    ),
    ("context.merge.conv.", "context_encoding.bottleneck.0."),
    ("context.merge.norm.", "context_encoding.bottleneck.1."),
    ("decoder.deep.conv.", "decoder.conv1.0."),
    ("decoder.deep.norm.", "decoder.conv1.1."),
    ("decoder.shallow.conv.", "decoder.conv2.0."),
    ("decoder.shallow.norm.", "decoder.conv2.1."),
    ("decoder.merge.conv.", "decoder.conv3.0."),
    ("decoder.merge.norm.", "decoder.conv3.1."),
    ("decoder.refine.conv.", "decoder.conv3.2."),
    ("decoder.refine.norm.", "decoder.conv3.3."),
    ("parsing_head.", "decoder.conv4."),
    *(
        (f"edge.levels.{level}.{ours}.", f"edge.conv{level + 1}.{theirs}.")
        for level in range(3)
        for ours, theirs in (("conv", 0), ("norm", 1))
    ),
    ("edge.level_head.", "edge.conv4."),
    ("edge.head.", "edge.conv5."),
    ("fusion.merge.conv.", "fushion.0."),
    ("fusion.merge.norm.", "fushion.1."),
    ("fusion.head.", "fushion.3."),
)


def official_name(name: str) -> str:
    """Return the official name of one of our parameters or buffers.

    Examples
    --------
    >>> official_name("backbone.layer1.0.bn1.weight"), official_name("fusion.merge.conv.weight")
    ('layer1.0.bn1.weight', 'fushion.0.weight')
    """
    ours, theirs = next(pair for pair in NAMES if name.startswith(pair[0]))
    return theirs + name.removeprefix(ours)


def num_classes(state: Mapping[str, Tensor]) -> int:
    """Return the number of classes of an official state; 20 if it is none, and the comparison of keys will say so."""
    head = state.get(HEAD)
    return len(head) if head is not None and head.dim() == 4 and len(head) >= 2 else 20


def load_official(network: nn.Module, source: str | os.PathLike[str] | Mapping[str, Any]) -> None:
    r"""Load weights of the official layout into a network of the same architecture, at any width.

    A scale w of the official normalisation becomes :math:`|w| + 10^{-5}`, computed in float32.

    Parameters
    ----------
    network : ACE2P
        With a deep-stemmed ResNet, PSP, and the named decoder, edge and fusion branches. It is filled in place.
    source : path-like or mapping
        See :func:`~noisycorrect_seg.ace2p.weights.read_weights`. A mapping is not changed.

    Raises
    ------
    InvalidInputError
        If the network is of another architecture.
    CheckpointError
        If the file cannot be read or a key is missing, unexpected or of another shape: the first one is named.
    """
    _check_architecture(network)
    state = read_weights(source)
    own = network.state_dict()
    names = {official_name(name): name for name in own if not name.endswith(UNKNOWN_TO_THEM)}
    expected = {theirs: tuple(own[ours].shape) for theirs, ours in names.items()}
    found = {theirs: tuple(value.shape) for theirs, value in state.items()}
    key = first_difference(expected, found)
    if key is not None:
        raise CheckpointError(
            f"{key!r} of shape {expected[key]}" if key in expected else f"no {key!r}",
            got=str(found.get(key, "no such key")),
            fix="pass a checkpoint of this architecture written by the official code",
        )
    scales = {f"{norm}.weight" for norm, _ in _norms(network)}
    with torch.no_grad():
        for theirs, ours in names.items():
            value = state[theirs]
            own[ours].copy_(value.float().abs() + EPS if ours in scales else value)
        for name in own.keys() - names.values():
            own[name].zero_()


def official_state(network: nn.Module, prefix: str = "module.") -> dict[str, Tensor]:
    r"""Return a network's weights as the official code's: its names, its normalisation, no counters of batches.

    The official scale is :math:`|w| + 10^{-5}`, so `w` is our scale less :math:`10^{-5}`; whatever came from an
    official file comes back to the same scale, bit for bit. A negative scale, which only training of ours makes, goes
    as a changed sign into the convolution before it and into the running mean, which changes nothing. A scale nearer
    to 0 than :math:`10^{-5}` cannot be written and becomes :math:`\pm 10^{-5}`.

    Parameters
    ----------
    network : ACE2P
        As in :func:`load_official`.
    prefix : str
        Put before every key; the official loaders strip seven characters, ``module.``.

    Returns
    -------
    dict of str to Tensor
        Copies; 603 for ResNet-101.

    Raises
    ------
    InvalidInputError
        If the network is of another architecture.
    """
    _check_architecture(network)
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    for norm, conv in _norms(network):
        scale = state[f"{norm}.weight"]
        sign = torch.where(scale < 0, -1, 1).to(scale.dtype)
        state[f"{norm}.weight"] = (scale.abs() - EPS).clamp_min(0)
        state[f"{norm}.running_mean"] *= sign
        state[f"{conv}.weight"] *= sign.view(-1, 1, 1, 1)
    return {prefix + official_name(name): value for name, value in state.items() if not name.endswith(UNKNOWN_TO_THEM)}


def _norms(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the name of every normalisation and of the convolution, without bias, before it."""
    for name, module in network.named_modules():
        if isinstance(module, (_BatchNorm, FrozenNorm)):
            parent, _, own = name.rpartition(".")
            before = {"norm": "conv", "1": "0"}.get(own, own.replace("bn", "conv"))
            yield name, f"{parent}.{before}"


def _check_architecture(network: nn.Module) -> None:
    wanted: dict[str, type[nn.Module]] = {
        "backbone": ResNet,
        "backbone.stem": DeepStem,
        "context": PyramidPooling,
        "decoder": SkipDecoder,
        "parsing_head": nn.Conv2d,
        "edge": EdgeBranch,
        "fusion": FusionBranch,
    }
    modules = dict(network.named_modules())
    for name, kind in wanted.items():
        if not isinstance(modules.get(name), kind):
            raise InvalidInputError(
                f"{kind.__name__} as {name}: the official architecture",
                got=type(modules[name]).__name__ if name in modules else "none",
                fix='build ACE2P(num_classes, backbone="resnet101", context="psp")',
            )
