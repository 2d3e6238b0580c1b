"""What a parsing network returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


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

    @property
    def final(self) -> Tensor:
        """The logits that predictions are made of: the fusion branch's where there is one, shape (N, K, h, w)."""
        return self.parsing if self.fusion is None else self.fusion
