"""Logits of a crop, averaged over scales and over the mirror."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.geometry.maps import resized
from noisycorrect_seg.inference.calling import parts_for
from noisycorrect_seg.outputs import logits_of, two_channels


def averaged_logits(
    model: nn.Module, crops: Tensor, classes: Classes, *, scales: Sequence[float] = (1.0,), flip: bool = False
) -> Tensor:
    r"""Return logits at the crops' size, averaged as the published SCHP evaluator averages them.

    For each scale s the crops are resized to :math:`\lfloor s H \rfloor \times \lfloor s W \rfloor`. With `flip`, the
    model sees crops and mirror images in one batch; the mirrors' logits are mirrored back, the channels of each flip
    pair exchanged, and weigh one half. The result is brought to the crops' size. The mean over the scales is of logits,
    not of probabilities. All resizing is bilinear with corners aligned.

    Parameters
    ----------
    model : nn.Module
        Returns logits (N, K, h, w) in one of the styles of :func:`~noisycorrect_seg.outputs.as_output`; run in the mode
        that it is in.
    crops : Tensor, shape (N, C, H, W)
        Network input.
    classes : Classes
        K names, and the pairs that a mirror exchanges.
    scales : sequence of float
        Above 0.
    flip : bool
        Whether to average with the mirror image.

    Returns
    -------
    Tensor, shape (N, K, H, W), float32
        On the crops' device.

    Raises
    ------
    InvalidInputError
        If a scale leaves no pixel or there is none, or the model's output has another number of classes.

    Examples
    --------
    >>> pair = Classes("pair", ("left", "right"), ((0, 1),))
    >>> averaged_logits(lambda crops: crops[:, :2], torch.tensor([[[[1.0, 0.0]], [[2.0, 0.0]], [[0.0, 0.0]]]]), pair)
    tensor([[[[1., 0.]],
             [[2., 0.]]]])
    >>> averaged_logits(lambda crops: crops[:, :2], torch.tensor([[[[1.0, 0.0]], [[2.0, 0.0]]]]), pair, flip=True)
    tensor([[[[1.5000, 0.0000]],
             [[1.5000, 0.0000]]]])
    """
    height, width = crops.shape[-2:]
    total: Tensor | None = None
    sizes = [_scaled((height, width), scale) for scale in checked_scales(scales)]
    for size in sizes:
        inputs = resized(crops, size)
        if flip:
            inputs = torch.cat([inputs, inputs.flip(-1)])
        logits = final_logits(_called(model, inputs), len(inputs), len(classes))
        if flip:
            swap = torch.as_tensor(classes.flip_index, device=logits.device)
            upright, mirrored = logits.chunk(2)
            logits = (upright + mirrored.index_select(1, swap).flip(-1)) / 2
        logits = resized(logits, (height, width))
        total = logits if total is None else total + logits
    assert total is not None
    return total / len(sizes) if len(sizes) > 1 else total


def _called(model: Any, inputs: Tensor) -> Any:
    """Return a model's output, or the joined logits of one that takes a fixed number of images."""
    parts = parts_for(model, inputs)
    if len(parts) == 1 and len(parts[0]) == len(inputs):
        return model(parts[0])
    return torch.cat([logits_of(model(part)) for part in parts])[: len(inputs)]


def final_logits(output: Any, count: int, num_classes: int) -> Tensor:
    """Return a model's final logits as float32 (N, K, h, w).

    Raises
    ------
    InvalidInputError
        If they are of another shape, or not finite.

    Examples
    --------
    >>> from noisycorrect_seg.outputs import ParsingOutput
    >>> final_logits(ParsingOutput(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3)), 1, 2).mean()
    tensor(1.)
    """
    logits = logits_of(output)
    logits = two_channels(logits, num_classes) if isinstance(logits, Tensor) else logits
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else None
    if shape is None or len(shape) != 4 or shape[:2] != (count, num_classes):
        raise InvalidInputError(
            f"a ParsingOutput, or logits of shape ({count}, {num_classes}, h, w)",
            got=type(output).__name__ if shape is None else f"shape {shape}",
            fix="pass classes= that fit the model",
        )
    wide: Tensor = logits.float()
    if not torch.isfinite(wide).all():
        raise InvalidInputError(
            "finite logits", got="NaN or infinity", fix='look at the checkpoint, or use precision="float32"'
        )
    return wide


def checked_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """Return scales as floats above 0, or raise an InvalidInputError.

    Examples
    --------
    >>> checked_scales([0.5, 1])
    (0.5, 1.0)
    """
    numbers = tuple(finite_number("a scale", scale, above=0, fix="1.0 is the crop itself") for scale in scales)
    if not numbers or 0 in numbers:
        raise InvalidInputError("at least one scale, all above 0", got=repr(tuple(scales)), fix="(1.0,) is the crop")
    return numbers


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    height, width = (math.floor(scale * side) for side in size)
    if min(height, width) < 1:
        raise InvalidInputError(
            f"scales that leave a pixel of {size[0]} x {size[1]}", got=str(scale), fix="use larger scales"
        )
    return height, width
