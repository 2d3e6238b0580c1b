"""Two networks in one module, for methods in which they teach each other."""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from noisycorrect.correction.part import Setup
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.modules import unwrap
from noisycorrect.support.rng import seeded

_RESETS = ("reset_parameters", "_reset_parameters")  # torch's attention layers have the second


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
    def of(cls, model: nn.Module, seed: int) -> TwinNetworks:
        """Return a model together with a copy whose layers are initialised anew; see :func:`reinitialised`.

        Parameters
        ----------
        model : nn.Module
            Becomes ``first``, as it is.
        seed : int
            Of the second network's weights, >= 0.

        Raises
        ------
        InvalidInputError
            If no layer of the model can be initialised anew.
        """
        return cls(model, reinitialised(model, seed))

    def forward(self, inputs: Any) -> Tensor:
        """Run both networks on an input, or each on its own of an :class:`InputPair`.

        Returns
        -------
        Tensor, shape (2, N, K) in training mode, (N, K) in evaluation mode
            Logits of both; log of their mean probability, at least float32.
        """
        pair = inputs if isinstance(inputs, InputPair) else InputPair(inputs, inputs)
        outputs = self.first(pair.first), self.second(pair.second)
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


def reinitialised(model: nn.Module, seed: int) -> nn.Module:
    """Return a copy of a model whose layers have fresh weights: ``reset_parameters()`` of every module that has it.

    Parameters that belong to no such module (a class token, say) keep the values that they have.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    seed : int
        >= 0. Global generators are left as they were.

    Raises
    ------
    InvalidInputError
        If no module has ``reset_parameters()``: the copy would be the model itself.

    Examples
    --------
    >>> layer = nn.Linear(2, 2)
    >>> fresh = reinitialised(layer, seed=1)
    >>> torch.equal(fresh.weight, layer.weight), torch.equal(fresh.weight, reinitialised(layer, seed=1).weight)
    (False, True)
    """
    seed = whole_number("seed", seed, least=0)
    fresh = copy.deepcopy(model)
    found = [(module, name) for module in fresh.modules() for name in _RESETS if callable(getattr(module, name, None))]
    if not found:
        raise InvalidInputError(
            "a model with layers that have reset_parameters()",
            got=f"{type(model).__name__} without one",
            fix="build two networks and pass both to TwinNetworks(first, second)",
        )
    first = next(fresh.parameters(), None)
    with seeded(seed, "fresh weights", device=None if first is None else first.device), torch.no_grad():
        for module, name in found:
            getattr(module, name)()
    return fresh


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
