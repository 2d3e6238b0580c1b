"""What stands behind backbone and context: decoder, edge branch and fusion branch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.ace2p.context import out_channels
from noisycorrect_seg.ace2p.layers import ConvNorm, MergeNorm, resize, scaled

FEATURES = 256  # channels of the parsing feature, and of the edge feature of each level


@final
class SkipDecoder(nn.Module):
    """Context, resized to the first map's resolution, joined with that map: the "high resolution" part of CE2P.

    Parameters
    ----------
    context, shallow : int
        Channels of the context and of the backbone's first map.
    width : float
        Factor on the channel counts.

    Examples
    --------
    >>> decoder = SkipDecoder(64, 32, width=0.125)
    >>> decoder(torch.zeros(2, 64, 5, 4), torch.zeros(2, 32, 17, 13)).shape
    torch.Size([2, 32, 17, 13])
    """

    def __init__(self, context: int, shallow: int, *, width: float = 1.0) -> None:
        super().__init__()
        self.out_channels, detail = scaled(FEATURES, width), scaled(48, width)
        self.deep = ConvNorm(context, self.out_channels)
        self.shallow = ConvNorm(shallow, detail)
        self.merge = MergeNorm((self.out_channels, detail), self.out_channels)
        self.refine = ConvNorm(self.out_channels, self.out_channels)

    def forward(self, context: Tensor, shallow: Tensor) -> Tensor:
        """Return the parsing feature (N, out_channels, H, W) of context (N, C, h, w) and first map (N, S, H, W)."""
        merged = self.merge([self.deep(context), self.shallow(shallow)], shallow.shape[-2:])
        refined: Tensor = self.refine(merged)
        return refined


@final
class ResizeDecoder(nn.Module):
    """Context, reduced and resized to the first map's resolution, without that map: the baseline "none".

    Examples
    --------
    >>> ResizeDecoder(64, width=0.125)(torch.zeros(2, 64, 5, 4), torch.zeros(2, 32, 17, 13)).shape
    torch.Size([2, 32, 17, 13])
    """

    def __init__(self, context: int, *, width: float = 1.0) -> None:
        super().__init__()
        self.out_channels = scaled(FEATURES, width)
        self.deep = ConvNorm(context, self.out_channels)

    def forward(self, context: Tensor, shallow: Tensor) -> Tensor:
        """Return the parsing feature (N, out_channels, H, W) of context (N, C, h, w); (H, W) is `shallow`'s size."""
        return resize(self.deep(context), shallow.shape[-2:])


