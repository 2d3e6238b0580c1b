"""Networks that are ACE2P with some parts left out."""

from __future__ import annotations

from typing import Any

from torch import nn

from noisycorrect.support.door import door
from noisycorrect_seg.ace2p.network import ACE2P


@door(own=True)
def CE2P(num_classes: int = 20, backbone: str | nn.Module = "resnet101", **options: Any) -> ACE2P:  # noqa: N802 - a network's name
    """Return CE2P (Ruan et al., "Devil in the Details", AAAI 2019): the predecessor of A-CE2P.

    Its layers are those of A-CE2P with pyramid pooling; what was added is in the loss: train it with
    cross-entropy and edges only. The published code of CE2P resizes with ``align_corners=False`` in its decoder.

    Parameters
    ----------
    num_classes : int
        K.
    backbone : str or nn.Module
        As in :class:`ACE2P`.
    **options
        Other arguments of :class:`ACE2P`, but for the context and the branches.

    Examples
    --------
    >>> CE2P(7, "resnet18", width=0.125).config["context"]
    'psp'
    """
    return ACE2P(num_classes, backbone, "psp", edge=True, fusion=True, decoder=True, **options)


@door(own=True)
def ParsingNetwork(  # noqa: N802 - a network's name
    num_classes: int = 20,
    backbone: str | nn.Module = "resnet101",
    context: str | nn.Module | None = "psp",
    **options: Any,
) -> ACE2P:
    """Return a plain parsing network, without edge and fusion branches: the first row of the paper's Table 3.

    Parameters
    ----------
    num_classes : int
        K.
    backbone, context : str or nn.Module
        As in :class:`ACE2P`.
    **options
        Other arguments of :class:`ACE2P`, but for `edge` and `fusion`; ``decoder=False`` leaves only a baseline.

    Examples
    --------
    >>> import torch
    >>> ParsingNetwork(7, "resnet18", width=0.125).eval()(torch.zeros(1, 3, 32, 32)).edge is None
    True
    """
    return ACE2P(num_classes, backbone, context, edge=False, fusion=False, **options)
