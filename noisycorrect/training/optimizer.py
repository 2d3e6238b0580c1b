"""Making a run's optimizer with the user's factory."""

from __future__ import annotations

import copy
import inspect
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from noisycorrect.correction.twin import TwinNetworks
from noisycorrect.data.standardize import Standardized
from noisycorrect.recipe import Recipe
from noisycorrect.support.errors import CheckpointError, InvalidInputError, NoisyCorrectError
from noisycorrect.training.several_optimizers import SeveralOptimizers, optimizers_of

MODEL_NAMES = ("model", "network", "net", "module")
_FIRST_ORDER = "pass SGD, AdamW or another first-order optimizer"
_OF_RUN = ("params", "lr", "initial_lr")  # what of a group is the run's, not the optimizer's


def make_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """Return the optimizer of a run.

    Parameters
    ----------
    recipe : Recipe
        Its factory is called as ``optimizer(parameters, lr=lr)``, or ``optimizer(parameters)`` if `lr` is None. One
        whose first argument is called ``model`` (or ``network``, ``net``, ``module``), or is annotated as a module, is
        called with the network instead: for rates by layer. Of two networks it is called with each, and one optimizer
        has the groups of both. Several optimizers in a list become one
        (:class:`~noisycorrect.training.several_optimizers.SeveralOptimizers`).
    model : nn.Module
        The run's own model.

    Raises
    ------
    InvalidInputError
        If nothing of the model trains; if the factory fails, or returns no optimizer, one over parameters that are not
        the run's, one whose steps need a closure, or one without the weight decay that the recipe needs.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        count = sum(1 for _ in model.parameters())
        got = f"{count} parameters, all of them frozen" if count else "a network without parameters"
        fix = "let some train: model.head.requires_grad_(True)"
        raise InvalidInputError("a network with a parameter to train", got=got, fix=fix)
    if takes_model(recipe.optimizer):
        first, *others = networks_of(model)
        optimizer = _made(recipe, first, "model")
        for network in others:
            further = optimizers_of(_made(recipe, network, "model"))
            for own, other in zip(optimizers_of(optimizer), further, strict=True):
                for group in other.param_groups:
                    own.add_param_group(group)
    else:
        optimizer = _made(recipe, model.parameters(), "parameters")
    check_parameters(optimizer, model)
    for each in optimizers_of(optimizer):
        closure = inspect.signature(type(each).step).parameters.get("closure")
        needed = closure is not None and closure.default is inspect.Parameter.empty
        if needed or hasattr(each, "first_step"):  # sharpness-aware ones ask for two gradients a step
            raise InvalidInputError(
                "an optimizer whose step() needs no closure", got=type(each).__name__, fix=_FIRST_ORDER
            )
        _raise_weight_decay(each, recipe.weight_decay)
    return optimizer


def check_parameters(optimizer: Optimizer, model: nn.Module) -> None:
    """Raise an InvalidInputError if an optimizer has parameters that are not the model's, or none of those that train.

    So it is when a factory takes the caller's own model, when a group is added of another one, and when a layer makes
    its parameters anew while it runs.
    """
    own = {id(parameter): parameter.requires_grad for parameter in model.parameters()}
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    if any(each not in own for each in held):
        raise InvalidInputError(
            "an optimizer of the parameters that its factory is called with",
            got="parameters of another model, which would be trained instead: a run trains a copy of yours",
            fix="pass a factory that uses its argument: lambda parameters: SGD(parameters, lr=0.1), or, for rates by"
            ' layer, lambda model: SGD([{"params": model.head.parameters(), "lr": 0.1}, ...])',
        )
    if not any(own[each] for each in held):
        raise InvalidInputError(
            "an optimizer of some parameter that trains", got="frozen ones alone", fix="give it those of the head, too"
        )


class KnownParameters:
    """The parameters that a model had when its optimizer was made.

    Parameters
    ----------
    model : nn.Module
        The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._known = {name: id(parameter) for name, parameter in model.named_parameters()}

    def check(self, model: nn.Module) -> None:
        """Raise an InvalidInputError if a parameter has come since, or been made anew: nothing would train it."""
        for name, parameter in model.named_parameters():
            if self._known.get(name) != id(parameter) and parameter.requires_grad:
                raise InvalidInputError(
                    "a model that has its parameters before training",
                    got=f"{name!r}, which " + ("was made anew" if name in self._known else "a call of the model made"),
                    fix="call the model once before fit: model(inputs[:2]); change parameters in place",
                )


