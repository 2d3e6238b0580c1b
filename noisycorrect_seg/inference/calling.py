"""Calling a network as it is: in its own precision, and at the size and number of images that it was exported for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.modules import unwrap
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.inputs import Normalisation, normalisation_named

PUBLISHED_SIZE = (473, 473)  # of the network for LIP, whose classes are the usual ones


@dataclass(frozen=True)
class FixedInput:
    """What an exported network takes: None where any number will do.

    A network says it by an attribute ``fixed_input``; of programs of torch.export it is read from the graph.

    Attributes
    ----------
    batch : int or None
        Images in a call.
    height, width : int or None
        Pixels.
    """

    batch: int | None = None
    height: int | None = None
    width: int | None = None


def as_module(model: Any) -> Any:
    """Return what can be called: the module of an exported program, anything else as it is.

    Examples
    --------
    >>> layer = nn.Conv2d(3, 2, 1)
    >>> as_module(layer) is layer
    True
    """
    return model.module() if isinstance(model, torch.export.ExportedProgram) else model


def meant_by(
    model: Any, classes: Any = None, size: Size | None = None, *, otherwise: Size = PUBLISHED_SIZE
) -> tuple[Classes, Size]:
    """Return classes and size: as asked for, else what the network says of itself, else those of LIP.

    A network says it by attributes ``classes``, :class:`~noisycorrect_seg.classes.Classes`, and ``size``, (height,
    width), as :class:`~noisycorrect_seg.ace2p.ACE2P` does; one that was exported has its size in its file.

    Examples
    --------
    >>> meant_by(nn.Conv2d(3, 20, 1))[0].name, meant_by(nn.Conv2d(3, 20, 1), "atr", (512, 512))[1]
    ('lip', (512, 512))
    """
    inner = unwrap(model) if isinstance(model, nn.Module) else model
    if classes is None:
        own = getattr(inner, "classes", None)
        classes = own if isinstance(own, Classes) else "lip"
    if size is None:
        own = getattr(inner, "size", None)
        fixed = fixed_input(inner)
        if isinstance(own, tuple) and len(own) == 2:
            size = own
        elif fixed.height is not None and fixed.width is not None:
            size = fixed.height, fixed.width
        else:
            size = otherwise
    return classes_named(classes), size


def shown_to(model: Any, normalisation: str | Normalisation | None = None) -> Normalisation:
    """Return how values become a network's input: as asked for, else as it says of itself, else as A-CE2P takes it.

    A network says it by an attribute ``normalisation``; one in an ONNX file has it in its file, and its number of
    channels as ``channels``, which elsewhere may be that of any layer.

    Raises
    ------
    InvalidInputError
        If it is of another number of channels than the network is known to take.

    Examples
    --------
    >>> layer = nn.Conv2d(1, 2, 1)
    >>> shown_to(layer).channels
    3
    >>> layer.normalisation = Normalisation([9000.0], [2000.0])
    >>> shown_to(layer).channels, shown_to(layer, "rgb").channels
    (1, 3)
    """
    inner = unwrap(model) if isinstance(model, nn.Module) else model
    own = getattr(inner, "normalisation", None)
    if normalisation is None:
        normalisation = own if isinstance(own, (str, Normalisation)) else "bgr"
    found = normalisation_named(normalisation)
    said = isinstance(getattr(inner, "fixed_input", None), FixedInput)
    channels = getattr(inner, "channels", None) if said else None
    if isinstance(channels, int) and found.channels != channels:
        raise InvalidInputError(
            f"a normalisation of {channels} channel{'s' * (channels != 1)}, as the network takes",
            got=f"{found.channels}",
            fix="pass normalisation=Normalisation(mean, std) of its training, or export it with one",
        )
    return found


def fixed_input(model: Any) -> FixedInput:
    """Return what a network takes; nothing is fixed of one that was not exported.

    Examples
    --------
    >>> program = torch.export.export(nn.Conv2d(3, 2, 1), (torch.zeros(1, 3, 8, 9),))
    >>> fixed_input(program.module())
    FixedInput(batch=1, height=8, width=9)
    """
    said = getattr(model, "fixed_input", None)
    if isinstance(said, FixedInput):
        return said
    shape = _traced_shape(model) if isinstance(model, torch.fx.GraphModule) else ()
    if len(shape) != 4:
        return FixedInput()
    batch, _, height, width = (side if isinstance(side, int) else None for side in shape)
    return FixedInput(batch, height, width)


def parts_for(model: Any, crops: Tensor) -> list[Tensor]:
    """Return crops as a network takes them: in the dtype of its weights, and as many at a time as it was exported for.

    Parameters
    ----------
    model : callable
        Most often a module.
    crops : Tensor, shape (N, 3, H, W), float32

    Returns
    -------
    list of Tensor
        Most often the crops alone. Where the number of images is fixed, the last part is filled up with its last crop.

    Raises
    ------
    InvalidInputError
        If the network was exported for another size.

    Examples
    --------
    >>> (part,) = parts_for(nn.Conv2d(3, 2, 1).to(torch.bfloat16), torch.zeros(1, 3, 2, 2))
    >>> part.dtype
    torch.bfloat16
    """
    fixed = fixed_input(model)
    _check_size(fixed, (crops.shape[-2], crops.shape[-1]))
    crops = crops.to(_dtype_of(model))
    if fixed.batch is None or fixed.batch == len(crops):
        return [crops]
    missing = -len(crops) % fixed.batch
    return list(torch.split(torch.cat([crops, crops[-1:].expand(missing, -1, -1, -1)]), fixed.batch))


def _check_size(fixed: FixedInput, size: Size) -> None:
    wanted = tuple(own or given for own, given in zip((fixed.height, fixed.width), size, strict=True))
    if wanted != size:
        raise InvalidInputError(
            f"images of {wanted[0]} x {wanted[1]}, the size that the network was exported at",
            got=f"{size[0]} x {size[1]}",
            fix=f"pass size={wanted} and no scales= but 1.0, or parse with the network itself",
        )


def _dtype_of(model: Any) -> torch.dtype:
    if not isinstance(model, nn.Module):
        return torch.float32
    tensors = (*model.parameters(), *model.buffers())
    return next((each.dtype for each in tensors if each.is_floating_point()), torch.float32)


def _traced_shape(model: torch.fx.GraphModule) -> tuple[Any, ...]:
    node = next((node for node in model.graph.nodes if node.op == "placeholder"), None)
    shape = None if node is None else getattr(node.meta.get("val"), "shape", None)
    return () if shape is None else tuple(shape)
