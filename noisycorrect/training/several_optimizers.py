"""Several optimizers as one: where each is for some parameters only, as Muon is for matrices."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from noisycorrect.support.errors import InvalidInputError


class SeveralOptimizers(Optimizer):
    """Several optimizers of one model's parameters, stepped one after the other.

    Parameters
    ----------
    optimizers : sequence of Optimizer
        Each with parameters of its own.

    Attributes
    ----------
    optimizers : tuple of Optimizer
        As they were passed.

    Raises
    ------
    InvalidInputError
        If a parameter belongs to two.

    Examples
    --------
    >>> from torch import nn
    >>> from torch.optim import SGD, AdamW
    >>> one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> both = SeveralOptimizers([SGD(one.parameters(), lr=0.1), AdamW(other.parameters(), lr=0.01)])
    >>> [group["lr"] for group in both.param_groups]
    [0.1, 0.01]
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        # What the base class keeps for itself, groups and state, is the optimizers' own here.
        self.optimizers = tuple(optimizers)
        self._ordered: list[dict[str, Any]] = []
        held = [id(parameter) for group in self.param_groups for parameter in group["params"]]
        if len(set(held)) < len(held):
            raise InvalidInputError(
                "optimizers of different parameters",
                got=f"one that belongs to two of {', '.join(type(each).__name__ for each in self.optimizers)}",
                fix="divide the parameters: the matrices of hidden layers to one, all others to the other",
            )

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The groups of all; one that is added to an optimizer later comes last."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                if not any(group is known for known in self._ordered):
                    self._ordered.append(group)
        return list(self._ordered)

    @property
    def state(self) -> Any:  # type: ignore[override]
        """What all remember of each parameter."""
        return ChainMap(*(optimizer.state for optimizer in self.optimizers))

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """The defaults of all, by the number and name of the optimizer."""
        named = ((f"{number} {type(each).__name__}", each) for number, each in enumerate(self.optimizers))
        return {f"{name} {key}": value for name, each in named for key, value in each.defaults.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {"optimizers": self.optimizers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.optimizers, self._ordered = state["optimizers"], []

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step with each."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Say that a group goes to one of the optimizers."""
        fix = "call add_param_group of one of them: optimizer.optimizers[0].add_param_group(...)"
        raise InvalidInputError("a group for one of several optimizers", got="one for all", fix=fix)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        states = state_dict["optimizers"]
        if len(states) != len(self.optimizers):
            raise ValueError(f"the states of {len(states)} optimizers for {len(self.optimizers)}")
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)
        self._ordered = []  # loading makes groups anew


def optimizers_of(optimizer: Optimizer) -> tuple[Optimizer, ...]:
    """Return the optimizers that one consists of: several, or itself."""
    return optimizer.optimizers if isinstance(optimizer, SeveralOptimizers) else (optimizer,)
