"""A loss and its gradient in one go, so that what lies between does not outlive it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def with_gradient(loss: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Return ``loss(*inputs)``, with the gradient found at once: only that is kept until the backward pass.

    A loss over full-size maps that come from small ones keeps many full-size maps for autograd, and a network's loss is
    a sum of several such. It is also the end of the graph: its gradient can be had before anything else is known, up to
    a factor.

    Parameters
    ----------
    loss : callable
        Tensors -> scalar, differentiable.
    *inputs : Tensor
        What it is called with. Their gradient can be taken once, not twice.

    Examples
    --------
    >>> x = torch.tensor([3.0], requires_grad=True)
    >>> (2 * with_gradient(lambda x: x.square().sum(), x)).backward()
    >>> x.grad
    tensor([12.])
    """
    if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in inputs):
        return loss(*inputs)
    return cast(Tensor, _Eager.apply(loss, *inputs))  # type: ignore[no-untyped-call]


class _Eager(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        needed = ctx.needs_input_grad[1:]
        leaves = [tensor.detach().requires_grad_(need) for tensor, need in zip(inputs, needed, strict=True)]
        with torch.enable_grad():
            value = loss(*leaves)
            asked = [leaf for leaf in leaves if leaf.requires_grad]
            found = iter(torch.autograd.grad(value, asked, allow_unused=True, materialize_grads=True))
        ctx.needed = needed
        ctx.save_for_backward(*found)
        return value.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        found = iter(ctx.saved_tensors)
        return None, *(grads[0] * next(found) if need else None for need in ctx.needed)
