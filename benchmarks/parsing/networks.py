"""From a cell to its network, its loss and its task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.parsing.plan import PACKAGE, SOFT_IOU, TERMS, Cell
from noisycorrect.support.errors import unknown_name
from noisycorrect.support.rng import derived_seed
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.losses import ParsingLoss
from noisycorrect_seg.task import HumanParsing

INITIALISATION = "initial weights"  # what the seed is for; see noisycorrect.support.rng


def build_network(cell: Cell, num_classes: int, weights: Path | None = None) -> ACE2P:
    """Return a cell's network, initialised from its seed, the backbone from a file or a package if it says so.

    Without the edge term there is no edge branch, and then nothing to fuse. A pretrained backbone has full width.
    """
    edge = "edge" in cell.losses
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(cell.seed, INITIALISATION))
        return ACE2P(
            num_classes,
            cell.backbone,
            cell.context,
            width=cell.width,
            edge=edge,
            fusion=edge,
            pretrained=cell.weights == PACKAGE if weights is None else weights,
            freeze=cell.freeze,
        )


def parsing_loss(losses: str) -> ParsingLoss:
    """Return the loss of some terms of Eq. 4, such as a row of Table 3.

    Raises
    ------
    InvalidInputError
        If a term is unknown.

    Examples
    --------
    >>> parsing_loss("ce+edge").lovasz
    False
    """
    terms = losses.split("+")
    for term in terms:
        if term not in TERMS:
            raise unknown_name("term of the loss", term, TERMS)
    return ParsingLoss(
        edge="edge" in terms,
        lovasz="iou" in terms or SOFT_IOU in terms,
        consistency="consistency" in terms,
        lovasz_targets="soft" if SOFT_IOU in terms else "hard",
    )


def make_task(classes: Classes, size: tuple[int, int], losses: str) -> HumanParsing:
    """Return the task with a loss of these terms."""
    return HumanParsing(classes, size=size, loss=parsing_loss(losses))


def prepared(network: nn.Module, *, channels_last: bool, compiled: bool) -> nn.Module:
    """Return a network laid out and compiled as asked for; the same weights either way."""
    if channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    laid_out: Any = torch.compile(network) if compiled else network
    assert isinstance(laid_out, nn.Module)
    return laid_out


def parameters(network: nn.Module) -> int:
    """Return the number of a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
