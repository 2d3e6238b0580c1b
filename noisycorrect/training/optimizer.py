"""Making a run's optimizer with the user's factory."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from noisycorrect.recipe import Recipe
from noisycorrect.support.errors import CheckpointError, InvalidInputError


def make_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """Return the optimizer of a run.

    Parameters
    ----------
    recipe : Recipe
        Its factory is called as ``optimizer(parameters, lr=lr)``, or ``optimizer(parameters)`` if `lr` is None.
    model : nn.Module
        The run's own model.

    Raises
    ------
    InvalidInputError
        If the factory returns no optimizer, one over parameters that are not the run's, one whose steps need a
        closure, or one without the weight decay that the recipe needs.
    """
    parameters = model.parameters()
    rate = {} if recipe.lr is None else {"lr": recipe.lr}
    try:
        optimizer = recipe.optimizer(parameters, **rate)
    except TypeError as error:
        called = ", ".join(["parameters", *(f"{name}={value}" for name, value in rate.items())])
        fix = "pass a factory such as torch.optim.AdamW or lambda parameters, lr: ...; without lr= it is called alone"
        raise InvalidInputError(f"optimizer({called}) to work", got=str(error), fix=fix) from error
    if not isinstance(optimizer, Optimizer):
        raise InvalidInputError(
            "optimizer(parameters) to return a torch Optimizer",
            got=type(optimizer).__name__,
            fix="pass a factory, such as torch.optim.AdamW",
        )
    own = {id(parameter) for parameter in model.parameters()}
    if any(id(parameter) not in own for group in optimizer.param_groups for parameter in group["params"]):
        raise InvalidInputError(
            "an optimizer of the parameters that its factory is called with",
            got="parameters of another model, which would be trained instead: a run trains a copy of yours",
            fix="pass a factory that uses its argument, such as lambda parameters: SGD(parameters, lr=0.1)",
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
    """Return the class and the plain defaults of an optimizer, which a run and the run that resumes it must share."""
    values: dict[str, Any] = {
        name: value.tolist() if isinstance(value, Tensor) else value for name, value in optimizer.defaults.items()
    }
    plain = {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str, tuple))}
    return f"{type(optimizer).__name__}({plain})"


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Restore an optimizer's state, or raise a CheckpointError if it is another optimizer's."""
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise CheckpointError("this optimizer", got=str(error), fix="use the run's own optimizer factory") from error
