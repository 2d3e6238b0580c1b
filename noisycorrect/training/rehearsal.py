"""What a run looks at before its first epoch: that gradients reach the network's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.cycle.feed import cut_batch, map_tensors
from noisycorrect.data.batches import Batch
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.modules import copied
from noisycorrect.training.engine import Engine

_ROWS = 2  # samples whose gradient is looked at: BatchNorm needs two to train
_PROBABILITIES = {"SigmoidBackward0": "Sigmoid", "SoftmaxBackward0": "Softmax"}
_SAME_VALUES = (
    "ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "AliasBackward0", "CloneBackward0",
    "SqueezeBackward0", "SqueezeBackward1", "UnsqueezeBackward0", "PermuteBackward0", "TransposeBackward0",
    "TBackward0", "SelectBackward0", "SliceBackward0", "ExpandBackward0", "ToCopyBackward0",
)  # fmt: skip


def check_gradient(engine: Engine, model: nn.Module, batch: Batch, callers: Mapping[int, str]) -> None:
    """Raise an InvalidInputError unless a model's output, of a few samples, depends on weights that train.

    Parameters
    ----------
    engine : Engine
        Runs the model.
    model : nn.Module
        In training; it is looked at in evaluation mode, and comes back as it was.
    batch : Batch
        On any device.
    callers : mapping of int to str
        Names of the parameters of the model that the caller has passed, by identity: a function that closes over that
        one is the same in every copy.

    Raises
    ------
    InvalidInputError
        If the output has no gradient, or one by parameters that are not the model's; if its last layer is a Sigmoid or
        a Softmax where logits are wanted.
    """
    few = engine.to_device(cut_batch(batch, min(_ROWS, len(batch))))
    tensors = _floating(engine.look(model, few, gradient=True))
    torch.clear_autocast_cache()
    if not tensors:
        return
    if getattr(engine.task, "wants_logits", False):
        _check_last_layer(tensors[0])
    own = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    leaves, whole = _leaves(tensors)
    foreign = next((callers[leaf] for leaf in leaves if leaf in callers and leaf not in own), None)
    if foreign is not None:
        raise InvalidInputError(
            "an output of the run's copy of the model",
            got=f"one that depends on {foreign!r} of the model that was passed, through a function that knows it",
            fix="write what a lambda or a hook does as a method, which uses self: a copy has its own",
        )
    if not (whole and leaves.isdisjoint(own)):
        return
    # In evaluation mode a model may do without gradients.
    trial = copied(model).train()
    try:
        with torch.enable_grad(), engine.autocast():
            tensors = _floating(engine.task.forward(trial, few))
    except Exception:  # the first step will tell
        return
    leaves, whole = _leaves(tensors)
    if whole and leaves.isdisjoint(id(parameter) for parameter in trial.parameters() if parameter.requires_grad):
        detached = not any(tensor.requires_grad for tensor in tensors)
        raise InvalidInputError(
            "an output that depends on the parameters that train",
            got="a detached one, without a gradient" if detached else "one that depends on none of them",
            fix="leave out detach(), no_grad(), argmax and numpy() on the way to the output; let the last layer train",
        )


def _floating(output: Any) -> list[Tensor]:
    """Return the floating tensors of a model's output."""
    tensors: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            tensors.append(tensor)
        return tensor

    map_tensors(output, note)
    return tensors


def _leaves(tensors: list[Tensor]) -> tuple[set[int], bool]:
    """Return the identities of the leaves that tensors depend on, and whether these are all.

    They are not where a function has a backward pass of its own, as checkpointing has.
    """
    found, whole = {id(tensor) for tensor in tensors if tensor.is_leaf and tensor.requires_grad}, True
    seen: set[Any] = set()
    left: list[Any] = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            whole = False
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        left.extend(following for following, _ in node.next_functions)
    return found, whole


def _check_last_layer(output: Tensor) -> None:
    node: Any = output.grad_fn
    while node is not None and node.name() in _SAME_VALUES:
        node = node.next_functions[0][0]
    layer = None if node is None else _PROBABILITIES.get(node.name())
    if layer is not None:
        raise InvalidInputError(
            "logits", got=f"probabilities: the model ends with a {layer}", fix=f"drop the model's last {layer}"
        )
