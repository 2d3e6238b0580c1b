"""Making a run's optimizer with the user's factory."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from noisycorrect.correction.twin import TwinNetworks
from noisycorrect.data.standardize import Standardized
from noisycorrect.recipe import Recipe
from noisycorrect.support.errors import CheckpointError, InvalidInputError

MODEL_NAMES = ("model", "network", "net", "module")


def make_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """Return the optimizer of a run.

    Parameters
    ----------
    recipe : Recipe
        Its factory is called as ``optimizer(parameters, lr=lr)``, or ``optimizer(parameters)`` if `lr` is None. One
        whose first argument is called ``model`` (or ``network``, ``net``, ``module``), or is annotated as a module, is
        called with the network instead: for rates by layer. Of two networks it is called with each, and one optimizer
        has the groups of both.
    model : nn.Module
        The run's own model.

    Raises
    ------
    InvalidInputError
        If the factory returns no optimizer, one over parameters that are not the run's, one whose steps need a
        closure, or one without the weight decay that the recipe needs.
    """
    if takes_model(recipe.optimizer):
        first, *others = networks_of(model)
        optimizer = _made(recipe, first, "model")
        for network in others:
            for group in _made(recipe, network, "model").param_groups:
                optimizer.add_param_group(group)
    else:
        optimizer = _made(recipe, model.parameters(), "parameters")
    own = {id(parameter) for parameter in model.parameters()}
    if any(id(parameter) not in own for group in optimizer.param_groups for parameter in group["params"]):
        raise InvalidInputError(
            "an optimizer of the parameters that its factory is called with",
            got="parameters of another model, which would be trained instead: a run trains a copy of yours",
            fix="pass a factory that uses its argument: lambda parameters: SGD(parameters, lr=0.1), or, for rates by"
            ' layer, lambda model: SGD([{"params": model.head.parameters(), "lr": 0.1}, ...])',
        )
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise InvalidInputError(
            "an optimizer whose step() needs no closure",
            got=type(optimizer).__name__,
            fix="pass SGD, AdamW or another first-order optimizer",
        )
    _raise_weight_decay(optimizer, recipe.weight_decay)
    return optimizer


def _made(recipe: Recipe, argument: Any, name: str) -> Optimizer:
    rate = {} if recipe.lr is None else {"lr": recipe.lr}
    try:
        optimizer = recipe.optimizer(argument, **rate)
    except (TypeError, AttributeError) as error:
        written = ", ".join([name, *(f"{key}={value}" for key, value in rate.items())])
        fix = "pass a factory such as torch.optim.AdamW or lambda parameters, lr: ...; without lr= it is called alone;"
        fix += " one whose first argument is called model gets the network"
        raise InvalidInputError(f"optimizer({written}) to work", got=str(error), fix=fix) from error
    if not isinstance(optimizer, Optimizer):
        raise InvalidInputError(
            f"optimizer({name}) to return a torch Optimizer",
            got=type(optimizer).__name__,
            fix="pass a factory, such as torch.optim.AdamW",
        )
    return optimizer


def takes_model(factory: Any) -> bool:
    """Return whether a factory of optimizers is to be called with the network: by its first argument.

    Examples
    --------
    >>> takes_model(lambda model, lr: None), takes_model(lambda parameters: None)
    (True, False)
    """
    try:
        first = next(iter(inspect.signature(factory).parameters.values()), None)
    except (TypeError, ValueError):  # of a builtin nothing is known
        return False
    if first is None:
        return False
    annotation = first.annotation
    if isinstance(annotation, str):
        return first.name in MODEL_NAMES or annotation.split(".")[-1] == "Module"
    return first.name in MODEL_NAMES or (isinstance(annotation, type) and issubclass(annotation, nn.Module))


def networks_of(model: nn.Module) -> list[nn.Module]:
    """Return the networks as the caller made them that a run's model consists of: one, or two.

    Examples
    --------
    >>> [type(network).__name__ for network in networks_of(nn.Linear(2, 2))]
    ['Linear']
    """
    if isinstance(model, TwinNetworks):
        return [*networks_of(model.first), *networks_of(model.second)]
    return networks_of(model.network) if isinstance(model, Standardized) else [model]


def _raise_weight_decay(optimizer: Optimizer, least: float) -> None:
    if not least:
        return
    for group in [*optimizer.param_groups, optimizer.defaults]:
        if "weight_decay" not in group:
            raise InvalidInputError(
                "an optimizer with weight decay", got=type(optimizer).__name__, fix="pass SGD, AdamW or another"
            )
        group["weight_decay"] = max(least, group["weight_decay"])


def optimizer_identity(optimizer: Optimizer) -> str:
    """Return the class and the plain defaults of an optimizer, which a run and the run that resumes it must share.

    Of several groups also how many parameters each has, and in what it differs from the defaults.
    """
    values: dict[str, Any] = {
        name: value.tolist() if isinstance(value, Tensor) else value for name, value in optimizer.defaults.items()
    }
    plain = {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str, tuple))}
    groups = optimizer.param_groups
    own = [{name: group[name] for name in plain if group.get(name) != plain[name]} for group in groups]
    several = f", groups={[(len(group['params']), each) for group, each in zip(groups, own, strict=True)]}"
    return f"{type(optimizer).__name__}({plain}{several if len(groups) > 1 else ''})"


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Restore an optimizer's state, or raise a CheckpointError if it is another optimizer's."""
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise CheckpointError("this optimizer", got=str(error), fix="use the run's own optimizer factory") from error