@final
class EdgeBranch(nn.Module):
    """Edges between parts: one 3x3 head shared by the first three maps, each at its own resolution, then joined.

    Parameters
    ----------
    channels : sequence of int
        Of the three maps.
    width : float
        Factor on the channel counts of the features.

    Examples
    --------
    >>> edge = EdgeBranch((8, 16, 32), width=0.125)
    >>> logits, features = edge([torch.zeros(1, c, s, s) for c, s in ((8, 9), (16, 5), (32, 3))])
    >>> logits.shape, [tuple(feature.shape) for feature in features]
    (torch.Size([1, 2, 9, 9]), [(1, 32, 9, 9), (1, 32, 5, 5), (1, 32, 3, 3)])
    """

    def __init__(self, channels: Sequence[int], *, width: float = 1.0) -> None:
        super().__init__()
        features = scaled(FEATURES, width)
        self.out_channels = (features,) * len(channels)
        self.levels = nn.ModuleList(ConvNorm(inputs, features) for inputs in channels)
        self.level_head = nn.Conv2d(features, 2, 3, padding=1)
        self.head = nn.Conv2d(2 * len(channels), 2, 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return edge logits (N, 2, H, W), class 1 = edge, and the features of each level at its own resolution.

        Parameters
        ----------
        maps : sequence of Tensor
            The backbone's maps, biggest first; those behind the third are not looked at.
        """
        # torch 2.6 compiles a zip of equally many only.
        seen = maps[: len(self.levels)]
        features = tuple(level(part) for level, part in zip(self.levels, seen, strict=True))
        logits = [resize(self.level_head(feature), maps[0].shape[-2:]) for feature in features]
        return self.head(torch.cat(logits, 1)), features


@final
class FusionBranch(nn.Module):
    """Parsing again, of the parsing feature and the edge features together.

    Parameters
    ----------
    num_classes : int
        K.
    parsing : int
        Channels of the parsing feature.
    edges : sequence of int
        Channels of the edge features.
    width, dropout : float
        Factor on the channel counts; chance that a channel is dropped in training.

    Examples
    --------
    >>> fusion = FusionBranch(20, 32, (8, 8), width=0.125)
    >>> fusion(torch.zeros(2, 32, 9, 9), [torch.zeros(2, 8, 9, 9), torch.zeros(2, 8, 5, 5)]).shape
    torch.Size([2, 20, 9, 9])
    """

    def __init__(
        self, num_classes: int, parsing: int, edges: Sequence[int], *, width: float = 1.0, dropout: float = 0.1
    ) -> None:
        super().__init__()
        features = scaled(FEATURES, width)
        self.merge = MergeNorm((parsing, *edges), features)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(features, num_classes, 1)

    def forward(self, parsing: Tensor, edges: Sequence[Tensor]) -> Tensor:
        """Return logits (N, K, H, W) of the parsing feature (N, P, H, W) and the edge features (N, E_i, h_i, w_i)."""
        logits: Tensor = self.head(self.dropout(self.merge([parsing, *edges], parsing.shape[-2:])))
        return logits


Part = str | bool | nn.Module | None


def make_decoder(decoder: Part, context: int, shallow: int, *, width: float = 1.0) -> nn.Module:
    """Return a decoder: (context, first map) -> parsing feature (N, out_channels, H, W), at the first map's size.

    Parameters
    ----------
    decoder : bool, str, nn.Module or None
        True or ``"skip"``; False, None or ``"none"``; or a module with ``out_channels``.
    context, shallow : int
        Channels of the context and of the first map.
    width : float
        Factor on the channel counts of a named decoder.
    """
    if isinstance(decoder, nn.Module):
        out_channels(decoder, "decoder")
        return decoder
    if part_name("decoder", decoder) == "none":
        return ResizeDecoder(context, width=width)
    return SkipDecoder(context, shallow, width=width)


def make_edge(edge: Part, channels: Sequence[int], *, width: float = 1.0) -> nn.Module | None:
    """Return an edge branch: four maps -> (edge logits (N, 2, H, W), sequence of features), or None.

    Parameters
    ----------
    edge : bool, str, nn.Module or None
        True or ``"shared"``; False, None or ``"none"``; or a module with a sequence of channels in ``out_channels``.
    channels : sequence of int
        Channels of the backbone's maps.
    width : float
        Factor on the channel counts of a named branch.
    """
    if isinstance(edge, nn.Module):
        edge_channels(edge)
        return edge
    return None if part_name("edge", edge) == "none" else EdgeBranch(channels[:3], width=width)


def make_fusion(fusion: Part, edge: nn.Module | None, build: Callable[[nn.Module], nn.Module]) -> nn.Module | None:
    """Return a fusion branch: (parsing feature, edge features) -> logits (N, K, H, W), or None.

    Parameters
    ----------
    fusion : bool, str, nn.Module or None
        True or ``"concat"``; False, None or ``"none"``; or a module.
    edge : nn.Module or None
        The edge branch.
    build : callable
        Builds the named branch on an edge branch.

    Raises
    ------
    InvalidInputError
        If there is to be a fusion branch, but no edge branch.
    """
    if not isinstance(fusion, nn.Module) and part_name("fusion", fusion) == "none":
        return None
    if edge is None:
        raise InvalidInputError(
            "an edge branch for the fusion branch", got="edge=False", fix="pass fusion=False too, or edge=True"
        )
    return fusion if isinstance(fusion, nn.Module) else build(edge)


DEFAULT_NAMES = {"decoder": "skip", "edge": "shared", "fusion": "concat"}


def part_name(kind: str, part: Part) -> str:
    """Return the name of a part that is switched on or off: True is the one of A-CE2P, False and None are "none".

    Raises
    ------
    InvalidInputError
        If it is another name.

    Examples
    --------
    >>> part_name("edge", True), part_name("edge", None)
    ('shared', 'none')
    """
    default = DEFAULT_NAMES[kind]
    if part is None or isinstance(part, bool):
        return default if part else "none"
    if not isinstance(part, str) or part not in (default, "none"):
        raise unknown_name(kind, part, (default, "none"))
    return part


def edge_channels(edge: nn.Module) -> tuple[int, ...]:
    """Return the channels of an edge branch's features.

    Raises
    ------
    InvalidInputError
        If it has no sequence of whole numbers in ``out_channels``.
    """
    channels: Any = getattr(edge, "out_channels", None)
    if not isinstance(channels, Sequence) or isinstance(channels, str):
        raise InvalidInputError(
            "an edge branch with its features' channels in `out_channels`",
            got=f"{type(edge).__name__} with out_channels={channels!r}",
            fix="set the attribute to a tuple, (256,) for one feature",
        )
    return tuple(whole_number(f"out_channels[{i}]", count, least=1) for i, count in enumerate(channels))
