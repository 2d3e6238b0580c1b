"""Networks that a folder can build anew, and networks dressed as a run dresses them."""

from __future__ import annotations

import copy
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

``config`` holds plain JSON values. A class registers itself in the file that defines it.
"""


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
    """Return by what name and settings a run's network can be built anew; None if that is not known.

    Examples
    --------
    >>> network_record(nn.Linear(2, 3)) is None
    True
    """
    network = inner_network(model)
    for name, known in NETWORKS.loaded().items():
        if type(network) is known:
            try:
                return {"name": name, "config": dict(network.config)}  # type: ignore[arg-type]
            except InvalidInputError:  # built of parts that have no name
                return None
    return None


def built_network(record: Mapping[str, Any] | None, where: str) -> nn.Module:
    """Return a network as :func:`network_record` describes it, untrained.

    Raises
    ------
    InvalidInputError
        If there is no record.
    CheckpointError
        If the network is unknown here, or not built so.
    """
    if record is None:
        raise InvalidInputError(
            f"model=, the network whose weights lie in {where}",
            got="None",
            fix="pass a network of the same architecture; only weights of other people's networks are saved",
        )
    try:
        return NETWORKS[record["name"]](**record["config"])
    except (InvalidInputError, TypeError, KeyError) as error:
        fix = "import what registers it, or pass model="
        raise CheckpointError(f"the network {record.get('name')!r} of {where}", got=str(error), fix=fix) from error


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
