"""Two networks in one module, for methods in which they teach each other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from noisycorrect.correction.part import Setup
from noisycorrect.support.calling import called, logits_of
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.modes import frozen_modules, resting_modules
from noisycorrect.support.modules import copied, unwrap
from noisycorrect.support.rng import seeded

_RESETS = ("reset_parameters", "_reset_parameters")  # torch's attention layers have the second
_NORMALISATION = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


class InputPair(NamedTuple):
    """An input for each of two networks, where they are not to see the same one."""

    first: Any
    second: Any


class TwinNetworks(nn.Module):
    r"""Two networks that are trained together and predict together.

    In training mode the output is both networks' logits; in evaluation mode it is
    :math:`\log \frac12 (softmax(z_1) + softmax(z_2))`, whose softmax is the mean of the two predictions: a logit like
    that of any other model. Each network can be called alone, as ``first`` and ``second``.

    Parameters
    ----------
    first, second : nn.Module
        Networks with logits (N, K) as output; they share no parameter.

    Raises
    ------
    InvalidInputError
        If one is no module, or a parameter belongs to both.

    Examples
    --------
    >>> twin = TwinNetworks.of(nn.Linear(2, 3), seed=0)
    >>> twin(torch.ones(5, 2)).shape
    torch.Size([2, 5, 3])
    >>> log_probs = twin.eval()(torch.ones(5, 2))
    >>> torch.allclose(log_probs.exp().sum(1), torch.ones(5))
    True
    """

    hands_inputs_on = True  # as they are: each network takes from them what it wants

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        for name, model in (("first", first), ("second", second)):
            if not isinstance(model, nn.Module):
                raise InvalidInputError(f"{name} to be an nn.Module", got=type(model).__name__, fix="pass a network")
        known = {id(parameter) for parameter in first.parameters()}
        if any(id(parameter) in known for parameter in second.parameters()):
            raise InvalidInputError(
                "two networks without a common parameter",
                got="one that belongs to both",
                fix="use TwinNetworks.of(model, seed)",
            )
        self.first = first
        self.second = second

    @classmethod
    def of(cls, model: nn.Module, seed: int, *, layers: Iterable[str] | None = None) -> TwinNetworks:
        """Return a model together with a copy whose layers are initialised anew, but for what is frozen.

        Parameters
        ----------
        model : nn.Module
            Becomes ``first``, as it is.
        seed : int
            Of the second network's weights, >= 0.
        layers : iterable of str, optional
            Names of the modules that are started anew; default: all that are not frozen. Of a pretrained network that
            is trained further, name those that are new, such as ``["head"]``: nothing else tells them apart.

        Raises
        ------
        InvalidInputError
            If no layer of the model can be initialised anew, or it has none of that name.
        """
        return cls(model, reinitialised(model, seed, layers=layers))

    def forward(self, inputs: Any) -> Tensor:
        """Run both networks on an input, or each on its own of an :class:`InputPair`.

        Returns
        -------
        Tensor, shape (2, N, K) in training mode, (N, K) in evaluation mode
            Logits of both; log of their mean probability, at least float32.
        """
        pair = inputs if isinstance(inputs, InputPair) else InputPair(inputs, inputs)
        outputs = logits_of(called(self.first, pair.first)), logits_of(called(self.second, pair.second))
        for output in outputs:
            if not isinstance(output, Tensor) or output.dim() != 2:
                raise InvalidInputError(
                    "networks that return logits (N, K)",
                    got=f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__,
                    fix="wrap them in a module that returns their logits alone",
                )
        logits = torch.stack(outputs)
        if self.training:
            return logits
        log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(2)
        return log_probs.logsumexp(0) - math.log(2)


def reinitialised(model: nn.Module, seed: int, *, layers: Iterable[str] | None = None) -> nn.Module:
    """Return a copy of a model whose layers have fresh weights: ``reset_parameters()`` of every module that has it.

    What is frozen stays as it is: parameters without ``requires_grad``, wherever they are used, the statistics of
    modules all of whose parameters are frozen, and modules in evaluation mode in a model in training mode. So do
    parameters that belong to no module with ``reset_parameters()`` (a class token, say). Nothing says of other layers
    whether they were trained before, so they are started anew; a warning follows if their normalisation layers look
    trained.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    seed : int
        >= 0. Global generators are left as they were.
    layers : iterable of str, optional
        Names of the modules that are started anew, with all inside them, such as ``"head"`` where the rest is
        pretrained. Default: all.

    Raises
    ------
    InvalidInputError
        If the model has no such layers; if none of them that is not frozen has ``reset_parameters()``: the copy would
        be the model itself.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2))
    >>> fresh = reinitialised(model, seed=1)
    >>> torch.equal(fresh[0].weight, model[0].weight), torch.equal(fresh[1].weight, model[1].weight)
    (True, False)
    """
    seed = whole_number("seed", seed, least=0)
    fresh = copied(model)
    chosen = dict(fresh.named_modules()) if layers is None else _inside(fresh, layers)
    resting = set(resting_modules(fresh))
    frozen = frozen_modules(fresh) | resting
    # A module may reset what belongs to others, as attention does, so all that is frozen is put back at the end.
    kept = {
        name: parameter.detach().clone().requires_grad_(parameter.requires_grad)
        for name, parameter in fresh.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad or name.rpartition(".")[0] in resting
    }
    kept |= {name: b.clone() for name, b in fresh.named_buffers() if name.rpartition(".")[0] in frozen}
    resets = [
        getattr(module, reset)
        for name, module in chosen.items()
        for reset in _RESETS
        if name not in frozen and callable(getattr(module, reset, None))
    ]
    if not resets:
        raise InvalidInputError(
            "a model with layers that train and have reset_parameters()",
            got=f"{type(model).__name__} without one",
            fix="build two networks and pass both to TwinNetworks(first, second)",
        )
    if layers is None:
        _warn_of_trained({name: module for name, module in chosen.items() if name not in frozen})
    first = next(fresh.parameters(), None)
    with seeded(seed, "fresh weights", device=None if first is None else first.device), torch.no_grad():
        for reset in resets:
            reset()
    _put_back(fresh, kept)
    return fresh


def _inside(model: nn.Module, layers: Iterable[str]) -> dict[str, nn.Module]:
    """Return the modules of these names, and all inside them."""
    modules, wanted = dict(model.named_modules()), [layers] if isinstance(layers, str) else list(layers)
    for name in wanted:
        if not name or name not in modules:
            raise unknown_name("layer", name, [other for other in modules if other])
    return {
        name: module
        for name, module in modules.items()
        if any(name == layer or name.startswith(f"{layer}.") for layer in wanted)
    }


def _put_back(model: nn.Module, kept: dict[str, Tensor]) -> None:
    """Give parameters and buffers the values they had, also where a module has made new ones."""
    for name, value in kept.items():
        owner, _, own = name.rpartition(".")
        tensor = getattr(model.get_submodule(owner), own)
        tensor.data.copy_(value)
        if isinstance(tensor, nn.Parameter):
            tensor.requires_grad_(value.requires_grad)


def _warn_of_trained(modules: dict[str, nn.Module]) -> None:
    """Warn if a normalisation layer is no longer as it is made, with equal values in all channels."""
    for name, module in modules.items():
        if not isinstance(module, _NORMALISATION):
            continue
        tensors = (getattr(module, part, None) for part in ("weight", "bias", "running_mean", "running_var"))
        if any(isinstance(t, Tensor) and t.numel() > 1 and bool((t != t.flatten()[0]).any()) for t in tensors):
            warnings.warn(
                f"a further network starts anew, but layer {name or type(module).__name__!r} looks trained: pretrained"
                " weights are lost in that network. Freeze what is to stay (requires_grad_(False)), or say which layers"
                " are new: TwinNetworks.of(model, seed, layers=['head']) as the model, or"
                " prune_retrain(..., fresh=False)",
                stacklevel=4,
            )
            return


def twin_networks(model: nn.Module) -> TwinNetworks:
    """Return the two networks inside a model, which may be wrapped for several ranks.

    Raises
    ------
    InvalidInputError
        If it is another kind of model.
    """
    inner = unwrap(model)
    if not isinstance(inner, TwinNetworks):
        raise InvalidInputError(
            "a model of two networks",
            got=type(inner).__name__,
            fix="pass TwinNetworks.of(model, seed=0) as the model",
        )
    return inner


def as_twin(model: nn.Module, seed: int) -> nn.Module:
    """Return a model of two networks as it is, and another one together with a copy that has fresh weights."""
    return model if isinstance(unwrap(model), TwinNetworks) else TwinNetworks.of(model, seed)


def given_labels(setup: Setup, name: str, *, unlabeled: bool) -> Tensor:
    """Return a run's given class labels, int64 (N,).

    Raises
    ------
    InvalidInputError
        If a label is not one class; if `unlabeled` is False and a sample has no label.
    """
    if setup.given is None:
        raise InvalidInputError(
            f"class labels for {name}", got=f"those of {type(setup.task).__name__}", fix="use another recipe"
        )
    given = setup.given.long()
    missing = int((given < 0).sum())
    if missing and not unlabeled:
        raise InvalidInputError(
            f"a label for every sample with {name}",
            got=f"{missing} samples without one",
            fix="leave out unlabeled=, or use an objective that takes it",
        )
    return given
