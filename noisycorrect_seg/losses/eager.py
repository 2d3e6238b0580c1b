"""A loss and its gradient in one go, so that what lies between does not outlive it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def with_gradient(loss: Callable[..., tuple[Tensor, Sequence[Tensor]]], *inputs: Tensor) -> Tensor:
    """Return the loss of a function that finds its gradient as well: only that is kept until the backward pass.

    A loss over full-size maps that come from small ones keeps many full-size maps for autograd, and a network's loss is
    a sum of several such. It is also the end of the graph: its gradient can be had before anything else is known, up to
    a factor.

    Parameters
    ----------
    loss : callable
        Tensors -> scalar, and its gradient for each of them. Called without autograd and autocast.
    *inputs : Tensor
        What it is called with. Their gradient can be taken once, not twice.

    Examples
    --------
    >>> x = torch.tensor([3.0], requires_grad=True)
    >>> (2 * with_gradient(lambda x: (x.square().sum(), [2 * x]), x)).backward()
    >>> x.grad
    tensor([12.])
    """
    return cast(Tensor, _Eager.apply(loss, *inputs))  # type: ignore[no-untyped-call]


class _Eager(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Callable[..., tuple[Tensor, Sequence[Tensor]]], *inputs: Tensor) -> Tensor:
        with torch.autocast(inputs[0].device.type, enabled=False):
            value, gradients = loss(*(tensor.detach() for tensor in inputs))
        ctx.needed = ctx.needs_input_grad[1:]
        ctx.save_for_backward(*(found for found, need in zip(gradients, ctx.needed, strict=True) if need))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        found = iter(ctx.saved_tensors)
        return None, *(grads[0] * next(found) if need else None for need in ctx.needed)
