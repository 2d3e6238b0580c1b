"""Fine-tuning a pretrained backbone: first layers that stay, and rates that are lower than the new parts'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.modules import unwrap

LEVELS = 4


@final
class FrozenNorm(nn.Module):
    """A normalisation whose weights and statistics stay, in training too, and that recalibration leaves alone.

    Its parameters and buffers have the names that they had, so files fit either.

    Parameters
    ----------
    norm : nn.BatchNorm2d
        Whose parameters and buffers it takes over.

    Examples
    --------
    >>> norm = FrozenNorm(nn.BatchNorm2d(2)).train()
    >>> maps = Tensor([[[[3.0]], [[5.0]]]])
    >>> norm(maps).flatten().tolist() == (maps.flatten() / (1 + norm.eps) ** 0.5).tolist()
    True
    """

    weight: nn.Parameter
    bias: nn.Parameter
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.eps = norm.eps
        for name, parameter in norm.named_parameters(recurse=False):
            parameter.requires_grad_(False)
            self.register_parameter(name, parameter)
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, C, h, w) normalised."""
        return F.batch_norm(maps, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


def backbone_levels(backbone: nn.Module) -> list[list[nn.Module]]:
    """Return the layers that make each of a backbone's four maps of the one before: four lists, the stem in the first.

    Raises
    ------
    InvalidInputError
        If the backbone does not say it by a method ``levels()``.
    """
    levels: Any = getattr(backbone, "levels", None)
    found = levels() if callable(levels) else None
    if not isinstance(found, Sequence) or len(found) != LEVELS:
        raise InvalidInputError(
            "a backbone whose method `levels()` returns the modules of each of its four maps",
            got=f"{type(backbone).__name__} without",
            fix="add the method, or freeze layers and make parameter groups yourself",
        )
    return [list(level) for level in found]


def freeze_levels(model: nn.Module, levels: int) -> None:
    """Keep the first layers of a backbone as they are: weights, and the statistics of normalisations.

    They need no gradient, so a step takes less time and memory. The paper says "we fix the first three residual
    layers" (sec. 4.1); the published code trains all.

    Parameters
    ----------
    model : nn.Module
        ACE2P or a backbone of ours; it is changed in place.
    levels : int
        How many of the four: 1 is the stem and all up to the map of stride 4, 3 all but the last layer.

    Raises
    ------
    InvalidInputError
        If `levels` is not in 0..4, or the backbone does not say what its levels are.

    Examples
    --------
    >>> from noisycorrect_seg.ace2p import ResNet
    >>> backbone = ResNet(18, width=0.125)
    >>> freeze_levels(backbone, 1)
    >>> [name for name, parameter in backbone.named_parameters() if parameter.requires_grad][0]
    'layer2.0.conv1.weight'
    """
    count = whole_number("levels", levels, least=0)
    if count > LEVELS:
        raise InvalidInputError("0 to 4 levels to freeze", got=str(count), fix="a backbone has four")
    if not count:
        return
    backbone = getattr(model, "backbone", model)
    frozen = [layer for level in backbone_levels(backbone)[:count] for layer in level]
    norms = {id(part) for layer in frozen for part in layer.modules() if isinstance(part, nn.BatchNorm2d)}
    for layer in frozen:
        layer.requires_grad_(False)
    for parent in list(backbone.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in norms:
                assert isinstance(child, nn.BatchNorm2d)
                setattr(parent, name, FrozenNorm(child))


def parameter_groups(model: nn.Module, lr: float, *, backbone: float | Sequence[float] = 0.1) -> list[dict[str, Any]]:
    """Return parameter groups whose backbone learns more slowly than what stands behind it ("discriminative rates").

    A pretrained backbone needs small steps to stay what it is, new layers big ones. A run's schedule keeps the ratios.
    Frozen parameters are left out.

    Parameters
    ----------
    model : nn.Module
        ACE2P, or any network whose backbone is called ``backbone``.
    lr : float
        Rate of all but the backbone.
    backbone : float or sequence of 4 floats
        Factor on it for the backbone; or one for each of its four levels, first to last (Howard and Ruder 2018,
        "Universal Language Model Fine-tuning", sec. 3.2, divide by 2.6 from one to the next).

    Returns
    -------
    list of dict
        ``params``, ``lr`` and ``name`` of each group, for any optimizer of torch; the backbone's come first.

    Raises
    ------
    InvalidInputError
        If there is no backbone, a rate is not a finite number of at least 0, or levels leave parameters out.

    Examples
    --------
    >>> from torch.optim import SGD
    >>> from noisycorrect_seg.ace2p import ACE2P
    >>> optimizer = lambda model, lr: SGD(parameter_groups(model, lr, backbone=0.1), momentum=0.9, weight_decay=5e-4)
    >>> [group["lr"] for group in optimizer(ACE2P(7, "resnet18", width=0.125), 0.5).param_groups]
    [0.05, 0.5]

    ``SelfCorrector(network, optimizer=optimizer, lr=0.5)`` calls it with the run's own network.
    """
    inner = unwrap(model)
    part = getattr(inner, "backbone", None)
    if not isinstance(part, nn.Module):
        raise InvalidInputError(
            "a network with its backbone as `backbone`", got=type(inner).__name__, fix="make the groups yourself"
        )
    rate = finite_number("lr", lr, above=0, fix="7e-3 is the paper's")
    if isinstance(backbone, (int, float)):
        parts: list[tuple[str, list[nn.Module], float]] = [("backbone", [part], backbone)]
    else:
        if len(backbone) != LEVELS:
            raise InvalidInputError("one factor, or one for each of 4 levels", got=str(len(backbone)), fix="pass 4")
        levels = backbone_levels(part)
        parts = [(f"backbone level {i + 1}", levels[i], backbone[i]) for i in range(LEVELS)]
    _check_covered(part, [module for _, modules, _ in parts for module in modules])
    groups, seen = [], {id(parameter) for parameter in part.parameters()}
    for name, modules, factor in parts:
        own = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
        scale = finite_number("backbone", factor, above=0, fix="0.1 trains it a tenth as fast")
        groups.append({"params": own, "lr": rate * scale, "name": name})
    rest = [parameter for parameter in inner.parameters() if parameter.requires_grad and id(parameter) not in seen]
    groups.append({"params": rest, "lr": rate, "name": "behind the backbone"})
    return [group for group in groups if group["params"]]


def _check_covered(backbone: nn.Module, modules: Sequence[nn.Module]) -> None:
    """Raise an InvalidInputError if parameters of a backbone are in none of its levels: nothing would train them."""
    held = {id(parameter) for module in modules for parameter in module.parameters()}
    left = [name for name, each in backbone.named_parameters() if each.requires_grad and id(each) not in held]
    if left:
        raise InvalidInputError(
            "a backbone whose `levels()` hold all of its parameters",
            got=f"{len(left)} in none of them, such as {left[0]}",
            fix="add the module to the level that it belongs to, or pass one factor for the whole backbone",
        )