def _made(recipe: Recipe, argument: Any, name: str) -> Optimizer:
    rate = {} if recipe.lr is None else {"lr": recipe.lr}
    try:
        made = recipe.optimizer(argument, **rate)
    except NoisyCorrectError:
        raise
    except Exception as error:  # whatever an optimizer says of parameters that are not for it
        written = ", ".join([name, *(f"{key}={value}" for key, value in rate.items())])
        fix = "pass a factory such as torch.optim.AdamW or lambda parameters, lr: ...; without lr= it is called alone;"
        fix += " one whose first argument is called model gets the network, and may return several optimizers in a"
        fix += " list, each for the parameters that it takes"
        got = str(error) or type(error).__name__
        raise InvalidInputError(f"optimizer({written}) to work", got=got, fix=fix) from error
    several = list(made) if isinstance(made, (list, tuple)) else [made]
    if not several or not all(isinstance(each, Optimizer) for each in several):
        raise InvalidInputError(
            f"optimizer({name}) to return a torch Optimizer",
            got=", ".join(type(each).__name__ for each in several) or "an empty list",
            fix="pass a factory, such as torch.optim.AdamW, or one that returns several optimizers in a list",
        )
    return several[0] if len(several) == 1 else SeveralOptimizers(several)


def set_mode(optimizer: Optimizer, *, training: bool) -> None:
    """Let an optimizer whose weights differ in training and evaluation change them; most have one sort of weights.

    Schedule-free ones (Defazio et al. 2024, "The Road Less Scheduled") train at one point and are good at another.
    """
    for each in optimizers_of(optimizer):
        change = getattr(each, "train" if training else "eval", None)
        if callable(change):
            change()


class FirstSettings:
    """What an optimizer keeps in its groups beside parameters, as it was when the optimizer was made.

    Parameters
    ----------
    optimizer : Optimizer
        Some keep what they have seen there: the number of steps, a distance.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._groups = [
            copy.deepcopy({key: value for key, value in group.items() if key not in _OF_RUN})
            for group in optimizer.param_groups
        ]

    def forget(self, optimizer: Optimizer) -> None:
        """Let an optimizer be as one that has just been made, at the rates that it has now."""
        for each in optimizers_of(optimizer):
            each.state.clear()
        for group, first in zip(optimizer.param_groups, self._groups, strict=False):
            for key in [key for key in group if key not in _OF_RUN and key not in first]:
                del group[key]
            group.update(copy.deepcopy(first))


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
    if isinstance(optimizer, SeveralOptimizers):
        return " and ".join(map(optimizer_identity, optimizer.optimizers))
    values: dict[str, Any] = {
        name: value.tolist() if isinstance(value, Tensor) else value for name, value in optimizer.defaults.items()
    }
    plain = {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str, tuple))}
    groups = optimizer.param_groups
    own = [{name: group[name] for name in plain if group.get(name) != plain[name]} for group in groups]
    several = f", groups={[(len(group['params']), each) for group, each in zip(groups, own, strict=True)]}"
    return f"{type(optimizer).__name__}({plain}{several if len(groups) > 1 else ''})"


def names_of_groups(optimizer: Optimizer, model: nn.Module) -> list[list[str]]:
    """Return the names of the parameters of each group."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]


def load_optimizer_state(
    optimizer: Optimizer, state: dict[str, Any], model: nn.Module, groups: list[list[str]]
) -> None:
    """Restore an optimizer's state, and groups that were added to it while it trained.

    Parameters
    ----------
    optimizer : Optimizer
        As it was made.
    state : dict
        What ``state_dict()`` returned.
    model : nn.Module
        Whose parameters it has.
    groups : list of list of str
        What :func:`names_of_groups` returned then.

    Raises
    ------
    CheckpointError
        If it is another optimizer's.
    """
    parameters = dict(model.named_parameters())
    try:
        if not isinstance(optimizer, SeveralOptimizers):
            first = len(optimizer.param_groups)
            for names, saved in zip(groups[first:], state["param_groups"][first:], strict=True):
                settings = {key: value for key, value in saved.items() if key != "params"}
                optimizer.add_param_group({"params": [parameters[name] for name in names], **settings})
        optimizer.load_state_dict(state)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError("this optimizer", got=str(error), fix="use the run's own optimizer factory") from error
