"""Networks that a folder can build anew, and networks dressed as a run dresses them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import nn

from noisycorrect.correction.twin import TwinNetworks
from noisycorrect.data.standardize import Standardized, restore_standardized
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.modules import unwrap
from noisycorrect.support.register import Register

NETWORKS: Register[type[nn.Module]] = Register(
    "network",
    group="noisycorrect.networks",
    accepts=lambda thing: isinstance(thing, type) and issubclass(thing, nn.Module) and hasattr(thing, "config"),
    expected="a class of modules with a property `config`",
)
"""Networks that need not be passed when a result is loaded: ``cls(**network.config)`` is the same architecture.

``config`` holds plain JSON values. A class registers itself in the file that defines it. ``nn.Sequential`` of such
networks and of torch's plain layers (:data:`LAYERS`) need not be registered.
"""

_CONV = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "bias",
    "padding_mode",
)
_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
_POOL = ("kernel_size", "stride", "padding")
LAYERS: dict[str, tuple[str, ...]] = {
    "AdaptiveAvgPool2d": ("output_size",),
    "AvgPool2d": _POOL,
    "BatchNorm1d": _NORM,
    "BatchNorm2d": _NORM,
    "Conv1d": _CONV,
    "Conv2d": _CONV,
    "Dropout": ("p",),
    "Dropout2d": ("p",),
    "ELU": ("alpha",),
    "Embedding": ("num_embeddings", "embedding_dim", "padding_idx"),
    "EmbeddingBag": ("num_embeddings", "embedding_dim", "mode", "padding_idx"),
    "Flatten": ("start_dim", "end_dim"),
    "GELU": ("approximate",),
    "GroupNorm": ("num_groups", "num_channels", "eps", "affine"),
    "Identity": (),
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "LeakyReLU": ("negative_slope",),
    "Linear": ("in_features", "out_features", "bias"),
    "MaxPool2d": _POOL,
    "ReLU": (),
    "SiLU": (),
    "Sigmoid": (),
    "Softplus": (),
    "Tanh": (),
    "Unflatten": ("dim", "unflattened_size"),
}
"""Layers of torch that a folder can describe, each with the arguments that make it, which it keeps as attributes."""


def inner_network(model: nn.Module) -> nn.Module:
    """Return the network that a run was given: without wrappers, standardisation, and a second network.

    Examples
    --------
    >>> network = nn.Linear(2, 3)
    >>> inner_network(TwinNetworks.of(network, seed=0)) is network
    True
    """
    model = unwrap(model)
    while isinstance(model, (TwinNetworks, Standardized)):
        model = unwrap(model.first if isinstance(model, TwinNetworks) else model.network)
    return model


def network_record(model: nn.Module) -> dict[str, Any] | None:
    """Return how a run's network can be built anew, as plain JSON values; None if that is not known.

    Examples
    --------
    >>> network_record(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))["modules"][0]
    ['0', {'name': 'Linear', 'config': {'in_features': 2, 'out_features': 3, 'bias': True}}]
    """
    return _record(inner_network(model))


def _record(module: nn.Module) -> dict[str, Any] | None:
    for name, known in NETWORKS.loaded().items():
        if type(module) is known:
            try:
                return {"name": name, "config": dict(module.config)}  # type: ignore[arg-type]
            except InvalidInputError:  # built of parts that have no name
                return None
    name = type(module).__name__
    if type(module) is nn.Sequential:
        parts = [[child, _record(inner)] for child, inner in module.named_children()]
        repeated = len(parts) < len(module)  # a layer that stands twice shares its weights
        return None if repeated or any(record is None for _, record in parts) else {"name": name, "modules": parts}
    if name not in LAYERS or type(module) is not getattr(nn, name):
        return None
    config = {argument: getattr(module, argument) for argument in LAYERS[name]}
    if "bias" in config:
        config["bias"] = config["bias"] is not None
    return {"name": name, "config": config}


def built_network(record: Mapping[str, Any] | None, where: str) -> nn.Module:
    """Return a network as :func:`network_record` describes it, untrained.

    Raises
    ------
    InvalidInputError
        If there is no record.
    CheckpointError
        If the network is unknown here, or not built so.

    Examples
    --------
    >>> built_network(network_record(nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False))), "a folder")
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=2, out_features=3, bias=False)
    )
    """
    if record is None:
        raise InvalidInputError(
            f"model=, the network whose weights lie in {where}",
            got="None",
            fix="pass a network of the same architecture: of classes that are not registered, weights alone are saved",
        )
    try:
        return _built(record)
    except (InvalidInputError, TypeError, KeyError, ValueError) as error:
        fix = "import what registers it, or pass model="
        raise CheckpointError(f"the network {record.get('name')!r} of {where}", got=str(error), fix=fix) from error


def _built(record: Mapping[str, Any]) -> nn.Module:
    if "modules" in record:
        return nn.Sequential(OrderedDict((name, _built(inner)) for name, inner in record["modules"]))
    name = record["name"]
    config = {key: tuple(value) if isinstance(value, list) else value for key, value in record["config"].items()}
    made: nn.Module = getattr(nn, name)(**config) if name in LAYERS else NETWORKS[name](**config)
    return made


def dressed(model: nn.Module, state: Mapping[str, Any]) -> nn.Module:
    """Return a network as a run had it whose weights are `state`: twice, and behind what standardises inputs.

    Examples
    --------
    >>> state = TwinNetworks.of(nn.Linear(2, 3), seed=0).state_dict()
    >>> type(dressed(nn.Linear(2, 3), state)).__name__
    'TwinNetworks'
    """
    own = unwrap(model).state_dict()
    if state and not own.keys() & state.keys() and all(name.startswith(("first.", "second.")) for name in state):
        model = TwinNetworks(model, copy.deepcopy(model))
    return restore_standardized(model, state)
