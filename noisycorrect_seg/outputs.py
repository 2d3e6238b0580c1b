"""What a segmentation network returns, in the styles of the libraries that people take networks from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from noisycorrect.support.errors import InvalidInputError

MAIN, AUXILIARY = ("out", "logits"), ("aux",)  # keys: torchvision's and Transformers', and torchvision's second head
STYLES = (
    "logits (N, K, h, w), a ParsingOutput, a dict with 'out' or 'logits', an object with .logits, or a tuple that"
    " begins with logits"
)


class ParsingOutput(NamedTuple):
    """Logits of the branches of a parsing network, all at the network's output resolution (h, w).

    Attributes
    ----------
    parsing : Tensor, shape (N, K, h, w)
        Logits of the parsing branch.
    fusion : Tensor, shape (N, K, h, w), or None
        Logits of the fusion branch, which sees parsing and edge features; None in a network without one.
    edge : Tensor, shape (N, 2, h, w), or None
        Logits of the edge branch, class 1 = edge; None in a network without one.
    aux : Tensor, shape (N, K, h', w'), or None
        Logits of an auxiliary head, of any resolution, which only the loss sees; None in a network without one.

    Examples
    --------
    >>> import torch
    >>> output = ParsingOutput(torch.zeros(1, 20, 4, 4))
    >>> output.final is output.parsing
    True
    """

    parsing: Tensor
    fusion: Tensor | None = None
    edge: Tensor | None = None
    aux: Tensor | None = None

    @property
    def final(self) -> Tensor:
        """The logits that predictions are made of: the fusion branch's where there is one, shape (N, K, h, w)."""
        return self.parsing if self.fusion is None else self.fusion


def as_output(output: Any, num_classes: int) -> ParsingOutput:
    """Return what a network returned as a ParsingOutput.

    Parameters
    ----------
    output : Any
        Logits, (N, K, h, w), of any resolution: alone (segmentation_models_pytorch and most others), as ``out`` of a
        dict, ``aux`` beside it (torchvision), as ``logits`` of a dict or object (SegFormer of Transformers), first in a
        tuple, or a ParsingOutput.
    num_classes : int
        K. Of two classes the network may return one channel: the logit of class 1, as a Sigmoid takes it.

    Raises
    ------
    InvalidInputError
        If it is something else. Shapes are not looked at.

    Examples
    --------
    >>> as_output({"out": torch.zeros(1, 3, 2, 2), "aux": torch.zeros(1, 3, 1, 1)}, 3).aux.shape
    torch.Size([1, 3, 1, 1])
    >>> as_output(torch.tensor([[[[2.0]]]]), 2).final.softmax(1)[0, 1]  # sigmoid(2)
    tensor([[0.8808]])
    """
    found = logits_of(output)
    if not isinstance(found, Tensor):
        raise InvalidInputError(
            STYLES, got=_described(output), fix="return one of them from the model's forward, or wrap the model"
        )
    if isinstance(output, ParsingOutput):
        return ParsingOutput(
            two_channels(output.parsing, num_classes),
            None if output.fusion is None else two_channels(output.fusion, num_classes),
            output.edge,
            None if output.aux is None else two_channels(output.aux, num_classes),
        )
    aux = next((output[key] for key in AUXILIARY if key in output), None) if isinstance(output, Mapping) else None
    second = two_channels(aux, num_classes) if isinstance(aux, Tensor) else None
    return ParsingOutput(two_channels(found, num_classes), aux=second)


def logits_of(output: Any) -> Any:
    """Return what counts in a network's output: the final logits; the output itself if they are not found.

    Examples
    --------
    >>> logits_of({"out": 1, "aux": 2}), logits_of((3, 4)), logits_of(5)
    (1, 3, 5)
    """
    if isinstance(output, ParsingOutput):
        return output.final
    if isinstance(output, Mapping):
        return next((output[key] for key in MAIN if key in output), output)
    if isinstance(output, tuple) and output:
        return output[0]
    return output if isinstance(output, Tensor) else getattr(output, "logits", output)


def two_channels(logits: Tensor, num_classes: int) -> Tensor:
    r"""Return the logits of two classes where a network returns one channel z: 0 and z.

    Their softmax is :math:`(1 - \sigma(z), \sigma(z))`. So cross-entropy over two classes is the
    binary one of z, and all that is made of probabilities stays as it is.

    Examples
    --------
    >>> two_channels(torch.tensor([[[[3.0]]]]), 2).flatten()
    tensor([0., 3.])
    """
    if num_classes != 2 or logits.dim() != 4 or logits.shape[1] != 1:
        return logits
    return torch.cat([torch.zeros_like(logits), logits], 1)


def _described(output: Any) -> str:
    name = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {name} with {', '.join(map(repr, output))}"
    return name
